import type { Flow } from './flow.ts';
import type { Extent, Register } from './register.ts';
import { includes } from './scalar.ts';
import type { Slot } from './stack.ts';
import type { Frame, State } from './state.ts';

/** How two states are compared. */
export type Comparison =
  /** What the later one leads to is led to by the earlier one too, which was explored to all its ends. */
  | 'explored'
  /** The same, for one that was not: whatever is in it may matter. */
  | 'unexplored'
  /** Nothing has changed. */
  | 'same';

/** A state at a place where ways meet. */
export class Checkpoint {
  readonly state: State;
  readonly parent: Checkpoint | undefined;
  /** Ways on from here that are not at their end. */
  openWays = 1;
  hits = 0;
  misses = 0;

  constructor(state: State, parent: Checkpoint | undefined) {
    this.state = state;
    this.parent = parent;
  }

  /** A way on from here came to its end. */
  close(): void {
    for (let one: Checkpoint | undefined = this; one !== undefined; one = one.parent) {
      one.openWays--;
      if (one.openWays > 0) return;
    }
  }
}

/** A pointer that is nearer than this to its packet's start can be compared with the end whatever is added (half of Linux MAX_PACKET_OFF). */
const PACKET_NEAR = 0x7fffn;

/** Which ids of one state stand for which of another: one for one. */
class Pairs {
  readonly #old: number[] = [];
  readonly #now: number[] = [];

  match(old: number, now: number): boolean {
    if (old === 0 || now === 0) return old === now;
    // There are few.
    const known = this.#old.indexOf(old);
    if (known >= 0) return this.#now[known] === now;
    if (this.#now.includes(now)) return false;
    this.#old.push(old);
    this.#now.push(now);
    return true;
  }
}

/** r6 to r9: what a function that waits for another still has. */
const SAVED = 0b1111000000;
/** r0 to r9: what r10 is, its frame says. */
const NUMBERS = 0b1111111111;

/** Registers of a frame that may still be read. */
function liveIn({ frames, pc }: State, depth: number, flow: Flow): number {
  const callee = frames[depth + 1];
  if (callee === undefined) return flow.liveIn(pc);
  // After a round of a bpf_loop it is at the call again, with all that this takes.
  const live = flow.liveIn(callee.returnPc);
  return callee.round === undefined ? live & SAVED : live;
}

/** Compares a state with one that came to the same place before. */
class StateComparison {
  readonly #how: Comparison;
  readonly #pairs = new Pairs();
  /** By the extent of packet pointers of the old state: theirs in the other one, and how much further they are there. */
  readonly #shifts = new Map<Extent | undefined, { readonly extent: Extent | undefined; readonly shift: number }>();
  #alone = -1;

  constructor(how: Comparison) {
    this.#how = how;
  }

  states(old: State, now: State, flow: Flow): boolean {
    if (old.frames.length !== now.frames.length || old.references.length !== now.references.length) return false;
    for (let depth = 0; depth < old.frames.length; depth++) {
      const frame = old.frames[depth] as Frame;
      const other = now.frames[depth] as Frame;
      if (frame.returnPc !== other.returnPc || frame.rounds > other.rounds) return false;
      for (let live = liveIn(old, depth, flow) & NUMBERS; live !== 0; live &= live - 1) {
        const number = 31 - Math.clz32(live & -live);
        if (!this.#registers(frame.registers[number] as Register, other.registers[number] as Register)) return false;
      }
      if (!this.#stacks(frame.stack.slots, other.stack.slots)) return false;
    }
    if (!this.#locks(old, now)) return false;
    return old.references.every(({ id }, index) => this.#pairs.match(id, now.references[index]?.id ?? 0));
  }

  #locks({ lock: old }: State, { lock: now }: State): boolean {
    if (old === undefined || now === undefined) return old === now;
    return old.map === now.map && this.#pairs.match(old.id, now.id);
  }

  #registers(old: Register, now: Register): boolean {
    if (old === now) return this.#ids(old, now);
    if (old.type === 'uninitialised') return this.#how !== 'same' || now.type === 'uninitialised';
    if (old.type !== now.type) return false;
    if (old.type === 'scalar') return this.#scalars(old, now);
    if (old.isPacket && this.#how !== 'same') return this.#packets(old, now);
    return (
      this.#ranges(old.range, now.range) &&
      old.offset === now.offset &&
      old.map === now.map &&
      old.frame === now.frame &&
      old.bytes === now.bytes &&
      old.mayBeNull === now.mayBeNull &&
      this.#ids(old, now) &&
      includes(old.scalar, now.scalar) &&
      (this.#how !== 'same' || includes(now.scalar, old.scalar))
    );
  }

  /**
   * Packet pointers: where they lie matters only as far as their extent says. Else it is what is known to be there from them
   * on, how they lie to each other, and that nothing is reached too far before or behind them.
   */
  #packets(old: Register, now: Register): boolean {
    const { extent } = old;
    const shift = now.offset - old.offset;
    const known = this.#shifts.get(extent);
    if (known !== undefined && (known.extent !== now.extent || known.shift !== shift)) return false;
    this.#shifts.set(extent, { extent: now.extent, shift });
    const isExplored = this.#how === 'explored';
    if (old.id === 0 && (!isExplored || extent?.isAbsolute === true) && (now.id !== 0 || shift !== 0)) return false;
    const isBounded = now.scalar.smin >= 0n && now.scalar.umax + BigInt(now.offset) <= PACKET_NEAR;
    if (!isBounded && (shift !== 0 || !includes(old.scalar, now.scalar))) return false;
    // All behind an unexplored state may be reached yet.
    const lowest = isExplored ? (extent?.lowest ?? 0) : 0;
    if (lowest + shift < 0) return false;
    return old.range <= 0
      ? old.range === now.range || (old.range === 0 && now.range > 0)
      : now.range >= old.range + shift;
  }

  #ranges(old: number, now: number): boolean {
    return old === now || (this.#how !== 'same' && (old === 0 || (old > 0 && old < now)));
  }

  #ids(old: Register, now: Register): boolean {
    return this.#pairs.match(old.id, now.id) && this.#pairs.match(old.reference, now.reference);
  }

  #scalars(old: Register, now: Register): boolean {
    if (this.#how === 'explored' && !old.origin.matters) return true;
    if (!includes(old.scalar, now.scalar)) return false;
    if (this.#how === 'same') return includes(now.scalar, old.scalar);
    // That two are one number was perhaps needed; that they may be is not.
    return old.id === 0 || this.#pairs.match(old.id, now.id === 0 ? this.#alone-- : now.id);
  }

  #stacks(old: readonly (Slot | undefined)[], now: readonly (Slot | undefined)[]): boolean {
    const count = this.#how === 'same' ? Math.max(old.length, now.length) : old.length;
    for (let index = 0; index < count; index++) {
      const one = old[index];
      const other = now[index];
      if (one === other && this.#how !== 'explored' && one?.value === undefined) continue;
      if (this.#how === 'same' ? !this.#sameSlots(one, other) : !this.#slots(one, other)) return false;
    }
    return true;
  }

  #sameSlots(old: Slot | undefined, now: Slot | undefined): boolean {
    if (old === undefined || now === undefined) return old === now;
    if (old.kinds !== now.kinds || old.valueBytes !== now.valueBytes) return false;
    return old.value === undefined || (now.value !== undefined && this.#registers(old.value, now.value));
  }

  #slots(old: Slot | undefined, now: Slot | undefined): boolean {
    if (old === undefined || (this.#how === 'explored' && !old.isRead)) return true;
    if ((old.noughts & ~(now?.zeroes ?? 0)) !== 0) return false;
    const { value } = old;
    if (value === undefined) return true;
    const isScalar = value.type === 'scalar';
    if (this.#how === 'explored' && isScalar && !value.origin.matters && !isPointerSlot(now)) return true;
    if (now?.value === undefined || now.valueBytes !== old.valueBytes) return false;
    return this.#registers(value, now.value);
  }
}

const isPointerSlot = (slot: Slot | undefined): boolean => slot?.value?.isPointer === true;

/** True when all that `now` leads to is known from `old`. */
export function covers(old: State, now: State, flow: Flow, how: Comparison): boolean {
  return new StateComparison(how).states(old, now, flow);
}

/** What mattered behind `old` matters to `now` too, which is not followed. */
export function inherit(old: State, now: State, flow: Flow): void {
  for (let depth = 0; depth < old.frames.length; depth++) {
    const frame = old.frames[depth] as Frame;
    const other = now.frames[depth] as Frame;
    for (let live = liveIn(old, depth, flow) & NUMBERS; live !== 0; live &= live - 1) {
      const number = 31 - Math.clz32(live & -live);
      inheritRegister(frame.registers[number], other.registers[number]);
    }
    const { slots } = frame.stack;
    for (let index = 0; index < slots.length; index++) {
      const slot = slots[index];
      const same = other.stack.slots[index];
      if (slot === undefined || same === undefined || !slot.isRead) continue;
      same.markRead();
      // Bytes that are zero by what was spilled there must be so in all that led here.
      if (slot.noughts !== 0) same.value?.origin.mark();
      inheritRegister(slot.value, same.value);
    }
  }
}

/** Whether between two states a bpf_loop began another round: it ends some time, though nothing else has changed. */
export function hasMoreRounds(old: State, now: State): boolean {
  return old.frames.some(({ rounds }, depth) => rounds < (now.frames[depth]?.rounds ?? 0));
}

/** All of a state may matter: it goes on as one does whose ways are not all known yet. */
export function holdAll({ frames }: State): void {
  const mark = (register: Register | undefined): void => {
    if (register === undefined) return;
    register.origin.hold();
    register.extent?.note(0);
    if (register.extent !== undefined) register.extent.isAbsolute = true;
  };
  for (const { registers, stack } of frames) {
    for (const register of registers) mark(register);
    for (const slot of stack.slots) {
      slot?.markRead();
      mark(slot?.value);
    }
  }
}

function inheritRegister(old: Register | undefined, now: Register | undefined): void {
  if (old === undefined || now === undefined) return;
  if (old.origin.isPrecise) now.origin.mark();
  else if (old.origin.matters) now.origin.hold();
  if (old.extent === undefined || now.extent === undefined) return;
  now.extent.note(old.extent.lowest + now.offset - old.offset);
  if (old.extent.isAbsolute) now.extent.isAbsolute = true;
}
