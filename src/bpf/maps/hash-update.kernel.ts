import { MAP_CPU_SPAN, UPDATE_EXIST, UPDATE_NOEXIST } from '../layout.ts';
import {
  bucketOf,
  chainElement,
  giveElement,
  hashOf,
  linkTo,
  lockBucket,
  replaceElement,
  retireElement,
  takeElement,
  unchainElement,
  unlockBucket,
  valueAt,
  writeElement,
  writePerCpu,
} from './hash.kernel.ts';
import { fail } from './key.kernel.ts';
import {
  CHAIN_END,
  ERRNO_BUSY,
  ERRNO_E2BIG,
  ERRNO_EXIST,
  ERRNO_INVAL,
  ERRNO_NOENT,
  ERRNO_NOMEM,
  HASH_USED,
  NONE,
} from './layout.ts';
import { clearUsed, evict, markUsed } from './lru.kernel.ts';

/** Gives the element that `place` leads to a new value. Returns the element that it had, or NONE when it has it still. */
function overwrite(map: u32, place: u32, hash: u32, key: u32, value: u32, cpu: u32): u32 {
  let old = NONE;
  if (load<u32>(map, MAP_CPU_SPAN) === 0) old = replaceElement(map, place, hash, key, value, cpu);
  else writePerCpu(map, valueAt(map, load<u32>(place)), value, cpu, false);
  markUsed(map, load<u32>(place));
  return old;
}

/**
 * Writes `value` under `key`. `cpu`: whose value it is in a map with values by CPU; CPU_ALL from TypeScript.
 * Returns 0; -EINVAL on unknown flags, -EEXIST, -ENOENT as the flags demand, -E2BIG when the map is full, -ENOMEM when an
 * LRU map is and has nothing to evict, -EBUSY when another thread held the bucket all the while.
 */
export function updateHash(map: u32, key: u32, value: u32, flags: u64, cpu: u32): i64 {
  if (flags > UPDATE_EXIST) return fail(ERRNO_INVAL);
  const hash = hashOf(map, key);
  const bucket = bucketOf(map, hash);
  const isLru = load<u32>(map, HASH_USED) !== 0;
  let index = NONE;
  // Twice at most: eviction takes another bucket's lock, so it happens while this one is not held.
  while (true) {
    if (!lockBucket(bucket)) {
      if (index !== NONE) giveElement(map, index);
      return fail(ERRNO_BUSY);
    }
    const place = linkTo(map, bucket, hash, key);
    const exists = load<u32>(place) < CHAIN_END;
    if (exists || flags === UPDATE_EXIST) {
      const old = exists && flags !== UPDATE_NOEXIST ? overwrite(map, place, hash, key, value, cpu) : NONE;
      unlockBucket(bucket);
      if (old !== NONE) retireElement(map, old, cpu);
      if (index !== NONE) giveElement(map, index);
      if (!exists) return fail(ERRNO_NOENT);
      return flags === UPDATE_NOEXIST ? fail(ERRNO_EXIST) : 0;
    }
    if (index === NONE) index = takeElement(map);
    if (index !== NONE) break;
    unlockBucket(bucket);
    if (!isLru) return fail(ERRNO_E2BIG);
    index = evict(map);
    if (index === NONE) return fail(ERRNO_NOMEM);
  }
  clearUsed(map, index);
  writeElement(map, index, hash, key, value, cpu);
  chainElement(map, bucket, index);
  unlockBucket(bucket);
  return 0;
}

/** Removes `key`. Returns 0; -ENOENT when it is not there, -EBUSY when another thread held the bucket all the while. */
export function deleteHash(map: u32, key: u32): i64 {
  const hash = hashOf(map, key);
  const bucket = bucketOf(map, hash);
  if (!lockBucket(bucket)) return fail(ERRNO_BUSY);
  const place = linkTo(map, bucket, hash, key);
  if (load<u32>(place) >= CHAIN_END) {
    unlockBucket(bucket);
    return fail(ERRNO_NOENT);
  }
  const index = unchainElement(map, place);
  unlockBucket(bucket);
  giveElement(map, index);
  return 0;
}
