import { HELPERS } from '../helpers.ts';
import {
  ALU,
  ATOMIC,
  accessMode,
  CALL_HELPER,
  CLASS,
  type Instruction,
  isConditional,
  jumpTarget,
  MODE,
  OP_CALL,
  OP_EXIT,
  OP_JA,
  OP_JA32,
  OP_LDDW,
  opcodeClass,
  operation,
  SOURCE_REGISTER,
} from '../instruction.ts';
import type { Program } from '../program.ts';

/** r1 to r5, as bits. */
const ARGUMENTS = 0b111110;
const ARGUMENTS_MAX = 5;

/** What an instruction reads and writes of the registers, a bit each. */
interface Use {
  readonly reads: number;
  readonly writes: number;
}

function useOfCall({ src, imm }: Instruction): Use {
  const count = src === CALL_HELPER ? (HELPERS.get(imm)?.args.length ?? ARGUMENTS_MAX) : ARGUMENTS_MAX;
  return { reads: ((1 << count) - 1) << 1, writes: ARGUMENTS | 1 };
}

function useOf(instruction: Instruction): Use {
  const { opcode, dst, src, imm } = instruction;
  const to = 1 << dst;
  const from = 1 << src;
  const operand = (opcode & SOURCE_REGISTER) === 0 ? 0 : from;
  switch (opcodeClass(opcode)) {
    case CLASS.LD:
      return { reads: 0, writes: to };
    case CLASS.LDX:
      return { reads: from, writes: to };
    case CLASS.ST:
      return { reads: to, writes: 0 };
    case CLASS.STX: {
      const isAtomic = accessMode(opcode) === MODE.ATOMIC;
      const compares = isAtomic && imm === ATOMIC.CMPXCHG;
      const written = isAtomic && (imm & ATOMIC.FETCH) !== 0 ? (compares ? 1 : from) : 0;
      return { reads: to | from | (compares ? 1 : 0), writes: written };
    }
    case CLASS.ALU:
    case CLASS.ALU64: {
      const what = operation(opcode);
      if (what === ALU.MOV) return { reads: operand, writes: to };
      return { reads: what === ALU.END ? to : to | operand, writes: to };
    }
    default:
      if (opcode === OP_EXIT) return { reads: 1, writes: 0 };
      if (opcode === OP_CALL) return useOfCall(instruction);
      if (opcode === OP_JA || opcode === OP_JA32) return { reads: 0, writes: 0 };
      return isConditional(opcode)
        ? { reads: to | operand, writes: 0 }
        : { reads: to | ARGUMENTS, writes: ARGUMENTS | 1 };
  }
}

/** What is known of a program before it is explored: which registers are read later, where ways meet, what no jump reaches. */
export class Flow {
  readonly #live: Uint16Array;
  readonly #joins: Uint8Array;
  /** Instructions that no jump, call or line before leads to. */
  readonly unreachable: readonly number[];

  constructor({ code, functions, loops }: Program) {
    this.#live = new Uint16Array(code.length);
    this.#joins = new Uint8Array(code.length);
    const before: number[][] = code.map(() => []);
    const reached = new Uint8Array(code.length);
    const pending = functions.map(({ start }) => start);
    for (let pc = pending.pop(); pc !== undefined; pc = pending.pop()) {
      if (reached[pc] === 1) continue;
      reached[pc] = 1;
      for (const next of successors(code, pc)) {
        before[next]?.push(pc);
        pending.push(next);
      }
    }
    for (const [pc, ways] of before.entries()) {
      const isCalled = functions.some(({ start }) => start === pc);
      // Each round of a bpf_loop comes back to the call.
      const isLoop = loops?.calls.has(pc) === true;
      if (ways.length > 1 || isCalled || isLoop || ways.some((from) => from >= pc)) this.#joins[pc] = 1;
    }
    this.#findLive(code, before, reached);
    this.unreachable = [...code.keys()].filter((pc) => reached[pc] === 0 && code[pc - 1]?.opcode !== OP_LDDW);
  }

  #findLive(code: readonly Instruction[], before: readonly number[][], reached: Uint8Array): void {
    const pending = [...code.keys()].filter((pc) => reached[pc] === 1);
    const waits = Uint8Array.from(reached);
    for (let pc = pending.pop(); pc !== undefined; pc = pending.pop()) {
      waits[pc] = 0;
      const { reads, writes } = useOf(code[pc] as Instruction);
      let after = 0;
      for (const next of successors(code, pc)) after |= this.#live[next] ?? 0;
      const live = (after & ~writes) | reads;
      if (live === this.#live[pc]) continue;
      this.#live[pc] = live;
      for (const from of before[pc] ?? []) {
        if (waits[from] === 1) continue;
        waits[from] = 1;
        pending.push(from);
      }
    }
  }

  /** Registers that may be read before they are written, from `pc` on: bit n for rn. */
  liveIn(pc: number): number {
    return this.#live[pc] ?? 0;
  }

  /** True where more than one way leads to, or a loop begins. */
  isJoin(pc: number): boolean {
    return this.#joins[pc] === 1;
  }
}

/** Instructions that may come next in the same function. */
function successors(code: readonly Instruction[], pc: number): number[] {
  const instruction = code[pc] as Instruction;
  const { opcode } = instruction;
  if (opcode === OP_EXIT) return [];
  if (opcode === OP_JA || opcode === OP_JA32) return [jumpTarget(instruction, pc)];
  const next = pc + (opcode === OP_LDDW ? 2 : 1);
  return isConditional(opcode) ? [next, jumpTarget(instruction, pc)] : [next];
}
