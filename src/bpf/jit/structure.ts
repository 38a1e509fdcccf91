import type { Block, Graph } from './graph.ts';

/** What writes a function's code: structure around, blocks and conditions within. */
export interface Emitter {
  /** All instructions of a block, by its index, but the jump at its end. */
  body(block: number): void;
  /** Puts the condition of the branch at the end of `block` on the stack, or its opposite. */
  condition(block: number, negated: boolean): void;
  /** Ends the function. */
  exit(): void;
  /** Comes first in a loop that `block` begins, or in the dispatcher's: once a turn. */
  turn(block: number | undefined): void;
  /** For graphs that need a dispatcher: makes `block` the next one. */
  setNext(block: number): void;
  getNext(): void;
  block(): void;
  loop(): void;
  if(): void;
  else(): void;
  end(): void;
  br(depth: number): void;
  brIf(depth: number): void;
  brTable(depths: readonly number[], otherwise: number): void;
}

/** What an open construct is good for: a branch to it goes to this block, or nobody branches to it. */
type Construct = number | undefined;

/**
 * Writes a reducible graph as nested blocks, loops and ifs, without a dispatcher and without copying code: "Beyond
 * Relooper" (Ramsey, ICFP 2022). A block with several ways in is placed behind a WebAssembly block that those ways leave; one
 * with ways back is a loop; one with a single way in is written where that comes from.
 */
class Structured {
  readonly #graph: Graph;
  readonly #emitter: Emitter;
  readonly #open: Construct[] = [];
  /** By block, those behind it that several ways lead to and that it dominates; the last first. */
  readonly #merges: number[][];
  /** What is left to write, the next last. No recursion: programs may be as deep as they are long. */
  readonly #work: (() => void)[] = [];

  constructor(graph: Graph, emitter: Emitter) {
    this.#graph = graph;
    this.#emitter = emitter;
    this.#merges = graph.blocks.map(() => []);
    for (let block = graph.blocks.length - 1; block > 0; block--) {
      if (this.#isMerge(block)) this.#merges[graph.dominators[block] as number]?.push(block);
    }
  }

  write(): void {
    this.#tree(0);
    for (let next = this.#work.pop(); next !== undefined; next = this.#work.pop()) next();
  }

  #isMerge(block: number): boolean {
    return (this.#graph.forwardEdges[block] ?? 0) > 1;
  }

  #close(): void {
    this.#open.pop();
    this.#emitter.end();
  }

  /** Writes `block` and all that it dominates. */
  #tree(block: number): void {
    const merges = this.#merges[block] ?? [];
    const isLoop = this.#graph.isLoop[block] ?? false;
    if (isLoop) {
      this.#emitter.loop();
      this.#open.push(block);
      this.#emitter.turn(block);
      this.#work.push(() => this.#close());
    }
    for (const merge of merges) {
      this.#emitter.block();
      this.#open.push(merge);
      this.#work.push(() => {
        this.#close();
        this.#tree(merge);
      });
    }
    this.#within(this.#graph.blocks[block] as Block, block);
  }

  #within(block: Block, index: number): void {
    this.#emitter.body(index);
    if (block.exit === 'exit') {
      this.#emitter.exit();
    } else if (block.exit === 'jump' || block.taken === block.next) {
      this.#go(index, block.taken);
    } else if (this.#isFar(index, block.taken)) {
      this.#emitter.condition(index, false);
      this.#emitter.brIf(this.#depthOf(block.taken));
      this.#go(index, block.next);
    } else if (this.#isFar(index, block.next)) {
      this.#emitter.condition(index, true);
      this.#emitter.brIf(this.#depthOf(block.next));
      this.#go(index, block.taken);
    } else {
      this.#emitter.condition(index, false);
      this.#emitter.if();
      this.#open.push(undefined);
      this.#work.push(
        () => this.#close(),
        () => this.#tree(block.next),
        () => this.#emitter.else(),
        () => this.#tree(block.taken),
      );
    }
  }

  /** True when `to` is reached from `from` by a branch; else it is written in place. */
  #isFar(from: number, to: number): boolean {
    return to <= from || this.#isMerge(to);
  }

  #go(from: number, to: number): void {
    if (this.#isFar(from, to)) this.#emitter.br(this.#depthOf(to));
    else this.#work.push(() => this.#tree(to));
  }

  #depthOf(block: number): number {
    return this.#open.length - 1 - this.#open.lastIndexOf(block);
  }
}

/** Writes any graph as a loop around a table of blocks: twice as slow, for the few that need it. */
function writeDispatcher({ blocks }: Graph, emitter: Emitter): void {
  emitter.setNext(0);
  emitter.loop();
  emitter.turn(undefined);
  for (const _ of blocks) emitter.block();
  emitter.getNext();
  emitter.brTable([...blocks.keys()], 0);
  for (const [index, block] of blocks.entries()) {
    emitter.end();
    /** Constructs that are open here: the loop, and the blocks of the rest. */
    const open = blocks.length - index;
    emitter.body(index);
    if (block.exit === 'exit') {
      emitter.exit();
      continue;
    }
    emitter.setNext(block.taken);
    if (block.exit === 'branch') {
      emitter.condition(index, false);
      emitter.brIf(open - 1);
      emitter.setNext(block.next);
    }
    emitter.br(open - 1);
  }
  emitter.end();
}

/** Writes the code of a function whose control flow is `graph`. */
export function writeStructured(graph: Graph, emitter: Emitter): void {
  if (graph.isReducible) new Structured(graph, emitter).write();
  else writeDispatcher(graph, emitter);
}
