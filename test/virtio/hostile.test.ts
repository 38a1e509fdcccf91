import { expect, test } from 'vitest';
import { Random } from '#dist/util/random.js';
import { runHostile } from './support/hostile.ts';

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
  for (let seed = 0; seed < 20; seed++) {
    const indirect = size >= 3 && seed % 4 < 2 ? 3 : 0;
    broken += runHostile(
      { layout, size, indirect, eventIdx: seed % 2 === 1, inOrder: seed % 3 === 1 },
      new Random(seed),
      300,
    );
  }
  expect(broken).toBeGreaterThan(20);
});
