import fc from 'fast-check';
import { expect, test } from 'vitest';
import { assemble, programOf } from '#build/bpf/assemble.js';
import { FAULT_FUEL } from '#build/bpf/layout.js';
import { withLoops, withoutLoops } from '#build/bpf/loops.js';
import type { Program } from '#build/bpf/program.js';
import { verifyProgram } from '#build/bpf/verifier/verify-program.js';
import { verifyStructure } from '#build/bpf/verify.js';
import { program as clangProgram } from './object/objects.ts';
import { DEFINITIONS } from './support/fixture.ts';
import { makeEngines } from './support/sweep.ts';

const { interpreter, compiled, kernel } = makeEngines();
const engines = [interpreter, ...compiled, ...kernel];
const packet = new Uint8Array(64);

const raw = (text: string): Program => programOf(assemble(text), 'loops', DEFINITIONS);
function programFrom(text: string): Program {
  const program = withLoops(raw(text));
  verifyStructure(program);
  return program;
}

/** Sums round numbers up to `last`, where it stops: r0 = the sum, and 1000 for each round that bpf_loop says there were. */
const summing = (rounds: number, last: number, flags = 0): string => `
  stdw [%r10-8], 0
  stdw [%r10-16], ${last}
  mov %r1, ${rounds}
  lddw %r2, function round
  mov %r3, %r10
  add %r3, -16
  mov %r4, ${flags}
  call 181
  mul %r0, 1000
  ldxdw %r1, [%r10-8]
  add %r0, %r1
  exit
  round: ldxdw %r3, [%r2+8]
  add %r3, %r1
  stxdw [%r2+8], %r3
  ldxdw %r4, [%r2]
  mov %r0, 0
  jlt %r1, %r4, more
  mov %r0, 1
  more: exit`;

function run(program: Program): bigint[] {
  return engines.map((engine) => {
    const loaded = engine.load(program);
    const { r0, fault } = loaded.run(packet);
    loaded.close();
    expect(fault, engine.name).toBeUndefined();
    return BigInt(r0);
  });
}

const everywhere = (value: number): bigint[] => engines.map(() => BigInt(value >>> 0));

test('rounds are counted, and end where one says so', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 60 }), fc.integer({ min: 0, max: 60 }), (rounds, last) => {
      const ran = Math.min(rounds, last + 1);
      expect(run(programFrom(summing(rounds, last)))).toEqual(everywhere(ran * 1000 + (ran * (ran - 1)) / 2));
    }),
    { numRuns: 30 },
  );
});

test('flags and too many rounds are errors, and nothing runs', () => {
  expect(run(programFrom(summing(3, 9, 1)))).toEqual(everywhere(-22 * 1000));
  expect(run(programFrom(summing((1 << 23) + 1, 9)))).toEqual(everywhere(-7 * 1000));
});

test('a checked program that takes too many rounds is ended', () => {
  const program = programFrom(summing(1 << 23, -1));
  for (const engine of [interpreter, compiled[1] ?? interpreter]) {
    const { fault } = engine.load(program).run(packet);
    expect(fault?.kind, engine.name).toBe(FAULT_FUEL);
  }
});

test('rounds that differ do not make a program too long to verify', () => {
  const verdict = verifyProgram(programFrom(summing(1 << 23, 1 << 22)));
  expect(verdict.accepted ? '' : verdict.rejection.text).toBe('');
  expect(verdict.statistics.instructions).toBeLessThan(500);
  expect(verdict.statistics.dead).toEqual([]);
});

test('kernels get what the object has', () => {
  const before = raw(summing(3, 9));
  const { loops, ...after } = withoutLoops(withLoops(before));
  expect(loops?.calls.size).toBe(1);
  expect(after).toEqual(before);
});

test('which function is called must be plain', () => {
  const text = summing(3, 9).replace('mov %r4, 0', 'ldxw %r2, [%r10-8]\nmov %r4, 0');
  expect(() => programFrom(text)).toThrow(/it is not plain which function bpf_loop calls\. .* instruction 9$/);
  const moved = summing(3, 9).replace('lddw %r2, function round', 'lddw %r6, function round\nmov %r2, %r6');
  expect(run(programFrom(moved))).toEqual(everywhere(3003));
});

test('what clang makes of loops runs the same everywhere, and is accepted', () => {
  const bytes = Uint8Array.from({ length: 64 }, (_, index) => index * 3);
  const sum = bytes.reduce((all, one) => all + one, 0);
  for (const [name, expected] of [
    ['sum', 65 * 100_000 + sum],
    ['triangle', 1140],
  ] as const) {
    const program = clangProgram('loops', name);
    const verdict = verifyProgram(program);
    expect(verdict.accepted ? '' : verdict.rejection.text).toBe('');
    for (const engine of engines) {
      const loaded = engine.load(program);
      expect(loaded.run(bytes).r0, engine.name).toBe(expected);
      loaded.close();
    }
  }
});
