/**
 * Tracked numbers: what is known of each of 64 bits. A bit of `mask` says that the bit is unknown; the others are as in
 * `value`. Each operation gives the bits that are the same for all numbers that its operands stand for (Vishwanathan et al.,
 * "Sound, precise, and fast abstract interpretation with tristate numbers", CGO 2022).
 */
export interface Tnum {
  /** u64; 0 where the bit is unknown. */
  readonly value: bigint;
  /** u64. */
  readonly mask: bigint;
}

const wrap = (value: bigint): bigint => BigInt.asUintN(64, value);
const U64_MAX = (1n << 64n) - 1n;

export const TNUM_UNKNOWN: Tnum = { value: 0n, mask: U64_MAX };

export const tnumConstant = (value: bigint): Tnum => ({ value: wrap(value), mask: 0n });

/** By number: so many low bits. */
const LOW_BITS: readonly bigint[] = Array.from({ length: 65 }, (_, bits) => (1n << BigInt(bits)) - 1n);

/** Bits that all numbers from `min` to `max` have in common: those above the highest in which the two differ. */
export function tnumRange(min: bigint, max: bigint): Tnum {
  const differing = min ^ max;
  const high = Number(differing >> 32n);
  const bits = high === 0 ? 32 - Math.clz32(Number(differing)) : 64 - Math.clz32(high);
  const mask = LOW_BITS[bits] ?? U64_MAX;
  return { value: min & ~mask, mask };
}

export const tnumIsConstant = ({ mask }: Tnum): boolean => mask === 0n;

export function tnumAdd(a: Tnum, b: Tnum): Tnum {
  const masks = a.mask + b.mask;
  const values = a.value + b.value;
  // Where the least and the greatest sum differ, a carry may come or not.
  const mask = wrap(((masks + values) ^ values) | a.mask | b.mask);
  return { value: wrap(values) & ~mask, mask };
}

export function tnumSub(a: Tnum, b: Tnum): Tnum {
  const difference = wrap(a.value - b.value);
  const high = wrap(difference + a.mask);
  const low = wrap(difference - b.mask);
  const mask = (high ^ low) | a.mask | b.mask;
  return { value: difference & ~mask, mask };
}

export function tnumAnd(a: Tnum, b: Tnum): Tnum {
  const possible = (a.value | a.mask) & (b.value | b.mask);
  const value = a.value & b.value;
  return { value, mask: possible & ~value };
}

export function tnumOr(a: Tnum, b: Tnum): Tnum {
  const value = a.value | b.value;
  return { value, mask: (a.mask | b.mask) & ~value };
}

export function tnumXor(a: Tnum, b: Tnum): Tnum {
  const mask = a.mask | b.mask;
  return { value: (a.value ^ b.value) & ~mask, mask };
}

/** Long multiplication: each bit of `a` that may be 1 adds `b`, whose bits may then be there or not. */
export function tnumMul(a: Tnum, b: Tnum): Tnum {
  let { value, mask } = a;
  let factor = b;
  let unknown: Tnum = { value: 0n, mask: 0n };
  const product = wrap(a.value * b.value);
  while (value !== 0n || mask !== 0n) {
    if ((value & 1n) !== 0n) unknown = tnumAdd(unknown, { value: 0n, mask: factor.mask });
    else if ((mask & 1n) !== 0n) unknown = tnumAdd(unknown, { value: 0n, mask: factor.value | factor.mask });
    value >>= 1n;
    mask >>= 1n;
    factor = tnumShl(factor, 1n);
  }
  return tnumAdd({ value: product, mask: 0n }, unknown);
}

export const tnumShl = ({ value, mask }: Tnum, by: bigint): Tnum => ({
  value: wrap(value << by),
  mask: wrap(mask << by),
});

export const tnumShr = ({ value, mask }: Tnum, by: bigint): Tnum => ({ value: value >> by, mask: mask >> by });

/** The lowest `bits` (32 or 64) shifted with their sign, which is unknown when its bit is. */
export function tnumSar({ value, mask }: Tnum, by: bigint, bits: number): Tnum {
  const shifted = (part: bigint): bigint => BigInt.asUintN(bits, BigInt.asIntN(bits, part) >> by);
  return { value: shifted(value), mask: shifted(mask) };
}

/** What is known when both hold. There must be a number for which they do. */
export function tnumIntersect(a: Tnum, b: Tnum): Tnum {
  const mask = a.mask & b.mask;
  return { value: (a.value | b.value) & ~mask, mask };
}

/** The lowest `bits`, zeroes above. */
export const tnumTruncate = ({ value, mask }: Tnum, bits: number): Tnum => ({
  value: BigInt.asUintN(bits, value),
  mask: BigInt.asUintN(bits, mask),
});

/** The lowest `bits`, with their sign above. */
export const tnumSignExtend = ({ value, mask }: Tnum, bits: number): Tnum => ({
  value: wrap(BigInt.asIntN(bits, value)),
  mask: wrap(BigInt.asIntN(bits, mask)),
});

/** The lowest 32 bits of one, the highest of another. */
export function tnumWithLow(high: Tnum, low: Tnum): Tnum {
  const top = U64_MAX ^ 0xffff_ffffn;
  const cut = tnumTruncate(low, 32);
  return { value: (high.value & top) | cut.value, mask: (high.mask & top) | cut.mask };
}

/** True when `b` stands for no number that `a` does not stand for. */
export const tnumContains = (a: Tnum, b: Tnum): boolean => (b.mask & ~a.mask) === 0n && (b.value & ~a.mask) === a.value;

/** True when all numbers are multiples of `size`, a power of two. */
export const tnumIsAligned = ({ value, mask }: Tnum, size: number): boolean =>
  ((value | mask) & BigInt(size - 1)) === 0n;
