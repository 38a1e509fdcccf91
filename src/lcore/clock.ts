import type { Arena } from '../memory/arena.ts';
import { LCORE_NANOSECONDS, LCORE_SECONDS } from './layout.ts';

/**
 * Writes the time of day into an lcore's words. It never runs backwards in a process: the day's time is taken once
 * and a monotonic clock is added to it. A call costs some 40 ns, so an lcore makes it on empty polls and every so many
 * busy ones.
 */
export class LcoreClock {
  readonly #arena: Arena;
  readonly #at: number;
  readonly #seconds: number;
  readonly #milliseconds: number;

  constructor(arena: Arena, lcore: number) {
    this.#arena = arena;
    this.#at = (lcore + LCORE_SECONDS) >>> 2;
    // Split, since nanoseconds since 1970 do not fit a Number.
    this.#seconds = Math.floor(performance.timeOrigin / 1000);
    this.#milliseconds = performance.timeOrigin - this.#seconds * 1000;
  }

  /** Reads the clock. Returns nanoseconds since the thread started. */
  refresh(): number {
    const now = performance.now();
    const milliseconds = this.#milliseconds + now;
    const seconds = Math.floor(milliseconds / 1000);
    this.#arena.u32[this.#at] = this.#seconds + seconds;
    this.#arena.u32[this.#at + ((LCORE_NANOSECONDS - LCORE_SECONDS) >>> 2)] = (milliseconds - seconds * 1000) * 1e6;
    return now * 1e6;
  }
}
