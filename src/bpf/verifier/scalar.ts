import {
  TNUM_UNKNOWN,
  type Tnum,
  tnumConstant,
  tnumContains,
  tnumIntersect,
  tnumIsConstant,
  tnumRange,
  tnumSignExtend,
  tnumTruncate,
  tnumWithLow,
} from './tnum.ts';

export const U64_MAX = (1n << 64n) - 1n;
export const S64_MIN = -(1n << 63n);
export const S64_MAX = (1n << 63n) - 1n;
export const U32_MAX = 0xffff_ffff;
export const S32_MIN = -0x8000_0000;
export const S32_MAX = 0x7fff_ffff;

/** What a register may be, as bounds; all four hold at once, and what the bits say does too. */
export interface Bounds {
  readonly umin: bigint;
  readonly umax: bigint;
  readonly smin: bigint;
  readonly smax: bigint;
  /** Of the lower half. */
  readonly u32Min: number;
  readonly u32Max: number;
  readonly s32Min: number;
  readonly s32Max: number;
}

/** A set of numbers of 64 bits, as the verifier knows it. Never changed. */
export interface Scalar extends Bounds {
  readonly bits: Tnum;
}

// Each scalar is made with its fields in this order, so that the engine sees one kind of object.
export const UNKNOWN: Scalar = {
  umin: 0n,
  umax: U64_MAX,
  smin: S64_MIN,
  smax: S64_MAX,
  u32Min: 0,
  u32Max: U32_MAX,
  s32Min: S32_MIN,
  s32Max: S32_MAX,
  bits: TNUM_UNKNOWN,
};

const toU64 = (value: bigint): bigint => BigInt.asUintN(64, value);
const toS64 = (value: bigint): bigint => BigInt.asIntN(64, value);
const larger = (a: bigint, b: bigint): bigint => (a > b ? a : b);
const smaller = (a: bigint, b: bigint): bigint => (a < b ? a : b);

/** The number `value`, of which 64 bits count. */
export function constant(value: bigint): Scalar {
  const unsigned = toU64(value);
  const signed = toS64(value);
  const low = Number(BigInt.asUintN(32, value));
  return {
    umin: unsigned,
    umax: unsigned,
    smin: signed,
    smax: signed,
    u32Min: low,
    u32Max: low,
    s32Min: low | 0,
    s32Max: low | 0,
    bits: tnumConstant(value),
  };
}

export const ZERO: Scalar = constant(0n);

export const isConstant = (scalar: Scalar): boolean => tnumIsConstant(scalar.bits);

/** The number that it is, u64; undefined when it may be several. */
export const knownValue = ({ bits }: Scalar): bigint | undefined => (bits.mask === 0n ? bits.value : undefined);

/** True when `scalar` may be `value`, as far as bounds and bits say. */
export function contains(scalar: Scalar, value: bigint): boolean {
  const unsigned = toU64(value);
  const signed = toS64(value);
  const low = Number(BigInt.asUintN(32, value));
  return (
    unsigned >= scalar.umin &&
    unsigned <= scalar.umax &&
    signed >= scalar.smin &&
    signed <= scalar.smax &&
    low >= scalar.u32Min &&
    low <= scalar.u32Max &&
    (low | 0) >= scalar.s32Min &&
    (low | 0) <= scalar.s32Max &&
    (unsigned & ~scalar.bits.mask) === scalar.bits.value
  );
}

/** True when `b` may be nothing that `a` may not be. */
export function includes(a: Scalar, b: Scalar): boolean {
  if (a === b || a === UNKNOWN) return true;
  return (
    a.umin <= b.umin &&
    a.umax >= b.umax &&
    a.smin <= b.smin &&
    a.smax >= b.smax &&
    a.u32Min <= b.u32Min &&
    a.u32Max >= b.u32Max &&
    a.s32Min <= b.s32Min &&
    a.s32Max >= b.s32Max &&
    tnumContains(a.bits, b.bits)
  );
}

/** Bounds that can be narrowed; `bits` too. */
type Draft = { -readonly [Key in keyof Scalar]: Scalar[Key] };

/** The bounds of the lower half, by what the bits and each other say of it. */
function narrow32(s: Draft): void {
  const { value, mask } = tnumTruncate(s.bits, 32);
  s.u32Min = Math.max(s.u32Min, Number(value));
  s.u32Max = Math.min(s.u32Max, Number(value | mask));
  const sign = 0x8000_0000n;
  s.s32Min = Math.max(s.s32Min, Number(BigInt.asIntN(32, value | (mask & sign))));
  s.s32Max = Math.min(s.s32Max, Number(BigInt.asIntN(32, value | (mask & ~sign))));
  // While the upper halves of both ends are the same, the lower halves are bounds.
  if (s.umin >> 32n === s.umax >> 32n) {
    s.u32Min = Math.max(s.u32Min, Number(BigInt.asUintN(32, s.umin)));
    s.u32Max = Math.min(s.u32Max, Number(BigInt.asUintN(32, s.umax)));
  }
  if (s.smin >> 32n === s.smax >> 32n) {
    s.u32Min = Math.max(s.u32Min, Number(BigInt.asUintN(32, s.smin)));
    s.u32Max = Math.min(s.u32Max, Number(BigInt.asUintN(32, s.smax)));
  }
  if (s.smin >= BigInt(S32_MIN) && s.smax <= BigInt(S32_MAX)) {
    s.s32Min = Math.max(s.s32Min, Number(s.smin));
    s.s32Max = Math.min(s.s32Max, Number(s.smax));
  }
  // A range that does not cross the change of sign is one of both kinds.
  if ((s.u32Min | 0) <= (s.u32Max | 0)) {
    s.s32Min = Math.max(s.s32Min, s.u32Min | 0);
    s.s32Max = Math.min(s.s32Max, s.u32Max | 0);
  }
  if (s.s32Min >>> 0 <= s.s32Max >>> 0) {
    s.u32Min = Math.max(s.u32Min, s.s32Min >>> 0);
    s.u32Max = Math.min(s.u32Max, s.s32Max >>> 0);
  }
}

/** The bounds of the whole, by what the bits, each other and the lower half say of it. */
function narrow64(s: Draft): void {
  const { value, mask } = s.bits;
  s.umin = larger(s.umin, value);
  s.umax = smaller(s.umax, value | mask);
  const sign = 1n << 63n;
  s.smin = larger(s.smin, toS64(value | (mask & sign)));
  s.smax = smaller(s.smax, toS64(value | (mask & ~sign)));
  if (toS64(s.umin) <= toS64(s.umax)) {
    s.smin = larger(s.smin, toS64(s.umin));
    s.smax = smaller(s.smax, toS64(s.umax));
  }
  if (toU64(s.smin) <= toU64(s.smax)) {
    s.umin = larger(s.umin, toU64(s.smin));
    s.umax = smaller(s.umax, toU64(s.smax));
  }
  // The nearest number within whose lower half can be the least, or the most, of a lower half.
  s.umin = atLeast(s.umin, BigInt(s.u32Min), BigInt(s.u32Max));
  s.umax = atMost(s.umax, BigInt(s.u32Min), BigInt(s.u32Max));
}

const LOW = 0xffff_ffffn;

/** The least number from `bound` on whose lower half is from `min` to `max`. */
function atLeast(bound: bigint, min: bigint, max: bigint): bigint {
  const low = bound & LOW;
  if (low >= min && low <= max) return bound;
  const high = bound & ~LOW;
  const next = low < min ? high | min : high + (LOW + 1n) + min;
  return next > U64_MAX ? bound : next;
}

/** The greatest number up to `bound` whose lower half is from `min` to `max`. */
function atMost(bound: bigint, min: bigint, max: bigint): bigint {
  const low = bound & LOW;
  if (low >= min && low <= max) return bound;
  const high = bound & ~LOW;
  const next = low > max ? high | max : high - (LOW + 1n) + max;
  return next < 0n ? bound : next;
}

function isEmpty(s: Draft): boolean {
  return s.umin > s.umax || s.smin > s.smax || s.u32Min > s.u32Max || s.s32Min > s.s32Max;
}

/** Numbers up to here have the same bounds whatever way they are read, and need no big integers. */
const SMALL_MAX = 0x7fff_ffffn;

/** `scalarOf` for what is at most SMALL_MAX, which most numbers of most programs are. */
function smallScalar(bounds: Bounds, bits: Tnum): Scalar | undefined {
  if (bounds.smax < 0n || bounds.s32Max < 0 || bits.value > SMALL_MAX) return undefined;
  const signedMin = bounds.smin > SMALL_MAX ? Number.POSITIVE_INFINITY : Number(bounds.smin);
  let min = Math.max(Number(bounds.umin), signedMin, bounds.u32Min, bounds.s32Min);
  let max = Math.min(Number(bounds.umax), Number(bounds.smax), bounds.u32Max, bounds.s32Max);
  let value = Number(bits.value);
  let mask = Number(bits.mask & SMALL_MAX);
  for (let round = 0; round < 2; round++) {
    min = Math.max(min, value);
    max = Math.min(max, value | mask);
    if (min > max) return undefined;
    const differing = min ^ max;
    const open = differing === 0 ? 0 : 0x7fff_ffff >>> (Math.clz32(differing) - 1);
    value = (value | (min & ~open)) & ~(mask & open);
    mask &= open;
  }
  const low = BigInt(min);
  const high = BigInt(max);
  return {
    umin: low,
    umax: high,
    smin: low,
    smax: high,
    u32Min: min,
    u32Max: max,
    s32Min: min,
    s32Max: max,
    bits: { value: BigInt(value), mask: BigInt(mask) },
  };
}

/**
 * A scalar of bounds and bits that all hold: each is narrowed by the others. Undefined when no number is left; then no
 * program ever comes here.
 */
export function scalarOf(bounds: Bounds, bits: Tnum): Scalar | undefined {
  if (bounds.umax <= SMALL_MAX || (bits.value | bits.mask) <= SMALL_MAX) return smallScalar(bounds, bits);
  const draft: Draft = {
    umin: bounds.umin,
    umax: bounds.umax,
    smin: bounds.smin,
    smax: bounds.smax,
    u32Min: bounds.u32Min,
    u32Max: bounds.u32Max,
    s32Min: bounds.s32Min,
    s32Max: bounds.s32Max,
    bits,
  };
  // Once round for what bits say of bounds, once more for what the bounds then say of each other.
  for (let round = 0; round < 2; round++) {
    narrow32(draft);
    narrow64(draft);
    if (isEmpty(draft)) return undefined;
    const low = tnumIntersect(tnumTruncate(draft.bits, 32), tnumRange(BigInt(draft.u32Min), BigInt(draft.u32Max)));
    const whole = tnumIntersect(draft.bits, tnumRange(draft.umin, draft.umax));
    draft.bits = tnumIntersect(whole, tnumWithLow(whole, low));
  }
  narrow32(draft);
  narrow64(draft);
  if (isEmpty(draft) || !tnumAllows(draft)) return undefined;
  return draft;
}

/** False when the bits stand for no number within the bounds, as far as that is easily seen. */
function tnumAllows({ bits, umin, umax }: Draft): boolean {
  return bits.value <= umax && (bits.value | bits.mask) >= umin;
}

/** A scalar of some bounds, all else as wide as it may be. Where no number is left nothing runs, and any answer is right. */
export function scalarFrom(bounds: Partial<Bounds>, bits: Tnum = TNUM_UNKNOWN): Scalar {
  const {
    umin = 0n,
    umax = U64_MAX,
    smin = S64_MIN,
    smax = S64_MAX,
    u32Min = 0,
    u32Max = U32_MAX,
    s32Min = S32_MIN,
    s32Max = S32_MAX,
  } = bounds;
  return scalarOf({ umin, umax, smin, smax, u32Min, u32Max, s32Min, s32Max }, bits) ?? UNKNOWN;
}

/** What a load of 1, 2, 4 or 8 bytes gives. */
const LOADED = new Map([1, 2, 4].map((bytes) => [bytes, scalarFrom({ umax: (1n << BigInt(bytes * 8)) - 1n })]));
export const unknownOf = (bytes: number): Scalar => LOADED.get(bytes) ?? UNKNOWN;

/** What is left of both; undefined when nothing is. */
export function intersect(a: Scalar, b: Scalar): Scalar | undefined {
  if ((a.bits.value ^ b.bits.value) & ~a.bits.mask & ~b.bits.mask) return undefined;
  return scalarOf(
    {
      umin: larger(a.umin, b.umin),
      umax: smaller(a.umax, b.umax),
      smin: larger(a.smin, b.smin),
      smax: smaller(a.smax, b.smax),
      u32Min: Math.max(a.u32Min, b.u32Min),
      u32Max: Math.min(a.u32Max, b.u32Max),
      s32Min: Math.max(a.s32Min, b.s32Min),
      s32Max: Math.min(a.s32Max, b.s32Max),
    },
    tnumIntersect(a.bits, b.bits),
  );
}

/** The lower half, zeroes above. */
export function zeroExtend32(scalar: Scalar): Scalar {
  if (scalar.umax <= LOW) return scalar;
  return scalarFrom(
    {
      u32Min: scalar.u32Min,
      u32Max: scalar.u32Max,
      s32Min: scalar.s32Min,
      s32Max: scalar.s32Max,
      umin: BigInt(scalar.u32Min),
      umax: BigInt(scalar.u32Max),
    },
    tnumTruncate(scalar.bits, 32),
  );
}

/** The lowest `bits` (8, 16, 32), zeroes above. */
export function truncate(scalar: Scalar, bits: number): Scalar {
  if (bits === 64) return scalar;
  if (bits === 32) return zeroExtend32(scalar);
  if (scalar.umax < 1n << BigInt(bits)) return scalar;
  const within = scalar.umin >> BigInt(bits) === scalar.umax >> BigInt(bits);
  const bounds = within ? { umin: BigInt.asUintN(bits, scalar.umin), umax: BigInt.asUintN(bits, scalar.umax) } : {};
  return scalarFrom(bounds, tnumTruncate(scalar.bits, bits));
}

/** The lowest `bits` (8, 16, 32), with their sign above. */
export function signExtend(scalar: Scalar, bits: number): Scalar {
  const limit = 1n << BigInt(bits - 1);
  if (scalar.smin >= -limit && scalar.smax < limit) return scalar;
  const range =
    bits === 32 ? { smin: BigInt(scalar.s32Min), smax: BigInt(scalar.s32Max) } : { smin: -limit, smax: limit - 1n };
  return scalarFrom(range, tnumSignExtend(scalar.bits, bits));
}
