import { ALU, CLASS, type Instruction, opcodeClass, SOURCE_REGISTER } from '../instruction.ts';
import { arithmetic, swapBytes } from '../interpret-alu.ts';
import {
  constant,
  intersect,
  knownValue,
  S64_MAX,
  S64_MIN,
  type Scalar,
  scalarFrom,
  signExtend,
  truncate,
  U64_MAX,
  UNKNOWN,
  unknownOf,
  ZERO,
  zeroExtend32,
} from './scalar.ts';
import { tnumAdd, tnumAnd, tnumMul, tnumOr, tnumSar, tnumShl, tnumShr, tnumSub, tnumXor } from './tnum.ts';

const isU64 = (value: bigint): boolean => value >= 0n && value <= U64_MAX;
const isS64 = (value: bigint): boolean => value >= S64_MIN && value <= S64_MAX;

/** Unsigned bounds, when all of them are without overflow, or all with one. */
function unsigned(min: bigint, max: bigint): { umin?: bigint; umax?: bigint } {
  if (isU64(min) && isU64(max)) return { umin: min, umax: max };
  const isAbove = min > U64_MAX && max > U64_MAX;
  const isBelow = min < 0n && max < 0n;
  if (!isAbove && !isBelow) return {};
  const umin = BigInt.asUintN(64, min);
  const umax = BigInt.asUintN(64, max);
  return umin <= umax ? { umin, umax } : {};
}

const signed = (min: bigint, max: bigint): { smin?: bigint; smax?: bigint } =>
  isS64(min) && isS64(max) ? { smin: min, smax: max } : {};

function add(a: Scalar, b: Scalar): Scalar {
  const bounds = { ...unsigned(a.umin + b.umin, a.umax + b.umax), ...signed(a.smin + b.smin, a.smax + b.smax) };
  return scalarFrom(bounds, tnumAdd(a.bits, b.bits));
}

function subtract(a: Scalar, b: Scalar): Scalar {
  const bounds = { ...unsigned(a.umin - b.umax, a.umax - b.umin), ...signed(a.smin - b.smax, a.smax - b.smin) };
  return scalarFrom(bounds, tnumSub(a.bits, b.bits));
}

function multiply(a: Scalar, b: Scalar): Scalar {
  const corners = [a.smin * b.smin, a.smin * b.smax, a.smax * b.smin, a.smax * b.smax];
  const [least, most] = corners.reduce(
    ([low, high], each) => [each < low ? each : low, each > high ? each : high] as const,
    [corners[0] as bigint, corners[0] as bigint] as const,
  );
  const most64 = a.umax * b.umax;
  const bounds = { ...(isU64(most64) ? { umin: a.umin * b.umin, umax: most64 } : {}), ...signed(least, most) };
  return scalarFrom(bounds, tnumMul(a.bits, b.bits));
}

function and(a: Scalar, b: Scalar): Scalar {
  const bits = tnumAnd(a.bits, b.bits);
  return scalarFrom({ umin: bits.value, umax: a.umax < b.umax ? a.umax : b.umax }, bits);
}

function or(a: Scalar, b: Scalar): Scalar {
  return scalarFrom({ umin: a.umin > b.umin ? a.umin : b.umin }, tnumOr(a.bits, b.bits));
}

const xor = (a: Scalar, b: Scalar): Scalar => scalarFrom({}, tnumXor(a.bits, b.bits));

function shiftLeft(a: Scalar, by: bigint): Scalar {
  const most = a.umax << by;
  const bounds = {
    ...(isU64(most) ? { umin: a.umin << by, umax: most } : {}),
    ...signed(a.smin << by, a.smax << by),
    // The usual way to extend a sign: up by 32, then down by 32.
    ...(by === 32n ? { smin: BigInt(a.s32Min) << 32n, smax: BigInt(a.s32Max) << 32n } : {}),
  };
  return scalarFrom(bounds, tnumShl(a.bits, by));
}

const shiftRight = (a: Scalar, by: bigint): Scalar =>
  scalarFrom({ umin: a.umin >> by, umax: a.umax >> by }, tnumShr(a.bits, by));

const shiftSigned = (a: Scalar, by: bigint): Scalar =>
  scalarFrom({ smin: a.smin >> by, smax: a.smax >> by }, tnumSar(a.bits, by, 64));

const LINEAR: Readonly<Record<number, (a: Scalar, b: Scalar) => Scalar>> = {
  [ALU.ADD]: add,
  [ALU.SUB]: subtract,
  [ALU.MUL]: multiply,
  [ALU.AND]: and,
  [ALU.OR]: or,
  [ALU.XOR]: xor,
};

/** The lower half of a result depends on the lower halves only, with whatever sign: both views together know most. */
function inLowerHalf(apply: (a: Scalar, b: Scalar) => Scalar, a: Scalar, b: Scalar): Scalar {
  const byZeroes = zeroExtend32(apply(zeroExtend32(a), zeroExtend32(b)));
  if (a.s32Min >= 0 && b.s32Min >= 0) return byZeroes;
  const bySign = zeroExtend32(apply(signExtend(a, 32), signExtend(b, 32)));
  return intersect(byZeroes, bySign) ?? byZeroes;
}

function shift(operation: number, bits: 32 | 64, a: Scalar, by: bigint): Scalar {
  if (operation === ALU.LSH) {
    return bits === 64 ? shiftLeft(a, by) : inLowerHalf((one) => shiftLeft(one, by), a, ZERO);
  }
  if (operation === ALU.RSH) return shiftRight(bits === 64 ? a : zeroExtend32(a), by);
  return bits === 64 ? shiftSigned(a, by) : zeroExtend32(shiftSigned(signExtend(a, 32), by));
}

/**
 * What `a` becomes by an arithmetic instruction of `bits`, all but MOV and END. Of quotients, of remainders, and of shifts by what is
 * not known or by more bits than there are, nothing is known, as in Linux.
 */
export function scalarArithmetic(operation: number, bits: 32 | 64, a: Scalar, b: Scalar): Scalar {
  const x = knownValue(a);
  const y = knownValue(b);
  const linear = LINEAR[operation];
  if (linear !== undefined && x !== undefined && y !== undefined) {
    return constant(arithmetic(bits, operation, 0, x, y) ?? 0n);
  }
  if (linear !== undefined) return bits === 64 ? linear(a, b) : inLowerHalf(linear, a, b);
  if (operation === ALU.NEG) return bits === 64 ? subtract(ZERO, a) : inLowerHalf(subtract, ZERO, a);
  const isShift = operation === ALU.LSH || operation === ALU.RSH || operation === ALU.ARSH;
  if (!isShift || y === undefined || y >= BigInt(bits)) return bits === 64 ? UNKNOWN : unknownOf(4);
  return shift(operation, bits, a, y);
}

/** What END gives: the lowest `imm` bits, with their bytes the other way round or, to little-endian, as they are. */
export function scalarByteOrder({ opcode, imm }: Instruction, { bits, ...bounds }: Scalar): Scalar {
  const isSwap = opcodeClass(opcode) === CLASS.ALU64 || (opcode & SOURCE_REGISTER) !== 0;
  if (!isSwap) return truncate({ ...bounds, bits }, imm);
  return scalarFrom({}, { value: swapBytes(bits.value, imm), mask: swapBytes(bits.mask, imm) });
}

/** What MOV gives: with `offset`, of the lowest bits with their sign. */
export function scalarMove(bits: 32 | 64, offset: number, source: Scalar): Scalar {
  const moved = offset === 0 ? source : signExtend(source, offset);
  return bits === 64 ? moved : zeroExtend32(moved);
}

export const immediate = (imm: number): Scalar => constant(BigInt(imm));
