import { HELPER_TAIL_CALL, HELPERS } from '../helpers.ts';
import {
  ALU,
  accessBytes,
  accessMode,
  CALL_LOCAL,
  CLASS,
  type Instruction,
  MODE,
  OP_CALL,
  OP_CALLX,
  OP_LDDW,
  opcodeClass,
  operation,
  SOURCE_REGISTER,
} from '../instruction.ts';
import { FRAME_BYTES } from '../layout.ts';
import type { Program } from '../program.ts';
import { type Analysis, stepAt } from './analyse.ts';
import type { Kind, State } from './kinds.ts';

/** Thrown within this module when a stack address goes where it cannot be followed: one for all, since a trace takes time. */
const ESCAPE = new Error('a stack address that is not followed');

/** How the bytes of a frame are accessed, by their offset from r10. */
class Frame {
  /** Places with a size, each once: `offset:bytes`. */
  readonly #places = new Map<string, { readonly at: number; readonly bytes: number }>();
  /** By byte, how many of them it belongs to; any number of them when it is memory for others too. */
  readonly #owners = new Map<number, number>();

  #own(at: number, bytes: number, owners: number): void {
    for (let byte = at; byte < at + bytes; byte++) this.#owners.set(byte, (this.#owners.get(byte) ?? 0) + owners);
  }

  access(at: number, bytes: number): void {
    const key = `${at}:${bytes}`;
    if (this.#places.has(key)) return;
    this.#places.set(key, { at, bytes });
    this.#own(at, bytes, 1);
  }

  /** Bytes that helpers read or write. */
  expose(at: number, bytes: number): void {
    this.#own(at, bytes, 2);
  }

  /** Places whose bytes belong to nothing else, with their sizes. */
  places(): Map<number, number> {
    const isOwn = ({ at, bytes }: { at: number; bytes: number }): boolean =>
      at >= -FRAME_BYTES &&
      at + bytes <= 0 &&
      Array.from({ length: bytes }, (_, index) => this.#owners.get(at + index)).every((owners) => owners === 1);
    return new Map([...this.#places.values()].filter(isOwn).map(({ at, bytes }) => [at, bytes]));
  }
}

/** True for what may be a stack address that is not known exactly. */
const isVague = (kind: Kind): boolean => kind.tag === 'frame' || kind.tag === 'mixed';

function visitBase(frame: Frame, kind: Kind, offset: number, bytes: number): void {
  if (isVague(kind)) throw ESCAPE;
  if (kind.tag === 'stack') frame.access(kind.offset + offset, bytes);
}

function visitAlu(state: State, { opcode, dst, src }: Instruction): void {
  const is64 = opcodeClass(opcode) === CLASS.ALU64;
  const what = operation(opcode);
  const isRegister = (opcode & SOURCE_REGISTER) !== 0;
  const isStack = (register: number): boolean => state.of(register).tag === 'stack' || isVague(state.of(register));
  if (what === ALU.MOV) {
    if (isRegister && isStack(src) && (!is64 || isVague(state.of(src)))) throw ESCAPE;
    return;
  }
  const isExact = is64 && (what === ALU.ADD || what === ALU.SUB) && state.of(dst).tag === 'stack';
  if (isExact && (!isRegister || (what === ALU.ADD && state.of(src).tag === 'constant'))) return;
  if (isStack(dst) || (isRegister && isStack(src))) throw ESCAPE;
}

/** Memory that a helper gets by its arguments: as long as the map or a constant says. */
function visitHelper(frame: Frame, program: Program, state: State, id: number): void {
  const { args = [] } = HELPERS.get(id) ?? {};
  const mapKind = state.of(args.indexOf('map') + 1);
  const map = mapKind.tag === 'map' ? program.maps[mapKind.map] : undefined;
  for (const [index, argument] of args.entries()) {
    const kind = state.of(index + 1);
    if (
      argument === 'map' ||
      argument === 'context' ||
      argument === 'u64' ||
      argument === 'u32' ||
      argument === 'size'
    ) {
      continue;
    }
    if (isVague(kind)) throw ESCAPE;
    if (kind.tag !== 'stack') continue;
    const size = state.of(index + 2);
    let bytes: number | undefined;
    if (argument === 'map key') bytes = map?.keyBytes;
    else if (argument === 'map value') bytes = map?.valueBytes;
    else if (size.tag === 'constant') bytes = size.value;
    if (bytes === undefined || bytes < 0 || bytes > FRAME_BYTES) throw ESCAPE;
    frame.expose(kind.offset, bytes);
  }
}

function visitCall(frame: Frame, program: Program, state: State, { opcode, src, imm }: Instruction): void {
  const isStack = (register: number): boolean => state.of(register).tag === 'stack' || isVague(state.of(register));
  if (opcode === OP_CALLX || src === CALL_LOCAL) {
    if ([1, 2, 3, 4, 5].some(isStack)) throw ESCAPE;
  } else if (imm !== HELPER_TAIL_CALL) {
    visitHelper(frame, program, state, imm);
  }
}

function visit(frame: Frame, program: Program, state: State, instruction: Instruction): void {
  const { opcode, dst, src, offset } = instruction;
  const kind = opcodeClass(opcode);
  if (kind === CLASS.ALU || kind === CLASS.ALU64) visitAlu(state, instruction);
  else if (kind === CLASS.LDX) visitBase(frame, state.of(src), offset, accessBytes(opcode));
  else if (kind === CLASS.ST) visitBase(frame, state.of(dst), offset, accessBytes(opcode));
  else if (kind === CLASS.STX) {
    const isAtomic = accessMode(opcode) === MODE.ATOMIC;
    if (state.of(src).tag === 'stack' || isVague(state.of(src))) throw ESCAPE;
    visitBase(frame, state.of(dst), offset, accessBytes(opcode));
    const base = state.of(dst);
    if (isAtomic && base.tag === 'stack') frame.expose(base.offset + offset, accessBytes(opcode));
  } else if (opcode === OP_CALL || opcode === OP_CALLX) {
    visitCall(frame, program, state, instruction);
  }
}

/**
 * The places of a function's stack that are only ever stored and loaded whole at known offsets: what compilers spill. They
 * can be locals. By offset from r10, their sizes in bytes. None when some stack address goes where it is not followed.
 */
export function localPlaces(program: Program, { graph, states }: Analysis): Map<number, number> {
  const frame = new Frame();
  try {
    for (const [index, { start, end }] of graph.blocks.entries()) {
      const state = (states[index] as State).copy();
      for (let pc = start; pc < end; pc++) {
        const instruction = program.code[pc] as Instruction;
        visit(frame, program, state, instruction);
        stepAt(state, program.code, pc);
        if (instruction.opcode === OP_LDDW) pc++;
      }
    }
  } catch (error) {
    if (error === ESCAPE) return new Map();
    throw error;
  }
  return frame.places();
}
