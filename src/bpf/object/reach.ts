import {
  ALU,
  CLASS,
  type Instruction,
  isConditional,
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
import { arithmetic, condition } from '../interpret-alu.ts';

/*
 * Which instructions of a function can run, when jumps over constants that relocations have filled in are decided:
 * `if (bpf_core_field_exists(…))` becomes `r1 = 0; if r1 == 0 goto`. Only registers are followed, not the stack.
 */

const REGISTERS = 11;
/** Registers that a call leaves with anything in them: r0 to r5. */
const CALL_CLOBBERS = 6;
/** `offset` of a move: of no sign, or of one of so many bits. */
const EXTENSIONS: readonly number[] = [0, 8, 16, 32];

/** A register's constant, as 64 bits without sign; undefined when it may hold anything. */
type Constants = (bigint | undefined)[];

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
    const bits = kind === CLASS.ALU64 ? 64 : 32;
    const [a, b] = [before[dst], operand(instruction, before)];
    const what = operation(opcode);
    // A move needs no first operand, and extends no sign but these; END is left out.
    const first = what !== ALU.MOV ? a : EXTENSIONS.includes(offset) ? 0n : undefined;
    after[dst] = first === undefined || b === undefined ? undefined : arithmetic(bits, what, offset, first, b);
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
  const bits = opcodeClass(opcode) === CLASS.JMP ? 64 : 32;
  const [a, b] = [registers[dst], operand(instruction, registers)];
  const taken = a === undefined || b === undefined ? undefined : condition(bits, operation(opcode), a, b);
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
