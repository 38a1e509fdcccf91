import { RingwayError } from '../util/errors.ts';
import { HELPERS } from './helpers.ts';
import {
  ALU,
  ATOMIC,
  CALL_HELPER,
  CALL_LOCAL,
  CLASS,
  type Instruction,
  JMP,
  LDDW,
  MODE,
  OP_CALL,
  OP_CALLX,
  OP_EXIT,
  OP_JA,
  OP_JA32,
  OP_LDDW,
  SIZE,
  SOURCE_REGISTER,
} from './instruction.ts';
import type { MapDefinition, Program } from './program.ts';

const SIZES: Readonly<Record<string, number>> = { b: SIZE.B, h: SIZE.H, w: SIZE.W, dw: SIZE.DW };
/** `exit` as the target of a jump, when no line has that label: the last EXIT. */
const LAST_EXIT = 'exit';

/** An instruction, and the label that its jump or call leads to, if it has one. */
interface Draft {
  readonly instruction: Instruction;
  readonly label?: string;
}

/** A line of text without its comment, and what the messages say of it. */
class Line {
  readonly text: string;
  readonly #number: number;

  constructor(text: string, number: number) {
    this.text = text.replace(/[#;].*|\/\/.*/, '').trim();
    this.#number = number;
  }

  bad(why: string): RingwayError {
    return new RingwayError('BAD_PROGRAM', `assembler: line ${this.#number}, "${this.text}": ${why}`);
  }

  register(text: string | undefined): number {
    const found = /^%?r(\d+)$/.exec(text ?? '');
    const number = Number(found?.[1]);
    if (found === null || number > 10) throw this.bad(`"${text ?? ''}" is no register; there are %r0 to %r10`);
    return number;
  }

  /** A whole number of `bits`, with or without a sign; one past the highest signed number only when it is `unsigned`. */
  number(text: string | undefined, bits: number, unsigned: boolean): bigint {
    const found = /^([+-]?)(0x[0-9a-f]+|\d+)$/i.exec(text ?? '');
    if (found === null) throw this.bad(`"${text ?? ''}" is no number`);
    const size = BigInt(found[2] as string);
    const value = found[1] === '-' ? -size : size;
    if (value >= 1n << BigInt(unsigned ? bits : bits - 1) || value < -(1n << BigInt(bits - 1))) {
      throw this.bad(`${text} does not fit ${bits} bits`);
    }
    return BigInt.asIntN(bits, value);
  }

  imm(text: string | undefined): number {
    return Number(this.number(text, 32, true));
  }

  /** `[%r1+8]`. */
  memory(text: string | undefined): { register: number; offset: number } {
    const found = /^\[\s*(%?r\d+)\s*(?:([+-])\s*(\w+))?\s*\]$/i.exec(text ?? '');
    if (found === null) throw this.bad(`"${text ?? ''}" is no place in memory; write [%r1+8]`);
    const offset = found[3] === undefined ? 0 : Number(this.number(`${found[2]}${found[3]}`, 16, false));
    return { register: this.register(found[1]), offset };
  }
}

const draft = (opcode: number, fields: Partial<Instruction> = {}, label?: string): Draft[] => {
  const instruction = { opcode, dst: 0, src: 0, offset: 0, imm: 0, ...fields };
  return [label === undefined ? { instruction } : { instruction, label }];
};

/** The second operand of arithmetic and jumps: what it adds to the opcode, and its field. */
function operand(line: Line, text: string | undefined): { bit: number; fields: Partial<Instruction> } {
  return /^%?r\d+$/.test(text ?? '')
    ? { bit: SOURCE_REGISTER, fields: { src: line.register(text) } }
    : { bit: 0, fields: { imm: line.imm(text) } };
}

function arithmetic(line: Line, name: string, args: readonly string[]): Draft[] | undefined {
  const movsx = /^movsx(8|16|32)(32|64)$/.exec(name);
  if (movsx !== null) {
    const kind = movsx[2] === '64' ? CLASS.ALU64 : CLASS.ALU;
    const fields = { dst: line.register(args[0]), src: line.register(args[1]), offset: Number(movsx[1]) };
    return draft(ALU.MOV | SOURCE_REGISTER | kind, fields);
  }
  const swap = /^(le|be|bswap|swap)(16|32|64)$/.exec(name);
  if (swap !== null) {
    const opcode = ALU.END | (swap[1] === 'le' ? CLASS.ALU : swap[1] === 'be' ? 0x08 | CLASS.ALU : CLASS.ALU64);
    return draft(opcode, { dst: line.register(args[0]), imm: Number(swap[2]) });
  }
  const parts = /^(s?)([a-z]+?)(32|64)?$/.exec(name);
  const plain = parts?.[1] === '' || parts?.[2] === 'div' || parts?.[2] === 'mod';
  const operation = plain ? parts?.[2] : `s${parts?.[2]}`;
  const code = (ALU as Readonly<Record<string, number | undefined>>)[(operation ?? '').toUpperCase()];
  if (code === undefined || code === ALU.END) return undefined;
  const opcode = code | (parts?.[3] === '32' ? CLASS.ALU : CLASS.ALU64);
  const dst = line.register(args[0]);
  if (code === ALU.NEG) return draft(opcode, { dst });
  const { bit, fields } = operand(line, args[1]);
  return draft(opcode | bit, { dst, ...fields, offset: plain && parts?.[1] === 's' ? 1 : 0 });
}

function atomic(line: Line, words: readonly string[], args: readonly string[]): Draft[] {
  const fetch = words[1] === 'fetch';
  const found = /^([a-z]+?)(32|64)?$/.exec(words[fetch ? 2 : 1] ?? '');
  const name = (found?.[1] ?? '').toUpperCase();
  const code = name === 'FETCH' ? undefined : (ATOMIC as Readonly<Record<string, number | undefined>>)[name];
  if (code === undefined) throw line.bad('no such atomic; there are add, or, and, xor, xchg and cmpxchg');
  const { register, offset } = line.memory(args[0]);
  const size = found?.[2] === '32' ? SIZE.W : SIZE.DW;
  const imm = fetch ? code | ATOMIC.FETCH : code;
  return draft(MODE.ATOMIC | size | CLASS.STX, { dst: register, src: line.register(args[1]), offset, imm });
}

function access(line: Line, name: string, args: readonly string[]): Draft[] | undefined {
  const found = /^(ldxs|ldx|stx|st)(b|h|w|dw)$/.exec(name);
  if (found === null) return undefined;
  const size = SIZES[found[2] as string] as number;
  if (found[1] === 'ldx' || found[1] === 'ldxs') {
    if (name === 'ldxsdw') throw line.bad('64 bits have no sign to extend; write ldxdw');
    const { register, offset } = line.memory(args[1]);
    const mode = found[1] === 'ldx' ? MODE.MEM : MODE.MEMSX;
    return draft(mode | size | CLASS.LDX, { dst: line.register(args[0]), src: register, offset });
  }
  const { register, offset } = line.memory(args[0]);
  if (found[1] === 'st') return draft(MODE.MEM | size | CLASS.ST, { dst: register, offset, imm: line.imm(args[1]) });
  return draft(MODE.MEM | size | CLASS.STX, { dst: register, src: line.register(args[1]), offset });
}

/** Where a jump leads: `+3`, or a label. */
function target(line: Line, text: string | undefined, bits: 16 | 32): { distance: number; label?: string } {
  if (/^[+-]?\d/.test(text ?? '')) return { distance: Number(line.number(text, bits, false)) };
  if (!/^[A-Za-z_.][\w.]*$/.test(text ?? '')) throw line.bad(`"${text ?? ''}" is neither a label nor a distance`);
  return { distance: 0, label: text as string };
}

function jump(line: Line, name: string, args: readonly string[]): Draft[] | undefined {
  if (name === 'exit') return draft(OP_EXIT);
  if (name === 'ja32') {
    const { distance, label } = target(line, args[0], 32);
    return draft(OP_JA32, { imm: distance }, label);
  }
  const found = /^(j[a-z]+?)(32|64)?$/.exec(name);
  const code = (JMP as Readonly<Record<string, number | undefined>>)[(found?.[1] ?? '').toUpperCase()];
  if (code === undefined) return undefined;
  if (code === JMP.JA) {
    const { distance, label } = target(line, args[0], 16);
    return draft(OP_JA, { offset: distance }, label);
  }
  const { bit, fields } = operand(line, args[1]);
  const { distance, label } = target(line, args[2], 16);
  const opcode = code | bit | (found?.[2] === '32' ? CLASS.JMP32 : CLASS.JMP);
  return draft(opcode, { dst: line.register(args[0]), ...fields, offset: distance }, label);
}

function call(line: Line, words: readonly string[]): Draft[] {
  const what = words[1] ?? '';
  if (what === 'local') {
    const { distance, label } = target(line, words[2], 32);
    return draft(OP_CALL, { src: CALL_LOCAL, imm: distance }, label);
  }
  if (/^%?r\d+$/.test(what)) return draft(OP_CALLX, { dst: line.register(what) });
  const named = [...HELPERS.values()].find(({ name }) => name === what);
  return draft(OP_CALL, { src: CALL_HELPER, imm: named?.id ?? line.imm(what) });
}

function constant(line: Line, args: readonly string[]): Draft[] {
  const dst = line.register(args[0]);
  const map = /^(map|value)\s+(\w+)\s*(?:\+\s*(\w+))?$/.exec(args[1] ?? '');
  if (map !== null) {
    const src = map[1] === 'map' ? LDDW.MAP_INDEX : LDDW.MAP_INDEX_VALUE;
    const next = draft(0, { imm: map[3] === undefined ? 0 : line.imm(map[3]) });
    return [...draft(OP_LDDW, { dst, src, imm: line.imm(map[2]) }), ...next];
  }
  const callee = /^function\s+(.*)$/.exec(args[1] ?? '')?.[1];
  if (callee !== undefined) {
    const { distance, label } = target(line, callee, 32);
    return [...draft(OP_LDDW, { dst, src: LDDW.FUNCTION, imm: distance }, label), ...draft(0, {})];
  }
  const value = line.number(args[1], 64, true);
  const half = (part: bigint): number => Number(BigInt.asIntN(32, part));
  return [...draft(OP_LDDW, { dst, imm: half(value) }), ...draft(0, { imm: half(value >> 32n) })];
}

function parse(line: Line): Draft[] {
  const space = line.text.search(/\s/);
  const name = (space < 0 ? line.text : line.text.slice(0, space)).toLowerCase();
  const rest = space < 0 ? '' : line.text.slice(space).trim();
  if (name === 'lock') {
    const bracket = rest.indexOf('[');
    if (bracket < 0) throw line.bad('an atomic needs a place in memory; write lock add [%r1+8], %r2');
    return atomic(line, [name, ...rest.slice(0, bracket).trim().split(/\s+/)], splitArguments(rest.slice(bracket)));
  }
  if (name === 'call') return call(line, [name, ...rest.split(/\s+/)]);
  const args = splitArguments(rest);
  if (name === 'lddw') return constant(line, args);
  const found = jump(line, name, args) ?? access(line, name, args) ?? arithmetic(line, name, args);
  if (found === undefined) throw line.bad(`"${name}" is no instruction`);
  return found;
}

const splitArguments = (text: string): string[] => (text === '' ? [] : text.split(',').map((part) => part.trim()));

/**
 * Assembles a program, a line an instruction: `mov %r0, 1`, `ldxh %r3, [%r1+12]`, `jne32 %r3, 0x81, label`,
 * `lock fetch add [%r10-8], %r1`, `call local label`, `call %r2`, `call map_lookup_elem`, `lddw %r1, map 0` (a map by number),
 * `lddw %r1, value 0 + 8` (its value), `lddw %r2, function label`. A label is a name and a colon; a comment begins with `#`, `;` or `//`.
 * @throws RingwayError `BAD_PROGRAM` with the line.
 */
export function assemble(text: string): Instruction[] {
  const labels = new Map<string, number>();
  const drafts: (Draft & { readonly line: Line })[] = [];
  for (const [index, raw] of text.split('\n').entries()) {
    let line = new Line(raw, index + 1);
    for (;;) {
      const label = /^([A-Za-z_.][\w.]*):\s*/.exec(line.text);
      if (label === null) break;
      if (labels.has(label[1] as string)) throw line.bad(`label ${label[1]} is there already`);
      labels.set(label[1] as string, drafts.length);
      line = new Line(line.text.slice(label[0].length), index + 1);
    }
    if (line.text !== '') for (const one of parse(line)) drafts.push({ ...one, line });
  }
  const lastExit = drafts.findLastIndex(({ instruction }) => instruction.opcode === OP_EXIT);
  if (!labels.has(LAST_EXIT) && lastExit >= 0) labels.set(LAST_EXIT, lastExit);
  return drafts.map(({ instruction, label, line }, pc) => {
    if (label === undefined) return instruction;
    const found = labels.get(label);
    if (found === undefined) throw line.bad(`no label ${label}; there are ${[...labels.keys()].join(', ') || 'none'}`);
    const distance = found - pc - 1;
    if ([OP_CALL, OP_JA32, OP_LDDW].includes(instruction.opcode)) return { ...instruction, imm: distance };
    if (distance !== (distance << 16) >> 16) throw line.bad(`${label} is ${distance} instructions away, too far`);
    return { ...instruction, offset: distance };
  });
}

/** An XDP program of `code`: a function begins at 0 and at each one that is called, or named. */
export function programOf(
  code: readonly Instruction[],
  name = 'program',
  maps: readonly MapDefinition[] = [],
): Program {
  const starts = new Set([0]);
  for (const [pc, { opcode, src, imm }] of code.entries()) {
    const isCall = opcode === OP_CALL && src === CALL_LOCAL;
    if (isCall || (opcode === OP_LDDW && src === LDDW.FUNCTION)) starts.add(pc + 1 + imm);
  }
  const sorted = [...starts].sort((a, b) => a - b);
  return {
    name,
    section: 'xdp',
    type: 'xdp',
    frags: false,
    code,
    functions: sorted.map((start, index) => ({
      name: index === 0 ? name : `function_${start}`,
      start,
      end: sorted[index + 1] ?? code.length,
    })),
    maps,
    lines: [],
  };
}
