import { expect, test } from 'vitest';
import { Random } from '#build/util/random.js';
import { FIXTURES } from './fixtures/build.mjs';
import { fixtureBytes, fuzzObjects } from './objects.ts';

test('5,000 mutated objects are loaded or refused', () => {
  const seed = Number(process.env.RINGWAY_SEED ?? 1);
  const outcome = fuzzObjects(new Random(seed), FIXTURES.map(fixtureBytes), 5_000, `seed ${seed}`);
  // Mutations that change nothing, or everything, would test little.
  expect(outcome.loaded).toBeGreaterThan(1_000);
  expect(outcome.refused).toBeGreaterThan(1_000);
  expect(outcome.programs).toBeGreaterThan(1_000);
  expect(outcome.bad).toBeGreaterThan(500);
});
