import type { Arena } from 'ringway/memory';
import { createMpscRing, createSpscRing, mpscRingBytes, spscRingBytes } from 'ringway/ring';
import { MPSC_CACHED_TAIL, MPSC_HEAD, MPSC_READABLE, MPSC_TAIL, SPSC_CACHED_HEAD } from '#build/ring/layout.js';
import { type Actor, IDLE, Simulation } from '#build/sim/index.js';
import type { Random } from '#build/util/random.js';
import { testArena } from './arena.ts';

/** Steps of a single-producer ring, as the test build of the kernels exports them. */
export interface SpscSteps {
  ringSpscPushClaim(ring: number, count: number): number;
  ringSpscPushWrite(ring: number, source: number, n: number): void;
  ringSpscPushPublish(ring: number, n: number): void;
  ringSpscPopClaim(ring: number, max: number): number;
  ringSpscPopRead(ring: number, target: number, n: number): void;
  ringSpscPopPublish(ring: number, n: number): void;
}

/** Steps of a multi-producer ring. `size` is its number of slots. */
export interface MpscSteps {
  ringMpscPushHead(ring: number): number;
  ringMpscPushRoom(ring: number, size: number, head: number, count: number): number;
  ringMpscPushTake(ring: number, head: number, n: number): number | boolean;
  ringMpscPushWrite(ring: number, size: number, index: number, source: number, n: number): void;
  ringMpscPushPublish(ring: number, size: number, index: number, n: number): void;
  ringMpscPopClaim(ring: number, size: number, max: number): number;
  ringMpscPopRead(ring: number, size: number, target: number, n: number): void;
  ringMpscPopPublish(ring: number, n: number): void;
}

/** A ring under test, for variants that reach into its words. */
export interface Bench {
  readonly arena: Arena;
  readonly ring: number;
  /** The word at `offset` bytes into the ring. */
  get(offset: number): number;
  set(offset: number, value: number): void;
}

/** Small, so that full, empty and wrapped are common. */
export const SIM_SLOTS = 4;
const BURST = 3;
/** Both layouts hold these words at the same places, so one reset serves both. */
const HEAD = MPSC_HEAD;
const TAIL = MPSC_TAIL;

interface Parts extends Bench {
  /** A burst's worth of slots for each actor. */
  readonly bursts: readonly number[];
  /** Back to an empty ring, whose indexes start somewhere: often just before they wrap. */
  reset(random: Random): void;
}

function makeParts(kind: 'spsc' | 'mpsc', actors: number): Parts {
  const arena = testArena(1 << 20);
  const create = kind === 'spsc' ? createSpscRing : createMpscRing;
  const bytes = (kind === 'spsc' ? spscRingBytes : mpscRingBytes)(SIM_SLOTS);
  const ring = create(arena, { slots: SIM_SLOTS, name: 'ring' }).address;
  const { u32 } = arena;
  const set = (offset: number, value: number): void => {
    u32[(ring + offset) >>> 2] = value;
  };
  const slots = (ring + bytes - SIM_SLOTS * 16) >>> 2;
  return {
    arena,
    ring,
    get: (offset) => u32[(ring + offset) >>> 2] ?? 0,
    set,
    bursts: Array.from({ length: actors }, (_, actor) => arena.allocate(`burst ${actor}`, BURST * 16)),
    reset(random) {
      const start = random.below(2) === 0 ? 0 : 2 ** 32 - 1 - random.below(12);
      for (const offset of [HEAD, TAIL, MPSC_CACHED_TAIL, MPSC_READABLE, SPSC_CACHED_HEAD]) set(offset, start);
      // Not zero, where the slots of the last schedule could pass for this one's.
      u32.fill(0xeeeeeeee, slots, slots + SIM_SLOTS * 4);
      if (kind === 'mpsc') u32.fill(0, slots - SIM_SLOTS, slots);
    },
  };
}

/** Fills the burst at `address` with `n` slots that carry `value`, `value` + 1 … in each of their words. */
function writeBurst(u32: Uint32Array, address: number, value: number, n: number): void {
  for (let i = 0; i < n; i++) u32.fill(value + i, (address >>> 2) + i * 4, (address >>> 2) + i * 4 + 4);
}

/** The value of slot `i` of the burst at `address`. */
function readSlot(u32: Uint32Array, address: number, i: number): number {
  const at = (address >>> 2) + i * 4;
  const value = u32[at] ?? 0;
  if (u32[at + 1] !== value || u32[at + 2] !== value || u32[at + 3] !== value) throw new Error(`slot ${i} is torn`);
  return value;
}

function checkFill({ get }: Bench): void {
  const fill = (get(HEAD) - get(TAIL)) >>> 0;
  if (fill > SIM_SLOTS) throw new Error(`fill ${fill} of ${SIM_SLOTS}: head ${get(HEAD)}, tail ${get(TAIL)}`);
}

/** One producer and one consumer move `total` slots. `fault` replaces steps by wrong ones. */
export function spscSimulation(
  fault: (bench: Bench, real: SpscSteps) => Partial<SpscSteps> = () => ({}),
  total = 12,
): Simulation {
  const parts = makeParts('spsc', 2);
  const { arena, ring } = parts;
  const real = arena.kernels<SpscSteps>();
  const k: SpscSteps = { ...real, ...fault(parts, real) };
  const [source, target] = parts.bursts as [number, number];
  let published = 0;
  let popped = 0;

  function* produce(random: Random): Actor {
    for (let next = 1; next <= total; ) {
      const want = Math.min(1 + random.below(BURST), total + 1 - next);
      const n = k.ringSpscPushClaim(ring, want);
      yield n === 0 ? IDLE : 'claim';
      if (n === 0) continue;
      writeBurst(arena.u32, source, next, n);
      k.ringSpscPushWrite(ring, source, n);
      yield 'write';
      k.ringSpscPushPublish(ring, n);
      published = next + n - 1;
      yield 'publish';
      next += n;
    }
  }

  function* consume(random: Random): Actor {
    while (popped < total) {
      const n = k.ringSpscPopClaim(ring, 1 + random.below(BURST));
      yield n === 0 ? IDLE : 'claim';
      if (n === 0) continue;
      k.ringSpscPopRead(ring, target, n);
      if (popped + n > published) throw new Error(`read ${n} after ${popped}, and ${published} are published`);
      yield 'read';
      k.ringSpscPopPublish(ring, n);
      for (let i = 0; i < n; i++) {
        const value = readSlot(arena.u32, target, i);
        if (value !== ++popped) throw new Error(`got ${value} instead of ${popped}`);
      }
      yield 'publish';
    }
  }

  return new Simulation({
    name: 'spsc ring',
    steps: total * 3,
    setup({ random }) {
      parts.reset(random);
      published = 0;
      popped = 0;
      return {
        actors: { producer: produce(random), consumer: consume(random) },
        invariant: () => checkFill(parts),
      };
    },
  });
}

/** `producers` producers push `total` slots each to one consumer. `fault` replaces steps by wrong ones. */
export function mpscSimulation(
  fault: (bench: Bench, real: MpscSteps) => Partial<MpscSteps> = () => ({}),
  producers = 3,
  total = 6,
): Simulation {
  const parts = makeParts('mpsc', producers + 1);
  const { arena, ring } = parts;
  const real = arena.kernels<MpscSteps>();
  const k: MpscSteps = { ...real, ...fault(parts, real) };
  const target = parts.bursts[producers] as number;
  // By producer: its last slot published, and the last that came out. A slot carries producer << 8 | serial.
  const published: number[] = [];
  const arrived: number[] = [];
  // Runs as they were pushed, by their first slot; and what is still to come of the run that is coming out.
  const runs = new Map<number, number>();
  let left = 0;
  let popped = 0;

  function* produce(id: number, random: Random): Actor {
    const source = parts.bursts[id] as number;
    for (let next = 1; next <= total; ) {
      const want = Math.min(1 + random.below(BURST), total + 1 - next);
      const head = k.ringMpscPushHead(ring) >>> 0;
      yield 'head';
      const room = k.ringMpscPushRoom(ring, SIM_SLOTS, head, want) >>> 0;
      yield room === 0 ? IDLE : 'room';
      if (room === 0 || room > SIM_SLOTS) continue;
      const n = Math.min(room, want);
      const taken = k.ringMpscPushTake(ring, head, n);
      yield taken ? 'take' : 'lose';
      if (!taken) continue;
      runs.set((id << 8) | next, n);
      writeBurst(arena.u32, source, (id << 8) | next, n);
      k.ringMpscPushWrite(ring, SIM_SLOTS, head, source, n);
      yield 'write';
      k.ringMpscPushPublish(ring, SIM_SLOTS, head, n);
      published[id] = next + n - 1;
      yield 'publish';
      next += n;
    }
  }

  function arrive(value: number): void {
    const id = value >>> 8;
    const serial = value & 255;
    if (id >= producers || serial > (published[id] ?? 0)) throw new Error(`got ${value.toString(16)}, not published`);
    const expected = (arrived[id] ?? 0) + 1;
    if (serial !== expected) throw new Error(`got ${serial} of producer ${id} instead of ${expected}`);
    arrived[id] = serial;
    const run = runs.get(value);
    if ((run !== undefined) !== (left === 0)) throw new Error(`slot ${value.toString(16)} splits a run`);
    left = (run ?? left) - 1;
    popped++;
  }

  function* consume(random: Random): Actor {
    while (popped < total * producers) {
      const n = k.ringMpscPopClaim(ring, SIM_SLOTS, 1 + random.below(BURST));
      yield n === 0 ? IDLE : 'claim';
      if (n === 0) continue;
      k.ringMpscPopRead(ring, SIM_SLOTS, target, n);
      yield 'read';
      k.ringMpscPopPublish(ring, n);
      for (let i = 0; i < n; i++) arrive(readSlot(arena.u32, target, i));
      yield 'publish';
    }
  }

  return new Simulation({
    name: 'mpsc ring',
    steps: total * producers * 5,
    setup({ random }) {
      parts.reset(random);
      published.fill(0);
      arrived.fill(0);
      for (let id = 0; id < producers; id++) published[id] = arrived[id] = 0;
      runs.clear();
      left = 0;
      popped = 0;
      const actors: Record<string, Actor> = { consumer: consume(random) };
      for (let id = 0; id < producers; id++) actors[`producer ${id}`] = produce(id, random);
      return { actors, invariant: () => checkFill(parts) };
    },
  });
}
