import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createGrefTable, type GrefTableKernels } from '#build/xen/kept-grants.js';
import { testArena } from '../support/arena.ts';

test('a table of mapped pages is a map, whatever references there are', () => {
  const ref = fc.oneof(fc.integer({ min: 0, max: 40 }), fc.integer({ min: 0, max: 2 ** 32 - 1 }));
  const step = fc.record({ ref, what: fc.constantFrom('insert', 'remove', 'look'), readonly: fc.boolean() });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const arena = testArena(1 << 17);
      const k = arena.kernels<GrefTableKernels>();
      const table = createGrefTable(arena, 'table');
      const model = new Map<number, { page: number; readonly: boolean }>();
      for (const [i, { ref, what, readonly }] of steps.entries()) {
        const page = (i + 1) * 4096;
        const has = model.get(ref);
        if (what === 'insert') {
          const isNew = ref !== 0 && has === undefined;
          expect(k.xenGrefInsert(table, ref, page + (readonly ? 1 : 0))).toBe(isNew ? 1 : 0);
          if (isNew) model.set(ref, { page, readonly });
        } else if (what === 'remove') {
          expect(k.xenGrefRemove(table, ref)).toBe(model.delete(ref) ? 1 : 0);
        } else {
          expect(k.xenGrefAt(table, ref, 0)).toBe(has?.page ?? 0);
          expect(k.xenGrefAt(table, ref, 1)).toBe(has === undefined || has.readonly ? 0 : has.page);
        }
      }
      expect(arena.u32[(table + 4) >>> 2]).toBe(model.size);
    }),
    { numRuns: 60 },
  );
});

test('1,024 references that follow each other have places, with any seed', () => {
  const arena = testArena(1 << 17);
  const k = arena.kernels<GrefTableKernels>();
  for (let round = 0; round < 20; round++) {
    const table = createGrefTable(arena, 'table');
    for (let ref = 8; ref < 1032; ref++) expect(k.xenGrefInsert(table, ref, ref * 4096)).toBe(1);
    for (let ref = 8; ref < 1032; ref++) expect(k.xenGrefAt(table, ref, 1)).toBe(ref * 4096);
    arena.release('table');
  }
});
