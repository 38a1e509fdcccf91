/**
 * What an lcore does when a poll found nothing.
 *
 * - `spin`: polls again at once; lowest latency, a whole core.
 * - `yield`: after 200 empty polls sleeps some 50 µs between polls.
 * - `park`: after 200 empty polls sleeps until its doorbell rings, 1 ms at most.
 */
export type IdleStrategy = 'spin' | 'yield' | 'park';

/** Empty polls before an lcore sleeps: some 20 µs of polling, about what a wake-up costs (25–28 µs). */
const SPINS = 200;
/** Shortest sleep; the kernel's timer slack adds some 50 µs. */
const YIELD_MS = 0.001;
/** Ports without a doorbell (files, sockets) are still looked at this often. */
const PARK_MS = 1;

/**
 * Sleeps as the strategy says, once `sleeps` says that it is time to.
 * @param i32 view over the arena; `doorbell` and `parked` are word indexes in it.
 */
export function idle(strategy: IdleStrategy, i32: Int32Array, doorbell: number, parked: number): void {
  if (strategy === 'yield') {
    Atomics.wait(i32, doorbell, 0, YIELD_MS);
    return;
  }
  Atomics.store(i32, parked, 1);
  Atomics.wait(i32, doorbell, 0, PARK_MS);
  Atomics.store(i32, parked, 0);
}

/**
 * Wakes the lcore whose doorbell and parked words are given, when it sleeps. Costs one load when it does not. One that
 * is about to sleep may be missed: it looks again after a millisecond.
 */
export function ringDoorbell(i32: Int32Array, doorbell: number, parked: number): void {
  if (Atomics.load(i32, parked) === 0) return;
  Atomics.store(i32, doorbell, 1);
  Atomics.notify(i32, doorbell);
}

/** True when the strategy sleeps after so many empty polls. */
export function sleeps(strategy: IdleStrategy, empties: number): boolean {
  return strategy !== 'spin' && empties >= SPINS;
}
