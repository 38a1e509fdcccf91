import {
  HELPER_LOOKUP,
  HELPER_REDIRECT_MAP,
  HELPER_TAIL_CALL,
  HELPERS,
  type Helper,
  type HelperArgument,
} from '../helpers.ts';
import { CALL_LOCAL, type Instruction, OP_CALLX } from '../instruction.ts';
import {
  CTX_FAULT,
  CTX_TAIL_CALLS,
  FAULT_HELPER,
  FAULT_LOCK,
  FAULT_MAP,
  FAULT_MEMORY,
  FRAME_BYTES,
  KIND_PROG_ARRAY,
  MAP_KEY_BYTES,
  MAP_KIND,
  MAP_MAX_ENTRIES,
  MAP_STRIDE,
  MAP_VALUE_BYTES,
  MAP_VALUES,
  TAIL_CALLS_MAX,
} from '../layout.ts';
import { MISSING_FUNCTION, MISSING_TYPE } from '../verify.ts';
import { OP } from './encoder.ts';
import type { Kind } from './kinds.ts';
import { writeLookup } from './lookup.ts';
import { writeAddress } from './memory.ts';
import { writeRedirect } from './redirect.ts';
import type { MapConstants, Writer } from './writer.ts';

const kindOf = (writer: Writer, register: number): Kind => writer.state?.of(register) ?? { tag: 'unknown' };

/** The map that a register holds for certain. */
function mapOf(writer: Writer, register: number): MapConstants | undefined {
  const kind = kindOf(writer, register);
  return kind.tag === 'map' ? writer.module.maps[kind.map] : undefined;
}

/** Ends the program for `kind` unless the i32 on the stack is something. */
function faultUnless(writer: Writer, pc: number, kind: number): void {
  writer.code.op(OP.I32_EQZ);
  writer.if();
  writer.fault(pc, kind);
  writer.end();
}

/** Puts a map's address on the stack: a constant, or what the register holds, which must be a map of the program. */
function writeMap(writer: Writer, register: number, pc: number): void {
  const { code, module, locals } = writer;
  const map = mapOf(writer, register);
  if (map !== undefined) {
    code.i32(map.address | 0);
    return;
  }
  if (writer.isChecked(pc)) {
    code.get(locals.context);
    writer.getRegister(register);
    code.call(module.kernels.get('bpfReachMap') as number);
    writer.getRegister(register);
    code.set(writer.address);
    faultUnless(writer, pc, FAULT_MAP);
  }
  writer.getLow(register);
}

/** Puts the address of a key or a value on the stack, as long as the map in register `map` says. */
function writeItem(writer: Writer, register: number, map: number, isKey: boolean, pc: number): void {
  const { code, module, locals } = writer;
  const known = mapOf(writer, map);
  if (known !== undefined) {
    const bytes = isKey ? known.keyBytes : known.valueBytes;
    const more = writeAddress(writer, register, 0, bytes, false, pc);
    if (more !== 0) code.i32(more).op(OP.I32_ADD);
    return;
  }
  if (writer.isChecked(pc)) {
    code.get(locals.context);
    writer.getRegister(register);
    code.tee(writer.address);
    writer.getLow(map);
    code.access(OP.I64_LOAD32_U, isKey ? MAP_KEY_BYTES : MAP_VALUE_BYTES).i32(0);
    code.call(module.kernels.get('bpfReach') as number);
    faultUnless(writer, pc, FAULT_MEMORY);
  }
  writer.getLow(register);
}

/** Puts the address of memory on the stack that is as long as the next register says. */
function writeMemory(writer: Writer, register: number, isWrite: boolean, pc: number): void {
  const { code, module, locals } = writer;
  const size = kindOf(writer, register + 1);
  if (size.tag === 'constant' && size.value > 0 && size.value < 2 ** 16) {
    const more = writeAddress(writer, register, 0, size.value, isWrite, pc);
    if (more !== 0) code.i32(more).op(OP.I32_ADD);
    return;
  }
  if (writer.isChecked(pc)) {
    writer.block();
    writer.getLow(register + 1);
    code.op(OP.I32_EQZ);
    writer.brIf(0);
    code.get(locals.context);
    writer.getRegister(register);
    code.tee(writer.address);
    writer.getLow(register + 1);
    code.op(OP.I64_EXTEND_I32_U).i32(isWrite ? 1 : 0);
    code.call(module.kernels.get('bpfReach') as number);
    writer.brIf(0);
    writer.fault(pc);
    writer.end();
  }
  writer.getLow(register);
}

function writeContext(writer: Writer, register: number, pc: number): void {
  const { code, locals } = writer;
  writer.usesContext = true;
  if (writer.isChecked(pc) && kindOf(writer, register).tag !== 'context') {
    writer.getRegister(register);
    code.tee(writer.address).get(locals.context).op(OP.I64_EXTEND_I32_U, OP.I64_NE);
    writer.if();
    writer.fault(pc);
    writer.end();
  }
  code.get(locals.context);
}

function writeArgument(
  writer: Writer,
  argument: HelperArgument,
  register: number,
  mapRegister: number,
  pc: number,
): void {
  if (argument === 'context') writeContext(writer, register, pc);
  else if (argument === 'map') writeMap(writer, register, pc);
  else if (argument === 'map key' || argument === 'map value') {
    writeItem(writer, register, mapRegister, argument === 'map key', pc);
  } else if (argument === 'readable' || argument === 'readable or null' || argument === 'writable') {
    writeMemory(writer, register, argument === 'writable', pc);
  } else if (argument === 'u64') writer.getRegister(register);
  // The kernel of a helper that takes a record or a lock finds the map that it is in.
  else writer.getLow(register);
}

/** Calls a kernel with what the registers hold, and takes what it returns to r0. */
function writeHelper(writer: Writer, helper: Helper, pc: number): void {
  const { code, module, locals } = writer;
  const map = mapOf(writer, 1);
  if (helper.id === HELPER_LOOKUP && map !== undefined && writeLookup(writer, map, pc)) return;
  if (helper.id === HELPER_REDIRECT_MAP && map !== undefined && writeRedirect(writer, map)) return;
  code.get(locals.context);
  const mapRegister = helper.args.indexOf('map') + 1;
  for (const [index, argument] of helper.args.entries()) writeArgument(writer, argument, index + 1, mapRegister, pc);
  code.call(module.kernels.get(helper.kernel ?? '') as number);
  if (helper.returns !== 'i64') code.op(OP.I64_EXTEND_I32_U);
  code.set(writer.register(0));
  if (helper.mayEnd === true && module.checked) {
    writer.getRegister(1);
    code.set(writer.address);
    code.get(writer.register(0)).op(OP.I64_EQZ);
    faultUnless(writer, pc, FAULT_LOCK);
  }
  if (helper.movesPacket) writer.loadPacket();
}

/** Goes on with another program of the table, when there is one at the index; else behind the call. */
function writeTailCall(writer: Writer, pc: number): void {
  const { code, module, locals } = writer;
  const { index, number } = writer;
  const map = mapOf(writer, 2);
  writeContext(writer, 1, pc);
  code.op(OP.DROP);
  writeMap(writer, 2, pc);
  code.set(number);
  if (writer.isChecked(pc) && map?.kind !== KIND_PROG_ARRAY) {
    // The values of other maps are the program's own to write, and would name any program that there is.
    writer.getRegister(2);
    code.set(writer.address).get(number).access(OP.I32_LOAD, MAP_KIND).i32(KIND_PROG_ARRAY).op(OP.I32_EQ);
    faultUnless(writer, pc, FAULT_MAP);
  }
  writer.block();
  writer.getLow(3);
  code.tee(index);
  if (map === undefined) code.get(number).access(OP.I32_LOAD, MAP_MAX_ENTRIES);
  else code.i32(map.maxEntries | 0);
  code.op(OP.I32_GE_U);
  writer.brIf(0);
  code.get(locals.context).access(OP.I32_LOAD, CTX_TAIL_CALLS).i32(TAIL_CALLS_MAX).op(OP.I32_GE_U);
  writer.brIf(0);
  code.get(number).access(OP.I32_LOAD, MAP_VALUES);
  code.get(index).get(number).access(OP.I32_LOAD, MAP_STRIDE).op(OP.I32_MUL, OP.I32_ADD);
  code.access(OP.I32_LOAD).tee(number).op(OP.I32_EQZ);
  writer.brIf(0);
  // A number that this thread's table does not reach is one that it was not told of.
  code.get(number).tableSize().op(OP.I32_GE_U);
  writer.brIf(0);
  code.get(number).isNoEntry();
  writer.brIf(0);
  code.get(locals.context);
  code.get(locals.context).access(OP.I32_LOAD, CTX_TAIL_CALLS).i32(1).op(OP.I32_ADD);
  code.access(OP.I32_STORE, CTX_TAIL_CALLS);
  writer.storeFuel();
  code.get(locals.context).get(locals.frame).get(locals.context).op(OP.I64_EXTEND_I32_U);
  code.i64(0n).i64(0n).i64(0n).i64(0n).get(number).callIndirect(module.functionType);
  code.set(writer.register(0));
  writer.loadFuel();
  writer.toExit();
  writer.end();
}

function writeLocalCall(writer: Writer, target: number): void {
  const { code, module, locals } = writer;
  const index = module.program.functions.findIndex(({ start }) => start === target);
  writer.usesContext = true;
  writer.storeFuel();
  // The callee's frame lies above: r10 of the next function.
  code.get(locals.context).get(locals.frame).i32(FRAME_BYTES).op(OP.I32_ADD);
  for (let register = 1; register <= 5; register++) code.get(writer.register(register));
  code.call(module.firstFunction + index).set(writer.register(0));
  if (module.checked) {
    writer.loadFuel();
    code.get(locals.context).access(OP.I32_LOAD, CTX_FAULT);
    writer.toExitIf();
  }
  writer.loadPacket();
}

/** Calls the helper whose number a register holds. */
function writeDynamicCall(writer: Writer, register: number, pc: number): void {
  const { code, module } = writer;
  writer.block();
  for (const helper of HELPERS.values()) {
    if (helper.kernel === undefined || !module.kernels.has(helper.kernel)) continue;
    writer.getRegister(register);
    code.i64(BigInt(helper.id)).op(OP.I64_EQ);
    writer.if();
    writeHelper(writer, helper, pc);
    writer.br(1);
    writer.end();
  }
  writeMissing(writer, pc);
  writer.end();
}

/** What stands for something that the object wanted and there is not: nobody may come here. */
function writeMissing(writer: Writer, pc: number): void {
  if (writer.module.checked) writer.fault(pc, FAULT_HELPER);
  else writer.code.op(OP.UNREACHABLE);
}

/** Writes a CALL or CALLX. */
export function writeCall(writer: Writer, instruction: Instruction, pc: number): void {
  const { opcode, src, dst, imm } = instruction;
  if (opcode === OP_CALLX) writeDynamicCall(writer, dst, pc);
  else if (src === CALL_LOCAL) writeLocalCall(writer, pc + 1 + imm);
  else if (imm === HELPER_TAIL_CALL) writeTailCall(writer, pc);
  else if (imm === MISSING_TYPE || imm === MISSING_FUNCTION) writeMissing(writer, pc);
  else writeHelper(writer, HELPERS.get(imm) as Helper, pc);
  if (writer.isChecked(pc)) clearArguments(writer);
}

/** A verified program cannot tell. Another one must not find an address there that `kinds.ts` no longer follows. */
function clearArguments(writer: Writer): void {
  for (let register = 1; register <= 5; register++) writer.code.i64(0n).set(writer.register(register));
}
