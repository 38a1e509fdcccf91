import { MPSC_READABLE, MPSC_RUNS, MPSC_SIZE } from '../ring/layout.ts';
import { isCalled } from './background.kernel.ts';
import { giveStock } from './credits.kernel.ts';
import { mayEvacuate } from './evacuate.kernel.ts';
import {
  BACKGROUND_OPS,
  BELL_PARKED,
  BELL_RUNG,
  EVDEV_BELLS,
  EVDEV_LEVELS,
  EVDEV_ORDERED,
  EVPORT_BUSY,
  EVPORT_CLOCK_IN,
  EVPORT_DEVICE,
  EVPORT_ID,
  EVPORT_OPS,
  EVPORT_RING,
  EVPORT_TAIL,
} from './layout.ts';
import { anyReady, anyToDrain } from './ordered.kernel.ts';
import { flushOutputs } from './output.kernel.ts';
import { hasLane, hasLocal } from './rounds.kernel.ts';

/** True when a level, whose words are at `its`, has events. */
function hasEvents(its: u32): bool {
  const ring = load<u32>(its, EVPORT_RING);
  const readable = load<u32>(ring, MPSC_READABLE);
  if (readable !== load<u32>(its, EVPORT_TAIL)) return true;
  const place = readable & (load<u32>(ring, MPSC_SIZE) - 1);
  return atomic.load<u32>(ring + MPSC_RUNS + (place << 2)) !== 0;
}

/** True when a call would find something: events, a message, a step of a migration, flows to move away, the end of a busy time. */
function isReady(port: u32): bool {
  if (load<u32>(port, EVPORT_BUSY) !== 0 || mayEvacuate(port)) return true;
  const device = load<u32>(port, EVPORT_DEVICE);
  if (load<u32>(device, EVDEV_ORDERED) !== 0 && (anyReady(port, device) || anyToDrain(port, device))) return true;
  const levels = load<u32>(device, EVDEV_LEVELS);
  for (let level: u32 = 0; level < levels; level++) if (hasEvents(port + (level << 2))) return true;
  return (hasLane(port) && hasLocal(port)) || isCalled(port);
}

/**
 * Prepares to sleep on the port's bell: sends what is buffered, gives credits back, and lets senders ring. Returns 1;
 * or 0, when there is something to do instead. Whoever wakes up calls `unpark`.
 */
export function park(port: u32): u32 {
  if (isReady(port)) return 0;
  flushOutputs(port);
  giveStock(port);
  const device = load<u32>(port, EVPORT_DEVICE);
  const bell = load<u32>(device + (load<u32>(port, EVPORT_ID) << 2), EVDEV_BELLS);
  atomic.store<u32>(bell, 1, BELL_PARKED);
  // Whoever published something after this look sees that the port is parked.
  if (!isReady(port)) return 1;
  atomic.store<u32>(bell, 0, BELL_PARKED);
  return 0;
}

/** The thread is awake: nobody needs to ring. */
export function unpark(port: u32): void {
  const device = load<u32>(port, EVPORT_DEVICE);
  const bell = load<u32>(device + (load<u32>(port, EVPORT_ID) << 2), EVDEV_BELLS);
  atomic.store<u32>(bell, 0, BELL_PARKED);
  atomic.store<u32>(bell, 0, BELL_RUNG);
  // The background has not run meanwhile.
  store<u32>(port, BACKGROUND_OPS, EVPORT_OPS);
  store<u32>(port, 1, EVPORT_CLOCK_IN);
}
