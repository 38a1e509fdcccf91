import { BUFFER_BYTES, BUFFER_DATA_MIN, SLOT_BUFFER, SLOT_SHIFT } from '../../memory/layout.ts';
import {
  CTX_DATA,
  CTX_DATA_END,
  CTX_DATA_META,
  CTX_FAULT,
  CTX_FAULT_PC,
  CTX_HARD_END,
  CTX_HARD_START,
  CTX_REDIRECT_KIND,
  CTX_REDIRECT_PROGRAM,
  CTX_REDIRECT_TARGET,
  CTX_SLOT,
  CTX_STACK,
  CTX_TAIL_CALLS,
  FRAME_BYTES,
  VERDICT_ACTION,
  VERDICT_KIND,
  VERDICT_PROGRAM,
  VERDICT_SHIFT,
  VERDICT_TARGET,
  XDP_REDIRECT,
} from '../layout.ts';
import type { Analysis } from './analyse.ts';
import { Code, OP, VALUE } from './encoder.ts';
import { writeBody } from './function.ts';
import { localPlaces } from './slots.ts';
import { type ModuleContext, Writer } from './writer.ts';

const CONTEXT = 0;
const SLOTS = 1;
const COUNT = 2;
const VERDICTS = 3;

/** Sets the packet's bounds from the slot at `slot`, in locals, and in the context when something reads them there. */
function writePacket(writer: Writer, code: Code, slot: number, word: number): void {
  if (!writer.usesPacket && !writer.usesContext) return;
  // Buffer u32, offset u16, length u16.
  code.get(slot).access(OP.I64_LOAD, SLOT_BUFFER).tee(word).op(OP.I32_WRAP_I64);
  code.get(word).i64(32n).op(OP.I64_SHR_U, OP.I32_WRAP_I64).i32(0xffff).op(OP.I32_AND, OP.I32_ADD);
  code.tee(writer.data).tee(writer.dataMeta).get(word).i64(48n).op(OP.I64_SHR_U, OP.I32_WRAP_I64, OP.I32_ADD);
  code.set(writer.dataEnd);
  writer.deriveBounds(code);
  if (!writer.usesContext) return;
  const store = (local: number, offset: number): void => {
    code.get(CONTEXT).get(local).access(OP.I32_STORE, offset);
  };
  store(writer.data, CTX_DATA);
  store(writer.dataEnd, CTX_DATA_END);
  store(writer.dataMeta, CTX_DATA_META);
  store(slot, CTX_SLOT);
  code.get(CONTEXT).get(word).op(OP.I32_WRAP_I64).i32(BUFFER_DATA_MIN).op(OP.I32_ADD);
  code.access(OP.I32_STORE, CTX_HARD_START);
  code.get(CONTEXT).get(word).op(OP.I32_WRAP_I64).i32(BUFFER_BYTES).op(OP.I32_ADD);
  code.access(OP.I32_STORE, CTX_HARD_END);
}

/** Writes what r0 and the context say to the verdict at `verdict`. */
function writeVerdict(writer: Writer, verdict: number, action: number): void {
  const { code, module } = writer;
  code.get(verdict).get(writer.register(0)).op(OP.I32_WRAP_I64).tee(action).access(OP.I32_STORE, VERDICT_ACTION);
  code.get(action).i32(XDP_REDIRECT).op(OP.I32_EQ);
  writer.if();
  // Word by word, as they were stored: a load of all would wait until the stores are done.
  for (const [from, to] of [
    [CTX_REDIRECT_KIND, VERDICT_KIND],
    [CTX_REDIRECT_TARGET, VERDICT_TARGET],
    [CTX_REDIRECT_PROGRAM, VERDICT_PROGRAM],
  ] as const) {
    code.get(verdict).get(CONTEXT).access(OP.I32_LOAD, from).access(OP.I32_STORE, to);
  }
  // Who names no target goes nowhere, not where the last one went.
  for (const offset of [CTX_REDIRECT_KIND, CTX_REDIRECT_TARGET]) {
    code.get(CONTEXT).i32(0).access(OP.I32_STORE, offset);
  }
  writer.end();
  if (!module.checked) return;
  // ABORTED: by the program itself when there is no fault.
  code.get(action).op(OP.I32_EQZ);
  writer.if();
  code.get(verdict).get(CONTEXT).access(OP.I32_LOAD, CTX_FAULT).access(OP.I32_STORE, VERDICT_KIND);
  code.get(verdict).get(CONTEXT).access(OP.I32_LOAD, CTX_FAULT_PC).access(OP.I32_STORE, VERDICT_TARGET);
  code.get(CONTEXT).i32(0).access(OP.I32_STORE, CTX_FAULT);
  writer.end();
}

/**
 * The WebAssembly function that runs a program on a burst: (context, slots, count, verdicts). The program's code is in its
 * loop, so that no call is between two packets.
 */
export function compileBurst(module: ModuleContext, analysis: Analysis, hasTailCalls: boolean): number[] {
  const code = new Code(4);
  const frame = code.local(VALUE.I32);
  const slot = code.local(VALUE.I32);
  const last = code.local(VALUE.I32);
  const verdict = code.local(VALUE.I32);
  const action = code.local(VALUE.I32);
  const word = code.local(VALUE.I64);
  const places = localPlaces(module.program, analysis);
  const registers = Array.from({ length: 10 }, () => code.local(VALUE.I64));
  const writer = new Writer(code, module, { context: CONTEXT, frame, registers }, places);
  code.get(COUNT).op(OP.I32_EQZ);
  writer.if();
  code.op(OP.RETURN);
  writer.end();
  code
    .get(CONTEXT)
    .i32(CTX_STACK + FRAME_BYTES)
    .op(OP.I32_ADD)
    .set(frame);
  code.get(SLOTS).tee(slot).get(COUNT).i32(SLOT_SHIFT).op(OP.I32_SHL, OP.I32_ADD).set(last);
  code.get(VERDICTS).set(verdict);
  writer.loop();
  writer.defer((deferred) => writePacket(writer, deferred, slot, word));
  // As if nothing had run before: what an unverified program finds in a register is always the same.
  for (const local of [...registers, ...[...writer.places.values()].map(({ local: place }) => place)])
    code.i64(0n).set(local);
  code.get(CONTEXT).op(OP.I64_EXTEND_I32_U).set(writer.register(1));
  if (hasTailCalls) code.get(CONTEXT).i32(0).access(OP.I32_STORE, CTX_TAIL_CALLS);
  if (module.usesFuel) code.i32(module.fuel).set(writer.fuel);
  writer.begin();
  writeBody(writer, analysis, true);
  writeVerdict(writer, verdict, action);
  code
    .get(verdict)
    .i32(1 << VERDICT_SHIFT)
    .op(OP.I32_ADD)
    .set(verdict);
  code
    .get(slot)
    .i32(1 << SLOT_SHIFT)
    .op(OP.I32_ADD)
    .tee(slot)
    .get(last)
    .op(OP.I32_NE);
  writer.brIf(0);
  writer.end();
  writer.fillIn();
  return code.finish();
}
