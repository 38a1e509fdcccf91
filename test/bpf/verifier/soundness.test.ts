import { expect, test } from 'vitest';
import { FIRST_SEED } from '../support/sweep.ts';
import { sweepSoundness } from './soundness.ts';

const PROGRAMS = 250;

test(`of ${PROGRAMS} programs, half of them damaged, those that are accepted never fault in checked mode, and do the same without its checks`, () => {
  const { accepted, rejected, proven, failures } = sweepSoundness(FIRST_SEED, PROGRAMS);
  expect(failures).toEqual([]);
  // Else it would say little of either.
  expect(accepted).toBeGreaterThan(PROGRAMS / 3);
  expect(rejected).toBeGreaterThan(PROGRAMS / 10);
  expect(proven).toBeGreaterThan(accepted / 6);
});
