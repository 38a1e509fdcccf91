import { MAP_LOCK, MAP_VALUE_BYTES } from '../layout.ts';
import { HASH_TAKEN } from './layout.ts';

/**
 * A random odd factor makes the upper bits of the product a hash whose collisions nobody can plan without knowing it: two
 * different keys meet in one of n buckets with a chance of at most 2/n (Dietzfelbinger and others, "A reliable randomized
 * algorithm for the closest-pair problem", 1997).
 */
function multiply(key: u64, seed: u64): u32 {
  return <u32>((key * seed) >> 32) | HASH_TAKEN;
}

/** Takes 64 more bits into what a long key comes to, with a second odd factor. */
function mix(hash: u64, word: u64, seed: u64): u64 {
  const product = (hash ^ word) * (rotl<u64>(seed, 32) | 1);
  return product ^ (product >> 32);
}

/** A key of at most 8 bytes, or the last ones of a longer key, as a number: other bytes, another number. */
function wordOf(key: u32, bytes: u32): u64 {
  if (bytes === 8) return load<u64>(key);
  let word: u64 = 0;
  let at: u32 = 0;
  if (bytes & 4) {
    word = load<u32>(key);
    at = 4;
  }
  if (bytes & 2) {
    word |= (<u64>load<u16>(key + at)) << (at << 3);
    at += 2;
  }
  if (bytes & 1) word |= (<u64>load<u8>(key + at)) << (at << 3);
  return word;
}

/** The hash of a key of any length. Compiled programs hash keys of up to 16 bytes by themselves (`jit/lookup.ts`). */
function hashLong(key: u32, bytes: u32, seed: u64): u32 {
  if (bytes <= 8) return multiply(wordOf(key, bytes), seed);
  let hash = seed;
  let at: u32 = 0;
  for (; at + 8 < bytes; at += 8) hash = mix(hash, load<u64>(key + at), seed);
  return multiply(hash ^ wordOf(key + at, bytes - at), seed);
}

// What follows is small enough to become part of whoever calls it, where a call would cost as much as all of it.

/** The hash of a key of `bytes` bytes, its lowest bit set; the upper bits are the good ones. `seed` is odd. */
export function hashKey(key: u32, bytes: u32, seed: u64): u32 {
  if (bytes === 4) return multiply(load<u32>(key), seed);
  if (bytes === 8) return multiply(load<u64>(key), seed);
  return hashLong(key, bytes, seed);
}

/** True when two keys of `bytes` bytes are the same. */
export function isSameKey(a: u32, b: u32, bytes: u32): bool {
  if (bytes === 4) return load<u32>(a) === load<u32>(b);
  if (bytes === 8) return load<u64>(a) === load<u64>(b);
  return isSameLong(a, b, bytes);
}

/** True when two keys of any length are the same. */
function isSameLong(a: u32, b: u32, bytes: u32): bool {
  const whole = bytes & ~7;
  for (let at: u32 = 0; at < whole; at += 8) {
    if (load<u64>(a + at) !== load<u64>(b + at)) return false;
  }
  return bytes === whole || wordOf(a + whole, bytes - whole) === wordOf(b + whole, bytes - whole);
}

/** Bytes up to which a loop of words is faster than memory.copy, which is a call out of WebAssembly. */
const LOOP_MAX: u32 = 128;

/** Copies a key or a value. Words of 8 bytes go whole, so that whoever reads one meanwhile gets the old or the new. */
export function copyWords(target: u32, source: u32, bytes: u32): void {
  if (bytes > LOOP_MAX) {
    memory.copy(target, source, bytes);
    return;
  }
  const whole = bytes & ~7;
  for (let at: u32 = 0; at < whole; at += 8) store<u64>(target + at, load<u64>(source + at));
  let at = whole;
  if (bytes & 4) {
    store<u32>(target + at, load<u32>(source + at));
    at += 4;
  }
  for (; at < bytes; at++) store<u8>(target + at, load<u8>(source + at));
}

/** Copies a value over another one that is in use: its spin lock is whoever's who holds it. */
export function copyValue(map: u32, target: u32, source: u32): void {
  const bytes = load<u32>(map, MAP_VALUE_BYTES);
  const lock = load<u32>(map, MAP_LOCK);
  if (lock === 0) {
    copyWords(target, source, bytes);
    return;
  }
  const behind = lock + 3;
  copyWords(target, source, lock - 1);
  copyWords(target + behind, source + behind, bytes - behind);
}

/** Copies a value to where nobody looks yet: its spin lock is free there. */
export function copyFresh(map: u32, target: u32, source: u32): void {
  copyWords(target, source, load<u32>(map, MAP_VALUE_BYTES));
  const lock = load<u32>(map, MAP_LOCK);
  if (lock !== 0) store<u32>(target + lock - 1, 0);
}

/** Zeroes a value. */
export function zeroWords(target: u32, bytes: u32): void {
  memory.fill(target, 0, bytes);
}

/** A negative error number, as helpers return it. */
export function fail(errno: u32): i64 {
  return -(<i64>errno);
}
