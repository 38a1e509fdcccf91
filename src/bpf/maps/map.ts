import type { Arena } from '../../memory/arena.ts';
import { type ErrorCode, RingwayError } from '../../util/errors.ts';
import {
  KIND_ARRAY,
  KIND_ARRAY_OF_MAPS,
  KIND_CPUMAP,
  KIND_DEVMAP,
  KIND_DEVMAP_HASH,
  KIND_HASH_OF_MAPS,
  KIND_PERCPU_ARRAY,
  KIND_PERF_EVENT_ARRAY,
  KIND_PROG_ARRAY,
  KIND_RINGBUF,
  KIND_XSKMAP,
  MAP_CPU_SPAN,
  MAP_CPUS,
  MAP_FLAG_RDONLY_PROG,
  MAP_ID,
  MAP_VALUES,
  UPDATE_ANY,
} from '../layout.ts';
import type { MapDefinition } from '../program.ts';
import { MapAccess } from './access.ts';
import { CodecError, type MapCodec, plainCodec } from './codec.ts';
import { checkSize, EntryCodec } from './entry-codec.ts';
import { ERRNO_BUSY, ERRNO_E2BIG, ERRNO_EXIST, ERRNO_INVAL, ERRNO_NOENT, ERRNO_NOMEM, ERRNO_NOSPC } from './layout.ts';
import { KINDS, shapeOf } from './shape.ts';

/** Memory of a map that its programs may reach: an entry of CTX_RANGES. */
export interface MapRange {
  readonly address: number;
  readonly bytes: number;
  readonly writable: boolean;
  /** Address of the map. */
  readonly map: number;
}

/** Error numbers of updates and deletions, as an error's code and words. */
const WORDS: Readonly<Record<number, readonly [ErrorCode, string]>> = {
  [ERRNO_E2BIG]: ['MAP_FULL', 'no room: it has as many entries as it may have, or no such place'],
  [ERRNO_NOSPC]: ['MAP_FULL', 'no room: it has as many entries as it may have'],
  [ERRNO_NOMEM]: ['MAP_FULL', 'no room, and nothing that could be evicted now'],
  [ERRNO_EXIST]: ['BAD_ARGUMENT', 'there is such an entry already'],
  [ERRNO_NOENT]: ['NOT_FOUND', 'there is no such entry'],
  [ERRNO_INVAL]: ['BAD_ARGUMENT', 'the key, the flags or the operation are none that such a map allows'],
  [ERRNO_BUSY]: ['BUSY', 'lcores held its place all the while; try again'],
};

/** Kinds whose keys are 0 to max_entries - 1 and always there. */
const WHOLE = [KIND_ARRAY, KIND_PERCPU_ARRAY];
/** Kinds whose values programs only read. */
const DEVICES = [KIND_DEVMAP, KIND_DEVMAP_HASH];
const SPARSE = [KIND_PROG_ARRAY, KIND_ARRAY_OF_MAPS, KIND_DEVMAP, KIND_CPUMAP, KIND_XSKMAP];

/** Which thread's objects stand for the maps of its arenas, by address. */
const known = new WeakMap<WebAssembly.Memory, Map<number, BpfMap>>();

/** The object that stands for the map at `address` in this thread, when there is one. */
export function knownMap(arena: Arena, address: number): BpfMap | undefined {
  return known.get(arena.handle.memory)?.get(address);
}

/** Takes away the object that stands for a map that is no more. */
export function forgetMap(arena: Arena, address: number): void {
  known.get(arena.handle.memory)?.delete(address);
}

/**
 * A map, as TypeScript sees it. Programs and other threads may read and write it at the same time. Made by `createMap`, and
 * in other threads by `attachMap`.
 *
 * @example
 * const hits = createMap(arena, definition, { cpus: 2 });
 * hits.set(1, [10n, 20n]);              // by CPU, in a map that has values by CPU
 * for (const [key, value] of hits) console.log(key, value);
 */
export class BpfMap<Key = unknown, Value = unknown> {
  readonly name: string;
  /** BPF_MAP_TYPE_…, and its name. */
  readonly kind: number;
  readonly kindName: string;
  readonly definition: MapDefinition;
  /** Address of the descriptor: what programs hold, and what another thread attaches by. */
  readonly address: number;
  /** Unique in the arena, from 1. */
  readonly id: number;
  /** CPUs that there are values for; undefined when all share one. */
  readonly cpus: number | undefined;
  /** What maps of this map must be like, in a map of maps. */
  readonly inner: MapDefinition | undefined;
  /** Where it lies. */
  readonly arena: Arena;
  readonly #access: MapAccess;
  readonly #codec: EntryCodec<Key, Value>;

  /** For `createMap` and `attachMap`: the map is there already. */
  constructor(
    arena: Arena,
    address: number,
    definition: MapDefinition,
    options: { readonly codec?: MapCodec<Key, Value>; readonly inner?: MapDefinition },
  ) {
    this.arena = arena;
    this.address = address;
    this.definition = definition;
    this.name = definition.name;
    this.kind = definition.kind;
    this.kindName = KINDS.get(definition.kind)?.name ?? `kind ${definition.kind}`;
    this.id = this.#word(MAP_ID);
    this.cpus = this.#word(MAP_CPU_SPAN) === 0 ? undefined : this.#word(MAP_CPUS);
    this.inner = options.inner ?? definition.inner;
    this.#access = new MapAccess(arena, address, this.name, definition.keyBytes);
    const codec = options.codec ?? (this.#ownCodec() as MapCodec<Key, Value>);
    this.#codec = new EntryCodec(this.name, codec, definition.valueBytes, this.cpus);
    const { memory } = arena.handle;
    const maps = known.get(memory) ?? new Map<number, BpfMap>();
    known.set(memory, maps.set(address, this as unknown as BpfMap));
  }

  /** Bytes of what `getBytes` gives: one value, or one for each CPU, each at a multiple of 8. */
  get valueBytes(): number {
    return this.#codec.bytes;
  }

  /** Entries that there are; a moment old when others run. */
  get size(): number {
    if (WHOLE.includes(this.kind)) return this.definition.maxEntries;
    if (SPARSE.includes(this.kind)) return [...this.#keyBytes()].length;
    this.#refuseRings('count');
    return this.#access.count();
  }

  /**
   * The value under `key`: in a map with values by CPU, an array of them. Undefined when there is none.
   * @throws RingwayError `BAD_ARGUMENT` when the key has not the map's size.
   */
  get(key: Key): Value | undefined {
    const bytes = this.getBytes(this.#encodeKey(key));
    return bytes === undefined ? undefined : this.#codec.decodeValue(bytes);
  }

  /** As `get`, in bytes: those of the CPUs one behind the other, as bpf(2) gives them. */
  getBytes(key: Uint8Array): Uint8Array | undefined {
    this.#refuseRings('look up or write');
    checkSize(this.name, key, this.definition.keyBytes, 'key');
    return this.#access.read(key, this.valueBytes);
  }

  has(key: Key): boolean {
    return this.getBytes(this.#encodeKey(key)) !== undefined;
  }

  /**
   * Writes the value under `key`. A map with values by CPU takes an array with one for each.
   * @param flags UPDATE_ANY (0, the default), UPDATE_NOEXIST (1) or UPDATE_EXIST (2).
   * @throws RingwayError `BAD_ARGUMENT` when key or value have not the map's size, are no map that fits a map of maps, or
   *   are there already; `NOT_FOUND`, `MAP_FULL`, `BUSY`.
   */
  set(key: Key, value: Value, flags: number = UPDATE_ANY): this {
    const encodedKey = this.#encodeKey(key);
    this.setBytes(encodedKey, this.#codec.encodeValue(value), flags);
    return this;
  }

  /** As `set`, in bytes. */
  setBytes(key: Uint8Array, value: Uint8Array, flags: number = UPDATE_ANY): void {
    this.#refuseRings('look up or write');
    checkSize(this.name, key, this.definition.keyBytes, 'key');
    checkSize(this.name, value, this.valueBytes, 'value');
    this.#refuse(this.#access.write(key, value, flags), key);
  }

  /**
   * Removes an entry. Returns false when there was none. An array has all of its entries always.
   * @throws RingwayError `BAD_ARGUMENT` on kinds that lose nothing, and when the key has not the map's size.
   */
  delete(key: Key): boolean {
    return this.deleteBytes(this.#encodeKey(key));
  }

  /** As `delete`, in bytes. */
  deleteBytes(key: Uint8Array): boolean {
    this.#refuseRings('delete');
    checkSize(this.name, key, this.definition.keyBytes, 'key');
    const errno = this.#access.erase(key);
    if (errno !== ERRNO_NOENT) this.#refuse(errno, key);
    return errno === 0;
  }

  /** Removes all entries; those of an array become zeroes. */
  clear(): void {
    for (const key of [...this.#keyBytes()]) {
      if (WHOLE.includes(this.kind)) this.setBytes(key, new Uint8Array(this.valueBytes));
      else this.deleteBytes(key);
    }
  }

  /** The keys, while others may write: those that stay are all given, once. */
  *keys(): Generator<Key> {
    for (const key of this.#keyBytes()) yield this.#codec.decodeKey(key);
  }

  /** Keys and values; an entry that goes meanwhile is left out. */
  *entries(): Generator<[Key, Value]> {
    for (const key of this.#keyBytes()) {
      const value = this.getBytes(key);
      if (value !== undefined) yield [this.#codec.decodeKey(key), this.#codec.decodeValue(value)];
    }
  }

  [Symbol.iterator](): Generator<[Key, Value]> {
    return this.entries();
  }

  /** The memory that programs with this map may reach; one entry of 0 bytes when there is none. */
  ranges(): MapRange[] {
    return rangesOf(this as unknown as BpfMap);
  }

  #word(offset: number): number {
    return this.arena.u32[(this.address + offset) >>> 2] ?? 0;
  }

  #refuseRings(what: string): void {
    if (this.kind === KIND_RINGBUF || this.kind === KIND_PERF_EVENT_ARRAY) {
      throw new RingwayError(
        'UNSUPPORTED',
        `map ${this.name}: ${this.kindName} has no entries to ${what}; readRingbuf and readPerf read what programs wrote`,
      );
    }
  }

  *#keyBytes(): Generator<Uint8Array> {
    this.#refuseRings('list');
    if (!WHOLE.includes(this.kind) && !SPARSE.includes(this.kind)) {
      yield* this.#access.keys();
      return;
    }
    for (let index = 0; index < this.definition.maxEntries; index++) {
      const key = new Uint8Array(Uint32Array.of(index).buffer);
      if (WHOLE.includes(this.kind) || this.getBytes(key) !== undefined) yield key;
    }
  }

  #refuse(errno: number, key: Uint8Array): void {
    if (errno === 0) return;
    const [code, words] = WORDS[errno] ?? ['BAD_ARGUMENT', `error number ${errno}`];
    const shown = this.definition.keyBytes === 4 ? new DataView(key.buffer, key.byteOffset).getUint32(0, true) : key;
    throw new RingwayError(
      code,
      `map ${this.name} (${this.kindName}, ${this.definition.maxEntries} entries), key ${shown}: ${words}`,
    );
  }

  #encodeKey(key: Key): Uint8Array {
    this.#refuseRings('look up or write');
    return this.#codec.encodeKey(key);
  }

  #ownCodec(): MapCodec {
    const plain = plainCodec(this.definition);
    if (this.kind !== KIND_ARRAY_OF_MAPS && this.kind !== KIND_HASH_OF_MAPS) return plain;
    return {
      ...plain,
      decodeValue: (bytes) => {
        const address = plain.decodeValue(bytes) as number;
        return knownMap(this.arena, address) ?? address;
      },
      encodeValue: (value) => plain.encodeValue(this.#innerAddress(value)),
    };
  }

  /** The address of a map that may be a value of this map of maps. */
  #innerAddress(value: unknown): number {
    if (!(value instanceof BpfMap)) throw new CodecError(`of type ${typeof value}, must be a map`);
    const [have, want] = [value.definition, this.inner];
    if (knownMap(this.arena, value.address) !== value) throw new CodecError(`${value.name}, which is in another arena`);
    if (want === undefined) return value.address;
    for (const field of ['kind', 'keyBytes', 'valueBytes', 'flags', 'maxEntries'] as const) {
      // Linux bpf_map_meta_equal: only arrays must be of one length, since programs' checks are compiled for it.
      const matters = field !== 'maxEntries' || WHOLE.includes(have.kind);
      if (matters && have[field] !== want[field]) {
        throw new CodecError(`${value.name} with ${field} ${have[field]}, maps of this map have ${want[field]}`);
      }
    }
    return value.address;
  }
}

/** Kinds whose values are no business of programs. */
const CLOSED = [
  KIND_PROG_ARRAY,
  KIND_ARRAY_OF_MAPS,
  KIND_HASH_OF_MAPS,
  KIND_CPUMAP,
  KIND_XSKMAP,
  KIND_PERF_EVENT_ARRAY,
];

function rangesOf(map: BpfMap): MapRange[] {
  const { arena, kind, definition, address } = map;
  const word = (offset: number): number => arena.u32[(address + offset) >>> 2] ?? 0;
  const { valueBytes, cpuSpan } = shapeOf(definition, map.cpus ?? 1);
  const bytes = map.cpus === undefined ? valueBytes : map.cpus * cpuSpan;
  const readOnly = (definition.flags & MAP_FLAG_RDONLY_PROG) !== 0 || DEVICES.includes(kind);
  const isClosed = CLOSED.includes(kind);
  return [{ address: word(MAP_VALUES), bytes: isClosed ? 0 : bytes, writable: !isClosed && !readOnly, map: address }];
}
