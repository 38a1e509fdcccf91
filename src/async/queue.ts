import type { Arena } from '../memory/arena.ts';
import { BURST_MAX, SLOT_SHIFT } from '../memory/layout.ts';
import { createMpscRing, mpscRingBytes } from '../ring/ring.ts';
import { readCounter } from '../telemetry/counters.ts';
import { NETQ_ASYNC, NETQ_CHAINS, NETQ_PENDING, NETQ_QUEUE, USED_SHIFT, VQ_SIZE } from '../virtio/layout.ts';
import { attachNetQueue, type NetQueue } from '../virtio/net-queue.ts';
import {
  ASYNC_BYTES,
  ASYNC_COPIED,
  ASYNC_DROPPED,
  ASYNC_ENTRIES,
  ASYNC_FLAGS,
  ASYNC_FULL,
  ASYNC_HEAD,
  ASYNC_HELD,
  ASYNC_MASK,
  ASYNC_MOVED,
  ASYNC_NETQ,
  ASYNC_OFFLOADED,
  ASYNC_OLD_TRACK,
  ASYNC_RECORDS,
  ASYNC_RING,
  ASYNC_RING_FULL,
  ASYNC_SLOTS,
  ASYNC_TAIL,
  ASYNC_THRESHOLD,
  ASYNC_TRACK,
  ENTRY_SHIFT,
} from './layout.ts';

/** Packets that the ring of `v4` holds. */
export const RING_SLOTS = 128;

/** What a queue whose copies a channel does is made of. */
export interface AsyncQueueOptions {
  /** Prefix of the names of its regions. */
  readonly name: string;
  /** Address of a device's net queue (`createNetQueue`), which is to have its copies done by somebody else. */
  readonly netq: number;
  /** Copies of fewer bytes are left to the CPU: 0 to 65,535. */
  readonly threshold: number;
  /** Packets are sent to the driver, rather than received from it. */
  readonly sends: boolean;
}

/** What became of a queue's packets, since it was made. */
export interface AsyncCounters {
  /** Copies that the engine was given, and those that the CPU did. */
  readonly offloaded: number;
  readonly copied: number;
  /** Times that a packet had to wait, since the channel was full. */
  readonly full: number;
  /** Of the ring of `v4`: sends that found it full, and packets that were dropped for that. */
  readonly ringFull: number;
  readonly dropped: number;
}

/** Copies of a queue that a channel does. Until `use` gives it one, the CPU does them. */
export interface QueueCopies {
  /** Sending: gives the other side packets that are copied, in order. Receiving: drops those. Returns how many packets. */
  settle(): number;
  /** Packets whose copies are under way, or were not settled. */
  inFlight(): number;
  /**
   * Copies by the channel whose track is at `track` from now on; 0: by the CPU. False when copies are still under way in
   * the one before the last: try again later.
   */
  use(track: number): boolean;
  /** Gives back what it holds of the other side's: nothing is under way. */
  detach?(): number;
}

/** A queue into which a channel copies. */
export interface CopyQueue extends QueueCopies {
  /** Takes the first of `count` (1 to 32) packets at `slots`. Returns how many; the rest stay the caller's. */
  send(slots: number, count: number): number;
}

/** A net queue whose copies a channel does. */
export interface AsyncQueue extends NetQueue, CopyQueue {
  detach(): number;
  /** Receiving: `receive` without taking anything new, so that it ends. */
  deliver(slots: number, max: number): number;
}

interface AsyncKernels {
  asyncDeliver(queue: number, slots: number, max: number): number;
  asyncReceive(queue: number, slots: number, max: number): number;
  asyncSend(queue: number, slots: number, count: number): number;
  asyncSettle(queue: number): number;
}

/** Entries that a queue of `size` descriptors needs: a chain at least each. */
function entriesOf(size: number): number {
  return 2 ** Math.ceil(Math.log2(Math.max(size, 2)));
}

/** Packet buffers that such a queue may have at once, over a virtqueue of `size` descriptors. */
export function asyncQueueBuffers(size: number): number {
  return size + RING_SLOTS + BURST_MAX;
}

/** Where the parts of a queue's region lie, and how long it is. */
function placesOf(entries: number) {
  const slots = ASYNC_BYTES;
  const held = slots + (NETQ_CHAINS << SLOT_SHIFT);
  const list = held + (BURST_MAX << SLOT_SHIFT);
  const records = list + (entries << ENTRY_SHIFT);
  const flags = records + (entries << USED_SHIFT);
  return { slots, held, list, records, flags, bytes: flags + entries };
}

/** Bytes of the arena that such a queue takes beside its net queue, over a virtqueue of `size` descriptors. */
export function asyncQueueBytes(size: number): number {
  return placesOf(entriesOf(size)).bytes + mpscRingBytes(RING_SLOTS) + 512;
}

/**
 * Makes what one direction of a network device keeps of copies under way; `attachAsyncQueue` uses it, in any thread.
 * @returns its address.
 * @throws RingwayError `ARENA_FULL` when it does not fit.
 */
export function createAsyncQueue(arena: Arena, options: AsyncQueueOptions): number {
  const { u32 } = arena;
  const { netq } = options;
  const size = u32[((u32[(netq + NETQ_QUEUE) >>> 2] ?? 0) + VQ_SIZE) >>> 2] ?? 0;
  const address = createCopies(arena, options, size);
  u32[(netq + NETQ_ASYNC) >>> 2] = address;
  return address;
}

/** Makes what is kept of copies under way for a queue with `size` places. @throws RingwayError `ARENA_FULL` */
export function createCopies(arena: Arena, options: AsyncQueueOptions, size: number): number {
  const { name, netq, threshold, sends } = options;
  const { u32 } = arena;
  const entries = entriesOf(size);
  const { slots, held, list, records, flags, bytes } = placesOf(entries);
  const address = arena.allocate(`${name} async`, bytes);
  const set = (offset: number, value: number): void => {
    u32[(address + offset) >>> 2] = value;
  };
  set(ASYNC_NETQ, netq);
  set(ASYNC_THRESHOLD, threshold);
  set(ASYNC_MASK, entries - 1);
  set(ASYNC_ENTRIES, address + list);
  set(ASYNC_FLAGS, address + flags);
  set(ASYNC_RECORDS, address + records);
  set(ASYNC_SLOTS, address + slots);
  set(ASYNC_HELD, address + held);
  if (sends) set(ASYNC_RING, createMpscRing(arena, { name: `${name} async ring`, slots: RING_SLOTS }).address);
  return address;
}

/** What became of the packets of the queue at `address`. Any thread. */
export function readAsyncCounters(arena: Arena, address: number): AsyncCounters {
  const counter = (offset: number): number => readCounter(arena, address + offset);
  return {
    offloaded: counter(ASYNC_OFFLOADED),
    copied: counter(ASYNC_COPIED),
    full: counter(ASYNC_FULL),
    ringFull: counter(ASYNC_RING_FULL),
    dropped: counter(ASYNC_DROPPED),
  };
}

/** Packets of the queue at `address` whose copies are under way, or were not settled; a moment old. Any thread. */
export function readInFlight(arena: Arena, address: number): number {
  const { u32 } = arena;
  // This order: what was settled was entered before.
  const tail = Atomics.load(u32, (address + ASYNC_TAIL) >>> 2);
  return (Atomics.load(u32, (address + ASYNC_HEAD) >>> 2) - tail) >>> 0;
}

/** What all queues do with the copies that are kept at `address`, on the thread that serves the queue. */
export function attachCopies(arena: Arena, address: number): Pick<QueueCopies, 'inFlight' | 'use'> {
  const { u32 } = arena;
  const [headAt, tailAt] = [(address + ASYNC_HEAD) >>> 2, (address + ASYNC_TAIL) >>> 2];
  const get = (offset: number): number => u32[(address + offset) >>> 2] ?? 0;
  const set = (offset: number, value: number): void => {
    u32[(address + offset) >>> 2] = value;
  };
  const inFlight = (): number => ((u32[headAt] as number) - (u32[tailAt] as number)) >>> 0;
  return {
    inFlight,
    use(track) {
      const now = get(ASYNC_TRACK);
      if (now === track) return true;
      const isIdle = inFlight() === 0;
      if (get(ASYNC_OLD_TRACK) !== 0 && !isIdle) return false;
      set(ASYNC_OLD_TRACK, isIdle ? 0 : now);
      set(ASYNC_MOVED, get(ASYNC_HEAD));
      set(ASYNC_TRACK, track);
      return true;
    },
  };
}

/**
 * Serves the queue at `address` from this thread, with buffers of `cache`.
 * @param onUsed is called after chains were used: the driver may want to be notified.
 * @throws RingwayError `BAD_ARGUMENT` when its net queue is none.
 */
export function attachAsyncQueue(arena: Arena, address: number, cache: number, onUsed = (): void => {}): AsyncQueue {
  const { u32 } = arena;
  const kernels = arena.kernels<AsyncKernels>();
  const [headAt, tailAt] = [(address + ASYNC_HEAD) >>> 2, (address + ASYNC_TAIL) >>> 2];
  const netq = u32[(address + ASYNC_NETQ) >>> 2] ?? 0;
  const { drops, fault, detach } = attachNetQueue(arena, netq, cache);
  const { inFlight, use } = attachCopies(arena, address);
  const pendingAt = (netq + NETQ_PENDING) >>> 2;
  // Each by its name: what a spread makes has a form of its own each time, and calls of it are slow.
  return {
    address: netq,
    drops,
    fault,
    inFlight,
    use,
    receive(slots, max) {
      const [tail, pending] = [u32[tailAt], u32[pendingAt] as number];
      const n = kernels.asyncReceive(address, slots, max);
      // Or what was received without the channel was given back.
      if (u32[tailAt] !== tail || (u32[pendingAt] === 0 && n + pending > 0)) onUsed();
      return n;
    },
    send(slots, count) {
      const head = u32[headAt] as number;
      const n = kernels.asyncSend(address, slots, count);
      // What is not kept was sent without the channel.
      if (n !== ((u32[headAt] as number) - head) >>> 0) onUsed();
      return n;
    },
    deliver(slots, max) {
      const tail = u32[tailAt];
      const n = kernels.asyncDeliver(address, slots, max);
      if (u32[tailAt] !== tail) onUsed();
      return n;
    },
    settle() {
      const tail = u32[tailAt];
      const n = kernels.asyncSettle(address);
      if (u32[tailAt] !== tail) onUsed();
      return n;
    },
    detach() {
      const n = detach();
      onUsed();
      return n;
    },
  };
}
