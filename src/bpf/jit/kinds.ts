import { HELPER_LOOKUP, HELPERS } from '../helpers.ts';
import {
  ALU,
  accessBytes,
  accessMode,
  CALL_LOCAL,
  CLASS,
  type Instruction,
  JMP,
  LDDW,
  MODE,
  OP_CALL,
  OP_CALLX,
  OP_LDDW,
  opcodeClass,
  operation,
  SIZE,
  SOURCE_REGISTER,
} from '../instruction.ts';
import { CTX_DATA, CTX_DATA_END, CTX_DATA_META } from '../layout.ts';
import type { Program } from '../program.ts';
import { type Block, type Graph, graphOf } from './graph.ts';

/**
 * What a register is known to hold. `context`, `stack`, `map`, `global`, `end` and `constant` are certain, and so are
 * addresses with an `offset`: code may leave out checks for them. The rest is where an address probably points, which
 * says what to compare it with first.
 */
export type Kind =
  /** A number, or null, or something of which nothing is known. */
  | { readonly tag: 'unknown' }
  /** Several of those below. */
  | { readonly tag: 'mixed' }
  /** The context's address. */
  | { readonly tag: 'context' }
  /** r10 of this function, and so many bytes. */
  | { readonly tag: 'stack'; readonly offset: number }
  /** The map of this number in the program's list. */
  | { readonly tag: 'map'; readonly map: number }
  /** Address of the one value of a map, and so many bytes. */
  | { readonly tag: 'global'; readonly map: number; readonly offset: number }
  | { readonly tag: 'constant'; readonly value: number }
  /** In the packet; with an offset, so many bytes behind its start. Here and below, `maybe`: or anything else. */
  | { readonly tag: 'packet'; readonly offset?: number; readonly maybe?: true }
  /** The end of the packet. */
  | { readonly tag: 'end' }
  /** In the frames of the program's functions. */
  | { readonly tag: 'frame'; readonly maybe?: true }
  /** In a value of this map; with an offset, so many bytes behind a value's start, or null when it `mayBeNull`. */
  | {
      readonly tag: 'value';
      readonly map: number;
      readonly offset?: number;
      readonly mayBeNull?: boolean;
      readonly maybe?: true;
    };

const UNKNOWN: Kind = { tag: 'unknown' };
const MIXED: Kind = { tag: 'mixed' };
const PACKET: Kind = { tag: 'packet' };
const MAYBE = { maybe: true } as const;
const REGISTERS = 11;
const WORD = 8;

/** Kinds of all registers, and of the words of the stack by their offset from r10. */
export class State {
  readonly registers: Kind[];
  readonly stack: Map<number, Kind>;
  /** So many bytes the packet has at least, by what the program compared. */
  packetBytes: number;

  constructor(registers: readonly Kind[], stack: ReadonlyMap<number, Kind> = new Map(), packetBytes = 0) {
    this.registers = [...registers];
    this.stack = new Map(stack);
    this.packetBytes = packetBytes;
  }

  copy(): State {
    return new State(this.registers, this.stack, this.packetBytes);
  }

  /** Changes all that is known of registers and words of the stack. */
  change(to: (kind: Kind) => Kind): void {
    for (const [register, kind] of this.registers.entries()) this.registers[register] = to(kind);
    for (const [offset, kind] of this.stack) this.stack.set(offset, to(kind));
  }

  of(register: number): Kind {
    return this.registers[register] ?? UNKNOWN;
  }
}

function same(a: Kind, b: Kind): boolean {
  if (a.tag !== b.tag || isMaybe(a) !== isMaybe(b)) return false;
  if (a.tag === 'stack' || a.tag === 'packet') return a.offset === (b as typeof a).offset;
  if (a.tag === 'map') return a.map === (b as typeof a).map;
  if (a.tag === 'value') {
    const other = b as typeof a;
    return a.map === other.map && a.offset === other.offset && a.mayBeNull === other.mayBeNull;
  }
  if (a.tag === 'global') return a.map === (b as typeof a).map && a.offset === (b as typeof a).offset;
  return a.tag !== 'constant' || a.value === (b as typeof a).value;
}

/** Where an address points that is no longer known exactly. */
function hintOf(kind: Kind): Kind {
  const maybe = 'maybe' in kind && kind.maybe === true ? MAYBE : {};
  if (kind.tag === 'stack' || kind.tag === 'frame') return { tag: 'frame', ...maybe };
  if (kind.tag === 'global' || kind.tag === 'value') return { tag: 'value', map: kind.map, ...maybe };
  if (kind.tag === 'packet') return { tag: 'packet', ...maybe };
  return kind.tag === 'mixed' ? kind : UNKNOWN;
}

/** What holds on both of two ways. A number, such as null, on one of them leaves the address of the other. */
function join(a: Kind, b: Kind): Kind {
  if (same(a, b)) return a;
  const [one, other] = [hintOf(a), hintOf(b)];
  if (same(one, other)) return one;
  const isDoubtful = (kind: Kind): boolean => kind.tag !== 'constant' && hintOf(kind).tag === 'unknown';
  const doubt = isDoubtful(a) || isDoubtful(b) || isMaybe(a) || isMaybe(b);
  const weaker = (kind: Kind): Kind =>
    doubt && (kind.tag === 'packet' || kind.tag === 'frame' || kind.tag === 'value') ? { ...kind, ...MAYBE } : kind;
  const [left, right] = [weaker(one), weaker(other)];
  if (same(left, right) || right.tag === 'unknown') return left;
  return left.tag === 'unknown' ? right : MIXED;
}

/** It may also be something that nothing is known of. */
function isMaybe(kind: Kind): boolean {
  return 'maybe' in kind && kind.maybe === true;
}

function joinStates(into: State, from: State): boolean {
  let changed = from.packetBytes < into.packetBytes;
  into.packetBytes = Math.min(into.packetBytes, from.packetBytes);
  for (let register = 0; register < REGISTERS; register++) {
    const joined = join(into.of(register), from.of(register));
    if (same(joined, into.of(register))) continue;
    into.registers[register] = joined;
    changed = true;
  }
  for (const [offset, kind] of into.stack) {
    const other = from.stack.get(offset);
    const joined = other === undefined ? UNKNOWN : join(kind, other);
    if (same(joined, kind)) continue;
    if (joined.tag === 'unknown') into.stack.delete(offset);
    else into.stack.set(offset, joined);
    changed = true;
  }
  return changed;
}

function addTo(kind: Kind, by: number | undefined): Kind {
  if (by === undefined) return hintOf(kind);
  const hasOffset = kind.tag === 'stack' || kind.tag === 'global' || kind.tag === 'packet' || kind.tag === 'value';
  // Null and something is neither null nor an address.
  if (!hasOffset || kind.offset === undefined || (kind.tag === 'value' && kind.mayBeNull)) return hintOf(kind);
  const offset = kind.offset + by;
  return Math.abs(offset) < 2 ** 29 ? { ...kind, offset } : hintOf(kind);
}

function afterAlu(state: State, { opcode, dst, src, imm, offset }: Instruction): void {
  const what = operation(opcode);
  const isRegister = (opcode & SOURCE_REGISTER) !== 0;
  const is64 = opcodeClass(opcode) === CLASS.ALU64;
  if (what === ALU.MOV && is64 && offset === 0) {
    state.registers[dst] = isRegister ? state.of(src) : { tag: 'constant', value: imm };
  } else if (what === ALU.MOV && !isRegister && imm >= 0) {
    state.registers[dst] = { tag: 'constant', value: imm };
  } else if (is64 && what === ALU.ADD) {
    const from = isRegister ? state.of(src) : undefined;
    const by = isRegister ? (from?.tag === 'constant' ? from.value : undefined) : imm;
    const moved = addTo(state.of(dst), by);
    // Base and offset may be added either way.
    state.registers[dst] = moved.tag === 'unknown' && from !== undefined ? hintOf(from) : moved;
  } else if (is64 && what === ALU.SUB) {
    state.registers[dst] = addTo(state.of(dst), isRegister ? undefined : -imm);
  } else {
    state.registers[dst] = UNKNOWN;
  }
}

function afterLoad(state: State, { opcode, dst, src, offset }: Instruction): void {
  const base = state.of(src);
  const isWord = (opcode & 0x18) === SIZE.W;
  let kind = UNKNOWN;
  if (base.tag === 'context' && isWord && offset === CTX_DATA) kind = { tag: 'packet', offset: 0 };
  if (base.tag === 'context' && isWord && offset === CTX_DATA_META) kind = PACKET;
  if (base.tag === 'context' && isWord && offset === CTX_DATA_END) kind = { tag: 'end' };
  if (base.tag === 'stack' && (opcode & 0x18) === SIZE.DW) kind = state.stack.get(base.offset + offset) ?? UNKNOWN;
  state.registers[dst] = kind;
}

/** A store of `bytes`, of a register's kind when it is whole. */
function afterStore(state: State, base: Kind, offset: number, bytes: number, kind: Kind): void {
  if (base.tag === 'global') return;
  if (base.tag !== 'stack') {
    // It may have gone anywhere.
    state.stack.clear();
    return;
  }
  const at = base.offset + offset;
  for (const word of state.stack.keys()) if (word < at + bytes && at < word + WORD) state.stack.delete(word);
  if (bytes === WORD && kind.tag !== 'unknown') state.stack.set(at, kind);
}

/** The packet may be elsewhere now: addresses in it are as good as any others. */
function forgetPacket(state: State): void {
  state.packetBytes = 0;
  state.change((kind) => (kind.tag === 'packet' ? PACKET : kind.tag === 'end' ? UNKNOWN : kind));
}

function afterCall(state: State, { src, imm }: Instruction): void {
  const map = state.of(1);
  const helper = src === CALL_LOCAL ? undefined : HELPERS.get(imm);
  const writesMemory = helper === undefined || helper.args.includes('writable');
  if (writesMemory) state.stack.clear();
  if (helper === undefined || helper.movesPacket === true) forgetPacket(state);
  const isLookup = helper?.id === HELPER_LOOKUP && map.tag === 'map';
  // Checked code clears them, and no program that is verified reads them again.
  state.registers.fill(UNKNOWN, 1, 6);
  state.registers[0] = isLookup ? { tag: 'value', map: map.map, offset: 0, mayBeNull: true } : UNKNOWN;
}

/** Jumps of an address in the packet and its end, by which way says that the packet goes so far, and whether beyond. */
const REACHES: ReadonlyMap<number, readonly [taken: boolean, beyond: boolean]> = new Map([
  [JMP.JGT, [false, false]],
  [JMP.JGE, [false, true]],
  [JMP.JLE, [true, false]],
  [JMP.JLT, [true, true]],
]);
/** The same jump with its operands the other way round. */
const SWAPPED: ReadonlyMap<number, number> = new Map([
  [JMP.JGT, JMP.JLT],
  [JMP.JGE, JMP.JLE],
  [JMP.JLE, JMP.JGE],
  [JMP.JLT, JMP.JGT],
]);

/** What is known behind the jump `instruction` when it is `taken`, or when it is not. */
function refine(before: State, instruction: Instruction, taken: boolean): State {
  const { opcode, dst, src, imm } = instruction;
  const state = before.copy();
  if (opcodeClass(opcode) !== CLASS.JMP) return state;
  const what = operation(opcode);
  const [one, other] = [state.of(dst), state.of(src)];
  if ((opcode & SOURCE_REGISTER) === 0) {
    const isTest = imm === 0 && (what === JMP.JEQ ? !taken : what === JMP.JNE && taken);
    if (isTest && one.tag === 'value' && one.offset !== undefined) {
      state.registers[dst] = { tag: 'value', map: one.map, offset: one.offset };
    }
    return state;
  }
  const isSwapped = one.tag === 'end';
  const [address, end] = isSwapped ? [other, one] : [one, other];
  const reaches = REACHES.get(isSwapped ? (SWAPPED.get(what) ?? what) : what);
  if (reaches === undefined || address.tag !== 'packet' || address.offset === undefined || end.tag !== 'end')
    return state;
  const [way, beyond] = reaches;
  if (way === taken) state.packetBytes = Math.max(state.packetBytes, address.offset + (beyond ? 1 : 0));
  return state;
}

/** What `instruction` makes of what is known. */
function step(state: State, instruction: Instruction): void {
  const { opcode, dst, src, offset, imm } = instruction;
  const kind = opcodeClass(opcode);
  if (kind === CLASS.ALU || kind === CLASS.ALU64) {
    afterAlu(state, instruction);
  } else if (kind === CLASS.LDX) {
    afterLoad(state, instruction);
  } else if (kind === CLASS.ST) {
    afterStore(state, state.of(dst), offset, accessBytes(opcode), UNKNOWN);
  } else if (kind === CLASS.STX) {
    const isAtomic = accessMode(opcode) === MODE.ATOMIC;
    afterStore(state, state.of(dst), offset, accessBytes(opcode), isAtomic ? UNKNOWN : state.of(src));
    // FETCH gives the old value to src, CMPXCHG to r0.
    if (isAtomic) state.registers[src] = state.registers[0] = UNKNOWN;
  } else if (opcode === OP_LDDW) {
    state.registers[dst] = src === LDDW.MAP_INDEX ? { tag: 'map', map: imm } : UNKNOWN;
  } else if (opcode === OP_CALL || opcode === OP_CALLX) {
    afterCall(state, instruction);
  }
}

/** A function's control flow, and what is known at the start of each block. */
export interface Analysis {
  readonly graph: Graph;
  readonly states: readonly State[];
}

const frameOf = (kind: Kind): Kind => (kind.tag === 'stack' ? { tag: 'frame' } : kind);

/** The second half of an LDDW says where in a map's value it points. */
export function stepAt(state: State, code: readonly Instruction[], pc: number): void {
  const instruction = code[pc] as Instruction;
  step(state, instruction);
  if (instruction.opcode === OP_LDDW && instruction.src === LDDW.MAP_INDEX_VALUE) {
    state.registers[instruction.dst] = { tag: 'global', map: instruction.imm, offset: code[pc + 1]?.imm ?? 0 };
  }
}

/** The blocks behind `block`, and what is known there when it is left with `state`. */
function waysOf(code: readonly Instruction[], { exit, end, taken, next }: Block, state: State): [number, State][] {
  if (exit === 'exit') return [];
  if (exit === 'jump') return [[taken, state.copy()]];
  const jump = code[end - 1] as Instruction;
  return [
    [taken, refine(state, jump, true)],
    [next, refine(state, jump, false)],
  ];
}

/** Goes over a function until nothing changes. `onCall` hears what each call of a function passes. */
function analyseFunction(
  code: readonly Instruction[],
  graph: Graph,
  entry: State,
  onCall: (target: number, state: State) => void,
): State[] {
  const states: (State | undefined)[] = graph.blocks.map((_, index) => (index === 0 ? entry : undefined));
  // Blocks are in reverse postorder: without loops one pass is all.
  const pending = new Set([0]);
  for (let index = 0; pending.size > 0; index = index + 1 < graph.blocks.length ? index + 1 : 0) {
    if (!pending.delete(index)) continue;
    const block = graph.blocks[index] as Block;
    const state = (states[index] as State).copy();
    for (let pc = block.start; pc < block.end; pc++) {
      const instruction = code[pc] as Instruction;
      if (instruction.opcode === OP_CALL && instruction.src === CALL_LOCAL) onCall(pc + 1 + instruction.imm, state);
      stepAt(state, code, pc);
      if (instruction.opcode === OP_LDDW) pc++;
    }
    for (const [to, reached] of waysOf(code, block, state)) {
      const known = states[to];
      if (known === undefined) states[to] = reached;
      else if (!joinStates(known, reached)) continue;
      pending.add(to);
    }
  }
  return states.map((state) => state ?? new State([]));
}

/**
 * What registers hold in each function of `program`, and each function's control flow. What a function is called with is
 * joined over all its calls; one whose address is taken is called with anything.
 * @param hasContext r1 is the context at the start of the program; else anything.
 */
export function analyse(program: Program, hasContext: boolean): Analysis[] {
  const { code, functions } = program;
  const graphs = functions.map((info) => graphOf(code, info));
  const unknown = (): State =>
    new State(
      Array.from(
        { length: REGISTERS },
        (_, register): Kind => (register === 10 ? { tag: 'stack', offset: 0 } : UNKNOWN),
      ),
    );
  const entries: (State | undefined)[] = functions.map(() => undefined);
  const main = unknown();
  if (hasContext) main.registers[1] = { tag: 'context' };
  entries[0] = main;
  const taken = new Set(
    code.flatMap((instruction, pc) =>
      instruction.opcode === OP_LDDW && instruction.src === LDDW.FUNCTION ? [pc + 1 + instruction.imm] : [],
    ),
  );
  for (const [index, { start }] of functions.entries()) if (taken.has(start)) entries[index] = unknown();
  const results: (State[] | undefined)[] = functions.map(() => undefined);
  const queue = functions.flatMap((_, index) => (entries[index] === undefined ? [] : [index]));
  for (let index = queue.shift(); index !== undefined; index = queue.shift()) {
    const entry = entries[index] as State;
    results[index] = analyseFunction(code, graphs[index] as Graph, entry.copy(), (target, state) => {
      const callee = functions.findIndex(({ start }) => start === target);
      const passed = unknown();
      for (let register = 1; register <= 5; register++) passed.registers[register] = frameOf(state.of(register));
      const known = entries[callee];
      if (known === undefined) entries[callee] = passed;
      else if (!joinStates(known, passed)) return;
      if (!queue.includes(callee)) queue.push(callee);
    });
  }
  return graphs.map((graph, index) => ({ graph, states: results[index] ?? graph.blocks.map(() => unknown()) }));
}
