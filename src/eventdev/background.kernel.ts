import { MPSC_HEAD, MPSC_TAIL } from '../ring/layout.ts';
import { considerMigration } from './choose.kernel.ts';
import { giveStock } from './credits.kernel.ts';
import { evacuate } from './evacuate.kernel.ts';
import {
  BACKGROUND_OPS,
  CLOCK_EVERY_MAX,
  CLOCK_MIN_NS,
  EVDEV_ORDERED,
  EVPORT_BUSY,
  EVPORT_CLOCK_EVERY,
  EVPORT_CLOCK_IN,
  EVPORT_CONTROL,
  EVPORT_DEVICE,
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
import { drainAll } from './ordered.kernel.ts';
import { flushOutputs } from './output.kernel.ts';

/** True when there is a message for the port, or a step that its migration can take. */
export function isCalled(port: u32): bool {
  const control = load<u32>(port, EVPORT_CONTROL);
  const state = load<u32>(port, EVPORT_STATE);
  return (
    atomic.load<u32>(control, MPSC_HEAD) !== load<u32>(control, MPSC_TAIL) ||
    (state === MIGRATION_FINISHING && load<u32>(port, EVPORT_PENDING) === 0) ||
    state === MIGRATION_DRAINING
  );
}

/** True when a call has more to do than its events: a message, a step of a migration, or the background's turn. */
export function needsBackground(port: u32): bool {
  return load<u32>(port, EVPORT_OPS) >= BACKGROUND_OPS || isCalled(port);
}

/**
 * Which of the next background runs looks at the clock, which costs as much as ten events: each one, unless they follow
 * each other so fast that every eighth is often enough.
 */
function planClock(port: u32): void {
  const now = load<u64>(port, EVPORT_NOW);
  const passed = now - load<u64>(port, EVPORT_LAST_BACKGROUND);
  store<u64>(port, now, EVPORT_LAST_BACKGROUND);
  const skipped = load<u32>(port, EVPORT_CLOCK_EVERY);
  const every = passed < CLOCK_MIN_NS ? min(skipped << 1, CLOCK_EVERY_MAX) : passed < 2 * CLOCK_MIN_NS ? skipped : 1;
  store<u32>(port, every, EVPORT_CLOCK_EVERY);
  store<u32>(port, every, EVPORT_CLOCK_IN);
}

/** Does it: one message a call. Returns false, with nothing done, when the caller has not told the time and it is needed. */
export function background(port: u32): bool {
  const isTurn = load<u32>(port, EVPORT_OPS) >= BACKGROUND_OPS;
  const isTimed = load<u32>(port, EVPORT_TIMED) !== 0;
  if (!isTimed && (load<u32>(port, EVPORT_CLOCK_IN) <= 1 || isCalled(port))) return false;
  if (isTimed) {
    handleControl(port);
    const state = load<u32>(port, EVPORT_STATE);
    if (state === MIGRATION_FINISHING && load<u32>(port, EVPORT_PENDING) === 0) pauseEverywhere(port);
    else if (state === MIGRATION_DRAINING) tryMove(port);
  }
  if (!isTurn) return true;
  store<u32>(port, 0, EVPORT_OPS);
  flushOutputs(port);
  if (!isTimed) {
    store<u32>(port, load<u32>(port, EVPORT_CLOCK_IN) - 1, EVPORT_CLOCK_IN);
    return true;
  }
  planClock(port);
  updateLoad(port);
  if (load<u32>(port, EVPORT_BUSY) === 0) giveStock(port);
  evacuate(port);
  considerMigration(port);
  return true;
}

/** Does a port's background work without events. Returns 0, or NEEDS_TIME. */
export function maintain(port: u32): u32 {
  if (needsBackground(port) && !background(port)) return NEEDS_TIME;
  const device = load<u32>(port, EVPORT_DEVICE);
  if (load<u32>(device, EVDEV_ORDERED) !== 0) drainAll(port, device);
  store<u32>(port, 0, EVPORT_TIMED);
  store<u32>(port, load<u32>(port, EVPORT_OPS) + 1, EVPORT_OPS);
  return 0;
}
