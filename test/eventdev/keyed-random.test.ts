import { expect, test } from 'vitest';
import { randomPool } from '../support/keyed-random.ts';

test('random pools lose nothing, keep keys in order, and end', async () => {
  let deaths = 0;
  for (let seed = 5; seed <= 8; seed++) deaths += await randomPool(seed);
  expect(deaths).toBeGreaterThan(5);
});
