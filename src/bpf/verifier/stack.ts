import { type Register, scalarRegister, unknownRegister } from './register.ts';
import { knownValue, truncate, unknownOf, ZERO } from './scalar.ts';

export const SLOT_BYTES = 8;

/** What a byte of the stack is: 0 when never written, anything, zero, or a part of a spilled register. */
const MISC = 1;
const NOUGHT = 2;
const SPILL = 3;

/** The lower bit of each kind. */
const LOW_BITS = 0x5555;

/** The kinds of the eight bytes of a slot, two bits each. */
type Kinds = number;
const kindAt = (kinds: Kinds, byte: number): number => (kinds >> (byte * 2)) & 3;
const withKind = (kinds: Kinds, byte: number, kind: number): Kinds =>
  (kinds & ~(3 << (byte * 2))) | (kind << (byte * 2));

/** Eight bytes of a stack. Never changed, but for the mark that says that somebody read it. */
export class Slot {
  readonly kinds: Kinds;
  /** A register in the lowest `valueBytes` bytes. */
  readonly value: Register | undefined;
  readonly valueBytes: number;
  /** The slot whose content this one still has, in part or under another name. */
  #before: Slot | undefined;
  #isRead = false;

  constructor(kinds: Kinds, value?: Register, valueBytes = 0, before?: Slot) {
    this.kinds = kinds;
    this.value = value;
    this.valueBytes = valueBytes;
    this.#before = before;
  }

  /** Whether what is in it may matter: states that differ only in other slots are alike. */
  get isRead(): boolean {
    return this.#isRead;
  }

  markRead(): void {
    for (let slot: Slot | undefined = this; slot !== undefined && !slot.#isRead; ) {
      slot.#isRead = true;
      const before: Slot | undefined = slot.#before;
      slot.#before = undefined;
      slot = before;
    }
  }

  /** The same slot with another register in it, of which more or less is known. */
  withValue(value: Register): Slot {
    return new Slot(this.kinds, value, this.valueBytes, this);
  }

  /** Bytes that are zero for themselves, not as a part of a register: bit 2n for byte n. */
  get noughts(): number {
    return (this.kinds >> 1) & ~this.kinds & LOW_BITS;
  }

  /** Bytes that are zero, of whatever kind: bit 2n for byte n. */
  get zeroes(): number {
    const { kinds, value } = this;
    const isZero = value?.type === 'scalar' && knownValue(value.scalar) === 0n;
    return isZero ? (kinds >> 1) & LOW_BITS : this.noughts;
  }

  isZero(byte: number): boolean {
    return ((this.zeroes >> (byte * 2)) & 1) !== 0;
  }

  isPart(byte: number): boolean {
    return kindAt(this.kinds, byte) === SPILL;
  }
}

const slotOf = (offset: number): number => (-offset - 1) >> 3;
const byteOf = (offset: number): number => offset & 7;

/** What a load from the stack gives, or why there is none. */
export type StackLoad = { readonly register: Register } | { readonly problem: 'part of a pointer' };

/** The stack of a function, 512 bytes below its frame pointer: offsets are -512 to -1. */
export class Stack {
  readonly #slots: (Slot | undefined)[];

  constructor(slots: (Slot | undefined)[] = []) {
    this.#slots = slots;
  }

  clone(): Stack {
    return new Stack(this.#slots.slice());
  }

  get slots(): readonly (Slot | undefined)[] {
    return this.#slots;
  }

  set(index: number, slot: Slot): void {
    while (this.#slots.length <= index) this.#slots.push(undefined);
    this.#slots[index] = slot;
  }

  /** Puts a register at `offset`; `bytes` do not cross a slot. A pointer takes all of one. */
  store(offset: number, bytes: number, register: Register): void {
    const first = byteOf(offset);
    const index = slotOf(offset);
    if (first === 0 && bytes === SLOT_BYTES) {
      this.set(index, new Slot(0xffff, register, SLOT_BYTES));
      return;
    }
    const isZero = knownValue(truncate(register.scalar, bytes * 8)) === 0n && register.type === 'scalar';
    if (isZero) register.origin.mark();
    if (first !== 0 || isZero) {
      this.#write(index, first, bytes, isZero ? NOUGHT : MISC);
      return;
    }
    this.#write(index, 0, bytes, MISC);
    const { kinds } = this.#slots[index] as Slot;
    const spilled = narrowed(register, bytes);
    let marked = kinds;
    for (let byte = 0; byte < bytes; byte++) marked = withKind(marked, byte, SPILL);
    this.set(index, new Slot(marked, spilled, bytes, this.#slots[index]));
  }

  /** Bytes that may be anything now. They may cross slots. */
  scramble(offset: number, bytes: number): void {
    for (let at = offset; at < offset + bytes; ) {
      const length = Math.min(SLOT_BYTES - byteOf(at), offset + bytes - at);
      this.#write(slotOf(at), byteOf(at), length, MISC);
      at += length;
    }
  }

  /** Makes some bytes of a slot of one kind. What was spilled there is none any more. */
  #write(index: number, first: number, bytes: number, kind: number): void {
    const old = this.#slots[index];
    let kinds = 0;
    for (let byte = 0; byte < SLOT_BYTES; byte++) {
      if (byte >= first && byte < first + bytes) kinds = withKind(kinds, byte, kind);
      else if (old !== undefined) {
        const isNought = old.isPart(byte) && old.isZero(byte);
        if (isNought) old.value?.origin.mark();
        const rest = old.isPart(byte) ? (isNought ? NOUGHT : MISC) : kindAt(old.kinds, byte);
        kinds = withKind(kinds, byte, rest);
      }
    }
    const isWhole = bytes === SLOT_BYTES;
    this.set(index, isWhole ? new Slot(kinds) : new Slot(kinds, undefined, 0, old));
  }

  /** What is at `offset`; `bytes` do not cross a slot. */
  load(offset: number, bytes: number): StackLoad {
    const slot = this.#slots[slotOf(offset)];
    if (slot === undefined) return { register: scalarRegister(unknownOf(bytes)) };
    slot.markRead();
    const first = byteOf(offset);
    const { value, valueBytes } = slot;
    if (value !== undefined && first < valueBytes) {
      if (value.isPointer && bytes !== SLOT_BYTES) return { problem: 'part of a pointer' };
      if (first === 0 && bytes === valueBytes) return { register: value };
      if (first === 0 && bytes < valueBytes) return { register: narrowed(value, bytes) };
    }
    return { register: this.#bytesOf(slot, first, bytes) };
  }

  #bytesOf(slot: Slot, first: number, bytes: number): Register {
    for (let byte = first; byte < first + bytes; byte++) {
      if (!slot.isZero(byte)) return scalarRegister(unknownOf(bytes));
    }
    slot.value?.origin.mark();
    return scalarRegister(ZERO);
  }

  /** Says that somebody reads these bytes; they may cross slots. */
  markRead(offset: number, bytes: number): void {
    for (let index = slotOf(offset + bytes - 1); index <= slotOf(offset); index++) this.#slots[index]?.markRead();
  }
}

/** The lowest bytes of a scalar. It is another number then, unless the rest is zero. */
function narrowed(register: Register, bytes: number): Register {
  if (bytes === SLOT_BYTES) return register;
  if (register.type !== 'scalar') return unknownRegister();
  const scalar = truncate(register.scalar, bytes * 8);
  return scalar === register.scalar ? register : scalarRegister(scalar, register.origin);
}
