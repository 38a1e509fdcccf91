import type { Arena } from '../memory/arena.ts';
import { RingwayError } from '../util/errors.ts';
import { VIFQ_CREDIT, VIFQ_RATE_BYTES, VIFQ_RATE_USEC } from './queue-layout.ts';

/** How much a frontend may send on each of its queues: so many bytes in each window of so many µs. No limit when that is 0. */
export interface VifRate {
  readonly bytes: number;
  readonly usec: number;
}

/** Credit that is not used adds up to this, or to a window's when that is more (Linux netback's max_burst). */
const BURST_BYTES = 131_072;
const BYTES_MAX = 2 ** 31 - 1;
const USEC_MAX = 2 ** 32 - 1;

/**
 * Reads what Xen's tools write of a device with a rate: `BYTES,MICROSECONDS`. No text is no limit.
 * @throws RingwayError `BAD_REQUEST`
 */
export function parseRate(path: string, text: string | undefined): VifRate {
  if (text === undefined) return { bytes: 0, usec: 0 };
  const found = /^(\d{1,20}),(\d{1,20})$/.exec(text);
  if (found === null) {
    const shown = JSON.stringify(text.slice(0, 40));
    throw new RingwayError('BAD_REQUEST', `${path}: ${shown}, must be BYTES,MICROSECONDS; nothing is limited`);
  }
  return { bytes: Math.min(Number(found[1]), BYTES_MAX), usec: Math.min(Number(found[2]), USEC_MAX) };
}

/** Has a backend's direction tx at `queue` take no more than `rate`. On the control thread. */
export function setRate(arena: Arena, queue: number, { bytes, usec }: VifRate): void {
  Atomics.store(arena.u32, (queue + VIFQ_RATE_BYTES) >>> 2, bytes);
  Atomics.store(arena.u32, (queue + VIFQ_RATE_USEC) >>> 2, usec);
}

/**
 * Gives the direction at `queue` its credit as time goes by, on the thread that serves it: a window's for each window that passes while
 * it has none left. What a packet takes beyond it is taken off the next ones. That is Linux netback's rule, but that there a packet waits
 * until there is credit for all of it.
 * @param now ms, from anywhere on.
 * @returns what is called before each burst, and says how many ms it is until something may be taken: 0 when now.
 */
export function creditMeter(arena: Arena, queue: number, now: () => number): () => number {
  const { i32, u32 } = arena;
  const credit = (queue + VIFQ_CREDIT) >>> 2;
  /** The rate as it was last, the start of the window, and the last look. */
  let [bytes, usec, start, looked] = [0, 0, 0, 0];
  return () => {
    const windowUsec = u32[(queue + VIFQ_RATE_USEC) >>> 2] ?? 0;
    if (windowUsec === 0) {
      usec = 0;
      return 0;
    }
    const time = now();
    const windowBytes = u32[(queue + VIFQ_RATE_BYTES) >>> 2] ?? 0;
    if (windowUsec !== usec || windowBytes !== bytes) {
      // It begins with a window's credit; one that changes keeps what is left, and no more than a window's.
      i32[credit] = usec === 0 ? windowBytes : Math.min(i32[credit] ?? 0, windowBytes);
      [bytes, usec, start] = [windowBytes, windowUsec, time];
    }
    const left = i32[credit] ?? 0;
    if (left <= 0) {
      const length = usec / 1000;
      // It was used up behind the last look. After a rest a window begins there; a clock that goes back begins one, too.
      if (looked - start >= length) start = looked;
      if (time < start) start = time;
      const windows = Math.floor((time - start) / length);
      start += windows * length;
      i32[credit] = Math.min(left + windows * bytes, Math.max(bytes, BURST_BYTES));
    }
    looked = time;
    return (i32[credit] ?? 0) > 0 ? 0 : start + usec / 1000 - time;
  };
}
