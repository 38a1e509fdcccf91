import { assemble, programOf } from '#build/bpf/assemble.js';
import * as layout from '#build/bpf/layout.js';
import type { MapDefinition, Program } from '#build/bpf/program.js';

/** The maps that generated programs have, what they hold at the start, and the programs that tail calls reach. */
export interface FixtureMap {
  readonly definition: MapDefinition;
  /** Key and value of each entry; a per-CPU map has the value on every CPU. */
  readonly initial: readonly (readonly [key: Uint8Array, value: Uint8Array])[];
  /** Its entries are compared: they are bytes that programs wrote. */
  readonly isData: boolean;
}

function define(
  name: string,
  kind: number,
  keyBytes: number,
  valueBytes: number,
  maxEntries: number,
  more: Partial<MapDefinition> = {},
): MapDefinition {
  return { name, kind, keyBytes, valueBytes, maxEntries, flags: 0, pinned: false, ...more };
}

/** `size` bytes that begin with `first` as a u32 and go on with something that depends on it. */
function bytes(size: number, first: number): Uint8Array {
  const made = Uint8Array.from({ length: size }, (_, index) => (index < 4 ? 0 : (first * 37 + index * 11) & 255));
  const view = new DataView(new ArrayBuffer(4));
  view.setUint32(0, first, true);
  made.set(new Uint8Array(view.buffer).subarray(0, Math.min(4, size)));
  return made;
}

const pad = (size: number, first: number): Uint8Array => {
  const made = new Uint8Array(size);
  made.set(bytes(Math.min(4, size), first));
  return made;
};

function data(definition: MapDefinition, keys: readonly number[]): FixtureMap {
  const { keyBytes, valueBytes } = definition;
  const initial = keys.map((key) => [pad(keyBytes, key), bytes(valueBytes, key + 5)] as const);
  return { definition, initial, isData: true };
}

const other = (definition: MapDefinition, initial: FixtureMap['initial'] = []): FixtureMap => ({
  definition,
  initial,
  isData: false,
});

const INNER_ARRAY = define('inner_array', layout.KIND_ARRAY, 4, 16, 2);
const INNER_HASH = define('inner_hash', layout.KIND_HASH, 4, 8, 8);

/** A prefix of IPv4, as a key of an LPM trie: length, then bytes. */
const prefix = (length: number, ...address: number[]): Uint8Array => Uint8Array.of(length, 0, 0, 0, ...address);

/** By number: what LDDW counts in. */
export const MAPS = {
  hash: 0,
  sparse: 1,
  array: 2,
  global: 3,
  constants: 4,
  cpuHash: 5,
  cpuArray: 6,
  lru: 7,
  cpuLru: 8,
  trie: 9,
  programs: 10,
  ring: 11,
  perf: 12,
  devices: 13,
  deviceHash: 14,
  cpus: 15,
  sockets: 16,
  arrays: 17,
  hashes: 18,
  innerArray: 19,
  innerHash: 20,
} as const;

export const FIXTURE: readonly FixtureMap[] = [
  data(define('hash', layout.KIND_HASH, 4, 8, 6), [0, 1, 2]),
  data(define('sparse', layout.KIND_HASH, 8, 24, 12, { flags: layout.MAP_FLAG_NO_PREALLOC }), [1, 3]),
  data(define('array', layout.KIND_ARRAY, 4, 16, 4), [0, 1, 2, 3]),
  data(define('global', layout.KIND_ARRAY, 4, 64, 1), [0]),
  data(define('constants', layout.KIND_ARRAY, 4, 32, 1, { flags: layout.MAP_FLAG_RDONLY_PROG }), [0]),
  data(define('cpu_hash', layout.KIND_PERCPU_HASH, 4, 16, 8), [0, 2]),
  data(define('cpu_array', layout.KIND_PERCPU_ARRAY, 4, 8, 2), [0, 1]),
  data(define('lru', layout.KIND_LRU_HASH, 4, 8, 1024), [1, 2]),
  data(define('cpu_lru', layout.KIND_LRU_PERCPU_HASH, 4, 8, 1024), [3]),
  {
    definition: define('trie', layout.KIND_LPM_TRIE, 8, 8, 16, { flags: layout.MAP_FLAG_NO_PREALLOC }),
    initial: [
      [prefix(0, 0, 0, 0, 0), bytes(8, 1)],
      [prefix(4, 16, 0, 0, 0), bytes(8, 2)],
      [prefix(9, 1, 128, 0, 0), bytes(8, 3)],
      [prefix(32, 1, 2, 3, 4), bytes(8, 4)],
    ],
    isData: true,
  },
  other(define('programs', layout.KIND_PROG_ARRAY, 4, 4, 8)),
  other(define('ring', layout.KIND_RINGBUF, 0, 0, 4096)),
  other(define('perf', layout.KIND_PERF_EVENT_ARRAY, 4, 4, 2)),
  // Interface 1 is the loopback's, which there always is.
  other(define('devices', layout.KIND_DEVMAP, 4, 4, 4), [[bytes(4, 1), bytes(4, 1)]]),
  other(define('device_hash', layout.KIND_DEVMAP_HASH, 4, 8, 4), [[bytes(4, 2), pad(8, 1)]]),
  other(define('cpus', layout.KIND_CPUMAP, 4, 4, 2)),
  other(define('sockets', layout.KIND_XSKMAP, 4, 4, 2)),
  other(define('arrays', layout.KIND_ARRAY_OF_MAPS, 4, 4, 3, { inner: INNER_ARRAY })),
  other(define('hashes', layout.KIND_HASH_OF_MAPS, 4, 4, 3, { inner: INNER_HASH })),
  data(INNER_ARRAY, [0, 1]),
  data(INNER_HASH, [1, 4]),
];

export const DEFINITIONS: readonly MapDefinition[] = FIXTURE.map(({ definition }) => definition);

/** In `arrays` and `hashes`, by key: the number of the map that is there. */
export const HELD: Readonly<Record<number, Readonly<Record<number, number>>>> = {
  [MAPS.arrays]: { 1: MAPS.innerArray },
  [MAPS.hashes]: { 5: MAPS.innerHash },
};

/** Places of the array of programs that have one; the others are empty. */
export const TARGETS: ReadonlyMap<number, Program> = new Map(
  [
    // Returns something of the packet.
    `ldxw %r2, [%r1]
     ldxw %r3, [%r1+4]
     mov %r4, %r2
     add %r4, 4
     mov %r0, 2
     jgt %r4, %r3, exit
     ldxb %r0, [%r2+3]
     stb [%r2+1], 0x7e
     exit`,
    // Counts, and calls itself until it may no more.
    `mov %r6, %r1
     lddw %r2, value ${MAPS.global} + 8
     mov %r3, 1
     lock add [%r2], %r3
     lddw %r2, map ${MAPS.programs}
     mov %r3, 1
     call tail_call
     lddw %r2, value ${MAPS.global} + 8
     ldxw %r0, [%r2]
     exit`,
    // Goes on to the first one, from a function.
    `mov %r6, %r1
     call local sub
     add %r0, 0x100
     exit
     sub: lddw %r2, map ${MAPS.programs}
     mov %r3, 0
     call tail_call
     mov %r0, 7
     exit`,
  ].map((text, index) => [index, programOf(assemble(text), `target_${index}`, DEFINITIONS)] as const),
);
