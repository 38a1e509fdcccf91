import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { disassemble } from '#build/bpf/disassemble.js';
import { linkProgram, loadObject } from '#build/bpf/object/load.js';
import type { BpfObject } from '#build/bpf/object/object.js';
import { decodeValue, encodeValue } from '#build/bpf/object/values.js';
import type { Program } from '#build/bpf/program.js';
import { verifyStructure } from '#build/bpf/verify.js';
import { RingwayError } from '#build/util/errors.js';
import type { Random } from '#build/util/random.js';

/** Where a compiled fixture is. */
export const fixturePath = (name: string): string => fileURLToPath(new URL(`fixtures/${name}.o`, import.meta.url));

/** Its bytes. */
export const fixtureBytes = (name: string): Uint8Array => new Uint8Array(readFileSync(fixturePath(name)));

/** A fixture, loaded. */
export const fixture = (name: string): BpfObject => loadObject(fixtureBytes(name), { file: `${name}.o` });

/** A program of a fixture, linked. */
export const program = (name: string, entry?: string): Program => linkProgram(fixture(name), entry);

/** Where things are in an object, for mutations: none of the code under test finds them. */
interface Layout {
  readonly view: DataView;
  readonly headers: number;
  readonly count: number;
  /** Type, offset, size of each section. */
  readonly sections: readonly (readonly [type: number, offset: number, size: number, flags: number])[];
}

function layoutOf(bytes: Uint8Array): Layout {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const [headers, count] = [view.getUint32(40, true), view.getUint16(60, true)];
  const sections = Array.from({ length: count }, (_, index) => {
    const at = headers + index * 64;
    const field = (offset: number): number => view.getUint32(at + offset, true);
    return [field(4), field(24), field(32), field(8)] as const;
  });
  return { view, headers, count, sections };
}

/** Makes objects that are nearly right. */
export class Mutator {
  readonly #random: Random;
  readonly #bases: readonly Uint8Array[];
  readonly #layouts: readonly Layout[];

  constructor(random: Random, bases: readonly Uint8Array[]) {
    this.#random = random;
    this.#bases = bases;
    this.#layouts = bases.map(layoutOf);
  }

  #pick<T>(list: readonly T[]): T {
    return list[this.#random.below(list.length)] as T;
  }

  #number(old: number, length: number): number {
    const random = this.#random;
    const near = old + random.below(17) - 8;
    const limits = [0, 1, 2, 3, 4, 7, 8, 12, 16, 24, 64, 127, 255, 256, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff];
    switch (random.below(6)) {
      case 0:
        return this.#pick(limits);
      case 1:
        return near >>> 0;
      case 2:
        return (length + random.below(17) - 8) >>> 0;
      case 3:
        return random.below(256);
      case 4:
        return random.below(Math.max(1, length));
      default:
        return random.next();
    }
  }

  /** Changes the number of four bytes (or two) at `at`, if it is there. */
  #setNumber(bytes: Uint8Array, at: number): void {
    const view = new DataView(bytes.buffer);
    if (at + 4 > bytes.length) return;
    if (this.#random.below(8) === 0) view.setUint16(at, this.#number(view.getUint16(at, true), 64) & 0xffff, true);
    else view.setUint32(at, this.#number(view.getUint32(at, true), bytes.length), true);
  }

  /** A section with these bits of type or flags, and somewhere in it. */
  #inSection(layout: Layout, wanted: (type: number, flags: number) => boolean): number {
    const found = layout.sections.filter(([type, , size, flags]) => size >= 4 && wanted(type, flags));
    if (found.length === 0) return 0;
    const [, offset, size] = this.#pick(found);
    return offset + (this.#random.below(size) & ~3);
  }

  /** One object, and the number of the base that it was made of. */
  next(): Uint8Array {
    const random = this.#random;
    const index = random.below(this.#bases.length);
    const base = this.#bases[index] as Uint8Array;
    const layout = this.#layouts[index] as Layout;
    let bytes = base.slice();
    for (let left = 1 + random.below(4); left > 0; left--) {
      switch (random.below(10)) {
        case 0:
          for (let flips = 1 + random.below(8); flips > 0; flips--) {
            const at = random.below(bytes.length);
            bytes[at] = (bytes[at] as number) ^ (1 << random.below(8));
          }
          break;
        case 1:
          bytes[random.below(bytes.length)] = random.below(256);
          break;
        case 2: {
          // Mostly near the end, where the section headers are.
          const cut = random.below(4) === 0 ? random.below(bytes.length) : random.below(200);
          bytes = bytes.slice(0, Math.max(1, bytes.length - cut));
          break;
        }
        case 3: {
          const other = this.#pick(this.#bases);
          const [from, to] = [random.below(other.length), random.below(bytes.length)];
          const length = Math.min(1 + random.below(256), other.length - from, bytes.length - to);
          bytes.set(other.subarray(from, from + length), to);
          break;
        }
        case 4:
        case 5:
          this.#setNumber(bytes, layout.headers + random.below(layout.count) * 64 + 4 * random.below(16));
          break;
        case 6:
          // Symbols and relocations.
          this.#setNumber(
            bytes,
            this.#inSection(layout, (type) => type === 2 || type === 9),
          );
          break;
        case 7:
          // Code.
          bytes[this.#inSection(layout, (_, flags) => (flags & 4) !== 0) + random.below(4)] = random.below(256);
          break;
        default:
          // What is neither code nor linked by the linker: types, and what is about them.
          this.#setNumber(
            bytes,
            this.#inSection(layout, (type, flags) => type === 1 && flags === 0),
          );
      }
    }
    return bytes;
  }
}

const TOLERATED = ['BAD_OBJECT', 'BAD_PROGRAM', 'BAD_ARGUMENT', 'NOT_FOUND', 'UNSUPPORTED'];

/** Runs `what`; true when it did, false when it was refused as it should. */
function attempt(what: () => void): boolean {
  try {
    what();
    return true;
  } catch (error) {
    if (error instanceof RingwayError && TOLERATED.includes(error.code) && error.message.length < 10_000) return false;
    throw error;
  }
}

/** What became of foreign bytes: whether they were an object, and how many of its programs were right and wrong. */
export interface Outcome {
  loaded: number;
  refused: number;
  programs: number;
  bad: number;
}

/** Does with foreign bytes all that a user does. Throws what is no RingwayError. */
export function tryObject(bytes: Uint8Array, outcome: Outcome): void {
  let object: BpfObject | undefined;
  attempt(() => {
    object = loadObject(bytes);
  });
  if (object === undefined) {
    outcome.refused++;
    return;
  }
  const { programs, maps } = object as BpfObject;
  outcome.loaded++;
  for (const { name } of programs) {
    const isRight = attempt(() => {
      const linked = linkProgram(object as BpfObject, name);
      disassemble(linked, { source: true });
      verifyStructure(linked);
    });
    if (isRight) outcome.programs++;
    else outcome.bad++;
  }
  for (const { initial, types } of maps) {
    if (types === undefined) continue;
    attempt(() => {
      const value = decodeValue(types.btf, types.value, initial ?? new Uint8Array(256));
      encodeValue(types.btf, types.value, value);
    });
  }
}

/** What no object of a few kilobytes takes, unless some work grows with the square of what is in it. */
const SLOW_MS = 1_000;

/** Tries an object once more that took long: the machine may have done something else meanwhile. */
function checkTime(bytes: Uint8Array): void {
  const before = process.cpuUsage().user;
  tryObject(bytes, { loaded: 0, refused: 0, programs: 0, bad: 0 });
  const took = (process.cpuUsage().user - before) / 1_000;
  if (took > SLOW_MS) throw new Error(`it takes ${took} ms`);
}

/** Tries `count` mutated objects of `seed`, and says of an unexpected error which one it was. */
export function fuzzObjects(random: Random, bases: readonly Uint8Array[], count: number, what: string): Outcome {
  const outcome: Outcome = { loaded: 0, refused: 0, programs: 0, bad: 0 };
  const mutator = new Mutator(random, bases);
  for (let number = 0; number < count; number++) {
    const bytes = mutator.next();
    try {
      const start = performance.now();
      tryObject(bytes, outcome);
      if (performance.now() - start > SLOW_MS) checkTime(bytes);
    } catch (error) {
      throw new Error(`${what}, object ${number}: ${error instanceof Error ? error.stack : error}`, { cause: error });
    }
  }
  return outcome;
}
