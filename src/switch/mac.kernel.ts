import { add } from '../telemetry/counters.kernel.ts';
import { PORT_NONE } from '../telemetry/layout.ts';
import {
  MAC_BUCKET_ENTRIES,
  MAC_BUCKET_SHIFT,
  MAC_KEY_SHIFT,
  MAC_PORT,
  MAC_SEEN,
  MAC_STATIC,
  PATH_EVICTED,
  PATH_LEARNED,
  PATH_MOVED,
  SWITCH_AGEING,
  SWITCH_MAC_MASK,
  SWITCH_MAC_TABLE,
} from './layout.ts';

const MAC_BITS: u64 = 0xffffffffffff;
const OCCUPIED: u64 = 0x1000000000000000;
/** An entry whose value is about to be written. No address has this key: its upper bits are 0. */
const BEING_WRITTEN: u64 = 1;

/** The MAC address at `address` in the low 48 bits. Reads 8 bytes. */
export function loadMac(address: u32): u64 {
  return load<u64>(address) & MAC_BITS;
}

/** The table's key for a MAC address in a VLAN. */
export function macKey(mac: u64, vlan: u32): u64 {
  return mac | ((<u64>vlan) << 48) | OCCUPIED;
}

/**
 * Spreads keys over the upper bits: multiplication by 2^64 divided by the golden ratio (Knuth, TAOCP 3, 6.4), twice,
 * since after one the two buckets of addresses in even steps lie in even steps too, and meet. The buckets take bits 32
 * and 44 upwards.
 */
function hashOf(key: u64): u64 {
  const once = key * 0x9e3779b97f4a7c15;
  return (once ^ (once >>> 32)) * 0x9e3779b97f4a7c15;
}

function firstBucket(sw: u32, hash: u64): u32 {
  return load<u32>(sw, SWITCH_MAC_TABLE) + ((<u32>(hash >>> 32) & load<u32>(sw, SWITCH_MAC_MASK)) << MAC_BUCKET_SHIFT);
}

function secondBucket(sw: u32, hash: u64): u32 {
  return load<u32>(sw, SWITCH_MAC_TABLE) + ((<u32>(hash >>> 44) & load<u32>(sw, SWITCH_MAC_MASK)) << MAC_BUCKET_SHIFT);
}

/** Address of `key` in the bucket, or 0. Compares all four and branches once: its place is not predictable. */
function findIn(bucket: u32, key: u64): u32 {
  const wanted = i64x2.splat(key);
  const found =
    i64x2.bitmask(i64x2.eq(v128.load(bucket), wanted)) | (i64x2.bitmask(i64x2.eq(v128.load(bucket, 16), wanted)) << 2);
  return found === 0 ? 0 : bucket + (ctz<i32>(found) << MAC_KEY_SHIFT);
}

/** The entry of `key`, or 0. */
export function findMac(sw: u32, key: u64): u32 {
  const hash = hashOf(key);
  const entry = findIn(firstBucket(sw, hash), key);
  return entry !== 0 ? entry : findIn(secondBucket(sw, hash), key);
}

/** Seconds since the address of `entry` was seen: below 0 when that was on an lcore whose clock is ahead. */
function ageOf(entry: u32, seconds: u32): i32 {
  return <i32>(seconds - load<u32>(entry, MAC_SEEN));
}

/** True when `entry` may be given to another address. */
function isStale(sw: u32, entry: u32, seconds: u32): bool {
  if (load<u32>(entry, MAC_PORT) & MAC_STATIC) return false;
  return ageOf(entry, seconds) > load<i32>(sw, SWITCH_AGEING);
}

function countFree(bucket: u32): u32 {
  let free: u32 = 0;
  for (let i: u32 = 0; i < MAC_BUCKET_ENTRIES; i++) {
    if (load<u64>(bucket + (i << MAC_KEY_SHIFT)) === 0) free++;
  }
  return free;
}

/** The learned entry of a bucket that was not seen for longest; 0 when all are static. */
function oldestIn(bucket: u32, seconds: u32): u32 {
  let oldest: u32 = 0;
  for (let i: u32 = 0; i < MAC_BUCKET_ENTRIES; i++) {
    const entry = bucket + (i << MAC_KEY_SHIFT);
    if (load<u64>(entry) === BEING_WRITTEN || load<u32>(entry, MAC_PORT) & MAC_STATIC) continue;
    if (oldest === 0 || ageOf(entry, seconds) > ageOf(oldest, seconds)) oldest = entry;
  }
  return oldest;
}

/** The entry for a new address of two buckets; 0 when every entry is static or being written. */
function placeIn(first: u32, second: u32, seconds: u32): u32 {
  const inFirst = countFree(first);
  const inSecond = countFree(second);
  // The first, where a look-up ends sooner, while it is half empty; then the emptier one, or a table that is half full
  // would have full pairs of buckets.
  if (inFirst + inSecond > 0) return findIn(inFirst > 1 || inFirst >= inSecond ? first : second, 0);
  const oldest = oldestIn(first, seconds);
  const other = oldestIn(second, seconds);
  if (oldest === 0 || other === 0) return oldest | other;
  return ageOf(other, seconds) > ageOf(oldest, seconds) ? other : oldest;
}

/**
 * Puts `key` into a free or else the oldest entry of its two buckets. Returns 1; 0 when every entry there is static or
 * another lcore was faster; 2 when an address that was still in use had to go.
 */
export function insertMac(sw: u32, key: u64, portWord: u32, seconds: u32): u32 {
  const hash = hashOf(key);
  const entry = placeIn(firstBucket(sw, hash), secondBucket(sw, hash), seconds);
  if (entry === 0) return 0;
  const old = load<u64>(entry);
  const evicts = old !== 0 && !isStale(sw, entry, seconds);
  if (old === BEING_WRITTEN || atomic.cmpxchg<u64>(entry, old, BEING_WRITTEN) !== old) return 0;
  store<u32>(entry, portWord, MAC_PORT);
  store<u32>(entry, seconds, MAC_SEEN);
  // Published with its value: a reader that sees the key sees the port.
  atomic.store<u64>(entry, key);
  return evicts ? 2 : 1;
}

/** Notes that `key` was seen on `port`. In the steady state it reads one cache line and writes nothing. */
export function learn(path: u32, sw: u32, seconds: u32, key: u64, port: u32): void {
  const entry = findMac(sw, key);
  if (entry === 0) {
    const result = insertMac(sw, key, port, seconds);
    if (result !== 0) add(path + PATH_LEARNED, 1);
    if (result === 2) add(path + PATH_EVICTED, 1);
    return;
  }
  const known = load<u32>(entry, MAC_PORT);
  if (known & MAC_STATIC) return;
  if (known !== port) {
    // Another lcore may have given the entry to another address since it was found: that one's port stays what it is.
    if (atomic.cmpxchg<u64>(entry, key, BEING_WRITTEN) !== key) return;
    store<u32>(entry, port, MAC_PORT);
    store<u32>(entry, seconds, MAC_SEEN);
    atomic.store<u64>(entry, key);
    add(path + PATH_MOVED, 1);
  } else if (load<u32>(entry, MAC_SEEN) !== seconds) {
    store<u32>(entry, seconds, MAC_SEEN);
  }
}

/** The port of `key`, or -1 when it is not known or was not seen for too long. */
export function lookupMac(sw: u32, seconds: u32, key: u64): i32 {
  const entry = findMac(sw, key);
  if (entry === 0) return -1;
  if (isStale(sw, entry, seconds)) return -1;
  const port = load<u32>(entry, MAC_PORT) & 0xff;
  // The key again: another lcore may have given the entry to another address since it was found.
  return atomic.load<u64>(entry) === key ? <i32>port : -1;
}

/** Address of key `index` of the whole table. */
function entryAt(table: u32, index: u32): u32 {
  return table + ((index >>> 2) << MAC_BUCKET_SHIFT) + ((index & 3) << MAC_KEY_SHIFT);
}

/**
 * Forgets the addresses of port `port`, static ones too, or, with PORT_NONE, those that are stale; for the control
 * thread. Returns how many it forgot.
 */
export function age(sw: u32, seconds: u32, port: u32): u32 {
  const table = load<u32>(sw, SWITCH_MAC_TABLE);
  const entries = (load<u32>(sw, SWITCH_MAC_MASK) + 1) * MAC_BUCKET_ENTRIES;
  let forgotten: u32 = 0;
  for (let i: u32 = 0; i < entries; i++) {
    const entry = entryAt(table, i);
    const key = load<u64>(entry);
    if (key === 0 || key === BEING_WRITTEN) continue;
    const isOfPort = (load<u32>(entry, MAC_PORT) & 0xff) === port;
    if (!(port === PORT_NONE ? isStale(sw, entry, seconds) : isOfPort)) continue;
    if (atomic.cmpxchg<u64>(entry, key, 0) === key) forgotten++;
  }
  return forgotten;
}

/** Entries in use. */
export function countMacs(sw: u32): u32 {
  const table = load<u32>(sw, SWITCH_MAC_TABLE);
  const entries = (load<u32>(sw, SWITCH_MAC_MASK) + 1) * MAC_BUCKET_ENTRIES;
  let used: u32 = 0;
  for (let i: u32 = 0; i < entries; i++) {
    if (load<u64>(entryAt(table, i)) !== 0) used++;
  }
  return used;
}

/** Sets the entry of a MAC and VLAN for good, for the control thread. `mac` lies at address `at`. Returns 0 when there is no place. */
export function setStatic(sw: u32, at: u32, vlan: u32, port: u32): u32 {
  const key = macKey(loadMac(at), vlan);
  const entry = findMac(sw, key);
  if (entry === 0) return insertMac(sw, key, port | MAC_STATIC, 0);
  store<u32>(entry, port | MAC_STATIC, MAC_PORT);
  return 1;
}
