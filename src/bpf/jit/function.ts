import {
  CLASS,
  type Instruction,
  LDDW,
  lddwConstant,
  OP_CALL,
  OP_CALLX,
  OP_LDDW,
  opcodeClass,
} from '../instruction.ts';
import { CTX_BYTES, FAULT_FUEL, FAULT_STACK, FRAME_BYTES } from '../layout.ts';
import { writeAlu, writeCondition } from './alu.ts';
import { type Analysis, stepAt } from './analyse.ts';
import { writeCall } from './calls.ts';
import { Code, OP, VALUE } from './encoder.ts';
import type { Block } from './graph.ts';
import type { State } from './kinds.ts';
import { writeAccess } from './memory.ts';
import { localPlaces } from './slots.ts';
import { type Emitter, writeStructured } from './structure.ts';
import { type ModuleContext, RELEASE_LOCK, Writer } from './writer.ts';

/** Writes what blocks hold, between the structure that `writeStructured` puts around them. */
class BlockEmitter implements Emitter {
  readonly #writer: Writer;
  readonly #code: readonly Instruction[];
  readonly #analysis: Analysis;
  readonly #next: number;
  readonly block: () => void;
  readonly loop: () => void;
  readonly if: () => void;
  readonly else: () => void;
  readonly end: () => void;
  readonly br: (depth: number) => void;
  readonly brIf: (depth: number) => void;
  readonly brTable: (depths: readonly number[], otherwise: number) => void;

  constructor(writer: Writer, analysis: Analysis) {
    this.#writer = writer;
    this.#code = writer.module.program.code;
    this.#analysis = analysis;
    this.#next = analysis.graph.isReducible ? -1 : writer.code.local(VALUE.I32);
    this.block = () => writer.block();
    this.loop = () => writer.loop();
    this.if = () => writer.if();
    this.else = () => writer.else();
    this.end = () => writer.end();
    this.br = (depth) => writer.br(depth);
    this.brIf = (depth) => writer.brIf(depth);
    this.brTable = (depths, otherwise) => writer.brTable(depths, otherwise);
  }

  body(index: number): void {
    const writer = this.#writer;
    const block = this.#analysis.graph.blocks[index] as Block;
    const known = this.#analysis.states[index] as State;
    const state = known.copy();
    writer.state = state;
    const end = block.exit === 'branch' ? block.end - 1 : block.end;
    for (let pc = block.start; pc < end; pc++) {
      const instruction = this.#code[pc] as Instruction;
      this.#instruction(instruction, pc);
      stepAt(state, this.#code, pc);
      if (instruction.opcode === OP_LDDW) pc++;
    }
  }

  #instruction(instruction: Instruction, pc: number): void {
    const { opcode } = instruction;
    const kind = opcodeClass(opcode);
    if (kind === CLASS.ALU || kind === CLASS.ALU64) writeAlu(this.#writer, instruction);
    else if (kind === CLASS.LDX || kind === CLASS.ST || kind === CLASS.STX) writeAccess(this.#writer, instruction, pc);
    else if (opcode === OP_LDDW) this.#constant(instruction, pc);
    else if (opcode === OP_CALL || opcode === OP_CALLX) writeCall(this.#writer, instruction, pc);
  }

  #constant({ dst, src, imm }: Instruction, pc: number): void {
    const { code, module } = this.#writer;
    const map = module.maps[imm];
    if (src === LDDW.MAP_INDEX) code.i64(BigInt(map?.address ?? 0));
    else if (src === LDDW.MAP_INDEX_VALUE) code.i64(BigInt(map?.values ?? 0) + BigInt(this.#code[pc + 1]?.imm ?? 0));
    else code.i64(lddwConstant(this.#code, pc));
    code.set(this.#writer.register(dst));
  }

  condition(index: number, negated: boolean): void {
    const { end } = this.#analysis.graph.blocks[index] as Block;
    writeCondition(this.#writer, this.#code[end - 1] as Instruction);
    if (negated) this.#writer.code.op(OP.I32_EQZ);
  }

  exit(): void {
    this.#writer.toExit();
  }

  /** What a turn of a loop costs: all from its start to the last way back. A dispatcher's: the longest block. */
  turn(index: number | undefined): void {
    if (!this.#writer.module.usesFuel) return;
    const { blocks } = this.#analysis.graph;
    const start = blocks[index ?? 0]?.start ?? 0;
    const costs = blocks
      .filter(({ taken, next }) => index === undefined || taken === index || next === index)
      .map((block) => block.end - (index === undefined ? block.start : start));
    this.#writer.burn(Math.max(1, ...costs), start, FAULT_FUEL);
  }

  setNext(block: number): void {
    this.#writer.code.i32(block).set(this.#next);
  }

  getNext(): void {
    this.#writer.code.get(this.#next);
  }
}

/** Writes the code of a function behind `begin` of `writer`, up to the end. r0 holds its result. */
export function writeBody(writer: Writer, analysis: Analysis, isMain: boolean): void {
  writeStructured(analysis.graph, new BlockEmitter(writer, analysis));
  writer.finish();
  // A program that ends with a lock held, by a fault or without, keeps nobody else waiting.
  const release = writer.module.kernels.get(RELEASE_LOCK);
  if (isMain && release !== undefined) writer.code.get(writer.locals.context).call(release);
}

/**
 * The WebAssembly function of one function of a program: (context, r10, r1 … r5) → r0.
 * @param index in `program.functions`.
 * @param frames that it and all that it calls may need: checked at the start of a program, which a tail call may reach
 *   with some of the stack in use.
 */
export function compileFunction(module: ModuleContext, analysis: Analysis, index: number, frames: number): number[] {
  const code = new Code(7);
  const registers = [code.local(VALUE.I64), 2, 3, 4, 5, 6, ...Array.from({ length: 4 }, () => code.local(VALUE.I64))];
  const places = localPlaces(module.program, analysis);
  const writer = new Writer(code, module, { context: 0, frame: 1, registers }, places);
  const { start = 0, end = 0 } = module.program.functions[index] ?? {};
  const isMain = index === 0;
  writer.loadPacket();
  writer.loadFuel();
  writer.begin();
  if (module.checked && isMain) {
    code
      .get(1)
      .i32((frames - 1) * FRAME_BYTES)
      .op(OP.I32_ADD)
      .get(0)
      .i32(CTX_BYTES)
      .op(OP.I32_ADD, OP.I32_GT_U);
    writer.if();
    writer.fault(0, FAULT_STACK);
    writer.end();
  }
  if (module.checked && !isMain) writer.burn(end - start, start, FAULT_FUEL);
  writeBody(writer, analysis, isMain);
  writer.storeFuel();
  code.get(writer.register(0));
  writer.fillIn();
  return code.finish();
}
