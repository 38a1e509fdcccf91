// The dequeue of devices whose queues have several priorities: a port has an event ring for each level.

import { MPSC_SIZE } from '../ring/layout.ts';
import { claimFrom } from '../ring/mpsc.kernel.ts';
import { background, needsBackground } from './background.kernel.ts';
import { countDequeued, releaseLast } from './dequeue.kernel.ts';
import {
  EVDEV_LEVELS,
  EVPORT_BUSY,
  EVPORT_DEQUEUE_DEPTH,
  EVPORT_DEVICE,
  EVPORT_OPS,
  EVPORT_RING,
  EVPORT_STATE,
  EVPORT_TAIL,
  EVPORT_TIMED,
  MIGRATION_DRAINING,
  MIGRATION_FINISHING,
  MIGRATION_PAUSING,
  NEEDS_TIME,
} from './layout.ts';
import { turnBusy, turnIdle } from './load.kernel.ts';
import { stashMoving } from './move.kernel.ts';
import { flushOutputs } from './output.kernel.ts';
import { readSlots } from './rounds.kernel.ts';

/** How many of `max` events a level, whose words are at `its`, has. */
function claimLevel(its: u32, max: u32): u32 {
  const ring = load<u32>(its, EVPORT_RING);
  return claimFrom(ring, load<u32>(ring, MPSC_SIZE), load<u32>(its, EVPORT_TAIL), max);
}

/** How many of `max` events all levels have. */
export function claimLevels(port: u32, levels: u32, max: u32): u32 {
  let found: u32 = 0;
  for (let level: u32 = 0; level < levels && found < max; level++) {
    found += claimLevel(port + (level << 2), max - found);
  }
  return found;
}

/** Copies `n` events, which there are, to `target`, from the highest level down. */
export function readLevels(port: u32, target: u32, n: u32): void {
  for (let its = port; n > 0; its += 4) {
    const found = claimLevel(its, n);
    if (found === 0) continue;
    const ring = load<u32>(its, EVPORT_RING);
    readSlots(its, ring, load<u32>(ring, MPSC_SIZE), load<u32>(its, EVPORT_TAIL), target, found);
    target += found << 4;
    n -= found;
  }
}

/** `dequeue` from several levels: events of a lower one when there are no more of a higher one. */
export function dequeueLevels(port: u32, target: u32, limit: u32): u32 {
  releaseLast(port);
  if (needsBackground(port) && !background(port)) return NEEDS_TIME;
  const state = load<u32>(port, EVPORT_STATE);
  limit = state === MIGRATION_FINISHING ? 0 : min(limit, load<u32>(port, EVPORT_DEQUEUE_DEPTH));
  const found = claimLevels(port, load<u32>(load<u32>(port, EVPORT_DEVICE), EVDEV_LEVELS), limit);
  if (limit > 0 && found > 0 !== (load<u32>(port, EVPORT_BUSY) !== 0)) {
    if (load<u32>(port, EVPORT_TIMED) === 0) return NEEDS_TIME;
    if (found > 0) turnBusy(port);
    else turnIdle(port);
  }
  store<u32>(port, 0, EVPORT_TIMED);
  store<u32>(port, load<u32>(port, EVPORT_OPS) + found + 1, EVPORT_OPS);
  if (found === 0) {
    flushOutputs(port);
    return 0;
  }
  readLevels(port, target, found);
  const n = state === MIGRATION_PAUSING || state === MIGRATION_DRAINING ? stashMoving(port, target, found) : found;
  if (n > 0) countDequeued(port, target, n);
  return n;
}
