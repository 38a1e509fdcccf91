import {
  KIND_CPUMAP,
  KIND_DEVMAP,
  KIND_DEVMAP_HASH,
  KIND_PERF_EVENT_ARRAY,
  KIND_PROG_ARRAY,
  KIND_RINGBUF,
} from '../bpf/layout.ts';
import type { BpfMap } from '../bpf/maps/map.ts';
import type { Btf } from '../bpf/object/btf.ts';
import type { BtfType } from '../bpf/object/btf-types.ts';
import { parseMacBytes, parsePrefix } from '../util/addresses.ts';
import { RingwayError } from '../util/errors.ts';
import { typesOf } from './codec.ts';

/** A map that entries are written to: of ours, or of Linux. */
export type TypedMap = Pick<BpfMap, 'name' | 'kind' | 'kindName' | 'definition' | 'cpus'> & {
  set(key: unknown, value: unknown): unknown;
};

/** What names stand for in keys and values. */
export interface Names {
  /** The interface index of a port; undefined when there is no such port. */
  portOf(name: string): number | undefined;
  /**
   * The number of a program that `map` may hold.
   * @throws RingwayError when there is none of that name, or it may not.
   */
  programOf(name: string, map: TypedMap): number;
}

const INTEGERS: readonly number[] = [1, 2, 4, 8];
/** Kinds whose values may have a program. */
const PAIRS: readonly number[] = [KIND_DEVMAP, KIND_DEVMAP_HASH, KIND_CPUMAP];

/** The bytes of an address, or of a prefix behind its length, when they are as many as are wanted. */
function addressBytes(text: string, size: number): Uint8Array | undefined {
  if (size === 6) return parseMacBytes(text);
  const hasLength = text.includes('/');
  const prefix = parsePrefix(hasLength ? text : `${text}/${text.includes(':') ? 128 : 32}`);
  if (prefix === undefined) return undefined;
  if (!hasLength) return prefix.bytes.length === size ? prefix.bytes : undefined;
  // struct bpf_lpm_trie_key: the length, then the address.
  const bytes = Uint8Array.of(prefix.length, 0, 0, 0, ...prefix.bytes);
  return bytes.length === size ? bytes : undefined;
}

/** The bytes of `de ad be ef` or `0xdeadbeef`, in that order, when they are as many as are wanted. */
function hexBytes(text: string, size: number): Uint8Array | undefined {
  const digits = text.replace(/^0x/i, '').replaceAll(/[\s:]/g, '');
  if (digits.length !== size * 2 || !/^[0-9a-f]+$/i.test(digits)) return undefined;
  return Uint8Array.from(digits.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
}

/** A number that somebody wrote, as a bigint. */
function readNumber(text: string): bigint | undefined {
  if (!/^-?(0x[0-9a-f]+|\d+)$/i.test(text)) return undefined;
  return text.startsWith('-') ? -BigInt(text.slice(1)) : BigInt(text);
}

/**
 * A key or value as people write it, as a map takes it: numbers, `port:NAME` for an interface's index, IPv4, IPv6 and
 * MAC addresses in network order, prefixes for tries, hexadecimal bytes such as `de ad be ef`; objects and arrays as they are.
 * @param size bytes of the map's keys or values.
 * @throws RingwayError `BAD_ARGUMENT` when it is none of these of that size.
 */
export function readItem(given: unknown, size: number, what: string, { portOf }: Pick<Names, 'portOf'>): unknown {
  if (typeof given !== 'string') return given;
  const text = given.trim();
  const port = /^port:(.+)$/.exec(text)?.[1];
  if (port !== undefined) {
    const ifindex = portOf(port);
    if (ifindex !== undefined) return ifindex;
    throw new RingwayError('BAD_ARGUMENT', `${what}: ${text}: there is no port ${JSON.stringify(port)}`);
  }
  const number = readNumber(text);
  if (number !== undefined && INTEGERS.includes(size)) {
    return number >= Number.MIN_SAFE_INTEGER && number <= Number.MAX_SAFE_INTEGER ? Number(number) : number;
  }
  const bytes = addressBytes(text, size) ?? hexBytes(text, size);
  if (bytes !== undefined) return bytes;
  const numbers = INTEGERS.includes(size) ? 'a number, ' : '';
  throw new RingwayError(
    'BAD_ARGUMENT',
    `${what}: ${JSON.stringify(given)} is not of ${size} bytes; use ${numbers}port:NAME, an address, a prefix, or ${size} hexadecimal bytes such as ${'00 '.repeat(Math.min(size, 4)).trim()}`,
  );
}

/** The type of the member `name` of a struct, union or data section, in anonymous members too. */
function memberType(btf: Btf, type: BtfType, name: string): number | undefined {
  if (type.kind === 'datasec') return type.variables.find((variable) => btf.type(variable.type).name === name)?.type;
  if (type.kind !== 'struct' && type.kind !== 'union') return undefined;
  for (const member of type.members) {
    if (member.name === name) return member.type;
    const inner = member.name === '' ? memberType(btf, btf.resolve(member.type), name) : undefined;
    if (inner !== undefined) return inner;
  }
  return undefined;
}

/** Where the parts of something typed are, and what their names stand for. */
interface Reading {
  readonly btf: Btf;
  readonly names: Names;
}

/** What somebody wrote for a value of type `id`: text in members and elements is read as `readItem` reads it. */
function readPart(given: unknown, id: number, what: string, reading: Reading): unknown {
  const { btf, names } = reading;
  const named = btf.type(id);
  const type = named.kind === 'var' ? btf.resolve(named.type) : btf.resolve(id);
  if (typeof given === 'string') {
    const size = btf.size(type.id);
    // Of one byte that is an array, text is the byte and not a number.
    return (type.kind === 'array' ? hexBytes(given, size) : undefined) ?? readItem(given, size, what, names);
  }
  if (Array.isArray(given) && type.kind === 'array') {
    return given.map((part, index) => readPart(part, type.type, `${what}[${index}]`, reading));
  }
  if (typeof given !== 'object' || given === null || given instanceof Uint8Array || Array.isArray(given)) return given;
  const parts = Object.entries(given).map(([name, part]) => {
    const member = memberType(btf, type, name);
    return [name, member === undefined ? part : readPart(part, member, `${what}.${name}`, reading)];
  });
  return Object.fromEntries(parts);
}

/**
 * A key of a map as people write it, as the map takes it: text as `readItem` reads it, in members of structs too.
 * @throws RingwayError `BAD_ARGUMENT`.
 */
export function readKey({ name, definition }: TypedMap, given: unknown, names: Names): unknown {
  const types = typesOf(definition);
  const what = `map ${name}: key`;
  if (types === undefined || types.key === 0) return readItem(given, definition.keyBytes, what, names);
  return readPart(given, types.key, what, { btf: types.btf, names });
}

/** A value of a device or CPU map that has a program: each of both may be a name. */
function readPair(map: TypedMap, given: object, what: string, names: Names): unknown {
  const parts = Object.entries(given).map(([name, part]) => {
    if (typeof part !== 'string') return [name, part];
    const isProgram = name === 'program' && !/^\d+$/.test(part);
    return [name, isProgram ? names.programOf(part, map) : readItem(part, 4, `${what}.${name}`, names)];
  });
  return Object.fromEntries(parts);
}

/** A value, as `readKey` reads a key; one CPU's in a map with values by CPU. Programs may be given by name. */
export function readValue(map: TypedMap, given: unknown, names: Names): unknown {
  const { definition, name, kind } = map;
  const what = `map ${name}: value`;
  if (kind === KIND_PROG_ARRAY && typeof given === 'string' && !/^\d+$/.test(given)) return names.programOf(given, map);
  const isObject =
    typeof given === 'object' && given !== null && !Array.isArray(given) && !(given instanceof Uint8Array);
  if (PAIRS.includes(kind) && isObject) {
    return readPair(map, given, what, names);
  }
  const types = typesOf(definition);
  if (types === undefined || types.value === 0) return readItem(given, definition.valueBytes, what, names);
  return readPart(given, types.value, what, { btf: types.btf, names });
}

/**
 * Writes an entry as people write it. In a map with values by CPU a single value is written for all of them.
 * @throws RingwayError as `readItem` and `BpfMap.set`.
 */
export function writeEntry(map: TypedMap, key: unknown, value: unknown, names: Names): void {
  const taken = readKey(map, key, names);
  const read = (one: unknown): unknown => readValue(map, one, names);
  if (map.cpus === undefined) map.set(taken, read(value));
  else if (Array.isArray(value) && value.length === map.cpus) map.set(taken, value.map(read));
  else map.set(taken, Array(map.cpus).fill(read(value)));
}

/** What a key or value is in JSON: bytes as hexadecimal text, bigints as numbers where those are exact. */
export function plainItem(item: unknown): unknown {
  if (typeof item === 'bigint') return Number.isSafeInteger(Number(item)) ? Number(item) : item.toString();
  if (item instanceof Uint8Array) return Array.from(item, (byte) => byte.toString(16).padStart(2, '0')).join(' ');
  if (Array.isArray(item)) return item.map(plainItem);
  if (typeof item === 'object' && item !== null) {
    if ('address' in item && 'kindName' in item) return `map ${(item as BpfMap).name}`;
    return Object.fromEntries(Object.entries(item).map(([name, part]) => [name, plainItem(part)]));
  }
  return item;
}

/** The entries of a map as in JSON, those of arrays that are all zeroes left out. None of rings, which have no entries. */
export function filledEntries(map: BpfMap): { readonly key: unknown; readonly value: unknown }[] {
  if (map.kind === KIND_RINGBUF || map.kind === KIND_PERF_EVENT_ARRAY) return [];
  const entries = [...map].map(([key, value]) => ({ key: plainItem(key), value: plainItem(value) }));
  // What is left of zeroes in text, without the names of members, has no other digit.
  const isZero = (value: unknown): boolean => /^[^1-9a-f]*$/.test(JSON.stringify(value).replaceAll(/"\w+":/g, ''));
  return entries.filter(({ value }) => !map.kindName.endsWith('ARRAY') || !isZero(value));
}
