import {
  ALU,
  ATOMIC,
  accessBytes,
  accessMode,
  CALL_LOCAL,
  CLASS,
  type Instruction,
  jumpTarget,
  LDDW,
  lddwConstant,
  MODE,
  OP_CALL,
  OP_CALLX,
  OP_EXIT,
  OP_JA,
  OP_JA32,
  opcodeClass,
  operation,
  SOURCE_REGISTER,
} from '../instruction.ts';
import { FRAMES_MAX, KIND_ARRAY } from '../layout.ts';
import type { Program } from '../program.ts';
import { type Access, checkAccess, loadFrom, storeTo } from './access.ts';
import { immediate, scalarArithmetic, scalarByteOrder, scalarMove } from './arithmetic.ts';
import { branch } from './branch.ts';
import { registerText } from './describe.ts';
import { callHelper, demandNoReferences } from './helper-call.ts';
import { callLoop, endRound } from './loop.ts';
import { pointerArithmetic } from './pointer.ts';
import { type Operand, Refusal } from './refusal.ts';
import { constantRegister, Register, scalarRegister, UNINITIALISED } from './register.ts';
import { isConstant, signExtend, UNKNOWN, unknownOf } from './scalar.ts';
import { demandUnlocked } from './spin-lock.ts';
import { createFrame, type Frame, type StackUsage, State } from './state.ts';

/** What became of a state by one instruction. */
export type Outcome =
  /** It goes on. */
  | { readonly kind: 'next' }
  /** The program ended. */
  | { readonly kind: 'end' }
  /** Two ways on, or one of them. */
  | { readonly kind: 'branch'; readonly taken: State | undefined; readonly passed: State | undefined };

const NEXT: Outcome = { kind: 'next' };
const END: Outcome = { kind: 'end' };

/** Does to a state what each instruction does to what is known. */
export class Stepper {
  readonly #program: Program;
  readonly #functionAt: ReadonlyMap<number, number>;
  /** By number of a function. */
  readonly usages: readonly StackUsage[];
  #lastId = 0;

  constructor(program: Program) {
    this.#program = program;
    this.usages = program.functions.map(() => ({ bytes: 0 }));
    this.#functionAt = new Map(program.functions.map(({ start }, index) => [start, index]));
  }

  /** The state that the program begins in. */
  start(): State {
    const frame = createFrame(this.usages[0] ?? { bytes: 0 }, -1, 0);
    frame.registers[1] = new Register({ type: 'context' });
    return new State(0, [frame], [], undefined);
  }

  #newId = (): number => ++this.#lastId;

  /**
   * Runs the instruction at the state's `pc`, which is changed.
   * @throws Refusal when it must not run.
   */
  step(state: State): Outcome {
    const instruction = this.#program.code[state.pc] as Instruction;
    switch (opcodeClass(instruction.opcode)) {
      case CLASS.ALU:
      case CLASS.ALU64:
        this.#arithmetic(state, instruction);
        break;
      case CLASS.JMP:
      case CLASS.JMP32:
        return this.#jump(state, instruction);
      case CLASS.LD:
        this.#constant(state, instruction);
        state.pc++;
        break;
      case CLASS.LDX:
        this.#load(state, instruction);
        break;
      default:
        this.#store(state, instruction);
    }
    state.pc++;
    return NEXT;
  }

  /** A register that is read. */
  #read(state: State, number: number): Operand {
    const register = state.register(number);
    if (register.type !== 'uninitialised') return { number, register };
    const isCleared = number >= 1 && number <= 5;
    const why = `r${number} is read, and nothing was written to it on this path.`;
    const calls = isCleared ? ' A call leaves nothing in r1 to r5.' : '';
    const missing = `Give it a value on every path that leads here: initialise the variable.${calls}`;
    throw new Refusal('uninitialised-register', why, missing, number);
  }

  #arithmetic(state: State, instruction: Instruction): void {
    const { opcode, dst, src, imm } = instruction;
    const bits = opcodeClass(opcode) === CLASS.ALU64 ? 64 : 32;
    const what = operation(opcode);
    const isUnary = what === ALU.NEG || what === ALU.END;
    const source: Operand =
      (opcode & SOURCE_REGISTER) === 0 || isUnary
        ? { number: src, register: scalarRegister(immediate(imm)) }
        : this.#read(state, src);
    if (what === ALU.MOV) {
      this.#move(state, instruction, source, bits);
      return;
    }
    const target = this.#read(state, dst);
    if (target.register.isPointer || source.register.isPointer) {
      state.setRegister(dst, pointerArithmetic(instruction, target, source, this.#newId));
      return;
    }
    const { scalar } = target.register;
    const result =
      what === ALU.END
        ? scalarByteOrder(instruction, scalar)
        : scalarArithmetic(what, bits, scalar, source.register.scalar);
    state.setRegister(dst, scalarRegister(result, target.register.origin, source.register.origin));
  }

  #move(state: State, { dst, src, offset, opcode }: Instruction, { register }: Operand, bits: 32 | 64): void {
    if (register.isPointer) {
      const isWhole = bits === 64 && offset === 0;
      state.setRegister(dst, isWhole ? register : scalarRegister(bits === 64 ? UNKNOWN : unknownOf(4)));
      return;
    }
    const moved = scalarMove(bits, offset, register.scalar);
    if (moved !== register.scalar) {
      state.setRegister(dst, scalarRegister(moved, register.origin));
      return;
    }
    const linked = this.#linked(register);
    if ((opcode & SOURCE_REGISTER) !== 0) state.setRegister(src, linked);
    state.setRegister(dst, linked);
  }

  /** A scalar with an id, so that what is learned of one copy is known of all. */
  #linked(register: Register): Register {
    const needsNone = register.type !== 'scalar' || register.id !== 0 || isConstant(register.scalar);
    return needsNone ? register : register.with({ id: this.#newId() });
  }

  #constant(state: State, { dst, src, imm }: Instruction): void {
    const { code, maps } = this.#program;
    if (src === LDDW.CONSTANT) {
      state.setRegister(dst, constantRegister(lddwConstant(code, state.pc)));
      return;
    }
    if (src === LDDW.FUNCTION) {
      state.setRegister(dst, new Register({ type: 'function' }));
      return;
    }
    const map = maps[imm];
    if (map === undefined) return;
    if (src === LDDW.MAP_INDEX) {
      state.setRegister(dst, new Register({ type: 'map', map }));
      return;
    }
    if (map.kind !== KIND_ARRAY || map.maxEntries !== 1) {
      const why = `the value of map ${map.name} is used by its address, and it is no array of one value.`;
      throw new Refusal('map-kind', why, 'Look its values up: `bpf_map_lookup_elem(&map, &key)`.', dst);
    }
    state.setRegister(dst, new Register({ type: 'map_value', map, offset: code[state.pc + 1]?.imm ?? 0 }));
  }

  #load(state: State, { opcode, dst, src, offset }: Instruction): void {
    const bytes = accessBytes(opcode);
    const access: Access = { pointer: { number: src, register: state.register(src) }, offset, bytes, write: false };
    checkAccess(access, this.#program.type);
    const loaded = loadFrom(state, access);
    if (accessMode(opcode) === MODE.MEMSX) {
      const isWhole = loaded.type === 'scalar';
      if (!isWhole) {
        const why = `r${dst} is loaded with the sign of ${bytes * 8} bits from where ${registerText(loaded, 0)} is.`;
        throw new Refusal('partial-pointer', why, 'Load addresses without a sign.', src);
      }
      state.setRegister(dst, scalarRegister(signExtend(loaded.scalar, bytes * 8), loaded.origin));
      return;
    }
    state.setRegister(dst, loaded);
  }

  #store(state: State, instruction: Instruction): void {
    const { opcode, dst, src, offset, imm } = instruction;
    const bytes = accessBytes(opcode);
    if (accessMode(opcode) === MODE.ATOMIC) {
      this.#atomic(state, instruction);
      return;
    }
    const isRegister = opcodeClass(opcode) === CLASS.STX;
    const read = isRegister ? this.#read(state, src) : { number: src, register: scalarRegister(immediate(imm)) };
    const access: Access = { pointer: { number: dst, register: state.register(dst) }, offset, bytes, write: true };
    checkAccess(access, this.#program.type);
    // What is put away is still the number that it was.
    const isLinked = isRegister && bytes === 8 && access.pointer.register.type === 'stack';
    const value = isLinked ? { ...read, register: this.#linked(read.register) } : read;
    if (isLinked && value.register !== read.register) state.setRegister(src, value.register);
    storeTo(state, access, value);
  }

  #atomic(state: State, { opcode, dst, src, offset, imm }: Instruction): void {
    const bytes = accessBytes(opcode);
    const value = this.#read(state, src);
    if (imm === ATOMIC.CMPXCHG) this.#read(state, 0);
    const pointer = { number: dst, register: state.register(dst) };
    const access: Access = { pointer, offset, bytes, write: true, isAtomic: true };
    checkAccess(access, this.#program.type);
    checkAccess({ ...access, write: false }, this.#program.type);
    const isStack = pointer.register.type === 'stack';
    const old = isStack ? loadFrom(state, { ...access, write: false }) : scalarRegister(unknownOf(bytes));
    storeTo(state, access, { number: value.number, register: scalarRegister(UNKNOWN) });
    const target = imm === ATOMIC.CMPXCHG ? 0 : src;
    if ((imm & ATOMIC.FETCH) !== 0) state.setRegister(target, old);
  }

  #jump(state: State, instruction: Instruction): Outcome {
    const { opcode, src, imm } = instruction;
    if (opcode === OP_EXIT) return this.#leave(state);
    if (opcode === OP_CALLX) {
      const why = `a helper is called by a number in r${instruction.dst}, so that nobody knows which.`;
      throw new Refusal('call', why, 'Call helpers by their names.', instruction.dst);
    }
    if (opcode === OP_CALL) {
      const call = this.#program.loops?.calls.get(state.pc);
      if (call !== undefined) return callLoop(state, call, this.#usageAt(call.callback), this.#newId);
      if (src === CALL_LOCAL) this.#callLocal(state, state.pc + 1 + imm);
      else this.#callHelper(state, imm);
      return NEXT;
    }
    if (opcode === OP_JA || opcode === OP_JA32) {
      state.pc = jumpTarget(instruction, state.pc);
      return NEXT;
    }
    const { taken, passed } = branch(state, instruction);
    const target = jumpTarget(instruction, state.pc);
    const { pc } = state;
    if (taken !== undefined) taken.pc = target;
    if (passed !== undefined) passed.pc = pc + 1;
    return { kind: 'branch', taken, passed };
  }

  #callHelper(state: State, id: number): void {
    callHelper(state, id, { pc: state.pc, type: this.#program.type, newId: this.#newId });
    state.pc++;
  }

  #usageAt(target: number): StackUsage {
    return this.usages[this.#functionAt.get(target) ?? 0] ?? { bytes: 0 };
  }

  #callLocal(state: State, target: number): void {
    demandUnlocked(state, 'a function is called');
    const usage = this.#usageAt(target);
    if (state.frames.length === FRAMES_MAX) {
      const why = `functions lie more than ${FRAMES_MAX} deep in each other.`;
      throw new Refusal('call', why, 'Inline some: `static __always_inline`.');
    }
    const frame = createFrame(usage, state.pc + 1, state.frames.length);
    for (let number = 1; number <= 5; number++) frame.registers[number] = state.register(number);
    state.frames.push(frame);
    state.pc = target;
  }

  #leave(state: State): Outcome {
    demandUnlocked(state, state.frames.length === 1 ? 'the program ends' : 'a function returns');
    if (state.frames.length === 1) {
      this.#read(state, 0);
      demandNoReferences(state, 'the program ends');
      return END;
    }
    const result = state.register(0);
    if (result.type === 'stack') {
      const why = 'a function returns the address of a stack in r0.';
      throw new Refusal('stack-escape', why, 'Let the caller have the variable, and pass its address.', 0);
    }
    const { returnPc, round } = state.frames.pop() as Frame;
    if (round !== undefined) {
      endRound(state, round, result);
      state.pc = returnPc;
      return NEXT;
    }
    for (let number = 1; number <= 5; number++) state.setRegister(number, UNINITIALISED);
    state.setRegister(0, result);
    state.pc = returnPc;
    return NEXT;
  }
}
