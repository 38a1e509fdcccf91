import type { Arena } from '../memory/arena.ts';
import { SLOT_SHIFT } from '../memory/layout.ts';
import { isPowerOfTwo } from '../util/bits.ts';
import { RingwayError } from '../util/errors.ts';
import { MPSC_HEAD, MPSC_RUNS, MPSC_SIZE, MPSC_TAIL, SPSC_HEAD, SPSC_SIZE, SPSC_SLOTS, SPSC_TAIL } from './layout.ts';

interface RingKernels {
  ringSpscPush(ring: number, source: number, count: number): number;
  ringSpscPop(ring: number, target: number, max: number): number;
  ringMpscPush(ring: number, source: number, count: number): number;
  ringMpscPop(ring: number, target: number, max: number): number;
}

/** A ring of 16-byte slots in the arena. */
export interface Ring {
  /** Address of the ring; what another thread needs to attach to it. */
  readonly address: number;
  readonly slots: number;
  /** Copies `count` slots at address `source` into the ring; returns how many fitted (0 to `count`). */
  push(source: number, count: number): number;
  /** Copies at most `max` slots to address `target`; returns how many (0 to `max`). */
  pop(target: number, max: number): number;
  /** Slots pushed and not popped; a moment old when others run. */
  fill(): number;
}

/** What a ring is made of. */
export interface RingOptions {
  /** A power of two from 2 to 1,048,576. */
  readonly slots: number;
  /** Name of the ring's region in the arena. */
  readonly name: string;
}

const SLOTS_MAX = 1 << 20;

/** Bytes that a single-producer ring of `slots` slots takes. */
export function spscRingBytes(slots: number): number {
  return SPSC_SLOTS + (slots << SLOT_SHIFT);
}

/** Bytes that a multi-producer ring of `slots` slots takes: a run word of 4 bytes more for each slot. */
export function mpscRingBytes(slots: number): number {
  return MPSC_RUNS + slots * 4 + (slots << SLOT_SHIFT);
}

function allocateRing(arena: Arena, { slots, name }: RingOptions, bytesOf: (slots: number) => number): number {
  if (!isPowerOfTwo(slots) || slots < 2 || slots > SLOTS_MAX) {
    throw new RingwayError('BAD_ARGUMENT', `${name}: slots=${slots}, must be a power of two from 2 to ${SLOTS_MAX}`);
  }
  return arena.allocate(name, bytesOf(slots), 128);
}

/**
 * Makes an empty ring for one producer and one consumer.
 * @throws RingwayError `BAD_ARGUMENT` when `slots` is out of range, `ARENA_FULL` when it does not fit.
 */
export function createSpscRing(arena: Arena, options: RingOptions): Ring {
  const address = allocateRing(arena, options, spscRingBytes);
  arena.u32[(address + SPSC_SIZE) >>> 2] = options.slots;
  return attachSpscRing(arena, address);
}

/** The ring at `address`, made by `createSpscRing` in this or another thread. */
export function attachSpscRing(arena: Arena, address: number): Ring {
  const { ringSpscPush, ringSpscPop } = arena.kernels<RingKernels>();
  const { u32 } = arena;
  return {
    address,
    slots: u32[(address + SPSC_SIZE) >>> 2] ?? 0,
    push: (source, count) => ringSpscPush(address, source, count),
    pop: (target, max) => ringSpscPop(address, target, max),
    fill: () => (Atomics.load(u32, (address + SPSC_HEAD) >>> 2) - Atomics.load(u32, (address + SPSC_TAIL) >>> 2)) >>> 0,
  };
}

/**
 * Makes an empty ring for any number of producers and one consumer. Each push is one run: its slots stay together.
 * @throws RingwayError `BAD_ARGUMENT` when `slots` is out of range, `ARENA_FULL` when it does not fit.
 */
export function createMpscRing(arena: Arena, options: RingOptions): Ring {
  const address = allocateRing(arena, options, mpscRingBytes);
  arena.u32[(address + MPSC_SIZE) >>> 2] = options.slots;
  return attachMpscRing(arena, address);
}

/** The ring at `address`, made by `createMpscRing` in this or another thread. */
export function attachMpscRing(arena: Arena, address: number): Ring {
  const { ringMpscPush, ringMpscPop } = arena.kernels<RingKernels>();
  const { u32 } = arena;
  return {
    address,
    slots: u32[(address + MPSC_SIZE) >>> 2] ?? 0,
    push: (source, count) => ringMpscPush(address, source, count),
    pop: (target, max) => ringMpscPop(address, target, max),
    fill: () => (Atomics.load(u32, (address + MPSC_HEAD) >>> 2) - Atomics.load(u32, (address + MPSC_TAIL) >>> 2)) >>> 0,
  };
}
