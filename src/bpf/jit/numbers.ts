import { ALU, CLASS, type Instruction, JMP, opcodeClass, operation, SOURCE_REGISTER } from '../instruction.ts';

/**
 * What a number is known to be: `min`, or so many times `step` more, up to `max`. All are whole, from 0 to 2^52, so that
 * JavaScript's numbers are exact. A step of 0 goes with a number that is known.
 */
export interface Numbers {
  readonly min: number;
  readonly max: number;
  readonly step: number;
}

const MAX_64 = 2 ** 52;
const MAX_32 = 2 ** 32 - 1;

const gcd = (a: number, b: number): number => (b === 0 ? a : gcd(b, a % b));

/** One number. */
export const exactly = (value: number): Numbers => ({ min: value, max: value, step: 0 });

/** All numbers up to `max`. */
const upTo = (max: number): Numbers => ({ min: 0, max, step: max === 0 ? 0 : 1 });

/** The largest that is no larger than `max`, when there is one. */
function below(numbers: Numbers, max: number): Numbers | undefined {
  if (numbers.max <= max) return numbers;
  if (max < numbers.min) return undefined;
  const last = numbers.step === 0 ? numbers.min : max - ((max - numbers.min) % numbers.step);
  return { ...numbers, max: last, step: last === numbers.min ? 0 : numbers.step };
}

/** Those from `min` on, when there are any. */
function above(numbers: Numbers, min: number): Numbers | undefined {
  if (numbers.min >= min) return numbers;
  if (min > numbers.max) return undefined;
  const first = numbers.max - Math.floor((numbers.max - min) / (numbers.step || 1)) * numbers.step;
  return { ...numbers, min: first, step: first === numbers.max ? 0 : numbers.step };
}

/** Those of both. */
export function joinNumbers(a: Numbers, b: Numbers): Numbers {
  const step = gcd(gcd(a.step, b.step), Math.abs(a.min - b.min));
  return { min: Math.min(a.min, b.min), max: Math.max(a.max, b.max), step };
}

/**
 * As `numbers`, so far that what a loop adds or takes off does not lead beyond in each of its rounds: down to the least with
 * this step, up to one of the `limits`. Undefined when there is no limit so large.
 */
export function widen({ min, max, step }: Numbers, limits: readonly number[]): Numbers | undefined {
  if (step === 0) return { min, max, step };
  const limit = limits.find((one) => one >= max);
  return limit === undefined ? undefined : below({ min: min % step, max: limit + step, step }, limit);
}

function add(a: Numbers, b: Numbers): Numbers {
  return { min: a.min + b.min, max: a.max + b.max, step: gcd(a.step, b.step) };
}

function subtract(a: Numbers, b: Numbers): Numbers | undefined {
  return a.min < b.max ? undefined : { min: a.min - b.max, max: a.max - b.min, step: gcd(a.step, b.step) };
}

const times = ({ min, max, step }: Numbers, by: number): Numbers => ({ min: min * by, max: max * by, step: step * by });

function shiftRight({ min, max }: Numbers, by: number): Numbers {
  const [from, to] = [Math.floor(min / 2 ** by), Math.floor(max / 2 ** by)];
  return { min: from, max: to, step: from === to ? 0 : 1 };
}

/** Of any number and a mask of 32 bits, not negative. */
function mask(numbers: Numbers | undefined, bits: number): Numbers {
  const lowest = (bits & -bits) >>> 0;
  const max = Math.min(bits, numbers?.max ?? bits);
  return bits === 0 || max < lowest ? exactly(0) : { min: 0, max: max - (max % lowest), step: lowest };
}

/** What bits of a register hold, whatever is known of it. */
const anything = (is64: boolean): Numbers | undefined => (is64 ? undefined : upTo(MAX_32));

function combine(what: number, is64: boolean, a: Numbers | undefined, b: Numbers | undefined): Numbers | undefined {
  const constant = b?.step === 0 ? b.min : undefined;
  const bits = is64 ? 64 : 32;
  switch (what) {
    case ALU.MOV:
      return b;
    case ALU.ADD:
      return a && b && add(a, b);
    case ALU.SUB:
      return a && b && subtract(a, b);
    case ALU.MUL:
      return a && constant !== undefined && constant <= MAX_32 ? times(a, constant) : undefined;
    case ALU.LSH:
      return a && constant !== undefined && constant < bits ? times(a, 2 ** constant) : undefined;
    case ALU.RSH:
      if (constant === undefined || constant >= bits) return undefined;
      return a === undefined ? upTo(2 ** (64 - constant) - 1) : shiftRight(a, constant);
    case ALU.AND:
      return constant !== undefined && constant <= MAX_32 ? mask(a, constant) : undefined;
    case ALU.MOD:
      return constant !== undefined && constant > 0 ? upTo(Math.min(constant - 1, a?.max ?? MAX_64)) : undefined;
    default:
      return undefined;
  }
}

/**
 * What an instruction of class ALU or ALU64 leaves in `dst`: undefined when that may be any number.
 * @param a what `dst` is known to hold.
 * @param b the second operand when it is a register: what that holds.
 */
export function arithmeticOf(
  instruction: Instruction,
  a: Numbers | undefined,
  b: Numbers | undefined,
): Numbers | undefined {
  const { opcode, offset, imm } = instruction;
  const is64 = opcodeClass(opcode) === CLASS.ALU64;
  const what = operation(opcode);
  if (what === ALU.END) return imm === 64 ? undefined : upTo(2 ** imm - 1);
  const isRegister = (opcode & SOURCE_REGISTER) !== 0;
  // With an offset, MOV extends the sign, and DIV and MOD have one.
  if (offset !== 0) return undefined;
  const cut = (numbers: Numbers | undefined): Numbers | undefined =>
    is64 || (numbers !== undefined && numbers.max <= MAX_32) ? numbers : anything(false);
  const first = cut(a);
  let result: Numbers | undefined;
  if (isRegister) result = combine(what, is64, first, cut(b));
  else if (imm >= 0) result = combine(what, is64, first, exactly(imm));
  else if (what === ALU.ADD) result = combine(ALU.SUB, is64, first, exactly(-imm));
  // A number of 32 bits has none of those that a constant's sign is extended to.
  else if (what === ALU.AND && first !== undefined && first.max <= MAX_32) result = mask(first, imm >>> 0);
  else if (what === ALU.MOV && !is64) result = exactly(imm >>> 0);
  return result !== undefined && result.max <= (is64 ? MAX_64 : MAX_32) ? result : anything(is64);
}

/** What a load of `bytes` without a sign gives. */
export const loadOf = (bytes: number): Numbers | undefined => (bytes < 8 ? upTo(2 ** (bytes * 8) - 1) : undefined);

/** Without one of its ends, when it is that. */
function except(numbers: Numbers, value: number): Numbers {
  if (value === numbers.min) return above(numbers, value + 1) ?? numbers;
  return value === numbers.max ? (below(numbers, value - 1) ?? numbers) : numbers;
}

type Jump = readonly [isLess: boolean, orEqual: boolean];
const UNSIGNED: ReadonlyMap<number, Jump> = new Map([
  [JMP.JLT, [true, false]],
  [JMP.JLE, [true, true]],
  [JMP.JGT, [false, false]],
  [JMP.JGE, [false, true]],
]);
const SIGNED: ReadonlyMap<number, Jump> = new Map([
  [JMP.JSLT, [true, false]],
  [JMP.JSLE, [true, true]],
  [JMP.JSGT, [false, false]],
  [JMP.JSGE, [false, true]],
]);

/**
 * What `dst` of a conditional jump holds when it is `taken`, or when it is not. What it held when nothing can be said, or when
 * the jump does not go this way at all.
 */
export function behindJump(
  { opcode, imm }: Instruction,
  taken: boolean,
  dst: Numbers | undefined,
  src: Numbers | undefined,
): Numbers | undefined {
  const is64 = opcodeClass(opcode) === CLASS.JMP;
  const isRegister = (opcode & SOURCE_REGISTER) !== 0;
  const other = isRegister ? src : imm >= 0 ? exactly(imm) : undefined;
  const what = operation(opcode);
  const unsigned = UNSIGNED.get(what);
  const jump = unsigned ?? SIGNED.get(what);
  if (other === undefined) return dst;
  // Of any 64 bits it may be said that they are no more than something.
  if (dst === undefined && (!is64 || unsigned === undefined)) return dst;
  // Of 32 bits of a register, and of their sign, only when it has no more.
  if (!is64 && Math.max(other.max, dst?.max ?? 0) >= 2 ** 31) return dst;
  const numbers = dst ?? upTo(MAX_64);
  if (jump === undefined) {
    if (dst === undefined || other.step !== 0 || (what !== JMP.JEQ && what !== JMP.JNE)) return dst;
    if (taken !== (what === JMP.JEQ)) return except(dst, other.min);
    return dst.min <= other.min && other.min <= dst.max ? other : dst;
  }
  const [isLess, orEqual] = jump;
  // When it is not taken the opposite holds: what was less is no less, and equal when it could not be.
  const edge = orEqual === taken ? 0 : 1;
  if (isLess === taken) return below(numbers, other.max - edge) ?? dst;
  return dst === undefined ? dst : (above(numbers, other.min + edge) ?? dst);
}
