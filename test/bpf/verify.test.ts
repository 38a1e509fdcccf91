import { expect, test } from 'vitest';
import { assemble, programOf } from '#build/bpf/assemble.js';
import { helperName } from '#build/bpf/helper-names.js';
import { HELPER_NEXT, HELPERS } from '#build/bpf/helpers.js';
import type { Instruction } from '#build/bpf/instruction.js';
import { FRAMES_MAX } from '#build/bpf/layout.js';
import type { MapDefinition, Program } from '#build/bpf/program.js';
import { verifyStructure } from '#build/bpf/verify.js';

const map: MapDefinition = { name: 'm', kind: 2, keyBytes: 4, valueBytes: 16, maxEntries: 1, flags: 0, pinned: false };

/** An instruction of hand-made fields. */
const op = (opcode: number, fields: Partial<Instruction> = {}): Instruction => ({
  opcode,
  dst: 0,
  src: 0,
  offset: 0,
  imm: 0,
  ...fields,
});
const EXIT = op(0x95);
const check = (code: Instruction[]): void => verifyStructure(programOf(code, 'p', [map]));
/** The first instruction of a program that is right otherwise. */
const first =
  (opcode: number, fields: Partial<Instruction> = {}) =>
  () =>
    check([op(opcode, fields), op(0xb7), EXIT]);

/** All opcodes that there are, with what their fields must be. */
const REGULAR: number[] = [];
for (const group of [0x04, 0x07]) {
  // Arithmetic: all with both operands, but for negation and the swaps of bytes.
  for (let what = 0; what <= 0xc0; what += 0x10)
    REGULAR.push(what | group, ...(what === 0x80 ? [] : [what | 8 | group]));
}
for (const group of [0x05, 0x06]) {
  for (const what of [0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70, 0xa0, 0xb0, 0xc0, 0xd0]) {
    REGULAR.push(what | group, what | 8 | group);
  }
}
REGULAR.push(
  0x05,
  0x06,
  0x8d,
  0x61,
  0x69,
  0x71,
  0x79,
  0x81,
  0x89,
  0x91,
  0x62,
  0x6a,
  0x72,
  0x7a,
  0x63,
  0x6b,
  0x73,
  0x7b,
);
/** Those that need something in their fields. */
const SPECIAL: readonly [number, Partial<Instruction>][] = [
  [0xd4, { imm: 16 }],
  [0xdc, { imm: 32 }],
  [0xd7, { imm: 64 }],
  [0x85, { imm: 1 }],
  [0xc3, { imm: 0x00 }],
  [0xdb, { imm: 0xf1 }],
];

test('an opcode is one of RFC 9669, or unknown', () => {
  const known = new Map([...REGULAR.map((opcode) => [opcode, {}] as const), ...SPECIAL]);
  for (let opcode = 0; opcode < 256; opcode++) {
    if (opcode === 0x18 || opcode === 0x95) continue;
    const fields = known.get(opcode);
    // r1 is there for those that name a register.
    if (fields !== undefined) expect(first(opcode, fields), `0x${opcode.toString(16)}`).not.toThrow();
    else expect(first(opcode, { imm: 0 }), `0x${opcode.toString(16)}`).toThrow(/is unknown|ABS or IND/);
  }
});

test.each<[string, () => void, RegExp]>([
  ['a load from the packet', first(0x30), /ABS or IND/],
  ['register 11', first(0xbf, { src: 11 }), /register r11 is named\. There are r0 to r10/],
  ['a move to r10', first(0xb7, { dst: 10 }), /r10 is written/],
  ['a load to r10', first(0x79, { dst: 10, src: 1 }), /r10 is written/],
  ['a fetch into r10', first(0xdb, { dst: 1, src: 10, imm: 1 }), /r10 is written/],
  ['an exchange with r10', first(0xdb, { dst: 1, src: 10, imm: 0xe1 }), /r10 is written/],
  ['a constant and a source', first(0x07, { src: 1 }), /opcode 0x07 has src 1\. It must be 0/],
  ['a register and a constant', first(0x0f, { imm: 1 }), /opcode 0x0f has imm 1/],
  ['an addition with an offset', first(0x07, { offset: 1 }), /has offset 1/],
  ['a division with offset 2', first(0x37, { offset: 2, imm: 1 }), /must be 0 \(unsigned\) or 1 \(signed\)/],
  ['a move of 24 bits', first(0xbf, { offset: 24 }), /sign of 24 bits\. It must be 8, 16 or 32/],
  ['a 32-bit move of 32 bits', first(0xbc, { offset: 32 }), /must be 8 or 16/],
  ['a constant with a sign', first(0xb7, { offset: 8 }), /has offset 8/],
  ['a negation with a constant', first(0x87, { imm: 1 }), /has imm 1/],
  ['a swap of 24 bits', first(0xd4, { imm: 24 }), /bytes of 24 bits/],
  ['a swap with a source', first(0xd7, { imm: 16, src: 1 }), /has src 1/],
  ['a load with a constant', first(0x61, { imm: 1 }), /has imm 1/],
  ['a store of a register with a constant', first(0x63, { imm: 1 }), /has imm 1/],
  ['a store of a constant with a source', first(0x62, { src: 1 }), /has src 1/],
  ['an atomic subtraction', first(0xdb, { imm: 0x10 }), /atomic operation 0x10 is unknown\. There are 0x0, 0x1/],
  ['an exchange without fetch', first(0xdb, { imm: 0xe0 }), /atomic operation 0xe0/],
  ['an exit with a value', first(0x95, { imm: 1 }), /has imm 1/],
  ['a jump with a register', first(0x05, { dst: 1 }), /has dst 1/],
  ['a long jump with an offset', first(0x06, { offset: 1 }), /has offset 1/],
  ['a call with a register', first(0x85, { dst: 1, imm: 1 }), /has dst 1/],
  ['a call of another kind', first(0x85, { src: 3 }), /a call has src 3/],
  ['a kernel function', first(0x85, { src: 2, imm: 77 }), /kernel function 77 is called/],
  ['a call of what r10 holds', first(0x8d, { dst: 10 }), /r10 is called/],
  [
    'an unknown helper',
    first(0x85, { imm: 9999 }),
    /helper 9999 is called, which no kernel has\. There are helpers 1-3, 5-8, 12/,
  ],
  ['a helper that is not here', first(0x85, { imm: 181 }), /helper bpf_loop \(181\) is called/],
  ['helper 0', first(0x85), /helper 0 is called/],
  ['a jump behind the end', first(0x05, { offset: 2 }), /leads to instruction 3\. p has 0 to 2/],
  ['a jump before the start', first(0x15, { offset: -2 }), /leads to instruction -1/],
  ['half a constant', () => check([op(0xb7), EXIT, op(0x18)]), /the function ends in between/],
  [
    'half a constant before another function',
    () => check([op(0x85, { src: 1, imm: 1 }), op(0x18), EXIT]),
    /ends in between/,
  ],
  ['a second half with a register', () => check([op(0x18), op(0, { dst: 1 }), EXIT]), /second half of this LDDW/],
  ['a second half that is an instruction', () => check([op(0x18), EXIT, EXIT]), /second half of this LDDW/],
  ['a second half alone', first(0), /opcode 0x00 is unknown/],
  [
    'a jump into a constant',
    () => check([op(0x05, { offset: 1 }), op(0x18), op(0), EXIT]),
    /instruction 2, which is the second/,
  ],
  ['a constant with an offset', () => check([op(0x18, { offset: 1 }), op(0), EXIT]), /has offset 1/],
  ['a constant in r10', () => check([op(0x18, { dst: 10 }), op(0), EXIT]), /r10 is written/],
  ['a map by descriptor', () => check([op(0x18, { src: 1 }), op(0), EXIT]), /an LDDW has src 1/],
  [
    'a map that is not there',
    () => check([op(0x18, { src: 5, imm: 1 }), op(0), EXIT]),
    /map number 1 is used\. The program has 1/,
  ],
  ['a negative map', () => check([op(0x18, { src: 5, imm: -1 }), op(0), EXIT]), /map number -1/],
  ['a map with an offset', () => check([op(0x18, { src: 5 }), op(0, { imm: 1 }), EXIT]), /offset 1 of map m .* 0 to 0/],
  [
    'a value behind its end',
    () => check([op(0x18, { src: 6 }), op(0, { imm: 16 }), EXIT]),
    /offset 16 of map m is used\. It must be 0 to 15/,
  ],
  [
    'the address of no function',
    () => {
      const code = [op(0x18, { src: 4, imm: 1 }), op(0), EXIT];
      verifyStructure({ ...programOf(code, 'p'), functions: [{ name: 'p', start: 0, end: 3 }] });
    },
    /instruction 2 is called\. No function/,
  ],
  ['an end without exit', () => check([op(0xb7)]), /p goes on behind its last instruction/],
  ['a constant at the end', () => check([EXIT, op(0x18), op(0)]), /goes on behind/],
  ['a conditional jump at the end', () => check([op(0xb7), op(0x15, { offset: -1 })]), /goes on behind/],
  ['recursion', () => check(assemble('call local f\nexit\nf: call local f\nexit')), /function_2 calls itself/],
  [
    'mutual recursion',
    () => check(assemble('call local f\nexit\nf: call local g\nexit\ng: call local f\nexit')),
    /calls itself/,
  ],
])('%s is refused', (_, run, message) => {
  expect(run).toThrow(expect.objectContaining({ code: 'BAD_PROGRAM' }));
  expect(run).toThrow(message);
  expect(run).toThrow(/^program p: .* At (p|function_\d+), instruction \d+$/);
});

test.each<[string, () => void]>([
  ['division by a constant 0', first(0x37)],
  ['a shift by more bits than there are', first(0x67, { imm: 64 })],
  ['a shift by a negative constant', first(0x64, { imm: -5 })],
  ['r10 as a source', first(0xbf, { src: 10 })],
  ['a store to the stack', first(0x7b, { dst: 10, offset: -8 })],
  ['an exchange on the stack by r0', first(0xdb, { dst: 10, offset: -8, imm: 0xf1, src: 10 })],
  ['an endless loop', () => check([op(0x05, { offset: -1 })])],
  ['a map', () => check([op(0x18, { src: 5 }), op(0), EXIT])],
  ['the last byte of a value', () => check([op(0x18, { src: 6 }), op(0, { imm: 15 }), EXIT])],
  [
    'every helper',
    () => check([...[...HELPERS.keys()].filter((id) => id !== HELPER_NEXT).map((imm) => op(0x85, { imm })), EXIT]),
  ],
])('%s is allowed', (_, run) => {
  expect(run).not.toThrow();
});

/** Functions that call each other in a row: `count` frames. */
const chain = (count: number): string =>
  Array.from({ length: count }, (_, n) => `f${n}: ${n < count - 1 ? `call local f${n + 1}` : 'mov %r0, 0'}\nexit`).join(
    '\n',
  );

test('calls lie at most FRAMES_MAX deep', () => {
  expect(() => check(assemble(chain(FRAMES_MAX)))).not.toThrow();
  expect(() => check(assemble(chain(FRAMES_MAX + 1)))).toThrow(/more than 8 deep/);
});

test('many calls of many functions take no time', () => {
  // Each function calls the next one twice: 2^7 paths. And many call one.
  const twice = Array.from({ length: 8 }, (_, n) =>
    n < 7 ? `f${n}: ${`call local f${n + 1}\n`.repeat(50)}exit` : 'f7: mov %r0, 0\nexit',
  ).join('\n');
  expect(() => check(assemble(twice))).not.toThrow();
});

test('functions cover the code', () => {
  const program = programOf([EXIT, EXIT]);
  const wrong = (functions: Program['functions']) => () => verifyStructure({ ...program, functions });
  expect(wrong([])).toThrow(/its functions have 0 instructions\. Together they must have all 2/);
  expect(wrong([{ name: 'a', start: 0, end: 1 }])).toThrow(/functions have 1 instructions/);
  expect(wrong([{ name: 'a', start: 1, end: 2 }])).toThrow(/a has instructions 1 to 2\. It must begin at 0/);
  expect(wrong([{ name: 'a', start: 0, end: 3 }])).toThrow(/within 2/);
  expect(
    wrong([
      { name: 'a', start: 0, end: 2 },
      { name: 'b', start: 2, end: 2 },
    ]),
  ).toThrow(/b has instructions 2 to 2/);
});

test('errors name the source line', () => {
  const program = {
    ...programOf([op(0x85, { imm: 4 }), EXIT]),
    lines: [{ pc: 0, file: 'a.c', line: 3, column: 7, text: ' x();' }],
  };
  expect(() => verifyStructure(program)).toThrow(
    /^program program: helper bpf_probe_read \(4\) is called\. There are .*\. At a\.c:3:7 \(program, instruction 0\): x\(\);$/,
  );
});

test('helpers have the names of the kernel', () => {
  for (const { id, name } of HELPERS.values()) if (id !== HELPER_NEXT) expect(helperName(id)).toBe(name);
  expect([0, 1, 211, 212].map(helperName)).toEqual([undefined, 'map_lookup_elem', 'cgrp_storage_delete', undefined]);
});
