import type { Bench } from './bench.ts';

/** Kinds of devices whose backends can be checked. */
export type DeviceType = 'net' | 'block';

/** What a backend must offer for a check to make sense: bits. */
export interface Needs {
  readonly features?: readonly number[];
  readonly protocol?: readonly number[];
}

/** One thing that a backend must do. Each check has connections and memory of its own. */
export interface Check {
  readonly name: string;
  /** Where that is said: a section of docs/interop/vhost-user.rst, or of virtio 1.1. */
  readonly section: string;
  /** The only device that it makes sense for. */
  readonly type?: DeviceType;
  readonly needs?: Needs;
  /** It sends what no frontend may send: afterwards the backend must serve the next frontend. */
  readonly hostile?: boolean;
  run(bench: Bench): Promise<void>;
}

/** A check that failed: what should have happened, and what did. */
export class CheckFailed extends Error {
  readonly expected: string;
  readonly came: string;

  constructor(expected: string, came: string) {
    super(`expected ${expected}, came ${came}`);
    this.expected = expected;
    this.came = came;
  }
}

/** A check that makes no sense with this backend after all. */
export class CheckSkipped extends Error {}

/** Fails unless both are the same. */
export function same<T>(what: string, came: T, expected: T): void {
  const text = (value: T): string =>
    typeof value === 'number' || typeof value === 'bigint' ? `0x${value.toString(16)}` : String(value);
  if (came !== expected) throw new CheckFailed(`${what} ${text(expected)}`, text(came));
}

/** Milliseconds within which a ring that runs is served: also on a machine that is busy. */
export const SERVE_MS = 2000;
/** Milliseconds in which what must not happen would have. */
export const QUIET_MS = 40;

/** Lets others run: the backend may be in this process. Waits longer the longer it takes. */
export function pause(sinceMs: number): Promise<void> {
  if (performance.now() - sinceMs < 2) return new Promise((resolve) => setImmediate(resolve));
  return new Promise((resolve) => setTimeout(resolve, 1));
}

export const quiet = (ms = QUIET_MS): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
