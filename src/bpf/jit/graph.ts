import { type Instruction, isConditional, jumpTarget, OP_EXIT, OP_JA, OP_JA32, OP_LDDW } from '../instruction.ts';
import type { FunctionInfo } from '../program.ts';

/** A stretch of instructions that is entered at its start only, and left at its end only. */
export interface Block {
  /** Its first instruction, and the first one behind it. */
  readonly start: number;
  readonly end: number;
  /** How it ends: the program, or on to one block, or to `taken` or `next` as a condition says. */
  readonly exit: 'exit' | 'jump' | 'branch';
  /** Index of the block behind a jump, or of a branch that is taken; -1 at an exit. */
  readonly taken: number;
  /** Of a branch that is not taken; else -1. */
  readonly next: number;
}

/** The blocks of a function that can be reached, in reverse postorder: block 0 is its entry. */
export interface Graph {
  readonly blocks: readonly Block[];
  /** By block, its immediate dominator: the last block that every way there passes. The entry's is itself. */
  readonly dominators: readonly number[];
  /** By block, whether some way leads back to it from a block that it dominates. */
  readonly isLoop: readonly boolean[];
  /** By block, how many ways lead there from blocks before it. */
  readonly forwardEdges: readonly number[];
  /** Every loop has one entry, so that structured control flow expresses it. */
  readonly isReducible: boolean;
}

/** Places where blocks begin. */
function leadersOf(code: readonly Instruction[], { start, end }: FunctionInfo): number[] {
  const leaders = new Set([start]);
  for (let pc = start; pc < end; pc++) {
    const instruction = code[pc] as Instruction;
    const { opcode } = instruction;
    const isJump = opcode === OP_JA || opcode === OP_JA32 || isConditional(opcode);
    if (isJump) leaders.add(jumpTarget(instruction, pc));
    if (isJump || opcode === OP_EXIT) leaders.add(pc + 1);
    if (opcode === OP_LDDW) pc++;
  }
  leaders.delete(end);
  return [...leaders].sort((a, b) => a - b);
}

function cut(code: readonly Instruction[], info: FunctionInfo): Block[] {
  const leaders = leadersOf(code, info);
  const indexOf = new Map(leaders.map((leader, index) => [leader, index]));
  const at = (pc: number): number => indexOf.get(pc) ?? -1;
  return leaders.map((start, index) => {
    const end = leaders[index + 1] ?? info.end;
    const last = code[end - 1] as Instruction;
    // The second half of an LDDW has opcode 0, which is no jump.
    if (last.opcode === OP_EXIT) return { start, end, exit: 'exit', taken: -1, next: -1 };
    if (last.opcode === OP_JA || last.opcode === OP_JA32) {
      return { start, end, exit: 'jump', taken: at(jumpTarget(last, end - 1)), next: -1 };
    }
    if (isConditional(last.opcode)) {
      return { start, end, exit: 'branch', taken: at(jumpTarget(last, end - 1)), next: at(end) };
    }
    return { start, end, exit: 'jump', taken: at(end), next: -1 };
  });
}

const successors = ({ exit, taken, next }: Block): number[] =>
  exit === 'exit' ? [] : exit === 'jump' ? [taken] : [taken, next];

/** Indexes of `blocks` that can be reached, each behind all that leads there but for loops. */
function reversePostorder(blocks: readonly Block[]): number[] {
  const seen = new Set([0]);
  const order: number[] = [];
  // Not recursive: a program may have as many blocks as instructions.
  const stack = [{ block: 0, left: successors(blocks[0] as Block) }];
  for (let top = stack.at(-1); top !== undefined; top = stack.at(-1)) {
    const to = top.left.shift();
    if (to === undefined) {
      order.push(top.block);
      stack.pop();
    } else if (!seen.has(to)) {
      seen.add(to);
      stack.push({ block: to, left: successors(blocks[to] as Block) });
    }
  }
  return order.reverse();
}

/** Immediate dominators, by the iteration of Cooper, Harvey and Kennedy ("A Simple, Fast Dominance Algorithm", 2001). */
function dominatorsOf(predecessors: readonly (readonly number[])[]): number[] {
  const dominators: number[] = predecessors.map((_, index) => (index === 0 ? 0 : -1));
  const meet = (one: number, other: number): number => {
    let [a, b] = [one, other];
    while (a !== b) {
      while (a > b) a = dominators[a] as number;
      while (b > a) b = dominators[b] as number;
    }
    return a;
  };
  for (let changed = true; changed; ) {
    changed = false;
    for (let block = 1; block < predecessors.length; block++) {
      const known = (predecessors[block] ?? []).filter((from) => dominators[from] !== -1);
      const dominator = known.reduce(meet);
      if (dominators[block] !== dominator) changed = true;
      dominators[block] = dominator;
    }
  }
  return dominators;
}

/** The control flow of a function that was verified structurally. */
export function graphOf(code: readonly Instruction[], info: FunctionInfo): Graph {
  const all = cut(code, info);
  const order = reversePostorder(all);
  const place = new Map(order.map((block, index) => [block, index]));
  const at = (block: number): number => place.get(block) ?? -1;
  const blocks = order.map((index) => {
    const block = all[index] as Block;
    return { ...block, taken: at(block.taken), next: at(block.next) };
  });
  const predecessors: number[][] = blocks.map(() => []);
  for (const [from, block] of blocks.entries()) for (const to of successors(block)) predecessors[to]?.push(from);
  const dominators = dominatorsOf(predecessors);
  const dominates = (block: number, other: number): boolean => {
    let at = other;
    while (at > block) at = dominators[at] as number;
    return at === block;
  };
  const back = predecessors.map((from, to) => from.filter((block) => block >= to));
  return {
    blocks,
    dominators,
    isLoop: back.map((from) => from.length > 0),
    forwardEdges: predecessors.map((from, to) => from.filter((block) => block < to).length),
    isReducible: back.every((from, to) => from.every((block) => dominates(to, block))),
  };
}
