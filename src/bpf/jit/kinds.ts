import { exactly, joinNumbers, type Numbers, widen } from './numbers.ts';

/**
 * What a register is known to hold. `context`, `stack`, `map`, `global`, `end`, `constant` and `number` are certain, and so
 * are addresses with an `offset`: code may leave out checks for them. The rest is where an address probably points, which
 * says what to compare it with first. `spread`: it may be up to so many bytes more than `offset`; 0 when there is none.
 */
export type Kind =
  /** A number, or null, or something of which nothing is known. */
  | { readonly tag: 'unknown' }
  /** Several of those below. */
  | { readonly tag: 'mixed' }
  /** The context's address. */
  | { readonly tag: 'context' }
  /** r10 of this function, and so many bytes. */
  | { readonly tag: 'stack'; readonly offset: number }
  /** The map of this number in the program's list. */
  | { readonly tag: 'map'; readonly map: number }
  /** Address of the one value of a map, and so many bytes. */
  | { readonly tag: 'global'; readonly map: number; readonly offset: number; readonly spread?: number }
  /** What a MOV has put there. */
  | { readonly tag: 'constant'; readonly value: number }
  /** One of these. */
  | ({ readonly tag: 'number' } & Numbers)
  /** In the packet; with an offset, so many bytes behind its start. Here and below, `maybe`: or anything else. */
  | { readonly tag: 'packet'; readonly offset?: number; readonly spread?: number; readonly maybe?: true }
  /** The end of the packet. */
  | { readonly tag: 'end' }
  /** In the frames of the program's functions. */
  | { readonly tag: 'frame'; readonly maybe?: true }
  /** In a value of this map; with an offset, so many bytes behind a value's start, or null when it `mayBeNull`. */
  | {
      readonly tag: 'value';
      readonly map: number;
      readonly offset?: number;
      readonly spread?: number;
      readonly mayBeNull?: boolean;
      readonly maybe?: true;
    };

export const UNKNOWN: Kind = { tag: 'unknown' };
const MIXED: Kind = { tag: 'mixed' };
const MAYBE = { maybe: true } as const;
/** Of a program, r10 among them. */
export const REGISTERS = 11;

/** Kinds of all registers, and of the words of the stack by their offset from r10. */
export class State {
  readonly registers: Kind[];
  readonly stack: Map<number, Kind>;
  /** So many bytes the packet has at least, by what the program compared. */
  packetBytes: number;

  constructor(registers: readonly Kind[], stack: ReadonlyMap<number, Kind> = new Map(), packetBytes = 0) {
    this.registers = [...registers];
    this.stack = new Map(stack);
    this.packetBytes = packetBytes;
  }

  copy(): State {
    return new State(this.registers, this.stack, this.packetBytes);
  }

  /** Changes all that is known of registers and words of the stack. */
  change(to: (kind: Kind) => Kind): void {
    for (const [register, kind] of this.registers.entries()) this.registers[register] = to(kind);
    for (const [offset, kind] of this.stack) this.stack.set(offset, to(kind));
  }

  of(register: number): Kind {
    return this.registers[register] ?? UNKNOWN;
  }
}

/** What kinds may have. */
type Fields = Partial<
  Record<'value' | 'min' | 'max' | 'step' | 'map' | 'offset' | 'spread', number> &
    Record<'maybe' | 'mayBeNull', boolean>
>;

function same(a: Kind & Fields, b: Kind & Fields): boolean {
  const isSamePlace = a.tag === b.tag && a.map === b.map && a.offset === b.offset && a.spread === b.spread;
  const isSameNumber = a.value === b.value && a.min === b.min && a.max === b.max && a.step === b.step;
  return isSamePlace && isSameNumber && a.maybe === b.maybe && a.mayBeNull === b.mayBeNull;
}

/** The numbers that a register may hold, when it holds one. */
export function numbersOf(kind: Kind): Numbers | undefined {
  if (kind.tag === 'number') return kind;
  return kind.tag === 'constant' && kind.value >= 0 ? exactly(kind.value) : undefined;
}

/** The kind of a register that holds one of `numbers`; undefined: any. */
export const ofNumbers = (numbers: Numbers | undefined): Kind =>
  numbers === undefined ? UNKNOWN : { tag: 'number', min: numbers.min, max: numbers.max, step: numbers.step };

/** Where an address points that is no longer known exactly. */
export function hintOf(kind: Kind): Kind {
  const maybe = 'maybe' in kind && kind.maybe === true ? MAYBE : {};
  if (kind.tag === 'stack' || kind.tag === 'frame') return { tag: 'frame', ...maybe };
  if (kind.tag === 'global' || kind.tag === 'value') return { tag: 'value', map: kind.map, ...maybe };
  if (kind.tag === 'packet') return { tag: 'packet', ...maybe };
  return kind.tag === 'mixed' ? kind : UNKNOWN;
}

/** What holds on both of two ways. A number, such as null, on one of them leaves the address of the other. */
function joinKinds(a: Kind, b: Kind): Kind {
  if (same(a, b)) return a;
  const [numbersA, numbersB] = [numbersOf(a), numbersOf(b)];
  if (numbersA !== undefined && numbersB !== undefined) return ofNumbers(joinNumbers(numbersA, numbersB));
  const [one, other] = [hintOf(a), hintOf(b)];
  if (same(one, other)) return one;
  const isDoubtful = (kind: Kind): boolean => kind.tag !== 'constant' && hintOf(kind).tag === 'unknown';
  const doubt = isDoubtful(a) || isDoubtful(b) || isMaybe(a) || isMaybe(b);
  const weaker = (kind: Kind): Kind =>
    doubt && (kind.tag === 'packet' || kind.tag === 'frame' || kind.tag === 'value') ? { ...kind, ...MAYBE } : kind;
  const [left, right] = [weaker(one), weaker(other)];
  if (same(left, right) || right.tag === 'unknown') return left;
  return left.tag === 'unknown' ? right : MIXED;
}

/** It may also be something that nothing is known of. */
function isMaybe(kind: Kind): boolean {
  return 'maybe' in kind && kind.maybe === true;
}

/**
 * What holds in both goes to `into`. Returns whether that is less than it was.
 * @param limits of numbers that grow, each as far as the next of these.
 */
export function joinStates(into: State, from: State, limits: readonly number[] | undefined): boolean {
  const join = (a: Kind, b: Kind): Kind => {
    const joined = joinKinds(a, b);
    return limits === undefined || joined.tag !== 'number' || same(joined, a)
      ? joined
      : ofNumbers(widen(joined, limits));
  };
  let changed = from.packetBytes < into.packetBytes;
  into.packetBytes = Math.min(into.packetBytes, from.packetBytes);
  for (let register = 0; register < REGISTERS; register++) {
    const joined = join(into.of(register), from.of(register));
    if (same(joined, into.of(register))) continue;
    into.registers[register] = joined;
    changed = true;
  }
  for (const [offset, kind] of into.stack) {
    const other = from.stack.get(offset);
    const joined = other === undefined ? UNKNOWN : join(kind, other);
    if (same(joined, kind)) continue;
    if (joined.tag === 'unknown') into.stack.delete(offset);
    else into.stack.set(offset, joined);
    changed = true;
  }
  return changed;
}
