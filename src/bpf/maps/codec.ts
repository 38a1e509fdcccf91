import { KIND_CPUMAP, KIND_DEVMAP, KIND_DEVMAP_HASH } from '../layout.ts';
import type { MapDefinition } from '../program.ts';

/** Between the bytes of keys and values and what TypeScript sees. What an encoder gives must have the map's size. */
export interface MapCodec<Key = unknown, Value = unknown> {
  decodeKey(bytes: Uint8Array): Key;
  encodeKey(key: Key): Uint8Array;
  decodeValue(bytes: Uint8Array): Value;
  encodeValue(value: Value): Uint8Array;
}

/** An entry of a DEVMAP whose values have 8 bytes: an interface, and the number of the program that runs there, or 0. */
export interface DeviceEntry {
  readonly ifindex: number;
  readonly program: number;
}

/** An entry of a CPUMAP: packets that its queue holds, and the number of the program that runs there, or 0. */
export interface CpuEntry {
  readonly qsize: number;
  readonly program: number;
}

/** Numbers as they are in memory, little endian: of 1, 2 and 4 bytes a number, of 8 a bigint; other sizes as bytes. */
function decodePlain(bytes: Uint8Array): unknown {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length === 1) return view.getUint8(0);
  if (bytes.length === 2) return view.getUint16(0, true);
  if (bytes.length === 4) return view.getUint32(0, true);
  if (bytes.length === 8) return view.getBigUint64(0, true);
  return bytes;
}

/** The bytes of `value`; undefined when it is none that has such bytes. Negative numbers are two's complement. */
function encodePlain(value: unknown, size: number): Uint8Array | undefined {
  if (value instanceof Uint8Array) return value;
  if (Array.isArray(value)) {
    return value.every((byte) => Number.isInteger(byte) && byte >= 0 && byte <= 255)
      ? Uint8Array.from(value as number[])
      : undefined;
  }
  if (![1, 2, 4, 8].includes(size)) return undefined;
  if (typeof value !== 'bigint' && (typeof value !== 'number' || !Number.isSafeInteger(value))) return undefined;
  const number = BigInt(value);
  const bits = BigInt(size * 8);
  if (number >= 1n << bits || number < -(1n << (bits - 1n))) return undefined;
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigInt64(0, BigInt.asIntN(64, number), true);
  return bytes.slice(0, size);
}

/** What a number, an object with a field `first` and a `program`, or two words say, in a value of two words. */
function encodePair(value: unknown, size: number, first: string): Uint8Array | undefined {
  if (value instanceof Uint8Array || Array.isArray(value)) return encodePlain(value, size);
  const given = typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : { [first]: value };
  const head = encodePlain(given[first], 4);
  const program = encodePlain(given.program ?? 0, 4);
  if (head === undefined || program === undefined || !(first in given)) return undefined;
  if (size === 4) return program.every((byte) => byte === 0) ? head : undefined;
  return Uint8Array.of(...head, ...program);
}

function decodePair(bytes: Uint8Array, first: string): unknown {
  if (bytes.length !== 8) return decodePlain(bytes);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return { [first]: view.getUint32(0, true), program: view.getUint32(4, true) };
}

/** What is thrown when a key or value has no bytes of the right size; the map's name is added by who catches it. */
export class CodecError extends Error {}

function expected(value: unknown, size: number): CodecError {
  const numbers = [1, 2, 4, 8].includes(size) ? `a whole number of ${size * 8} bits or ` : '';
  const shown = typeof value === 'bigint' ? `${value}n` : (JSON.stringify(value) ?? String(value));
  return new CodecError(`${shown}, must be ${numbers}${size} bytes`);
}

/**
 * The codec of a map for which none is given: numbers of 1, 2 and 4 bytes, bigints of 8 (a number is taken too), all
 * else as Uint8Array (an array of numbers is taken too). Device and CPU maps take a number, or an object.
 */
export function plainCodec({ kind, keyBytes, valueBytes }: MapDefinition): MapCodec {
  const pair =
    kind === KIND_DEVMAP || kind === KIND_DEVMAP_HASH ? 'ifindex' : kind === KIND_CPUMAP ? 'qsize' : undefined;
  const encode = (value: unknown, bytes: Uint8Array | undefined, size: number): Uint8Array => {
    if (bytes === undefined || bytes.length !== size) throw expected(value, size);
    return bytes;
  };
  return {
    decodeKey: decodePlain,
    encodeKey: (key) => encode(key, encodePlain(key, keyBytes), keyBytes),
    decodeValue: (bytes) => (pair === undefined ? decodePlain(bytes) : decodePair(bytes, pair)),
    encodeValue: (value) =>
      encode(
        value,
        pair === undefined ? encodePlain(value, valueBytes) : encodePair(value, valueBytes, pair),
        valueBytes,
      ),
  };
}
