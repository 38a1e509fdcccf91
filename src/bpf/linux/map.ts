import { readFileSync } from 'node:fs';
import { requireBpf } from '../../sys/index.ts';
import { RingwayError } from '../../util/errors.ts';
import {
  KIND_ARRAY_OF_MAPS,
  KIND_HASH_OF_MAPS,
  KIND_PERF_EVENT_ARRAY,
  KIND_RINGBUF,
  KIND_XSKMAP,
  MAP_FLAG_RDONLY_PROG,
} from '../layout.ts';
import { type MapCodec, plainCodec } from '../maps/codec.ts';
import { checkSize, EntryCodec } from '../maps/entry-codec.ts';
import { KINDS } from '../maps/shape.ts';
import { lockOffset } from '../maps/spin-lock.ts';
import type { MapDefinition } from '../program.ts';

/** Kinds of which bpf(2) lists nothing. */
const UNREADABLE: readonly number[] = [KIND_PERF_EVENT_ARRAY, KIND_RINGBUF, KIND_XSKMAP];

let cpus: number | undefined;

/** CPUs that Linux has values for in maps by CPU: all that there may ever be. */
export function possibleCpus(): number {
  // `0-3`, or a list of such ranges; the numbers have no gaps at the end.
  cpus ??= Number(/(\d+)\s*$/.exec(readFileSync('/sys/devices/system/cpu/possible', 'utf8'))?.[1] ?? 0) + 1;
  return cpus;
}

/** Makes a map of Linux. Returns its descriptor. */
function create(definition: MapDefinition): number {
  const bpf = requireBpf();
  const { kind, keyBytes, valueBytes, flags, name } = definition;
  if (lockOffset(definition) !== undefined) {
    throw new RingwayError(
      'UNSUPPORTED',
      `map ${name}: its values have a spin lock, which Linux takes with types (BTF) only, and those are not loaded; run the program in ringway`,
    );
  }
  const isOuter = kind === KIND_ARRAY_OF_MAPS || kind === KIND_HASH_OF_MAPS;
  if (isOuter && definition.inner === undefined) {
    throw new RingwayError(
      'BAD_OBJECT',
      `map ${name}: Linux wants to know what the maps in it are like: __array(values, …)`,
    );
  }
  const maxEntries = kind === KIND_PERF_EVENT_ARRAY ? definition.maxEntries || possibleCpus() : definition.maxEntries;
  const inner = isOuter && definition.inner !== undefined ? create(definition.inner) : undefined;
  try {
    const options = { kind, keyBytes, valueBytes, maxEntries, flags, name };
    return bpf.mapCreate(inner === undefined ? options : { ...options, inner });
  } finally {
    // It has been looked at, and is needed no more.
    if (inner !== undefined) bpf.close(inner);
  }
}

/** A map of Linux: until `close`, and as long as a program there has it. */
export class LinuxMap<Key = unknown, Value = unknown> {
  readonly name: string;
  /** BPF_MAP_TYPE_…, and its name. */
  readonly kind: number;
  readonly kindName: string;
  readonly definition: MapDefinition;
  readonly descriptor: number;
  /** CPUs that there are values for; undefined when all share one. */
  readonly cpus: number | undefined;
  readonly #codec: EntryCodec<Key, Value>;

  /**
   * Makes the map, with the value that its section of the object has.
   * @throws RingwayError `SYSTEM` when Linux refuses, `UNSUPPORTED` where there is no bpf(2) and for maps with spin locks.
   */
  constructor(definition: MapDefinition, codec?: MapCodec<Key, Value>) {
    const { name, kind, valueBytes, initial, flags } = definition;
    this.name = name;
    this.kind = kind;
    this.kindName = KINDS.get(kind)?.name ?? `kind ${kind}`;
    this.definition = definition;
    this.cpus = KINDS.get(kind)?.isPerCpu === true ? possibleCpus() : undefined;
    this.#codec = new EntryCodec(
      name,
      codec ?? (plainCodec(definition) as MapCodec<Key, Value>),
      valueBytes,
      this.cpus,
    );
    this.descriptor = create(definition);
    try {
      if (initial === undefined) return;
      this.setBytes(new Uint8Array(4), initial);
      // Its verifier takes what nobody can change for constants.
      if ((flags & MAP_FLAG_RDONLY_PROG) !== 0) requireBpf().mapFreeze(this.descriptor);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Bytes of what `getBytes` gives: one value, or one for each CPU, each at a multiple of 8. */
  get valueBytes(): number {
    return this.#codec.bytes;
  }

  /** @throws RingwayError `BAD_ARGUMENT` when key or value are none of the map, `SYSTEM` when Linux refuses them. */
  set(key: Key, value: Value): this {
    const encodedKey = this.#codec.encodeKey(key);
    this.setBytes(encodedKey, this.#codec.encodeValue(value));
    return this;
  }

  /** As `set`, in bytes. */
  setBytes(key: Uint8Array, value: Uint8Array): void {
    checkSize(this.name, key, this.definition.keyBytes, 'key');
    checkSize(this.name, value, this.valueBytes, 'value');
    this.#call(() => requireBpf().mapUpdate(this.descriptor, key, value));
  }

  /** Removes an entry. Returns false when there was none. */
  delete(key: Key): boolean {
    return this.deleteBytes(this.#codec.encodeKey(key));
  }

  /** As `delete`, in bytes. */
  deleteBytes(key: Uint8Array): boolean {
    checkSize(this.name, key, this.definition.keyBytes, 'key');
    return this.#call(() => requireBpf().mapDelete(this.descriptor, key));
  }

  /** Key and value of each entry, in Linux's order. One may come twice while programs delete others. */
  *entryBytes(): Generator<[key: Uint8Array, value: Uint8Array]> {
    if (UNREADABLE.includes(this.kind)) {
      throw new RingwayError('UNSUPPORTED', `map ${this.name}: Linux lists no entries of a ${this.kindName}`);
    }
    const bpf = requireBpf();
    const { keyBytes, maxEntries } = this.definition;
    let key: Uint8Array | undefined;
    // Where the last key is gone Linux begins again: a walk has an end all the same.
    for (let step = 0; step < maxEntries; step++) {
      key = this.#call(() => bpf.mapNextKey(this.descriptor, key, keyBytes));
      if (key === undefined) return;
      const value = bpf.mapLookup(this.descriptor, key, this.valueBytes);
      if (value !== undefined) yield [key, value];
    }
  }

  /** Keys and values; in maps of programs and of maps, the numbers that Linux knows those by. */
  *[Symbol.iterator](): Generator<[Key, Value]> {
    for (const [key, value] of this.entryBytes()) yield [this.#codec.decodeKey(key), this.#codec.decodeValue(value)];
  }

  #call<T>(call: () => T): T {
    try {
      return call();
    } catch (cause) {
      if (!(cause instanceof RingwayError)) throw cause;
      throw new RingwayError(cause.code, `map ${this.name}: ${cause.message}`, { cause });
    }
  }

  close(): void {
    requireBpf().close(this.descriptor);
  }
}
