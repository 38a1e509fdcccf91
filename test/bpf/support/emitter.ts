import {
  ATOMIC,
  CALL_HELPER,
  CALL_LOCAL,
  CLASS,
  type Instruction,
  JMP,
  LDDW,
  MODE,
  OP_CALL,
  OP_EXIT,
  OP_JA,
  OP_JA32,
  OP_LDDW,
  SIZE,
  SOURCE_REGISTER,
} from '#build/bpf/instruction.js';

/** A place in the code that jumps and calls may name before it is known. */
export interface Label {
  at: number | undefined;
}

/** A register, or a constant. */
export type Operand = { readonly register: number } | { readonly imm: number };

const SIZES: Readonly<Record<number, number>> = { 1: SIZE.B, 2: SIZE.H, 4: SIZE.W, 8: SIZE.DW };

/** Writes instructions one behind the other. */
export class Emitter {
  readonly #code: Instruction[] = [];
  readonly #uses: { readonly pc: number; readonly label: Label }[] = [];

  get length(): number {
    return this.#code.length;
  }

  emit(opcode: number, dst: number, src: number, offset: number, imm: number): void {
    this.#code.push({ opcode, dst, src, offset, imm: imm | 0 });
  }

  label(): Label {
    return { at: undefined };
  }

  bind(label: Label): void {
    label.at = this.#code.length;
  }

  /** Some instruction leads there. */
  isUsed(label: Label): boolean {
    return this.#uses.some((use) => use.label === label);
  }

  #refer(label: Label): void {
    this.#uses.push({ pc: this.#code.length, label });
  }

  /** `operation` of ALU.…; `offset` 1 for signed division, 8 to 32 for moves that extend the sign. */
  alu(operation: number, dst: number, operand: Operand, wide = true, offset = 0): void {
    const kind = wide ? CLASS.ALU64 : CLASS.ALU;
    if ('imm' in operand) this.emit(operation | kind, dst, 0, offset, operand.imm);
    else this.emit(operation | kind | SOURCE_REGISTER, dst, operand.register, offset, 0);
  }

  move(dst: number, register: number): void {
    this.emit(0xbf, dst, register, 0, 0);
  }

  set(dst: number, imm: number): void {
    this.emit(0xb7, dst, 0, 0, imm);
  }

  constant(dst: number, value: bigint): void {
    this.#pair(dst, LDDW.CONSTANT, Number(BigInt.asIntN(32, value)), Number(BigInt.asIntN(32, value >> 32n)));
  }

  map(dst: number, number: number): void {
    this.#pair(dst, LDDW.MAP_INDEX, number, 0);
  }

  mapValue(dst: number, number: number, offset: number): void {
    this.#pair(dst, LDDW.MAP_INDEX_VALUE, number, offset);
  }

  #pair(dst: number, src: number, low: number, high: number): void {
    this.emit(OP_LDDW, dst, src, 0, low);
    this.emit(0, 0, 0, 0, high);
  }

  /** The address of a function, for bpf_loop. */
  function(dst: number, label: Label): void {
    this.#refer(label);
    this.#pair(dst, LDDW.FUNCTION, 0, 0);
  }

  load(bytes: number, dst: number, base: number, offset: number, signed = false): void {
    this.emit((signed ? MODE.MEMSX : MODE.MEM) | (SIZES[bytes] as number) | CLASS.LDX, dst, base, offset, 0);
  }

  store(bytes: number, base: number, offset: number, operand: Operand): void {
    const mode = MODE.MEM | (SIZES[bytes] as number);
    if ('imm' in operand) this.emit(mode | CLASS.ST, base, 0, offset, operand.imm);
    else this.emit(mode | CLASS.STX, base, operand.register, offset, 0);
  }

  /** `operation` of ATOMIC.…, with or without FETCH. */
  atomic(bytes: number, operation: number, base: number, offset: number, src: number): void {
    this.emit(MODE.ATOMIC | (SIZES[bytes] as number) | CLASS.STX, base, src, offset, operation);
  }

  /** `condition` of JMP.…. */
  jump(condition: number, dst: number, operand: Operand, label: Label, wide = true): void {
    this.#refer(label);
    const kind = wide ? CLASS.JMP : CLASS.JMP32;
    if ('imm' in operand) this.emit(condition | kind, dst, 0, 0, operand.imm);
    else this.emit(condition | kind | SOURCE_REGISTER, dst, operand.register, 0, 0);
  }

  /** `far`: the jump that has its distance in `imm`. */
  go(label: Label, far = false): void {
    this.#refer(label);
    this.emit(far ? OP_JA32 : OP_JA, 0, 0, 0, 0);
  }

  call(helper: number): void {
    this.emit(OP_CALL, 0, CALL_HELPER, 0, helper);
  }

  callLocal(label: Label): void {
    this.#refer(label);
    this.emit(OP_CALL, 0, CALL_LOCAL, 0, 0);
  }

  exit(): void {
    this.emit(OP_EXIT, 0, 0, 0, 0);
  }

  /** The code, with every label in its place. */
  finish(): Instruction[] {
    for (const { pc, label } of this.#uses) {
      const instruction = this.#code[pc] as Instruction;
      const distance = (label.at as number) - pc - 1;
      const inImm = [OP_JA32, OP_CALL, OP_LDDW].includes(instruction.opcode);
      this.#code[pc] = inImm ? { ...instruction, imm: distance } : { ...instruction, offset: distance };
    }
    return this.#code;
  }
}

/** Atomics that there are, with and without FETCH. */
export const ATOMICS: readonly number[] = [
  ...[ATOMIC.ADD, ATOMIC.OR, ATOMIC.AND, ATOMIC.XOR].flatMap((what) => [what, what | ATOMIC.FETCH]),
  ATOMIC.XCHG,
  ATOMIC.CMPXCHG,
];

/** Conditions that there are. */
export const CONDITIONS: readonly number[] = [
  JMP.JEQ,
  JMP.JNE,
  JMP.JSET,
  JMP.JGT,
  JMP.JGE,
  JMP.JLT,
  JMP.JLE,
  JMP.JSGT,
  JMP.JSGE,
  JMP.JSLT,
  JMP.JSLE,
];
