import { expect, test } from 'vitest';
import { searchHostile } from './support/hostile.ts';

test('whoever owns the shared page breaks the ring, and nothing else: many seeds', () => {
  const broken = searchHostile(1000, 9000);
  expect([...broken.values()].reduce((sum, times) => sum + times, 0)).toBeGreaterThan(4000);
});
