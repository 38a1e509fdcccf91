import { expect, test } from 'vitest';
import { HostilePair } from './support/hostile.ts';
import { FIRST_SEED, makeEngines, sweepHostile, sweepValid } from './support/sweep.ts';

/** Of the programs, those that are compiled too: that takes several times as long as all else. */
const COMPILED = 8000;
const PROGRAMS = Number(process.env.RINGWAY_PROGRAMS ?? 100_000);

test(`interpreter and kernel do the same with ${PROGRAMS} random programs, and compiled code with some of them`, () => {
  const { interpreter, compiled, kernel } = makeEngines();
  const first = FIRST_SEED + 1000;
  expect(sweepValid([interpreter, ...compiled], first, Math.min(PROGRAMS, COMPILED))).toEqual([]);
  expect(sweepValid([interpreter, ...kernel], first, PROGRAMS)).toEqual([]);
});

test('checked code ends 8,000 hostile programs as the interpreter does', () => {
  const pair = new HostilePair();
  expect(sweepHostile(pair, FIRST_SEED + 1000, 8000)).toEqual([]);
});
