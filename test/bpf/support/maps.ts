import type { Arena } from 'ringway/memory';
import * as layout from '#build/bpf/layout.js';
import { createMap, type MapOptions } from '#build/bpf/maps/create.js';
import type { BpfMap } from '#build/bpf/maps/map.js';
import type { MapDefinition } from '#build/bpf/program.js';
import { testArena } from '../../support/arena.ts';

/** The kernels of helpers, as engines call them. */
export interface HelperKernels {
  bpfMapLookup(ctx: number, map: number, key: number): number;
  bpfMapLookupPercpu(ctx: number, map: number, key: number, cpu: number): number;
  bpfMapUpdate(ctx: number, map: number, key: number, value: number, flags: bigint): bigint;
  bpfMapDelete(ctx: number, map: number, key: number): bigint;
  bpfKtime(ctx: number): bigint;
  bpfJiffies(ctx: number): bigint;
  bpfPrandom(ctx: number): number;
  bpfProcessorId(ctx: number): number;
  bpfNumaNode(ctx: number): number;
  bpfRedirect(ctx: number, ifindex: number, flags: bigint): bigint;
  bpfRedirectMap(ctx: number, map: number, key: bigint, flags: bigint): bigint;
  bpfCsumDiff(ctx: number, from: number, fromBytes: number, to: number, toBytes: number, seed: number): bigint;
  bpfRingbufReserve(ctx: number, map: number, size: bigint, flags: bigint): number;
  bpfRingbufSubmit(ctx: number, record: number, flags: bigint): bigint;
  bpfRingbufDiscard(ctx: number, record: number, flags: bigint): bigint;
  bpfRingbufOutput(ctx: number, map: number, data: number, size: number, flags: bigint): bigint;
  bpfRingbufQuery(ctx: number, map: number, what: bigint): bigint;
  bpfPerfEventOutput(ctx: number, context: number, map: number, flags: bigint, data: number, size: number): bigint;
  bpfTracePrintk(ctx: number, format: number, size: number, a: bigint, b: bigint, c: bigint): bigint;
  bpfTraceVprintk(ctx: number, format: number, size: number, data: number, bytes: number): bigint;
  bpfAdjustHead(ctx: number, context: number, delta: number): bigint;
  bpfAdjustMeta(ctx: number, context: number, delta: number): bigint;
  bpfAdjustTail(ctx: number, context: number, delta: number): bigint;
  bpfBuffLen(ctx: number, context: number): bigint;
  bpfLoadBytes(ctx: number, context: number, offset: number, target: number, bytes: number): bigint;
  bpfStoreBytes(ctx: number, context: number, offset: number, source: number, bytes: number): bigint;
  bpfFibLookup(ctx: number, context: number, params: number, bytes: number, flags: number): bigint;
  bpfReach(ctx: number, address: bigint, bytes: bigint, writable: number): number;
  bpfReachMap(ctx: number, map: bigint): number;
}

export function definition(kind: number, more: Partial<MapDefinition> = {}): MapDefinition {
  return { name: 'm', kind, keyBytes: 4, valueBytes: 4, maxEntries: 8, flags: 0, pinned: false, ...more };
}

/** An arena with a context in it: what programs see of maps. */
export class MapBench {
  readonly arena: Arena;
  readonly kernels: HelperKernels;
  readonly ctx: number;
  /** 4 KiB that a program may use for keys and values. */
  readonly memory: number;

  constructor(base = 65536, bytes = 8 << 20) {
    this.arena = testArena(bytes, base);
    this.kernels = this.arena.kernels<HelperKernels>();
    this.ctx = this.arena.allocate('context', layout.CTX_BYTES);
    this.memory = this.arena.allocate('program', 4096);
    this.set(layout.CTX_RANDOM, 1);
  }

  create(kind: number, more: Partial<MapDefinition> = {}, options: Partial<MapOptions> = {}): BpfMap {
    return createMap(this.arena, definition(kind, more), { cpus: 2, seed: 7, ...options });
  }

  /** Sets a word of the context. */
  set(offset: number, value: number): void {
    this.arena.u32[(this.ctx + offset) >>> 2] = value;
  }

  get(offset: number): number {
    return this.arena.u32[(this.ctx + offset) >>> 2] ?? 0;
  }

  /** Gives programs the memory of these maps: CTX_RANGES. */
  setRanges(...maps: BpfMap[]): void {
    const ranges = maps.flatMap((map) => map.ranges());
    const at = this.memory + 2048;
    for (const [index, { address, bytes, writable, map }] of ranges.entries()) {
      this.arena.u32.set([address, bytes, writable ? 1 : 0, map], (at + index * 16) >>> 2);
    }
    this.set(layout.CTX_RANGES, at);
    this.set(layout.CTX_RANGE_COUNT, ranges.length);
  }

  /** Puts bytes where a program would have them; returns their address. */
  put(bytes: Uint8Array, at = 0): number {
    this.arena.u8.set(bytes, this.memory + at);
    return this.memory + at;
  }

  /** The value that a program finds under `key`. */
  lookup(map: BpfMap, key: Uint8Array): Uint8Array | undefined {
    const at = this.kernels.bpfMapLookup(this.ctx, map.address, this.put(key)) >>> 0;
    return at === 0 ? undefined : this.arena.u8.slice(at, at + map.definition.valueBytes);
  }

  update(map: BpfMap, key: Uint8Array, value: Uint8Array, flags = 0): number {
    return Number(
      this.kernels.bpfMapUpdate(this.ctx, map.address, this.put(key), this.put(value, 1024), BigInt(flags)),
    );
  }

  delete(map: BpfMap, key: Uint8Array): number {
    return Number(this.kernels.bpfMapDelete(this.ctx, map.address, this.put(key)));
  }
}
