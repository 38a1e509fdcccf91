import { expect, test } from 'vitest';
import type { Program } from '#build/bpf/program.js';
import { verifyProgram } from '#build/bpf/verifier/verify-program.js';
import { branchyProgram } from '#build/lab/verify-bench.js';
import { DEBIAN } from './programs.ts';

/** Instructions that were visited until the program was accepted, each as often as it was. */
function visits(program: Program): number {
  const { accepted, statistics } = verifyProgram(program);
  expect(accepted).toBe(true);
  return statistics.instructions;
}

const filters = DEBIAN.filter(([name]) => name.startsWith('xdpfilt'));
const LARGEST = filters.sort(([, a], [, b]) => b.code.length - a.code.length)[0]?.[1];

// Without pruning it were 70,035.
test.skipIf(LARGEST === undefined)("of Debian's largest xdpfilt object few ways are followed", () => {
  expect(visits(LARGEST as Program)).toBeLessThan(5_000);
});

test('a program of 10,000 instructions with 1,000 branches is visited hardly more than once', () => {
  const program = branchyProgram();
  expect(program.code.length).toBeGreaterThan(10_000);
  expect(visits(program)).toBeLessThan(40_000);
});
