import { MPSC_HEAD, MPSC_TAIL } from '../ring/layout.ts';
import { considerMigration } from './choose.kernel.ts';
import { giveStock } from './credits.kernel.ts';
import { evacuate } from './evacuate.kernel.ts';
import {
  BACKGROUND_OPS,
  EVPORT_BUSY,
  EVPORT_CONTROL,
  EVPORT_LAST_BACKGROUND,
  EVPORT_NOW,
  EVPORT_OPS,
  EVPORT_PENDING,
  EVPORT_STATE,
  EVPORT_TIMED,
  MIGRATION_DRAINING,
  MIGRATION_FINISHING,
  NEEDS_TIME,
} from './layout.ts';
import { updateLoad } from './load.kernel.ts';
import { handleControl, pauseEverywhere, tryMove } from './move.kernel.ts';
import { flushOutputs } from './output.kernel.ts';

/** True when a call has more to do than its events: a message, a step of a migration, or the background's turn. */
export function needsBackground(port: u32): bool {
  const control = load<u32>(port, EVPORT_CONTROL);
  const state = load<u32>(port, EVPORT_STATE);
  return (
    load<u32>(port, EVPORT_OPS) >= BACKGROUND_OPS ||
    atomic.load<u32>(control, MPSC_HEAD) !== load<u32>(control, MPSC_TAIL) ||
    (state === MIGRATION_FINISHING && load<u32>(port, EVPORT_PENDING) === 0) ||
    state === MIGRATION_DRAINING
  );
}

/** Does it: one message a call. Returns false, with nothing done, when the caller has not told the time. */
export function background(port: u32): bool {
  if (load<u32>(port, EVPORT_TIMED) === 0) return false;
  handleControl(port);
  const state = load<u32>(port, EVPORT_STATE);
  if (state === MIGRATION_FINISHING && load<u32>(port, EVPORT_PENDING) === 0) pauseEverywhere(port);
  else if (state === MIGRATION_DRAINING) tryMove(port);
  if (load<u32>(port, EVPORT_OPS) >= BACKGROUND_OPS) {
    store<u32>(port, 0, EVPORT_OPS);
    store<u64>(port, load<u64>(port, EVPORT_NOW), EVPORT_LAST_BACKGROUND);
    flushOutputs(port);
    updateLoad(port);
    if (load<u32>(port, EVPORT_BUSY) === 0) giveStock(port);
    evacuate(port);
    considerMigration(port);
  }
  return true;
}

/** Does a port's background work without events. Returns 0, or NEEDS_TIME. */
export function maintain(port: u32): u32 {
  if (needsBackground(port) && !background(port)) return NEEDS_TIME;
  store<u32>(port, 0, EVPORT_TIMED);
  store<u32>(port, load<u32>(port, EVPORT_OPS) + 1, EVPORT_OPS);
  return 0;
}
