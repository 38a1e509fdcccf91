import { ALU, JMP } from './instruction.ts';

/** Bytes of the lower `bits` of `value`, the other way round. `bits`: 16, 32 or 64. */
export function swapBytes(value: bigint, bits: number): bigint {
  let rest = BigInt.asUintN(bits, value);
  let swapped = 0n;
  for (let at = 0; at < bits; at += 8) {
    swapped = (swapped << 8n) | (rest & 0xffn);
    rest >>= 8n;
  }
  return swapped;
}

/** What is left of a division that the sign counts in: 0 when it is by 0. */
function divideSigned(bits: number, a: bigint, b: bigint): bigint {
  // The lowest number by -1 is 2^(bits-1), which wraps to itself.
  return b === 0n ? 0n : BigInt.asIntN(bits, a) / BigInt.asIntN(bits, b);
}

function remainderSigned(bits: number, a: bigint, b: bigint): bigint {
  return b === 0n ? a : BigInt.asIntN(bits, a) % BigInt.asIntN(bits, b);
}

/**
 * An arithmetic instruction of `bits` 32 or 64 (RFC 9669, section 4.1), all but END: what `dst` becomes, upper half
 * zeroed when `bits` is 32.
 * @param operation `ALU.…`.
 * @param offset 1 for signed division and remainder; 8, 16 or 32 for moves that extend the sign; else 0.
 * @param dst and `src`: u64. A constant is extended by its sign first.
 * @returns undefined when there is no such operation.
 */
export function arithmetic(
  bits: 32 | 64,
  operation: number,
  offset: number,
  dst: bigint,
  src: bigint,
): bigint | undefined {
  const a = BigInt.asUintN(bits, dst);
  const b = BigInt.asUintN(bits, src);
  const shift = b & BigInt(bits - 1);
  const wrap = (value: bigint): bigint => BigInt.asUintN(bits, value);
  switch (operation) {
    case ALU.ADD:
      return wrap(a + b);
    case ALU.SUB:
      return wrap(a - b);
    case ALU.MUL:
      return wrap(a * b);
    case ALU.DIV:
      if (offset === 1) return wrap(divideSigned(bits, a, b));
      return b === 0n ? 0n : a / b;
    case ALU.MOD:
      if (offset === 1) return wrap(remainderSigned(bits, a, b));
      return b === 0n ? a : a % b;
    case ALU.OR:
      return a | b;
    case ALU.AND:
      return a & b;
    case ALU.XOR:
      return a ^ b;
    case ALU.LSH:
      return wrap(a << shift);
    case ALU.RSH:
      return a >> shift;
    case ALU.ARSH:
      return wrap(BigInt.asIntN(bits, a) >> shift);
    case ALU.NEG:
      return wrap(-a);
    case ALU.MOV:
      return offset === 0 ? b : wrap(BigInt.asIntN(offset, b));
    default:
      return undefined;
  }
}

/**
 * Whether a conditional jump over `bits` 32 or 64 (RFC 9669, section 4.3) is taken.
 * @param operation `JMP.…`.
 * @returns undefined when there is no such operation.
 */
export function condition(bits: 32 | 64, operation: number, dst: bigint, src: bigint): boolean | undefined {
  const a = BigInt.asUintN(bits, dst);
  const b = BigInt.asUintN(bits, src);
  const signedA = BigInt.asIntN(bits, dst);
  const signedB = BigInt.asIntN(bits, src);
  switch (operation) {
    case JMP.JEQ:
      return a === b;
    case JMP.JNE:
      return a !== b;
    case JMP.JSET:
      return (a & b) !== 0n;
    case JMP.JGT:
      return a > b;
    case JMP.JGE:
      return a >= b;
    case JMP.JLT:
      return a < b;
    case JMP.JLE:
      return a <= b;
    case JMP.JSGT:
      return signedA > signedB;
    case JMP.JSGE:
      return signedA >= signedB;
    case JMP.JSLT:
      return signedA < signedB;
    case JMP.JSLE:
      return signedA <= signedB;
    default:
      return undefined;
  }
}
