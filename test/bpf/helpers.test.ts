import fc from 'fast-check';
import { createPool } from 'ringway/memory';
import { describe, expect, test } from 'vitest';
import {
  CTX_BYTES,
  CTX_CACHE,
  CTX_CLOCK,
  CTX_CPU,
  CTX_DATA,
  CTX_DATA_END,
  CTX_DATA_META,
  CTX_HARD_END,
  CTX_HARD_START,
  CTX_MD_BYTES,
  CTX_RANDOM,
  CTX_ROUTES,
  CTX_SLOT,
  CTX_STACK,
  KIND_ARRAY,
  KIND_HASH,
  KIND_PROG_ARRAY,
} from '#build/bpf/layout.js';
import { ROUTES_BYTES } from '#build/packet/layout.js';
import { buildRoutes } from '#build/packet/prefix.js';
import { BASES } from '../support/arena.ts';
import { MapBench } from './support/maps.ts';

const [ACCES, EFAULT, EINVAL, EAFNOSUPPORT] = [-13, -14, -22, -97];

/** Internet checksum's sum of `bytes`, folded. */
function sumOf(bytes: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += (bytes[i] ?? 0) | ((bytes[i + 1] ?? 0) << 8);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return sum;
}

/** Even numbers of bytes, so that each begins where a word of 16 bits does. */
const words = (max: number): fc.Arbitrary<Uint8Array> =>
  fc.nat(max).chain((n) => fc.uint8Array({ minLength: n * 2, maxLength: n * 2 }));

describe.each(BASES)('regions above %i', (base) => {
  test('csum_diff: a checksum after a change is the one of the changed bytes', () => {
    const bench = new MapBench(base, 1 << 20);
    fc.assert(
      fc.property(words(20), words(20), words(20), (before, after, rest) => {
        // What is summed up: `rest` and `before`; then `rest` and `after`.
        const seed = sumOf(Uint8Array.of(...rest, ...before));
        const [from, to] = [bench.put(before), bench.put(after, 1024)];
        const result = Number(bench.kernels.bpfCsumDiff(bench.ctx, from, before.length, to, after.length, seed));
        expect(result).toBeGreaterThanOrEqual(0);
        // 0 and 0xffff are one number in ones' complement.
        expect(result % 0xffff).toBe(sumOf(Uint8Array.of(...rest, ...after)) % 0xffff);
      }),
    );
  });

  test('time, chance, and where a program runs', () => {
    const bench = new MapBench(base, 1 << 20);
    const { kernels, ctx } = bench;
    bench.set(CTX_CLOCK, bench.memory);
    bench.put(new Uint8Array(Uint32Array.of(0xfffffff0, 999_999_999).buffer));
    expect(kernels.bpfKtime(ctx)).toBe(0xfffffff0n * 1_000_000_000n + 999_999_999n);
    expect(kernels.bpfJiffies(ctx)).toBe(0xfffffff0n * 250n + 249n);
    bench.set(CTX_CPU, 3);
    expect([kernels.bpfProcessorId(ctx), kernels.bpfNumaNode(ctx)]).toEqual([3, 0]);
    bench.set(CTX_RANDOM, 1);
    bench.set(CTX_RANDOM + 4, 0);
    let state = 1n;
    for (let i = 0; i < 100; i++) {
      state ^= state >> 12n;
      state = BigInt.asUintN(64, state ^ (state << 25n));
      state ^= state >> 27n;
      expect(kernels.bpfPrandom(ctx) >>> 0).toBe(Number(BigInt.asUintN(64, state * 0x2545f4914f6cdd1dn) >> 32n));
    }
  });

  test('a program reaches packet, stack, its words, and the values of its maps', () => {
    const bench = new MapBench(base, 1 << 20);
    const { kernels, ctx } = bench;
    const values = bench.create(KIND_ARRAY, { maxEntries: 4, valueBytes: 8 });
    const constants = bench.create(KIND_HASH, { flags: 128 });
    const programs = bench.create(KIND_PROG_ARRAY);
    const foreign = bench.create(KIND_ARRAY);
    bench.setRanges(values, constants, programs);
    const data = bench.memory;
    for (const [word, value] of [
      [CTX_DATA_META, data + 8],
      [CTX_DATA, data + 16],
      [CTX_DATA_END, data + 80],
    ] as const) {
      bench.set(word, value);
    }
    const reach = (address: number | bigint, bytes: number | bigint, write: boolean): number =>
      kernels.bpfReach(ctx, BigInt(address), BigInt(bytes), write ? 1 : 0);
    const edges: [number, number, boolean, boolean][] = [
      [data + 8, 72, true, true],
      [ctx + CTX_STACK, CTX_BYTES - CTX_STACK, true, true],
      [ctx, CTX_MD_BYTES, true, false],
      [values.ranges()[0]?.address ?? 0, 32, true, true],
      [constants.ranges()[0]?.address ?? 0, constants.ranges()[0]?.bytes ?? 0, true, false],
    ];
    for (const [address, bytes, read, write] of edges) {
      expect([reach(address, bytes, false), reach(address, bytes, true)]).toEqual([Number(read), Number(write)]);
      expect([reach(address - 1, 2, true), reach(address + bytes, 1, true)]).toEqual([0, 0]);
      expect([reach(address + bytes - 1, 2, true), reach(address, bytes + 1, true)]).toEqual([0, 0]);
      expect([reach(BigInt(address) + (1n << 32n), 1, false), reach(address, (1n << 64n) - 1n, false)]).toEqual([0, 0]);
      expect(reach((1n << 64n) - 1n, address + 2, false)).toBe(0);
    }
    expect(
      [values, constants, programs, foreign].map(({ address }) => kernels.bpfReachMap(ctx, BigInt(address))),
    ).toEqual([1, 1, 1, 0]);
    expect(kernels.bpfReachMap(ctx, BigInt(values.address) + (1n << 32n))).toBe(0);
  });

  test('fib_lookup: the hop of the longest prefix, or why there is none', () => {
    const bench = new MapBench(base);
    const { kernels, ctx, arena } = bench;
    const params = bench.memory;
    const ask = (family: number, destination: number[], flags = 0, bytes = 64): number => {
      arena.u8.fill(0xee, params, params + 64);
      arena.u8[params] = family;
      arena.u8.set(destination, params + 32);
      return Number(kernels.bpfFibLookup(ctx, ctx, params, bytes, flags));
    };
    expect(ask(2, [10, 1, 2, 3])).toBe(5);
    const table = arena.allocate('table', ROUTES_BYTES);
    bench.set(CTX_ROUTES, table);
    expect(ask(2, [10, 1, 2, 3])).toBe(5);
    const router = Uint8Array.of(2, 1, 1, 1, 1, 1);
    buildRoutes(arena, table, router, [
      {
        prefix: { family: 4, bytes: Uint8Array.of(10, 0, 0, 0), length: 8 },
        port: 3,
        mac: Uint8Array.of(2, 0, 0, 0, 0, 9),
      },
      {
        prefix: { family: 6, bytes: Uint8Array.of(0x20, 1, ...new Array(14).fill(0)), length: 16 },
        port: 0,
        mac: Uint8Array.of(2, 0, 0, 0, 0, 8),
      },
    ]);
    expect(ask(2, [10, 1, 2, 3])).toBe(0);
    expect(arena.u32[(params + 8) >>> 2]).toBe(4);
    expect([...arena.u8.slice(params + 48, params + 64)]).toEqual([0, 0, 0, 0, ...router, 2, 0, 0, 0, 0, 9]);
    expect(ask(10, [0x20, 1, 5])).toBe(0);
    expect(arena.u32[(params + 8) >>> 2]).toBe(1);
    expect(ask(2, [10, 1, 2, 3], 4)).toBe(0);
    expect([...arena.u8.slice(params + 48, params + 64)]).toEqual(new Array(16).fill(0xee));
    expect([ask(2, [11, 0, 0, 0]), ask(10, [0x21, 1]), ask(2, [10], 3)]).toEqual([4, 4, 0]);
    expect([ask(2, [10], 0, 63), ask(2, [10], 8), ask(2, [10], 64), ask(3, [10])]).toEqual([
      EINVAL,
      EINVAL,
      EINVAL,
      EAFNOSUPPORT,
    ]);
  });
});

/** A packet of several buffers in a slot, and its context. */
class PacketBench extends MapBench {
  readonly slot: number;
  readonly cache: number;
  readonly pool;

  constructor(base: number, bytes: Uint8Array) {
    super(base, 4 << 20);
    this.pool = createPool(this.arena, { buffers: 64, caches: 1 });
    this.cache = this.pool.caches[0] ?? 0;
    this.slot = this.arena.allocate('slot', 64);
    const source = this.arena.allocate('source', 65536);
    this.arena.u8.set(bytes, source);
    const kernels = this.arena.kernels<{
      poolAlloc(cache: number, slots: number, max: number): number;
      memoryFill(cache: number, slot: number, source: number, bytes: number): number;
    }>();
    kernels.poolAlloc(this.cache, this.slot, 1);
    expect(kernels.memoryFill(this.cache, this.slot, source, bytes.length)).toBe(1);
    const buffer = this.arena.u32[this.slot >>> 2] ?? 0;
    const length = this.arena.u16[(this.slot + 6) >>> 1] ?? 0;
    for (const [word, value] of [
      [CTX_HARD_START, buffer + 64],
      [CTX_HARD_END, buffer + 2048],
      [CTX_DATA_META, buffer + 256],
      [CTX_DATA, buffer + 256],
      [CTX_DATA_END, buffer + 256 + length],
      [CTX_SLOT, this.slot],
      [CTX_CACHE, this.cache],
    ] as const) {
      this.set(word, value);
    }
  }

  /** The packet, as its slot says. */
  bytes(): Uint8Array {
    const target = this.arena.regions().find(({ name }) => name === 'source')?.address ?? 0;
    const { memoryGather } = this.arena.kernels<{ memoryGather(slot: number, to: number, max: number): number }>();
    const n = memoryGather(this.slot, target, 65536);
    return this.arena.u8.slice(target, target + n);
  }

  /** Buffers of the pool that the packet has. */
  buffers(): number {
    return this.pool.audit().inFlight;
  }
}

describe.each(BASES)('helpers that move the packet, regions above %i', (base) => {
  const change = fc.oneof(
    fc.record({ what: fc.constant('head' as const), by: fc.integer({ min: -300, max: 300 }) }),
    fc.record({ what: fc.constant('meta' as const), by: fc.integer({ min: -64, max: 40 }).map((n) => n * 2) }),
    fc.record({
      what: fc.constant('tail' as const),
      by: fc.oneof(fc.integer({ min: -5000, max: 2000 }), fc.integer({ min: -30, max: 30 })),
    }),
    fc.record({ what: fc.constant('store' as const), by: fc.nat(6000) }),
    fc.record({ what: fc.constant('load' as const), by: fc.nat(6000) }),
  );

  test('the packet, its slot and the context say the same after each', () => {
    fc.assert(
      fc.property(fc.integer({ min: 14, max: 5500 }), fc.array(change, { maxLength: 30 }), (length, changes) => {
        const model = Array.from({ length }, (_, i) => (i * 7) & 255);
        const bench = new PacketBench(base, Uint8Array.from(model));
        const { kernels, ctx, arena } = bench;
        let headroom = 192;
        let meta = 0;
        for (const { what, by } of changes) {
          const first = bench.get(CTX_DATA_END) - bench.get(CTX_DATA);
          const isChained = model.length > first;
          if (what === 'head') {
            const fits = headroom - meta + by >= 0 && by <= first - 14;
            expect(Number(kernels.bpfAdjustHead(ctx, ctx, by))).toBe(fits ? 0 : EINVAL);
            if (!fits) continue;
            headroom += by;
            // What is uncovered is what was there; metadata come along.
            if (by > 0) model.splice(0, by);
            else model.unshift(...arena.u8.slice(bench.get(CTX_DATA), bench.get(CTX_DATA) - by));
          } else if (what === 'meta') {
            const next = meta - by;
            const expected = next > headroom || next < 0 ? EINVAL : next % 4 !== 0 || next > 252 ? ACCES : 0;
            expect(Number(kernels.bpfAdjustMeta(ctx, ctx, by))).toBe(expected);
            if (expected === 0) meta = next;
          } else if (what === 'tail') {
            const last = (model.length - first) % 1792;
            const room = isChained ? 1792 - (last === 0 ? 1792 : last) : 2048 - 64 - headroom - first;
            const result = Number(kernels.bpfAdjustTail(ctx, ctx, by));
            if (by <= 0) expect(result).toBe(model.length + by < 14 ? EINVAL : 0);
            else if (!isChained) expect(result).toBe(by > room ? EINVAL : 0);
            if (result !== 0) continue;
            if (by < 0) model.splice(model.length + by);
            else model.push(...new Array<number>(by).fill(0));
          } else {
            const bytes = 1 + (by % 700);
            const offset = by - (by % 13);
            const content = Uint8Array.from({ length: bytes }, (_, i) => (by + i) & 255);
            const fits = offset + bytes <= model.length;
            const at = bench.put(what === 'store' ? content : new Uint8Array(bytes));
            const helper = what === 'store' ? kernels.bpfStoreBytes : kernels.bpfLoadBytes;
            expect(Number(helper(ctx, ctx, offset, at, bytes))).toBe(fits ? 0 : EINVAL);
            if (!fits) continue;
            if (what === 'store') for (let i = 0; i < bytes; i++) model[offset + i] = content[i] ?? 0;
            else expect([...arena.u8.slice(at, at + bytes)]).toEqual(model.slice(offset, offset + bytes));
          }
          expect(bench.get(CTX_DATA) - bench.get(CTX_DATA_META)).toBe(meta);
          expect(bench.kernels.bpfBuffLen(ctx, ctx)).toBe(BigInt(model.length));
          expect(Buffer.compare(bench.bytes(), Uint8Array.from(model))).toBe(0);
          const slotOffset = arena.u16[(bench.slot + 4) >>> 1] ?? 0;
          expect((arena.u32[bench.slot >>> 2] ?? 0) + slotOffset).toBe(bench.get(CTX_DATA));
        }
        const { poolFree } = arena.kernels<{ poolFree(cache: number, slots: number, n: number): void }>();
        poolFree(bench.cache, bench.slot, 1);
        expect(bench.buffers()).toBe(0);
      }),
      { numRuns: 150 },
    );
  });

  test('pieces of more than 65,535 bytes are no pieces', () => {
    const bench = new PacketBench(base, new Uint8Array(64));
    const { kernels, ctx, memory } = bench;
    expect(Number(kernels.bpfLoadBytes(ctx, ctx, 65536, memory, 1))).toBe(EFAULT);
    expect(Number(kernels.bpfStoreBytes(ctx, ctx, 0, memory, 65536))).toBe(EFAULT);
    expect(Number(kernels.bpfLoadBytes(ctx, ctx, 0xffffffff, memory, 2))).toBe(EFAULT);
  });

  test('metadata move with the head', () => {
    const bench = new PacketBench(
      base,
      Uint8Array.from({ length: 60 }, (_, i) => i),
    );
    const { kernels, ctx, arena } = bench;
    expect(Number(kernels.bpfAdjustMeta(ctx, ctx, -8))).toBe(0);
    arena.u8.set([1, 2, 3, 4, 5, 6, 7, 8], bench.get(CTX_DATA_META));
    expect(Number(kernels.bpfAdjustHead(ctx, ctx, -4))).toBe(0);
    expect([...arena.u8.slice(bench.get(CTX_DATA_META), bench.get(CTX_DATA))]).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    expect(Number(kernels.bpfAdjustHead(ctx, ctx, 20))).toBe(0);
    expect([...arena.u8.slice(bench.get(CTX_DATA_META), bench.get(CTX_DATA))]).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
  });
});
