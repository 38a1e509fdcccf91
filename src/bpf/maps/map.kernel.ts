import {
  CTX_CPU,
  KIND_ARRAY,
  KIND_ARRAY_OF_MAPS,
  KIND_DEVMAP,
  KIND_DEVMAP_HASH,
  KIND_HASH,
  KIND_HASH_OF_MAPS,
  KIND_LPM_TRIE,
  KIND_LRU_HASH,
  KIND_LRU_PERCPU_HASH,
  KIND_PERCPU_ARRAY,
  KIND_PERCPU_HASH,
  KIND_XSKMAP,
  MAP_CPU_SPAN,
  MAP_CPUS,
  MAP_FLAG_RDONLY_PROG,
  MAP_FLAGS,
  MAP_KIND,
  MAP_MAX_ENTRIES,
  UPDATE_EXIST,
  UPDATE_NOEXIST,
} from '../layout.ts';
import { findElement, valueAt, writePerCpu } from './hash.kernel.ts';
import { deleteHash, updateHash } from './hash-update.kernel.ts';
import { copyValue, fail } from './key.kernel.ts';
import { ERRNO_ACCES, ERRNO_E2BIG, ERRNO_EXIST, ERRNO_INVAL, NONE } from './layout.ts';
import { findPrefix } from './lpm.kernel.ts';
import { deletePrefix, updatePrefix } from './lpm-update.kernel.ts';
import { markUsed } from './lru.kernel.ts';

/** True for kinds that are hashes inside. */
export function isHash(kind: u32): bool {
  return (
    kind === KIND_HASH ||
    kind === KIND_PERCPU_HASH ||
    kind === KIND_LRU_HASH ||
    kind === KIND_LRU_PERCPU_HASH ||
    kind === KIND_HASH_OF_MAPS ||
    kind === KIND_DEVMAP_HASH
  );
}

/** Address of value `index` of an array, that of the first CPU; 0 when there is no such place. */
export function arrayValue(map: u32, index: u32): u32 {
  return index < load<u32>(map, MAP_MAX_ENTRIES) ? valueAt(map, index) : 0;
}

/** Address of the value under `key` in a hash, that of the first CPU; 0 when there is none. */
export function hashValue(map: u32, key: u32): u32 {
  const index = findElement(map, key);
  return index === NONE ? 0 : valueAt(map, index);
}

/** As `hashValue`; the entry counts as used. */
function lruValue(map: u32, key: u32): u32 {
  const index = findElement(map, key);
  if (index === NONE) return 0;
  markUsed(map, index);
  return valueAt(map, index);
}

/** Address of the value of the longest prefix that covers the key at `key`; 0 when none does. */
function prefixValue(map: u32, key: u32): u32 {
  const found = findPrefix(map, key);
  return found === 0 ? 0 : valueAt(map, found - 1);
}

/** Address of the value of a map with values by CPU for `cpu`, from that of the first one. */
function ofCpu(map: u32, value: u32, cpu: u32): u32 {
  return value === 0 ? 0 : value + cpu * load<u32>(map, MAP_CPU_SPAN);
}

/** The map that a value leads to; 0 when there is none. */
function innerMap(value: u32): u32 {
  return value === 0 ? 0 : atomic.load<u32>(value);
}

/** A value that says nothing is set there counts as none: its first word is 0. */
function ifSet(value: u32): u32 {
  return value !== 0 && load<u32>(value) !== 0 ? value : 0;
}

/** bpf_map_lookup_elem: address of the value under the key at `key`, or 0. A map of maps gives a map's address. */
export function lookup(ctx: u32, map: u32, key: u32): u32 {
  const kind = load<u32>(map, MAP_KIND);
  if (kind === KIND_HASH) return hashValue(map, key);
  if (kind === KIND_ARRAY) return arrayValue(map, load<u32>(key));
  if (kind === KIND_PERCPU_ARRAY) return ofCpu(map, arrayValue(map, load<u32>(key)), cpuOf(ctx, map));
  if (kind === KIND_LRU_HASH) return lruValue(map, key);
  if (kind === KIND_PERCPU_HASH) return ofCpu(map, hashValue(map, key), cpuOf(ctx, map));
  if (kind === KIND_LRU_PERCPU_HASH) return ofCpu(map, lruValue(map, key), cpuOf(ctx, map));
  if (kind === KIND_ARRAY_OF_MAPS) return innerMap(arrayValue(map, load<u32>(key)));
  if (kind === KIND_HASH_OF_MAPS) return innerMap(hashValue(map, key));
  if (kind === KIND_DEVMAP || kind === KIND_XSKMAP) return ifSet(arrayValue(map, load<u32>(key)));
  if (kind === KIND_LPM_TRIE) return prefixValue(map, key);
  if (kind === KIND_DEVMAP_HASH) return ifSet(hashValue(map, key));
  return 0;
}

/** The number of the CPU, in a range that the map has values for. */
function cpuOf(ctx: u32, map: u32): u32 {
  const cpu = load<u32>(ctx, CTX_CPU);
  return cpu < load<u32>(map, MAP_CPUS) ? cpu : 0;
}

/** bpf_map_lookup_percpu_elem: as `lookup`, the value of `cpu`; 0 when there is no such CPU, or the kind has one value. */
export function lookupPercpu(_ctx: u32, map: u32, key: u32, cpu: u32): u32 {
  if (load<u32>(map, MAP_CPU_SPAN) === 0 || cpu >= load<u32>(map, MAP_CPUS)) return 0;
  const kind = load<u32>(map, MAP_KIND);
  if (kind === KIND_PERCPU_ARRAY) return ofCpu(map, arrayValue(map, load<u32>(key)), cpu);
  return ofCpu(map, kind === KIND_LRU_PERCPU_HASH ? lruValue(map, key) : hashValue(map, key), cpu);
}

/** Writes a value of an array. `cpu` as in `updateHash`. -EINVAL, -E2BIG when there is no such place, -EEXIST. */
export function updateArray(map: u32, key: u32, value: u32, flags: u64, cpu: u32): i64 {
  if (flags > UPDATE_EXIST) return fail(ERRNO_INVAL);
  const target = arrayValue(map, load<u32>(key));
  if (target === 0) return fail(ERRNO_E2BIG);
  if (flags === UPDATE_NOEXIST) return fail(ERRNO_EXIST);
  if (load<u32>(map, MAP_CPU_SPAN) === 0) copyValue(map, target, value);
  else writePerCpu(map, target, value, cpu, false);
  return 0;
}

/** True for the kinds whose values programs may set and remove. */
export function isPlainHash(kind: u32): bool {
  return kind === KIND_HASH || kind === KIND_LRU_HASH || kind === KIND_PERCPU_HASH || kind === KIND_LRU_PERCPU_HASH;
}

/**
 * bpf_map_update_elem: 0; -EINVAL on unknown flags and on kinds that programs may not write to, -E2BIG, -ENOMEM when it
 * is full, -EEXIST, -ENOENT, -EACCES on a map that is read only for programs, -EBUSY.
 */
export function update(ctx: u32, map: u32, key: u32, value: u32, flags: u64): i64 {
  const kind = load<u32>(map, MAP_KIND);
  if (load<u32>(map, MAP_FLAGS) & MAP_FLAG_RDONLY_PROG) return fail(ERRNO_ACCES);
  if (isPlainHash(kind)) return updateHash(map, key, value, flags, cpuOf(ctx, map));
  if (kind === KIND_ARRAY || kind === KIND_PERCPU_ARRAY) return updateArray(map, key, value, flags, cpuOf(ctx, map));
  return kind === KIND_LPM_TRIE ? updatePrefix(map, key, value, flags) : fail(ERRNO_INVAL);
}

/** bpf_map_delete_elem: 0; -ENOENT when it is not there, -EINVAL on kinds that lose nothing, -EACCES, -EBUSY. */
export function remove(_ctx: u32, map: u32, key: u32): i64 {
  if (load<u32>(map, MAP_FLAGS) & MAP_FLAG_RDONLY_PROG) return fail(ERRNO_ACCES);
  const kind = load<u32>(map, MAP_KIND);
  if (isPlainHash(kind)) return deleteHash(map, key);
  return kind === KIND_LPM_TRIE ? deletePrefix(map, key) : fail(ERRNO_INVAL);
}
