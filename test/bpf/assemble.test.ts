import { expect, test } from 'vitest';
import { assemble, programOf } from '#build/bpf/assemble.js';
import { decodeInstructions, encodeInstructions } from '#build/bpf/instruction.js';

/** Opcodes as RFC 9669, appendix A lists them. */
test.each([
  ['add %r1, 2', 0x07, 1, 0, 0, 2],
  ['add32 %r1, %r2', 0x0c, 1, 2, 0, 0],
  ['sub %r1, %r2', 0x1f, 1, 2, 0, 0],
  ['mul32 %r1, -1', 0x24, 1, 0, 0, -1],
  ['div %r1, 7', 0x37, 1, 0, 0, 7],
  ['sdiv %r1, 7', 0x37, 1, 0, 1, 7],
  ['sdiv32 %r1, %r2', 0x3c, 1, 2, 1, 0],
  ['or %r1, 0xffffffff', 0x47, 1, 0, 0, -1],
  ['and %r1, %r2', 0x5f, 1, 2, 0, 0],
  ['lsh %r1, 63', 0x67, 1, 0, 0, 63],
  ['rsh32 %r1, %r2', 0x7c, 1, 2, 0, 0],
  ['neg %r3', 0x87, 3, 0, 0, 0],
  ['neg32 %r3', 0x84, 3, 0, 0, 0],
  ['smod %r1, %r2', 0x9f, 1, 2, 1, 0],
  ['mod32 %r1, 3', 0x94, 1, 0, 0, 3],
  ['xor %r1, 3', 0xa7, 1, 0, 0, 3],
  ['mov %r1, %r2', 0xbf, 1, 2, 0, 0],
  ['mov32 %r1, 0x80000000', 0xb4, 1, 0, 0, -0x80000000],
  ['movsx832 %r1, %r2', 0xbc, 1, 2, 8, 0],
  ['movsx3264 %r1, %r2', 0xbf, 1, 2, 32, 0],
  ['arsh %r1, 3', 0xc7, 1, 0, 0, 3],
  ['le16 %r1', 0xd4, 1, 0, 0, 16],
  ['be64 %r1', 0xdc, 1, 0, 0, 64],
  ['swap32 %r1', 0xd7, 1, 0, 0, 32],
  ['bswap64 %r1', 0xd7, 1, 0, 0, 64],
  ['ja +3', 0x05, 0, 0, 3, 0],
  ['ja32 -70000', 0x06, 0, 0, 0, -70000],
  ['jeq %r1, 5, +2', 0x15, 1, 0, 2, 5],
  ['jgt32 %r1, %r2, -2', 0x2e, 1, 2, -2, 0],
  ['jset %r1, %r2, +0', 0x4d, 1, 2, 0, 0],
  ['jsle32 %r1, -5, +1', 0xd6, 1, 0, 1, -5],
  ['ldxb %r1, [%r2]', 0x71, 1, 2, 0, 0],
  ['ldxdw %r1, [%r2-8]', 0x79, 1, 2, -8, 0],
  ['ldxsh %r1, [%r2 + 0x10]', 0x89, 1, 2, 16, 0],
  ['stw [%r10-4], -1', 0x62, 10, 0, -4, -1],
  ['stxh [r1+2], r2', 0x6b, 1, 2, 2, 0],
  ['lock add [%r1], %r2', 0xdb, 1, 2, 0, 0],
  ['lock fetch or32 [%r1+4], %r2', 0xc3, 1, 2, 4, 0x41],
  ['lock xchg [%r1], %r2', 0xdb, 1, 2, 0, 0xe1],
  ['lock cmpxchg32 [%r10-8], %r1', 0xc3, 10, 1, -8, 0xf1],
  ['call 5', 0x85, 0, 0, 0, 5],
  ['call map_delete_elem', 0x85, 0, 0, 0, 3],
  ['call local +4', 0x85, 0, 1, 0, 4],
  ['call %r3', 0x8d, 3, 0, 0, 0],
  ['exit # done', 0x95, 0, 0, 0, 0],
])('%s', (text, opcode, dst, src, offset, imm) => {
  expect(assemble(text)).toEqual([{ opcode, dst, src, offset, imm }]);
});

test('LDDW takes two: a constant, a map, a place in its value', () => {
  const halves = (text: string) => assemble(text).map(({ opcode, src, imm }) => [opcode, src, imm]);
  expect(halves('lddw %r1, 0x8765432112345678')).toEqual([
    [0x18, 0, 0x12345678],
    [0, 0, 0x87654321 | 0],
  ]);
  expect(halves('lddw %r1, -2')).toEqual([
    [0x18, 0, -2],
    [0, 0, -1],
  ]);
  expect(halves('lddw %r1, map 3')).toEqual([
    [0x18, 5, 3],
    [0, 0, 0],
  ]);
  expect(halves('lddw %r1, value 2 + 16')).toEqual([
    [0x18, 6, 2],
    [0, 0, 16],
  ]);
});

test('labels are counted in instructions, LDDW as two; exit is the last EXIT', () => {
  const code = assemble(`
start: lddw %r1, 1
  jeq %r1, 2, out
  jne %r1, 3, exit
  ja32 start
out:
  call local sub
  exit
sub:
  exit
  `);
  expect(code[2]?.offset).toBe(2);
  expect(code[3]?.offset).toBe(3);
  expect(code[4]?.imm).toBe(-5);
  expect(code[5]?.imm).toBe(1);
  expect(programOf(code, 'main').functions).toEqual([
    { name: 'main', start: 0, end: 7 },
    { name: 'function_7', start: 7, end: 8 },
  ]);
  expect(assemble('ja exit\nexit: mov %r0, 1\nexit')[0]?.offset).toBe(0);
});

test.each([
  ['mov %r11, 1', 'no register'],
  ['frob %r1', 'no instruction'],
  ['mov %r1', 'no number'],
  ['mov %r1, 0x100000000', '32 bits'],
  ['mov %r1, -2147483649', '32 bits'],
  ['ldxw %r1, [%r2+32768]', '16 bits'],
  ['ldxw %r1, %r2', 'no place in memory'],
  ['ldxsdw %r1, [%r2]', 'write ldxdw'],
  ['ja nowhere', 'no label nowhere'],
  ['ja a b', 'neither'],
  ['lock fetch [%r1], %r2', 'no such atomic'],
  ['lock add', 'place in memory'],
  ['call frob', 'no number'],
  ['a: exit\na: exit', 'a is there already'],
])('%j is refused with its line', (text, said) => {
  expect(() => assemble(`exit\n\n${text}`)).toThrow(new RegExp(`assembler: line [34], .*${said}`));
});

test('a jump that is too far for 16 bits is refused', () => {
  expect(() => assemble(`ja far\n${'mov %r0, 0\n'.repeat(40_000)}far: exit`)).toThrow('too far');
  expect(assemble(`ja32 far\n${'mov %r0, 0\n'.repeat(40_000)}far: exit`)[0]?.imm).toBe(40_000);
});

test('what is assembled survives its bytes', () => {
  const code = assemble('lddw %r9, 0x8877665544332211\nlock cmpxchg [%r10-8], %r9\njslt %r9, -1, +32000\nexit');
  expect(decodeInstructions(encodeInstructions(code))).toEqual(code);
});
