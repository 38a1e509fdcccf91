import type { Arena } from '../memory/arena.ts';
export interface XdpEvent {
  readonly map: string;
  readonly data: Uint8Array;
}
export const LOG_BYTES = 4096;
export const createLog = (arena: Arena, name: string): number => arena.allocate(name, LOG_BYTES);
export class EventReader {
  readonly log = 0;
  constructor(_a: Arena, _m: unknown) {}
  readEvents(): XdpEvent[] {
    return [];
  }
  readLog(): string[] {
    return [];
  }
}
