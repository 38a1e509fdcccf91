import { ALU, CLASS, type Instruction, JMP, opcodeClass, operation, SOURCE_REGISTER } from '../instruction.ts';
import { OP, VALUE } from './encoder.ts';
import type { Writer } from './writer.ts';

/** The WebAssembly instructions of 64 and of 32 bits that do what an operation says, operands as they are. */
const PLAIN: ReadonlyMap<number, readonly [number, number]> = new Map([
  [ALU.ADD, [OP.I64_ADD, OP.I32_ADD]],
  [ALU.SUB, [OP.I64_SUB, OP.I32_SUB]],
  [ALU.MUL, [OP.I64_MUL, OP.I32_MUL]],
  [ALU.OR, [OP.I64_OR, OP.I32_OR]],
  [ALU.AND, [OP.I64_AND, OP.I32_AND]],
  [ALU.XOR, [OP.I64_XOR, OP.I32_XOR]],
  // Both take the count modulo 64 or 32.
  [ALU.LSH, [OP.I64_SHL, OP.I32_SHL]],
  [ALU.RSH, [OP.I64_SHR_U, OP.I32_SHR_U]],
  [ALU.ARSH, [OP.I64_SHR_S, OP.I32_SHR_S]],
]);

/** Unsigned, then signed; 64 bits, then 32. */
const DIVISIONS = {
  [ALU.DIV]: [
    [OP.I64_DIV_U, OP.I32_DIV_U],
    [OP.I64_DIV_S, OP.I32_DIV_S],
  ],
  [ALU.MOD]: [
    [OP.I64_REM_U, OP.I32_REM_U],
    [OP.I64_REM_S, OP.I32_REM_S],
  ],
} as const;

const CONDITIONS: ReadonlyMap<number, readonly [number, number]> = new Map([
  [JMP.JEQ, [OP.I64_EQ, OP.I32_EQ]],
  [JMP.JNE, [OP.I64_NE, OP.I32_NE]],
  [JMP.JGT, [OP.I64_GT_U, OP.I32_GT_U]],
  [JMP.JGE, [OP.I64_GE_U, OP.I32_GE_U]],
  [JMP.JLT, [OP.I64_LT_U, OP.I32_LT_U]],
  [JMP.JLE, [OP.I64_LE_U, OP.I32_LE_U]],
  [JMP.JSGT, [OP.I64_GT_S, OP.I32_GT_S]],
  [JMP.JSGE, [OP.I64_GE_S, OP.I32_GE_S]],
  [JMP.JSLT, [OP.I64_LT_S, OP.I32_LT_S]],
  [JMP.JSLE, [OP.I64_LE_S, OP.I32_LE_S]],
]);

/** Puts a register, or its low half, on the stack. */
function get(writer: Writer, register: number, is64: boolean): void {
  if (is64) writer.getRegister(register);
  else writer.getLow(register);
}

/** Puts the second operand on the stack: a register, or `imm` with its sign extended. */
function getSource(writer: Writer, { opcode, src, imm }: Instruction, is64: boolean): void {
  if (opcode & SOURCE_REGISTER) get(writer, src, is64);
  else if (is64) writer.code.i64(BigInt(imm));
  else writer.code.i32(imm);
}

function constant(writer: Writer, value: number, is64: boolean): void {
  if (is64) writer.code.i64(BigInt(value));
  else writer.code.i32(value);
}

/** Stores the result in dst; one of 32 bits with its upper half zero. */
function setResult(writer: Writer, dst: number, is64: boolean): void {
  if (!is64) writer.code.op(OP.I64_EXTEND_I32_U);
  writer.code.set(writer.register(dst));
}

/** Division and remainder, where WebAssembly traps and eBPF does not: by 0, and of the lowest number by -1. */
function writeDivision(writer: Writer, instruction: Instruction, is64: boolean): void {
  const { code } = writer;
  const { opcode, dst, imm, offset } = instruction;
  const what = operation(opcode) as typeof ALU.DIV | typeof ALU.MOD;
  const isSigned = offset === 1;
  const index = is64 ? 0 : 1;
  const op = DIVISIONS[what][isSigned ? 1 : 0][index];
  const isConstant = (opcode & SOURCE_REGISTER) === 0;
  if (isConstant && imm !== 0 && !(isSigned && imm === -1)) {
    get(writer, dst, is64);
    constant(writer, imm, is64);
    code.op(op);
    setResult(writer, dst, is64);
    return;
  }
  const type = is64 ? VALUE.I64 : VALUE.I32;
  getSource(writer, instruction, is64);
  code.op(is64 ? OP.I64_EQZ : OP.I32_EQZ);
  writer.if(type);
  // By 0: 0, and what was there.
  if (what === ALU.DIV) constant(writer, 0, is64);
  else get(writer, dst, is64);
  writer.else();
  if (isSigned) {
    getSource(writer, instruction, is64);
    constant(writer, -1, is64);
    code.op(is64 ? OP.I64_EQ : OP.I32_EQ);
    writer.if(type);
    constant(writer, 0, is64);
    if (what === ALU.DIV) {
      get(writer, dst, is64);
      code.op(is64 ? OP.I64_SUB : OP.I32_SUB);
    }
    writer.else();
  }
  get(writer, dst, is64);
  getSource(writer, instruction, is64);
  code.op(op);
  if (isSigned) writer.end();
  writer.end();
  setResult(writer, dst, is64);
}

/** Swaps the bytes of the i64 in dst's low `bits` bits, and leaves the i64 on the stack: zero above. */
function writeSwap(writer: Writer, dst: number, bits: number): void {
  const { code } = writer;
  const register = writer.register(dst);
  if (bits === 64) {
    // Bytes within halves of 16 bits, those within 32, then the halves.
    code.get(register).i64(8n).op(OP.I64_SHR_U).i64(0x00ff00ff00ff00ffn).op(OP.I64_AND);
    code.get(register).i64(0x00ff00ff00ff00ffn).op(OP.I64_AND).i64(8n).op(OP.I64_SHL, OP.I64_OR).set(register);
    code.get(register).i64(16n).op(OP.I64_SHR_U).i64(0x0000ffff0000ffffn).op(OP.I64_AND);
    code.get(register).i64(0x0000ffff0000ffffn).op(OP.I64_AND).i64(16n).op(OP.I64_SHL, OP.I64_OR);
    code.i64(32n).op(OP.I64_ROTL);
    return;
  }
  code.get(register).op(OP.I32_WRAP_I64);
  if (bits === 32) {
    code.i32(8).op(OP.I32_ROTL).i32(0x00ff00ff).op(OP.I32_AND);
    code
      .get(register)
      .op(OP.I32_WRAP_I64)
      .i32(24)
      .op(OP.I32_ROTL)
      .i32(0xff00ff00 | 0)
      .op(OP.I32_AND, OP.I32_OR);
  } else {
    code.i32(8).op(OP.I32_SHR_U).i32(0xff).op(OP.I32_AND);
    code.get(register).op(OP.I32_WRAP_I64).i32(0xff).op(OP.I32_AND).i32(8).op(OP.I32_SHL, OP.I32_OR);
  }
  code.op(OP.I64_EXTEND_I32_U);
}

/** END: to little endian (which it is), to big endian, or swapped whatever it is (version 4). */
function writeEnd(writer: Writer, { opcode, dst, imm }: Instruction): void {
  const { code } = writer;
  const swaps = opcodeClass(opcode) === CLASS.ALU64 || (opcode & SOURCE_REGISTER) !== 0;
  if (swaps) {
    writeSwap(writer, dst, imm);
  } else {
    writer.getRegister(dst);
    if (imm === 16) code.i64(0xffffn).op(OP.I64_AND);
    if (imm === 32) code.i64(0xffffffffn).op(OP.I64_AND);
  }
  code.set(writer.register(dst));
}

/** MOV, with sign extension from 8, 16 or 32 bits when `offset` says so (version 4). */
function writeMove(writer: Writer, instruction: Instruction, is64: boolean): void {
  const { code } = writer;
  const { dst, imm, opcode, offset } = instruction;
  if ((opcode & SOURCE_REGISTER) === 0) {
    code.i64(is64 ? BigInt(imm) : BigInt(imm >>> 0)).set(writer.register(dst));
    return;
  }
  getSource(writer, instruction, is64);
  if (offset === 8) code.op(is64 ? OP.I64_EXTEND8_S : OP.I32_EXTEND8_S);
  if (offset === 16) code.op(is64 ? OP.I64_EXTEND16_S : OP.I32_EXTEND16_S);
  if (offset === 32) code.op(OP.I64_EXTEND32_S);
  setResult(writer, dst, is64);
}

/** Writes an instruction of class ALU or ALU64. */
export function writeAlu(writer: Writer, instruction: Instruction): void {
  const { opcode, dst } = instruction;
  const is64 = opcodeClass(opcode) === CLASS.ALU64;
  const what = operation(opcode);
  const plain = PLAIN.get(what);
  if (plain !== undefined) {
    get(writer, dst, is64);
    getSource(writer, instruction, is64);
    writer.code.op(plain[is64 ? 0 : 1]);
    setResult(writer, dst, is64);
  } else if (what === ALU.DIV || what === ALU.MOD) {
    writeDivision(writer, instruction, is64);
  } else if (what === ALU.NEG) {
    constant(writer, 0, is64);
    get(writer, dst, is64);
    writer.code.op(is64 ? OP.I64_SUB : OP.I32_SUB);
    setResult(writer, dst, is64);
  } else if (what === ALU.MOV) {
    writeMove(writer, instruction, is64);
  } else {
    writeEnd(writer, instruction);
  }
}

/** Puts the condition of a jump on the stack, as an i32 that is not 0 when it is taken. */
export function writeCondition(writer: Writer, instruction: Instruction): void {
  const { opcode, dst } = instruction;
  const is64 = opcodeClass(opcode) === CLASS.JMP;
  const pair = CONDITIONS.get(operation(opcode));
  get(writer, dst, is64);
  getSource(writer, instruction, is64);
  if (pair !== undefined) {
    writer.code.op(pair[is64 ? 0 : 1]);
  } else {
    // JSET: some bit of both.
    writer.code.op(is64 ? OP.I64_AND : OP.I32_AND);
    constant(writer, 0, is64);
    writer.code.op(is64 ? OP.I64_NE : OP.I32_NE);
  }
}
