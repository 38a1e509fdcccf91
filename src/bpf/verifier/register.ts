import type { MapDefinition } from '../program.ts';
import { constant, type Scalar, UNKNOWN, ZERO } from './scalar.ts';

/**
 * Where a scalar comes from. When it turns out that what it is matters (it goes into an address, or a jump was decided by
 * it), it and all that it was made of are marked: only of those does it matter when states are compared.
 */
export class Origin {
  /** It was asked for. */
  isPrecise = false;
  /** It may be: it is in a state that goes on as one does of which not all is known yet. */
  #isHeld = false;
  #sources: readonly Origin[];

  constructor(sources: readonly Origin[]) {
    this.#sources = sources;
  }

  /** It matters when states are compared. */
  get matters(): boolean {
    return this.isPrecise || this.#isHeld;
  }

  /** Marks it and its sources as what may be asked for. */
  hold(): void {
    if (this.matters) return;
    const pending: Origin[] = [this];
    for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
      if (next.matters) continue;
      next.#isHeld = true;
      pending.push(...next.#sources);
    }
  }

  /** Marks it and its sources. They need not be kept then: each is marked once. */
  mark(): void {
    if (this.isPrecise) return;
    const pending: Origin[] = [this];
    for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
      if (next.isPrecise) continue;
      next.isPrecise = true;
      pending.push(...next.#sources);
      next.#sources = [];
    }
  }
}

/**
 * What of the place of packet pointers matters, whichever way is taken. Pointers that differ by constants only share it. States
 * in which they lie elsewhere in the packet are alike as far as nothing here says otherwise.
 */
export class Extent {
  /** The lowest offset (`Register.offset` and an instruction's) that is reached or compared; Infinity when there is none. */
  lowest = Number.POSITIVE_INFINITY;
  /** It mattered that a pointer is the packet's start itself, which others are too. */
  isAbsolute = false;
  /** Of the pointer that this one was made of: offsets are the same there. */
  readonly #before: Extent | undefined;

  constructor(before?: Extent) {
    this.#before = before;
  }

  note(offset: number): void {
    for (let one: Extent | undefined = this; one !== undefined && offset < one.lowest; one = one.#before) {
      one.lowest = offset;
    }
  }
}

/** Of constants that nobody compares. */
const NO_ORIGIN = new Origin([]);
NO_ORIGIN.mark();

/**
 * What a register is.
 *
 * `packet`, `packet_meta`, `packet_end`: addresses in the packet, in the metadata before it, and behind it. `map`: a map.
 * `map_key`, `map_value`: a key that a map has, and a value of one. `stack`: the stack of a function. `memory`: a record of a ring buffer. `socket`: what a
 * look-up in an XSKMAP gives, which can only be held against null.
 */
export type RegisterType =
  | 'uninitialised'
  | 'scalar'
  | 'context'
  | 'packet'
  | 'packet_meta'
  | 'packet_end'
  | 'map'
  | 'map_key'
  | 'map_value'
  | 'stack'
  | 'memory'
  | 'socket'
  | 'function';

/** The range of a packet pointer that is known to be the end, or to lie beyond it. */
export const AT_END = -1;
export const BEYOND_END = -2;

interface Fields {
  readonly type: RegisterType;
  /** The number, or what is added to a pointer at run time. */
  readonly scalar: Scalar;
  /** What is added to a pointer by constants. */
  readonly offset: number;
  /**
   * Registers of one id are the same number, the same packet pointer but for `offset`, or null at the same time; 0 for
   * none.
   */
  readonly id: number;
  readonly origin: Origin;
  /** Bytes of the packet that are known to be there, from the pointer without its `offset` on. */
  readonly range: number;
  /** Of packet pointers. */
  readonly extent: Extent | undefined;
  /** Of maps and their values. */
  readonly map: MapDefinition | undefined;
  /** Of the stack: the function that it belongs to, 0 for the program. */
  readonly frame: number;
  /** Of memory: how much there is. */
  readonly bytes: number;
  readonly mayBeNull: boolean;
  /** Number of what must be given back, 0 for nothing. */
  readonly reference: number;
  /** Of scalars that were pointers: why they are none any more. */
  readonly lost: string | undefined;
}

const NOTHING: Fields = {
  type: 'uninitialised',
  scalar: ZERO,
  offset: 0,
  id: 0,
  origin: NO_ORIGIN,
  range: 0,
  extent: undefined,
  map: undefined,
  frame: 0,
  bytes: 0,
  mayBeNull: false,
  reference: 0,
  lost: undefined,
};

/** What is known of a register or a spilled one. Never changed. */
export class Register implements Fields {
  readonly type: RegisterType;
  readonly scalar: Scalar;
  readonly offset: number;
  readonly id: number;
  readonly origin: Origin;
  readonly range: number;
  readonly extent: Extent | undefined;
  readonly map: MapDefinition | undefined;
  readonly frame: number;
  readonly bytes: number;
  readonly mayBeNull: boolean;
  readonly reference: number;
  readonly lost: string | undefined;

  /** `base`: what it is but for `fields`. */
  constructor(fields: Partial<Fields>, base: Fields = NOTHING) {
    this.type = fields.type ?? base.type;
    this.scalar = fields.scalar ?? base.scalar;
    this.offset = fields.offset ?? base.offset;
    this.id = fields.id ?? base.id;
    this.origin = fields.origin ?? base.origin;
    this.range = fields.range ?? base.range;
    this.extent = fields.extent ?? base.extent;
    this.map = fields.map ?? base.map;
    this.frame = fields.frame ?? base.frame;
    this.bytes = fields.bytes ?? base.bytes;
    this.mayBeNull = fields.mayBeNull ?? base.mayBeNull;
    this.reference = fields.reference ?? base.reference;
    this.lost = fields.lost ?? base.lost;
  }

  with(fields: Partial<Fields>): Register {
    return new Register(fields, this);
  }

  get isPointer(): boolean {
    return this.type !== 'scalar' && this.type !== 'uninitialised';
  }

  /** Bytes of the packet that are known to be there: that it is the end is no such knowledge. */
  get knownRange(): number {
    return Math.max(0, this.range);
  }

  get isPacket(): boolean {
    return this.type === 'packet' || this.type === 'packet_meta';
  }
}

export const UNINITIALISED = new Register({});

/** A scalar that was made of those of `sources`. */
export function scalarRegister(scalar: Scalar, ...sources: readonly Origin[]): Register {
  return new Register({ type: 'scalar', scalar, origin: new Origin(sources) });
}

export const unknownRegister = (): Register => scalarRegister(UNKNOWN);
export const constantRegister = (value: bigint): Register => scalarRegister(constant(value));
