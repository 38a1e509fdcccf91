import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { assemble } from '#build/bpf/assemble.js';
import { ALU, type Instruction, JMP } from '#build/bpf/instruction.js';
import { arithmetic, condition, swapBytes } from '#build/bpf/interpret-alu.js';
import { scalarArithmetic, scalarByteOrder, scalarMove } from '#build/bpf/verifier/arithmetic.js';
import { decide, refine } from '#build/bpf/verifier/compare.js';
import { contains, includes, intersect, type Scalar, scalarOf, truncate, UNKNOWN } from '#build/bpf/verifier/scalar.js';
import * as tnum from '#build/bpf/verifier/tnum.js';
import { effort } from '../../support/effort.ts';

/** All that a tnum of few bits stands for. */
function members({ value, mask }: tnum.Tnum): bigint[] {
  let all = [value];
  for (let bit = 1n; bit <= mask; bit <<= 1n) if ((mask & bit) !== 0n) all = all.flatMap((one) => [one, one | bit]);
  return all;
}

const isIn = (set: tnum.Tnum, value: bigint): boolean => (BigInt.asUintN(64, value) & ~set.mask) === set.value;
const BITS = 3;
const SMALL: readonly tnum.Tnum[] = Array.from({ length: 1 << (2 * BITS) }, (_, index) => ({
  value: BigInt(index >> BITS),
  mask: BigInt(index & ((1 << BITS) - 1)),
})).filter(({ value, mask }) => (value & mask) === 0n);

describe('tnums of three bits, all of them', () => {
  const operations: [string, (a: tnum.Tnum, b: tnum.Tnum) => tnum.Tnum, (a: bigint, b: bigint) => bigint][] = [
    ['add', tnum.tnumAdd, (a, b) => a + b],
    ['subtract', tnum.tnumSub, (a, b) => a - b],
    ['multiply', tnum.tnumMul, (a, b) => a * b],
    ['and', tnum.tnumAnd, (a, b) => a & b],
    ['or', tnum.tnumOr, (a, b) => a | b],
    ['xor', tnum.tnumXor, (a, b) => a ^ b],
  ];
  test.each(operations)('%s gives every result that there is', (_, abstract, concrete) => {
    for (const a of SMALL) {
      for (const b of SMALL) {
        const result = abstract(a, b);
        expect(result.value & result.mask).toBe(0n);
        for (const x of members(a)) for (const y of members(b)) expect(isIn(result, concrete(x, y))).toBe(true);
      }
    }
  });

  test('and, or, xor and shifts give no more than the bits that may differ', () => {
    for (const a of SMALL) {
      for (const b of SMALL) {
        const all = members(a).flatMap((x) => members(b).map((y) => x ^ y));
        expect(new Set(members(tnum.tnumXor(a, b)))).toEqual(new Set(all));
      }
      for (const by of [0n, 1n, 2n]) {
        expect(new Set(members(tnum.tnumShl(a, by)))).toEqual(new Set(members(a).map((x) => x << by)));
        expect(new Set(members(tnum.tnumShr(a, by)))).toEqual(new Set(members(a).map((x) => x >> by)));
      }
    }
  });

  test('a range is in its tnum, and what both say is what is left', () => {
    for (let min = 0n; min < 16n; min++) {
      for (let max = min; max < 16n; max++) {
        const range = tnum.tnumRange(min, max);
        for (let x = min; x <= max; x++) expect(isIn(range, x)).toBe(true);
      }
    }
    for (const a of SMALL) {
      for (const b of SMALL) {
        const both = members(a).filter((x) => isIn(b, x));
        if (both.length > 0) expect(new Set(members(tnum.tnumIntersect(a, b)))).toEqual(new Set(both));
        expect(tnum.tnumContains(a, b)).toBe(members(b).every((x) => isIn(a, x)));
      }
    }
  });

  test('signs are extended, and arithmetic shifts keep them', () => {
    for (const a of SMALL) {
      const extended = tnum.tnumSignExtend(a, BITS);
      for (const x of members(a)) expect(isIn(extended, BigInt.asIntN(BITS, x))).toBe(true);
      const high = tnum.tnumShl(a, 61n);
      for (const x of members(high)) expect(isIn(tnum.tnumSar(high, 3n, 64), BigInt.asIntN(64, x) >> 3n)).toBe(true);
    }
  });
});

/** Numbers near which bounds, signs and halves change. */
const EDGES = [0n, 1n, 31n, 63n, 0x7fn, 0x80n, 0xffffn, 0x7fff_ffffn, 0x8000_0000n, 0xffff_ffffn, 1n << 32n, 1n << 63n];
const number = fc.oneof(
  fc.tuple(fc.constantFrom(...EDGES), fc.integer({ min: -3, max: 3 })).map(([edge, by]) => edge + BigInt(by)),
  fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
);
const u64 = number.map((value) => BigInt.asUintN(64, value));

/** A scalar, and some numbers that it stands for. */
const scalar: fc.Arbitrary<{ set: Scalar; values: bigint[] }> = fc
  .record({ values: fc.array(u64, { minLength: 1, maxLength: 4 }), loose: u64, kinds: fc.nat(31) })
  .map(({ values, loose, kinds }) => {
    const least = (list: bigint[]): bigint => list.reduce((a, b) => (a < b ? a : b));
    const most = (list: bigint[]): bigint => list.reduce((a, b) => (a > b ? a : b));
    const signed = values.map((value) => BigInt.asIntN(64, value));
    const low = values.map((value) => Number(BigInt.asUintN(32, value)));
    const first = values[0] as bigint;
    const mask = values.reduce((bits, value) => bits | (value ^ first), loose & 0xffn);
    const bounds = {
      umin: kinds & 1 ? least(values) : 0n,
      umax: kinds & 1 ? most(values) : UNKNOWN.umax,
      smin: kinds & 2 ? least(signed) : UNKNOWN.smin,
      smax: kinds & 2 ? most(signed) : UNKNOWN.smax,
      u32Min: kinds & 4 ? Math.min(...low) : 0,
      u32Max: kinds & 4 ? Math.max(...low) : UNKNOWN.u32Max,
      s32Min: kinds & 8 ? Math.min(...low.map((x) => x | 0)) : UNKNOWN.s32Min,
      s32Max: kinds & 8 ? Math.max(...low.map((x) => x | 0)) : UNKNOWN.s32Max,
    };
    const bits = kinds & 16 ? { value: first & ~mask, mask } : UNKNOWN.bits;
    return { set: scalarOf(bounds, bits) as Scalar, values };
  });

const RUNS = { numRuns: effort(250, 3_000) };
const OPERATIONS = Object.entries(ALU).filter(([name]) => !['MOV', 'END'].includes(name));

test('what bounds and bits say of each other leaves all numbers in', () => {
  fc.assert(
    fc.property(scalar, ({ set, values }) => values.every((value) => contains(set, value))),
    RUNS,
  );
});

test('a change in the order of bytes gives every result that there is, and no other bits', () => {
  const ways = [assemble('le16 %r0\nle32 %r0\nle64 %r0'), assemble('be16 %r0\nbe32 %r0\nbe64 %r0')];
  fc.assert(
    fc.property(scalar, fc.nat(1), fc.nat(2), (a, isSwap, width) => {
      const instruction = ways[isSwap]?.[width] as Instruction;
      const result = scalarByteOrder(instruction, a.set);
      const change = (x: bigint): bigint =>
        isSwap === 1 ? swapBytes(x, instruction.imm) : BigInt.asUintN(instruction.imm, x);
      return result.umax < 1n << BigInt(instruction.imm) && a.values.every((x) => contains(result, change(x)));
    }),
    RUNS,
  );
});

describe.each([32, 64] as const)('numbers of %i bits', (bits) => {
  test.each(OPERATIONS)('%s gives every result that there is', (_, operation) => {
    fc.assert(
      fc.property(scalar, scalar, fc.nat(1), (a, b, offset) => {
        const isSigned = operation === ALU.DIV || operation === ALU.MOD ? offset : 0;
        const result = scalarArithmetic(operation, bits, a.set, b.set);
        return a.values.every((x) =>
          b.values.every((y) => contains(result, arithmetic(bits, operation, isSigned, x, y) as bigint)),
        );
      }),
      RUNS,
    );
  });

  test('shifts by a constant give every result that there is', () => {
    fc.assert(
      fc.property(scalar, fc.nat(bits - 1), fc.constantFrom(ALU.LSH, ALU.RSH, ALU.ARSH), (a, by, operation) => {
        const amount = scalarOf({ ...UNKNOWN }, { value: BigInt(by), mask: 0n }) as Scalar;
        const result = scalarArithmetic(operation, bits, a.set, amount);
        return a.values.every((x) => contains(result, arithmetic(bits, operation, 0, x, BigInt(by)) as bigint));
      }),
      RUNS,
    );
  });

  test('moves give every result that there is, with a sign and without', () => {
    fc.assert(
      fc.property(scalar, fc.constantFrom(0, 8, 16, 32), (a, offset) => {
        const by = bits === 32 && offset === 32 ? 0 : offset;
        const result = scalarMove(bits, by, a.set);
        return a.values.every((x) => contains(result, arithmetic(bits, ALU.MOV, by, 0n, x) as bigint));
      }),
      RUNS,
    );
  });

  const conditions = Object.entries(JMP).filter(([name]) => !['JA', 'CALL', 'EXIT'].includes(name));
  test.each(conditions)('%s is decided as it is, and leaves in what it is true of', (_, operation) => {
    fc.assert(
      fc.property(scalar, scalar, (a, b) => {
        const decided = decide(operation, bits, a.set, b.set);
        return a.values.every((x) =>
          b.values.every((y) => {
            const taken = condition(bits, operation, x, y) as boolean;
            if (decided !== undefined && decided !== taken) return false;
            const left = refine(operation, bits, taken, a.set, b.set);
            return left !== undefined && contains(left[0], x) && contains(left[1], y);
          }),
        );
      }),
      RUNS,
    );
  });
});

test('what is cut off, left of both, and included is right', () => {
  fc.assert(
    fc.property(scalar, scalar, fc.constantFrom(8, 16, 32), (a, b, bits) => {
      const cut = truncate(a.set, bits);
      expect(a.values.every((x) => contains(cut, BigInt.asUintN(bits, x)))).toBe(true);
      const both = intersect(a.set, b.set);
      for (const x of a.values) if (contains(b.set, x)) expect(both !== undefined && contains(both, x)).toBe(true);
      if (includes(a.set, b.set)) expect(b.values.every((x) => contains(a.set, x))).toBe(true);
    }),
    RUNS,
  );
});
