import { describe, expect, test } from 'vitest';
import {
  CTX_REDIRECT_FLAGS,
  CTX_REDIRECT_KEY,
  CTX_REDIRECT_KIND,
  CTX_REDIRECT_MAP,
  CTX_REDIRECT_PROGRAM,
  CTX_REDIRECT_TARGET,
  KIND_ARRAY,
  KIND_ARRAY_OF_MAPS,
  KIND_CPUMAP,
  KIND_DEVMAP,
  KIND_DEVMAP_HASH,
  KIND_HASH,
  KIND_HASH_OF_MAPS,
  KIND_LPM_TRIE,
  KIND_LRU_HASH,
  KIND_PERCPU_HASH,
  KIND_PERF_EVENT_ARRAY,
  KIND_PROG_ARRAY,
  KIND_RINGBUF,
  KIND_XSKMAP,
} from '#build/bpf/layout.js';
import { attachMap, createMap, mapBytes, releaseMap } from '#build/bpf/maps/create.js';
import type { BpfMap } from '#build/bpf/maps/map.js';
import { BASES, testArena } from '../../support/arena.ts';
import { definition, MapBench } from '../support/maps.ts';

const [ACCES, EINVAL] = [-13, -22];
const XDP_ABORTED = 0n;
const XDP_REDIRECT = 4n;

const key = (n: number): Uint8Array => new Uint8Array(Uint32Array.of(n).buffer);

function redirected(bench: MapBench, map: BpfMap, index: bigint, flags = 0n): (number | bigint)[] {
  const result = bench.kernels.bpfRedirectMap(bench.ctx, map.address, index, flags);
  const words = [CTX_REDIRECT_KIND, CTX_REDIRECT_TARGET, CTX_REDIRECT_PROGRAM, CTX_REDIRECT_FLAGS];
  return [result, ...words.map((word) => bench.get(word))];
}

describe.each(BASES)('regions above %i', (base) => {
  test.each([KIND_DEVMAP, KIND_DEVMAP_HASH])('device map %i: to an interface, or to what the flags say', (kind) => {
    const bench = new MapBench(base);
    const map = bench.create(kind, { valueBytes: 8 });
    map.set(3, { ifindex: 7, program: 9 }).set(4, 5);
    expect(redirected(bench, map, 3n)).toEqual([XDP_REDIRECT, kind, 7, 9, 0]);
    expect([bench.get(CTX_REDIRECT_MAP), bench.get(CTX_REDIRECT_KEY)]).toEqual([map.address, 3]);
    expect(redirected(bench, map, 4n)).toEqual([XDP_REDIRECT, kind, 5, 0, 0]);
    // The key is a u32.
    expect(redirected(bench, map, (1n << 32n) | 3n)).toEqual([XDP_REDIRECT, kind, 7, 9, 0]);
    expect(redirected(bench, map, 5n, 2n)).toEqual([2n, 0, 0, 0, 0]);
    expect(redirected(bench, map, 99n, 3n)).toEqual([3n, 0, 0, 0, 0]);
    expect(redirected(bench, map, 99n, 8n)).toEqual([XDP_REDIRECT, kind, 0, 0, 8]);
    expect(redirected(bench, map, 0n, 24n)).toEqual([XDP_REDIRECT, kind, 0, 0, 24]);
    expect(redirected(bench, map, 3n, 16n)).toEqual([XDP_REDIRECT, kind, 7, 9, 0]);
    for (const flags of [4n, 32n, 1n << 40n]) expect(redirected(bench, map, 3n, flags)[0]).toBe(XDP_ABORTED);
    expect(bench.lookup(map, key(3))?.[0]).toBe(7);
    expect(bench.lookup(map, key(6))).toBeUndefined();
    expect([bench.update(map, key(3), new Uint8Array(8)), bench.delete(map, key(3))]).toEqual([EINVAL, EINVAL]);
    expect(map.get(3)).toEqual({ ifindex: 7, program: 9 });
    expect([...map.keys()].sort()).toEqual([3, 4]);
    expect(map.size).toBe(2);
    expect(map.delete(3)).toBe(true);
    expect(redirected(bench, map, 3n, 1n)[0]).toBe(1n);
    expect(map.ranges()[0]).toMatchObject({ writable: false, map: map.address });
  });

  test('values of 4 bytes have no program; CPU and socket maps', () => {
    const bench = new MapBench(base);
    const devices = bench.create(KIND_DEVMAP, { valueBytes: 4 });
    devices.set(1, 6);
    expect(redirected(bench, devices, 1n)).toEqual([XDP_REDIRECT, KIND_DEVMAP, 6, 0, 0]);
    expect(() => devices.set(1, { ifindex: 6, program: 1 })).toThrow(/map m: value .* must be .* 4 bytes/);
    const cpus = bench.create(KIND_CPUMAP, { valueBytes: 8 });
    cpus.set(2, { qsize: 192, program: 4 });
    expect(redirected(bench, cpus, 2n)).toEqual([XDP_REDIRECT, KIND_CPUMAP, 2, 4, 0]);
    expect(redirected(bench, cpus, 2n, 8n)[0]).toBe(XDP_ABORTED);
    expect(redirected(bench, cpus, 1n, 2n)[0]).toBe(2n);
    expect(bench.lookup(cpus, key(2))).toBeUndefined();
    const sockets = bench.create(KIND_XSKMAP, {});
    sockets.set(0, 11);
    expect(redirected(bench, sockets, 0n)).toEqual([XDP_REDIRECT, KIND_XSKMAP, 11, 0, 0]);
    expect(redirected(bench, sockets, 5n, 2n)[0]).toBe(2n);
    expect(bench.lookup(sockets, key(0))).toBeDefined();
    expect(bench.lookup(sockets, key(1))).toBeUndefined();
    const hash = bench.create(KIND_HASH, {});
    expect(redirected(bench, hash, 0n, 2n)[0]).toBe(XDP_ABORTED);
    expect(bench.kernels.bpfRedirect(bench.ctx, 5, 1n)).toBe(XDP_ABORTED);
    expect(bench.kernels.bpfRedirect(bench.ctx, 5, 0n)).toBe(XDP_REDIRECT);
    expect([CTX_REDIRECT_KIND, CTX_REDIRECT_TARGET].map((word) => bench.get(word))).toEqual([0, 5]);
  });

  test('a table of programs', () => {
    const bench = new MapBench(base);
    const map = bench.create(KIND_PROG_ARRAY, { maxEntries: 4 });
    map.set(1, 12);
    expect([map.get(1), map.get(0), [...map]]).toEqual([12, undefined, [[1, 12]]]);
    expect([bench.lookup(map, key(1)), bench.update(map, key(1), key(3)), bench.delete(map, key(1))]).toEqual([
      undefined,
      EINVAL,
      EINVAL,
    ]);
    expect([map.delete(1), map.delete(1), map.size]).toEqual([true, false, 0]);
    expect(() => map.set(4, 1)).toThrow(expect.objectContaining({ code: 'MAP_FULL' }));
    expect(() => map.delete(4)).toThrow(expect.objectContaining({ code: 'MAP_FULL' }));
    expect(() => map.set(1, 1, 1)).toThrow(expect.objectContaining({ code: 'BAD_ARGUMENT' }));
    expect(map.ranges()).toMatchObject([{ bytes: 0, writable: false }]);
  });

  test.each([KIND_ARRAY_OF_MAPS, KIND_HASH_OF_MAPS])('maps of maps: kind %i gives the address of a map', (kind) => {
    const bench = new MapBench(base);
    const inner = bench.create(KIND_ARRAY, { name: 'inner', maxEntries: 3 });
    const outer = bench.create(kind, { name: 'outer', keyBytes: 4 }, { inner });
    expect(bench.kernels.bpfMapLookup(bench.ctx, outer.address, bench.put(key(2)))).toBe(0);
    outer.set(2, inner);
    expect(bench.kernels.bpfMapLookup(bench.ctx, outer.address, bench.put(key(2))) >>> 0).toBe(inner.address);
    expect(outer.get(2)).toBe(inner);
    expect([...outer]).toEqual([[2, inner]]);
    const others: [BpfMap, RegExp][] = [
      [bench.create(KIND_ARRAY, { name: 'long', maxEntries: 4 }), /outer: value long with maxEntries 4, .* 3/],
      [bench.create(KIND_HASH, { name: 'hash', maxEntries: 3 }), /outer: value hash with kind 1, .* 2/],
      [bench.create(KIND_ARRAY, { name: 'wide', maxEntries: 3, valueBytes: 8 }), /outer: value wide with valueBytes 8/],
      [
        createMap(testArena(1 << 20), definition(KIND_ARRAY, { name: 'far', maxEntries: 3 }), { cpus: 1 }),
        /another arena/,
      ],
    ];
    for (const [other, message] of others) expect(() => outer.set(2, other)).toThrow(message);
    expect(() => outer.set(2, 5)).toThrow(/outer: value of type number, must be a map/);
    expect(bench.update(outer, key(1), key(inner.address))).toBe(EINVAL);
    expect(outer.delete(2)).toBe(true);
    expect(bench.kernels.bpfMapLookup(bench.ctx, outer.address, bench.put(key(2)))).toBe(0);
  });

  test('what is read only for programs stays as it is', () => {
    const bench = new MapBench(base);
    for (const kind of [KIND_HASH, KIND_ARRAY]) {
      const map = bench.create(kind, { flags: 128, ...(kind === KIND_ARRAY ? { initial: key(77) } : {}) });
      if (kind === KIND_HASH) map.set(0, 77);
      expect([bench.update(map, key(0), key(1)), bench.delete(map, key(0))]).toEqual([ACCES, ACCES]);
      expect(map.get(0)).toBe(77);
      expect(map.ranges()).toMatchObject([{ writable: false }]);
    }
  });

  test('another object for the same map sees the same; a map that is released is none', () => {
    const bench = new MapBench(base);
    const map = bench.create(KIND_PERCPU_HASH, { name: 'späße', valueBytes: 8 });
    expect(attachMap(bench.arena, map.address)).toBe(map);
    expect(bench.arena.regions().map(({ name }) => name)).toContain(`bpf map ${map.id}`);
    releaseMap(bench.arena, map);
    expect(() => releaseMap(bench.arena, map)).toThrow(/map späße: it was released/);
    const again = attachMap(bench.arena, map.address);
    expect(again).not.toBe(map);
    expect([again.name, again.kind, again.cpus, again.definition.valueBytes]).toEqual([
      'späße',
      KIND_PERCPU_HASH,
      2,
      8,
    ]);
  });
});

test('keys and values of other sizes are refused, with what they should be', () => {
  const bench = new MapBench();
  const map = bench.create(KIND_HASH, { name: 'stats', keyBytes: 4, valueBytes: 6 });
  const refused: [() => unknown, string][] = [
    [() => map.get(2 ** 32), 'map stats: key 4294967296, must be a whole number of 32 bits or 4 bytes'],
    [() => map.get(1.5), 'map stats: key 1.5, must be a whole number of 32 bits or 4 bytes'],
    [() => map.get('x'), 'map stats: key "x", must be a whole number of 32 bits or 4 bytes'],
    [() => map.set(1, 5), 'map stats: value 5, must be 6 bytes'],
    [() => map.set(1, [1, 2, 3]), 'map stats: value [1,2,3], must be 6 bytes'],
    [() => map.set(1, [1, 2, 3, 4, 5, 256]), 'map stats: value [1,2,3,4,5,256], must be 6 bytes'],
    [() => map.getBytes(new Uint8Array(3)), 'map stats: key of 3 bytes, must be 4'],
    [() => map.setBytes(key(1), new Uint8Array(7)), 'map stats: value of 7 bytes, must be 6'],
  ];
  for (const [call, message] of refused) {
    expect(call).toThrow(expect.objectContaining({ code: 'BAD_ARGUMENT', message }));
  }
  map.set(-1, [1, 2, 3, 4, 5, 6]);
  expect(map.get(0xffffffff)).toEqual(Uint8Array.of(1, 2, 3, 4, 5, 6));
  const percpu = bench.create(KIND_PERCPU_HASH, { name: 'cpu' });
  expect(() => percpu.set(1, [1])).toThrow('map cpu: values by CPU must be an array of 2');
});

test('what flags ask for, in words', () => {
  const bench = new MapBench();
  const map = bench.create(KIND_HASH, { name: 'two', maxEntries: 2 });
  map.set(1, 1).set(2, 2);
  expect(() => map.set(3, 3)).toThrow(
    expect.objectContaining({
      code: 'MAP_FULL',
      message: expect.stringContaining('map two (HASH, 2 entries), key 3: '),
    }),
  );
  expect(() => map.set(1, 3, 1)).toThrow(expect.objectContaining({ code: 'BAD_ARGUMENT' }));
  expect(() => map.set(3, 3, 2)).toThrow(expect.objectContaining({ code: 'NOT_FOUND' }));
  expect(() => map.set(1, 3, 8)).toThrow(expect.objectContaining({ code: 'BAD_ARGUMENT' }));
  expect([map.delete(3), map.delete(1), map.has(1), map.has(2)]).toEqual([false, true, false, true]);
  map.clear();
  expect(map.size).toBe(0);
});

test.each([
  [KIND_ARRAY, { keyBytes: 8 }, 'map m: keys of 8 bytes, those of ARRAY have 4'],
  [KIND_DEVMAP, { valueBytes: 12 }, 'map m: values of 12 bytes, those of DEVMAP have 4 or 8'],
  [KIND_LPM_TRIE, { keyBytes: 4 }, 'map m: keys of 4 bytes, those of LPM_TRIE have 5 to 260'],
  [KIND_HASH, { maxEntries: 0 }, 'map m: max_entries 0, must be a whole number from 1'],
  [
    KIND_RINGBUF,
    { keyBytes: 0, valueBytes: 0, maxEntries: 100 },
    'map m: a ring of 100 bytes, must be a power of two from 64',
  ],
  [KIND_LRU_HASH, { maxEntries: 2 ** 30 }, 'a map may have 2147483648'],
  [99, {}, 'map m: kind 99 is not known; there are HASH (1)'],
])('kind %i with %o is refused', (kind, more, message) => {
  expect(() => mapBytes(definition(kind, more), 2)).toThrow(
    expect.objectContaining({ code: 'BAD_ARGUMENT', message: expect.stringContaining(message) }),
  );
});

test('the bytes that are asked for beforehand suffice', () => {
  for (const kind of [KIND_HASH, KIND_LRU_HASH, KIND_ARRAY, KIND_LPM_TRIE, KIND_RINGBUF, KIND_PERF_EVENT_ARRAY]) {
    const ring = kind === KIND_RINGBUF;
    const given = definition(kind, {
      keyBytes: ring ? 0 : kind === KIND_LPM_TRIE ? 8 : 4,
      valueBytes: ring ? 0 : 4,
      maxEntries: 1024,
    });
    const arena = testArena(mapBytes(given, 2));
    expect(createMap(arena, given, { cpus: 2 }).address).toBeGreaterThan(0);
  }
});
