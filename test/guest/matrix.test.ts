import { expect, test } from 'vitest';
import { Random } from '#build/util/random.js';
import { COMBINATIONS, featuresAt, Pair } from './support/pair.ts';

test('what either side lacks is not used, and every frame arrives as it was sent', () => {
  const random = new Random(1);
  const seen = new Set<bigint>();
  for (let i = 0; i < 60; i++) {
    // Every driver feature set once, against any device.
    const driver = i % COMBINATIONS;
    const pair = new Pair(featuresAt(random.below(COMBINATIONS)), featuresAt(driver), random);
    seen.add(pair.guest.features);
    pair.run(3);
    expect(pair.compared).toBeGreaterThan(0);
  }
  expect(seen.size).toBeGreaterThan(20);
}, 60_000);
