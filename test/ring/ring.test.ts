import fc from 'fast-check';
import { createMpscRing, createSpscRing } from 'ringway/ring';
import { expect, test } from 'vitest';
import { BASES, testArena } from '../support/arena.ts';

const kinds = { createSpscRing, createMpscRing };
const cases = Object.entries(kinds).flatMap(([name, create]) => BASES.map((base) => [name, base, create] as const));

test.each(cases)('%s at base %i: any sequence of pushes and pops behaves like a bounded queue', (_, base, create) => {
  const operation = fc.record({ push: fc.boolean(), count: fc.integer({ min: 0, max: 40 }) });
  const arena = testArena(8 << 20, base);
  const burst = arena.allocate('burst', 64 * 16);
  let made = 0;
  fc.assert(
    fc.property(fc.constantFrom(2, 8, 64), fc.array(operation, { maxLength: 300 }), (slots, operations) => {
      const name = `ring ${made++}`;
      const ring = create(arena, { slots, name });
      const model: number[] = [];
      let serial = 1;
      for (const { push, count } of operations) {
        if (push) {
          for (let i = 0; i < count; i++) arena.u32.fill(serial + i, (burst >>> 2) + i * 4, (burst >>> 2) + i * 4 + 4);
          const sent = ring.push(burst, count);
          expect(sent).toBe(Math.min(count, slots - model.length));
          for (let i = 0; i < sent; i++) model.push(serial++);
        } else {
          arena.u8.fill(0xee, burst, burst + 64 * 16);
          const got = ring.pop(burst, count);
          const slots4 = Array.from(arena.u32.subarray(burst >>> 2, (burst >>> 2) + got * 4));
          expect(slots4).toEqual(
            model.splice(0, Math.min(count, model.length)).flatMap((value) => [value, value, value, value]),
          );
        }
        expect(ring.fill()).toBe(model.length);
      }
      expect(arena.damaged()).toEqual([]);
      arena.release(name);
    }),
    { numRuns: 60 },
  );
});

test.each(Object.entries(kinds))('%s refuses a bad size and says what is allowed', (_, create) => {
  for (const slots of [0, 1, 3, 2 ** 21, 1.5, Number.NaN]) {
    expect(() => create(testArena(), { slots, name: 'r' })).toThrow(/r: slots=.*power of two from 2 to 1048576/);
  }
});
