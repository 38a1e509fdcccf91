import { expect, test } from 'vitest';
import { assemble, programOf } from '#build/bpf/assemble.js';
import { disassemble, instructionText } from '#build/bpf/disassemble.js';
import type { Instruction } from '#build/bpf/instruction.js';
import { program } from './object/objects.ts';

const text = (code: Instruction[]): string => instructionText({ code }, 0);

test.each([
  ['add %r1, 2', 'r1 += 2'],
  ['sub32 %r1, %r2', 'w1 -= w2'],
  ['sdiv %r1, %r2', 'r1 s/= r2'],
  ['smod32 %r1, -3', 'w1 s%= -3'],
  ['mod %r1, 3', 'r1 %= 3'],
  ['arsh %r1, 3', 'r1 s>>= 3'],
  ['neg %r3', 'r3 = -r3'],
  ['neg32 %r3', 'w3 = -w3'],
  ['mov %r1, %r2', 'r1 = r2'],
  ['mov32 %r1, -1', 'w1 = -1'],
  ['movsx832 %r1, %r2', 'w1 = (s8)w2'],
  ['movsx3264 %r1, %r2', 'r1 = (s32)r2'],
  ['be16 %r1', 'r1 = be16 r1'],
  ['le64 %r1', 'r1 = le64 r1'],
  ['bswap32 %r1', 'r1 = bswap32 r1'],
  ['ldxb %r1, [%r2]', 'r1 = *(u8 *)(r2 + 0)'],
  ['ldxsh %r1, [%r2-2]', 'r1 = *(s16 *)(r2 - 2)'],
  ['stxdw [%r10-8], %r2', '*(u64 *)(r10 - 8) = r2'],
  ['stw [%r1+4], 7', '*(u32 *)(r1 + 4) = 7'],
  ['lddw %r1, 0xffffffff00000001', 'r1 = -4294967295 ll'],
  ['lock add [%r1+8], %r2', 'lock *(u64 *)(r1 + 8) += r2'],
  ['lock fetch xor32 [%r1], %r2', 'w2 = atomic_fetch_xor((u32 *)(r1 + 0), w2)'],
  ['lock xchg [%r1], %r2', 'r2 = xchg_64(r1 + 0, r2)'],
  ['lock cmpxchg32 [%r1-4], %r2', 'w0 = cmpxchg32_32(r1 - 4, w0, w2)'],
  ['ja +3', 'goto +3'],
  ['ja32 -70000', 'gotol -70000'],
  ['jeq %r1, 5, +2', 'if r1 == 5 goto +2'],
  ['jsle32 %r1, %r2, -2', 'if w1 s<= w2 goto -2'],
  ['jset %r1, 8, +0', 'if r1 & 8 goto +0'],
  ['call 1', 'call map_lookup_elem#1'],
  ['call 9999', 'call 9999'],
  ['call %r2', 'callx r2'],
  ['exit', 'exit'],
])('%s is %s', (source, expected) => {
  expect(text(assemble(source))).toBe(expected);
});

test.each([
  [0x20, { imm: 12 }, 'r0 = *(u32 *)skb[12]'],
  [0x50, { src: 3 }, 'r0 = *(u8 *)skb[r3]'],
  [0x85, { src: 2, imm: 7 }, 'call kernel-function#7'],
  ...[0x00, 0x38, 0xe7, 0xf4, 0x8f, 0xdf, 0xe5, 0x86, 0x96, 0x99, 0xa1, 0xc2, 0xcb, 0xe3].map((each) => [
    each,
    {},
    '<unknown>',
  ]),
] as [number, Partial<Instruction>, string][])('opcode %i with %o is %s', (opcode, fields, expected) => {
  expect(text([{ opcode, dst: 0, src: 0, offset: 0, imm: 0, ...fields }])).toBe(expected);
});

test('a program has its functions, the names of maps, and its source', () => {
  const listing = disassemble(program('calls', 'first'), { source: true });
  expect(listing.slice(0, 7)).toEqual([
    'first:',
    '; ./calls.c:32: __noinline int first(struct xdp_md *ctx) {',
    '       0: r6 = r1',
    '; ./calls.c:33: return global_one(ctx, 7) + elsewhere(ctx) ? XDP_PASS : XDP_DROP;',
    '       1: w2 = 7',
    expect.stringMatching(/^ {7}2: call pc\+\d+ # global_one$/),
    '       3: w7 = w0',
  ]);
  expect(listing).toContain('deepest:');
  expect(listing.filter((line) => line.includes('map hits'))).toEqual([expect.stringMatching(/r1 = 0 ll # map hits$/)]);
  expect(disassemble(program('data')).some((line) => line.endsWith('ll # map .rodata, value + 0'))).toBe(true);
});

test('each instruction has one line, a constant of two one as well', () => {
  const code = assemble('lddw %r1, 5\nmov %r0, 0\nexit');
  expect(disassemble(programOf(code))).toEqual([
    'program:',
    '       0: r1 = 5 ll',
    '       2: r0 = 0',
    '       3: exit',
  ]);
});
