import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ALU, CLASS, type Instruction, JMP, SOURCE_REGISTER } from '#build/bpf/instruction.js';
import { arithmetic, condition, swapBytes } from '#build/bpf/interpret-alu.js';
import { arithmeticOf, behindJump, joinNumbers, type Numbers, widen } from '#build/bpf/jit/numbers.js';
import { effort } from '../../support/effort.ts';

const edge = fc.constantFrom(
  0,
  1,
  2,
  7,
  8,
  63,
  64,
  255,
  256,
  1500,
  65535,
  2 ** 31 - 1,
  2 ** 31,
  2 ** 32 - 1,
  2 ** 32,
  2 ** 52,
);
const size = fc.oneof(edge, fc.nat(100), fc.nat());
const numbers: fc.Arbitrary<Numbers> = fc
  .tuple(size, fc.nat(70), fc.oneof(fc.constantFrom(1, 2, 4, 8), fc.nat(100)))
  .map(([min, count, step]) => ({ min, max: min + count * step, step: count === 0 ? 0 : step }))
  .filter(({ max, min, step }) => max <= 2 ** 52 && (max === min) === (step === 0));
/** Some numbers of which something is known, or any, and one of them. */
const known = fc.oneof(
  {
    weight: 4,
    arbitrary: numbers.chain((all) =>
      fc.nat(70).map((at) => {
        const one = Math.min(all.max, all.min + at * all.step);
        return { all: all as Numbers | undefined, one: BigInt(one) };
      }),
    ),
  },
  { weight: 1, arbitrary: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map((one) => ({ all: undefined, one })) },
);
const constant = fc.oneof(
  fc.constantFrom(0, 1, -1, 2, 8, 15, 31, 32, 33, 63, -8, -(2 ** 31), 2 ** 31 - 1, 0xffff),
  fc.integer(),
);

/** What an instruction may have. */
const operands = fc.record({ is64: fc.boolean(), isRegister: fc.boolean(), a: known, b: known, imm: constant });

const has = (all: Numbers | undefined, value: bigint): boolean =>
  all === undefined ||
  (value >= BigInt(all.min) &&
    value <= BigInt(all.max) &&
    (all.step === 0 || (value - BigInt(all.min)) % BigInt(all.step) === 0n));

const isWellFormed = ({ min, max, step }: Numbers): boolean =>
  min >= 0 &&
  max >= min &&
  max <= 2 ** 52 &&
  (max === min) === (step === 0) &&
  (step === 0 || (max - min) % step === 0);

const instruction = (opcode: number, imm: number, offset = 0): Instruction => ({ opcode, dst: 1, src: 2, offset, imm });

test('what is known of a result holds, whatever the operands are', () => {
  const operations = Object.values(ALU).filter((what) => what !== ALU.END && what !== ALU.NEG);
  fc.assert(
    fc.property(fc.constantFrom(...operations), operands, (what, { is64, isRegister, a, b, imm }) => {
      const shift = what === ALU.LSH || what === ALU.RSH || what === ALU.ARSH;
      const value = shift && !isRegister ? imm & (is64 ? 63 : 31) : imm;
      const one = instruction((is64 ? CLASS.ALU64 : CLASS.ALU) | what | (isRegister ? SOURCE_REGISTER : 0), value);
      const found = arithmeticOf(one, a.all, isRegister ? b.all : undefined);
      const source = isRegister ? b.one : BigInt.asUintN(64, BigInt(value));
      const result = arithmetic(is64 ? 64 : 32, what, 0, a.one, source) as bigint;
      expect(has(found, result), `${result} of ${JSON.stringify(found)}`).toBe(true);
      if (found !== undefined) expect(isWellFormed(found), JSON.stringify(found)).toBe(true);
    }),
    { numRuns: effort(2_000, 20_000) },
  );
});

test('what is known of bytes that were swapped or cut off holds', () => {
  fc.assert(
    fc.property(known, fc.constantFrom(16, 32, 64), fc.boolean(), (a, bits, swaps) => {
      const found = arithmeticOf(
        instruction(CLASS.ALU | ALU.END | (swaps ? SOURCE_REGISTER : 0), bits),
        a.all,
        undefined,
      );
      expect(has(found, swaps ? swapBytes(a.one, bits) : BigInt.asUintN(bits, a.one))).toBe(true);
    }),
  );
});

test('what is known behind a jump holds on the way that it goes', () => {
  const jumps = Object.values(JMP).filter((what) => what !== JMP.JA && what !== JMP.CALL && what !== JMP.EXIT);
  fc.assert(
    fc.property(fc.constantFrom(...jumps), operands, (what, { is64, isRegister, a, b, imm }) => {
      const one = instruction((is64 ? CLASS.JMP : CLASS.JMP32) | what | (isRegister ? SOURCE_REGISTER : 0), imm);
      const source = isRegister ? b.one : BigInt.asUintN(64, BigInt(imm));
      const taken = condition(is64 ? 64 : 32, what, a.one, source) as boolean;
      const found = behindJump(one, taken, a.all, isRegister ? b.all : undefined);
      expect(has(found, a.one), `${a.one} of ${JSON.stringify(found)}`).toBe(true);
      if (found !== undefined) expect(isWellFormed(found), JSON.stringify(found)).toBe(true);
    }),
    { numRuns: effort(2_000, 20_000) },
  );
});

test('a join has what either has, and widening no less', () => {
  fc.assert(
    fc.property(known, known, fc.uniqueArray(size), (a, b, limits) => {
      if (a.all === undefined || b.all === undefined) return;
      const joined = joinNumbers(a.all, b.all);
      expect(has(joined, a.one) && has(joined, b.one) && isWellFormed(joined)).toBe(true);
      const wide = widen(
        joined,
        limits.sort((one, other) => one - other),
      );
      expect(has(wide, a.one) && has(wide, b.one) && (wide === undefined || isWellFormed(wide))).toBe(true);
    }),
  );
});

test('masks, loads and comparisons bound what a loop counts', () => {
  const any = undefined;
  expect(arithmeticOf(instruction(CLASS.ALU64 | ALU.AND, 0x3c), any, any)).toEqual({ min: 0, max: 60, step: 4 });
  expect(arithmeticOf(instruction(CLASS.ALU64 | ALU.LSH, 2), { min: 5, max: 15, step: 5 }, any)).toEqual({
    min: 20,
    max: 60,
    step: 20,
  });
  expect(behindJump(instruction(CLASS.JMP | JMP.JLT, 64), true, { min: 2, max: 64, step: 2 }, any)).toEqual({
    min: 2,
    max: 62,
    step: 2,
  });
  expect(behindJump(instruction(CLASS.JMP | JMP.JGT, 1500), false, any, any)).toEqual({ min: 0, max: 1500, step: 1 });
});
