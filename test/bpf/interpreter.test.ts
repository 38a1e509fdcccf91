import fc from 'fast-check';
import { expect, test } from 'vitest';
import { assemble, programOf } from '#build/bpf/assemble.js';
import { interpret } from '#build/bpf/interpreter.js';
import { CTX_STACK, CTX_TAIL_CALLS, FAULT_FUEL, FAULT_STACK, FRAME_BYTES } from '#build/bpf/layout.js';
import { makeGround, runText } from './support/ground.ts';

const ground = makeGround();
const r0 = (text: string): bigint => runText(ground, `${text}\nexit`).r0;
const MASK = 2n ** 64n - 1n;
const MIN64 = -(2n ** 63n);

/** `operation` on two registers, and on the second as a constant where it is one. */
function both(operation: string, a: bigint, b: bigint): bigint {
  const value = r0(`lddw %r0, ${a}\nlddw %r1, ${b}\n${operation} %r0, %r1`);
  if (b === BigInt.asIntN(32, b)) expect(r0(`lddw %r0, ${a}\n${operation} %r0, ${b}`), 'as a constant').toBe(value);
  return value;
}

test.each<[string, bigint, bigint, bigint]>([
  ['add', MASK, 1n, 0n],
  ['add', 5n, -7n, MASK - 1n],
  ['add32', 0x1_ffff_ffffn, 1n, 0n],
  ['sub', 0n, 1n, MASK],
  ['sub32', 0x5_0000_0000n, 1n, 0xffff_ffffn],
  ['mul', 0x1_0000_0001n, 0x1_0000_0001n, 0x2_0000_0001n],
  ['mul32', 0xffff_ffffn, 0xffff_ffffn, 1n],
  ['div', MASK, 2n, 2n ** 63n - 1n],
  ['div', 7n, -1n, 0n],
  ['div', 7n, 0n, 0n],
  ['div32', 0x9_0000_0007n, 2n, 3n],
  ['div32', 7n, 0n, 0n],
  ['sdiv', -7n, 2n, MASK - 2n],
  ['sdiv', MIN64, -1n, 2n ** 63n],
  ['sdiv', 9n, 0n, 0n],
  ['sdiv32', -7n, 2n, 0xffff_fffdn],
  ['sdiv32', -(2n ** 31n), -1n, 2n ** 31n],
  ['mod', 17n, 5n, 2n],
  ['mod', MASK, 0n, MASK],
  ['mod32', MASK, 0n, 0xffff_ffffn],
  ['mod32', 0x3_0000_0011n, 5n, 2n],
  ['smod', -17n, 5n, MASK - 1n],
  ['smod', 17n, -5n, 2n],
  ['smod', MIN64, -1n, 0n],
  ['smod', -3n, 0n, MASK - 2n],
  ['smod32', -17n, 5n, 0xffff_fffen],
  ['smod32', -(2n ** 31n), -1n, 0n],
  ['or', 0x10n, -16n, MASK - 15n],
  ['or32', 0x1_0000_0001n, 2n, 3n],
  ['and', MASK, -2n, MASK - 1n],
  ['and32', MASK, -2n, 0xffff_fffen],
  ['xor', 5n, -1n, MASK - 5n],
  ['xor32', 5n, -1n, 0xffff_fffan],
  ['lsh', 1n, 63n, 2n ** 63n],
  ['lsh', 3n, 65n, 6n],
  ['lsh32', 3n, 33n, 6n],
  ['lsh32', 1n, 31n, 2n ** 31n],
  ['rsh', MASK, 63n, 1n],
  ['rsh32', 0x7_8000_0000n, 31n, 1n],
  ['arsh', MIN64, 63n, MASK],
  ['arsh32', 0x8000_0000n, 31n, 0xffff_ffffn],
  ['arsh32', 0x7fff_ffffn, 1n, 0x3fff_ffffn],
  ['mov', 9n, -1n, MASK],
  ['mov32', 9n, -1n, 0xffff_ffffn],
])('%s %s, %s gives %s', (operation, a, b, expected) => {
  expect(both(operation, a, b)).toBe(expected);
});

test.each<[string, bigint]>([
  ['neg %r0', MASK - 0x8877_6655_4433_2210n],
  ['neg32 %r0', 0xbbcc_ddefn],
  ['le16 %r0', 0x2211n],
  ['le32 %r0', 0x4433_2211n],
  ['le64 %r0', 0x8877_6655_4433_2211n],
  ['be16 %r0', 0x1122n],
  ['be32 %r0', 0x1122_3344n],
  ['be64 %r0', 0x1122_3344_5566_7788n],
  ['bswap16 %r0', 0x1122n],
  ['bswap32 %r0', 0x1122_3344n],
  ['bswap64 %r0', 0x1122_3344_5566_7788n],
  ['movsx832 %r0, %r1', 0xffff_fff1n],
  ['movsx1632 %r0, %r1', 0xffff_f2f1n],
  ['movsx864 %r0, %r1', MASK - 0x0en],
  ['movsx1664 %r0, %r1', MASK - 0x0d0en],
  ['movsx3264 %r0, %r1', MASK - 0x0b0c_0d0en],
])('%s', (text, expected) => {
  expect(r0(`lddw %r0, 0x8877665544332211\nlddw %r1, 0x01020304f4f3f2f1\n${text}`)).toBe(expected);
});

/** 32-bit operations as JavaScript has them in Numbers, which is another way to say them. */
const IN_NUMBERS: Record<string, (a: number, b: number) => number> = {
  add32: (a, b) => a + b,
  sub32: (a, b) => a - b,
  mul32: (a, b) => Math.imul(a, b),
  div32: (a, b) => (b === 0 ? 0 : Math.floor((a >>> 0) / (b >>> 0))),
  mod32: (a, b) => (b === 0 ? a : (a >>> 0) % (b >>> 0)),
  sdiv32: (a, b) => (b === 0 ? 0 : Math.trunc((a | 0) / (b | 0))),
  smod32: (a, b) => (b === 0 ? a : (a | 0) % (b | 0)),
  or32: (a, b) => a | b,
  and32: (a, b) => a & b,
  xor32: (a, b) => a ^ b,
  lsh32: (a, b) => a << b,
  rsh32: (a, b) => a >>> b,
  arsh32: (a, b) => a >> b,
};

const word = fc.oneof(fc.integer(), fc.constantFrom(0, 1, -1, 0x7fffffff, -0x80000000, 31, 32));

test('32-bit arithmetic is that of Numbers, the upper half is dropped', () => {
  fc.assert(
    fc.property(fc.constantFrom(...Object.keys(IN_NUMBERS)), word, word, word, (name, a, b, high) => {
      const wide = (BigInt(high) << 32n) | BigInt(a >>> 0);
      const expected = BigInt((IN_NUMBERS[name]?.(a, b) ?? 0) >>> 0);
      expect(both(name, BigInt.asUintN(64, wide), BigInt(b)), `${name} ${a}, ${b}`).toBe(expected);
    }),
    { numRuns: 600 },
  );
});

test('jumps of 32 and 64 bits are taken as their comparison says', () => {
  const signed = (bits: number, value: bigint): bigint => BigInt.asIntN(bits, value);
  const unsigned = (bits: number, value: bigint): bigint => BigInt.asUintN(bits, value);
  const comparisons: Record<string, (a: bigint, b: bigint, bits: number) => boolean> = {
    jeq: (a, b, bits) => signed(bits, a - b) === 0n,
    jne: (a, b, bits) => signed(bits, a - b) !== 0n,
    jset: (a, b, bits) => unsigned(bits, a & b) > 0n,
    jgt: (a, b, bits) => unsigned(bits, a) > unsigned(bits, b),
    jge: (a, b, bits) => unsigned(bits, a) >= unsigned(bits, b),
    jlt: (a, b, bits) => unsigned(bits, a) < unsigned(bits, b),
    jle: (a, b, bits) => unsigned(bits, a) <= unsigned(bits, b),
    jsgt: (a, b, bits) => signed(bits, a) > signed(bits, b),
    jsge: (a, b, bits) => signed(bits, a) >= signed(bits, b),
    jslt: (a, b, bits) => signed(bits, a) < signed(bits, b),
    jsle: (a, b, bits) => signed(bits, a) <= signed(bits, b),
  };
  const edge = fc.oneof(
    fc.bigInt({ min: MIN64, max: 2n ** 63n - 1n }),
    fc.constantFrom(0n, 1n, -1n, 2n ** 31n, -(2n ** 31n), 2n ** 32n, MIN64),
  );
  const name = fc.constantFrom(...Object.keys(comparisons));
  fc.assert(
    fc.property(name, fc.boolean(), edge, edge, fc.boolean(), (jump, narrow, a, other, equal) => {
      const b = equal ? a : other;
      const bits = narrow ? 32 : 64;
      const expected = comparisons[jump]?.(a, b, bits) ? 1n : 0n;
      const operations = b === BigInt.asIntN(32, b) ? ['%r2', String(b)] : ['%r2'];
      for (const operand of operations) {
        const jumps = `${jump}${narrow ? '32' : ''} %r1, ${operand}, +1`;
        expect(r0(`lddw %r1, ${a}\nlddw %r2, ${b}\nmov %r0, 1\n${jumps}\nmov %r0, 0`), `${jumps}, ${a} and ${b}`).toBe(
          expected,
        );
      }
    }),
    { numRuns: 600 },
  );
});

test.each<[string, bigint]>([
  ['ldxb %r0, [%r10-8]', 0xf8n],
  ['ldxh %r0, [%r10-8]', 0xf7f8n],
  ['ldxw %r0, [%r10-8]', 0xf5f6_f7f8n],
  ['ldxdw %r0, [%r10-8]', 0x8182_8384_f5f6_f7f8n],
  ['ldxsb %r0, [%r10-8]', MASK - 0x07n],
  ['ldxsh %r0, [%r10-8]', MASK - 0x0807n],
  ['ldxsw %r0, [%r10-8]', MASK - 0x0a09_0807n],
  ['ldxw %r0, [%r10-5]', 0x8283_84f5n],
  ['stb [%r10-8], 0x101\nldxdw %r0, [%r10-8]', 0x8182_8384_f5f6_f701n],
  ['sth [%r10-8], -1\nldxdw %r0, [%r10-8]', 0x8182_8384_f5f6_ffffn],
  ['stw [%r10-8], -2\nldxdw %r0, [%r10-8]', 0x8182_8384_ffff_fffen],
  ['stdw [%r10-8], -2\nldxdw %r0, [%r10-8]', MASK - 1n],
  ['stxb [%r10-7], %r2\nldxdw %r0, [%r10-8]', 0x8182_8384_f5f6_ddf8n],
  ['stxh [%r10-8], %r2\nldxdw %r0, [%r10-8]', 0x8182_8384_f5f6_ccddn],
  ['stxw [%r10-8], %r2\nldxdw %r0, [%r10-8]', 0x8182_8384_aabb_ccddn],
])('%s', (text, expected) => {
  const setup = 'lddw %r1, 0x81828384f5f6f7f8\nstxdw [%r10-8], %r1\nlddw %r2, 0x11223344aabbccdd\n';
  expect(r0(setup + text)).toBe(expected);
});

const OLD = 0xf0f0_0000_8000_00f1n;
test.each<[string, bigint, bigint]>([
  ['lock add [%r10-8], %r2', 0x1_0000_000fn, OLD + 0x1_0000_000fn],
  ['lock fetch add [%r10-8], %r2', OLD, OLD + 0x1_0000_000fn],
  ['lock fetch and [%r10-8], %r2', OLD, 1n],
  ['lock fetch or [%r10-8], %r2', OLD, 0xf0f0_0001_8000_00ffn],
  ['lock fetch xor [%r10-8], %r2', OLD, 0xf0f0_0001_8000_00fen],
  ['lock xchg [%r10-8], %r2', OLD, 0x1_0000_000fn],
  ['lock add32 [%r10-8], %r2', 0x1_0000_000fn, 0xf0f0_0000_8000_0100n],
  ['lock fetch add32 [%r10-4], %r2', 0xf0f0_0000n, 0xf0f0_000f_8000_00f1n],
  ['lock fetch and32 [%r10-8], %r2', 0x8000_00f1n, 0xf0f0_0000_0000_0001n],
  ['lock fetch or32 [%r10-8], %r2', 0x8000_00f1n, 0xf0f0_0000_8000_00ffn],
  ['lock fetch xor32 [%r10-8], %r2', 0x8000_00f1n, 0xf0f0_0000_8000_00fen],
  ['lock xchg32 [%r10-8], %r2', 0x8000_00f1n, 0xf0f0_0000_0000_000fn],
])('%s: r2 and the memory afterwards', (text, register, memory) => {
  const setup = `lddw %r1, ${OLD}\nstxdw [%r10-8], %r1\nlddw %r2, 0x10000000f\n${text}\n`;
  expect(r0(`${setup}mov %r0, %r2`)).toBe(register);
  expect(r0(`${setup}ldxdw %r0, [%r10-8]`)).toBe(memory);
});

test.each<[string, bigint, bigint, bigint]>([
  ['cmpxchg', OLD, OLD, 7n],
  ['cmpxchg', 0x8000_00f1n, OLD, OLD],
  ['cmpxchg32', 0x5_8000_00f1n, 0x8000_00f1n, 0xf0f0_0000_0000_0007n],
  ['cmpxchg32', 1n, 0x8000_00f1n, OLD],
])('%s with r0 %s: r0 and the memory afterwards', (name, expected, register, memory) => {
  const setup = `lddw %r1, ${OLD}\nstxdw [%r10-8], %r1\nmov %r2, 7\nlddw %r0, ${expected}\nlock ${name} [%r10-8], %r2\n`;
  expect(r0(setup)).toBe(register);
  expect(r0(`${setup}ldxdw %r0, [%r10-8]`)).toBe(memory);
  expect(r0(`${setup}mov %r0, %r2`)).toBe(7n);
});

test('addresses are the lower half of registers', () => {
  const text = 'mov %r1, 77\nstxdw [%r10-8], %r1\nlddw %r2, 0x500000000\nadd %r2, %r10\nldxdw %r0, [%r2-8]';
  expect(r0(text)).toBe(77n);
});

test('a call has a frame of its own, gives r6 to r9 back, and leaves 0 in r1 to r5', () => {
  const result = runText(
    ground,
    `mov %r6, 6
     mov %r1, 11
     stdw [%r10-8], 1
     call local sub
     ldxdw %r2, [%r10-8]
     lsh %r0, 8
     add %r0, %r1
     lsh %r0, 8
     add %r0, %r6
     lsh %r0, 8
     add %r0, %r2
     exit
   sub:
     mov %r0, %r10
     stdw [%r10-8], 2
     add %r6, 5
     mov %r0, %r6
     add %r0, %r1
     mov %r1, 0
     exit`,
  );
  // 5 + 11 of the function, whose r6 was 0; then r1, and 6 and 1 as they were.
  expect(result.r0).toBe(0x10_00_06_01n);
  const { context } = ground;
  expect(r0('mov %r0, %r10')).toBe(BigInt(context + CTX_STACK + FRAME_BYTES));
  const nested = runText(ground, 'call local sub\nexit\nsub: mov %r0, %r10\nexit');
  expect(nested.r0).toBe(BigInt(context + CTX_STACK + 2 * FRAME_BYTES));
});

test('eight frames are the most', () => {
  const nest = (depth: number) => `mov %r1, ${depth}\ncall local sub\nexit\nsub: mov %r0, %r1
    jeq %r1, 1, exit\nsub %r1, 1\ncall local sub\nadd %r0, %r1\nexit`;
  expect(runText(ground, nest(7)).fault).toBeUndefined();
  expect(runText(ground, nest(8)).fault).toEqual({ kind: FAULT_STACK, pc: 6, address: 0n });
});

test('fuel counts instructions', () => {
  const loop = 'mov %r0, 7\nja -1';
  expect(runText(ground, loop, { fuel: 50 })).toEqual({
    r0: 0n,
    steps: 50,
    fault: { kind: FAULT_FUEL, pc: 1, address: 0n },
  });
  expect(runText(ground, 'mov %r0, 7\nexit', { fuel: 2 })).toEqual({ r0: 7n, steps: 2 });
  expect(runText(ground, 'mov %r0, 7\nexit', { fuel: 1 }).fault?.kind).toBe(FAULT_FUEL);
  expect(runText(ground, 'ja -1').steps).toBe(1_000_000);
});

test('the hook sees each instruction before it runs, and may change registers', () => {
  const seen: [number, number, bigint | undefined][] = [];
  const text = 'mov %r0, 1\ncall local sub\nadd %r0, 1\nexit\nsub: mov %r0, 40\nexit';
  const result = runText(ground, text, {
    onStep: ({ pc, registers, depth, program }) => {
      seen.push([pc, depth, registers[0]]);
      expect(program.name).toBe('program');
      if (pc === 3) registers[0] = 9n;
    },
  });
  expect(result).toEqual({ r0: 9n, steps: 6 });
  expect(seen).toEqual([
    [0, 0, 0n],
    [1, 0, 1n],
    [4, 1, 0n],
    [5, 1, 40n],
    [2, 0, 40n],
    [3, 0, 41n],
  ]);
});

test('r1 is the context unless something else is given', () => {
  expect(r0('mov %r0, %r1')).toBe(BigInt(ground.context));
  expect(runText(ground, 'mov %r0, %r1\nadd %r0, %r2\nexit', { registers: { r1: 5n, r2: 6n } }).r0).toBe(11n);
  expect(ground.arena.u32[(ground.context + CTX_TAIL_CALLS) >>> 2]).toBe(0);
});

test.each([
  ['mov %r0, 1', 'there are 1 instructions'],
  ['ja +5\nexit', 'there are 2 instructions'],
  ['call 9999\nexit', 'helper 9999 is not one'],
  ['lddw %r1, map 0\nexit', 'map 0, of 0'],
])('%j is no program', (text, said) => {
  expect(() => runText(ground, text)).toThrow(said);
  expect(() => runText(ground, text)).toThrow(/instruction \d+/);
});

test.each([
  [0x20, 0, 0, 0],
  [0x18, 1, 0, 0],
  [0xd3, 0, 0, 0],
  [0xdb, 0, 0, 0x77],
  [0x99, 0, 0, 0],
  [0xe7, 0, 0, 0],
  [0xe5, 0, 0, 0],
  [0x85, 2, 0, 1],
  [0x0d, 0, 0, 0],
])('opcode %i with src %i, imm %i is refused', (opcode, src, offset, imm) => {
  const { arena, context } = ground;
  const code = [{ opcode, dst: 1, src, offset, imm }, ...assemble('exit\nexit')];
  expect(() => interpret({ program: programOf(code), maps: [], arena, context })).toThrow(/instruction 0/);
});
