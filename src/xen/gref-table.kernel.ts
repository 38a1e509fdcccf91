// Pages of the peer that stay mapped, by the reference that they are granted by. Who serves the queue looks them up; one thread changes it.

import {
  GREFTABLE_ADDRESSES,
  GREFTABLE_BUCKET_SHIFT,
  GREFTABLE_BUCKETS,
  GREFTABLE_COUNT,
  GREFTABLE_FIRST,
  GREFTABLE_READONLY,
  GREFTABLE_SEED,
  GREFTABLE_WAYS,
} from './queue-layout.ts';

/** An odd number with its bits well spread (2^32 over the golden ratio). */
const SPREAD: u32 = 0x9e3779b1;

/** The bucket of `gref`. The seed is ours, so that a peer does not choose references of one bucket. */
function bucketOf(table: u32, gref: u32): u32 {
  let hash = (gref ^ load<u32>(table, GREFTABLE_SEED)) * SPREAD;
  hash = (hash ^ (hash >> 15)) * SPREAD;
  return table + GREFTABLE_FIRST + ((hash >> 16) & (GREFTABLE_BUCKETS - 1)) * (1 << GREFTABLE_BUCKET_SHIFT);
}

/** Bit n stands for way n of the bucket, which has `gref`. */
function match(bucket: u32, gref: u32): u32 {
  const wanted = v128.splat<i32>(gref);
  let bits: u32 = 0;
  for (let way: u32 = 0; way < GREFTABLE_WAYS; way += 4) {
    bits |= (<u32>v128.bitmask<i32>(v128.eq<i32>(wanted, v128.load(bucket + (way << 2))))) << way;
  }
  return bits;
}

/**
 * Address of the page that `gref` (not 0) is mapped at; 0 when it is not, or not for writing and `writes`. Between the queue's
 * epochs it stays mapped.
 */
export function grefAt(table: u32, gref: u32, writes: bool): u32 {
  if (gref === 0) return 0;
  const bucket = bucketOf(table, gref);
  const bits = match(bucket, gref);
  if (bits === 0) return 0;
  const at = bucket + (ctz<u32>(bits) << 2);
  // Atomic, so that it comes after the queue has said that it looks: who removes it first clears this, and then looks whether it does.
  if (atomic.load<u32>(at) !== gref) return 0;
  const address = load<u32>(at, GREFTABLE_ADDRESSES);
  if (writes && address & GREFTABLE_READONLY) return 0;
  return address & ~GREFTABLE_READONLY;
}

/** Says that `gref` (not 0) is mapped at `address`, a page, with GREFTABLE_READONLY or not. Returns 0 when it is there, or its bucket is full. */
export function grefInsert(table: u32, gref: u32, address: u32): u32 {
  const bucket = bucketOf(table, gref);
  const free = match(bucket, 0);
  if (gref === 0 || free === 0 || match(bucket, gref) !== 0) return 0;
  const at = bucket + (ctz<u32>(free) << 2);
  store<u32>(at, address, GREFTABLE_ADDRESSES);
  atomic.store<u32>(at, gref);
  store<u32>(table, load<u32>(table, GREFTABLE_COUNT) + 1, GREFTABLE_COUNT);
  return 1;
}

/** Forgets `gref`. Returns 0 when it is not there. Who is looking at its page may go on until the end of its burst. */
export function grefRemove(table: u32, gref: u32): u32 {
  const bucket = bucketOf(table, gref);
  const bits = gref === 0 ? 0 : match(bucket, gref);
  if (bits === 0) return 0;
  atomic.store<u32>(bucket + (ctz<u32>(bits) << 2), 0);
  store<u32>(table, load<u32>(table, GREFTABLE_COUNT) - 1, GREFTABLE_COUNT);
  return 1;
}
