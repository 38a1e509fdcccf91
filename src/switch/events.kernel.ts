// Packets as events of an event device, before and behind the switch.

import { EVENT_QUEUE_MASK } from '../eventdev/layout.ts';
import { BURST_MAX, SLOT_EVENT, SLOT_FLOW, SLOT_PORT, SLOT_SHIFT } from '../memory/layout.ts';
import { flowHash } from '../packet/flow.kernel.ts';
import { DROP_TX_FULL } from '../telemetry/layout.ts';
import { append } from './emit.kernel.ts';
import { GROUP_COUNTS, GROUP_SLOTS } from './layout.ts';

/** Makes events of `n` packets that came in: queue and operation `event`, and a flow hash where there is none yet. */
export function enter(slots: u32, n: u32, event: u32): void {
  for (let i: u32 = 0; i < n; i++) {
    const slot = slots + (i << SLOT_SHIFT);
    if (load<u32>(slot, SLOT_FLOW) === 0) flowHash(slot, 1);
    store<u16>(slot, <u16>event, SLOT_EVENT);
  }
}

/** Gives `n` events another queue and operation. */
export function mark(slots: u32, n: u32, event: u32): void {
  for (let i: u32 = 0; i < n; i++) store<u16>(slots + (i << SLOT_SHIFT), <u16>event, SLOT_EVENT);
}

/** The same for packets on their way out, which are to leave through `port`. */
export function leave(slots: u32, n: u32, event: u32, port: u32): void {
  for (let i: u32 = 0; i < n; i++) {
    const slot = slots + (i << SLOT_SHIFT);
    store<u16>(slot, <u16>event, SLOT_EVENT);
    store<u8>(slot, <u8>port, SLOT_PORT);
  }
}

/**
 * Sorts `n` (up to 32) events by their queue; those of a queue keep their order. How many each of `queues` queues has
 * is at GROUP_COUNTS of `work`.
 */
export function group(slots: u32, n: u32, queues: u32, work: u32): void {
  assert(n <= BURST_MAX);
  let done: u32 = 0;
  for (let queue: u32 = 0; queue < queues; queue++) {
    const before = done;
    for (let i: u32 = 0; i < n; i++) {
      const slot = slots + (i << SLOT_SHIFT);
      if ((load<u16>(slot, SLOT_EVENT) & EVENT_QUEUE_MASK) !== queue) continue;
      v128.store(work + GROUP_SLOTS + (done << SLOT_SHIFT), v128.load(slot));
      done++;
    }
    store<u32>(work + GROUP_COUNTS + (queue << 2), done - before);
  }
  assert(done === n);
  memory.copy(slots, work + GROUP_SLOTS, n << SLOT_SHIFT);
}

/** Puts `n` packets into the outputs of `path` to the ports that they are to leave through; drops what does not fit. */
export function deliver(path: u32, slots: u32, n: u32): void {
  for (let i: u32 = 0; i < n; i++) {
    const slot = slots + (i << SLOT_SHIFT);
    const port: u32 = load<u8>(slot, SLOT_PORT);
    append(path, slot, port, port, DROP_TX_FULL);
  }
}
