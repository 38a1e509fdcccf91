import { expect, test } from 'vitest';
import { Random } from '#build/util/random.js';
import { COMBINATIONS, featuresAt, Pair } from './support/pair.ts';

test('every driver works with every device, and every frame arrives as it was sent', () => {
  for (let driver = 0; driver < COMBINATIONS; driver++) {
    for (let device = 0; device < COMBINATIONS; device++) {
      const random = new Random(driver * COMBINATIONS + device);
      const pair = new Pair(featuresAt(device), featuresAt(driver), random);
      pair.run(3);
      expect(pair.compared).toBeGreaterThan(0);
    }
  }
}, 600_000);
