import { expect, test } from 'vitest';
import { assemble, programOf } from '#dist/bpf/assemble.js';
import type { Program } from '#dist/bpf/program.js';
import { verifyProgram } from '#dist/bpf/verifier/verify-program.js';
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
  const parts = Array.from(
    { length: 1_000 },
    (_, index) => `ldxb %r5, [%r2+${index % 14}]
      and %r5, 0x3f
      add %r6, %r5
      mov %r0, %r6
      rsh %r0, 3
      jgt %r5, ${index % 60}, l${index}
      xor %r6, 0x55
      stxdw [%r10-8], %r6
      l${index}: ldxdw %r7, [%r10-8]
      and %r6, 0xffff`,
  );
  const head =
    'ldxw %r2, [%r1]\nldxw %r3, [%r1+4]\nmov %r4, %r2\nadd %r4, 14\njgt %r4, %r3, out\nmov %r6, 0\nstdw [%r10-8], 0';
  const program = programOf(assemble(`${head}\n${parts.join('\n')}\nout: mov %r0, 2\nexit`));
  expect(program.code.length).toBeGreaterThan(10_000);
  expect(visits(program)).toBeLessThan(40_000);
});
