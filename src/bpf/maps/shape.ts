import { alignUp, isPowerOfTwo, nextPowerOfTwo } from '../../util/bits.ts';
import { RingwayError } from '../../util/errors.ts';
import {
  KIND_ARRAY,
  KIND_ARRAY_OF_MAPS,
  KIND_CPUMAP,
  KIND_DEVMAP,
  KIND_DEVMAP_HASH,
  KIND_HASH,
  KIND_HASH_OF_MAPS,
  KIND_LPM_TRIE,
  KIND_LRU_HASH,
  KIND_LRU_PERCPU_HASH,
  KIND_PERCPU_ARRAY,
  KIND_PERCPU_HASH,
  KIND_PERF_EVENT_ARRAY,
  KIND_PROG_ARRAY,
  KIND_RINGBUF,
  KIND_XSKMAP,
  MAP_BYTES,
} from '../layout.ts';
import type { MapDefinition } from '../program.ts';
import {
  BUCKET_SHIFT,
  BYTERING_BYTES,
  CURSOR_BYTES,
  CURSOR_KEYS,
  ELEMENT_KEY,
  NODE_DATA,
  PREFIX_DATA,
} from './layout.ts';

/** What is known of a kind of map: its name, and the sizes that it allows. */
interface Kind {
  readonly name: string;
  /** Bytes of keys and of values: a fixed size, several, or a range. */
  readonly key: readonly number[] | { readonly min: number; readonly max: number };
  readonly value: readonly number[] | { readonly min: number; readonly max: number };
  readonly isHash?: boolean;
  readonly isLru?: boolean;
  readonly isPerCpu?: boolean;
}

/** Linux: KMALLOC_MAX_SIZE bounds values; here it is the arena. Keys of a hash: MAX_BPF_STACK. */
const KEY = { min: 1, max: 512 };
const VALUE = { min: 1, max: 2 ** 30 };
/** Values that a CPU has of its own: PCPU_MIN_UNIT_SIZE (Linux include/linux/percpu.h). */
const CPU_VALUE = { min: 1, max: 32768 };

/** The kinds of maps that there are, by BPF_MAP_TYPE_… number. */
export const KINDS: ReadonlyMap<number, Kind> = new Map<number, Kind>([
  [KIND_HASH, { name: 'HASH', key: KEY, value: VALUE, isHash: true }],
  [KIND_ARRAY, { name: 'ARRAY', key: [4], value: VALUE }],
  [KIND_PROG_ARRAY, { name: 'PROG_ARRAY', key: [4], value: [4] }],
  [KIND_PERF_EVENT_ARRAY, { name: 'PERF_EVENT_ARRAY', key: [4], value: [4] }],
  [KIND_PERCPU_HASH, { name: 'PERCPU_HASH', key: KEY, value: CPU_VALUE, isHash: true, isPerCpu: true }],
  [KIND_PERCPU_ARRAY, { name: 'PERCPU_ARRAY', key: [4], value: CPU_VALUE, isPerCpu: true }],
  [KIND_LRU_HASH, { name: 'LRU_HASH', key: KEY, value: VALUE, isHash: true, isLru: true }],
  [
    KIND_LRU_PERCPU_HASH,
    { name: 'LRU_PERCPU_HASH', key: KEY, value: CPU_VALUE, isHash: true, isLru: true, isPerCpu: true },
  ],
  [KIND_LPM_TRIE, { name: 'LPM_TRIE', key: { min: 5, max: 260 }, value: VALUE }],
  [KIND_ARRAY_OF_MAPS, { name: 'ARRAY_OF_MAPS', key: [4], value: [4] }],
  [KIND_HASH_OF_MAPS, { name: 'HASH_OF_MAPS', key: KEY, value: [4], isHash: true }],
  [KIND_DEVMAP, { name: 'DEVMAP', key: [4], value: [4, 8] }],
  [KIND_DEVMAP_HASH, { name: 'DEVMAP_HASH', key: [4], value: [4, 8], isHash: true }],
  [KIND_CPUMAP, { name: 'CPUMAP', key: [4], value: [4, 8] }],
  [KIND_XSKMAP, { name: 'XSKMAP', key: [4], value: [4] }],
  [KIND_RINGBUF, { name: 'RINGBUF', key: [0], value: [0] }],
]);

/** Bytes of one map: an address and a size of one are below 2^32, and their sum too. */
const BYTES_MAX = 2 ** 31;
/** Lcores that a map may have values for. */
const CPUS_MAX = 256;

/** What is peculiar to a kind. */
interface IndexShape {
  hash?: HashShape;
  trie?: TrieShape;
  ringbuf?: RingbufShape;
  perf?: PerfShape;
}

/** Where the parts of a map lie: bytes from its start. */
export interface Shape extends Readonly<IndexShape> {
  readonly kind: Kind;
  readonly cpus: number;
  readonly maxEntries: number;
  /** Bytes from one value to the next, and from one CPU's values to the next CPU's (0 when they are not by CPU). */
  readonly stride: number;
  readonly cpuSpan: number;
  readonly scratchAt: number;
  readonly valuesAt: number;
  /** Bytes of the values of one CPU, or of all that share them. */
  readonly valueBytes: number;
  readonly bytes: number;
}

/** The index of a hash. */
export interface HashShape {
  readonly buckets: number;
  readonly total: number;
  readonly elementBytes: number;
  readonly bucketsAt: number;
  readonly elementsAt: number;
  readonly sparesAt: number;
  /** 0 in a map that is not LRU. */
  readonly usedAt: number;
}

/** The index of a trie of prefixes. */
export interface TrieShape {
  readonly bits: number;
  readonly nodeBytes: number;
  readonly nodesAt: number;
  readonly valueLinksAt: number;
}

/** The words beside a ring buffer's data. */
export interface RingbufShape {
  readonly statesAt: number;
}

/** The rings of a PERF_EVENT_ARRAY. */
export interface PerfShape {
  readonly ringsAt: number;
  readonly span: number;
  /** Bytes of one CPU's events. */
  readonly ringBytes: number;
}

function wordsOf(allowed: Kind['key']): string {
  return 'min' in allowed ? `${allowed.min} to ${allowed.max}` : allowed.join(' or ');
}

function isAllowed(bytes: number, allowed: Kind['key']): boolean {
  return 'min' in allowed
    ? Number.isInteger(bytes) && bytes >= allowed.min && bytes <= allowed.max
    : allowed.includes(bytes);
}

/** The kind of `definition`, once its numbers are known to be allowed. */
function checkedKind(definition: MapDefinition, cpus: number): Kind {
  const { name, kind: number, keyBytes, valueBytes, maxEntries } = definition;
  const kind = KINDS.get(number);
  const refuse = (what: string): never => {
    throw new RingwayError('BAD_ARGUMENT', `map ${name}: ${what}`);
  };
  if (kind === undefined) {
    const names = [...KINDS].map(([id, { name: text }]) => `${text} (${id})`).join(', ');
    return refuse(`kind ${number} is not known; there are ${names}`);
  }
  if (!isAllowed(keyBytes, kind.key)) {
    refuse(`keys of ${keyBytes} bytes, those of ${kind.name} have ${wordsOf(kind.key)}`);
  }
  if (!isAllowed(valueBytes, kind.value)) {
    refuse(`values of ${valueBytes} bytes, those of ${kind.name} have ${wordsOf(kind.value)}`);
  }
  if (!Number.isInteger(maxEntries) || maxEntries < 1 || maxEntries > BYTES_MAX) {
    refuse(`max_entries ${maxEntries}, must be a whole number from 1`);
  }
  if (!Number.isInteger(cpus) || cpus < 1 || cpus > CPUS_MAX) {
    refuse(`values for ${cpus} CPUs, must be 1 to ${CPUS_MAX}`);
  }
  return kind;
}

function hashShape(definition: MapDefinition, kind: Kind, cpus: number, start: number): HashShape & { end: number } {
  // One more for each CPU, and one for TypeScript: a new value is written to it, and it takes the old one's place.
  const total = definition.maxEntries + cpus + 1;
  const buckets = Math.max(2, nextPowerOfTwo(definition.maxEntries));
  const elementBytes = alignUp(ELEMENT_KEY + definition.keyBytes, 8);
  const elementsAt = start + buckets * 2 ** BUCKET_SHIFT;
  const sparesAt = elementsAt + total * elementBytes;
  const usedAt = sparesAt + (cpus + 1) * 4;
  const end = usedAt + (kind.isLru === true ? total : 0);
  return {
    buckets,
    total,
    elementBytes,
    bucketsAt: start,
    elementsAt,
    sparesAt,
    usedAt: kind.isLru === true ? usedAt : 0,
    end,
  };
}

function trieShape({ keyBytes, maxEntries }: MapDefinition, start: number): TrieShape & { end: number } {
  const nodeBytes = alignUp(NODE_DATA + keyBytes - PREFIX_DATA, 8);
  // Each entry may bring a fork with it, and an old value stays until the new one is there.
  const valueLinksAt = start + 2 * maxEntries * nodeBytes;
  const end = valueLinksAt + (maxEntries + 1) * 4;
  return { bits: (keyBytes - PREFIX_DATA) * 8, nodeBytes, nodesAt: start, valueLinksAt, end };
}

/** Bytes of events that a CPU's ring holds when nothing else is said. */
export const EVENT_RING_BYTES = 65536;

function perfShape(ringBytes: number, cpus: number, start: number): PerfShape & { end: number } {
  const span = alignUp(BYTERING_BYTES + ringBytes, 128);
  return { ringsAt: start, span, ringBytes, end: start + span * cpus };
}

/** Entries as the map will have them: what is 0 in a definition means as many as there are CPUs, in maps by CPU. */
function entriesOf({ name, kind, maxEntries }: MapDefinition, cpus: number): number {
  if (kind === KIND_PERF_EVENT_ARRAY && maxEntries === 0) return cpus;
  if (kind === KIND_RINGBUF && (!isPowerOfTwo(maxEntries) || maxEntries < 64)) {
    throw new RingwayError(
      'BAD_ARGUMENT',
      `map ${name}: a ring of ${maxEntries} bytes, must be a power of two from 64`,
    );
  }
  return maxEntries;
}

/**
 * Where the parts of a map lie.
 * @param ringBytes bytes of a CPU's events in a PERF_EVENT_ARRAY: a power of two from 64.
 * @throws RingwayError `BAD_ARGUMENT` when the definition is not allowed, or the map would take more than 2 GiB.
 */
export function shapeOf(given: MapDefinition, cpus: number, ringBytes: number = EVENT_RING_BYTES): Shape {
  const definition = { ...given, maxEntries: entriesOf(given, cpus) };
  const kind = checkedKind(definition, cpus);
  const { keyBytes, valueBytes, maxEntries } = definition;
  const stride = alignUp(valueBytes, 8);
  const scratchAt = MAP_BYTES;
  const scratchBytes = alignUp(keyBytes, 8) * (1 + CURSOR_KEYS) + stride * (kind.isPerCpu === true ? cpus : 1);
  const indexAt = alignUp(scratchAt + scratchBytes + CURSOR_BYTES, 128);
  const index: IndexShape = {};
  // Bytes of the values, or of a ring's data.
  let values = maxEntries * stride;
  let end = indexAt;
  if (kind.isHash === true) {
    const hash = hashShape(definition, kind, cpus, indexAt);
    [index.hash, values, end] = [hash, hash.total * stride, hash.end];
  } else if (definition.kind === KIND_LPM_TRIE) {
    const trie = trieShape(definition, indexAt);
    [index.trie, values, end] = [trie, (maxEntries + 1) * stride, trie.end];
  } else if (definition.kind === KIND_RINGBUF) {
    // A word for each 8 bytes; and data for a record that begins at the ring's end.
    [index.ringbuf, values, end] = [{ statesAt: indexAt }, 2 * maxEntries, indexAt + maxEntries / 2];
  } else if (definition.kind === KIND_PERF_EVENT_ARRAY) {
    const perf = perfShape(checkedRing(definition.name, ringBytes), cpus, indexAt);
    [index.perf, values, end] = [perf, 0, perf.end];
  }
  const valuesAt = alignUp(end, 128);
  const cpuSpan = kind.isPerCpu === true ? alignUp(values, 128) : 0;
  const bytes = valuesAt + (cpuSpan === 0 ? values : cpuSpan * cpus);
  if (bytes > BYTES_MAX) {
    throw new RingwayError(
      'BAD_ARGUMENT',
      `map ${definition.name}: ${maxEntries} entries of ${keyBytes} + ${valueBytes} bytes take ${bytes} bytes, a map may have ${BYTES_MAX}`,
    );
  }
  return { kind, cpus, maxEntries, stride, cpuSpan, scratchAt, valuesAt, valueBytes: values, bytes, ...index };
}

function checkedRing(name: string, bytes: number): number {
  if (isPowerOfTwo(bytes) && bytes >= 64 && bytes < BYTES_MAX) return bytes;
  throw new RingwayError('BAD_ARGUMENT', `map ${name}: rings of ${bytes} bytes, must be a power of two from 64`);
}
