import fc from 'fast-check';
import { type Arena, createPool, type Pool, type PoolKernels } from 'ringway/memory';
import { describe, expect, test } from 'vitest';
import {
  BUFFER_BYTES,
  BUFFER_FRAME_MAX,
  BUFFER_HEADROOM,
  BUFFER_NEXT,
  CACHE_FILL,
  CACHE_REFILL,
  CACHE_SIZE,
  CACHE_STACK,
  POISON_BYTE,
  POOL_BASE,
  POOL_ENTRIES,
  POOL_FRESH,
  POOL_HEAD,
  POOL_RING_SIZE,
  POOL_TAIL,
  SEGMENTS_MAX,
  SLOT_FLAG_CHAINED,
  SLOT_FLAG_SHARED,
  SLOT_FLAGS,
} from '#build/memory/layout.js';
import { BASES, testArena } from '../support/arena.ts';

const LONGEST = SEGMENTS_MAX * BUFFER_FRAME_MAX;
const LCORES = 2;
const SLOTS = 400;

/** A frame in the model. It has as many slots as owners. */
interface Packet {
  bytes: Uint8Array;
  /** Buffers it takes. */
  segments: number;
}

interface Rig {
  readonly arena: Arena;
  readonly pool: Pool;
  readonly k: PoolKernels;
  readonly slots: number;
  readonly scratch: number;
}

function makeRig(base: number, buffers: number, debugBytes = 8 << 20): Rig {
  const arena = testArena(debugBytes, base);
  const pool = createPool(arena, { buffers, caches: LCORES });
  const slots = arena.allocate('slots', SLOTS * 16);
  return { arena, pool, k: arena.kernels<PoolKernels>(), slots, scratch: arena.allocate('scratch', LONGEST + 64) };
}

/** Buffers that are not in exactly one place: a cache, the recycle ring, held by a slot (or chained to one), fresh. */
function misplaced({ arena, pool }: Pick<Rig, 'arena' | 'pool'>, slots: number[]): string[] {
  const { u32, u8 } = arena;
  const word = (address: number): number => u32[address >>> 2] ?? 0;
  const places = new Map<number, string[]>();
  const put = (buffer: number, place: string): void => {
    places.set(buffer, [...(places.get(buffer) ?? []), place]);
  };
  for (const [lcore, cache] of pool.caches.entries()) {
    for (let i = 0; i < word(cache + CACHE_FILL); i++) put(word(cache + CACHE_STACK + i * 4), `cache ${lcore}`);
  }
  const [tail, head] = [word(pool.address + POOL_TAIL), word(pool.address + POOL_HEAD)];
  const entries = word(pool.address + POOL_ENTRIES);
  for (let i = tail; i < head; i++) put(word(entries + (i % word(pool.address + POOL_RING_SIZE)) * 4), 'ring');
  // Shared packets have several slots, and their buffers one place.
  const held = new Set<number>();
  for (const slot of slots) {
    const chained = ((u8[slot + SLOT_FLAGS] ?? 0) & SLOT_FLAG_CHAINED) !== 0;
    for (let buffer = word(slot); buffer !== 0; buffer = chained ? word(buffer + BUFFER_NEXT) : 0) held.add(buffer);
  }
  for (const buffer of held) put(buffer, 'held');
  const base = word(pool.address + POOL_BASE);
  for (let i = word(pool.address + POOL_FRESH); i < pool.buffers; i++) put(base + i * BUFFER_BYTES, 'fresh');
  return Array.from({ length: pool.buffers }, (_, i) => base + i * BUFFER_BYTES)
    .filter((buffer) => places.get(buffer)?.length !== 1)
    .map((buffer) => `${buffer}: ${places.get(buffer)?.join(', ') ?? 'nowhere'}`);
}

const operation = fc.record({
  kind: fc.constantFrom('alloc', 'alloc', 'free', 'share', 'fill', 'fill', 'gather', 'flush'),
  lcore: fc.nat({ max: LCORES - 1 }),
  which: fc.nat(),
  count: fc.oneof(
    fc.integer({ min: 0, max: 100 }),
    fc.integer({ min: 1700, max: 4000 }),
    fc.nat({ max: LONGEST + 50 }),
  ),
});

function runModel(
  { arena, pool, k, slots, scratch }: Rig,
  operations: { kind: string; lcore: number; which: number; count: number }[],
): void {
  const packets = new Map<number, Packet>();
  const free = Array.from({ length: SLOTS }, (_, index) => slots + index * 16);
  const pick = (which: number): [number, Packet] | undefined => [...packets][which % Math.max(1, packets.size)];
  const inFlight = (): number => [...new Set(packets.values())].reduce((sum, { segments }) => sum + segments, 0);

  for (const { kind, lcore, which, count } of operations) {
    const cache = pool.caches[lcore] ?? 0;
    if (kind === 'alloc') {
      for (let i = 0; i < Math.min(count, 90) && free.length > 0; i++) {
        const slot = free.pop() as number;
        if (k.poolAlloc(cache, slot, 1) === 0) {
          free.push(slot);
          // What is left lies in the other lcore's cache.
          expect(pool.audit().free).toBeLessThanOrEqual(CACHE_SIZE);
          break;
        }
        expect(arena.u16[(slot + 4) >>> 1]).toBe(BUFFER_HEADROOM);
        expect(Array.from(arena.u32.subarray((slot + 8) >>> 2, (slot + 16) >>> 2))).toEqual([0, 0]);
        packets.set(slot, { bytes: new Uint8Array(0), segments: 1 });
      }
    } else if (kind === 'flush') {
      k.poolFlush(cache);
    } else {
      const picked = pick(which);
      if (picked === undefined) continue;
      const [slot, packet] = picked;
      const shared = [...packets.values()].filter((other) => other === packet).length > 1;
      if (kind === 'free') {
        k.poolFree(cache, slot, 1);
        packets.delete(slot);
        free.push(slot);
      } else if (kind === 'share' && free.length > 1) {
        const extra = 1 + (count % 2);
        k.poolShare(slot, extra);
        for (let i = 0; i < extra; i++) {
          const copy = free.pop() as number;
          arena.u8.copyWithin(copy, slot, slot + 16);
          packets.set(copy, packet);
        }
      } else if (
        kind === 'fill' &&
        !shared &&
        packet.bytes.length === 0 &&
        !((arena.u8[slot + SLOT_FLAGS] ?? 0) & SLOT_FLAG_SHARED)
      ) {
        const bytes = Uint8Array.from({ length: count }, (_, i) => i * 7 + count);
        arena.u8.set(bytes, scratch);
        if (k.memoryFill(cache, slot, scratch, count) === 1) {
          expect(count).toBeLessThanOrEqual(LONGEST);
          packet.bytes = bytes;
          packet.segments = Math.max(1, Math.ceil(count / BUFFER_FRAME_MAX));
        } else {
          if (count <= LONGEST) expect(pool.audit().free).toBeLessThanOrEqual(CACHE_SIZE + count / BUFFER_FRAME_MAX);
          packets.delete(slot);
          free.push(slot);
        }
      } else if (kind === 'gather') {
        expect(k.memoryFrameLength(slot)).toBe(packet.bytes.length);
        const max = which % 3 === 0 ? count : LONGEST;
        arena.u8.fill(0xaa, scratch, scratch + 64);
        const got = k.memoryGather(slot, scratch, max);
        expect(got).toBe(Math.min(max, packet.bytes.length));
        expect(Buffer.compare(arena.u8.subarray(scratch, scratch + got), packet.bytes.subarray(0, got))).toBe(0);
      }
    }
    if (pool.buffers < 1000) expect(misplaced({ arena, pool }, [...packets.keys()])).toEqual([]);
    const audit = pool.audit();
    expect(audit.inFlight).toBe(inFlight());
    expect(audit.free + audit.inFlight).toBe(pool.buffers);
  }
  for (const [slot] of packets) k.poolFree(pool.caches[0] ?? 0, slot, 1);
  expect(pool.audit()).toEqual({ buffers: pool.buffers, free: pool.buffers, inFlight: 0 });
  expect(pool.stats().recycleRingFull).toBe(0);
  expect(pool.stats().allocWaive).toBe(0);
  expect(arena.damaged()).toEqual([]);
}

test.each(BASES)('at base %i, any sequence of uses keeps every buffer and every byte', (base) => {
  fc.assert(
    fc.property(
      fc.constantFrom(64, 300, 1000),
      fc.array(operation, { minLength: 10, maxLength: 120 }),
      (buffers, operations) => {
        runModel(makeRig(base, buffers, 4 << 20), operations);
      },
    ),
    { numRuns: 25 },
  );
});

describe('counters', () => {
  test('fresh buffers, then the cache, then the ring', () => {
    const { pool, k, slots } = makeRig(65536, 300);
    const [one, two] = pool.caches as [number, number];
    expect(k.poolAlloc(one, slots, 200)).toBe(200);
    expect(pool.stats()).toMatchObject({ allocFast: 200, allocSlow: 4 * CACHE_REFILL, allocEmpty: 4, allocRefill: 0 });
    k.poolFree(one, slots, 200);
    // The cache holds 56 left over from the refill; it is full after 72 more, and each spill makes room for 64.
    expect(pool.stats()).toMatchObject({ recycleCached: 200, recycleCacheFull: 2, recycleRing: 2 * CACHE_REFILL });
    expect(k.poolAlloc(two, slots, 64)).toBe(64);
    expect(pool.stats()).toMatchObject({ allocRefill: CACHE_REFILL, allocSlow: 4 * CACHE_REFILL });
    k.poolFree(two, slots, 64);
    k.poolFlush(two);
    expect(pool.stats()).toMatchObject({ recycleRing: 3 * CACHE_REFILL, recycleRingFull: 0 });
  });

  test('an exhausted pool gives what it has, and gives again afterwards', () => {
    const { pool, k, slots } = makeRig(65536, 64);
    const [one, two] = pool.caches as [number, number];
    expect(k.poolAlloc(one, slots, 100)).toBe(64);
    expect(k.poolAlloc(two, slots, 1)).toBe(0);
    k.poolFree(one, slots, 3);
    expect(k.poolAlloc(two, slots, 1)).toBe(0);
    k.poolFlush(one);
    expect(k.poolAlloc(two, slots, 5)).toBe(3);
    expect(pool.audit()).toEqual({ buffers: 64, free: 0, inFlight: 64 });
  });

  test('an address in the ring that is no buffer is waived', () => {
    const { arena, pool, k, slots } = makeRig(65536, 64);
    const [one] = pool.caches as [number];
    k.poolFree(one, slots, k.poolAlloc(one, slots, 64));
    k.poolFlush(one);
    const entries = (arena.u32[(pool.address + POOL_ENTRIES) >>> 2] ?? 0) >>> 2;
    arena.u32[entries] = 12345;
    arena.u32[entries + 1] = (arena.u32[entries + 1] ?? 0) + 64 * BUFFER_BYTES;
    expect(k.poolAlloc(one, slots, 64)).toBe(62);
    expect(pool.stats().allocWaive).toBe(2);
  });

  test('owners of a shared packet are counted down', () => {
    const { arena, pool, k, slots } = makeRig(65536, 64);
    const [one] = pool.caches as [number];
    k.poolAlloc(one, slots, 1);
    k.poolShare(slots, 2);
    for (let copy = 1; copy < 3; copy++) arena.u8.copyWithin(slots + copy * 16, slots, slots + 16);
    k.poolFree(one, slots, 2);
    expect(pool.stats()).toMatchObject({ recycleCached: 0, releasedRefcnt: 2 });
    k.poolFree(one, slots + 32, 1);
    expect(pool.stats()).toMatchObject({ recycleCached: 1, releasedRefcnt: 2 });
  });
});

describe('the debug build', () => {
  test('traps when a buffer is freed twice', () => {
    const { pool, k, slots } = makeRig(65536, 64);
    const cache = pool.caches[0] ?? 0;
    k.poolAlloc(cache, slots, 2);
    k.poolFree(cache, slots, 1);
    expect(() => k.poolFree(cache, slots, 1)).toThrow(WebAssembly.RuntimeError);
  });

  test.each([0, 64, 1 << 30, -2048])('traps on an address that is %i bytes off', (distance) => {
    const { arena, pool, k, slots } = makeRig(65536, 64);
    const cache = pool.caches[0] ?? 0;
    k.poolAlloc(cache, slots, 1);
    const first = arena.region('pool.buffers').address;
    arena.u32[slots >>> 2] = distance === 0 ? 0 : distance === -2048 ? first - 2048 : first + distance;
    expect(() => k.poolFree(cache, slots, 1)).toThrow(WebAssembly.RuntimeError);
  });

  test('poisons what was freed', () => {
    const { arena, pool, k, slots } = makeRig(65536, 64);
    const cache = pool.caches[0] ?? 0;
    k.poolAlloc(cache, slots, 1);
    const buffer = arena.u32[slots >>> 2] ?? 0;
    k.poolFree(cache, slots, 1);
    expect(arena.u8.subarray(buffer + 64, buffer + BUFFER_BYTES).every((byte) => byte === POISON_BYTE)).toBe(true);
  });
});

test('a pool that is refused leaves nothing behind', () => {
  const arena = testArena(1 << 20);
  for (const buffers of [0, 63, 2 ** 20 + 1, 64.5]) {
    expect(() => createPool(arena, { buffers, caches: 1 })).toThrow(/pool: buffers=.*must be from 64 to 1048576/);
  }
  for (const caches of [0, 257, 1.5]) {
    expect(() => createPool(arena, { buffers: 64, caches })).toThrow(/caches=.*must be from 1 to 256, one an lcore/);
  }
  expect(() => createPool(arena, { buffers: 4096, caches: 1 })).toThrow(
    expect.objectContaining({ code: 'ARENA_FULL' }),
  );
  expect(arena.regions()).toEqual([]);
});
