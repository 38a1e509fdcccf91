import type { MapDefinition } from '../program.ts';
import type { Checkpoint } from './checkpoints.ts';
import { Register, UNINITIALISED } from './register.ts';
import { Stack } from './stack.ts';

export const FRAME_POINTER = 10;

/** What a function takes of the stack, on whatever way. */
export interface StackUsage {
  bytes: number;
}

/** What a round of a bpf_loop, or of a like helper, is held against. */
export interface Round {
  /** Name of the helper. */
  readonly name: string;
  /** What the frames before it were when it began. */
  readonly before: readonly Frame[];
  readonly references: readonly Reference[];
}

/** A function that runs, or waits for one that it called. */
export class Frame {
  readonly registers: Register[];
  readonly usage: StackUsage;
  readonly stack: Stack;
  /** Where its caller goes on; -1 for the program itself. */
  readonly returnPc: number;
  /** When it is called by bpf_loop, or a like helper. */
  readonly round: Round | undefined;
  /** Rounds of the bpf_loop that it is at. */
  rounds = 0;

  constructor(usage: StackUsage, returnPc: number, registers: Register[], stack: Stack, round?: Round) {
    this.usage = usage;
    this.returnPc = returnPc;
    this.registers = registers;
    this.stack = stack;
    this.round = round;
  }

  clone(): Frame {
    const copy = new Frame(this.usage, this.returnPc, this.registers.slice(), this.stack.clone(), this.round);
    copy.rounds = this.rounds;
    return copy;
  }
}

/** A conditional jump on the way to a state. */
export interface PathStep {
  readonly pc: number;
  readonly taken: boolean;
  /** The other way was possible too. */
  readonly isOpen: boolean;
  readonly before: PathStep | undefined;
}

/** What must be given back, and where it was taken. */
export interface Reference {
  readonly id: number;
  readonly pc: number;
}

/** The spin lock that is held: the value that it is in, and where it was taken. */
export interface HeldLock {
  readonly map: MapDefinition;
  /** Of the pointer to the value; 0 for a variable. */
  readonly id: number;
  readonly pc: number;
}

/** All that is known at one instruction, on one way to it. */
export class State {
  pc: number;
  readonly frames: Frame[];
  references: readonly Reference[];
  lock: HeldLock | undefined;
  path: PathStep | undefined;
  /** The last checkpoint on the way here. */
  parent: Checkpoint | undefined;
  /** Instructions and jumps since then. */
  sinceInstructions = 0;
  sinceJumps = 0;

  constructor(pc: number, frames: Frame[], references: readonly Reference[], path: PathStep | undefined) {
    this.pc = pc;
    this.frames = frames;
    this.references = references;
    this.path = path;
  }

  get frame(): Frame {
    return this.frames[this.frames.length - 1] as Frame;
  }

  register(number: number): Register {
    return this.frame.registers[number] ?? UNINITIALISED;
  }

  setRegister(number: number, register: Register): void {
    this.frame.registers[number] = register;
  }

  clone(): State {
    const copy = new State(
      this.pc,
      this.frames.map((frame) => frame.clone()),
      this.references,
      this.path,
    );
    copy.lock = this.lock;
    copy.parent = this.parent;
    copy.sinceInstructions = this.sinceInstructions;
    copy.sinceJumps = this.sinceJumps;
    return copy;
  }

  /** Replaces registers, wherever they are: `change` gives the one that it was given when it has nothing to say. */
  replace(change: (register: Register) => Register): void {
    for (const { registers, stack } of this.frames) {
      for (let number = 0; number < FRAME_POINTER; number++) {
        const old = registers[number] as Register;
        if (old !== UNINITIALISED) registers[number] = change(old);
      }
      for (let index = 0; index < stack.slots.length; index++) {
        const slot = stack.slots[index];
        if (slot?.value === undefined) continue;
        const changed = change(slot.value);
        if (changed !== slot.value) stack.set(index, slot.withValue(changed));
      }
    }
  }
}

/** A new frame: nothing is known but the frame pointer. `depth`: 0 for the program. */
export function createFrame(usage: StackUsage, returnPc: number, depth: number, round?: Round): Frame {
  const registers = new Array<Register>(FRAME_POINTER + 1).fill(UNINITIALISED);
  registers[FRAME_POINTER] = new Register({ type: 'stack', frame: depth });
  return new Frame(usage, returnPc, registers, new Stack(), round);
}
