import { lightestTarget, readLoads } from './choose.kernel.ts';
import {
  EVDEV_HASH_BITS,
  EVDEV_PORTS,
  EVDEV_QUEUES,
  EVDEV_TABLES,
  EVPORT_DEVICE,
  EVPORT_EVACUATION,
  EVPORT_ID,
  EVPORT_LOADS,
  EVPORT_MOVING_COUNT,
  EVPORT_MOVING_FLOWS,
  EVPORT_MOVING_TARGETS,
  EVPORT_NEXT_EVACUATION,
  EVPORT_NOW,
  EVPORT_PAUSED_EVENTS,
  EVPORT_STATE,
  EVPORT_UNSERVED,
  FLOW_QUEUE_SHIFT,
  FLOWS_PER_MIGRATION,
  MIGRATION_IDLE,
  MIGRATION_INTERVAL_NS,
} from './layout.ts';
import { beginMigration } from './move.kernel.ts';
import { firstLane } from './output.kernel.ts';

/** Adds `flow` to the list of `n` moving ones, if there is a port for it. Returns how many there are. */
function addFlow(port: u32, device: u32, flow: u32, n: u32): u32 {
  const to = lightestTarget(port, device, load<u32>(port, EVPORT_ID), flow);
  if (to === load<u32>(device, EVDEV_PORTS)) return n;
  store<u32>(port + EVPORT_MOVING_FLOWS + (n << 2), flow);
  store<u32>(port + EVPORT_MOVING_TARGETS + (n << 2), to);
  // What the flow brings is not known: each counts a little, so that they spread over ports that are equally busy.
  const its = port + EVPORT_LOADS + (to << 2);
  store<u32>(its, load<u32>(its) + 1);
  return n + 1;
}

/** Adds flows of `queue` that the port owns to the list of `n` moving ones, until it is full. Returns how many there are. */
function addOwned(port: u32, device: u32, queue: u32, n: u32): u32 {
  const bits = load<u32>(device, EVDEV_HASH_BITS);
  const table = load<u32>(device, EVDEV_TABLES) + (queue << bits);
  const self = i8x16.splat(<i8>(load<u32>(port, EVPORT_ID) + firstLane(device, queue << FLOW_QUEUE_SHIFT)));
  for (let hash: u32 = 0; hash < (1 as u32) << bits; hash += 16) {
    let owned: u32 = i8x16.bitmask(i8x16.eq(v128.load(table + hash), self));
    for (; owned !== 0; owned &= owned - 1) {
      if (n === FLOWS_PER_MIGRATION) return n;
      n = addFlow(port, device, (queue << FLOW_QUEUE_SHIFT) | (hash + ctz(owned)), n);
    }
  }
  return n;
}

/** True when there may be flows to move away, and the port may begin to. */
export function mayEvacuate(port: u32): bool {
  return (
    atomic.load<u32>(port, EVPORT_EVACUATION) !== 0 &&
    load<u32>(port, EVPORT_STATE) === MIGRATION_IDLE &&
    load<u32>(port, EVPORT_PAUSED_EVENTS) === 0
  );
}

/**
 * Begins to move away up to FLOWS_PER_MIGRATION flows of queues that the port serves no longer, whatever its load. The
 * next ones follow when it is idle in the protocol again.
 */
export function evacuate(port: u32): void {
  const now = load<u64>(port, EVPORT_NOW);
  if (now >= load<u64>(port, EVPORT_NEXT_EVACUATION)) {
    // A flow of a parallel queue that set out before the queue was taken from this port comes unannounced.
    store<u64>(port, now + MIGRATION_INTERVAL_NS, EVPORT_NEXT_EVACUATION);
    atomic.store<u32>(port, 1, EVPORT_EVACUATION);
  }
  if (!mayEvacuate(port)) return;
  // Before the look: who asks for another one during it is not lost.
  atomic.store<u32>(port, 0, EVPORT_EVACUATION);
  const unserved = atomic.load<u32>(port, EVPORT_UNSERVED);
  if (unserved === 0) return;
  const device = load<u32>(port, EVPORT_DEVICE);
  readLoads(port, device);
  const queues = load<u32>(device, EVDEV_QUEUES);
  let n: u32 = 0;
  for (let queue: u32 = 0; queue < queues; queue++) {
    if (((unserved >> queue) & 1) !== 0) n = addOwned(port, device, queue, n);
  }
  store<u32>(port, n, EVPORT_MOVING_COUNT);
  if (n === 0) return;
  atomic.store<u32>(port, 1, EVPORT_EVACUATION);
  beginMigration(port);
}
