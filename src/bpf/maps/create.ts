import type { Arena } from '../../memory/arena.ts';
import { GUARD_BYTES } from '../../memory/layout.ts';
import { RingwayError } from '../../util/errors.ts';
import { Random } from '../../util/random.ts';
import {
  MAP_CPU_SPAN,
  MAP_CPUS,
  MAP_FLAGS,
  MAP_ID,
  MAP_KEY_BYTES,
  MAP_KIND,
  MAP_LOCK,
  MAP_MAX_ENTRIES,
  MAP_STRIDE,
  MAP_VALUE_BYTES,
  MAP_VALUES,
} from '../layout.ts';
import type { MapDefinition } from '../program.ts';
import { writeByteRing } from './byte-ring.ts';
import type { MapCodec } from './codec.ts';
import {
  BUCKET_SHIFT,
  CHAIN_END,
  CONTROL_SCRATCH,
  HASH_BUCKETS,
  HASH_ELEMENT_SIZE,
  HASH_ELEMENTS,
  HASH_SEED,
  HASH_SHIFT,
  HASH_SPARES,
  HASH_TOTAL,
  HASH_USED,
  LPM_BITS,
  LPM_NODE_SIZE,
  LPM_NODES,
  LPM_VALUE_LINKS,
  MAP_NAME,
  MAP_NAME_MAX,
  PERF_RINGS,
  PERF_SPAN,
  RINGBUF_MASK,
  RINGBUF_STATES,
} from './layout.ts';
import { BpfMap, forgetMap, knownMap } from './map.ts';
import { type HashShape, type PerfShape, type Shape, shapeOf, type TrieShape } from './shape.ts';
import { checkLocks, lockOffset } from './spin-lock.ts';

/** How a map is made. */
export interface MapOptions<Key = unknown, Value = unknown> {
  /** What its region's name begins with: `bpf map` by default; the map's number follows. */
  readonly name?: string;
  /** CPUs that maps with values by CPU have values for: the lcores that run programs. 1 to 256. */
  readonly cpus: number;
  /** Seed of the places of keys in a hash; a random one by default. */
  readonly seed?: number;
  /** A map such as those that a map of maps will hold; the definition's `inner` by default. */
  readonly inner?: BpfMap;
  /** Bytes of each CPU's events in a PERF_EVENT_ARRAY: a power of two from 64; 65,536 by default. */
  readonly ringBytes?: number;
  /** What keys and values are in TypeScript; numbers and bytes by default. */
  readonly codec?: MapCodec<Key, Value>;
}

/** Where the number of the last map made in an arena is kept. */
const COUNTER = 'bpf maps';

/**
 * Bytes of an arena that a map takes.
 * @throws RingwayError `BAD_ARGUMENT` as `createMap`.
 */
export function mapBytes(definition: MapDefinition, cpus: number, ringBytes?: number): number {
  // The region, its guard and alignment; the first map of an arena brings the counter's too.
  return shapeOf(definition, cpus, ringBytes).bytes + 2 * (GUARD_BYTES + 128);
}

function nextId(arena: Arena): number {
  const region = arena.regions().find(({ name }) => name === COUNTER);
  const at = (region?.address ?? arena.allocate(COUNTER, 4)) >>> 2;
  const id = (arena.u32[at] ?? 0) + 1;
  arena.u32[at] = id;
  return id;
}

type Setter = (offset: number, value: number) => void;

function writeHash(address: number, set: Setter, { cpus, maxEntries }: Shape, hash: HashShape): void {
  set(HASH_BUCKETS, address + hash.bucketsAt);
  set(HASH_SHIFT, 32 - Math.log2(hash.buckets));
  set(HASH_ELEMENTS, address + hash.elementsAt);
  set(HASH_ELEMENT_SIZE, hash.elementBytes);
  set(HASH_TOTAL, hash.total);
  set(HASH_SPARES, address + hash.sparesAt);
  set(HASH_USED, hash.usedAt === 0 ? 0 : address + hash.usedAt);
  for (let bucket = 0; bucket < hash.buckets; bucket++) {
    set(hash.bucketsAt + bucket * 2 ** BUCKET_SHIFT, CHAIN_END | bucket);
  }
  for (let spare = 0; spare <= cpus; spare++) set(hash.sparesAt + spare * 4, maxEntries + spare);
}

function writeTrie(address: number, set: Setter, trie: TrieShape): void {
  set(LPM_NODES, address + trie.nodesAt);
  set(LPM_NODE_SIZE, trie.nodeBytes);
  set(LPM_BITS, trie.bits);
  set(LPM_VALUE_LINKS, address + trie.valueLinksAt);
}

function writePerf(arena: Arena, address: number, set: Setter, cpus: number, perf: PerfShape): void {
  set(PERF_RINGS, address + perf.ringsAt);
  set(PERF_SPAN, perf.span);
  for (let cpu = 0; cpu < cpus; cpu++) writeByteRing(arena, address + perf.ringsAt + cpu * perf.span, perf.ringBytes);
}

/** Writes the words of a map into zeroed memory. */
function writeWords(
  arena: Arena,
  address: number,
  definition: MapDefinition,
  shape: Shape,
  id: number,
  seed: Random,
): void {
  const set: Setter = (offset, value) => {
    arena.u32[(address + offset) >>> 2] = value;
  };
  set(MAP_KIND, definition.kind);
  set(MAP_KEY_BYTES, definition.keyBytes);
  set(MAP_VALUE_BYTES, definition.valueBytes);
  set(MAP_MAX_ENTRIES, shape.maxEntries);
  set(MAP_FLAGS, definition.flags);
  set(MAP_VALUES, address + shape.valuesAt);
  set(MAP_STRIDE, shape.stride);
  set(MAP_CPU_SPAN, shape.cpuSpan);
  set(MAP_CPUS, shape.cpus);
  set(MAP_ID, id);
  const lock = lockOffset(definition);
  if (lock !== undefined) set(MAP_LOCK, lock + 1);
  set(CONTROL_SCRATCH, address + shape.scratchAt);
  arena.u8.set(new TextEncoder().encode(definition.name).subarray(0, MAP_NAME_MAX - 1), address + MAP_NAME);
  if (shape.hash !== undefined) {
    writeHash(address, set, shape, shape.hash);
    // Any odd number will do.
    set(HASH_SEED, seed.next() | 1);
    set(HASH_SEED + 4, seed.next());
  }
  if (shape.trie !== undefined) writeTrie(address, set, shape.trie);
  if (shape.perf !== undefined) writePerf(arena, address, set, shape.cpus, shape.perf);
  if (shape.ringbuf !== undefined) {
    set(RINGBUF_MASK, shape.maxEntries - 1);
    set(RINGBUF_STATES, address + shape.ringbuf.statesAt);
  }
}

/**
 * Makes an empty map. The one value of a data section gets its initial bytes; `initialValues` name other things, and are
 * whoever's business who knows them.
 * @throws RingwayError `BAD_ARGUMENT` when the definition is none that its kind allows, or takes more than 2 GiB;
 *   `ARENA_FULL` when it does not fit.
 */
export function createMap<Key = unknown, Value = unknown>(
  arena: Arena,
  definition: MapDefinition,
  options: MapOptions<Key, Value>,
): BpfMap<Key, Value> {
  const { name = 'bpf map', cpus, seed = Math.floor(Math.random() * 2 ** 32), inner, codec, ringBytes } = options;
  const shape = shapeOf(definition, cpus, ringBytes);
  checkLocks(definition);
  const initial = definition.initial;
  if (initial !== undefined && initial.length > definition.valueBytes) {
    throw new RingwayError(
      'BAD_ARGUMENT',
      `map ${definition.name}: ${initial.length} initial bytes for a value of ${definition.valueBytes}`,
    );
  }
  const id = nextId(arena);
  const address = arena.allocate(`${name} ${id}`, shape.bytes);
  writeWords(arena, address, definition, shape, id, new Random(seed));
  if (initial !== undefined) arena.u8.set(initial, address + shape.valuesAt);
  return new BpfMap<Key, Value>(arena, address, definition, {
    ...(codec === undefined ? {} : { codec }),
    ...(inner === undefined ? {} : { inner: inner.definition }),
  });
}

/**
 * The map at `address`, in another thread than the one that made it, with keys and values as numbers and bytes. What its
 * words do not say is not known: which maps a map of maps holds is not checked here.
 */
export function attachMap(arena: Arena, address: number): BpfMap {
  const found = knownMap(arena, address);
  if (found !== undefined) return found;
  const word = (offset: number): number => arena.u32[(address + offset) >>> 2] ?? 0;
  const text = arena.u8.slice(address + MAP_NAME, address + MAP_NAME + MAP_NAME_MAX);
  return new BpfMap(
    arena,
    address,
    {
      name: new TextDecoder().decode(text.subarray(0, text.indexOf(0))),
      kind: word(MAP_KIND),
      keyBytes: word(MAP_KEY_BYTES),
      valueBytes: word(MAP_VALUE_BYTES),
      maxEntries: word(MAP_MAX_ENTRIES),
      flags: word(MAP_FLAGS),
      pinned: false,
    },
    {},
  );
}

/**
 * Gives a map's memory back. No program that has it may run any more.
 * @throws RingwayError `NOT_FOUND` when it was released before.
 */
export function releaseMap(arena: Arena, map: BpfMap): void {
  const region = arena.regions().find(({ address }) => address === map.address);
  if (region === undefined || knownMap(arena, map.address) !== map) {
    throw new RingwayError('NOT_FOUND', `map ${map.name}: it was released before`);
  }
  arena.release(region.name);
  forgetMap(arena, map.address);
}
