import type { VirtqueueDevice } from './queue.ts';

/** Bursts of one call: a driver on another thread could keep a device busy for ever. */
const BURSTS_MAX = 256;

/**
 * Serves a queue burst by burst until it is empty, and has the driver notify again then. `burst` takes and returns some
 * chains, and says how many. True when it stopped with chains left: call again.
 */
export function drain(queue: VirtqueueDevice, burst: () => number): boolean {
  queue.setNotify(false);
  for (let i = 0; i < BURSTS_MAX; i++) {
    if (burst() === 0 && !queue.setNotify(true)) return false;
  }
  return true;
}
