import { MAP_CPU_SPAN, MAP_CPUS, MAP_KEY_BYTES, MAP_STRIDE, MAP_VALUE_BYTES, MAP_VALUES } from '../layout.ts';
import { copyFresh, copyValue, copyWords, hashKey, isSameKey } from './key.kernel.ts';
import {
  BUCKET_FIRST,
  BUCKET_SHIFT,
  BUCKET_VERSION,
  CHAIN_END,
  CPU_ALL,
  ELEMENT_FREE,
  ELEMENT_HASH,
  ELEMENT_KEY,
  ELEMENT_NEXT,
  HASH_BUCKETS,
  HASH_ELEMENT_SIZE,
  HASH_ELEMENTS,
  HASH_FREE,
  HASH_FRESH,
  HASH_SEED,
  HASH_SHIFT,
  HASH_SPARES,
  HASH_TOTAL,
  NONE,
  RETRIES_MAX,
  SPINS_MAX,
} from './layout.ts';

/** Elements that a look-up goes past before it takes its time. */
const WALK_MAX: u32 = 256;

// Elements: 0 to HASH_TOTAL - 1. A chain's links are their numbers, or CHAIN_END and the bucket's number.

/** Address of element `index`. */
export function elementAt(map: u32, index: u32): u32 {
  return load<u32>(map, HASH_ELEMENTS) + index * load<u32>(map, HASH_ELEMENT_SIZE);
}

/** Address of the value of element `index`, that of the first CPU. */
export function valueAt(map: u32, index: u32): u32 {
  return load<u32>(map, MAP_VALUES) + index * load<u32>(map, MAP_STRIDE);
}

export function bucketOf(map: u32, hash: u32): u32 {
  return load<u32>(map, HASH_BUCKETS) + (numberOf(map, hash) << BUCKET_SHIFT);
}

/** Number of the bucket that a hash leads to. */
function numberOf(map: u32, hash: u32): u32 {
  return hash >>> load<u32>(map, HASH_SHIFT);
}

export function hashOf(map: u32, key: u32): u32 {
  return hashKey(key, load<u32>(map, MAP_KEY_BYTES), load<u64>(map, HASH_SEED));
}

/** Takes a bucket for writing. False when others held it all the while. */
export function lockBucket(bucket: u32): bool {
  return lockWithin(bucket, SPINS_MAX);
}

/** As `lockBucket`, after at most `spins` looks. */
export function lockWithin(bucket: u32, spins: u32): bool {
  for (let i: u32 = 0; i < spins; i++) {
    const version = atomic.load<u32>(bucket, BUCKET_VERSION);
    if (version & 1) continue;
    if (atomic.cmpxchg<u32>(bucket, version, version + 1, BUCKET_VERSION) === version) return true;
  }
  return false;
}

export function unlockBucket(bucket: u32): void {
  atomic.store<u32>(bucket, load<u32>(bucket, BUCKET_VERSION) + 1, BUCKET_VERSION);
}

/**
 * The element with the key at `key`, or NONE. Without a lock: an element may be freed and used again, in this chain or in
 * another, while this looks at it. What is found has the key; that nothing is found counts only when the chain that was
 * begun was ended, and no writer came or went meanwhile. One that is at work all the while has at most taken out or put in
 * one element, which may count as done or not.
 */
export function findElement(map: u32, key: u32): u32 {
  const bytes = load<u32>(map, MAP_KEY_BYTES);
  const hash = hashKey(key, bytes, load<u64>(map, HASH_SEED));
  const number = hash >>> load<u32>(map, HASH_SHIFT);
  const bucket = load<u32>(map, HASH_BUCKETS) + (number << BUCKET_SHIFT);
  const head = atomic.load<u64>(bucket);
  let link = <u32>head;
  for (let left = WALK_MAX; link < CHAIN_END && left !== 0; left--) {
    const element = elementAt(map, link);
    if (atomic.load<u32>(element, ELEMENT_HASH) === hash && isSameKey(element + ELEMENT_KEY, key, bytes)) {
      if (atomic.load<u32>(element, ELEMENT_HASH) === hash) return link;
    }
    link = atomic.load<u32>(element, ELEMENT_NEXT);
  }
  if (link === (CHAIN_END | number) && atomic.load<u32>(bucket, BUCKET_VERSION) === <u32>(head >> 32)) return NONE;
  return findAgain(map, key, bucket, hash);
}

/** As `findElement`, when writers came in between, or the chain is very long; with the bucket's lock in the end. */
function findAgain(map: u32, key: u32, bucket: u32, hash: u32): u32 {
  const bytes = load<u32>(map, MAP_KEY_BYTES);
  for (let tries: u32 = 0; tries < RETRIES_MAX; tries++) {
    const head = atomic.load<u64>(bucket);
    let link = <u32>head;
    for (let left = load<u32>(map, HASH_TOTAL); link < CHAIN_END && left !== 0; left--) {
      const element = elementAt(map, link);
      if (atomic.load<u32>(element, ELEMENT_HASH) === hash && isSameKey(element + ELEMENT_KEY, key, bytes)) {
        if (atomic.load<u32>(element, ELEMENT_HASH) === hash) return link;
      }
      link = atomic.load<u32>(element, ELEMENT_NEXT);
    }
    const isOwn = link === (CHAIN_END | numberOf(map, hash));
    if (isOwn && atomic.load<u32>(bucket, BUCKET_VERSION) === <u32>(head >> 32)) return NONE;
  }
  if (!lockBucket(bucket)) return NONE;
  const link = load<u32>(linkTo(map, bucket, hash, key));
  unlockBucket(bucket);
  return link < CHAIN_END ? link : NONE;
}

/**
 * Address of the link that leads to the element with this key: in the bucket, or in the element before it. When there is
 * no such element, it is a link to the end of the chain. The caller holds the bucket.
 */
export function linkTo(map: u32, bucket: u32, hash: u32, key: u32): u32 {
  const bytes = load<u32>(map, MAP_KEY_BYTES);
  let place = bucket + BUCKET_FIRST;
  while (true) {
    const link = load<u32>(place);
    if (link >= CHAIN_END) return place;
    const element = elementAt(map, link);
    if (load<u32>(element, ELEMENT_HASH) === hash && isSameKey(element + ELEMENT_KEY, key, bytes)) return place;
    place = element + ELEMENT_NEXT;
  }
}

/** Takes a free element. NONE when there is none. */
export function takeElement(map: u32): u32 {
  const list = map + HASH_FREE;
  for (let i: u32 = 0; i < SPINS_MAX; i++) {
    const head = atomic.load<u64>(list);
    const number = <u32>head;
    if (number === 0) break;
    const next = atomic.load<u32>(elementAt(map, number - 1), ELEMENT_FREE);
    // The tag is another one whenever the head was, so an element that came back meanwhile is not mistaken for itself.
    const tag = (head >> 32) + 1;
    if (atomic.cmpxchg<u64>(list, head, (tag << 32) | next) === head) return number - 1;
  }
  // Those of the spares are the last ones, and were never free.
  const limit = load<u32>(map, HASH_TOTAL) - load<u32>(map, MAP_CPUS) - 1;
  while (true) {
    const fresh = atomic.load<u32>(map, HASH_FRESH);
    if (fresh >= limit) return NONE;
    if (atomic.cmpxchg<u32>(map, fresh, fresh + 1, HASH_FRESH) === fresh) return fresh;
  }
}

/** Gives an element back that is in no chain. */
export function giveElement(map: u32, index: u32): void {
  const list = map + HASH_FREE;
  const element = elementAt(map, index);
  while (true) {
    const head = atomic.load<u64>(list);
    store<u32>(element, <u32>head, ELEMENT_FREE);
    const tag = (head >> 32) + 1;
    if (atomic.cmpxchg<u64>(list, head, (tag << 32) | (index + 1)) === head) return;
  }
}

/**
 * Writes hash, key and value of an element that is in no chain: whoever still stands on it finds no hash meanwhile. The
 * link to it publishes them.
 */
export function writeElement(map: u32, index: u32, hash: u32, key: u32, value: u32, cpu: u32): void {
  const element = elementAt(map, index);
  store<u32>(element, 0, ELEMENT_HASH);
  copyWords(element + ELEMENT_KEY, key, load<u32>(map, MAP_KEY_BYTES));
  if (load<u32>(map, MAP_CPU_SPAN) === 0) copyFresh(map, valueAt(map, index), value);
  else writePerCpu(map, valueAt(map, index), value, cpu, true);
  store<u32>(element, hash, ELEMENT_HASH);
}

/**
 * Writes a value of a map with values by CPU: for `cpu` alone, or, with CPU_ALL, for all from one value each at `value`.
 * `isNew`: the other CPUs' values become zeroes.
 */
export function writePerCpu(map: u32, target: u32, value: u32, cpu: u32, isNew: bool): void {
  const bytes = load<u32>(map, MAP_VALUE_BYTES);
  const span = load<u32>(map, MAP_CPU_SPAN);
  const cpus = load<u32>(map, MAP_CPUS);
  const stride = load<u32>(map, MAP_STRIDE);
  if (cpu !== CPU_ALL && !isNew) {
    copyWords(target + cpu * span, value, bytes);
    return;
  }
  for (let i: u32 = 0; i < cpus; i++) {
    if (cpu === CPU_ALL) copyWords(target + i * span, value + i * stride, bytes);
    else if (cpu === i) copyWords(target + i * span, value, bytes);
    else memory.fill(target + i * span, 0, bytes);
  }
}

/** Puts an element first in its chain. The caller holds the bucket. */
export function chainElement(map: u32, bucket: u32, index: u32): void {
  store<u32>(elementAt(map, index), load<u32>(bucket, BUCKET_FIRST), ELEMENT_NEXT);
  atomic.store<u32>(bucket, index, BUCKET_FIRST);
}

/** Takes the element that `place` leads to out of its chain. The caller holds the bucket, and owns the element then. */
export function unchainElement(map: u32, place: u32): u32 {
  const index = load<u32>(place);
  const element = elementAt(map, index);
  atomic.store<u32>(place, load<u32>(element, ELEMENT_NEXT));
  store<u32>(element, 0, ELEMENT_HASH);
  return index;
}

/** Address of the word with the element that `cpu` replaces others by. */
function spareOf(map: u32, cpu: u32): u32 {
  return load<u32>(map, HASH_SPARES) + (min(cpu, load<u32>(map, MAP_CPUS)) << 2);
}

/**
 * Gives the element that `place` leads to another value, in one step for whoever looks it up: another element takes its
 * place in the chain. Returns the one that was there, for `retireElement`; NONE when it is there still. The caller holds
 * the bucket.
 */
export function replaceElement(map: u32, place: u32, hash: u32, key: u32, value: u32, cpu: u32): u32 {
  const old = load<u32>(place);
  const index = atomic.xchg<u32>(spareOf(map, cpu), NONE);
  if (index === NONE) {
    // Two threads that pass for one CPU.
    copyValue(map, valueAt(map, old), value);
    return NONE;
  }
  writeElement(map, index, hash, key, value, cpu);
  store<u32>(elementAt(map, index), load<u32>(elementAt(map, old), ELEMENT_NEXT), ELEMENT_NEXT);
  atomic.store<u32>(place, index);
  return old;
}

/**
 * Makes an element that was replaced the next one to replace others by. Its bucket was given back before: a reader who
 * stands on it while the bucket is held still finds its key there, and one who does afterwards looks again.
 */
export function retireElement(map: u32, index: u32, cpu: u32): void {
  store<u32>(elementAt(map, index), 0, ELEMENT_HASH);
  atomic.store<u32>(spareOf(map, cpu), index);
}
