import { MAP_MAX_ENTRIES, MAP_VALUE_BYTES, UPDATE_EXIST, UPDATE_NOEXIST } from '../layout.ts';
import { valueAt } from './hash.kernel.ts';
import { copyWords, fail } from './key.kernel.ts';
import {
  ERRNO_BUSY,
  ERRNO_EXIST,
  ERRNO_INVAL,
  ERRNO_NOENT,
  ERRNO_NOSPC,
  LPM_BITS,
  LPM_COUNT,
  LPM_NODE_FRESH,
  LPM_NODE_LIST,
  LPM_ROOT,
  LPM_VALUE_FRESH,
  LPM_VALUE_LINKS,
  LPM_VALUE_LIST,
  NODE_DATA,
  NODE_FREE,
  NODE_ONE,
  NODE_PREFIX,
  NODE_VALUE,
  NODE_ZERO,
  PREFIX_BITS,
  PREFIX_DATA,
} from './layout.ts';
import { commonBits, dataBytes, lockTrie, nodeAt, sideOf, unlockTrie } from './lpm.kernel.ts';

// All of this happens under the trie's lock, in steps such that readers find, after each, what was there before or what
// is there afterwards; nothing is freed and used again in one call. There are two nodes an entry, and one value more than entries, so neither
// runs out before the entries do.

function takeNode(map: u32): u32 {
  const link = load<u32>(map, LPM_NODE_LIST);
  if (link === 0) {
    const fresh = load<u32>(map, LPM_NODE_FRESH) + 1;
    store<u32>(map, fresh, LPM_NODE_FRESH);
    return fresh;
  }
  store<u32>(map, load<u32>(nodeAt(map, link), NODE_FREE), LPM_NODE_LIST);
  return link;
}

function giveNode(map: u32, link: u32): void {
  const node = nodeAt(map, link);
  store<u32>(node, 0, NODE_VALUE);
  store<u32>(node, load<u32>(map, LPM_NODE_LIST), NODE_FREE);
  store<u32>(map, link, LPM_NODE_LIST);
}

/** Number of a free value and 1, with the bytes of `source`. */
function takeValue(map: u32, source: u32): u32 {
  let number = load<u32>(map, LPM_VALUE_LIST);
  if (number === 0) {
    number = load<u32>(map, LPM_VALUE_FRESH) + 1;
    store<u32>(map, number, LPM_VALUE_FRESH);
  } else {
    store<u32>(map, load<u32>(load<u32>(map, LPM_VALUE_LINKS) + ((number - 1) << 2)), LPM_VALUE_LIST);
  }
  copyWords(valueAt(map, number - 1), source, load<u32>(map, MAP_VALUE_BYTES));
  return number;
}

function giveValue(map: u32, number: u32): void {
  store<u32>(load<u32>(map, LPM_VALUE_LINKS) + ((number - 1) << 2), load<u32>(map, LPM_VALUE_LIST));
  store<u32>(map, number, LPM_VALUE_LIST);
}

/** Makes a node of the first `prefix` bits of `data`. */
function makeNode(map: u32, data: u32, prefix: u32, value: u32): u32 {
  const link = takeNode(map);
  const node = nodeAt(map, link);
  store<u64>(node, 0, NODE_ZERO);
  store<u32>(node, value, NODE_VALUE);
  store<u32>(node, prefix, NODE_PREFIX);
  copyWords(node + NODE_DATA, data, dataBytes(map));
  return link;
}

/** Gives a node that is there for this very prefix its new value. */
function setValue(map: u32, node: u32, data: u32, value: u32, flags: u64): i64 {
  const old = load<u32>(node, NODE_VALUE);
  if (old !== 0 && flags === UPDATE_NOEXIST) return fail(ERRNO_EXIST);
  if (old === 0) {
    const refused = addOne(map, flags);
    if (refused !== 0) return refused;
  }
  atomic.store<u32>(node, takeValue(map, value), NODE_VALUE);
  // The bits behind the prefix say nothing, but are given back as they came.
  copyWords(node + NODE_DATA, data, dataBytes(map));
  if (old !== 0) giveValue(map, old);
  return 0;
}

/** Counts one more entry, when there may be one. */
function addOne(map: u32, flags: u64): i64 {
  const count = load<u32>(map, LPM_COUNT);
  if (flags === UPDATE_EXIST) return fail(ERRNO_NOENT);
  if (count === load<u32>(map, MAP_MAX_ENTRIES)) return fail(ERRNO_NOSPC);
  store<u32>(map, count + 1, LPM_COUNT);
  return 0;
}

function insert(map: u32, key: u32, value: u32, flags: u64): i64 {
  const bits = load<u32>(key, PREFIX_BITS);
  const data = key + PREFIX_DATA;
  const bytes = dataBytes(map);
  let place = map + LPM_ROOT;
  let same: u32 = 0;
  let link = load<u32>(place);
  let node: u32 = 0;
  while (link !== 0) {
    node = nodeAt(map, link);
    const prefix = load<u32>(node, NODE_PREFIX);
    same = commonBits(node + NODE_DATA, data, same, min(prefix, bits), bytes);
    if (same !== prefix) break;
    if (prefix === bits) return setValue(map, node, data, value, flags);
    place = node + sideOf(data, prefix);
    link = load<u32>(place);
  }
  const refused = addOne(map, flags);
  if (refused !== 0) return refused;
  const made = makeNode(map, data, bits, takeValue(map, value));
  if (link === 0) {
    atomic.store<u32>(place, made);
  } else if (same === bits) {
    // The new prefix covers the node's.
    store<u32>(nodeAt(map, made) + sideOf(node + NODE_DATA, same), link);
    atomic.store<u32>(place, made);
  } else {
    const fork = makeNode(map, data, same, 0);
    store<u32>(nodeAt(map, fork) + sideOf(data, same), made);
    store<u32>(nodeAt(map, fork) + sideOf(node + NODE_DATA, same), link);
    atomic.store<u32>(place, fork);
  }
  return 0;
}

/**
 * Writes `value` under a prefix. Returns 0; -EINVAL on unknown flags and on a prefix of more bits than there are, -EEXIST,
 * -ENOENT as the flags demand, -ENOSPC when the map is full, -EBUSY when another thread wrote all the while.
 */
export function updatePrefix(map: u32, key: u32, value: u32, flags: u64): i64 {
  if (flags > UPDATE_EXIST || load<u32>(key, PREFIX_BITS) > load<u32>(map, LPM_BITS)) return fail(ERRNO_INVAL);
  if (!lockTrie(map)) return fail(ERRNO_BUSY);
  const result = insert(map, key, value, flags);
  unlockTrie(map);
  return result;
}

/** The one child of a node, or 0: it has at most one. */
function childOf(node: u32): u32 {
  return load<u32>(node, NODE_ZERO) | load<u32>(node, NODE_ONE);
}

function extract(map: u32, key: u32): i64 {
  const bits = load<u32>(key, PREFIX_BITS);
  const data = key + PREFIX_DATA;
  const bytes = dataBytes(map);
  let parentPlace: u32 = 0;
  let parent: u32 = 0;
  let place = map + LPM_ROOT;
  let same: u32 = 0;
  let node: u32 = 0;
  while (true) {
    const link = load<u32>(place);
    if (link === 0) return fail(ERRNO_NOENT);
    node = nodeAt(map, link);
    const prefix = load<u32>(node, NODE_PREFIX);
    same = commonBits(node + NODE_DATA, data, same, min(prefix, bits), bytes);
    if (same !== prefix) return fail(ERRNO_NOENT);
    if (prefix === bits) break;
    parentPlace = place;
    parent = node;
    place = node + sideOf(data, prefix);
  }
  const value = load<u32>(node, NODE_VALUE);
  if (value === 0) return fail(ERRNO_NOENT);
  giveValue(map, value);
  store<u32>(map, load<u32>(map, LPM_COUNT) - 1, LPM_COUNT);
  atomic.store<u32>(node, 0, NODE_VALUE);
  if (load<u32>(node, NODE_ZERO) !== 0 && load<u32>(node, NODE_ONE) !== 0) return 0;
  const link = load<u32>(place);
  const child = childOf(node);
  atomic.store<u32>(place, child);
  giveNode(map, link);
  // A fork of which one side is gone is none: the other side takes its place.
  if (child === 0 && parent !== 0 && load<u32>(parent, NODE_VALUE) === 0) {
    const fork = load<u32>(parentPlace);
    atomic.store<u32>(parentPlace, childOf(parent));
    giveNode(map, fork);
  }
  return 0;
}

/** Removes a prefix. Returns 0; -EINVAL on a prefix of more bits than there are, -ENOENT, -EBUSY. */
export function deletePrefix(map: u32, key: u32): i64 {
  if (load<u32>(key, PREFIX_BITS) > load<u32>(map, LPM_BITS)) return fail(ERRNO_INVAL);
  if (!lockTrie(map)) return fail(ERRNO_BUSY);
  const result = extract(map, key);
  unlockTrie(map);
  return result;
}
