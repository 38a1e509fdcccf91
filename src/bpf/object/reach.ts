import {
  ALU,
  CLASS,
  type Instruction,
  isConditional,
  JMP,
  jumpTarget,
  LDDW,
  lddwConstant,
  OP_CALL,
  OP_CALLX,
  OP_EXIT,
  OP_JA,
  OP_JA32,
  OP_LDDW,
  opcodeClass,
  operation,
  SOURCE_REGISTER,
} from '../instruction.ts';

/*
 * Which instructions of a function can run, when jumps over constants that relocations have filled in are decided:
 * `if (bpf_core_field_exists(…))` becomes `r1 = 0; if r1 == 0 goto`. Only registers are followed, not the stack.
 */

const REGISTERS = 11;
/** Registers that a call leaves with anything in them: r0 to r5. */
const CALL_CLOBBERS = 6;

/** A register's constant, as 64 bits without sign; undefined when it may hold anything. */
type Constants = (bigint | undefined)[];

const truncate = (value: bigint, wide: boolean): bigint => BigInt.asUintN(wide ? 64 : 32, value);

/** The result of arithmetic, where it is worth following. */
function compute(what: number, a: bigint, b: bigint, wide: boolean): bigint | undefined {
  const shift = b & (wide ? 63n : 31n);
  switch (what) {
    case ALU.ADD:
      return a + b;
    case ALU.SUB:
      return a - b;
    case ALU.MUL:
      return a * b;
    case ALU.OR:
      return a | b;
    case ALU.AND:
      return a & b;
    case ALU.XOR:
      return a ^ b;
    case ALU.LSH:
      return a << shift;
    case ALU.RSH:
      return truncate(a, wide) >> shift;
    case ALU.ARSH:
      return BigInt.asIntN(wide ? 64 : 32, a) >> shift;
    default:
      return undefined;
  }
}

function isTaken(what: number, a: bigint, b: bigint, wide: boolean): boolean | undefined {
  const [signedA, signedB] = [BigInt.asIntN(wide ? 64 : 32, a), BigInt.asIntN(wide ? 64 : 32, b)];
  switch (what) {
    case JMP.JEQ:
      return a === b;
    case JMP.JNE:
      return a !== b;
    case JMP.JGT:
      return a > b;
    case JMP.JGE:
      return a >= b;
    case JMP.JLT:
      return a < b;
    case JMP.JLE:
      return a <= b;
    case JMP.JSET:
      return (a & b) !== 0n;
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

/** The second operand of arithmetic and jumps. */
function operand({ opcode, src, imm }: Instruction, registers: Constants): bigint | undefined {
  return (opcode & SOURCE_REGISTER) === 0 ? BigInt(imm) : registers[src];
}

/** What the registers hold behind an instruction that is no jump. */
function step(code: readonly Instruction[], pc: number, before: Constants): Constants {
  const instruction = code[pc] as Instruction;
  const { opcode, dst, src, offset } = instruction;
  const kind = opcodeClass(opcode);
  const after = before.slice();
  if (opcode === OP_CALL || opcode === OP_CALLX) after.fill(undefined, 0, CALL_CLOBBERS);
  else if (opcode === OP_LDDW) after[dst] = src === LDDW.CONSTANT ? lddwConstant(code, pc) : undefined;
  else if (kind === CLASS.ALU || kind === CLASS.ALU64) {
    const wide = kind === CLASS.ALU64;
    const [a, b] = [before[dst], operand(instruction, before)];
    const what = operation(opcode);
    const isMove = what === ALU.MOV && offset === 0;
    const result = isMove ? b : a === undefined || b === undefined ? undefined : compute(what, a, b, wide);
    after[dst] = result === undefined ? undefined : truncate(result, wide);
  } else if (kind === CLASS.LDX) after[dst] = undefined;
  else if (kind === CLASS.STX) {
    // An atomic operation may fetch.
    after[src] = undefined;
    after[0] = undefined;
  }
  return after;
}

/** Where an instruction can lead. */
function successors(code: readonly Instruction[], pc: number, registers: Constants): number[] {
  const instruction = code[pc] as Instruction;
  const { opcode, dst } = instruction;
  if (opcode === OP_EXIT) return [];
  if (opcode === OP_LDDW) return [pc + 2];
  if (opcode === OP_JA || opcode === OP_JA32) return [jumpTarget(instruction, pc)];
  if (!isConditional(opcode)) return [pc + 1];
  const wide = opcodeClass(opcode) === CLASS.JMP;
  const [a, b] = [registers[dst], operand(instruction, registers)];
  const isKnown = a !== undefined && b !== undefined;
  const taken = isKnown ? isTaken(operation(opcode), truncate(a, wide), truncate(b, wide), wide) : undefined;
  const target = jumpTarget(instruction, pc);
  return taken === undefined ? [target, pc + 1] : [taken ? target : pc + 1];
}

/**
 * By instruction from `start` to `end` - 1, those of one function: 1 when it can run. The code need not be verified: what
 * leads out of the function is left out.
 */
export function reachable(code: readonly Instruction[], start: number, end: number): Uint8Array {
  const reached = new Uint8Array(end - start);
  const states = new Map<number, Constants>([[start, new Array<bigint | undefined>(REGISTERS).fill(undefined)]]);
  const waiting = [start];
  for (let pc = waiting.pop(); pc !== undefined; pc = waiting.pop()) {
    reached[pc - start] = 1;
    const before = states.get(pc) as Constants;
    const next = successors(code, pc, before);
    const after = step(code, pc, before);
    for (const target of next) {
      if (target < start || target >= end) continue;
      const known = states.get(target);
      if (known === undefined) states.set(target, after.slice());
      else if (!widen(known, after)) continue;
      waiting.push(target);
    }
  }
  return reached;
}

/** Forgets what is not the same in both; true when something was forgotten. A register is forgotten once. */
function widen(known: Constants, other: Constants): boolean {
  let changed = false;
  for (let register = 0; register < known.length; register++) {
    if (known[register] === undefined || known[register] === other[register]) continue;
    known[register] = undefined;
    changed = true;
  }
  return changed;
}
