import { expect, test } from 'vitest';
import { FIRST_SEED, makeEngines, sweepValid } from './support/sweep.ts';

/** All of them; more or fewer with RINGWAY_PROGRAMS. */
const PROGRAMS = Number(process.env.RINGWAY_PROGRAMS ?? 100_000);
const PARTS = 5;

test.each(Array.from({ length: PARTS }, (_, part) => part + 1))(
  `interpreter, compiled code and kernel do the same with ${PROGRAMS} random programs, part %i of ${PARTS}`,
  (part) => {
    const { interpreter, compiled, kernel } = makeEngines();
    const count = Math.ceil(PROGRAMS / PARTS);
    expect(sweepValid([interpreter, ...kernel, ...compiled], FIRST_SEED + 1000 + (part - 1) * count, count)).toEqual(
      [],
    );
  },
);
