import type { Arena } from '../memory/arena.ts';
import { SLOT_SHIFT } from '../memory/layout.ts';
import { NETQ_CHAINS, NETQ_QUEUE, USED_SHIFT, VQ_SIZE } from '../virtio/layout.ts';
import { attachNetQueue, type NetQueue } from '../virtio/net-queue.ts';
import {
  ASYNC_BYTES,
  ASYNC_COPIED,
  ASYNC_ENTRIES,
  ASYNC_FLAGS,
  ASYNC_FULL,
  ASYNC_HEAD,
  ASYNC_MASK,
  ASYNC_NETQ,
  ASYNC_OFFLOADED,
  ASYNC_RECORDS,
  ASYNC_SLOTS,
  ASYNC_TAIL,
  ASYNC_THRESHOLD,
  ASYNC_TRACK,
  ENTRY_SHIFT,
} from './layout.ts';

/** What a queue whose copies a channel does is made of. */
export interface AsyncQueueOptions {
  /** Prefix of the names of its regions. */
  readonly name: string;
  /** Address of a device's net queue (`createNetQueue`). */
  readonly netq: number;
  /** Address of the track of the channel (`createTrack`); 0: the CPU copies, for a thread that has no channel. */
  readonly track: number;
  /** Copies of fewer bytes are left to the CPU: 0 to 65,535. */
  readonly threshold: number;
}

/** What became of a queue's packets. Numbers count up modulo 2^32. */
export interface AsyncCounters {
  /** Copies that the engine was given, and those that the CPU did. */
  readonly offloaded: number;
  readonly copied: number;
  /** Times that a packet had to wait, since the channel was full. */
  readonly full: number;
}

/** Copies that are under way at the end are waited for so long. */
const DETACH_MS = 1000;

/**
 * A net queue whose copies a channel does. `detach` waits for those that are under way, a second at most, and returns how many
 * packets still are: then the engine hangs, and is to be terminated before what it may write to is somebody else's. Frames that
 * were being received are dropped.
 */
export interface AsyncQueue extends NetQueue {
  /** Sending: uses the chains of packets that are copied, in order. Returns how many packets. */
  settle(): number;
  /** Receiving: `receive` without taking anything new, so that it ends. */
  deliver(slots: number, max: number): number;
  /** Packets whose copies are under way, or were not settled. */
  inFlight(): number;
  counters(): AsyncCounters;
}

interface AsyncKernels {
  asyncDeliver(queue: number, slots: number, max: number): number;
  asyncReceive(queue: number, slots: number, max: number): number;
  asyncSend(queue: number, slots: number, count: number): number;
  asyncSettle(queue: number): number;
}

/**
 * Makes what one direction of a network device keeps of copies under way; `attachAsyncQueue` uses it, in any thread.
 * @returns its address.
 * @throws RingwayError `ARENA_FULL` when it does not fit.
 */
export function createAsyncQueue(arena: Arena, options: AsyncQueueOptions): number {
  const { name, netq, track, threshold } = options;
  const { u32 } = arena;
  const size = u32[((u32[(netq + NETQ_QUEUE) >>> 2] ?? 0) + VQ_SIZE) >>> 2] ?? 0;
  const entries = 2 ** Math.ceil(Math.log2(Math.max(size, 2)));
  const address = arena.allocate(`${name} async`, ASYNC_BYTES);
  const set = (offset: number, value: number): void => {
    u32[(address + offset) >>> 2] = value;
  };
  set(ASYNC_NETQ, netq);
  set(ASYNC_TRACK, track);
  set(ASYNC_THRESHOLD, threshold);
  set(ASYNC_MASK, entries - 1);
  set(ASYNC_ENTRIES, arena.allocate(`${name} async entries`, entries << ENTRY_SHIFT));
  set(ASYNC_FLAGS, arena.allocate(`${name} async flags`, entries));
  set(ASYNC_RECORDS, arena.allocate(`${name} async used`, entries << USED_SHIFT));
  set(ASYNC_SLOTS, arena.allocate(`${name} async slots`, NETQ_CHAINS << SLOT_SHIFT));
  return address;
}

/**
 * Serves the queue at `address` from this thread, with buffers of `cache`.
 * @throws RingwayError `BAD_ARGUMENT` when its net queue is none.
 */
export function attachAsyncQueue(arena: Arena, address: number, cache: number): AsyncQueue {
  const { u32 } = arena;
  const kernels = arena.kernels<AsyncKernels>();
  const get = (offset: number): number => u32[(address + offset) >>> 2] ?? 0;
  const net = attachNetQueue(arena, get(ASYNC_NETQ), cache);
  const inFlight = (): number => (get(ASYNC_HEAD) - get(ASYNC_TAIL)) >>> 0;
  return {
    ...net,
    receive: (slots, max) => kernels.asyncReceive(address, slots, max),
    send: (slots, count) => kernels.asyncSend(address, slots, count),
    deliver: (slots, max) => kernels.asyncDeliver(address, slots, max),
    settle: () => kernels.asyncSettle(address),
    inFlight,
    detach() {
      const end = performance.now() + DETACH_MS;
      while (inFlight() > 0 && performance.now() < end) kernels.asyncSettle(address);
      return inFlight();
    },
    counters: () => ({ offloaded: get(ASYNC_OFFLOADED), copied: get(ASYNC_COPIED), full: get(ASYNC_FULL) }),
  };
}
