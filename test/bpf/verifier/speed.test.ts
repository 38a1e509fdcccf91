import { expect, test } from 'vitest';
import { assemble, programOf } from '#dist/bpf/assemble.js';
import { verifyProgram } from '#dist/bpf/verifier/verify-program.js';
import { DEBIAN } from './programs.ts';

/** The shortest of several times, in milliseconds: the machine may do something else meanwhile. */
function shortestMs(rounds: number, what: () => void): number {
  let shortest = Number.POSITIVE_INFINITY;
  for (let left = rounds; left > 0; left--) {
    const start = performance.now();
    what();
    shortest = Math.min(shortest, performance.now() - start);
  }
  return shortest;
}

const filters = DEBIAN.filter(([name]) => name.startsWith('xdpfilt'));
const LARGEST = filters.sort(([, a], [, b]) => b.code.length - a.code.length)[0]?.[1];

test.skipIf(LARGEST === undefined)("Debian's largest xdpfilt object takes 50 ms at most", () => {
  expect(shortestMs(8, () => expect(verifyProgram(LARGEST as never).accepted).toBe(true))).toBeLessThan(50);
});

test('a program of 10,000 instructions takes a second at most', () => {
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
  expect(shortestMs(3, () => expect(verifyProgram(program).accepted).toBe(true))).toBeLessThan(1_000);
});
