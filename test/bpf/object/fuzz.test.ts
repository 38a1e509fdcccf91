import { expect, test } from 'vitest';
import { Random } from '#build/util/random.js';
import { FIXTURES } from './fixtures/build.mjs';
import { fixtureBytes, fuzzObjects } from './objects.ts';

test('1,500 mutated objects are loaded or refused', () => {
  const seed = Number(process.env.RINGWAY_SEED ?? 1);
  const outcome = fuzzObjects(new Random(seed), FIXTURES.map(fixtureBytes), 1_500, `seed ${seed}`);
  // Mutations that change nothing, or everything, would test little.
  expect(outcome.loaded).toBeGreaterThan(300);
  expect(outcome.refused).toBeGreaterThan(300);
  expect(outcome.programs).toBeGreaterThan(300);
  expect(outcome.bad).toBeGreaterThan(500);
});
