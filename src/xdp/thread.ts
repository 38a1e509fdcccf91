import type { ContextOptions } from '../bpf/context.ts';
import { initContext, setIngress, setRanges } from '../bpf/context.ts';
import { createProgramTable, instantiateProgram, type ProgramInstance } from '../bpf/jit/compile.ts';
import type { Arena } from '../memory/arena.ts';
import type { ProgramWire } from './object.ts';

/** Programs that there can be at once in a dataplane: their numbers are 1 to PROGRAMS_MAX - 1. */
export const PROGRAMS_MAX = 1024;

/** A program in a thread. */
export interface ThreadProgram {
  readonly wire: ProgramWire;
  readonly instance: ProgramInstance;
}

/** The programs of one thread, over one context: one runs at a time. */
export class ProgramThread {
  readonly arena: Arena;
  /** Address of CTX_BYTES. */
  readonly context: number;
  readonly #table = createProgramTable(PROGRAMS_MAX);
  readonly #entries = new Map<number, ThreadProgram>();

  /** @param context address of CTX_BYTES of zeroes. */
  constructor(arena: Arena, context: number, options: ContextOptions) {
    this.arena = arena;
    this.context = context;
    initContext(arena, context, options);
  }

  /** Makes a program ready to run here, and to be reached by tail calls. */
  add(wire: ProgramWire): void {
    if (this.#entries.has(wire.number)) return;
    const instance = instantiateProgram(this.arena, wire.module, this.#table);
    this.#entries.set(wire.number, { wire, instance });
    this.#table.set(wire.number, instance.main);
  }

  /** Forgets a program; no map of programs has its number any more. */
  delete(number: number): void {
    if (this.#entries.delete(number)) this.#table.set(number, null);
  }

  /** The program of this number, when there is one here. */
  get(number: number): ThreadProgram | undefined {
    return this.#entries.get(number);
  }

  /** Says what the next run may reach, and where its packets come from. */
  prepare(wire: ProgramWire, ifindex: number, rxQueue: number, egressIfindex = 0): void {
    setIngress(this.arena, this.context, ifindex, rxQueue, egressIfindex);
    setRanges(this.arena, this.context, wire.ranges, wire.rangeCount);
  }
}
