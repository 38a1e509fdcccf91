import { SLOT_EVENT, SLOT_FLOW, SLOT_PORT } from '../memory/layout.ts';
import { EVENT_RUN_MASK } from './layout.ts';

/** True when all slots from `slot` to before `end` go to one queue with one operation, as most bursts do. */
export function isOneRun(slot: u32, end: u32): bool {
  if (end - slot === 16) return true;
  const first = v128.load(slot);
  let differ = i32x4.splat(0);
  for (let at = slot; at < end; at += 16) differ = v128.or(differ, v128.xor(first, v128.load(at)));
  return (i16x8.extract_lane_u(differ, 7) & EVENT_RUN_MASK) === 0;
}

/** The end of the run that starts at `slot`: slots of one queue and operation. Not past `end`. */
export function runEnd(slot: u32, end: u32): u32 {
  const run = load<u16>(slot, SLOT_EVENT) & EVENT_RUN_MASK;
  let at = slot + 16;
  while (at < end && (load<u16>(at, SLOT_EVENT) & EVENT_RUN_MASK) === run) at += 16;
  return at;
}

/**
 * Copies one slot whose event somebody has just written: a wide load of it would wait until that narrow store, and all
 * before it, have left the processor's store buffer.
 */
export function copyFresh(target: u32, slot: u32): void {
  store<u64>(target, load<u64>(slot));
  store<u32>(target, load<u32>(slot, SLOT_FLOW), SLOT_FLOW);
  store<u16>(target, load<u16>(slot, SLOT_PORT), SLOT_PORT);
  store<u16>(target, load<u16>(slot, SLOT_EVENT), SLOT_EVENT);
}

/** Adds to a counter. */
export function count(counter: u32, n: u32): void {
  store<u64>(counter, load<u64>(counter) + n);
}
