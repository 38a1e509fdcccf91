import { expect, test } from 'vitest';
import { compileTraced, tryMutations } from '../support/kernels.ts';
import { hostileOptions, runHostile, searchFaults } from './support/hostile.ts';
import { HOSTILE_FAULTS, ORDER_FAULTS } from './support/planted.ts';

test.each([
  ['split', 1],
  ['split', 8],
  ['split', 64],
  ['packed', 1],
  ['packed', 3],
  ['packed', 7],
  ['packed', 100],
] as const)('%s, %i descriptors: a peer that writes anything breaks the queue, and nothing else', (layout, size) => {
  let broken = 0;
  for (let seed = 0; seed < 12; seed++) broken += runHostile(hostileOptions(layout, size, seed), seed, 300).broken;
  expect(broken).toBeGreaterThan(24);
});

test('every planted fault has its place in the sources', () => {
  for (const { mutations } of [...HOSTILE_FAULTS, ...ORDER_FAULTS]) tryMutations(mutations);
});

// The others are in the deep tests.
test.each(
  HOSTILE_FAULTS.filter((_, index) => index % 9 === 0).map((fault) => [fault.layout, fault.what, fault] as const),
)('%s: it is found when %s', async (layout, _, { mutations }) => {
  const module = await compileTraced({ folders: ['virtio'], mutations });
  expect(() => searchFaults(layout, module)).toThrow(/^seed \d+/);
});
