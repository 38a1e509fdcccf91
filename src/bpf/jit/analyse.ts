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
  SOURCE_REGISTER,
} from '../instruction.ts';
import { CTX_DATA, CTX_DATA_END, CTX_DATA_META } from '../layout.ts';
import type { Program } from '../program.ts';
import { type Block, type Graph, graphOf } from './graph.ts';
import { hintOf, joinStates, type Kind, numbersOf, ofNumbers, REGISTERS, State, UNKNOWN } from './kinds.ts';
import { arithmeticOf, behindJump, loadOf, type Numbers } from './numbers.ts';

const PACKET: Kind = { tag: 'packet' };
const WORD = 8;
/** Bytes that an address may be away from where its memory begins for that to be known. */
const OFFSET_MAX = 2 ** 29;
/** The largest numbers of 8, 16 and 32 bits. */
const WIDTHS = [2 ** 8 - 1, 2 ** 16 - 1, 2 ** 32 - 1];

/** An address and one of `by`. */
function addTo(kind: Kind, by: Numbers | undefined): Kind {
  if (by === undefined) return hintOf(kind);
  const hasOffset = kind.tag === 'stack' || kind.tag === 'global' || kind.tag === 'packet' || kind.tag === 'value';
  // Null and something is neither null nor an address.
  if (!hasOffset || kind.offset === undefined || (kind.tag === 'value' && kind.mayBeNull)) return hintOf(kind);
  const offset = kind.offset + by.min;
  const more = by.max - by.min;
  if (Math.abs(offset) > OFFSET_MAX || more > OFFSET_MAX) return hintOf(kind);
  if (more === 0) return { ...kind, offset };
  if (kind.tag === 'stack') return hintOf(kind);
  const spread = (kind.spread ?? 0) + more;
  return spread > OFFSET_MAX ? hintOf(kind) : { ...kind, offset, spread };
}

/** What a register adds to an address: a constant may be negative. */
function addendOf(kind: Kind): Numbers | undefined {
  return kind.tag === 'constant' ? { min: kind.value, max: kind.value, step: 0 } : numbersOf(kind);
}

const isAddress = (kind: Kind): boolean => hintOf(kind).tag !== 'unknown';

function afterAlu(state: State, instruction: Instruction): void {
  const { opcode, dst, src, imm, offset } = instruction;
  const what = operation(opcode);
  const isRegister = (opcode & SOURCE_REGISTER) !== 0;
  const is64 = opcodeClass(opcode) === CLASS.ALU64;
  const one = state.of(dst);
  const other: Kind = isRegister ? state.of(src) : { tag: 'constant', value: imm };
  if (what === ALU.MOV && offset === 0 && (is64 || (!isRegister && imm >= 0))) {
    state.registers[dst] = other;
  } else if (is64 && what === ALU.ADD && (isAddress(one) || isAddress(other))) {
    // Base and offset may be added either way.
    state.registers[dst] = isAddress(one) ? addTo(one, addendOf(other)) : addTo(other, addendOf(one));
  } else if (is64 && what === ALU.SUB && isAddress(one)) {
    state.registers[dst] = addTo(one, isRegister ? undefined : { min: -imm, max: -imm, step: 0 });
  } else {
    state.registers[dst] = ofNumbers(arithmeticOf(instruction, numbersOf(one), numbersOf(other)));
  }
}

/** Addresses in the context. */
const FIELDS = new Map<number, Kind>([
  [CTX_DATA, { tag: 'packet', offset: 0 }],
  [CTX_DATA_META, PACKET],
  [CTX_DATA_END, { tag: 'end' }],
]);

function afterLoad(state: State, { opcode, dst, src, offset }: Instruction): void {
  const base = state.of(src);
  const bytes = accessBytes(opcode);
  let kind = UNKNOWN;
  if (accessMode(opcode) === MODE.MEM) {
    kind = ofNumbers(loadOf(bytes));
    if (base.tag === 'context' && bytes === 4) kind = FIELDS.get(offset) ?? kind;
    if (base.tag === 'stack' && bytes === WORD) kind = state.stack.get(base.offset + offset) ?? UNKNOWN;
  }
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
  state.change((kind) => (kind.tag === 'packet' ? hintOf(kind) : kind.tag === 'end' ? UNKNOWN : kind));
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
  const isRegister = (opcode & SOURCE_REGISTER) !== 0;
  const [one, other] = [state.of(dst), isRegister ? state.of(src) : UNKNOWN];
  if (one.tag === 'number' || one.tag === 'unknown') {
    state.registers[dst] = ofNumbers(behindJump(instruction, taken, numbersOf(one), numbersOf(other)));
  }
  if (opcodeClass(opcode) !== CLASS.JMP) return state;
  const what = operation(opcode);
  if (!isRegister) {
    const isTest = imm === 0 && (what === JMP.JEQ ? !taken : what === JMP.JNE && taken);
    if (isTest && one.tag === 'value') {
      const { mayBeNull: _, ...address } = one;
      state.registers[dst] = address;
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

/** How often numbers at the start of a block may grow by what a loop adds; and by limits, after which they may be any. */
const ROUNDS = 4;
const ROUNDS_MAX = 24;

/** What numbers are held against in a function: where those that grow in a loop may end. They grow. */
function limitsOf(code: readonly Instruction[], { blocks }: Graph): number[] {
  const found = new Set(WIDTHS);
  for (const { exit, end } of blocks) {
    const { imm = 0 } = code[end - 1] ?? {};
    if (exit === 'branch') for (const limit of [imm - 1, imm, imm + 1]) if (limit >= 0) found.add(limit);
  }
  return [...found].sort((a, b) => a - b);
}

/** Goes over a function until nothing changes. `onCall` hears what each call of a function passes. */
function analyseFunction(
  code: readonly Instruction[],
  graph: Graph,
  entry: State,
  onCall: (target: number, state: State) => void,
): State[] {
  const states: (State | undefined)[] = graph.blocks.map((_, index) => (index === 0 ? entry : undefined));
  const limits = limitsOf(code, graph);
  /** How often less was known at the start of a block. */
  const losses = graph.blocks.map(() => 0);
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
      else {
        const lost = losses[to] ?? 0;
        if (!joinStates(known, reached, lost < ROUNDS ? undefined : lost < ROUNDS_MAX ? limits : [])) continue;
        losses[to] = lost + 1;
      }
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
      else if (!joinStates(known, passed, WIDTHS)) return;
      if (!queue.includes(callee)) queue.push(callee);
    });
  }
  return graphs.map((graph, index) => ({ graph, states: results[index] ?? graph.blocks.map(() => unknown()) }));
}
