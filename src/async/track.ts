import { VCHAN_SIZE } from '../dma/layout.ts';
import type { Arena } from '../memory/arena.ts';
import {
  TRACK_BYTES,
  TRACK_CONTENDED,
  TRACK_FAILED,
  TRACK_FLAGS,
  TRACK_SHARED,
  TRACK_SPINS,
  TRACK_VCHAN,
} from './layout.ts';

/** What a channel did for queues. Numbers count up modulo 2^32. */
export interface TrackCounters {
  /** Copies that the engine failed at; the CPU did them. */
  readonly failed: number;
  /** Times that a thread had to wait for the channel, and how often it looked meanwhile. */
  readonly contended: number;
  readonly spins: number;
}

/** A channel that copies for queues, and whose copies are under way in it. */
export interface Track {
  /** What `createAsyncQueue` takes. */
  readonly address: number;
  counters(): TrackCounters;
  /** Several threads use the channel from now on: they take turns. Called while none of them is in a call. */
  share(): void;
}

/**
 * Makes the track of the channel at `vchan` (`DmaDevice.vchanAddress`), which is used for nothing else.
 * @throws RingwayError `ARENA_FULL` when it does not fit.
 */
export function createTrack(arena: Arena, name: string, vchan: number): Track {
  const { u32 } = arena;
  const address = arena.allocate(`${name} track`, TRACK_BYTES);
  u32[(address + TRACK_VCHAN) >>> 2] = vchan;
  u32[(address + TRACK_FLAGS) >>> 2] = arena.allocate(`${name} flags`, (u32[(vchan + VCHAN_SIZE) >>> 2] ?? 0) * 4);
  const get = (offset: number): number => Atomics.load(u32, (address + offset) >>> 2);
  return {
    address,
    counters: () => ({ failed: get(TRACK_FAILED), contended: get(TRACK_CONTENDED), spins: get(TRACK_SPINS) }),
    share() {
      Atomics.store(u32, (address + TRACK_SHARED) >>> 2, 1);
    },
  };
}
