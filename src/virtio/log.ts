import type { Arena } from '../memory/arena.ts';
import { RingwayError } from '../util/errors.ts';
import type { Segment } from './chain-list.ts';
import { LOG_BITMAP, LOG_BYTES, LOG_DESCRIPTOR_BYTES, LOG_PAGE_SHIFT } from './layout.ts';

/**
 * Where devices mark the pages that they write (vhost: VHOST_F_LOG_ALL, for live migration): bit `guest address >> 12` of
 * a bitmap, lowest bits first, set by an atomic OR after the write, since whoever migrates clears bits meanwhile.
 */
export interface DirtyLog {
  /** What `VirtqueueDevice.setLog` takes. */
  readonly address: number;
  /**
   * Where the bitmap lies in the arena: no page behind its end is marked. Changed while no queue that uses it runs.
   * @throws RingwayError `BAD_ARGUMENT` when it does not lie in the arena.
   */
  set(bitmap: Segment): void;
}

/** Bytes of a bitmap for guest addresses below `end`. */
export function dirtyLogBytes(end: bigint): number {
  return Number((end + (8n << BigInt(LOG_PAGE_SHIFT)) - 1n) >> BigInt(LOG_PAGE_SHIFT + 3));
}

/**
 * Makes a log under `name`, without a bitmap.
 * @throws RingwayError `ARENA_FULL` when it does not fit.
 */
export function createDirtyLog(arena: Arena, name: string): DirtyLog {
  const address = arena.allocate(name, LOG_DESCRIPTOR_BYTES);
  return {
    address,
    set({ address: bitmap, length }) {
      const first = arena.handle.base;
      const whole = Number.isSafeInteger(bitmap) && Number.isSafeInteger(length) && length >= 0;
      if (!whole || bitmap < first || bitmap + length > arena.bytes) {
        throw new RingwayError(
          'BAD_ARGUMENT',
          `${name}: bitmap at ${bitmap} with ${length} bytes, must lie in the arena, from ${first} to ${arena.bytes}`,
        );
      }
      arena.u32[(address + LOG_BITMAP) >>> 2] = bitmap;
      arena.u32[(address + LOG_BYTES) >>> 2] = length;
    },
  };
}
