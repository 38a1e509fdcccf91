import { SLOT_EVENT } from '../memory/layout.ts';
import { EVENT_RUN_MASK } from './layout.ts';

/** True when all slots from `slot` to before `end` go to one queue with one operation, as most bursts do. */
export function isOneRun(slot: u32, end: u32): bool {
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

/** Adds to a counter. */
export function count(counter: u32, n: u32): void {
  store<u64>(counter, load<u64>(counter) + n);
}
