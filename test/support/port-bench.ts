import { mkdtempSync, readdirSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createPool, type Pool } from 'ringway/memory';
import { LCORE_BYTES, LCORE_NANOSECONDS, LCORE_SECONDS } from '#build/lcore/layout.js';
import {
  BUFFER_NANOSECONDS,
  BUFFER_SECONDS,
  BUFFER_WIRE_LENGTH,
  SLOT_FLAG_SHARED,
  SLOT_FLAG_TIMED,
  SLOT_FLAGS,
  SLOT_FLOW,
} from '#build/memory/layout.js';
import type { PoolKernels } from '#build/memory/pool.js';
import { SEGMENT_BYTES } from '#build/packet/layout.js';
import type { Port, PortContext, PortSetup, PortShare, PortType } from '#build/ports/port.js';
import { LCORE_COUNTERS_BYTES, portCounters, readPortCounters } from '#build/telemetry/counters.js';
import { DROPS } from '#build/telemetry/drops.js';
import { testArena } from './arena.ts';

/** A packet out of the arena, in values. */
export interface Packet {
  readonly frame: Uint8Array;
  /** When the packet has a time of its own. */
  readonly time?: { readonly seconds: number; readonly nanoseconds: number; readonly wireLength: number };
  readonly flow: number;
}

/** What a test gives to `send`. */
export interface Sent {
  readonly frame: Uint8Array;
  readonly time?: Packet['time'];
}

const FRAME_MAX = 263_424;
/** Virtual time starts here, so that a difference of seconds shows when somebody takes the time of day. */
export const START_SECONDS = 1_700_000_000;

/** What a port needs around it, in one thread and in virtual time: an arena, a pool, the words of an lcore. */
export class PortBench {
  readonly arena = testArena(48 << 20);
  readonly pool: Pool;
  readonly context: PortContext;
  /** Packets that ports refused, and that they lost, by reason. */
  readonly refused: Record<string, number> = {};
  readonly lost: Record<string, number> = {};
  /** Address of the counters of the port. */
  readonly counters: number;
  /** Room for a burst, for middleware. */
  readonly scratch: number;
  /** Room for segments. */
  readonly work: number;
  readonly kernels: PoolKernels;
  readonly #block: number;
  readonly #slots: number;
  readonly #bytes: number;

  constructor(buffers = 4096) {
    this.pool = createPool(this.arena, { buffers, caches: 1 });
    const lcore = this.arena.allocate('lcore', LCORE_BYTES);
    this.#block = this.arena.allocate('counters', LCORE_COUNTERS_BYTES);
    this.counters = portCounters(this.#block, 0);
    this.#slots = this.arena.allocate('slots', 512);
    this.scratch = this.arena.allocate('scratch', 512);
    this.work = this.arena.allocate('work', SEGMENT_BYTES);
    this.#bytes = this.arena.allocate('bytes', FRAME_MAX);
    this.kernels = this.arena.kernels<PoolKernels>();
    const tally = (counts: Record<string, number>) => (reason: number, n: number) => {
      const name = DROPS.get(reason)?.name ?? String(reason);
      counts[name] = (counts[name] ?? 0) + n;
    };
    const cache = this.pool.caches[0] as number;
    const refuse = tally(this.refused);
    const lost = tally(this.lost);
    this.context = { arena: this.arena, index: 0, queue: 0, lcore, cache, refuse, lost };
    this.setTime(0);
  }

  setup(name = 'port in', seed = 1): PortSetup {
    const poller = (): never => {
      throw new Error('a port on the bench waits for no descriptors');
    };
    return { arena: this.arena, name, seed, tell: () => Promise.resolve(), poller, bell: poller };
  }

  create<C>(type: PortType<C>, config: C, seed = 1): PortShare {
    return type.create(this.setup(undefined, seed), config);
  }

  /** The port that `share` describes, attached at once: none of ours takes its time. */
  attach<C>(type: PortType<C>, share: PortShare, context: Partial<PortContext> = {}): Port {
    return type.attach({ ...this.context, ...context }, share.data) as Port;
  }

  /** Sets the lcore's clock to `ns` virtual nanoseconds after the start. */
  setTime(ns: number): void {
    const { u32 } = this.arena;
    u32[(this.context.lcore + LCORE_SECONDS) >>> 2] = START_SECONDS + Math.floor(ns / 1e9);
    u32[(this.context.lcore + LCORE_NANOSECONDS) >>> 2] = ns % 1e9;
  }

  /** The packet at the slot `at`; it stays where it is. */
  read(at: number): Packet {
    const { u8, u32 } = this.arena;
    const length = this.kernels.memoryGather(at, this.#bytes, FRAME_MAX);
    const frame = u8.slice(this.#bytes, this.#bytes + length);
    const flow = u32[(at + SLOT_FLOW) >>> 2] ?? 0;
    if (((u8[at + SLOT_FLAGS] ?? 0) & SLOT_FLAG_TIMED) === 0) return { frame, flow };
    const word = (offset: number): number => u32[((u32[at >>> 2] ?? 0) + offset) >>> 2] ?? 0;
    const [seconds, nanoseconds] = [word(BUFFER_SECONDS), word(BUFFER_NANOSECONDS)];
    return { frame, flow, time: { seconds, nanoseconds, wireLength: word(BUFFER_WIRE_LENGTH) } };
  }

  /** Receives a burst from `port` and frees it. */
  receive(port: Port, max = 32): Packet[] {
    const n = port.rxBurst(this.#slots, max);
    const packets = Array.from({ length: n }, (_, i) => this.read(this.#slots + i * 16));
    this.kernels.poolFree(this.context.cache, this.#slots, n);
    return packets;
  }

  /** Receives from `port` until `polls` polls in a row found nothing. */
  receiveAll(port: Port, polls = 3): Packet[] {
    const packets: Packet[] = [];
    for (let empty = 0; empty < polls; ) {
      const burst = this.receive(port);
      empty = burst.length === 0 ? empty + 1 : 0;
      packets.push(...burst);
    }
    return packets;
  }

  /** Makes packets at `slots`. */
  make(slots: number, packets: readonly Sent[]): void {
    const { u8, u32 } = this.arena;
    for (const [i, { frame, time }] of packets.entries()) {
      const at = slots + i * 16;
      if (this.kernels.poolAlloc(this.context.cache, at, 1) !== 1) throw new Error('the pool is empty');
      u8.set(frame, this.#bytes);
      if (this.kernels.memoryFill(this.context.cache, at, this.#bytes, frame.length) !== 1) throw new Error('no room');
      if (time === undefined) continue;
      u8[at + SLOT_FLAGS] = (u8[at + SLOT_FLAGS] ?? 0) | SLOT_FLAG_TIMED;
      u32.set([time.seconds, time.nanoseconds, time.wireLength], ((u32[at >>> 2] ?? 0) + BUFFER_SECONDS) >>> 2);
    }
  }

  /** Sends up to 32 packets through `port`; frees what it did not take. Returns how many it took. */
  send(port: Port, packets: readonly Sent[]): number {
    this.make(this.#slots, packets);
    const n = port.txBurst(this.#slots, packets.length);
    this.kernels.poolFree(this.context.cache, this.#slots + n * 16, packets.length - n);
    return n;
  }

  /** Sends one packet whose buffer somebody else holds too. Returns the bytes that the other one sees afterwards. */
  sendShared(port: Port, frame: Uint8Array): Uint8Array {
    this.make(this.#slots, [{ frame }]);
    this.kernels.poolShare(this.#slots, 1);
    if (((this.arena.u8[this.#slots + SLOT_FLAGS] ?? 0) & SLOT_FLAG_SHARED) === 0) throw new Error('not shared');
    this.arena.u8.copyWithin(this.scratch + 496, this.#slots, this.#slots + 16);
    port.txBurst(this.#slots, 1);
    const seen = this.read(this.scratch + 496).frame;
    this.kernels.poolFree(this.context.cache, this.scratch + 496, 1);
    return seen;
  }

  /** The port's counters. */
  count(): ReturnType<typeof readPortCounters> {
    return readPortCounters(this.arena, [this.#block], 0);
  }

  /** What is not as it should be when everything was given back; nothing when all is well. */
  leftovers(): unknown[] {
    const { buffers, free, inFlight } = this.pool.audit();
    return [...(free === buffers && inFlight === 0 ? [] : [{ free, inFlight }]), ...this.arena.damaged()];
  }
}

/** A folder for a test file's own files. Remove it with `rm`. */
export function testFolder(): { path: (name: string) => string; open: () => string[]; rm: () => void } {
  const folder = mkdtempSync(join(tmpdir(), 'ringway-test-'));
  return {
    path: (name) => join(folder, name),
    /** Files of the folder that this process has open. */
    open: () => openFiles().filter((path) => path.startsWith(folder)),
    rm: () => rmSync(folder, { recursive: true, force: true }),
  };
}

function openFiles(): string[] {
  return readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      return [readlinkSync(`/proc/self/fd/${fd}`)];
    } catch {
      // The descriptor that listed the folder is gone.
      return [];
    }
  });
}

/** A port that gives what is put into it, and keeps what it is sent, up to `room` packets a call. */
export class ScriptedPort implements Port {
  readonly #bench: PortBench;
  readonly incoming: Sent[] = [];
  readonly outgoing: Packet[] = [];
  room = 32;
  closed = 0;

  constructor(bench: PortBench) {
    this.#bench = bench;
  }

  rxBurst(slots: number, max: number): number {
    const packets = this.incoming.splice(0, max);
    this.#bench.make(slots, packets);
    return packets.length;
  }

  txBurst(slots: number, count: number): number {
    const n = Math.min(count, this.room);
    for (let i = 0; i < n; i++) this.outgoing.push(this.#bench.read(slots + i * 16));
    this.#bench.kernels.poolFree(this.#bench.context.cache, slots, n);
    return n;
  }

  info(): { done: boolean } {
    return { done: false };
  }

  close(): void {
    this.closed++;
  }
}
