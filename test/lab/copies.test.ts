import { createPool, type PoolKernels } from 'ringway/memory';
import { expect, test } from 'vitest';
import { COPIES_CASES, checkCopies } from '#build/lab/copies-bench.js';
import { NUMBERED_PATTERN } from '#build/lab/layout.js';
import { BUFFER_LENGTH, BUFFER_NEXT, BUFFER_OFFSET, SLOT_LENGTH, SLOT_OFFSET } from '#build/memory/layout.js';
import { testArena } from '../support/arena.ts';

interface Kernels extends PoolKernels {
  labNumberedMake(cache: number, slots: number, max: number, first: number, pattern: number): number;
  labNumberedCheck(slots: number, n: number, first: number, pattern: number): number;
}

test('a packet that is another one, shorter, or has another byte anywhere is found', () => {
  const arena = testArena();
  const { u8, u16, u32 } = arena;
  const { labNumberedMake, labNumberedCheck } = arena.kernels<Kernels>();
  const pool = createPool(arena, { buffers: 64, caches: 1 });
  const [cache = 0] = pool.caches;
  const pattern = arena.allocate('pattern', NUMBERED_PATTERN);
  for (let i = 0; i < NUMBERED_PATTERN; i++) u8[pattern + i] = i * 131;
  const slots = arena.allocate('slots', 32 * 16);
  // Of 60 bytes, and of two buffers.
  for (const first of [0, 54]) {
    expect(labNumberedMake(cache, slots, 2, first, pattern)).toBe(2);
    const check = (): number => labNumberedCheck(slots, 2, first, pattern);
    expect(check()).toBe(2);
    expect(labNumberedCheck(slots, 2, first + 1, pattern)).toBe(0);
    const lengthAt = (slots + SLOT_LENGTH) >>> 1;
    u16[lengthAt] = (u16[lengthAt] as number) - 1;
    expect(check()).toBe(0);
    u16[lengthAt] = (u16[lengthAt] as number) + 1;
    const head = u32[slots >>> 2] as number;
    const next = first === 0 ? 0 : (u32[(head + BUFFER_NEXT) >>> 2] as number);
    const at = head + (u16[(slots + SLOT_OFFSET) >>> 1] as number);
    const places = Array.from({ length: u16[lengthAt] as number }, (_, i) => at + i);
    if (next !== 0) {
      const from = next + (u16[(next + BUFFER_OFFSET) >>> 1] as number);
      places.push(...Array.from({ length: u16[(next + BUFFER_LENGTH) >>> 1] as number }, (_, i) => from + i));
    }
    expect(places.length).toBe(60 + ((first * 37) % 2040));
    for (const place of places) {
      u8[place] = (u8[place] as number) ^ 1;
      expect(check()).toBe(0);
      u8[place] = (u8[place] as number) ^ 1;
    }
    expect(check()).toBe(2);
    arena.kernels<Kernels>().poolFree(cache, slots, 2);
  }
  // Not half a packet when the pool is exhausted.
  expect(labNumberedMake(cache, slots, 32, 54, pattern)).toBeLessThan(33);
});

test.each(COPIES_CASES.filter((_, i) => i % 11 === 0))(
  'copies arrive whole and in order: $integration, $assignment, $layout',
  async (one) => {
    const { packets, offloaded, copied, failed, full } = await checkCopies(one, 16_000);
    // Each crosses in a copy or more.
    expect(offloaded + copied).toBeGreaterThanOrEqual(packets);
    expect(offloaded).toBeGreaterThan(packets / 2);
    expect(failed).toBeGreaterThan(0);
    expect(full).toBeGreaterThan(0);
  },
);
