import { type Arena, createPool, type Pool, type PoolKernels, poolBytes } from 'ringway/memory';
import { expect } from 'vitest';
import { LCORE_NANOSECONDS, LCORE_SECONDS } from '#build/lcore/layout.js';
import { allocateLcore } from '#build/lcore/lcore.js';
import {
  BURST_MAX,
  SEGMENTS_MAX,
  SLOT_FLAG_CHAINED,
  SLOT_FLAG_SHARED,
  SLOT_FLAGS,
  SLOT_LENGTH,
  SLOT_OFFSET,
  SLOT_PORT,
} from '#build/memory/layout.js';
import { OUTPUT_BYTES, OUTPUT_COUNT, OUTPUT_SLOTS, PATH_OUTPUTS } from '#build/switch/layout.js';
import { Steering } from '#build/switch/steering.js';
import { Switch, type SwitchPort, switchBytes } from '#build/switch/switch.js';
import { LCORE_COUNTERS_BYTES, readPortCounters } from '#build/telemetry/counters.js';
import { testArena } from './arena.ts';

interface SwitchKernels extends PoolKernels {
  switchForward(path: number, slots: number, count: number, fresh: number): void;
}

/** A frame for the switch. */
export interface Input {
  /** The port that it comes from. */
  readonly port: number;
  readonly bytes: Uint8Array;
  /** Where it starts in its buffer, for frames that fit one. */
  readonly offset?: number;
  /** What lies behind it in its buffer: a kernel that reads too far finds this. */
  readonly behind?: Uint8Array;
}

/** A frame that the switch put into an output. */
export interface Delivery {
  /** Number of the port, or of the lcore. */
  readonly to: number;
  readonly lcore: boolean;
  /** The port that its slot names. */
  readonly from: number;
  readonly flags: number;
  readonly bytes: Uint8Array;
}

export interface RigOptions {
  /** Settings of the ports from 0 on. */
  readonly ports: readonly SwitchPort[];
  readonly lcores?: number;
  readonly buffers?: number;
  readonly macs?: number;
  readonly ageing?: number;
  readonly forwardReserved?: boolean;
  readonly base?: number;
}

/** A port that is in every VLAN, untagged frames included. */
export const EVERYTHING: SwitchPort = { learn: true, vlan: { trunk: 'all' } };

/** The virtual time at which a rig starts, in seconds. */
export const START = 1_700_000_000;

const LONGEST = (SEGMENTS_MAX + 1) * 2048;

/** A switch in an arena of its own, over the test build of the kernels, with paths that are called by hand. */
export class SwitchRig {
  readonly arena: Arena;
  readonly pool: Pool;
  readonly switch: Switch;
  readonly steering: Steering;
  readonly kernels: SwitchKernels;
  /** Address of each lcore's words. */
  readonly lcores: readonly number[];
  /** Address of a burst of slots, for frames on their way in. */
  readonly burst: number;
  readonly ports: number;
  readonly #counters: readonly number[];
  readonly #scratch: number;
  readonly #held: number;
  /** Packets that `share` holds. */
  #holding = 0;

  constructor(options: RigOptions) {
    const { ports, lcores = 1, buffers = 256, macs = 64, ageing = 300, forwardReserved = false, base } = options;
    const settings = { ports: ports.length, lcores, macs, ageing, forwardReserved };
    // As the dataplane sums it up: more would hide a switch that takes more than it says.
    const own = BURST_MAX * 32 + LONGEST + 1024 + lcores * (LCORE_COUNTERS_BYTES + 1024);
    const arena = testArena(poolBytes(buffers, lcores) + 4096 + switchBytes(settings) + own, base);
    this.arena = arena;
    this.ports = ports.length;
    this.kernels = arena.kernels<SwitchKernels>();
    this.pool = createPool(arena, { buffers, caches: lcores });
    this.#counters = this.pool.caches.map((_, index) => arena.allocate(`counters ${index}`, LCORE_COUNTERS_BYTES));
    this.lcores = this.pool.caches.map((cache, index) =>
      allocateLcore(arena, index, cache, this.#counters[index] ?? 0),
    );
    this.burst = arena.allocate('burst', BURST_MAX * 16);
    this.#held = arena.allocate('held', BURST_MAX * 16);
    this.#scratch = arena.allocate('scratch', LONGEST);
    this.switch = new Switch(arena, settings, this.lcores);
    this.steering = new Steering(arena, this.switch.address, this.switch.paths);
    ports.forEach((port, index) => void this.switch.addPort(index, port));
    this.setTime(START);
  }

  /** Sets the virtual time of one lcore, or of all. */
  setTime(seconds: number, nanoseconds = 0, lcore?: number): void {
    for (const [index, words] of this.lcores.entries()) {
      if (lcore !== undefined && lcore !== index) continue;
      this.arena.u32[(words + LCORE_SECONDS) >>> 2] = seconds;
      this.arena.u32[(words + LCORE_NANOSECONDS) >>> 2] = nanoseconds;
    }
  }

  cache(lcore = 0): number {
    return this.pool.caches[lcore] ?? 0;
  }

  /** Puts a frame into buffers of the pool, at place `index` of the burst. Returns its slot. */
  load({ port, bytes, offset, behind }: Input, index = 0, lcore = 0): number {
    const { arena, kernels } = this;
    const slot = this.burst + index * 16;
    expect(kernels.poolAlloc(this.cache(lcore), slot, 1)).toBe(1);
    const buffer = arena.u32[slot >>> 2] ?? 0;
    if (offset === undefined && behind === undefined) {
      arena.u8.set(bytes, this.#scratch);
      expect(kernels.memoryFill(this.cache(lcore), slot, this.#scratch, bytes.length)).toBe(1);
    } else {
      const at = offset ?? arena.u16[(slot + SLOT_OFFSET) >>> 1] ?? 0;
      arena.u8.set(bytes, buffer + at);
      arena.u8.set(behind ?? [], buffer + at + bytes.length);
      arena.u16[(slot + SLOT_OFFSET) >>> 1] = at;
      arena.u16[(slot + SLOT_LENGTH) >>> 1] = bytes.length;
    }
    arena.u8[slot + SLOT_PORT] = port;
    return slot;
  }

  /** Holds the packet at `slot` a second time. Returns the slot of this other owner. */
  share(slot: number): number {
    this.kernels.poolShare(slot, 1);
    const held = this.#held + this.#holding++ * 16;
    this.arena.u8.copyWithin(held, slot, slot + 16);
    return held;
  }

  /** Gives up what `share` holds. */
  release(lcore = 0): void {
    this.kernels.poolFree(this.cache(lcore), this.#held, this.#holding);
    this.#holding = 0;
  }

  /** All bytes of the packet at `slot`. */
  bytesOf(slot: number): Uint8Array {
    const { kernels, arena } = this;
    const length = kernels.memoryFrameLength(slot);
    expect(kernels.memoryGather(slot, this.#scratch, LONGEST)).toBe(length);
    return arena.u8.slice(this.#scratch, this.#scratch + length);
  }

  /** What waits in the outputs of an lcore; its buffers are given back. */
  take(lcore = 0): Delivery[] {
    const { arena, kernels, ports } = this;
    const first = arena.u32[((this.switch.paths[lcore] ?? 0) + PATH_OUTPUTS) >>> 2] ?? 0;
    const deliveries: Delivery[] = [];
    for (let output = 0; output < ports + this.lcores.length; output++) {
      const address = first + output * OUTPUT_BYTES;
      const count = arena.u32[(address + OUTPUT_COUNT) >>> 2] ?? 0;
      const slots = address + OUTPUT_SLOTS;
      for (let slot = slots; slot < slots + count * 16; slot += 16) {
        const flags = arena.u8[slot + SLOT_FLAGS] ?? 0;
        const from = arena.u8[slot + SLOT_PORT] ?? 0;
        const isPort = output < ports;
        const to = isPort ? output : output - ports;
        deliveries.push({ to, lcore: !isPort, from, flags, bytes: this.bytesOf(slot) });
      }
      kernels.poolFree(this.cache(lcore), slots, count);
      arena.u32[(address + OUTPUT_COUNT) >>> 2] = 0;
    }
    return deliveries;
  }

  /** Switches the first `count` packets of the burst, checks that none is lost, and takes what came out. */
  run(count: number, lcore = 0, fresh: 0 | 1 = 1): Delivery[] {
    const before = this.#accounted();
    this.kernels.switchForward(this.switch.paths[lcore] ?? 0, this.burst, count, fresh);
    const deliveries = this.take(lcore);
    const { copies, dropped } = this.#accounted();
    expect(count + copies - before.copies, 'received + copies = sent + dropped').toBe(
      deliveries.length + dropped - before.dropped,
    );
    return deliveries;
  }

  /** Switches frames in one burst, and checks that no packet and no buffer is lost. */
  forward(inputs: readonly Input[], lcore = 0, fresh: 0 | 1 = 1): Delivery[] {
    inputs.forEach((input, index) => void this.load(input, index, lcore));
    const deliveries = this.run(inputs.length, lcore, fresh);
    this.expectNothingHeld();
    return deliveries;
  }

  /** Checks that every buffer is back, and that nobody wrote outside of its region. */
  expectNothingHeld(): void {
    const { buffers } = this.pool;
    expect(this.pool.audit()).toEqual({ buffers, free: buffers, inFlight: 0 });
    expect(this.arena.damaged()).toEqual([]);
  }

  /** Counters of a port, over all lcores. */
  counters(port: number): ReturnType<typeof readPortCounters> {
    return readPortCounters(this.arena, this.#counters, port);
  }

  /** All drops so far, as `PORT REASON` and their number. */
  drops(): Record<string, number> {
    const found: Record<string, number> = {};
    for (let port = 0; port < this.ports; port++) {
      for (const [reason, count] of Object.entries(this.counters(port).drops)) found[`${port} ${reason}`] = count;
    }
    return found;
  }

  #accounted(): { copies: number; dropped: number } {
    let copies = 0;
    let dropped = 0;
    for (let port = 0; port < this.ports; port++) {
      const counters = this.counters(port);
      copies += counters.copies;
      for (const count of Object.values(counters.drops)) dropped += count;
    }
    return { copies, dropped };
  }
}

/** The ports that frames went to, in order. */
export function portsOf(deliveries: readonly Delivery[]): number[] {
  return deliveries.filter(({ lcore }) => !lcore).map(({ to }) => to);
}

/** True when others hold the first buffer of the packet too. */
export function isShared({ flags }: Delivery): boolean {
  return (flags & SLOT_FLAG_SHARED) !== 0;
}

/** True when the packet has more than one buffer. */
export function isChained({ flags }: Delivery): boolean {
  return (flags & SLOT_FLAG_CHAINED) !== 0;
}
