import { EVENT_RUN_MASK } from './layout.ts';

/** True when all slots from `slot` to before `end` go to one queue with one operation, as most bursts do. */
export function isOneRun(slot: u32, end: u32): bool {
  if (end - slot === 16) return true;
  const first = v128.load(slot);
  let differ = i32x4.splat(0);
  for (let at = slot; at < end; at += 16) differ = v128.or(differ, v128.xor(first, v128.load(at)));
  return (i16x8.extract_lane_u(differ, 7) & EVENT_RUN_MASK) === 0;
}

/** Adds to a counter. */
export function count(counter: u32, n: u32): void {
  store<u64>(counter, load<u64>(counter) + n);
}
