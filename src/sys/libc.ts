import { createRequire } from 'node:module';
import { RingwayError } from '../util/errors.ts';

/** What of koffi is used; its own types would make it a dependency of ours. */
export interface Koffi {
  load(path: null): { func(declaration: string): (...values: unknown[]) => unknown };
  address(view: Uint8Array): bigint | number;
  errno(): number;
  readonly os: { readonly errno: Readonly<Record<string, number>> };
}

/** A C function of this process. */
export type Call = (...values: unknown[]) => number | bigint;

/** The C library, and what its calls leave behind. */
export interface Libc {
  readonly koffi: Koffi;
  /** A function by its declaration in C. */
  call(declaration: string): Call;
  /** Name of an errno: `EAGAIN`; of the last failure in this thread when not given. */
  errorName(errno?: number): string;
  /**
   * Passes a result on.
   * @throws RingwayError `SYSTEM` with `call` and the errno's name when it is -1.
   */
  check(result: number | bigint, call: string): number;
}

/** @throws when there is none: another platform, or koffi is not installed. */
export function loadLibc(): Libc {
  if (process.platform !== 'linux') throw new Error(`the platform is ${process.platform}`);
  const koffi = createRequire(import.meta.url)('koffi') as Koffi;
  const library = koffi.load(null);
  const names = new Map<number, string>();
  for (const [name, value] of Object.entries(koffi.os.errno)) if (!names.has(value)) names.set(value, name);
  const errorName = (errno = koffi.errno()): string => names.get(errno) ?? `errno ${errno}`;
  return {
    koffi,
    call: (declaration) => library.func(declaration) as Call,
    errorName,
    check(result, call) {
      const value = Number(result);
      if (value !== -1) return value;
      throw new RingwayError('SYSTEM', `${call}: ${errorName()}`);
    },
  };
}

/** Where the memory starts in the process. It never moves, since a shared memory is reserved up to its maximum. */
export function baseOf(koffi: Koffi, memory: WebAssembly.Memory): number {
  return Number(koffi.address(new Uint8Array(memory.buffer)));
}
