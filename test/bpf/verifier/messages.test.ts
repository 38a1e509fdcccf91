import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { assemble, programOf } from '#build/bpf/assemble.js';
import { linkProgram, loadObject } from '#build/bpf/object/load.js';
import type { Program } from '#build/bpf/program.js';
import type { Rejection } from '#build/bpf/verifier/rejection.js';
import { verifyProgram } from '#build/bpf/verifier/verify-program.js';
import { DEFINITIONS } from '../support/fixture.ts';
import { CASES } from './cases/index.ts';

function rejectionOf(program: Program): Rejection {
  const verdict = verifyProgram(program);
  if (verdict.accepted) throw new Error('it is accepted');
  return verdict.rejection;
}

const REJECTIONS = CASES.map(({ name, bad }) => ({ name, ...rejectionOf(bad) }));

test('what is said of each program that is rejected', () => {
  const said = REJECTIONS.map(({ name, text }) => `# ${name}\n${text}`);
  expect(said.join('\n\n\n')).toMatchSnapshot();
});

test('each says what is wrong and what is missing, in whole sentences, shortly', () => {
  for (const { why, missing, text } of REJECTIONS) {
    expect(why).toMatch(/^\S.*\.$/);
    expect(missing).toMatch(/^[A-Z`].*[.]$/);
    expect(Math.max(...text.split('\n').map(({ length }) => length))).toBeLessThan(260);
    expect(`${why}${missing}`).not.toMatch(/undefined|NaN|\[object/);
  }
});

test('a program with source lines is told by them, and its jumps too', () => {
  const path = fileURLToPath(new URL('../../../examples/xdp/vlan.o', import.meta.url));
  const program = linkProgram(loadObject(readFileSync(path), { file: 'vlan.o' }), 'xdp_vlan_pop');
  // Without its first comparison with the end of the packet.
  const at = program.code.findIndex(({ opcode }) => opcode === 0x2d);
  const code = program.code.map((one, pc) => (pc === at ? { opcode: 0x05, dst: 0, src: 0, offset: 0, imm: 0 } : one));
  const { reason, line, path: jumps, text } = rejectionOf({ ...program, code });
  expect(reason).toBe('packet-bounds');
  expect(line?.file).toMatch(/vlan\.c$|headers\.h$/);
  expect(jumps.every((jump) => jump.line !== undefined)).toBe(true);
  // Compilers write down where the source was.
  expect(text.replaceAll(/\S*\/(?=examples\/)/g, '')).toMatchSnapshot();
});

test('of several ways to failures the one with the fewest branches is shown', () => {
  const text = `ldxw %r2, [%r1+12]
    jeq %r2, 1, short
    jeq %r2, 2, out
    jeq %r2, 3, out
    jeq %r2, 4, out
    ldxb %r0, [%r2]
    short: ldxb %r0, [%r2]
    out: mov %r0, 2
    exit`;
  const { path, pc } = rejectionOf(programOf(assemble(text), 'program', DEFINITIONS));
  expect([pc, path.map((jump) => [jump.pc, jump.taken])]).toEqual([6, [[1, true]]]);
});

test('rounds of a loop are counted, not listed', () => {
  const text = `mov %r6, 0
    again: call get_prandom_u32
    jeq %r0, 7, out
    add %r6, 1
    jlt %r6, 12, again
    ldxb %r0, [%r6]
    out: mov %r0, 2
    exit`;
  const { path } = rejectionOf(programOf(assemble(text), 'program', DEFINITIONS));
  expect(path).toMatchObject([{ pc: 2, taken: false, times: 12 }]);
});

test('the log has each instruction that is visited, with what is known before it', () => {
  const lines: string[] = [];
  verifyProgram(programOf(assemble('mov %r0, 2\nadd %r0, 1\nexit')), { log: (line) => lines.push(line) });
  expect(lines).toEqual([
    '     0: r0 = 2    ; r1 = the context',
    '     1: r0 += 1    ; r0 = 2; r1 = the context',
    '     2: exit    ; r0 = 3; r1 = the context',
  ]);
});

test('statistics say what was visited and what never runs', () => {
  const text = 'mov %r2, 1\njeq %r2, 1, out\nmov %r0, 0\nout: mov %r0, 2\nexit';
  const verdict = verifyProgram(programOf(assemble(text)));
  expect(verdict).toMatchObject({ accepted: true, statistics: { instructions: 4, dead: [2], stackBytes: [0] } });
});
