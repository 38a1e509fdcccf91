import type { Arena } from '../memory/arena.ts';
import { RingwayError } from '../util/errors.ts';
import { HELPER_TAIL_CALL, HELPERS } from './helpers.ts';
import {
  ALU,
  ATOMIC,
  accessBytes,
  accessMode,
  CALL_HELPER,
  CALL_LOCAL,
  CLASS,
  type Instruction,
  isConditional,
  jumpTarget,
  LDDW,
  lddwConstant,
  MODE,
  OP_CALL,
  OP_CALLX,
  OP_EXIT,
  OP_JA,
  OP_JA32,
  OP_LDDW,
  opcodeClass,
  operation,
  SOURCE_REGISTER,
} from './instruction.ts';
import { arithmetic, condition, swapBytes } from './interpret-alu.ts';
import { callHelper, checkArguments, helperOf, type LoadedProgram } from './interpret-helpers.ts';
import { addressOf, Fault, ProgramMemory } from './interpret-memory.ts';
import {
  CTX_FAULT,
  CTX_FAULT_ADDRESS,
  CTX_FAULT_PC,
  CTX_LOCK,
  CTX_STACK,
  CTX_TAIL_CALLS,
  FAULT_FUEL,
  FAULT_HELPER,
  FAULT_LOCK,
  FAULT_MAP,
  FAULT_STACK,
  FRAME_BYTES,
  FRAMES_MAX,
  KIND_PROG_ARRAY,
  MAP_KIND,
  MAP_MAX_ENTRIES,
  MAP_STRIDE,
  MAP_VALUES,
  TAIL_CALLS_MAX,
  XDP_ABORTED,
} from './layout.ts';
import { type Program, placeOf } from './program.ts';

/** An instruction that is about to run. */
export interface Step {
  readonly pc: number;
  /** r0 to r10 as they are: the hook may change them. */
  readonly registers: BigUint64Array;
  readonly program: Program;
  /** 0 in the program itself, 1 in a function that it calls. */
  readonly depth: number;
}

/** What to run, over what. */
export interface Execution {
  readonly program: Program;
  /** Address of each map, by its number in `program.maps`. */
  readonly maps: readonly number[];
  readonly arena: Arena;
  /** Address of the context (`layout.ts`, CTX_…). */
  readonly context: number;
  /** r1 is the context's address, r2 is 0 by default. */
  readonly registers?: { readonly r1?: bigint; readonly r2?: bigint };
  /** Look at each access and each argument, as for a program that nobody verified. */
  readonly checked?: boolean;
  /** Instructions that it may run: 1,000,000 by default. */
  readonly fuel?: number;
  /** The table that the values of a PROG_ARRAY count in. Without it tail calls find nothing. */
  readonly programs?: (number: number) => LoadedProgram | undefined;
  /** Called before each instruction. */
  readonly onStep?: (step: Step) => void;
}

/** How a program ended. */
export interface Outcome {
  /** u64; XDP_ABORTED after a fault. */
  readonly r0: bigint;
  /** Instructions that ran. */
  readonly steps: number;
  /** Why it was ended: FAULT_…, the instruction, the address that it wanted. */
  readonly fault?: { readonly kind: number; readonly pc: number; readonly address: bigint };
}

/** A function that runs, or waits for one that it called. */
interface Frame {
  loaded: LoadedProgram;
  /** Of the instruction that comes next. */
  pc: number;
  readonly registers: BigUint64Array;
}

/** What the interpreter itself calls of the kernels. */
interface LockKernels {
  bpfReleaseLock(context: number): void;
}

const FUEL = 1_000_000;
const FRAME_POINTER = 10;

/**
 * Runs a program by the book (RFC 9669), an instruction at a time: what the compiled code is held against, and what a
 * debugger steps through. r1 to r5 are 0 after a call, r6 to r9 are the caller's again; a function begins with r1 to r5
 * and all else 0, and so does a program after a tail call, with the context in r1.
 * @throws RingwayError `BAD_PROGRAM` on what no verified program has: an unknown opcode or helper, a way out of the code.
 */
export function interpret(execution: Execution): Outcome {
  return new Interpreter(execution).run();
}

class Interpreter {
  readonly #execution: Execution;
  readonly #memory: ProgramMemory;
  readonly #frames: Frame[] = [];
  #frame: Frame;
  #tailCalls = 0;

  constructor(execution: Execution) {
    const { arena, context, checked = false, registers } = execution;
    this.#execution = execution;
    this.#memory = new ProgramMemory(arena, context, checked);
    this.#frame = this.#enter(execution, 0);
    this.#frame.registers[1] = registers?.r1 ?? BigInt(context);
    this.#frame.registers[2] = registers?.r2 ?? 0n;
  }

  /** A new frame on top of the others, registers 0 but for the frame pointer. */
  #enter(loaded: LoadedProgram, pc: number): Frame {
    const registers = new BigUint64Array(FRAME_POINTER + 1);
    this.#frame = { loaded, pc, registers };
    this.#frames.push(this.#frame);
    registers[FRAME_POINTER] = BigInt(this.#execution.context + CTX_STACK + this.#frames.length * FRAME_BYTES);
    return this.#frame;
  }

  run(): Outcome {
    const { fuel = FUEL, onStep } = this.#execution;
    this.#setWord(CTX_FAULT, 0);
    this.#setWord(CTX_TAIL_CALLS, 0);
    let steps = 0;
    while (this.#frames.length > 0) {
      const { loaded, pc, registers } = this.#frame;
      try {
        if (steps === fuel) throw new Fault(FAULT_FUEL, 0n);
        onStep?.({ pc, registers, program: loaded.program, depth: this.#frames.length - 1 });
        this.#frame.pc = pc + 1;
        this.#step(this.#instruction(pc), pc);
      } catch (error) {
        if (!(error instanceof Fault)) throw error;
        return this.#fail(error, pc, steps);
      }
      steps += 1;
    }
    this.#releaseLock();
    return { r0: this.#register(0), steps };
  }

  /** A program that ends with a lock held, by a fault or without, keeps nobody else waiting. */
  #releaseLock(): void {
    const { arena, context } = this.#execution;
    if (this.#memory.word(context + CTX_LOCK) !== 0) arena.kernels<LockKernels>().bpfReleaseLock(context);
  }

  #fail({ kind, address }: Fault, pc: number, steps: number): Outcome {
    this.#releaseLock();
    this.#setWord(CTX_FAULT, kind);
    this.#setWord(CTX_FAULT_PC, pc);
    this.#setWord(CTX_FAULT_ADDRESS, Number(BigInt.asUintN(32, address)));
    this.#setWord(CTX_FAULT_ADDRESS + 4, Number(address >> 32n));
    return { r0: BigInt(XDP_ABORTED), steps, fault: { kind, pc, address } };
  }

  #setWord(offset: number, value: number): void {
    this.#execution.arena.u32[(this.#execution.context + offset) >>> 2] = value;
  }

  #bad(pc: number, what: string): RingwayError {
    return new RingwayError('BAD_PROGRAM', `${placeOf(this.#frame.loaded.program, pc)}: ${what}`);
  }

  #instruction(pc: number): Instruction {
    const { code } = this.#frame.loaded.program;
    const found = code[pc];
    if (found === undefined) throw this.#bad(pc, `there are ${code.length} instructions; end each way with exit`);
    return found;
  }

  #register(number: number): bigint {
    return this.#frame.registers[number] ?? 0n;
  }

  /** The second operand, u64: a register, or the constant, extended by its sign. */
  #source({ opcode, src, imm }: Instruction): bigint {
    return (opcode & SOURCE_REGISTER) === 0 ? BigInt.asUintN(64, BigInt(imm)) : this.#register(src);
  }

  #step(instruction: Instruction, pc: number): void {
    switch (opcodeClass(instruction.opcode)) {
      case CLASS.ALU:
      case CLASS.ALU64:
        this.#arithmetic(instruction, pc);
        break;
      case CLASS.JMP:
      case CLASS.JMP32:
        this.#jump(instruction, pc);
        break;
      case CLASS.LD:
        this.#constant(instruction, pc);
        break;
      case CLASS.LDX:
        this.#load(instruction, pc);
        break;
      default:
        this.#store(instruction, pc);
    }
  }

  #arithmetic(instruction: Instruction, pc: number): void {
    const { opcode, dst, offset, imm } = instruction;
    const { registers } = this.#frame;
    const old = this.#register(dst);
    const is64 = opcodeClass(opcode) === CLASS.ALU64;
    if (operation(opcode) === ALU.END) {
      // Of ALU, the source bit says to big endian; ALU64 always swaps. To little endian only cuts off, here.
      const swaps = is64 || (opcode & SOURCE_REGISTER) !== 0;
      registers[dst] = swaps ? swapBytes(old, imm) : BigInt.asUintN(imm, old);
      return;
    }
    const result = arithmetic(is64 ? 64 : 32, operation(opcode), offset, old, this.#source(instruction));
    if (result === undefined) throw this.#unknown(instruction, pc);
    registers[dst] = result;
  }

  #unknown({ opcode, src, imm }: Instruction, pc: number): RingwayError {
    return this.#bad(pc, `opcode 0x${opcode.toString(16)} with src ${src}, imm ${imm} is no instruction`);
  }

  #constant({ opcode, dst, src }: Instruction, pc: number): void {
    const { program, maps } = this.#frame.loaded;
    if (opcode !== OP_LDDW) throw this.#bad(pc, `opcode 0x${opcode.toString(16)}: access to the packet by LD is gone`);
    let value = lddwConstant(program.code, pc);
    if (src === LDDW.MAP_INDEX || src === LDDW.MAP_INDEX_VALUE) {
      const number = addressOf(value);
      const map = maps[number];
      if (map === undefined) throw this.#bad(pc, `map ${number}, of ${maps.length}`);
      const offset = value >> 32n;
      value = BigInt(map);
      if (src === LDDW.MAP_INDEX_VALUE) value = BigInt(this.#memory.word(map + MAP_VALUES)) + offset;
    } else if (src !== LDDW.CONSTANT && src !== LDDW.FUNCTION) {
      throw this.#bad(pc, `LDDW of kind ${src}: only the loader knows those`);
    }
    this.#frame.registers[dst] = value;
    this.#frame.pc = pc + 2;
  }

  #load(instruction: Instruction, pc: number): void {
    const { opcode, dst, src, offset } = instruction;
    const mode = accessMode(opcode);
    const bytes = accessBytes(opcode);
    if (mode !== MODE.MEM && (mode !== MODE.MEMSX || bytes === 8)) throw this.#unknown(instruction, pc);
    const value = this.#memory.load(this.#pointer(src, offset), bytes);
    this.#frame.registers[dst] = mode === MODE.MEM ? value : BigInt.asIntN(bytes * 8, value);
  }

  #pointer(register: number, offset: number): bigint {
    return BigInt.asUintN(64, this.#register(register) + BigInt(offset));
  }

  #store(instruction: Instruction, pc: number): void {
    const { opcode, dst, src, offset, imm } = instruction;
    const isRegister = opcodeClass(opcode) === CLASS.STX;
    const bytes = accessBytes(opcode);
    const pointer = this.#pointer(dst, offset);
    if (accessMode(opcode) === MODE.MEM) {
      this.#memory.store(pointer, bytes, isRegister ? this.#register(src) : BigInt(imm));
      return;
    }
    if (accessMode(opcode) !== MODE.ATOMIC || !isRegister || bytes < 4) throw this.#unknown(instruction, pc);
    const old = this.#memory.atomic(pointer, bytes, imm, this.#register(src), this.#register(0));
    if (old === undefined) throw this.#unknown(instruction, pc);
    if (imm === ATOMIC.CMPXCHG) this.#frame.registers[0] = old;
    else if ((imm & ATOMIC.FETCH) !== 0) this.#frame.registers[src] = old;
  }

  #jump(instruction: Instruction, pc: number): void {
    const { opcode, dst, src, imm } = instruction;
    if (opcode === OP_EXIT) this.#leave();
    else if (opcode === OP_CALLX) this.#callByNumber(this.#register(dst), pc);
    else if (opcode === OP_CALL && src === CALL_HELPER) this.#callHelper(imm, pc);
    else if (opcode === OP_CALL && src === CALL_LOCAL) this.#callLocal(pc + 1 + imm);
    else if (opcode === OP_JA || opcode === OP_JA32) this.#frame.pc = jumpTarget(instruction, pc);
    else this.#branch(instruction, pc);
  }

  #branch(instruction: Instruction, pc: number): void {
    const { opcode, dst } = instruction;
    const bits = opcodeClass(opcode) === CLASS.JMP32 ? 32 : 64;
    const taken = isConditional(opcode)
      ? condition(bits, operation(opcode), this.#register(dst), this.#source(instruction))
      : undefined;
    if (taken === undefined) throw this.#unknown(instruction, pc);
    if (taken) this.#frame.pc = jumpTarget(instruction, pc);
  }

  #callLocal(target: number): void {
    if (this.#frames.length === FRAMES_MAX) throw new Fault(FAULT_STACK, 0n);
    const { loaded, registers } = this.#frame;
    this.#enter(loaded, target).registers.set(registers.subarray(1, 6), 1);
  }

  #leave(): void {
    const result = this.#register(0);
    this.#frames.pop();
    const caller = this.#frames.at(-1);
    if (caller === undefined) return;
    caller.registers.fill(0n, 1, 6);
    caller.registers[0] = result;
    this.#frame = caller;
  }

  /** Which helper it is nobody could know before, so that there is none is a fault of this run. */
  #callByNumber(number: bigint, pc: number): void {
    const id = Number(number);
    if (HELPERS.get(id)?.kernel === undefined) throw new Fault(FAULT_HELPER, number);
    this.#callHelper(id, pc);
  }

  #callHelper(id: number, pc: number): void {
    const { arena, context, checked = false } = this.#execution;
    const { loaded, registers } = this.#frame;
    const helper = helperOf(id, loaded.program, pc);
    if (checked) checkArguments(helper.args, registers, loaded, this.#memory, context);
    if (id !== HELPER_TAIL_CALL) registers[0] = callHelper(helper, registers, arena, context, loaded.program, pc);
    else if (this.#tailCall(checked)) return;
    if (checked && helper.mayEnd === true && this.#register(0) !== 0n) throw new Fault(FAULT_LOCK, this.#register(1));
    registers.fill(0n, 1, 6);
  }

  /** Goes on in another program, in the same frame; or returns false, with r0 as it is, when there is none. */
  #tailCall(checked: boolean): boolean {
    const map = addressOf(this.#register(2));
    const index = addressOf(this.#register(3));
    const memory = this.#memory;
    if (checked && memory.word(map + MAP_KIND) !== KIND_PROG_ARRAY) throw new Fault(FAULT_MAP, this.#register(2));
    if (index >= memory.word(map + MAP_MAX_ENTRIES) || this.#tailCalls === TAIL_CALLS_MAX) return false;
    const number = memory.word(memory.word(map + MAP_VALUES) + index * memory.word(map + MAP_STRIDE));
    const target = number === 0 ? undefined : this.#execution.programs?.(number);
    if (target === undefined) return false;
    this.#tailCalls += 1;
    this.#setWord(CTX_TAIL_CALLS, this.#tailCalls);
    this.#frame.loaded = target;
    this.#frame.pc = 0;
    this.#frame.registers.fill(0n, 0, FRAME_POINTER);
    this.#frame.registers[1] = BigInt(this.#execution.context);
    return true;
  }
}
