import { RingwayError } from '../../util/errors.ts';
import type { Btf, BtfMember, BtfType, BtfTypeOf } from './btf.ts';
import { listNames } from './reader.ts';

/**
 * A value of a type of BTF: integers and enums of up to 32 bits are numbers, longer ones and pointers bigints, floating
 * point numbers numbers, `bool` a boolean, structs, unions and sections objects, arrays of bytes Uint8Arrays, other arrays
 * arrays.
 */
export type BtfValue =
  | number
  | bigint
  | boolean
  | Uint8Array
  | readonly BtfValue[]
  | { readonly [member: string]: BtfValue | undefined };

/** Structs within structs and arrays within arrays. */
const DEPTH_MAX = 32;
/** Values within a value: a union's members count each, so that small types can stand for very many. */
const VALUES_MAX = 1 << 22;
/** Bytes of a value: the limit of what data sections may have. */
const BYTES_MAX = 1 << 26;
/** __int128. */
const INTEGER_BYTES_MAX = 16;

type Struct = BtfTypeOf<'struct' | 'union'>;
type Integer = BtfTypeOf<'int' | 'enum' | 'enum64' | 'ptr'>;

const isInteger = (type: BtfType): type is Integer =>
  type.kind === 'int' || type.kind === 'enum' || type.kind === 'enum64' || type.kind === 'ptr';
const isBytes = (type: BtfType): boolean => type.kind === 'int' && type.bytes === 1 && !type.bool;
const isSigned = (type: Integer): boolean => type.kind !== 'ptr' && type.signed;

function fail(path: string, problem: string): RingwayError {
  return new RingwayError('BAD_ARGUMENT', `${path}: ${problem}`);
}

/** What reading and writing have in common: how deep they are, and how much they have done. */
class Codec {
  readonly btf: Btf;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #values = 0;

  constructor(btf: Btf, bytes: Uint8Array) {
    this.btf = btf;
    // A Buffer's slices are views.
    this.#bytes = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  #enter(type: BtfType, at: number, bytes: number, path: string, depth: number): void {
    if (depth > DEPTH_MAX) throw fail(path, `it lies deeper than ${DEPTH_MAX} structs and arrays.`);
    if (++this.#values > VALUES_MAX) throw fail(path, `it is part of a value with more than ${VALUES_MAX} parts.`);
    if (at + bytes > this.#bytes.length) {
      const limit = `The value that it is in has ${this.#bytes.length}.`;
      throw fail(path, `${this.btf.describe(type.id)} has ${bytes} bytes at ${at}. ${limit}`);
    }
  }

  /** Bits `first` to `first + bits` - 1 of the value. */
  #bits(first: number, bits: number): bigint {
    let value = 0n;
    for (let byte = (first + bits - 1) >>> 3; byte >= first >>> 3; byte--) {
      value = (value << 8n) | BigInt(this.#bytes[byte] as number);
    }
    return BigInt.asUintN(bits, value >> BigInt(first & 7));
  }

  #setBits(first: number, bits: number, value: bigint): void {
    const start = first >>> 3;
    const end = (first + bits - 1) >>> 3;
    const shift = BigInt(first & 7);
    const mask = ((1n << BigInt(bits)) - 1n) << shift;
    const old = this.#bits(start * 8, (end - start + 1) * 8);
    let rest = (old & ~mask) | ((value << shift) & mask);
    for (let byte = start; byte <= end; byte++) {
      this.#bytes[byte] = Number(rest & 255n);
      rest >>= 8n;
    }
  }

  #readInteger(type: Integer, bytes: number, first: number, bits: number): BtfValue {
    const raw = this.#bits(first, bits);
    const value = isSigned(type) ? BigInt.asIntN(bits, raw) : raw;
    if (type.kind === 'int' && type.bool) return value !== 0n;
    return bytes <= 4 && type.kind !== 'ptr' ? Number(value) : value;
  }

  read(id: number, at: number, path: string, depth: number): BtfValue {
    const type = this.btf.resolve(id);
    const bytes = type.kind === 'var' ? 0 : this.btf.size(type.id);
    this.#enter(type, at, bytes, path, depth);
    if (type.kind === 'var') return this.read(type.type, at, path, depth + 1);
    if (isInteger(type) && bytes >= 1 && bytes <= INTEGER_BYTES_MAX)
      return this.#readInteger(type, bytes, at * 8, bytes * 8);
    if (type.kind === 'float' && bytes === 4) return this.#view.getFloat32(at, true);
    if (type.kind === 'float' && bytes === 8) return this.#view.getFloat64(at, true);
    if (type.kind === 'array') {
      const element = this.btf.resolve(type.type);
      if (isBytes(element)) return this.#bytes.slice(at, at + type.count);
      const elementBytes = this.btf.size(type.type);
      // Elements of no bytes could be any number.
      const count = elementBytes === 0 ? 0 : type.count;
      return Array.from({ length: count }, (_, index) =>
        this.read(type.type, at + index * elementBytes, `${path}[${index}]`, depth + 1),
      );
    }
    if (type.kind === 'datasec') {
      const found: Record<string, BtfValue> = {};
      for (const { type: variable, offset } of type.variables) {
        const { name } = this.btf.type(variable);
        set(found, name, this.read(variable, at + offset, name, depth + 1));
      }
      return found;
    }
    if (type.kind !== 'struct' && type.kind !== 'union') throw this.#hasNoValue(type, path);
    const found: Record<string, BtfValue> = {};
    this.#readMembers(type, at, path, depth, found);
    return found;
  }

  #hasNoValue(type: BtfType, path: string): RingwayError {
    return fail(path, `${this.btf.describe(type.id)} is a type that has no values here.`);
  }

  /** Members of anonymous structs and unions become members of what they are in. */
  #readMembers(struct: Struct, at: number, path: string, depth: number, found: Record<string, BtfValue>): void {
    for (const member of struct.members) {
      const type = this.btf.resolve(member.type);
      const place = `${path}.${member.name}`;
      if (member.name === '' && (type.kind === 'struct' || type.kind === 'union')) {
        const start = at + (member.bitOffset >>> 3);
        this.#enter(type, start, type.bytes, place, depth + 1);
        this.#readMembers(type, start, path, depth + 1, found);
      } else if (member.name !== '') set(found, member.name, this.#readMember(member, type, at, place, depth));
    }
  }

  #readMember(member: BtfMember, type: BtfType, at: number, path: string, depth: number): BtfValue {
    const bits = bitsOf(member, type);
    if (bits === 0) return this.read(member.type, at + (member.bitOffset >>> 3), path, depth + 1);
    this.#checkBitfield(member, type, at, bits, path, depth);
    return this.#readInteger(type as Integer, this.btf.size(type.id), at * 8 + member.bitOffset, bits);
  }

  #checkBitfield(member: BtfMember, type: BtfType, at: number, bits: number, path: string, depth: number): void {
    if (!isInteger(type)) throw fail(path, `it is a bitfield of ${this.btf.describe(type.id)}, which is no integer.`);
    this.#enter(type, at + (member.bitOffset >>> 3), ((member.bitOffset & 7) + bits + 7) >>> 3, path, depth + 1);
  }

  #writeInteger(type: Integer, first: number, bits: number, value: BtfValue, path: string): void {
    const isWhole = typeof value === 'bigint' || typeof value === 'boolean' || Number.isSafeInteger(value);
    const signed = isSigned(type);
    const [low, high] =
      type.kind === 'int' && type.bool
        ? [0n, 1n]
        : [signed ? -(1n << BigInt(bits - 1)) : 0n, (1n << BigInt(signed ? bits - 1 : bits)) - 1n];
    const given = isWhole ? BigInt(value as number | bigint | boolean) : undefined;
    if (given === undefined || given < low || given > high) {
      const what = this.btf.describe(type.id);
      throw fail(path, `${show(value)} is no ${what}${bits % 8 === 0 ? '' : `:${bits}`}. It takes ${low} to ${high}.`);
    }
    this.#setBits(first, bits, given);
  }

  write(id: number, at: number, value: BtfValue, path: string, depth: number): void {
    const type = this.btf.resolve(id);
    const bytes = type.kind === 'var' ? 0 : this.btf.size(type.id);
    this.#enter(type, at, bytes, path, depth);
    if (type.kind === 'var') this.write(type.type, at, value, path, depth + 1);
    else if (value instanceof Uint8Array) {
      if (value.length !== bytes) {
        throw fail(path, `${value.length} bytes are given. ${this.btf.describe(type.id)} has ${bytes}.`);
      }
      this.#bytes.set(value, at);
    } else if (isInteger(type) && bytes >= 1 && bytes <= INTEGER_BYTES_MAX)
      this.#writeInteger(type, at * 8, bytes * 8, value, path);
    else if (type.kind === 'float' && (bytes === 4 || bytes === 8)) {
      if (typeof value !== 'number') throw fail(path, `${show(value)} is no ${type.name}. It takes a number.`);
      if (bytes === 4) this.#view.setFloat32(at, value, true);
      else this.#view.setFloat64(at, value, true);
    } else if (type.kind === 'array') this.#writeArray(type, at, value, path, depth);
    else if (type.kind === 'struct' || type.kind === 'union' || type.kind === 'datasec') {
      this.#writeObject(type, at, value, path, depth);
    } else throw this.#hasNoValue(type, path);
  }

  #writeArray(type: BtfTypeOf<'array'>, at: number, value: BtfValue, path: string, depth: number): void {
    if (!Array.isArray(value) || value.length > type.count) {
      const given = Array.isArray(value) ? `${value.length} elements are given` : `${show(value)} is no array`;
      throw fail(path, `${given}. It takes ${type.count} of ${this.btf.describe(type.type)}, or fewer: the rest is 0.`);
    }
    const bytes = this.btf.size(type.type);
    for (const [index, element] of (value as BtfValue[]).entries()) {
      this.write(type.type, at + index * bytes, element, `${path}[${index}]`, depth + 1);
    }
  }

  #writeObject(type: Struct | BtfTypeOf<'datasec'>, at: number, value: BtfValue, path: string, depth: number): void {
    const what = this.btf.describe(type.id);
    const isObject = typeof value === 'object' && !Array.isArray(value) && !(value instanceof Uint8Array);
    if (!isObject || value === null)
      throw fail(path, `${show(value)} is no ${what}. It takes an object, or its bytes.`);
    const given = Object.entries(value as Record<string, BtfValue | undefined>).filter(
      ([, each]) => each !== undefined,
    );
    const members = this.#membersOf(type, depth);
    for (const [name, each] of given) {
      const member = members.get(name);
      if (member === undefined) {
        throw fail(path, `${what} has no member ${name}. It has ${listNames([...members.keys()])}.`);
      }
      const [target, place] = [this.btf.resolve(member.type), `${path}.${name}`];
      const bits = bitsOf(member, target);
      if (bits === 0) {
        this.write(member.type, at + (member.bitOffset >>> 3), each as BtfValue, place, depth + 1);
        continue;
      }
      this.#checkBitfield(member, target, at, bits, place, depth);
      this.#writeInteger(target as Integer, at * 8 + member.bitOffset, bits, each as BtfValue, place);
    }
  }

  /** By name, those of anonymous structs and unions too, with their offsets from the start of `type`. */
  #membersOf(type: Struct | BtfTypeOf<'datasec'>, depth: number): Map<string, BtfMember> {
    const found = new Map<string, BtfMember>();
    if (type.kind === 'datasec') {
      for (const { type: variable, offset } of type.variables) {
        const { name } = this.btf.type(variable);
        found.set(name, { name, type: variable, bitOffset: offset * 8, bits: 0 });
      }
      return found;
    }
    const add = (struct: Struct, bitOffset: number, level: number): void => {
      this.#enter(struct, 0, 0, struct.name, level);
      for (const member of struct.members) {
        const inner = this.btf.resolve(member.type);
        const place = { ...member, bitOffset: bitOffset + member.bitOffset };
        if (member.name !== '') found.set(member.name, place);
        else if (inner.kind === 'struct' || inner.kind === 'union') add(inner, place.bitOffset, level + 1);
      }
    };
    add(type, 0, depth);
    return found;
  }
}

/** Bits of a bitfield; 0 when it is none. Older compilers say it by an integer of fewer bits than its bytes have. */
function bitsOf({ bits, bitOffset }: BtfMember, type: BtfType): number {
  if (bits !== 0) return bits;
  if (type.kind === 'int' && type.bits !== 0 && type.bits < type.bytes * 8 && !type.bool) return type.bits;
  return bitOffset % 8 === 0 || type.kind !== 'int' ? 0 : type.bits;
}

/** A name of the file may be `__proto__`. */
function set(target: Record<string, BtfValue>, name: string, value: BtfValue): void {
  Object.defineProperty(target, name, { value, enumerable: true, configurable: true, writable: true });
}

function show(value: unknown): string {
  if (typeof value === 'bigint') return `${value}n`;
  if (typeof value === 'object') return value === null ? 'null' : Array.isArray(value) ? 'an array' : 'an object';
  return typeof value === 'string' ? JSON.stringify(value) : String(value);
}

/** `conf`, `struct key`: what messages call the value itself. */
function rootName(btf: Btf, id: number): string {
  const type = btf.type(id);
  return type.kind === 'var' ? type.name : btf.describe(id);
}

/**
 * The value of type `id` in `bytes`, which may go on behind it. All members of a union are read.
 *
 * Errors: BAD_ARGUMENT when there are too few bytes or the type has no values; BAD_OBJECT when BTF is wrong.
 */
export function decodeValue(btf: Btf, id: number, bytes: Uint8Array): BtfValue {
  return new Codec(btf, bytes).read(id, 0, rootName(btf, id), 0);
}

/**
 * The bytes of a value of type `id`. Integers are numbers, bigints or booleans; members and elements left out are 0; any
 * part may be given as a Uint8Array of its size. Of a union several members may be given, as `decodeValue` gives them:
 * each is written over those before it.
 *
 * Errors: BAD_ARGUMENT, which names the member and what it takes; BAD_OBJECT when BTF is wrong.
 */
export function encodeValue(btf: Btf, id: number, value: BtfValue): Uint8Array {
  const type = btf.type(id);
  const size = btf.size(type.kind === 'var' ? type.type : id);
  const name = rootName(btf, id);
  if (size > BYTES_MAX) throw fail(name, `it has ${size} bytes. Values have ${BYTES_MAX} or fewer.`);
  const bytes = new Uint8Array(size);
  new Codec(btf, bytes).write(id, 0, value, name, 0);
  return bytes;
}
