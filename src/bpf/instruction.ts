/**
 * An instruction of eBPF (RFC 9669, section 3), 8 bytes. LDDW takes two: the second has opcode 0 and the upper half of the
 * constant.
 */
export interface Instruction {
  readonly opcode: number;
  readonly dst: number;
  readonly src: number;
  /** Signed, 16 bits. */
  readonly offset: number;
  /** Signed, 32 bits. */
  readonly imm: number;
}

export const INSTRUCTION_BYTES = 8;

/** Low three bits of an opcode: its class. */
export const CLASS = { LD: 0, LDX: 1, ST: 2, STX: 3, ALU: 4, JMP: 5, JMP32: 6, ALU64: 7 } as const;
/** Bit 3 of arithmetic and jumps: the second operand is a register, not `imm`. */
export const SOURCE_REGISTER = 0x08;
/** High four bits of arithmetic. */
export const ALU = {
  ADD: 0x00,
  SUB: 0x10,
  MUL: 0x20,
  DIV: 0x30,
  OR: 0x40,
  AND: 0x50,
  LSH: 0x60,
  RSH: 0x70,
  NEG: 0x80,
  MOD: 0x90,
  XOR: 0xa0,
  MOV: 0xb0,
  ARSH: 0xc0,
  END: 0xd0,
} as const;
/** High four bits of jumps. */
export const JMP = {
  JA: 0x00,
  JEQ: 0x10,
  JGT: 0x20,
  JGE: 0x30,
  JSET: 0x40,
  JNE: 0x50,
  JSGT: 0x60,
  JSGE: 0x70,
  CALL: 0x80,
  EXIT: 0x90,
  JLT: 0xa0,
  JLE: 0xb0,
  JSLT: 0xc0,
  JSLE: 0xd0,
} as const;
/** Bits 3 and 4 of loads and stores. */
export const SIZE = { W: 0x00, H: 0x08, B: 0x10, DW: 0x18 } as const;
/** High three bits of loads and stores. */
export const MODE = { IMM: 0x00, ABS: 0x20, IND: 0x40, MEM: 0x60, MEMSX: 0x80, ATOMIC: 0xc0 } as const;
/** `imm` of an atomic: the operation, with FETCH when it gives the old value. */
export const ATOMIC = { ADD: 0x00, OR: 0x40, AND: 0x50, XOR: 0xa0, FETCH: 0x01, XCHG: 0xe1, CMPXCHG: 0xf1 } as const;

export const OP_LDDW = 0x18;
export const OP_CALL = 0x85;
/** Call of the helper whose number is in a register. */
export const OP_CALLX = 0x8d;
export const OP_EXIT = 0x95;
export const OP_JA = 0x05;
/** Version 4: its distance is in `imm`. */
export const OP_JA32 = 0x06;

/** `src` of a call: a helper, a function of the program, a kernel function. */
export const CALL_HELPER = 0;
export const CALL_LOCAL = 1;
export const CALL_KFUNC = 2;
/**
 * `src` of LDDW: a plain constant; a map by descriptor, and an offset in its one value; a variable; a function; a map
 * by its number in the program's list, and an offset in its one value. Linked programs have only constants, functions
 * and numbers.
 */
export const LDDW = {
  CONSTANT: 0,
  MAP_FD: 1,
  MAP_VALUE: 2,
  BTF_ID: 3,
  FUNCTION: 4,
  MAP_INDEX: 5,
  MAP_INDEX_VALUE: 6,
} as const;

export const opcodeClass = (opcode: number): number => opcode & 0x07;
export const operation = (opcode: number): number => opcode & 0xf0;
export const accessMode = (opcode: number): number => opcode & 0xe0;

/** Bytes that a load or store moves: 1, 2, 4 or 8. */
export function accessBytes(opcode: number): number {
  const size = opcode & 0x18;
  return size === SIZE.W ? 4 : size === SIZE.H ? 2 : size === SIZE.B ? 1 : 8;
}

/** True for jumps that may be taken or not; false for JA, calls and EXIT. */
export function isConditional(opcode: number): boolean {
  const kind = opcodeClass(opcode);
  if (kind !== CLASS.JMP && kind !== CLASS.JMP32) return false;
  const what = operation(opcode);
  return what !== JMP.JA && what !== JMP.CALL && what !== JMP.EXIT;
}

/** Where the jump at `pc` leads, when it is taken. */
export function jumpTarget({ opcode, offset, imm }: Instruction, pc: number): number {
  return pc + 1 + (opcode === OP_JA32 ? imm : offset);
}

/** The instructions in `bytes`, little endian. A rest of fewer than 8 bytes is left out. */
export function decodeInstructions(bytes: Uint8Array): Instruction[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Array.from({ length: Math.floor(bytes.length / INSTRUCTION_BYTES) }, (_, index) => {
    const at = index * INSTRUCTION_BYTES;
    const registers = view.getUint8(at + 1);
    return {
      opcode: view.getUint8(at),
      dst: registers & 15,
      src: registers >> 4,
      offset: view.getInt16(at + 2, true),
      imm: view.getInt32(at + 4, true),
    };
  });
}

/** The other way round. */
export function encodeInstructions(code: readonly Instruction[]): Uint8Array {
  const view = new DataView(new ArrayBuffer(code.length * INSTRUCTION_BYTES));
  for (const [index, { opcode, dst, src, offset, imm }] of code.entries()) {
    const at = index * INSTRUCTION_BYTES;
    view.setUint8(at, opcode);
    view.setUint8(at + 1, (src << 4) | dst);
    view.setInt16(at + 2, offset, true);
    view.setInt32(at + 4, imm, true);
  }
  return new Uint8Array(view.buffer);
}

/** The constant of the LDDW at `pc`. */
export function lddwConstant(code: readonly Instruction[], pc: number): bigint {
  const low = BigInt((code[pc]?.imm ?? 0) >>> 0);
  return (BigInt((code[pc + 1]?.imm ?? 0) >>> 0) << 32n) | low;
}
