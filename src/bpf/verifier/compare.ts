import { JMP } from '../instruction.ts';
import { type Bounds, contains, intersect, knownValue, type Scalar, scalarOf } from './scalar.ts';
import { type Tnum, tnumIntersect, tnumTruncate, tnumWithLow } from './tnum.ts';

/** Bounds and bits of a scalar, of as many bits as a jump compares. */
interface View {
  readonly umin: bigint;
  readonly umax: bigint;
  readonly smin: bigint;
  readonly smax: bigint;
  readonly bits: Tnum;
}

function viewOf(scalar: Scalar, bits: 32 | 64): View {
  if (bits === 64) return scalar;
  return {
    umin: BigInt(scalar.u32Min),
    umax: BigInt(scalar.u32Max),
    smin: BigInt(scalar.s32Min),
    smax: BigInt(scalar.s32Max),
    bits: tnumTruncate(scalar.bits, 32),
  };
}

/** The scalar with the bounds and bits of a view that was narrowed; undefined when nothing is left. */
function narrowed(scalar: Scalar, bits: 32 | 64, view: View): Scalar | undefined {
  if (view.umin > view.umax || view.smin > view.smax) return undefined;
  const { umin, umax, smin, smax, bits: known } = view;
  if (bits === 64) {
    const { u32Min, u32Max, s32Min, s32Max } = scalar;
    return scalarOf({ umin, umax, smin, smax, u32Min, u32Max, s32Min, s32Max }, known);
  }
  const bounds: Bounds = {
    umin: scalar.umin,
    umax: scalar.umax,
    smin: scalar.smin,
    smax: scalar.smax,
    u32Min: Number(umin),
    u32Max: Number(umax),
    s32Min: Number(smin),
    s32Max: Number(smax),
  };
  return scalarOf(bounds, tnumWithLow(scalar.bits, known));
}

const isKnown = ({ umin, umax }: View): boolean => umin === umax;
const differ = (a: Tnum, b: Tnum): boolean => ((a.value ^ b.value) & ~a.mask & ~b.mask) !== 0n;

function isEqual(a: View, b: View): boolean | undefined {
  if (isKnown(a) && isKnown(b)) return a.umin === b.umin;
  const areApart = a.umin > b.umax || a.umax < b.umin || a.smin > b.smax || a.smax < b.smin || differ(a.bits, b.bits);
  return areApart ? false : undefined;
}

function hasCommonBit(a: Tnum, b: Tnum): boolean | undefined {
  if ((a.value & b.value) !== 0n) return true;
  return ((a.value | a.mask) & (b.value | b.mask)) === 0n ? false : undefined;
}

/** Whether a is above b. */
function isAbove(a: View, b: View, signed: boolean): boolean | undefined {
  if (signed ? a.smin > b.smax : a.umin > b.umax) return true;
  return (signed ? a.smax <= b.smin : a.umax <= b.umin) ? false : undefined;
}

const not = (known: boolean | undefined): boolean | undefined => (known === undefined ? undefined : !known);

/** Whether a conditional jump over `bits` is taken, when it is so for all that a and b may be. */
export function decide(operation: number, bits: 32 | 64, first: Scalar, second: Scalar): boolean | undefined {
  const a = viewOf(first, bits);
  const b = viewOf(second, bits);
  switch (operation) {
    case JMP.JEQ:
      return isEqual(a, b);
    case JMP.JNE:
      return not(isEqual(a, b));
    case JMP.JSET:
      return hasCommonBit(a.bits, b.bits);
    case JMP.JGT:
      return isAbove(a, b, false);
    case JMP.JLE:
      return not(isAbove(a, b, false));
    case JMP.JLT:
      return isAbove(b, a, false);
    case JMP.JGE:
      return not(isAbove(b, a, false));
    case JMP.JSGT:
      return isAbove(a, b, true);
    case JMP.JSLE:
      return not(isAbove(a, b, true));
    case JMP.JSLT:
      return isAbove(b, a, true);
    default:
      return not(isAbove(b, a, true));
  }
}

/** The condition that holds where a jump is not taken; JSET has none of its own. */
export const INVERSE: Readonly<Record<number, number>> = {
  [JMP.JEQ]: JMP.JNE,
  [JMP.JNE]: JMP.JEQ,
  [JMP.JGT]: JMP.JLE,
  [JMP.JLE]: JMP.JGT,
  [JMP.JGE]: JMP.JLT,
  [JMP.JLT]: JMP.JGE,
  [JMP.JSGT]: JMP.JSLE,
  [JMP.JSLE]: JMP.JSGT,
  [JMP.JSGE]: JMP.JSLT,
  [JMP.JSLT]: JMP.JSGE,
};

/** The same condition, with its operands in the other order. */
export const MIRRORED: Readonly<Record<number, number>> = {
  [JMP.JEQ]: JMP.JEQ,
  [JMP.JNE]: JMP.JNE,
  [JMP.JSET]: JMP.JSET,
  [JMP.JGT]: JMP.JLT,
  [JMP.JLT]: JMP.JGT,
  [JMP.JGE]: JMP.JLE,
  [JMP.JLE]: JMP.JGE,
  [JMP.JSGT]: JMP.JSLT,
  [JMP.JSLT]: JMP.JSGT,
  [JMP.JSGE]: JMP.JSLE,
  [JMP.JSLE]: JMP.JSGE,
};

type Pair = readonly [Scalar, Scalar];
type Views = readonly [View, View];

/** `a` without the one number `b`, where that is an end of its range. */
function without(a: View, b: View): View {
  if (!isKnown(b)) return a;
  return {
    ...a,
    umin: a.umin === b.umin ? a.umin + 1n : a.umin,
    umax: a.umax === b.umin ? a.umax - 1n : a.umax,
    smin: a.smin === b.smin ? a.smin + 1n : a.smin,
    smax: a.smax === b.smin ? a.smax - 1n : a.smax,
  };
}

/** a > b, or a >= b when `by` is 0. */
function ordered(a: View, b: View, signed: boolean, by: bigint): Views {
  if (signed) {
    const smin = a.smin > b.smin + by ? a.smin : b.smin + by;
    const smax = b.smax < a.smax - by ? b.smax : a.smax - by;
    return [
      { ...a, smin },
      { ...b, smax },
    ];
  }
  const umin = a.umin > b.umin + by ? a.umin : b.umin + by;
  const umax = b.umax < a.umax - by ? b.umax : a.umax - by;
  return [
    { ...a, umin },
    { ...b, umax },
  ];
}

function equal(a: View, b: View): Views {
  const both: View = {
    umin: a.umin > b.umin ? a.umin : b.umin,
    umax: a.umax < b.umax ? a.umax : b.umax,
    smin: a.smin > b.smin ? a.smin : b.smin,
    smax: a.smax < b.smax ? a.smax : b.smax,
    bits: tnumIntersect(a.bits, b.bits),
  };
  return [both, both];
}

/** What of `a` is known when it has a bit of the constant `b` in common, or none. */
function masked(a: View, b: View, isSet: boolean): View {
  if (!isKnown(b)) return a;
  const mask = b.umin;
  if (!isSet) return { ...a, bits: { value: a.bits.value, mask: a.bits.mask & ~mask } };
  const isSingle = mask !== 0n && (mask & (mask - 1n)) === 0n;
  return isSingle ? { ...a, bits: { value: a.bits.value | mask, mask: a.bits.mask & ~mask } } : a;
}

function viewsWhere(operation: number, a: View, b: View): Views {
  const swap = ([x, y]: Views): Views => [y, x];
  switch (operation) {
    case JMP.JEQ:
      return equal(a, b);
    case JMP.JNE:
      return [without(a, b), without(b, a)];
    case JMP.JGT:
      return ordered(a, b, false, 1n);
    case JMP.JGE:
      return ordered(a, b, false, 0n);
    case JMP.JLT:
      return swap(ordered(b, a, false, 1n));
    case JMP.JLE:
      return swap(ordered(b, a, false, 0n));
    case JMP.JSGT:
      return ordered(a, b, true, 1n);
    case JMP.JSGE:
      return ordered(a, b, true, 0n);
    case JMP.JSLT:
      return swap(ordered(b, a, true, 1n));
    default:
      return swap(ordered(b, a, true, 0n));
  }
}

/** What a and b are where a conditional jump that `decide` leaves open was taken, or not; undefined when that never happens. */
export function refine(
  operation: number,
  bits: 32 | 64,
  taken: boolean,
  first: Scalar,
  second: Scalar,
): Pair | undefined {
  const value = knownValue(second);
  // Two that are equal as a whole are one number.
  const areEqual = bits === 64 && operation === (taken ? JMP.JEQ : JMP.JNE);
  if (areEqual && value !== undefined) return contains(first, value) ? [second, second] : undefined;
  const a = viewOf(first, bits);
  const b = viewOf(second, bits);
  let found: Views;
  if (operation === JMP.JSET) found = [masked(a, b, taken), masked(b, a, taken)];
  else found = viewsWhere(taken ? operation : (INVERSE[operation] ?? operation), a, b);
  const one = narrowed(first, bits, found[0]);
  const other = value === undefined ? narrowed(second, bits, found[1]) : second;
  if (one === undefined || other === undefined) return undefined;
  const both = areEqual ? intersect(one, other) : undefined;
  return areEqual ? both && [both, both] : [one, other];
}
