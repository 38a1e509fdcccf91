import { type Arena, createArena, createPool } from 'ringway/memory';
import { assemble, programOf } from '#build/bpf/assemble.js';
import { initContext, setRanges } from '#build/bpf/context.js';
import { interpret } from '#build/bpf/interpreter.js';
import {
  compileProgram,
  createProgramTable,
  instantiateProgram,
  type ProgramInstance,
} from '#build/bpf/jit/compile.js';
import * as layout from '#build/bpf/layout.js';
import { withLoops } from '#build/bpf/loops.js';
import { createMap } from '#build/bpf/maps/create.js';
import type { BpfMap } from '#build/bpf/maps/map.js';
import type { MapDefinition, Program } from '#build/bpf/program.js';
import { verifyStructure } from '#build/bpf/verify.js';

/** A map of this kind, with 4-byte keys. */
export function definition(name: string, kind: number, more: Partial<MapDefinition> = {}): MapDefinition {
  return { name, kind, keyBytes: 4, valueBytes: 8, maxEntries: 4, flags: 0, pinned: false, ...more };
}

/** Where programs run in tests: packets in slots of a pool, a context, maps. */
export class Rig {
  readonly arena: Arena;
  readonly context: number;
  readonly cache: number;
  readonly slots: number;
  readonly verdicts: number;
  readonly table = createProgramTable(16);
  #programs = 0;

  constructor(base = 65536) {
    this.arena = createArena({ bytes: 4 << 20, base });
    const pool = createPool(this.arena, { buffers: 128, caches: 1 });
    this.cache = pool.caches[0] ?? 0;
    this.slots = this.arena.allocate('slots', 32 * 16);
    this.verdicts = this.arena.allocate('verdicts', 32 * 16);
    this.context = this.arena.allocate('context', layout.CTX_BYTES);
    const clock = this.arena.allocate('clock', 8);
    initContext(this.arena, this.context, { cpu: 0, clock, seed: 1, cache: this.cache });
  }

  word(offset: number): number {
    return this.arena.u32[(this.context + offset) >>> 2] ?? 0;
  }

  set(offset: number, value: number): void {
    this.arena.u32[(this.context + offset) >>> 2] = value;
  }

  /** Assembles a program with maps of its own, and lets it reach them. */
  program(text: string, definitions: readonly MapDefinition[] = []): { program: Program; maps: BpfMap[] } {
    const program = withLoops(programOf(assemble(text), 'test', definitions));
    verifyStructure(program);
    const maps = definitions.map((one) => createMap(this.arena, one, { cpus: 1, seed: 1 }));
    const ranges = maps.flatMap((map) => map.ranges());
    const address = this.arena.allocate(`ranges ${this.#programs++}`, Math.max(1, ranges.length) * 16);
    for (const [index, range] of ranges.entries()) {
      const at = (address + index * 16) >>> 2;
      this.arena.u32.set([range.address, range.bytes, range.writable ? 1 : 0, range.map], at);
    }
    setRanges(this.arena, this.context, address, ranges.length);
    return { program, maps };
  }

  compile({ program, maps }: { program: Program; maps: BpfMap[] }, checked: boolean, fuel?: number): ProgramInstance {
    const options = { maps, checked, ...(fuel === undefined ? {} : { fuel }) };
    return instantiateProgram(this.arena, compileProgram(this.arena, program, options), this.table);
  }

  /** Puts packets into slots. */
  load(packets: readonly Uint8Array[]): void {
    const { poolAlloc } = this.arena.kernels<{ poolAlloc(cache: number, slots: number, max: number): number }>();
    if (poolAlloc(this.cache, this.slots, packets.length) !== packets.length) throw new Error('no buffers');
    for (const [index, packet] of packets.entries()) {
      const slot = this.slots + index * 16;
      this.arena.u8.set(packet, (this.arena.u32[slot >>> 2] ?? 0) + 256);
      this.arena.u16[(slot + 6) >>> 1] = packet.length;
    }
  }

  /** The bytes of the packet in slot `index`. */
  packet(index: number): Uint8Array {
    const slot = this.slots + index * 16;
    const start = (this.arena.u32[slot >>> 2] ?? 0) + (this.arena.u16[(slot + 4) >>> 1] ?? 0);
    return this.arena.u8.slice(start, start + (this.arena.u16[(slot + 6) >>> 1] ?? 0));
  }

  /** What was said of packet `index`: action, kind, target, program. */
  verdict(index: number): number[] {
    const at = (this.verdicts + index * 16) >>> 2;
    return [...this.arena.u32.subarray(at, at + 4)];
  }

  /** Places one packet for `run` and the interpreter, in no slot. */
  place(packet: Uint8Array): number {
    const area = this.arena.regions().find(({ name }) => name === 'area')?.address ?? this.arena.allocate('area', 4096);
    this.arena.u8.fill(0, area, area + 4096);
    this.arena.u8.set(packet, area + 256);
    this.set(layout.CTX_DATA, area + 256);
    this.set(layout.CTX_DATA_META, area + 256);
    this.set(layout.CTX_DATA_END, area + 256 + packet.length);
    this.set(layout.CTX_HARD_START, area);
    this.set(layout.CTX_HARD_END, area + 3776);
    this.set(layout.CTX_SLOT, 0);
    this.set(layout.CTX_FAULT, 0);
    return area;
  }

  /** r0 of a program in all engines: interpreter, interpreter checked, compiled, compiled checked. */
  everywhere(text: string, packet = new Uint8Array(64), definitions: readonly MapDefinition[] = []): bigint[] {
    const given = this.program(text, definitions);
    const { arena, context } = this;
    const addresses = given.maps.map(({ address }) => address);
    const results: bigint[] = [];
    for (const checked of [false, true]) {
      this.place(packet);
      results.push(interpret({ ...given, maps: addresses, arena, context, checked }).r0);
      this.place(packet);
      results.push(BigInt.asUintN(64, this.compile(given, checked).run(context, BigInt(context), 0n)));
    }
    return results;
  }
}
