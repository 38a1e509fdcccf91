import { expect, test } from 'vitest';
import { Random } from '#dist/util/random.js';
import { runHostile } from './support/hostile.ts';
import { runModel } from './support/model.ts';

const sizes = [
  ['split', 4],
  ['split', 64],
  ['packed', 1],
  ['packed', 3],
  ['packed', 7],
  ['packed', 100],
] as const;

test.each(sizes)('%s, %i descriptors: 200 runs of the model', (layout, size) => {
  for (let seed = 0; seed < 200; seed++) {
    const indirect = size >= 3 && seed % 2 === 1 ? 3 : 0;
    const inOrder = seed % 4 >= 2;
    runModel({ layout, size, indirect, inOrder }, new Random(seed), 1000, !inOrder && seed % 3 === 0);
  }
});

test.each(sizes)('%s, %i descriptors: 1000 runs with a hostile peer', (layout, size) => {
  let broken = 0;
  for (let seed = 0; seed < 1000; seed++) {
    broken += runHostile(
      { layout, size, indirect: size >= 3 ? 3 : 0, eventIdx: seed % 2 === 1, inOrder: seed % 4 >= 2 },
      new Random(seed),
      400,
    );
  }
  expect(broken).toBeGreaterThan(1000);
});
