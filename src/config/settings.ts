import type { FaultConfig } from './types.ts';

/** A change to a running dataplane, parsed: `key` tells what changes and what `value` is. */
export type Setting =
  | { readonly key: 'rate'; readonly port: string; readonly value: number | undefined }
  | { readonly key: 'storm'; readonly port: string; readonly value: number | undefined }
  | { readonly key: 'speed'; readonly port: string; readonly value: 'full' | 'recorded' | number }
  | { readonly key: 'learn'; readonly port: string; readonly value: boolean }
  | { readonly key: 'fault'; readonly port: string; readonly value: Partial<Omit<FaultConfig, 'seed'>> }
  | { readonly key: 'ageing'; readonly value: number }
  | { readonly key: 'reserved'; readonly value: 'drop' | 'forward' };
