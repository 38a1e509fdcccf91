import {
  KIND_ARRAY_OF_MAPS,
  KIND_CPUMAP,
  KIND_DEVMAP,
  KIND_LPM_TRIE,
  KIND_PROG_ARRAY,
  KIND_XSKMAP,
  MAP_CPU_SPAN,
  MAP_CPUS,
  MAP_KEY_BYTES,
  MAP_KIND,
  MAP_STRIDE,
  MAP_VALUE_BYTES,
  UPDATE_ANY,
} from '../layout.ts';
import { bucketOf, elementAt, findElement, hashOf, lockBucket, unlockBucket, valueAt } from './hash.kernel.ts';
import { deleteHash, updateHash } from './hash-update.kernel.ts';
import { copyFresh, copyWords, fail } from './key.kernel.ts';
import {
  BUCKET_FIRST,
  BUCKET_SHIFT,
  BUCKET_VERSION,
  CHAIN_END,
  CPU_ALL,
  CURSOR_BUCKET,
  CURSOR_SKIP,
  ELEMENT_HASH,
  ELEMENT_KEY,
  ELEMENT_NEXT,
  ERRNO_E2BIG,
  ERRNO_INVAL,
  ERRNO_NOENT,
  HASH_BUCKETS,
  HASH_SHIFT,
  HASH_TOTAL,
  LPM_COUNT,
  NONE,
  RETRIES_MAX,
} from './layout.ts';
import { listPrefixes, readPrefix } from './lpm-control.kernel.ts';
import { deletePrefix, updatePrefix } from './lpm-update.kernel.ts';
import { arrayValue, isHash, updateArray } from './map.kernel.ts';

// What TypeScript does with maps: bpf(2)'s commands, with its error numbers.

/** True for arrays of things that are there or not: the first word of a value says so. */
function isSparse(kind: u32): bool {
  return (
    kind === KIND_PROG_ARRAY ||
    kind === KIND_ARRAY_OF_MAPS ||
    kind === KIND_DEVMAP ||
    kind === KIND_CPUMAP ||
    kind === KIND_XSKMAP
  );
}

/** Copies the value at `value`, those of all CPUs one behind the other in a map that has them, to `target`. */
function copyOut(map: u32, value: u32, target: u32): void {
  const bytes = load<u32>(map, MAP_VALUE_BYTES);
  const span = load<u32>(map, MAP_CPU_SPAN);
  if (span === 0) {
    copyFresh(map, target, value);
    return;
  }
  const stride = load<u32>(map, MAP_STRIDE);
  for (let cpu: u32 = 0; cpu < load<u32>(map, MAP_CPUS); cpu++) {
    copyWords(target + cpu * stride, value + cpu * span, bytes);
  }
}

function readHash(map: u32, key: u32, target: u32): i64 {
  const bucket = bucketOf(map, hashOf(map, key));
  for (let tries: u32 = 0; tries < RETRIES_MAX; tries++) {
    const version = atomic.load<u32>(bucket, BUCKET_VERSION);
    const index = findElement(map, key);
    if (index === NONE) return fail(ERRNO_NOENT);
    copyOut(map, valueAt(map, index), target);
    // An element that was replaced meanwhile may have got another value.
    if (atomic.load<u32>(bucket, BUCKET_VERSION) === version) break;
  }
  return 0;
}

/** BPF_MAP_LOOKUP_ELEM: copies the value under the key at `key` to `target`. 0 or -ENOENT. */
export function read(map: u32, key: u32, target: u32): i64 {
  const kind = load<u32>(map, MAP_KIND);
  if (isHash(kind)) return readHash(map, key, target);
  if (kind === KIND_LPM_TRIE) return readPrefix(map, key, target);
  const value = arrayValue(map, load<u32>(key));
  if (value === 0 || (isSparse(kind) && load<u32>(value) === 0)) return fail(ERRNO_NOENT);
  copyOut(map, value, target);
  return 0;
}

/** BPF_MAP_UPDATE_ELEM. A value in a map that has them by CPU is one for each, MAP_STRIDE apart. */
export function write(map: u32, key: u32, value: u32, flags: u64): i64 {
  const kind = load<u32>(map, MAP_KIND);
  if (isHash(kind)) return updateHash(map, key, value, flags, CPU_ALL);
  if (kind === KIND_LPM_TRIE) return updatePrefix(map, key, value, flags);
  if ((kind === KIND_PROG_ARRAY || kind === KIND_ARRAY_OF_MAPS) && flags !== UPDATE_ANY) return fail(ERRNO_INVAL);
  return updateArray(map, key, value, flags, CPU_ALL);
}

/** Empties a place of an array whose values are there or not. */
function clear(map: u32, index: u32, kind: u32): i64 {
  const value = arrayValue(map, index);
  const isDescriptor = kind === KIND_PROG_ARRAY || kind === KIND_ARRAY_OF_MAPS;
  if (value === 0) return fail(isDescriptor ? ERRNO_E2BIG : ERRNO_INVAL);
  return atomic.xchg<u64>(value, 0) === 0 && isDescriptor ? fail(ERRNO_NOENT) : 0;
}

/** BPF_MAP_DELETE_ELEM. */
export function erase(map: u32, key: u32): i64 {
  const kind = load<u32>(map, MAP_KIND);
  if (isHash(kind)) return deleteHash(map, key);
  if (kind === KIND_LPM_TRIE) return deletePrefix(map, key);
  if (isSparse(kind)) return clear(map, load<u32>(key), kind);
  return fail(ERRNO_INVAL);
}

/**
 * The next keys of an iteration over a hash or a trie: copies up to `room` keys, one behind the other, to `target`, and moves the
 * cursor. Returns how many; 0 at the end. The keys of one bucket are a moment's, so none that stays is left out or given
 * twice unless its bucket has more than `room`.
 */
export function keys(map: u32, cursor: u32, target: u32, room: u32): u32 {
  if (load<u32>(map, MAP_KIND) === KIND_LPM_TRIE) return listPrefixes(map, cursor, target, room);
  const bytes = load<u32>(map, MAP_KEY_BYTES);
  const last: u32 = 0xffffffff >>> load<u32>(map, HASH_SHIFT);
  let number = load<u32>(cursor, CURSOR_BUCKET);
  let skip = load<u32>(cursor, CURSOR_SKIP);
  let done: u32 = 0;
  while (number <= last && done === 0) {
    const bucket = load<u32>(map, HASH_BUCKETS) + (number << BUCKET_SHIFT);
    let link = atomic.load<u32>(bucket, BUCKET_FIRST);
    if (link < CHAIN_END && lockBucket(bucket)) {
      link = load<u32>(bucket, BUCKET_FIRST);
      let at: u32 = 0;
      for (; link < CHAIN_END && done < room; at++) {
        const element = elementAt(map, link);
        if (at >= skip) copyWords(target + done++ * bytes, element + ELEMENT_KEY, bytes);
        link = load<u32>(element, ELEMENT_NEXT);
      }
      unlockBucket(bucket);
      skip = at;
    }
    if (link >= CHAIN_END || done === 0) {
      number++;
      skip = 0;
    }
  }
  store<u32>(cursor, number, CURSOR_BUCKET);
  store<u32>(cursor, skip, CURSOR_SKIP);
  return done;
}

/** Entries of a hash or a trie; those of a hash are counted: off by those that are written meanwhile. */
export function count(map: u32): u32 {
  if (load<u32>(map, MAP_KIND) === KIND_LPM_TRIE) return load<u32>(map, LPM_COUNT);
  const total = load<u32>(map, HASH_TOTAL);
  let found: u32 = 0;
  for (let index: u32 = 0; index < total; index++) {
    if (load<u32>(elementAt(map, index), ELEMENT_HASH) !== 0) found++;
  }
  return found;
}
