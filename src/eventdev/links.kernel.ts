import { EVDEV_QUEUE_ENTRIES, EVQUEUE_LINKS, EVQUEUE_SHIFT, FLOW_QUEUE_SHIFT } from './layout.ts';

/** True when port number `id` serves the queue of `flow`, at the moment. */
export function serves(device: u32, id: u32, flow: u32): bool {
  const links = device + EVDEV_QUEUE_ENTRIES + EVQUEUE_LINKS + ((flow >> FLOW_QUEUE_SHIFT) << EVQUEUE_SHIFT);
  return ((atomic.load<u32>(links + ((id >> 5) << 2)) >> (id & 31)) & 1) !== 0;
}
