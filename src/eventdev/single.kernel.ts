// The usual case of a burst of one, on its own: the kernels for bursts cost it twice as much.

import { SLOT_EVENT, SLOT_FLOW } from '../memory/layout.ts';
import { MPSC_RUNS, MPSC_SIZE, MPSC_TAIL } from '../ring/layout.ts';
import { needsBackground } from './background.kernel.ts';
import { dequeue } from './dequeue.kernel.ts';
import { enqueue } from './enqueue.kernel.ts';
import {
  EVDEV_HASH_BITS,
  EVDEV_QUEUE_ENTRIES,
  EVDEV_QUEUES,
  EVDEV_TABLES,
  EVENT_OP_MASK,
  EVENT_OP_SHIFT,
  EVENT_QUEUE_MASK,
  EVPORT_BUSY,
  EVPORT_DEQUEUED,
  EVPORT_DEVICE,
  EVPORT_FORWARD_ENQUEUED,
  EVPORT_LOCAL_READ,
  EVPORT_LOCAL_TAIL,
  EVPORT_OPS,
  EVPORT_PAUSED_COUNT,
  EVPORT_PENDING,
  EVPORT_QUEUE_DEQUEUED,
  EVPORT_QUEUE_ENQUEUED,
  EVPORT_RING,
  EVPORT_ROUND_LOCAL,
  EVPORT_STATE,
  EVPORT_TAIL,
  EVPORT_TIMED,
  EVQUEUE_SCHEDULE,
  EVQUEUE_SHIFT,
  MIGRATION_IDLE,
  OP_FORWARD,
  SCHEDULE_PARALLEL,
  TAIL_LAG,
} from './layout.ts';
import { buffer, flowHash } from './output.kernel.ts';
import { hasWork, nextLocal } from './rounds.kernel.ts';
import { count } from './runs.kernel.ts';

/** `enqueue` of one event. */
export function enqueueOne(port: u32, slot: u32): u32 {
  const device = load<u32>(port, EVPORT_DEVICE);
  const event: u32 = load<u16>(slot, SLOT_EVENT);
  const queue = event & EVENT_QUEUE_MASK;
  const pending = load<u32>(port, EVPORT_PENDING);
  const entry = device + EVDEV_QUEUE_ENTRIES + (queue << EVQUEUE_SHIFT);
  if (
    ((event >> EVENT_OP_SHIFT) & EVENT_OP_MASK) !== OP_FORWARD ||
    pending === 0 ||
    queue >= load<u32>(device, EVDEV_QUEUES) ||
    load<u32>(entry, EVQUEUE_SCHEDULE) >= SCHEDULE_PARALLEL ||
    load<u32>(port, EVPORT_PAUSED_COUNT) > 0 ||
    needsBackground(port)
  ) {
    return enqueue(port, slot, 1);
  }
  store<u32>(port, 0, EVPORT_TIMED);
  store<u32>(port, load<u32>(port, EVPORT_OPS) + 2, EVPORT_OPS);
  store<u32>(port, pending - 1, EVPORT_PENDING);
  count(port + EVPORT_FORWARD_ENQUEUED, 1);
  count(port + EVPORT_QUEUE_ENQUEUED + (queue << 3), 1);
  const bits = load<u32>(device, EVDEV_HASH_BITS);
  const table = load<u32>(device, EVDEV_TABLES) + (queue << bits);
  buffer(port, device, load<u8>(table + flowHash(load<u32>(slot, SLOT_FLOW), bits)), slot);
  return 1;
}

/** `dequeue` of one event at most. */
export function dequeueOne(port: u32, target: u32): u32 {
  if (
    load<u32>(port, EVPORT_PENDING) > 0 ||
    load<u32>(port, EVPORT_BUSY) === 0 ||
    load<u32>(port, EVPORT_STATE) !== MIGRATION_IDLE ||
    needsBackground(port) ||
    !hasWork(port)
  ) {
    return dequeue(port, target, 1);
  }
  let slot = load<u32>(port, EVPORT_LOCAL_TAIL);
  const isLocal = slot !== load<u32>(port, EVPORT_ROUND_LOCAL);
  const ring = load<u32>(port, EVPORT_RING);
  const tail = load<u32>(port, EVPORT_TAIL);
  if (!isLocal) {
    const size = load<u32>(ring, MPSC_SIZE);
    slot = ring + MPSC_RUNS + (size << 2) + ((tail & (size - 1)) << 4);
  }
  // From where it was: what was just stored would have to be waited for.
  const queue: u32 = load<u16>(slot, SLOT_EVENT) & EVENT_QUEUE_MASK;
  v128.store(target, v128.load(slot));
  if (isLocal) {
    store<u32>(port, nextLocal(port, slot), EVPORT_LOCAL_TAIL);
    store<u32>(port, load<u32>(port, EVPORT_LOCAL_READ) + 1, EVPORT_LOCAL_READ);
  } else {
    store<u32>(port, tail + 1, EVPORT_TAIL);
    if (tail + 1 - load<u32>(ring, MPSC_TAIL) >= TAIL_LAG) atomic.store<u32>(ring, tail + 1, MPSC_TAIL);
  }
  store<u32>(port, 0, EVPORT_TIMED);
  store<u32>(port, load<u32>(port, EVPORT_OPS) + 2, EVPORT_OPS);
  store<u32>(port, 1, EVPORT_PENDING);
  count(port + EVPORT_DEQUEUED, 1);
  count(port + EVPORT_QUEUE_DEQUEUED + (queue << 3), 1);
  return 1;
}
