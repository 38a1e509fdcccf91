import { MAP_KEY_BYTES } from '../layout.ts';
import {
  LPM_BITS,
  LPM_NODE_SIZE,
  LPM_NODES,
  LPM_ROOT,
  LPM_VERSION,
  NODE_DATA,
  NODE_ONE,
  NODE_PREFIX,
  NODE_VALUE,
  NODE_ZERO,
  PREFIX_BITS,
  PREFIX_DATA,
  RETRIES_MAX,
  SPINS_MAX,
} from './layout.ts';

/** Address of the node that `link` leads to. */
export function nodeAt(map: u32, link: u32): u32 {
  return load<u32>(map, LPM_NODES) + (link - 1) * load<u32>(map, LPM_NODE_SIZE);
}

/** Bytes of data of a key or node. */
export function dataBytes(map: u32): u32 {
  return load<u32>(map, MAP_KEY_BYTES) - PREFIX_DATA;
}

/**
 * How many of the first `limit` bits of `a` and `b` are the same. The first `from` bits are known to be. Both have `bytes`
 * bytes, and nothing behind them is read.
 */
export function commonBits(a: u32, b: u32, from: u32, limit: u32, bytes: u32): u32 {
  let at = from >>> 3;
  while (at << 3 < limit) {
    if (at + 4 <= bytes) {
      const different = load<u32>(a + at) ^ load<u32>(b + at);
      if (different !== 0) return min(limit, (at << 3) + clz<u32>(bswap<u32>(different)));
      at += 4;
    } else {
      const different = <u32>load<u8>(a + at) ^ load<u8>(b + at);
      if (different !== 0) return min(limit, (at << 3) + clz<u32>(different) - 24);
      at++;
    }
  }
  return limit;
}

/** Offset of the link that the bit `index` of `data` leads to. */
export function sideOf(data: u32, index: u32): u32 {
  return (load<u8>(data + (index >>> 3)) >>> (7 - (index & 7))) & 1 ? NODE_ONE : NODE_ZERO;
}

/**
 * Number of the value of the longest prefix that covers the key, and 1; 0 when none does. What it gives counts only when
 * no node was used again meanwhile; but it ends in any case.
 */
function walk(map: u32, key: u32): u32 {
  const bits = load<u32>(key, PREFIX_BITS);
  const data = key + PREFIX_DATA;
  const bytes = dataBytes(map);
  const all = load<u32>(map, LPM_BITS);
  let found: u32 = 0;
  let same: u32 = 0;
  let left = all + 2;
  let link = atomic.load<u32>(map, LPM_ROOT);
  while (link !== 0 && left !== 0) {
    const node = nodeAt(map, link);
    const prefix = load<u32>(node, NODE_PREFIX);
    same = commonBits(node + NODE_DATA, data, same, min(prefix, bits), bytes);
    if (same < prefix) break;
    const value = load<u32>(node, NODE_VALUE);
    if (value !== 0) found = value;
    if (prefix >= all) break;
    link = atomic.load<u32>(node + sideOf(data, prefix));
    left--;
  }
  return found;
}

/** As `walk`, once no writer came or went meanwhile; one that is at work all the while changes nothing for readers. */
export function findPrefix(map: u32, key: u32): u32 {
  if (load<u32>(key, PREFIX_BITS) > load<u32>(map, LPM_BITS)) return 0;
  for (let tries: u32 = 0; tries < RETRIES_MAX; tries++) {
    const version = atomic.load<u32>(map, LPM_VERSION);
    const found = walk(map, key);
    if (atomic.load<u32>(map, LPM_VERSION) === version) return found;
  }
  if (!lockTrie(map)) return 0;
  const found = walk(map, key);
  unlockTrie(map);
  return found;
}

/** Takes the trie for writing. False when others held it all the while. */
export function lockTrie(map: u32): bool {
  for (let i: u32 = 0; i < SPINS_MAX; i++) {
    const version = atomic.load<u32>(map, LPM_VERSION);
    if (version & 1) continue;
    if (atomic.cmpxchg<u32>(map, version, version + 1, LPM_VERSION) === version) return true;
  }
  return false;
}

export function unlockTrie(map: u32): void {
  atomic.store<u32>(map, load<u32>(map, LPM_VERSION) + 1, LPM_VERSION);
}
