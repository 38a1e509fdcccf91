import { expect, test } from 'vitest';
import { Random } from '#build/util/random.js';
import { runModel } from './support/model.ts';

const STEPS = 1_000;

// Over 10^6 operations for each layout, and all features with each other.
test.each([
  ['split', 1],
  ['split', 4],
  ['split', 64],
  ['split', 256],
  ['packed', 1],
  ['packed', 3],
  ['packed', 7],
  ['packed', 100],
  ['packed', 257],
] as const)('%s, %i descriptors: 256 runs of the model', (layout, size) => {
  let polled = 0;
  for (let seed = 0; seed < 256; seed++) {
    const inOrder = (seed & 1) !== 0;
    const indirect = (seed & 2) !== 0 && size >= 3 ? 3 : 0;
    const options = { layout, size, indirect, inOrder, eventIdx: (seed & 4) !== 0 };
    polled += runModel(options, new Random(seed), STEPS, !inOrder && (seed & 8) !== 0);
  }
  expect(polled).toBeGreaterThan(256 * STEPS * 0.03);
});

test.each([
  ['split', 8],
  ['packed', 7],
] as const)('%s: the ring goes round 8,000 times while the oldest chain is out', (layout, size) => {
  expect(runModel({ layout, size }, new Random(2), 500_000, true)).toBeGreaterThan(size * 8_000);
});
