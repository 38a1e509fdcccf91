import type { LoopCalls, Program } from '../program.ts';
import { Checkpoint, type Comparison, covers, hasMoreRounds, holdAll, inherit } from './checkpoints.ts';
import type { Flow } from './flow.ts';
import { Refusal } from './refusal.ts';
import type { State } from './state.ts';
import { Stepper } from './step.ts';

/** Instructions that may be visited (Linux BPF_COMPLEXITY_LIMIT_INSNS). */
export const INSTRUCTIONS_MAX = 1_000_000;
/** Instructions and jumps between two checkpoints, so that few states are kept that differ little. */
const APART_INSTRUCTIONS = 8;
const APART_JUMPS = 2;
/** A checkpoint that is asked so much more often than it answers is forgotten. */
const MISSES_PER_HIT = 3;
const MISSES_MIN = 8;

/** What an exploration took. */
export interface ExplorationCounts {
  /** Instructions that were visited, each as often as it was. */
  instructions: number;
  /** States that were kept to compare others with. */
  states: number;
  /** Ways that were not followed, since an earlier one had led to the same. */
  pruned: number;
  /** Most states that were there at once: kept ones, and ways still to be followed. */
  peakStates: number;
}

/** Where an exploration ended, and in which state. */
export interface Failure {
  readonly refusal: Refusal;
  readonly state: State;
}

/** How an exploration goes: to its end, or only so far. */
export interface ExplorationOptions {
  /**
   * `prove` follows each way to its end before it takes the next one, so that much need not be followed twice. `search`
   * follows those with the fewest branches first, so that what it finds is the shortest way there is.
   */
  readonly order: 'prove' | 'search';
  readonly limit: number;
  /** Called before each instruction. */
  readonly onStep?: (state: State) => void;
}

function tooLong(limit: number): Refusal {
  const why = `${limit} instructions were visited, and there are ways left.`;
  const missing =
    'Make loops shorter, or let their rounds differ less from each other; split the program with tail calls.';
  return new Refusal('budget', why, missing);
}

function endless(): Refusal {
  const why = 'the program comes here again with nothing changed: it may go round for ever.';
  const missing = 'Give the loop a counter with an end: `for (int i = 0; i < 16; i++)`.';
  return new Refusal('infinite-loop', why, missing);
}

/** Follows all ways through a program. */
export class Exploration {
  readonly counts: ExplorationCounts = { instructions: 0, states: 0, pruned: 0, peakStates: 0 };
  /** 1 for instructions that were visited. */
  readonly visited: Uint8Array;
  readonly #flow: Flow;
  readonly #options: ExplorationOptions;
  readonly #stepper: Stepper;
  readonly #loops: LoopCalls['calls'] | undefined;
  readonly #checkpoints = new Map<number, Checkpoint[]>();
  readonly #pending: State[] = [];
  #current: State;
  /** In a search, the number of the next pending state. */
  #next = 0;
  #kept = 0;

  /** Bytes of stack that each function takes, as far as was seen. */
  get stackBytes(): readonly number[] {
    return this.#stepper.usages.map(({ bytes }) => bytes);
  }

  constructor(program: Program, flow: Flow, options: ExplorationOptions) {
    this.#flow = flow;
    this.#options = options;
    this.#stepper = new Stepper(program);
    this.#loops = program.loops?.calls;
    this.visited = new Uint8Array(program.code.length);
    this.#current = this.#stepper.start();
    this.#pending.push(this.#current);
  }

  /** Why the program is rejected, at the first place that was found; undefined when there is none. */
  run(): Failure | undefined {
    for (;;) {
      const state = this.#take();
      if (state === undefined) return undefined;
      this.#current = state;
      try {
        while (this.#advance()) {}
      } catch (error) {
        if (!(error instanceof Refusal)) throw error;
        return { refusal: error, state: this.#current };
      }
    }
  }

  #take(): State | undefined {
    if (this.#options.order === 'prove') return this.#pending.pop();
    return this.#pending[this.#next++];
  }

  #push(state: State): void {
    this.#pending.push(state);
    this.#notePeak();
  }

  #notePeak(): void {
    const { counts } = this;
    counts.peakStates = Math.max(counts.peakStates, this.#kept + this.#pending.length - this.#next);
  }

  /** Runs one instruction. False when this way is at its end. */
  #advance(): boolean {
    const { counts } = this;
    const { limit, onStep } = this.#options;
    const state = this.#current;
    if (this.#flow.isJoin(state.pc) && this.#arrive(state)) return false;
    if (counts.instructions >= limit) throw tooLong(limit);
    counts.instructions++;
    state.sinceInstructions++;
    this.visited[state.pc] = 1;
    onStep?.(state);
    const { pc } = state;
    const outcome = this.#stepper.step(state);
    if (outcome.kind === 'next') return true;
    if (outcome.kind === 'branch') return this.#divide(pc, state, outcome.taken, outcome.passed);
    state.parent?.close();
    return false;
  }

  /** Goes on in one of two ways, and keeps the other for later. False when there is none to go on. */
  #divide(pc: number, { path: before, parent }: State, taken: State | undefined, passed: State | undefined): boolean {
    const isOpen = taken !== undefined && passed !== undefined;
    for (const way of [taken, passed]) {
      if (way === undefined) continue;
      way.path = { pc, taken: way === taken, isOpen, before };
      way.sinceJumps++;
    }
    if (!isOpen) {
      const only = taken ?? passed;
      if (only === undefined) parent?.close();
      else this.#current = only;
      return only !== undefined;
    }
    if (parent !== undefined) parent.openWays++;
    if (this.#options.order === 'search') {
      this.#push(passed);
      this.#push(taken);
      return false;
    }
    this.#push(taken);
    this.#current = passed;
    return true;
  }

  /** A state comes to where ways meet. True when all that is behind it is known. */
  #arrive(state: State): boolean {
    const { order } = this.#options;
    const list = this.#checkpoints.get(state.pc) ?? [];
    const isLoop = this.#loops?.has(state.pc) === true;
    // The latest are the likeliest to be like this one.
    for (let index = list.length - 1; index >= 0; index--) {
      const checkpoint = list[index] as Checkpoint;
      const isDone = checkpoint.openWays === 0;
      // A bpf_loop has an end whatever its rounds do, so that one which brings nothing new need not be followed. That a loop around
      // it has one, nobody has said.
      const isRoundOver = isLoop && hasMoreRounds(checkpoint.state, state);
      const isOpen: Comparison = isRoundOver ? 'unexplored' : 'same';
      const how: Comparison = order === 'search' ? 'unexplored' : isDone ? 'explored' : isOpen;
      if (!covers(checkpoint.state, state, this.#flow, how)) {
        checkpoint.misses++;
        if (checkpoint.misses > checkpoint.hits * MISSES_PER_HIT + MISSES_MIN) this.#forget(list, index);
        continue;
      }
      const isRound = how !== 'explored' && hasMoreRounds(checkpoint.state, state);
      if (how === 'same' && !isRound) throw endless();
      checkpoint.hits++;
      this.counts.pruned++;
      if (how === 'explored') inherit(checkpoint.state, state, this.#flow);
      else if (isLoop || isRound) holdAll(state);
      state.parent?.close();
      return true;
    }
    const isApart = state.sinceInstructions >= APART_INSTRUCTIONS && state.sinceJumps >= APART_JUMPS;
    if (isApart || isLoop || order === 'search') this.#keep(state, list);
    return false;
  }

  #forget(list: Checkpoint[], index: number): void {
    list.splice(index, 1);
    this.#kept--;
  }

  #keep(state: State, list: Checkpoint[]): void {
    const checkpoint = new Checkpoint(state.clone(), state.parent);
    list.push(checkpoint);
    this.#checkpoints.set(state.pc, list);
    this.counts.states++;
    this.#kept++;
    this.#notePeak();
    state.parent = checkpoint;
    state.sinceInstructions = 0;
    state.sinceJumps = 0;
  }
}
