import { expect, test } from 'vitest';
import { HostilePair } from './support/hostile.ts';
import { FIRST_SEED, sweepHostile } from './support/sweep.ts';

const PROGRAMS = Number(process.env.RINGWAY_PROGRAMS ?? 100_000);
const PARTS = 5;

test.each(Array.from({ length: PARTS }, (_, part) => part + 1))(
  `checked code ends ${PROGRAMS} hostile programs as the interpreter does, part %i of ${PARTS}`,
  (part) => {
    const pair = new HostilePair();
    const count = Math.ceil(PROGRAMS / PARTS);
    expect(sweepHostile(pair, FIRST_SEED + 1000 + (part - 1) * count, count)).toEqual([]);
    // Few are beyond comparison.
    expect(pair.looseRuns).toBeLessThan(count / 2);
  },
);
