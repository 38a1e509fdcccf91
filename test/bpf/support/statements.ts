import { ALU, ATOMIC, JMP } from '#build/bpf/instruction.js';
import { type Body, CONTEXT, FRAME, SCALARS } from './body.ts';
import { ATOMICS } from './emitter.ts';

/** Writes a statement; false when it has no place here. */
export type Statement = (b: Body) => boolean;

/** Writes some statements. */
export type Block = (b: Body, count: number) => void;

const BINARY = [
  ALU.ADD,
  ALU.SUB,
  ALU.MUL,
  ALU.DIV,
  ALU.MOD,
  ALU.OR,
  ALU.AND,
  ALU.XOR,
  ALU.LSH,
  ALU.RSH,
  ALU.ARSH,
] as const;
const SIZES = [1, 2, 4, 8] as const;

const isDivision = (operation: number): boolean => operation === ALU.DIV || operation === ALU.MOD;
const isShift = (operation: number): boolean => [ALU.LSH, ALU.RSH, ALU.ARSH].some((shift) => shift === operation);

/** Arithmetic on a register and another, or a constant. */
export function binary(b: Body): boolean {
  const operation = b.pick(BINARY);
  const wide = b.chance(55);
  const dst = b.scalar();
  const offset = isDivision(operation) && b.chance(50) ? 1 : 0;
  let operand = b.operand();
  if ('imm' in operand) {
    // The kernel refuses both, though RFC 9669 does not.
    if (isDivision(operation) && operand.imm === 0) operand = { imm: 3 };
    if (isShift(operation)) operand = { imm: operand.imm & (wide ? 63 : 31) };
  }
  b.e.alu(operation, dst, operand, wide, offset);
  return true;
}

/** Moves, constants, swaps, signs. */
export function unary(b: Body): boolean {
  switch (b.random.below(8)) {
    case 0:
      b.e.alu(ALU.NEG, b.scalar(), { imm: 0 }, b.chance(50));
      break;
    case 1:
      b.e.emit(ALU.END | b.pick([0x04, 0x0c, 0x07]), b.scalar(), 0, 0, b.pick([16, 32, 64]));
      break;
    case 2: {
      const wide = b.chance(60);
      const source = b.scalar();
      b.e.alu(ALU.MOV, b.target(), { register: source }, wide, b.pick(wide ? [8, 16, 32] : [8, 16]));
      break;
    }
    case 3:
    case 4: {
      const operand = b.operand();
      b.e.alu(ALU.MOV, b.target(), operand, b.chance(60));
      break;
    }
    case 5:
      b.e.constant(b.target(), (BigInt(b.random.next()) << 32n) | BigInt(b.random.next()));
      break;
    case 6:
      b.e.load(4, b.target(), CONTEXT, b.pick([12, 16]));
      break;
    default: {
      const source = b.scalar();
      b.e.move(b.target(), source);
    }
  }
  return true;
}

/** The length of the packet, as the difference of its ends. */
export function packetLength(b: Body): boolean {
  const end = b.take();
  const data = b.take();
  if (end !== undefined && data !== undefined) {
    b.e.load(4, data, CONTEXT, 0);
    b.e.load(4, end, CONTEXT, 4);
    b.e.alu(ALU.SUB, end, { register: data });
  }
  b.give(end);
  b.give(data);
  if (end === undefined || data === undefined) return false;
  b.ready.add(end);
  return true;
}

/** A place of `bytes` among the scalars in the frame. */
const place = (b: Body, bytes: number): number => SCALARS + b.random.below(-SCALARS / bytes) * bytes;

/** Reads or writes scalars in the frame, or does an atomic on them. */
export function stack(b: Body): boolean {
  const bytes = b.pick(SIZES);
  const at = place(b, bytes);
  const what = b.random.below(10);
  if (what < 4) b.e.load(bytes, b.target(), FRAME, at, bytes < 8 && b.chance(40));
  else if (what < 8) b.e.store(bytes, FRAME, at, b.operand());
  else atomicAt(b, FRAME, true, (wide) => place(b, wide));
  return true;
}

/** An atomic at a place that `offset` gives for 4 or 8 bytes; `isFrame`: of a frame. */
export function atomicAt(b: Body, base: number, isFrame: boolean, offset: (bytes: 4 | 8) => number): void {
  const bytes = b.pick([4, 8] as const);
  const operation = b.pick(ATOMICS);
  if (operation === 0xf1 && !b.ready.has(0)) {
    if (b.reserved.has(0)) return;
    b.e.set(0, b.imm());
    b.ready.add(0);
  }
  const at = offset(bytes);
  // Linux before 7.0 loses that branches hang on what was fetched from a frame, and leaves out ways on which there is something
  // else (179ee84a8911, "bpf: Fix incorrect pruning due to atomic fetch precision tracking"). It knows nothing of a word of which
  // one byte was written.
  if (isFrame && (operation & ATOMIC.FETCH) !== 0) b.e.store(1, base, at + b.random.below(bytes), b.operand());
  b.e.atomic(bytes, operation, base, at, b.scalar());
}

/** Reads or writes scalars in the frame at a place that is not known before. */
export function stackByIndex(b: Body): boolean {
  const at = b.take();
  if (at === undefined) return false;
  const bytes = b.pick(SIZES);
  const mask = (-SCALARS - 1) & ~(bytes - 1);
  // Linux 6.18 takes a number plus the frame pointer for a place in the frame of the program itself, wherever it is.
  if (b.isMain && b.chance(50)) {
    b.bounded(at, mask);
    b.e.alu(ALU.ADD, at, { register: FRAME });
  } else {
    const index = b.take();
    if (index === undefined) {
      b.give(at);
      return false;
    }
    b.bounded(index, mask);
    b.e.move(at, FRAME);
    b.e.alu(ALU.ADD, at, { register: index });
    b.give(index);
  }
  if (b.chance(50)) b.e.load(bytes, b.target(), at, SCALARS, bytes < 8 && b.chance(40));
  else b.e.store(bytes, at, SCALARS, b.chance(70) ? { register: b.scalar() } : { imm: b.imm() });
  b.give(at);
  return true;
}

/** Leaves the function. */
export function leave(b: Body): boolean {
  const over = b.e.label();
  b.branch(over);
  const before = new Set(b.ready);
  b.e.move(0, b.scalar());
  b.e.exit();
  b.e.bind(over);
  b.ready = before;
  return true;
}

/** Leaves the innermost loop, or goes on with its next round. */
export function leaveLoop(b: Body): boolean {
  const loop = b.loops.at(-1);
  if (loop === undefined) return false;
  const next = loop.latch !== undefined && b.chance(40);
  b.branch(next ? (loop.latch as typeof loop.out) : loop.out);
  (next ? loop.latchReady : loop.outReady).push(new Set(b.ready));
  return true;
}

/** Code on a condition, with or without code for the other case. */
export function either(b: Body, block: Block): boolean {
  if (b.depth > 4) return false;
  const [otherwise, end] = [b.e.label(), b.e.label()];
  b.branch(otherwise);
  const before = new Set(b.ready);
  b.depth += 1;
  block(b, b.between(1, 3));
  if (b.chance(50)) {
    b.e.go(end, b.chance(30));
    const after = b.ready;
    b.ready = before;
    b.e.bind(otherwise);
    block(b, b.between(1, 3));
    b.e.bind(end);
    b.join(after);
  } else {
    b.e.bind(otherwise);
    b.join(before);
  }
  b.depth -= 1;
  return true;
}

/** A counter in a register or in the frame, and the register that it is counted in. */
interface Counter {
  readonly register: number;
  readonly spill: number | undefined;
}

function takeCounter(b: Body): Counter | undefined {
  const [spill] = b.spills;
  if (spill !== undefined && b.chance(30)) {
    const register = b.pick(b.free());
    b.ready.delete(register);
    b.spills.delete(spill);
    return { register, spill };
  }
  const register = b.take(b.chance(80) ? [7, 8, 9] : b.free());
  return register === undefined ? undefined : { register, spill: undefined };
}

function giveCounter(b: Body, { register, spill }: Counter): void {
  if (spill === undefined) b.give(register);
  else b.spills.add(spill);
  b.ready.delete(register);
}

function setCounter(b: Body, { register, spill }: Counter, value: number): void {
  if (spill === undefined) b.e.set(register, value);
  else b.e.store(8, FRAME, spill, { imm: value });
}

/** Adds to the counter; its register holds it afterwards. */
function count(b: Body, { register, spill }: Counter, step: number): void {
  if (spill !== undefined) b.e.load(8, register, FRAME, spill);
  b.ready.delete(register);
  if (step !== 0) b.e.alu(ALU.ADD, register, { imm: step }, b.chance(70));
  if (spill !== undefined && step !== 0) b.e.store(8, FRAME, spill, { register });
}

/** How much code may run in all: what the verifier goes through is as much. */
const WEIGHT_MAX = 40;

/** A loop with a counter, that goes up or down. */
export function loop(b: Body, block: Block): boolean {
  const rounds = b.between(1, 6);
  if (b.weight * rounds > WEIGHT_MAX || b.depth > 3) return false;
  const counter = takeCounter(b);
  if (counter === undefined) return false;
  const up = b.chance(50);
  setCounter(b, counter, up ? 0 : rounds);
  const before = new Set(b.ready);
  const place = {
    out: b.e.label(),
    outReady: [] as Set<number>[],
    latch: b.e.label(),
    latchReady: [] as Set<number>[],
  };
  const head = b.e.label();
  b.e.bind(head);
  if (up) {
    count(b, counter, 0);
    b.e.jump(b.pick([JMP.JGE, JMP.JSGE, JMP.JEQ]), counter.register, { imm: rounds }, place.out, b.chance(70));
  }
  b.loops.push(place);
  b.weight *= rounds;
  b.depth += 1;
  block(b, b.between(1, 4));
  b.depth -= 1;
  b.weight /= rounds;
  b.loops.pop();
  b.e.bind(place.latch);
  b.join(...place.latchReady);
  b.restore(before);
  count(b, counter, up ? 1 : -1);
  if (up) b.e.go(head, b.chance(30));
  else b.e.jump(b.pick([JMP.JNE, JMP.JSGT, JMP.JGT]), counter.register, { imm: 0 }, head, b.chance(70));
  b.e.bind(place.out);
  // Nothing but what was there before is certain after a loop that counts up, since it is left at its head.
  if (up) b.ready = new Set(before);
  b.join(...place.outReady);
  giveCounter(b, counter);
  return true;
}

/** Pieces of code between which jumps lead to and fro, into the middle of cycles too, until a counter has run down. */
export function tangle(b: Body, block: Block): boolean {
  const pieces = b.between(2, 4);
  const rounds = b.between(2, 6);
  if (b.weight * rounds > WEIGHT_MAX || b.depth > 3) return false;
  const counter = takeCounter(b);
  if (counter === undefined) return false;
  setCounter(b, counter, rounds);
  b.scalar();
  const before = new Set(b.ready);
  const labels = Array.from({ length: pieces }, () => b.e.label());
  const place = { out: b.e.label(), outReady: [] as Set<number>[], latchReady: [] as Set<number>[] };
  b.branch(b.pick(labels.slice(1)));
  b.loops.push(place);
  b.weight *= rounds;
  b.depth += 2;
  for (const [index, label] of labels.entries()) {
    b.e.bind(label);
    b.ready = new Set(before);
    block(b, b.between(1, 2));
    b.restore(before);
    count(b, counter, -1);
    b.e.jump(b.pick([JMP.JEQ, JMP.JSLE]), counter.register, { imm: 0 }, place.out, b.chance(70));
    b.ready = new Set(before);
    place.outReady.push(new Set(before));
    b.branch(b.pick(labels));
    if (index === pieces - 1) b.e.go(b.pick(labels), b.chance(30));
  }
  b.depth -= 2;
  b.weight /= rounds;
  b.loops.pop();
  b.e.bind(place.out);
  b.join(...place.outReady);
  giveCounter(b, counter);
  return true;
}
