import {
  ALU,
  accessMode,
  CLASS,
  type Instruction,
  isConditional,
  JMP,
  MODE,
  OP_CALL,
  OP_EXIT,
  OP_JA,
  OP_LDDW,
  opcodeClass,
  operation,
  SIZE,
} from '#build/bpf/instruction.js';
import type { Program } from '#build/bpf/program.js';
import type { Random } from '#build/util/random.js';

const CONDITIONS: readonly number[] = Object.values(JMP).filter(
  (what) => what !== JMP.JA && what !== JMP.CALL && what !== JMP.EXIT,
);
const NOTHING: Instruction = { opcode: OP_JA, dst: 0, src: 0, offset: 0, imm: 0 };
const STEPS: readonly number[] = [-64, -16, -8, -4, -2, -1, 1, 2, 4, 8, 16, 64];

/** Leaves out, or changes a little, what an author may get wrong: checks, sizes, offsets, bounds, registers. */
class Damage {
  readonly #random: Random;
  readonly #code: Instruction[];

  constructor(random: Random, code: readonly Instruction[]) {
    this.#random = random;
    this.#code = [...code];
  }

  #pick<T>(from: readonly T[]): T {
    return from[this.#random.below(from.length)] as T;
  }

  apply(times: number): Instruction[] {
    for (let left = times; left > 0; left--) this.#damage(this.#random.below(this.#code.length));
    return this.#code;
  }

  #damage(pc: number): void {
    const old = this.#code[pc] as Instruction;
    const isSecondHalf = this.#code[pc - 1]?.opcode === OP_LDDW;
    if (isSecondHalf || old.opcode === OP_LDDW || old.opcode === OP_EXIT || old.opcode === OP_CALL) return;
    if (isConditional(old.opcode)) this.#code[pc] = this.#jump(old);
    else if (old.opcode !== OP_JA) this.#code[pc] = this.#plain(old);
  }

  #jump(old: Instruction): Instruction {
    switch (this.#random.below(5)) {
      case 0:
        return NOTHING;
      case 1:
        return { ...NOTHING, offset: old.offset };
      case 2:
        return { ...old, opcode: (old.opcode & 0x0f) | this.#pick(CONDITIONS) };
      case 3:
        return { ...old, opcode: old.opcode ^ (CLASS.JMP ^ CLASS.JMP32) };
      default:
        return this.#constant(old);
    }
  }

  /** Another constant, or another register where there is none. */
  #constant(old: Instruction): Instruction {
    if ((old.opcode & 0x08) !== 0) return { ...old, src: this.#random.below(11) };
    return { ...old, imm: this.#random.below(3) === 0 ? -old.imm : old.imm + this.#pick(STEPS) };
  }

  #plain(old: Instruction): Instruction {
    const kind = opcodeClass(old.opcode);
    if (this.#random.below(4) === 0) return NOTHING;
    if (kind === CLASS.ALU || kind === CLASS.ALU64) {
      const isMove = operation(old.opcode) === ALU.MOV || operation(old.opcode) === ALU.END;
      if (!isMove && this.#random.below(2) === 0) return { ...old, opcode: old.opcode ^ (CLASS.ALU ^ CLASS.ALU64) };
      return operation(old.opcode) === ALU.END ? old : this.#constant(old);
    }
    if (accessMode(old.opcode) !== MODE.MEM || this.#random.below(2) === 0) {
      return { ...old, offset: old.offset + this.#pick(STEPS) };
    }
    return { ...old, opcode: (old.opcode & ~SIZE.DW) | this.#pick(Object.values(SIZE)) };
  }
}

/** The program with up to `times` things wrong with it, or none that matters. */
export function damaged(random: Random, program: Program, times: number): Program {
  return { ...program, code: new Damage(random, program.code).apply(times) };
}
