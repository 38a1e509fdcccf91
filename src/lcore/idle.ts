/**
 * What an lcore does when a poll found nothing.
 *
 * - `spin`: polls again at once; lowest latency, a whole core.
 * - `yield`: after 200 empty polls sleeps some 50 µs between polls.
 * - `park`: after 200 empty polls, or fewer, as its task has it, sleeps until its doorbell rings; 1 ms at most, or as long as
 *   its task says that others wake it.
 */
export type IdleStrategy = 'spin' | 'yield' | 'park';

/** Empty polls before an lcore sleeps: some 20 µs of polling, about what a wake-up costs (25–28 µs). */
const SPINS = 200;
/** Shortest sleep; the kernel's timer slack adds some 50 µs. */
const YIELD_MS = 0.001;
/** Ports without a doorbell (files, sockets) are still looked at this often. */
export const PARK_MS = 1;

/**
 * Sleeps as the strategy says, once `sleeps` says that it is time to.
 * @param i32 view over the arena; `doorbell` and `parked` are word indexes in it.
 * @param rest looks once more, now that others see that the lcore sleeps, and says how many ms it may; 0: not at all.
 */
export function idle(
  strategy: IdleStrategy,
  i32: Int32Array,
  doorbell: number,
  parked: number,
  rest: () => number,
): void {
  if (strategy === 'yield') {
    Atomics.wait(i32, doorbell, 0, YIELD_MS);
    return;
  }
  Atomics.store(i32, parked, 1);
  const ms = rest();
  if (ms > 0) Atomics.wait(i32, doorbell, 0, ms);
  Atomics.store(i32, parked, 0);
}

/**
 * Wakes the lcore whose doorbell and parked words are given, when it sleeps. Costs one load when it does not. Write first
 * what it is to find: it looks once more after it has said that it sleeps.
 */
export function ringDoorbell(i32: Int32Array, doorbell: number, parked: number): void {
  if (Atomics.load(i32, parked) === 0) return;
  Atomics.store(i32, doorbell, 1);
  Atomics.notify(i32, doorbell);
}

/** True when the strategy sleeps after so many empty polls. `eager`: one that parks does so after the first. */
export function sleeps(strategy: IdleStrategy, empties: number, eager: boolean): boolean {
  return strategy !== 'spin' && (empties >= SPINS || (eager && strategy === 'park'));
}
