import { expect, test } from 'vitest';
import { FIRST_SEED } from '../support/sweep.ts';
import { sweepSoundness } from './soundness.ts';

const PROGRAMS = Number(process.env.RINGWAY_PROGRAMS ?? 100_000);
const PARTS = 10;

test.each(Array.from({ length: PARTS }, (_, part) => part + 1))(
  `of ${PROGRAMS} programs, half of them damaged, those that are accepted never fault, and do the same without checks, part %i of ${PARTS}`,
  (part) => {
    const count = Math.ceil(PROGRAMS / PARTS);
    const { accepted, failures } = sweepSoundness(FIRST_SEED + 10_000 + (part - 1) * count, count);
    expect(failures).toEqual([]);
    expect(accepted).toBeGreaterThan(count / 3);
  },
);
