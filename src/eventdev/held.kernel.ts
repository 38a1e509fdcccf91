import {
  EVDEV_HASH_BITS,
  EVPORT_DEVICE,
  EVPORT_MOVING_COUNT,
  EVPORT_MOVING_FLOWS,
  EVPORT_MOVING_TARGETS,
  EVPORT_STATE,
  MIGRATION_FINISHING,
} from './layout.ts';
import { endMigration, pauseEverywhere } from './move.kernel.ts';
import { atomicFlow, findFlow } from './output.kernel.ts';

/**
 * Takes the flow at `at` out of the list of those that move. Before they were asked, ports do not read it; who looks
 * whether flows are on their way to an unlinked port finds the last one at either place.
 */
function keep(port: u32, at: u32): void {
  const last = load<u32>(port, EVPORT_MOVING_COUNT) - 1;
  const flows = port + EVPORT_MOVING_FLOWS;
  const targets = port + EVPORT_MOVING_TARGETS;
  store<u32>(flows + (at << 2), load<u32>(flows + (last << 2)));
  store<u32>(targets + (at << 2), load<u32>(targets + (last << 2)));
  atomic.store<u32>(port, last, EVPORT_MOVING_COUNT);
}

/**
 * Says what the application holds while the port waits for it to finish: the `n` events at `slots`, or one for each of
 * their flows. Those flows stay; the others move now, although the application has not finished. Returns 1 when the port
 * no longer waits, so that it is worth dequeuing again, and 0 when it did not wait.
 */
export function held(port: u32, slots: u32, n: u32): u32 {
  if (load<u32>(port, EVPORT_STATE) !== MIGRATION_FINISHING) return 0;
  const bits = load<u32>(load<u32>(port, EVPORT_DEVICE), EVDEV_HASH_BITS);
  for (let i: u32 = 0; i < n; i++) {
    const moving = load<u32>(port, EVPORT_MOVING_COUNT);
    const at = findFlow(port + EVPORT_MOVING_FLOWS, moving, atomicFlow(slots + (i << 4), bits));
    if (at < moving) keep(port, at);
  }
  if (load<u32>(port, EVPORT_MOVING_COUNT) === 0) endMigration(port);
  else pauseEverywhere(port);
  return 1;
}
