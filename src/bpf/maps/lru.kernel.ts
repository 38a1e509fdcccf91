import { bucketOf, elementAt, lockWithin, unchainElement, unlockBucket } from './hash.kernel.ts';
import {
  BUCKET_FIRST,
  CHAIN_END,
  ELEMENT_HASH,
  ELEMENT_NEXT,
  EVICT_SPINS,
  EVICT_STEPS,
  HASH_HAND,
  HASH_TOTAL,
  HASH_USED,
  NONE,
} from './layout.ts';

// Second chance: a hand goes around all elements, spares those used since it last passed, and takes the first other one.

/** Notes that an element was used, in an LRU map. Written only when it is news, since all lcores share these lines. */
export function markUsed(map: u32, index: u32): void {
  const used = load<u32>(map, HASH_USED);
  if (used !== 0 && load<u8>(used + index) === 0) store<u8>(used + index, 1);
}

/** Notes that an element holds something else now, which was not used yet. */
export function clearUsed(map: u32, index: u32): void {
  const used = load<u32>(map, HASH_USED);
  if (used !== 0) store<u8>(used + index, 0);
}

/** Takes element `index` out of its chain when it is still in the one that `hash` leads to. */
function unchain(map: u32, index: u32, hash: u32): bool {
  const bucket = bucketOf(map, hash);
  if (!lockWithin(bucket, EVICT_SPINS)) return false;
  let place = bucket + BUCKET_FIRST;
  let found = false;
  while (true) {
    const link = load<u32>(place);
    if (link >= CHAIN_END) break;
    if (link === index) {
      unchainElement(map, place);
      found = true;
      break;
    }
    place = elementAt(map, link) + ELEMENT_NEXT;
  }
  unlockBucket(bucket);
  return found;
}

/**
 * Makes an element free by removing what is in it. The caller holds no bucket, and owns the element then. NONE when none
 * could be had: other threads took them all, or hold the buckets.
 */
export function evict(map: u32): u32 {
  const total = load<u32>(map, HASH_TOTAL);
  const used = load<u32>(map, HASH_USED);
  // Two rounds: the first may find all of them used.
  const steps: u32 = 2 * min(total, EVICT_STEPS);
  for (let i: u32 = 0; i < steps; i++) {
    const index = atomic.add<u32>(map, 1, HASH_HAND) % total;
    const hash = atomic.load<u32>(elementAt(map, index), ELEMENT_HASH);
    if (hash === 0) continue;
    if (load<u8>(used + index) !== 0 && i < EVICT_STEPS) {
      store<u8>(used + index, 0);
      continue;
    }
    if (unchain(map, index, hash)) return index;
  }
  return NONE;
}
