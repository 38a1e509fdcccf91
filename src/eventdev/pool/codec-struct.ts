import type { Arena } from '../../memory/arena.ts';
import { alignUp } from '../../util/bits.ts';
import { RingwayError } from '../../util/errors.ts';
import type { Codec } from './codec.ts';
import { TextReader, TextWriter } from './text.ts';

/** A number's type: its kind and bits. i64 and u64 are bigints. */
export type NumberField = 'u8' | 'u16' | 'u32' | 'i8' | 'i16' | 'i32' | 'f32' | 'f64' | 'i64' | 'u64';

/** A field's type: a number's, a truth, text of so many bytes of UTF-8 at most, or so many bytes at most (1 to 65,535). */
export type StructField = NumberField | 'bool' | { readonly utf8: number } | { readonly bytes: number };

/** The fields of a struct, by name. */
export type StructFields = { readonly [name: string]: StructField };

type ValueOf<F> = F extends 'i64' | 'u64'
  ? bigint
  : F extends NumberField
    ? number
    : F extends 'bool'
      ? boolean
      : F extends { readonly utf8: number }
        ? string
        : Uint8Array;

/** The objects that a struct's fields describe. */
export type StructOf<F extends StructFields> = { -readonly [K in keyof F]: ValueOf<F[K]> };

/** Where a field lies, and its bytes. */
interface Place {
  readonly name: string;
  readonly field: StructField;
  readonly at: number;
}

const SIZES: Record<string, number> = { u8: 1, i8: 1, bool: 1, u16: 2, i16: 2, u32: 4, i32: 4, f32: 4 };
const LARGE = 8;
const TEXT_MAX = 65535;

const alignOf = (field: StructField): number => (typeof field === 'string' ? (SIZES[field] ?? LARGE) : 2);
/** Of text and bytes: a length of 16 bits goes before. */
const sizeOf = (field: StructField): number => {
  if (typeof field === 'string') return SIZES[field] ?? LARGE;
  return 2 + ('utf8' in field ? field.utf8 : field.bytes);
};

const NAMES = [...Object.keys(SIZES), 'f64', 'i64', 'u64'];

function checkField(name: string, field: unknown, what: string): void {
  if (typeof field === 'string' && NAMES.includes(field)) return;
  if (typeof field === 'object' && field !== null) {
    const [[kind, bytes] = [], ...more] = Object.entries(field);
    if (more.length === 0 && (kind === 'utf8' || kind === 'bytes') && Number.isInteger(bytes)) {
      if (bytes >= 1 && bytes <= TEXT_MAX) return;
    }
  }
  throw new RingwayError(
    'BAD_ARGUMENT',
    `${what}: field ${name} is ${JSON.stringify(field)}, must be one of ${NAMES.join(', ')}, { utf8: n } or { bytes: n } with n from 1 to ${TEXT_MAX}`,
  );
}

/** Places fields by falling alignment, so that none needs padding but the last. */
function place(fields: StructFields, what: string): { places: Place[]; bytes: number } {
  const entries = Object.entries(fields);
  for (const [name, field] of entries) checkField(name, field, what);
  // In an object literal this one is no field.
  if (entries.length === 0 || entries.some(([name]) => name === '__proto__')) {
    throw new RingwayError('BAD_ARGUMENT', `${what}: a struct needs a field at least, and none called __proto__`);
  }
  let at = 0;
  const order = entries.toSorted(([, a], [, b]) => alignOf(b) - alignOf(a));
  const places = order.map(([name, field]) => {
    at = alignUp(at, alignOf(field));
    const here = { name, field, at };
    at += sizeOf(field);
    return here;
  });
  return { places, bytes: alignUp(at, LARGE) };
}

/** Bytes of a struct, the padding at its end included. @throws RingwayError `BAD_ARGUMENT` naming a bad field. */
export function structBytes(fields: StructFields, what: string): number {
  return place(fields, what).bytes;
}

/** For each type: what its array is called, when a value `v` is right, and what is allowed. */
const KINDS: Record<string, readonly [array: string, check: string, allowed: string]> = {
  u8: ['u8', '(v & 255) === v', 'a whole number from 0 to 255'],
  u16: ['u16', '(v & 65535) === v', 'a whole number from 0 to 65535'],
  u32: ['u32', 'v >>> 0 === v', 'a whole number from 0 to 4294967295'],
  i8: ['u8', '(v << 24) >> 24 === v', 'a whole number from -128 to 127'],
  i16: ['u16', '(v << 16) >> 16 === v', 'a whole number from -32768 to 32767'],
  i32: ['i32', '(v | 0) === v', 'a whole number from -2147483648 to 2147483647'],
  f32: [
    'f32',
    "typeof v === 'number' && (Math.abs(v) <= 3.4028234663852886e38 || v - v !== 0)",
    'a number up to ±3.4e38',
  ],
  f64: ['f64', "typeof v === 'number'", 'a number'],
  i64: ['i64', "typeof v === 'bigint' && BigInt.asIntN(64, v) === v", 'a bigint from -2^63 to 2^63 - 1'],
  u64: ['u64', "typeof v === 'bigint' && BigInt.asUintN(64, v) === v", 'a bigint from 0 to 2^64 - 1'],
  bool: ['u8', "typeof v === 'boolean'", 'true or false'],
};

const SHIFTS: Record<string, number> = { u8: 0, u16: 1, u32: 2, i32: 2, f32: 2, f64: 3, i64: 3, u64: 3 };

function allowedIn(field: StructField): string {
  if (typeof field === 'string') return KINDS[field]?.[2] as string;
  return 'utf8' in field
    ? `well-formed text of up to ${field.utf8} bytes of UTF-8`
    : `a Uint8Array of up to ${field.bytes} bytes`;
}

const element = (array: string, at: number): string => `${array}[(at + ${at}) >>> ${SHIFTS[array]}]`;

function encodeLine({ name, field, at }: Place, index: number): string {
  const read = `v = value[${JSON.stringify(name)}];`;
  if (typeof field !== 'string') {
    const call =
      'utf8' in field ? `writeText(${index}, v, at + ${at + 2})` : `writeBytes(v, at + ${at + 2}, ${field.bytes})`;
    return `${read} if ((n = ${call}) < 0) bad(${index}, v); ${element('u16', at)} = n;`;
  }
  const [array, check] = KINDS[field] as readonly [string, string, string];
  return `${read} if (!(${check})) bad(${index}, v); ${element(array, at)} = v;`;
}

function decodeEntry({ name, field, at }: Place): string {
  const property = `${JSON.stringify(name)}: `;
  if (typeof field !== 'string') {
    const call = 'utf8' in field ? 'readText' : 'readBytes';
    return `${property}${call}(at + ${at + 2}, ${element('u16', at)})`;
  }
  const [array] = KINDS[field] as readonly [string, string, string];
  const read = element(array, at);
  if (field === 'bool') return `${property}${read} === 1`;
  if (field === 'i8' || field === 'i16') return `${property}(${read} << ${field === 'i8' ? '24) >> 24' : '16) >> 16'}`;
  return property + read;
}

/** `String.prototype.isWellFormed`, as Node has it from 20 on; the ECMAScript 2023 library does not know it. */
const isWellFormed = (text: string): boolean => (text as unknown as { isWellFormed(): boolean }).isWellFormed();

/** What the generated functions use. */
function tools(arena: Arena, base: number, places: readonly Place[]): Record<string, unknown> {
  const { buffer } = arena.handle.memory;
  const { u8, u16, u32, i32 } = arena;
  const reader = new TextReader(arena);
  const writers = places.map(
    ({ field }) => new TextWriter(arena, base, typeof field === 'object' && 'utf8' in field ? field.utf8 : 0),
  );
  return {
    u8,
    u16,
    u32,
    i32,
    f32: new Float32Array(buffer),
    f64: new Float64Array(buffer),
    i64: new BigInt64Array(buffer),
    u64: new BigUint64Array(buffer),
    writeText(index: number, value: unknown, at: number): number {
      if (typeof value !== 'string') return -1;
      const n = (writers[index] as TextWriter).write(value, at);
      // A lone surrogate takes three bytes, as another character.
      return n === value.length || isWellFormed(value) ? n : -1;
    },
    writeBytes(value: unknown, at: number, max: number): number {
      if (!(value instanceof Uint8Array) || value.length > max) return -1;
      u8.set(value, at);
      return value.length;
    },
    readText: (at: number, bytes: number): string => (bytes === 0 ? '' : reader.read(at, bytes)),
    readBytes: (at: number, bytes: number): Uint8Array => u8.slice(at, at + bytes),
  };
}

function show(value: unknown): string {
  if (typeof value === 'bigint') return `${value}n`;
  const shown = typeof value === 'string' ? JSON.stringify(value) : String(value);
  return shown.length > 60 ? `${shown.slice(0, 60)}…` : shown;
}

/**
 * The codec of a struct: functions made for its fields, with every position and limit written out, since a loop over
 * fields takes several times as long.
 * @throws RingwayError `BAD_ARGUMENT` naming a bad field; `UNSUPPORTED` when Node was told to make no code from strings.
 */
export function createStructCodec(arena: Arena, base: number, fields: StructFields, what: string): Codec {
  const { places, bytes } = place(fields, what);
  const bad = (index: number, value: unknown): never => {
    const { name, field } = places[index] as Place;
    throw new RingwayError('BAD_ARGUMENT', `${what}: ${name}=${show(value)}, must be ${allowedIn(field)}`);
  };
  const notObject = (value: unknown): never => {
    throw new RingwayError('BAD_ARGUMENT', `${what} is ${show(value)}, must be an object`);
  };
  const known = { ...tools(arena, base, places), bad, notObject };
  const inOrder = Object.keys(fields).map((name) => places.find((its) => its.name === name) as Place);
  const body = `'use strict';
    return {
      encode(value, at) {
        if (typeof value !== 'object' || value === null) notObject(value);
        let v, n;
        ${places.map(encodeLine).join('\n')}
        return ${bytes};
      },
      decode(at) { return { ${inOrder.map(decodeEntry).join(', ')} }; },
    };`;
  try {
    const make = new Function(...Object.keys(known), body) as (...args: unknown[]) => Omit<Codec, 'bytes'>;
    return { bytes, ...make(...Object.values(known)) };
  } catch (cause) {
    if (!(cause instanceof EvalError)) throw cause;
    throw new RingwayError(
      'UNSUPPORTED',
      `${what}: structs need code made from strings, which Node was told to refuse; use 'json'`,
      { cause },
    );
  }
}
