import { expect } from 'vitest';
import { CTX_BYTES, KIND_HASH, KIND_LPM_TRIE, KIND_LRU_HASH, KIND_RINGBUF } from '#build/bpf/layout.js';
import { createMap } from '#build/bpf/maps/create.js';
import type { BpfMap } from '#build/bpf/maps/map.js';
import { readRingbuf } from '#build/bpf/maps/readers.js';
import { testArena } from './arena.ts';
import { runWorkers } from './workers.ts';

const THREADS = 3;

interface Stress {
  readonly map: BpfMap;
  run(kind: string, rounds: number, keys: number): Promise<unknown[]>;
}

function prepare(kind: number, keyBytes: number, valueBytes: number, maxEntries: number): Stress {
  const arena = testArena(4 << 20);
  const definition = { name: 'stress', kind, keyBytes, valueBytes, maxEntries, flags: 1, pinned: false };
  const map = createMap(arena, definition, { cpus: THREADS });
  const contexts = Array.from({ length: THREADS }, (_, role) => arena.allocate(`context ${role}`, CTX_BYTES));
  const ranges = map.ranges().flatMap(({ address, bytes, map: of }) => [address, bytes, 1, of]);
  return {
    map,
    async run(name, rounds, keys) {
      const data = contexts.map((ctx, role) => ({
        handle: arena.handle,
        map: map.address,
        ctx,
        ranges,
        role,
        kind: name,
        rounds,
        keys,
      }));
      const results = await runWorkers('map-stress.mjs', data);
      expect(arena.damaged()).toEqual([]);
      return results;
    },
  };
}

function filled(key: number, serial: number): Uint8Array {
  return new Uint8Array(Uint32Array.from({ length: 8 }, (_, i) => (i % 2 === 0 ? key : serial)).buffer);
}

/** Threads update, delete and look up in one hash: nothing that is there is missed, nothing is torn, nothing is lost. */
export async function stressHash(rounds: number): Promise<void> {
  const { map, run } = prepare(KIND_HASH, 4, 32, 16 + THREADS * 16);
  for (let key = 0; key < 16; key++) map.set(key, filled(key, 0));
  const results = await run('hash', rounds, 16);
  expect(
    results.every((result) => typeof result === 'number'),
    `${results}`,
  ).toBe(true);
  const left = (results as number[]).reduce((sum, own) => sum + own, 16);
  expect([map.size, [...map.keys()].length, new Set(map.keys()).size]).toEqual([left, left, left]);
  // All room is still there.
  map.clear();
  for (let key = 0; key < 16 + THREADS * 16; key++) map.set(key, filled(key, 1));
  expect(() => map.set(5000, filled(1, 1))).toThrow(expect.objectContaining({ code: 'MAP_FULL' }));
}

/** Threads put more into an LRU map than it holds. */
export async function stressLru(rounds: number): Promise<void> {
  const { map, run } = prepare(KIND_LRU_HASH, 4, 32, 64);
  expect(await run('lru', rounds, 64)).toEqual(new Array(THREADS).fill(0));
  expect(map.size).toBeLessThanOrEqual(64);
  expect(new Set(map.keys()).size).toBe(map.size);
  map.clear();
  for (let key = 0; key < 64; key++) map.set(key, filled(key, 1));
  expect(map.size).toBe(64);
}

/** Threads add and remove prefixes of one trie. */
export async function stressTrie(rounds: number): Promise<void> {
  const { map, run } = prepare(KIND_LPM_TRIE, 8, 32, 1 + THREADS * 32);
  map.setBytes(Uint8Array.of(8, 0, 0, 0, 10, 0, 0, 0), filled(0xffff, 0));
  const results = await run('trie', rounds, 32);
  expect(
    results.every((result) => typeof result === 'number'),
    `${results}`,
  ).toBe(true);
  expect(map.size).toBe((results as number[]).reduce((sum, own) => sum + own, 1));
}

/** Threads write records to one ring: each thread's arrive once, in order, whole. */
export async function stressRing(rounds: number): Promise<void> {
  const { map, run } = prepare(KIND_RINGBUF, 0, 0, 1024);
  let done = false;
  const running = run('ring', rounds, 0).finally(() => {
    done = true;
  });
  const next = new Array<number>(THREADS).fill(1);
  let damaged = 0;
  while (!done || next.some((serial) => serial <= rounds)) {
    const counts = readRingbuf(map, (data) => {
      const [role = 0, ...serials] = new Uint32Array(data.buffer);
      const expected = next[role] ?? 0;
      if (serials.some((serial) => serial !== expected)) expect({ role, serials }).toEqual({ role, expected });
      next[role] = expected + 1;
    });
    damaged += counts.damaged;
    if (counts.records === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  expect(await running).toEqual(new Array(THREADS).fill(0));
  expect([next, damaged]).toEqual([new Array(THREADS).fill(rounds + 1), 0]);
}
