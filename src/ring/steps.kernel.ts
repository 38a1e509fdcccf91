// The steps of a push and a pop as calls of their own: test kernels only, so that the simulator can interleave them.
import { pushClaim as mpscClaim } from './mpsc.kernel.ts';

/** Claims places for up to `count` slots; stores the first's index at `indexAt`. Returns their number. */
export function mpscPushClaim(ring: u32, count: u32, indexAt: u32): u32 {
  const claim = mpscClaim(ring, count);
  store<u32>(indexAt, <u32>claim);
  return <u32>(claim >> 32);
}
