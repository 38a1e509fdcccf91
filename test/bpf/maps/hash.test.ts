import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  CTX_CPU,
  KIND_ARRAY,
  KIND_HASH,
  KIND_LRU_HASH,
  KIND_LRU_PERCPU_HASH,
  KIND_PERCPU_ARRAY,
  KIND_PERCPU_HASH,
} from '#build/bpf/layout.js';
import { BASES } from '../../support/arena.ts';
import { MapBench } from '../support/maps.ts';

const [ENOENT, E2BIG, EEXIST, EINVAL] = [-2, -7, -17, -22];

/** Keys and values of a model test: few different ones, so that they meet. */
const operation = fc.record({
  what: fc.constantFrom('update', 'update', 'update', 'delete', 'lookup', 'set', 'remove', 'get', 'list'),
  key: fc.nat(11),
  value: fc.nat(255),
  flags: fc.constantFrom(0, 0, 0, 1, 2, 3, 4),
  cpu: fc.nat(1),
});

const bytesOf = (seed: number, length: number): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => (i === 0 ? seed : (seed * 31 + i * 7) & 255));

/** What the errno of an update would be. */
function expectedUpdate(model: Map<string, unknown>, key: string, flags: number, max: number): number {
  if (flags > 2) return EINVAL;
  if (flags === 1 && model.has(key)) return EEXIST;
  if (flags === 2 && !model.has(key)) return ENOENT;
  return !model.has(key) && model.size === max ? E2BIG : 0;
}

describe.each(BASES)('regions above %i', (base) => {
  test.each([1, 3, 4, 6, 8, 12, 16, 20, 37])('a hash with keys of %i bytes is a Map', (keyBytes) => {
    fc.assert(
      fc.property(
        fc.array(operation, { maxLength: 80 }),
        fc.constantFrom(1, 4, 8, 12, 130),
        (operations, valueBytes) => {
          const bench = new MapBench(base, 1 << 20);
          const map = bench.create(KIND_HASH, { keyBytes, valueBytes, maxEntries: 8 });
          const model = new Map<string, Uint8Array>();
          for (const { what, key, value, flags } of operations) {
            const [k, v] = [bytesOf(key, keyBytes), bytesOf(value, valueBytes)];
            const name = k.toString();
            if (what === 'update') {
              const wanted = expectedUpdate(model, name, flags, 8);
              expect(bench.update(map, k, v, flags)).toBe(wanted);
              if (wanted === 0) model.set(name, v);
            } else if (what === 'delete') {
              expect(bench.delete(map, k)).toBe(model.delete(name) ? 0 : ENOENT);
            } else if (what === 'lookup') {
              expect(bench.lookup(map, k)).toEqual(model.get(name));
            } else if (what === 'get') {
              expect(map.getBytes(k)).toEqual(model.get(name));
            } else if (what === 'remove') {
              expect(map.deleteBytes(k)).toBe(model.delete(name));
            } else if (what === 'set' && expectedUpdate(model, name, 0, 8) === 0) {
              map.setBytes(k, v);
              model.set(name, v);
            } else if (what === 'list') {
              expect([...map.keys()].length).toBe(map.size);
            }
            expect(map.size).toBe(model.size);
          }
          for (const [k, v] of model) expect(bench.lookup(map, Uint8Array.from(k.split(','), Number))).toEqual(v);
          expect(bench.arena.damaged()).toEqual([]);
        },
      ),
      { numRuns: 30 },
    );
  });

  test.each([KIND_PERCPU_HASH, KIND_LRU_PERCPU_HASH])('kind %i has a value for each CPU', (kind) => {
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 60 }), (operations) => {
        const bench = new MapBench(base, 1 << 20);
        const map = bench.create(kind, { valueBytes: 12, maxEntries: 12 });
        const model = new Map<number, Uint8Array[]>();
        const empty = new Uint8Array(12);
        for (const { what, key, value, flags, cpu } of operations) {
          const [k, v] = [bytesOf(key, 4), bytesOf(value, 12)];
          const id = new DataView(k.buffer).getUint32(0, true);
          bench.set(CTX_CPU, cpu);
          if (what === 'update') {
            const found = bench.update(map, k, v, flags);
            const exists = model.has(id);
            expect(found).toBe(
              flags > 2 ? EINVAL : flags === 1 && exists ? EEXIST : flags === 2 && !exists ? ENOENT : 0,
            );
            if (found === 0) model.set(id, (model.get(id) ?? [empty, empty]).with(cpu, v));
          } else if (what === 'delete') {
            expect(bench.delete(map, k)).toBe(model.delete(id) ? 0 : ENOENT);
          } else if (what === 'set') {
            const other = bytesOf(value ^ 255, 12);
            map.set(id, [v, other]);
            model.set(id, [v, other]);
          } else {
            expect(map.get(id)).toEqual(model.get(id));
          }
          expect(bench.lookup(map, k)).toEqual(model.get(id)?.[cpu]);
          for (const other of [0, 1, 2]) {
            const at = bench.kernels.bpfMapLookupPercpu(bench.ctx, map.address, bench.put(k), other) >>> 0;
            expect(at === 0 ? undefined : bench.arena.u8.slice(at, at + 12)).toEqual(model.get(id)?.[other]);
          }
        }
        expect(Object.fromEntries(map as Iterable<[number, Uint8Array[]]>)).toEqual(Object.fromEntries(model));
      }),
      { numRuns: 30 },
    );
  });

  test('arrays: places are always there, and no others', () => {
    const bench = new MapBench(base, 1 << 20);
    const map = bench.create(KIND_ARRAY, { maxEntries: 3, valueBytes: 4 });
    const key = (n: number): Uint8Array => new Uint8Array(Uint32Array.of(n).buffer);
    const value = Uint8Array.of(1, 2, 3, 4);
    expect(bench.lookup(map, key(2))).toEqual(new Uint8Array(4));
    expect(bench.lookup(map, key(3))).toBeUndefined();
    expect(bench.lookup(map, key(0xffffffff))).toBeUndefined();
    expect([0, 1, 2, 3, 4].map((flags) => bench.update(map, key(1), value, flags))).toEqual([
      0,
      EEXIST,
      0,
      EINVAL,
      EINVAL,
    ]);
    expect([0, 1, 2, 4].map((flags) => bench.update(map, key(3), value, flags))).toEqual([E2BIG, E2BIG, E2BIG, EINVAL]);
    expect([bench.delete(map, key(1)), bench.delete(map, key(9))]).toEqual([EINVAL, EINVAL]);
    expect([...map]).toEqual([
      [0, 0],
      [1, 0x04030201],
      [2, 0],
    ]);
    map.clear();
    expect(map.get(1)).toBe(0);
    expect(() => map.delete(1)).toThrow(/map m \(ARRAY, 3 entries\), key 1: /);
    expect(() => map.set(3, 1)).toThrow(expect.objectContaining({ code: 'MAP_FULL' }));
  });

  test('arrays by CPU', () => {
    const bench = new MapBench(base, 1 << 20);
    const map = bench.create(KIND_PERCPU_ARRAY, { maxEntries: 3, valueBytes: 8 });
    map.set(1, [5n, 6]);
    bench.set(CTX_CPU, 1);
    const key = new Uint8Array(Uint32Array.of(1).buffer);
    expect(bench.lookup(map, key)?.[0]).toBe(6);
    expect(bench.update(map, key, new Uint8Array(8).fill(1))).toBe(0);
    expect(map.get(1)).toEqual([5n, 0x0101010101010101n]);
    expect(map.get(0)).toEqual([0n, 0n]);
  });

  test('an LRU map takes what comes, and keeps what was used', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(40), { maxLength: 200 }), fc.integer({ min: 2, max: 12 }), (keys, maxEntries) => {
        const bench = new MapBench(base, 1 << 20);
        const map = bench.create(KIND_LRU_HASH, { maxEntries });
        for (const key of keys) {
          const k = new Uint8Array(Uint32Array.of(key).buffer);
          expect(bench.update(map, k, k)).toBe(0);
          expect(map.size).toBeLessThanOrEqual(maxEntries);
          expect(map.get(key)).toBe(key);
        }
        const distinct = new Set(keys).size;
        if (distinct <= maxEntries) expect(map.size).toBe(distinct);
        else expect(map.size).toBe(maxEntries);
        expect([...map].every(([key, value]) => key === value)).toBe(true);
      }),
      { numRuns: 60 },
    );
  });
});

test('an LRU map of which one half is looked up all the time loses only of the other', () => {
  const bench = new MapBench();
  const map = bench.create(KIND_LRU_HASH, { maxEntries: 64 });
  const key = (n: number): Uint8Array => new Uint8Array(Uint32Array.of(n).buffer);
  for (let n = 0; n < 32; n++) bench.update(map, key(n), key(n));
  for (let n = 100; n < 2000; n++) {
    for (let hot = 0; hot < 32; hot++) expect(bench.lookup(map, key(hot)), `${hot} at ${n}`).toEqual(key(hot));
    expect(bench.update(map, key(n), key(n))).toBe(0);
  }
});
