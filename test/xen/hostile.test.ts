import { expect, test } from 'vitest';
import { searchHostile } from './support/hostile.ts';

test('whoever owns the shared page breaks the ring, and nothing else', () => {
  const broken = searchHostile(0, 150);
  // Each rule that can be broken in there was.
  expect([...broken.keys()].sort()).toEqual([
    'an answer to what was not asked',
    'an index moved back, or by more than the ring holds',
    'bytes outside their page',
    'extra information of no known type, or too much',
    'segments of 0 bytes, or of no known protocol',
    'slots that were announced are not there',
  ]);
});
