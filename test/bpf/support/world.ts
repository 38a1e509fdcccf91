import { type Arena, createArena } from 'ringway/memory';
import { initContext, setIngress, setRanges } from '#build/bpf/context.js';
import type { Execution } from '#build/bpf/interpreter.js';
import * as layout from '#build/bpf/layout.js';
import { createMap, mapBytes } from '#build/bpf/maps/create.js';
import type { BpfMap } from '#build/bpf/maps/map.js';
import type { MapDefinition, Program } from '#build/bpf/program.js';
import { DEFINITIONS, FIXTURE, HELD, MAPS, TARGETS } from './fixture.ts';

/** Sorted entries of maps: the number of the map, its key and value in hexadecimal. */
export type Contents = readonly string[];

/** What one run left. */
export interface RunOutput {
  /** u32. */
  readonly r0: number;
  /** Metadata and packet. */
  readonly packet: Uint8Array;
  readonly metaBytes: number;
  readonly fault?: { readonly kind: number; readonly pc: number; readonly address: bigint };
  readonly steps?: number;
}

/** As in the kernel's test runs (Linux net/bpf/test_run.c): a page, 256 bytes in front, 320 kept behind. */
const PAGE_BYTES = 4096;
const HEADROOM = 256;
const TAILROOM = 320;
/** sizeof(struct xdp_frame), which lies at the start of the headroom. */
const XDP_FRAME_BYTES = 40;
const PACKET_MAX = PAGE_BYTES - HEADROOM - TAILROOM;
/** Bytes of a CPU's events in a perf event array. */
const RING_BYTES = 256;
/** Bytes between stack, packet and maps: more than the offset of an instruction reaches over. */
const GAP_BYTES = 72 << 10;
/** Bytes of the regions around all others. */
const GUARD_BYTES = 256;

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const raw = {
  decodeKey: (bytes: Uint8Array) => bytes,
  encodeKey: (key: Uint8Array) => key,
  decodeValue: (bytes: Uint8Array) => bytes,
  encodeValue: (value: Uint8Array) => value,
};

/** The values of the CPUs, in an order that does not depend on which CPU it was. */
export function entryText(map: number, key: Uint8Array, value: Uint8Array, cpus: number): string {
  const { valueBytes } = DEFINITIONS[map] as MapDefinition;
  const stride = Math.ceil(valueBytes / 8) * 8;
  const values =
    cpus === 1
      ? [hex(value)]
      : Array.from({ length: cpus }, (_, cpu) => hex(value.subarray(cpu * stride, cpu * stride + valueBytes)));
  return `${map} ${hex(key)}: ${values.sort().join(' ')}`;
}

/**
 * An arena with the fixture's maps, a context and room for a packet, for engines that run in this process. All worlds of
 * one size have everything at the same address, so that even what a hostile program makes of addresses is the same.
 */
export class World {
  readonly arena: Arena;
  readonly context: number;
  readonly maps: readonly BpfMap<Uint8Array, Uint8Array>[];
  readonly addresses: readonly number[];
  readonly cpus: number;
  /** By number in the table of programs, from 1: those of the fixture. */
  readonly targets: ReadonlyMap<number, Program>;
  readonly #area: number;
  /** All regions as they were at the start. */
  readonly #from: number;
  readonly #image: Uint8Array;
  readonly #guards: readonly (readonly [from: number, to: number])[];
  readonly #initial: Contents[];

  constructor(cpus: number) {
    const bytes = FIXTURE.reduce((sum, { definition }) => sum + mapBytes(definition, cpus, RING_BYTES), 0);
    const arena = createArena({ bytes: bytes + 2 * GAP_BYTES + (64 << 10) });
    this.arena = arena;
    this.cpus = cpus;
    const before = arena.allocate('before', GUARD_BYTES);
    this.context = arena.allocate('context', layout.CTX_BYTES);
    arena.allocate('gap behind the context', GAP_BYTES);
    this.#area = arena.allocate('packet', PAGE_BYTES);
    arena.allocate('gap behind the packet', GAP_BYTES);
    const clock = arena.allocate('clock', 8);
    arena.u32[clock >>> 2] = 1000;
    const maps: BpfMap<Uint8Array, Uint8Array>[] = [];
    for (const [index, { definition }] of FIXTURE.entries()) {
      const options = { cpus, seed: index + 1, codec: raw, ringBytes: RING_BYTES };
      maps.push(createMap<Uint8Array, Uint8Array>(arena, definition, options));
    }
    this.maps = maps;
    this.addresses = maps.map(({ address }) => address);
    this.targets = new Map([...TARGETS].map(([index, program]) => [index + 1, program]));
    this.#fill();
    const ranges = arena.allocate('ranges', 16 * maps.length);
    setRanges(arena, this.context, ranges, this.#writeRanges(ranges));
    setIngress(arena, this.context, 1, 0);
    initContext(arena, this.context, { cpu: 0, clock, seed: 1 });
    const after = arena.allocate('after', GUARD_BYTES);
    const regions = arena.regions();
    // What lies between two regions belongs to nobody, and so do the first and the last.
    this.#guards = regions.slice(1).map(({ address }, index) => {
      const { address: previous, bytes } = regions[index] as { address: number; bytes: number };
      return [index === 0 ? previous : previous + bytes, address] as const;
    });
    this.#from = before;
    this.#image = arena.u8.slice(before, after + GUARD_BYTES);
    this.#initial = FIXTURE.map((_, index) => this.#read(index));
  }

  #fill(): void {
    for (const [index, { initial, definition }] of FIXTURE.entries()) {
      const map = this.maps[index] as BpfMap<Uint8Array, Uint8Array>;
      const copies = map.cpus ?? 1;
      const stride = map.valueBytes / copies;
      for (const [key, value] of initial) {
        const whole = new Uint8Array(map.valueBytes);
        for (let cpu = 0; cpu < copies; cpu++) whole.set(value.subarray(0, definition.valueBytes), cpu * stride);
        map.setBytes(key, whole);
      }
    }
    const u32 = (value: number): Uint8Array => new Uint8Array(Uint32Array.of(value).buffer);
    for (const [index] of TARGETS) this.maps[MAPS.programs]?.setBytes(u32(index), u32(index + 1));
    for (const [outer, held] of Object.entries(HELD)) {
      for (const [key, inner] of Object.entries(held)) {
        this.maps[Number(outer)]?.setBytes(u32(Number(key)), u32(this.addresses[inner] as number));
      }
    }
  }

  #writeRanges(at: number): number {
    const { u32 } = this.arena;
    const all = this.maps.flatMap((map) => map.ranges());
    for (const [index, { address, bytes, writable, map }] of all.entries()) {
      const entry = (at + (index << layout.RANGE_SHIFT)) >>> 2;
      u32[entry] = address;
      u32[entry + 1] = bytes;
      u32[entry + 2] = writable ? 1 : 0;
      u32[entry + 3] = map;
    }
    return all.length;
  }

  #set(offset: number, value: number): void {
    this.arena.u32[(this.context + offset) >>> 2] = value;
  }

  #word(offset: number): number {
    return this.arena.u32[(this.context + offset) >>> 2] ?? 0;
  }

  /** Puts everything back as it was at the start, and a packet into its place. */
  reset(packet: Uint8Array): void {
    if (packet.length > PACKET_MAX) throw new Error(`a packet of ${packet.length} bytes`);
    const { u8 } = this.arena;
    u8.set(this.#image, this.#from);
    const start = this.#area + HEADROOM;
    u8.set(packet, start);
    this.#set(layout.CTX_DATA, start);
    this.#set(layout.CTX_DATA_META, start);
    this.#set(layout.CTX_DATA_END, start + packet.length);
    this.#set(layout.CTX_HARD_START, this.#area + XDP_FRAME_BYTES);
    this.#set(layout.CTX_HARD_END, this.#area + PAGE_BYTES - TAILROOM);
  }

  /**
   * Which memory of a program an address is in: a frame of the stack, the packet, a map's values; -1 when it is in none. Two
   * addresses are in the same when the numbers are the same.
   */
  placeOf(address: number): number {
    const inStack = address - this.context - layout.CTX_STACK;
    if (inStack >= 0 && inStack < layout.FRAMES_MAX * layout.FRAME_BYTES)
      return Math.floor(inStack / layout.FRAME_BYTES);
    if (address >= this.#word(layout.CTX_DATA_META) && address < this.dataEnd) return 100;
    if (address >= this.context && address < this.context + layout.CTX_MD_BYTES) return 101;
    const ranges = this.#word(layout.CTX_RANGES) >>> 2;
    const { u32 } = this.arena;
    for (let index = 0; index < this.#word(layout.CTX_RANGE_COUNT); index++) {
      const [from, bytes] = u32.subarray(ranges + index * 4, ranges + index * 4 + 2) as unknown as [number, number];
      if (address >= from && address < from + bytes) return 200 + index;
    }
    return -1;
  }

  /** Where the packet ends now. */
  get dataEnd(): number {
    return this.#word(layout.CTX_DATA_END);
  }

  /** Address of the first value of a map. */
  valueAddress(map: number): number {
    return this.arena.u32[((this.addresses[map] as number) + layout.MAP_VALUES) >>> 2] as number;
  }

  /** What a run that gave `r0` left, by the context's words. */
  output(r0: bigint): RunOutput {
    const [meta, data, end] = [layout.CTX_DATA_META, layout.CTX_DATA, layout.CTX_DATA_END].map((offset) =>
      this.#word(offset),
    ) as [number, number, number];
    const kind = this.#word(layout.CTX_FAULT);
    const address =
      BigInt(this.#word(layout.CTX_FAULT_ADDRESS)) | (BigInt(this.#word(layout.CTX_FAULT_ADDRESS + 4)) << 32n);
    return {
      r0: Number(BigInt.asUintN(32, r0)),
      packet: this.arena.u8.slice(meta, end),
      metaBytes: data - meta,
      ...(kind === 0 ? {} : { fault: { kind, pc: this.#word(layout.CTX_FAULT_PC), address } }),
    };
  }

  /** What the maps of these numbers hold. */
  contents(numbers: readonly number[]): Contents {
    return numbers.flatMap((index) => (this.#isUntouched(index) ? (this.#initial[index] ?? []) : this.#read(index)));
  }

  #read(index: number): Contents {
    const map = this.maps[index] as BpfMap<Uint8Array, Uint8Array>;
    if (!FIXTURE[index]?.isData) return [];
    const entries: string[] = [];
    for (const key of map.keys()) {
      const value = map.getBytes(key);
      if (value !== undefined) entries.push(entryText(index, key, value, map.cpus ?? 1));
    }
    return entries.sort();
  }

  #isUntouched(index: number): boolean {
    const from = (this.addresses[index] as number) - this.#from;
    const next = (this.addresses[index + 1] ?? this.#from + this.#image.length) - this.#from;
    const now = this.arena.u8.subarray(this.#from + from, this.#from + next);
    return Buffer.compare(now, this.#image.subarray(from, next)) === 0;
  }

  /** Whether somebody wrote behind a region, or before the first one. */
  isDamaged(): boolean {
    return this.#guards.some(([from, to]) => {
      const now = this.arena.u8.subarray(from, to);
      return Buffer.compare(now, this.#image.subarray(from - this.#from, to - this.#from)) !== 0;
    });
  }

  /**
   * The first place where the memory of two worlds differs, by region; undefined when it is the same. Left out are what engines
   * say of faults, how they count fuel, and the stack, of which compiled code keeps in memory only what others may see.
   */
  difference(other: World): string | undefined {
    const { u8 } = this.arena;
    const differs = (from: number, to: number): boolean =>
      Buffer.compare(u8.subarray(from, to), other.arena.u8.subarray(from, to)) !== 0;
    const { context } = this;
    const parts = [
      [this.#from, context + layout.CTX_FAULT],
      [context + layout.CTX_TAIL_CALLS, context + layout.CTX_STACK],
      [context + layout.CTX_BYTES, this.#from + this.#image.length],
    ] as const;
    const found = parts.find(([from, to]) => differs(from, to));
    if (found === undefined) return undefined;
    let [at] = found;
    while (u8[at] === other.arena.u8[at]) at++;
    const { name, address } = this.arena.regions().findLast((region) => region.address <= at) ?? {
      name: '',
      address: 0,
    };
    return `${name} + ${at - address}: ${u8[at]}, and ${other.arena.u8[at]}`;
  }

  /** What `interpret` takes, all but the program. */
  execution(): Omit<Execution, 'program'> {
    return {
      arena: this.arena,
      context: this.context,
      maps: this.addresses,
      programs: (number) => {
        const program = this.targets.get(number);
        return program === undefined ? undefined : { program, maps: this.addresses };
      },
    };
  }
}
