import { expect, test } from 'vitest';
import { Random } from '#build/util/random.js';
import { FIXTURES } from './fixtures/build.mjs';
import { fixtureBytes, fuzzObjects } from './objects.ts';

const EACH = 125_000;
const first = Number(process.env.RINGWAY_SEED ?? 1_000);

test.each([0, 1, 2, 3, 4, 5, 6, 7])('1,000,000 mutated objects are loaded or refused: part %i', (part) => {
  const seed = first + part;
  const outcome = fuzzObjects(new Random(seed), FIXTURES.map(fixtureBytes), EACH, `seed ${seed}`);
  expect(outcome.loaded).toBeGreaterThan(EACH / 5);
  expect(outcome.refused).toBeGreaterThan(EACH / 5);
  expect(outcome.programs).toBeGreaterThan(EACH / 5);
  expect(outcome.bad).toBeGreaterThan(EACH / 10);
});
