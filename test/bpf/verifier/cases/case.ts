import { assemble, programOf } from '#build/bpf/assemble.js';
import { withLoops } from '#build/bpf/loops.js';
import type { Program, ProgramType } from '#build/bpf/program.js';
import type { RejectionReason } from '#build/bpf/verifier/refusal.js';
import { DEFINITIONS } from '../../support/fixture.ts';

/** A small program that is rejected, and its twin that has what was missing. */
export interface Case {
  readonly name: string;
  readonly reason: RejectionReason;
  readonly bad: Program;
  readonly good: Program;
}

/** Writes both programs: `mend(a, b)` is `a` in the one that is right, `b` in the other. */
export type Writer = (mend: (right: string, wrong: string) => string) => string;

export const OUT = 'out: mov %r0, 2\nexit';
/** data in r2, data_end in r3. */
export const DATA = 'ldxw %r2, [%r1]\nldxw %r3, [%r1+4]';
/** The same, and on only with `bytes` of the packet. r4 is no pointer to use. */
export const packet = (bytes: number): string => `${DATA}\nmov %r4, %r2\nadd %r4, ${bytes}\njgt %r4, %r3, out`;
/** r0 = the element of a map under a key of 4 bytes, or null. Context in r6. */
export const lookup = (map: number, key = 1): string =>
  `mov %r6, %r1\nstw [%r10-4], ${key}\nmov %r2, %r10\nadd %r2, -4\nlddw %r1, map ${map}\ncall map_lookup_elem`;
/** The same, with a value. */
export const found = (map: number, key = 1): string => `${lookup(map, key)}\njeq %r0, 0, out`;

/** A case. Text without an end gets `out:`, which passes the packet. */
export function testCase(name: string, reason: RejectionReason, write: Writer, type: ProgramType = 'xdp'): Case {
  const programFrom = (text: string): Program => {
    const whole = /\bout:/.test(text) ? text : `${text}\n${OUT}`;
    return { ...withLoops(programOf(assemble(whole), 'program', DEFINITIONS)), type };
  };
  return {
    name,
    reason,
    bad: programFrom(write((_right, wrong) => wrong)),
    good: programFrom(write((right) => right)),
  };
}
