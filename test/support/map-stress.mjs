// One of several threads that hammer one map. A value is its key and a serial number, again and again: a torn one shows.
import { parentPort, workerData } from 'node:worker_threads';
import { attachMap } from '#build/bpf/maps/create.js';
import { attachArena } from '#build/memory/index.js';

const { handle, map: address, ctx, ranges, role, kind, rounds, keys } = workerData;
const arena = attachArena(handle);
const { u32 } = arena;
const map = attachMap(arena, address);
const kernels = arena.kernels();
const CTX_CPU = 52;
const [keyAt, valueAt] = [ctx + 1024, ctx + 2048];
u32[(ctx + CTX_CPU) >>> 2] = role;

let state = 12345 + role * 7919;
function random(limit) {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return Math.floor((state / 2 ** 32) * limit);
}

/** What `call` returns, when no other thread was stopped while it held the place. */
function patiently(call) {
  let errno;
  do errno = Number(call());
  while (errno === -16);
  return errno;
}

const update = () => patiently(() => kernels.bpfMapUpdate(ctx, address, keyAt, valueAt, 0n));
const remove = () => patiently(() => kernels.bpfMapDelete(ctx, address, keyAt));

/** 32 bytes that belong together. */
function fill(key, serial) {
  for (let i = 0; i < 8; i += 2) {
    u32[(valueAt >>> 2) + i] = key;
    u32[(valueAt >>> 2) + i + 1] = serial;
  }
}

function torn(words, key) {
  for (let i = 0; i < 8; i += 2) if (words[i] !== key || words[i + 1] !== words[1]) return true;
  return false;
}

/**
 * Keys below `keys` are there all the time, updated by everybody; each thread has some more of its own, which come and go.
 * Returns what is wrong, or how many of its own are left.
 */
function hammerHash() {
  const own = new Map();
  const base = 1000 * (role + 1);
  for (let round = 0; round < rounds; round++) {
    const shared = random(2) === 0;
    const key = shared ? random(keys) : base + random(keys);
    u32[keyAt >>> 2] = key;
    const what = random(4);
    if (what === 0) {
      fill(key, round);
      const errno = update();
      if (errno !== 0) return `update of ${key}: ${errno}`;
      if (!shared) own.set(key, round);
    } else if (what === 1 && !shared) {
      const errno = remove();
      const expected = own.delete(key) ? 0 : -2;
      if (errno !== expected) return `deletion of ${key}: ${errno}, not ${expected}`;
    } else if (what === 2) {
      const bytes = map.getBytes(new Uint8Array(Uint32Array.of(key).buffer));
      const words = bytes === undefined ? undefined : new Uint32Array(bytes.buffer);
      if (words === undefined ? shared || own.has(key) : torn(words, key)) return `${key} read as ${words}`;
      if (!shared && own.get(key) !== words?.[1]) return `${key} has ${words?.[1]}, not ${own.get(key)}`;
    } else {
      const at = kernels.bpfMapLookup(ctx, address, keyAt) >>> 0;
      if (shared && at === 0) return `${key} is not found in round ${round}`;
      if (!shared && (at !== 0) !== own.has(key)) return `${key} is ${at === 0 ? 'not ' : ''}found in round ${round}`;
      if (!shared && at !== 0 && torn(u32.subarray(at >>> 2, (at >>> 2) + 8), key)) return `${key} is torn`;
    }
  }
  return own.size;
}

/** More keys than there is room for: all updates find room, and what is read belongs to its key. */
function hammerLru() {
  for (let round = 0; round < rounds; round++) {
    const key = random(keys * 4);
    u32[keyAt >>> 2] = key;
    fill(key, round);
    const errno = update();
    if (errno !== 0) return `update of ${key}: ${errno}`;
    const bytes = map.getBytes(new Uint8Array(Uint32Array.of(key).buffer));
    if (bytes !== undefined && torn(new Uint32Array(bytes.buffer), key)) return `${key} is torn`;
    if (random(8) === 0) {
      const gone = remove();
      if (gone !== 0 && gone !== -2) return `deletion of ${key}: ${gone}`;
    }
  }
  return 0;
}

/** Prefixes of one's own come and go; the shared short one is always there. */
function hammerTrie() {
  const own = new Map();
  for (let round = 0; round < rounds; round++) {
    const third = random(keys);
    const set = (bits) => {
      u32[keyAt >>> 2] = bits;
      arena.u8.set([10, role, third & 255, 0], keyAt + 4);
    };
    const what = random(3);
    if (what === 0) {
      set(24);
      fill(third, round);
      const errno = update();
      if (errno !== 0) return `update of ${third}: ${errno}`;
      own.set(third, round);
    } else if (what === 1) {
      set(24);
      const errno = remove();
      if (errno !== (own.delete(third) ? 0 : -2)) return `deletion of ${third}: ${errno}`;
    } else {
      set(32);
      const at = kernels.bpfMapLookup(ctx, address, keyAt) >>> 0;
      const expected = own.get(third);
      if (at === 0) return `nothing covers ${third} in round ${round}`;
      const [found, serial] = u32.subarray(at >>> 2, (at >>> 2) + 2);
      if (expected === undefined ? found !== 0xffff : found !== third || serial !== expected) {
        return `${third} led to ${found}, ${serial} instead of ${expected}`;
      }
    }
  }
  return own.size;
}

/** Records of its own in order; those that find no room are made again. */
function produce() {
  u32.set(ranges, (ctx + 3072) >>> 2);
  u32[(ctx + 128) >>> 2] = ctx + 3072;
  u32[(ctx + 132) >>> 2] = ranges.length / 4;
  for (let serial = 1; serial <= rounds; ) {
    const words = 2 + random(12);
    const at = kernels.bpfRingbufReserve(ctx, address, BigInt(words * 4), 0n) >>> 0;
    if (at === 0) continue;
    u32[at >>> 2] = role;
    for (let i = 1; i < words; i++) u32[(at >>> 2) + i] = serial;
    if (random(10) === 0) kernels.bpfRingbufDiscard(ctx, at, 0n);
    else {
      kernels.bpfRingbufSubmit(ctx, at, 0n);
      serial++;
    }
  }
  return 0;
}

const roles = { hash: hammerHash, lru: hammerLru, trie: hammerTrie, ring: produce };
parentPort.postMessage(roles[kind]());
