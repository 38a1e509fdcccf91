import { ATOMIC, accessBytes, accessMode, CLASS, type Instruction, MODE, opcodeClass } from '../instruction.ts';
import {
  CTX_BYTES,
  CTX_DATA,
  CTX_DATA_END,
  CTX_DATA_META,
  CTX_MD_BYTES,
  CTX_STACK,
  FAULT_ALIGNMENT,
  FRAME_BYTES,
} from '../layout.ts';
import { ATOMIC_OP, OP } from './encoder.ts';
import type { Kind } from './kinds.ts';
import type { Writer } from './writer.ts';

const LOADS: Readonly<Record<number, number>> = {
  1: OP.I64_LOAD8_U,
  2: OP.I64_LOAD16_U,
  4: OP.I64_LOAD32_U,
  8: OP.I64_LOAD,
};
const SIGNED_LOADS: Readonly<Record<number, number>> = { 1: OP.I64_LOAD8_S, 2: OP.I64_LOAD16_S, 4: OP.I64_LOAD32_S };
const STORES: Readonly<Record<number, number>> = {
  1: OP.I64_STORE8,
  2: OP.I64_STORE16,
  4: OP.I64_STORE32,
  8: OP.I64_STORE,
};

const SIGN_EXTENSIONS: Readonly<Record<number, number>> = {
  1: OP.I64_EXTEND8_S,
  2: OP.I64_EXTEND16_S,
  4: OP.I64_EXTEND32_S,
};

/** By the operation of an atomic without FETCH: on 64 bits, on 32. */
const ATOMICS: ReadonlyMap<number, readonly [number, number]> = new Map([
  [ATOMIC.ADD, [ATOMIC_OP.ADD64, ATOMIC_OP.ADD32]],
  [ATOMIC.OR, [ATOMIC_OP.OR64, ATOMIC_OP.OR32]],
  [ATOMIC.AND, [ATOMIC_OP.AND64, ATOMIC_OP.AND32]],
  [ATOMIC.XOR, [ATOMIC_OP.XOR64, ATOMIC_OP.XOR32]],
  [ATOMIC.XCHG & ~ATOMIC.FETCH, [ATOMIC_OP.XCHG64, ATOMIC_OP.XCHG32]],
  [ATOMIC.CMPXCHG & ~ATOMIC.FETCH, [ATOMIC_OP.CMPXCHG64, ATOMIC_OP.CMPXCHG32]],
]);

/** What is certain about the `bytes` at an address of this kind: they are there and may be accessed so. */
function isCertain(writer: Writer, kind: Kind, offset: number, bytes: number, isWrite: boolean): boolean {
  if (kind.tag === 'stack') {
    const at = kind.offset + offset;
    return at >= -FRAME_BYTES && at + bytes <= 0;
  }
  if (kind.tag === 'context') return !isWrite && offset >= 0 && offset + bytes <= CTX_MD_BYTES;
  const hasPlace = kind.tag === 'packet' || kind.tag === 'value' || kind.tag === 'global';
  if (!hasPlace || kind.offset === undefined || (kind.tag === 'value' && kind.mayBeNull === true)) return false;
  const from = kind.offset + offset;
  const to = from + (kind.spread ?? 0) + bytes;
  if (kind.tag === 'packet') return from >= 0 && to <= (writer.state?.packetBytes ?? 0);
  const map = writer.module.maps[kind.map];
  // A map of programs or of other maps has an address, and nothing there that a program may touch.
  if (map === undefined || map.reachableBytes === 0 || (isWrite && !map.isWritable)) return false;
  return from >= 0 && to <= map.valueBytes;
}

/** Puts the address `register + offset` on the stack, as it is. Returns what the access itself is to add. */
function getAddress(writer: Writer, register: number, offset: number): number {
  writer.getLow(register);
  if (offset >= 0) return offset;
  writer.code.i32(offset).op(OP.I32_ADD);
  return 0;
}

/** Puts a certain address on the stack. Returns what is to be added to it, by the access itself. */
function getCertain(writer: Writer, kind: Kind, register: number, offset: number): number {
  if (kind.tag === 'stack') {
    writer.getFrameStart();
    return FRAME_BYTES + kind.offset + offset;
  }
  if (kind.tag === 'global' && kind.spread === undefined) {
    writer.code.i32(((writer.module.maps[kind.map]?.values ?? 0) + kind.offset + offset) | 0);
    return 0;
  }
  if (kind.tag !== 'context') return getAddress(writer, register, offset);
  writer.code.get(writer.locals.context);
  writer.usesContext = true;
  return offset;
}

/**
 * Puts a test on the stack that is 1 when the address in `writer.address` lies where its kind says. Returns false, and
 * puts nothing there, when nothing so long can lie there.
 */
function testHint(writer: Writer, kind: Kind, bytes: number, isWrite: boolean): boolean {
  const { code } = writer;
  if (kind.tag === 'frame' || kind.tag === 'stack') {
    if (bytes > CTX_BYTES - CTX_STACK) return false;
    code.get(writer.address).get(writer.locals.context).i32(CTX_STACK).op(OP.I32_ADD, OP.I64_EXTEND_I32_U);
    code
      .op(OP.I64_SUB)
      .i64(BigInt(CTX_BYTES - CTX_STACK - bytes + 1))
      .op(OP.I64_LT_U);
    return true;
  }
  if (kind.tag === 'value' || kind.tag === 'global') {
    const map = writer.module.maps[kind.map];
    if (map === undefined || map.reachableBytes < bytes || (isWrite && !map.isWritable)) return false;
    code.get(writer.address).i64(BigInt(map.values)).op(OP.I64_SUB);
    code.i64(BigInt(map.reachableBytes - bytes + 1)).op(OP.I64_LT_U);
    return true;
  }
  writer.isInPacket(bytes);
  return true;
}

/** True when an address can only be where its kind says: a program that the kernel takes has none elsewhere. */
function isSure(kind: Kind): boolean {
  const hasPlace = kind.tag === 'packet' || kind.tag === 'frame' || kind.tag === 'stack' || kind.tag === 'value';
  return (hasPlace || kind.tag === 'global') && !('maybe' in kind && kind.maybe === true);
}

/** Ends the program unless it may reach the `bytes` at the address in `writer.address`. */
export function writeCheck(writer: Writer, kind: Kind, bytes: number, isWrite: boolean, pc: number): void {
  const { code, module, locals } = writer;
  if (isSure(kind)) {
    // Nowhere else, even when nothing may lie there: what is known of the stack counts on it. No call is in the way of what
    // is in registers.
    if (testHint(writer, kind, bytes, isWrite)) code.op(OP.I32_EQZ);
    else code.i32(1);
    writer.if();
    writer.fault(pc);
    writer.end();
    return;
  }
  writer.block();
  if (testHint(writer, kind, bytes, isWrite)) writer.brIf(0);
  writer.usesContext = true;
  code
    .get(locals.context)
    .get(writer.address)
    .i64(BigInt(bytes))
    .i32(isWrite ? 1 : 0);
  code.call(module.kernels.get('bpfReach') as number);
  writer.brIf(0);
  writer.fault(pc);
  writer.end();
}

/**
 * Puts the address `register + offset` on the stack, checked when it must be. Returns what the access itself is to add.
 * @param bytes that are accessed there.
 */
export function writeAddress(
  writer: Writer,
  register: number,
  offset: number,
  bytes: number,
  isWrite: boolean,
  pc: number,
): number {
  const { code } = writer;
  const kind: Kind = writer.state?.of(register) ?? { tag: 'unknown' };
  if (isCertain(writer, kind, offset, bytes, isWrite)) return getCertain(writer, kind, register, offset);
  if (writer.isChecked(pc)) {
    writer.getRegister(register);
    if (offset !== 0) code.i64(BigInt(offset)).op(OP.I64_ADD);
    code.set(writer.address);
    writeCheck(writer, kind, bytes, isWrite, pc);
    code.get(writer.address).op(OP.I32_WRAP_I64);
    return 0;
  }
  if (!isSure(kind)) writer.usesContext = true;
  return getAddress(writer, register, offset);
}

/** The local that stands for the place on the stack that is accessed so, when one does. */
function placeOf(writer: Writer, register: number, offset: number, bytes: number): number | undefined {
  const kind = writer.state?.of(register);
  if (kind?.tag !== 'stack') return undefined;
  const place = writer.places.get(kind.offset + offset);
  return place === undefined || place.bytes !== bytes ? undefined : place.local;
}

/** Loads from a local that holds the low bytes of what was stored there. */
function writePlaceLoad(writer: Writer, { opcode, dst }: Instruction, local: number): void {
  const { code } = writer;
  const bytes = accessBytes(opcode);
  code.get(local);
  if (accessMode(opcode) === MODE.MEMSX) code.op(SIGN_EXTENSIONS[bytes] as number);
  code.set(writer.register(dst));
}

/** Stores into such a local. */
function writePlaceStore(writer: Writer, { opcode, src, imm }: Instruction, local: number): void {
  const { code } = writer;
  const bytes = accessBytes(opcode);
  const bits = BigInt(bytes * 8);
  if (opcodeClass(opcode) === CLASS.ST) {
    code.i64(BigInt.asUintN(Number(bits), BigInt(imm))).set(local);
    return;
  }
  if (bytes === 4) {
    writer.getLow(src);
    code.op(OP.I64_EXTEND_I32_U);
  } else {
    writer.getRegister(src);
    if (bytes < 4) code.i64((1n << bits) - 1n).op(OP.I64_AND);
  }
  code.set(local);
}

function writeLoad(writer: Writer, instruction: Instruction, pc: number): void {
  const { code } = writer;
  const { opcode, dst, src, offset } = instruction;
  const bytes = accessBytes(opcode);
  const kind = writer.state?.of(src);
  if (kind?.tag === 'context' && bytes === 4 && accessMode(opcode) === MODE.MEM) {
    const local = { [CTX_DATA]: writer.data, [CTX_DATA_END]: writer.dataEnd, [CTX_DATA_META]: writer.dataMeta }[offset];
    if (local !== undefined) {
      writer.usesPacket = true;
      code.get(local).op(OP.I64_EXTEND_I32_U).set(writer.register(dst));
      return;
    }
  }
  const place = placeOf(writer, src, offset, bytes);
  if (place !== undefined) {
    writePlaceLoad(writer, instruction, place);
    return;
  }
  const more = writeAddress(writer, src, offset, bytes, false, pc);
  const op = accessMode(opcode) === MODE.MEMSX ? SIGNED_LOADS[bytes] : LOADS[bytes];
  code.access(op as number, more).set(writer.register(dst));
}

function writeAtomic(writer: Writer, { opcode, dst, src, offset, imm }: Instruction, pc: number): void {
  const { code } = writer;
  const bytes = accessBytes(opcode);
  const is64 = bytes === 8;
  const kind = writer.state?.of(dst);
  let more = writeAddress(writer, dst, offset, bytes, true, pc);
  if (writer.isChecked(pc)) {
    // An atomic at an odd address would trap.
    if (more !== 0) code.i32(more).op(OP.I32_ADD);
    more = 0;
    const isAligned = kind?.tag === 'stack' && (kind.offset + offset) % bytes === 0;
    if (!isAligned) {
      code
        .op(OP.I64_EXTEND_I32_U)
        .tee(writer.address)
        .op(OP.I32_WRAP_I64)
        .i32(bytes - 1)
        .op(OP.I32_AND);
      writer.if();
      writer.fault(pc, FAULT_ALIGNMENT);
      writer.end();
      code.get(writer.address).op(OP.I32_WRAP_I64);
    }
  }
  const ops = ATOMICS.get(imm & ~ATOMIC.FETCH) as readonly [number, number];
  const isExchange = imm === ATOMIC.CMPXCHG;
  if (isExchange) {
    // Compared are 32 bits of r0 only, zero-extended as what is there.
    if (is64) writer.getRegister(0);
    else {
      writer.getLow(0);
      code.op(OP.I64_EXTEND_I32_U);
    }
  }
  writer.getRegister(src);
  code.atomic(ops[is64 ? 0 : 1], is64 ? 3 : 2, more);
  if (isExchange) code.set(writer.register(0));
  else if (imm & ATOMIC.FETCH) code.set(writer.register(src));
  else code.op(OP.DROP);
}

/** Writes an instruction of class LDX, ST or STX. */
export function writeAccess(writer: Writer, instruction: Instruction, pc: number): void {
  const { opcode, dst, src, offset, imm } = instruction;
  const kind = opcodeClass(opcode);
  if (kind === CLASS.LDX) {
    writeLoad(writer, instruction, pc);
    return;
  }
  if (kind === CLASS.STX && accessMode(opcode) === MODE.ATOMIC) {
    writeAtomic(writer, instruction, pc);
    return;
  }
  const bytes = accessBytes(opcode);
  const place = placeOf(writer, dst, offset, bytes);
  if (place !== undefined) {
    writePlaceStore(writer, instruction, place);
    return;
  }
  const more = writeAddress(writer, dst, offset, bytes, true, pc);
  if (kind === CLASS.STX) writer.getRegister(src);
  else writer.code.i64(BigInt(imm));
  writer.code.access(STORES[bytes] as number, more);
}
