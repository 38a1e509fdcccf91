import { background, needsBackground } from './background.kernel.ts';
import { giveCredits } from './credits.kernel.ts';
import {
  EVPORT_BUSY,
  EVPORT_DEQUEUE_DEPTH,
  EVPORT_DEQUEUED,
  EVPORT_DEVICE,
  EVPORT_IMPLICIT_RELEASE,
  EVPORT_OPS,
  EVPORT_PENDING,
  EVPORT_QUEUE_DEQUEUED,
  EVPORT_SCRATCH,
  EVPORT_STATE,
  EVPORT_TIMED,
  MIGRATION_DRAINING,
  MIGRATION_FINISHING,
  MIGRATION_PAUSING,
  NEEDS_TIME,
} from './layout.ts';
import { turnBusy, turnIdle } from './load.kernel.ts';
import { stashMoving } from './move.kernel.ts';
import { flushOutputs } from './output.kernel.ts';
import { hasWork, readRounds } from './rounds.kernel.ts';
import { count, countQueues } from './runs.kernel.ts';

/** With implicit release, the events of the last dequeue that are left are finished now. */
export function releaseLast(port: u32): void {
  const pending = load<u32>(port, EVPORT_PENDING);
  if (pending === 0 || load<u32>(port, EVPORT_IMPLICIT_RELEASE) === 0) return;
  giveCredits(port, load<u32>(port, EVPORT_DEVICE), pending);
  store<u32>(port, 0, EVPORT_PENDING);
}

/**
 * Moves up to `limit` events (EVPORT_DEQUEUE_DEPTH at most) to `target`. Returns how many, or NEEDS_TIME. With implicit
 * release, what the application still held of the last dequeue is released first.
 */
export function dequeue(port: u32, target: u32, limit: u32): u32 {
  releaseLast(port);
  if (needsBackground(port) && !background(port)) return NEEDS_TIME;
  const state = load<u32>(port, EVPORT_STATE);
  // A port that waits for its application to finish what it holds takes on nothing new, and is not idle for that.
  const waits = state === MIGRATION_FINISHING;
  limit = waits ? 0 : min(limit, load<u32>(port, EVPORT_DEQUEUE_DEPTH));
  const isWork = limit > 0 && hasWork(port);
  if (limit > 0 && isWork !== (load<u32>(port, EVPORT_BUSY) !== 0)) {
    if (load<u32>(port, EVPORT_TIMED) === 0) return NEEDS_TIME;
    if (isWork) turnBusy(port);
    else turnIdle(port);
  }
  store<u32>(port, 0, EVPORT_TIMED);
  const found = isWork ? readRounds(port, target, limit) : 0;
  store<u32>(port, load<u32>(port, EVPORT_OPS) + found + 1, EVPORT_OPS);
  if (found === 0) {
    // A port without work can afford to send short bursts.
    flushOutputs(port);
    return 0;
  }
  const n = state === MIGRATION_PAUSING || state === MIGRATION_DRAINING ? stashMoving(port, target, found) : found;
  if (n > 0) countDequeued(port, target, n);
  return n;
}

/** Counts `n` events at `target` that the application gets. */
export function countDequeued(port: u32, target: u32, n: u32): void {
  store<u32>(port, load<u32>(port, EVPORT_PENDING) + n, EVPORT_PENDING);
  count(port + EVPORT_DEQUEUED, n);
  countQueues(
    port + EVPORT_QUEUE_DEQUEUED,
    load<u32>(port, EVPORT_DEVICE),
    target,
    target + (n << 4),
    port + EVPORT_SCRATCH,
  );
}
