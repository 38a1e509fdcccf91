import { VCHAN_SIZE } from '../dma/layout.ts';
import type { Arena } from '../memory/arena.ts';
import { readCounter } from '../telemetry/counters.ts';
import {
  TRACK_BYTES,
  TRACK_CONTENDED,
  TRACK_FAILED,
  TRACK_FLAGS,
  TRACK_SHARED,
  TRACK_SPINS,
  TRACK_VCHAN,
} from './layout.ts';

/** What a channel did for queues, since its track was made. */
export interface TrackCounters {
  /** Copies that the engine failed at; the CPU did them. */
  readonly failed: number;
  /** Times that a thread had to wait for the channel, and how often it looked meanwhile. */
  readonly contended: number;
  readonly spins: number;
}

/** A channel that copies for queues, and whose copies are under way in it. */
export interface Track {
  /** What `AsyncQueue.use` takes. */
  readonly address: number;
  counters(): TrackCounters;
  /** Several threads may use the channel. */
  isShared(): boolean;
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
  const counter = (offset: number): number => readCounter(arena, address + offset);
  return {
    address,
    counters: () => ({
      failed: counter(TRACK_FAILED),
      contended: counter(TRACK_CONTENDED),
      spins: counter(TRACK_SPINS),
    }),
    isShared: () => Atomics.load(u32, (address + TRACK_SHARED) >>> 2) !== 0,
  };
}

/**
 * Several threads use the channel of the track at `address` from now on: they take turns. For the one thread that uses it
 * so far, between two calls; the others begin when it has answered. Stays so.
 */
export function shareTrack(arena: Arena, address: number): void {
  Atomics.store(arena.u32, (address + TRACK_SHARED) >>> 2, 1);
}
