import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Random } from '#build/util/random.js';
import { BASES } from '../support/arena.ts';
import { runModel } from './support/model.ts';
import { makeRig } from './support/rig.ts';

const SIZES = { split: [1, 2, 8, 64], packed: [1, 3, 7, 8, 100] } as const;
const cases = BASES.flatMap((base) =>
  (['split', 'packed'] as const).flatMap((layout) => SIZES[layout].map((size) => [layout, size, base] as const)),
);

test.each(cases)('%s, %i descriptors, base %i: chains go and come as in a list', (layout, size, base) => {
  fc.assert(
    fc.property(fc.integer({ min: 0 }), fc.boolean(), fc.boolean(), (seed, withTables, inOrder) => {
      const indirect = withTables && size >= 3 ? 3 : 0;
      runModel({ layout, size, indirect, inOrder, base }, new Random(seed), 300);
    }),
    { numRuns: 8 },
  );
});

test.each([
  ['split', 8],
  ['packed', 7],
] as const)('%s: the ring goes round many times while the oldest chain is out', (layout, size) => {
  expect(runModel({ layout, size }, new Random(1), 20_000, true)).toBeGreaterThan(size * 100);
});

test('split: the indexes pass 2^16', () => {
  const { driver, device, adding, taken, records, buffers, arena } = makeRig({ layout: 'split', size: 4 });
  adding.push([{ address: buffers, length: 1 }], []);
  for (let i = 0; i < 70_000; i++) {
    if (driver.add(adding, 1) !== 1 || device.take(taken, 4) !== 1) throw new Error(`chain ${i} was not seen`);
    arena.u32.set([taken.id(0), 0], records >>> 2);
    if (device.return(records, 1) !== 1 || driver.poll(records, 4) !== 1)
      throw new Error(`chain ${i} was not returned`);
  }
  expect([driver.free(), device.free(), driver.broken(), device.broken()]).toEqual([4, 4, 0, 0]);
});
