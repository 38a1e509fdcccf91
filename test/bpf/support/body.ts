import { ALU } from '#build/bpf/instruction.js';
import type { Random } from '#build/util/random.js';
import { CONDITIONS, type Emitter, type Label, type Operand } from './emitter.ts';

/**
 * The frame of a generated function: 128 bytes, so that four functions within each other have the 512 that the kernel gives.
 *
 *     -32 scalars, always there      -48 two pointers that were put away      -128 keys, values and buffers, written before use
 */
export const SCALARS = -32;
export const SPILLS: readonly number[] = [-40, -48];
export const KEY = -56;
export const BUFFER = -128;

/** The register that holds the context in every generated function, and the frame pointer. */
export const CONTEXT = 6;
export const FRAME = 10;

/** A pointer that the code may use for now. */
export interface Pointer {
  readonly where: { readonly register: number } | { readonly spill: number };
  readonly kind: 'packet' | 'value' | 'stack';
  /** Bytes there are from it on. */
  readonly bytes: number;
  readonly writable: boolean;
}

/** A loop that the code is in: where `break` and `continue` lead, and what is a scalar for certain there. */
export interface LoopPlace {
  readonly out: Label;
  readonly outReady: Set<number>[];
  readonly latch?: Label;
  readonly latchReady: Set<number>[];
}

/** A function to be called. */
export interface Callee {
  readonly label: Label;
  /** Scalars that it takes, in r2 on. */
  readonly scalars: number;
  /** It takes the address of the caller's scalars in r5. */
  readonly takesStack: boolean;
  /** It may move the packet. */
  readonly moves: boolean;
  readonly mayTailCall: boolean;
  readonly callees: readonly Callee[];
}

/** Numbers at which things change. */
const NUMBERS: readonly number[] = [
  0, 1, 2, 3, 7, 8, 31, 32, 63, 255, 256, 0x7fff, 0xffff, 0x7fffffff, -0x80000000, -1, -2, -128,
];

/**
 * A function that is being generated: which registers hold scalars, which are taken by something else. Only scalars are ever
 * stored or compared with numbers, so that no address flows into what engines are compared by.
 */
export class Body {
  readonly e: Emitter;
  readonly random: Random;
  /** Registers that hold a scalar, on every way that leads here. */
  ready = new Set<number>();
  /** Registers that hold something else, which must stay. */
  readonly reserved = new Set<number>([CONTEXT]);
  readonly pointers: Pointer[] = [];
  readonly loops: LoopPlace[] = [];
  readonly spills = new Set<number>(SPILLS);
  readonly callees: readonly Callee[];
  /** Functions that bpf_loop may call, and those that bpf_for_each_map_elem may. */
  readonly rounds: readonly Label[];
  readonly entries: readonly Label[];
  /** It is the program itself. */
  readonly isMain: boolean;
  readonly mayMove: boolean;
  readonly mayTailCall: boolean;
  /** Statements left. */
  budget: number;
  depth = 0;
  /** How often the code here runs, at most. */
  weight = 1;

  constructor(
    e: Emitter,
    random: Random,
    options: {
      readonly callees: readonly Callee[];
      readonly rounds: readonly Label[];
      readonly entries: readonly Label[];
      readonly isMain: boolean;
      readonly mayMove: boolean;
      readonly mayTailCall: boolean;
      readonly budget: number;
    },
  ) {
    this.e = e;
    this.random = random;
    this.callees = options.callees;
    this.rounds = options.rounds;
    this.entries = options.entries;
    this.isMain = options.isMain;
    this.mayMove = options.mayMove;
    this.mayTailCall = options.mayTailCall;
    this.budget = options.budget;
  }

  // ------------------------------------------------------------ chance

  /** True in `percent` of all cases. */
  chance(percent: number): boolean {
    return this.random.below(100) < percent;
  }

  pick<T>(from: readonly T[]): T {
    return from[this.random.below(from.length)] as T;
  }

  /** From `low` to `high`. */
  between(low: number, high: number): number {
    return low + this.random.below(high - low + 1);
  }

  imm(): number {
    if (this.chance(40)) return this.pick(NUMBERS);
    return this.chance(50) ? this.between(-64, 64) : this.random.next() | 0;
  }

  // ------------------------------------------------------------ registers

  free(): number[] {
    return [0, 1, 2, 3, 4, 5, 7, 8, 9].filter((register) => !this.reserved.has(register));
  }

  /** Calls are possible: none of what they change is taken. */
  get mayCall(): boolean {
    return ![0, 1, 2, 3, 4, 5].some((register) => this.reserved.has(register));
  }

  get holdsPacket(): boolean {
    return this.pointers.some(({ kind }) => kind === 'packet');
  }

  /** A register with a scalar; one is made when there is none. */
  scalar(): number {
    const those = [...this.ready].filter((register) => !this.reserved.has(register));
    if (those.length > 0) return this.pick(those);
    const register = this.pick(this.free());
    this.e.set(register, this.imm());
    this.ready.add(register);
    return register;
  }

  operand(): Operand {
    return this.chance(60) ? { register: this.scalar() } : { imm: this.imm() };
  }

  /** A register that is to hold a scalar next: it holds it from now on. */
  target(): number {
    const register = this.pick(this.free());
    this.ready.add(register);
    return register;
  }

  /** Takes a register for something that is no scalar; undefined when too few would be left. */
  take(from: readonly number[] = this.free()): number | undefined {
    const those = from.filter((register) => !this.reserved.has(register));
    if (those.length === 0 || this.free().length <= 3) return undefined;
    const register = this.pick(those);
    this.reserved.add(register);
    this.ready.delete(register);
    return register;
  }

  give(register: number | undefined): void {
    if (register !== undefined) this.reserved.delete(register);
  }

  /** After a call: what it changed is no scalar any more. */
  clobber(): void {
    for (let register = 0; register <= 5; register++) this.ready.delete(register);
  }

  /** Makes scalars of all registers that were ones in `before`, and are none now. */
  restore(before: ReadonlySet<number>): void {
    for (const register of before) {
      if (this.ready.has(register)) continue;
      this.e.set(register, this.imm());
      this.ready.add(register);
    }
  }

  /** What is a scalar here and in all of `others`. */
  join(...others: ReadonlySet<number>[]): void {
    this.ready = new Set([...this.ready].filter((register) => others.every((other) => other.has(register))));
  }

  // ------------------------------------------------------------ pieces of code

  /** A jump to `label` on some condition over scalars. */
  branch(label: Label): void {
    const [left, right] = [this.scalar(), this.operand()];
    this.e.jump(this.pick(CONDITIONS), left, right, label, this.chance(60));
  }

  /** Puts a scalar from 0 to `mask` into `register`. `mask`: any, also with gaps. */
  bounded(register: number, mask: number): void {
    if (this.chance(25)) this.e.set(register, this.random.next() & mask);
    else {
      this.e.move(register, this.scalar());
      this.e.alu(ALU.AND, register, { imm: mask }, this.chance(50));
    }
  }

  /** Puts the address of a place in the frame into `register`. */
  frameAddress(register: number, offset: number): void {
    this.e.move(register, FRAME);
    this.e.alu(ALU.ADD, register, { imm: offset });
  }

  /** Code that is left again before anything else: `pointer` may be used in it. */
  withPointer(pointer: Pointer, write: () => void): void {
    this.pointers.push(pointer);
    write();
    this.pointers.pop();
  }
}
