import { SLOT_EVENT } from '../memory/layout.ts';
import { EVDEV_ONES, EVDEV_QUEUES, EVENT_QUEUE_MASK, EVENT_RUN_MASK } from './layout.ts';

/** The event words of a burst in one: the bits that any of them has, above those that all of them have. */
export function summarise(slot: u32, end: u32): u32 {
  const first = v128.load(slot);
  let any = first;
  let all = first;
  for (slot += 16; slot < end; slot += 16) {
    const next = v128.load(slot);
    any = v128.or(any, next);
    all = v128.and(all, next);
  }
  return ((<u32>i16x8.extract_lane_u(any, 7)) << 16) | i16x8.extract_lane_u(all, 7);
}

/** True when all events of a burst go to one queue with one operation. */
export function isOneRun(summary: u32): bool {
  return (((summary >> 16) ^ summary) & EVENT_RUN_MASK) === 0;
}

/** Adds to a counter. */
export function count(counter: u32, n: u32): void {
  store<u64>(counter, load<u64>(counter) + n);
}

/** Adds the counts at `scratch`, a byte for each queue, to counters by queue. */
export function addCounts(counters: u32, device: u32, scratch: u32): void {
  const end = scratch + load<u32>(device, EVDEV_QUEUES);
  for (; scratch < end; scratch++) {
    const n: u32 = load<u8>(scratch);
    if (n !== 0) count(counters, n);
    counters += 8;
  }
}

/** Adds the events of a burst to counters by queue. */
export function countQueues(counters: u32, device: u32, slots: u32, end: u32, scratch: u32): void {
  if (isOneRun(summarise(slots, end))) {
    count(counters + ((load<u16>(slots, SLOT_EVENT) & EVENT_QUEUE_MASK) << 3), (end - slots) >> 4);
    return;
  }
  let counts = i8x16.splat(0);
  for (; slots < end; slots += 16) {
    const queue: u32 = load<u16>(slots, SLOT_EVENT) & EVENT_QUEUE_MASK;
    counts = i8x16.add(counts, v128.load(device + (queue << 4), EVDEV_ONES));
  }
  v128.store(scratch, counts);
  addCounts(counters, device, scratch);
}
