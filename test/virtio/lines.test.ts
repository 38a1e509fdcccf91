import { expect, test } from 'vitest';
import { CALLS, ringLines } from './support/lines.ts';

test.each([1, 4])('a batch of %i: each call touches no more lines of a packed ring than of a split one', (batch) => {
  const split = ringLines('split', batch);
  const packed = ringLines('packed', batch);
  for (const call of CALLS) {
    expect.soft(packed[call].touched, call).toBeLessThanOrEqual(split[call].touched);
    expect.soft(packed[call].written, call).toBeLessThanOrEqual(split[call].written);
  }
});

// In large batches a split ring returns more chains a line: its used elements are half as large as descriptors. What it
// adds has three parts, so that in all it still needs more.
test.each([1, 4, 32])('a batch of %i: a chain needs no more lines of a packed ring than of a split one', (batch) => {
  const split = ringLines('split', batch).all;
  const packed = ringLines('packed', batch).all;
  expect(packed.touched).toBeLessThanOrEqual(split.touched);
  expect(packed.written).toBeLessThanOrEqual(split.written);
});

test('a chain alone needs about five lines when split and two when packed, and in fours half a line', () => {
  expect(ringLines('split', 1).all.written).toBeCloseTo(5, 1);
  expect(ringLines('packed', 1).all).toEqual({ touched: 4, written: 2 });
  expect(ringLines('packed', 4).all).toEqual({ touched: 1, written: 0.5 });
});
