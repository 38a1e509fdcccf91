import type { Arena } from '../memory/arena.ts';
import { SLOT_SHIFT } from '../memory/layout.ts';
import { RingwayError } from '../util/errors.ts';
import { brokenRuleText } from './broken.ts';
import { createChainList } from './chain-list.ts';
import {
  NETQ_BAD,
  NETQ_BYTES,
  NETQ_CACHE,
  NETQ_CHAINS,
  NETQ_EMPTY,
  NETQ_F_MRG_RXBUF,
  NETQ_FEATURES,
  NETQ_HEADER_BYTES,
  NETQ_LIST,
  NETQ_LONG,
  NETQ_OFFLOADS,
  NETQ_QUEUE,
  NETQ_RECORDS,
  NETQ_SLOTS,
  USED_SHIFT,
  VQ_BROKEN,
  VQ_F_DRIVER,
  VQ_FEATURES,
  VQ_SIZE,
} from './layout.ts';

/** What a virtqueue of virtio-net carries before each frame, and what the receiver does for the sender. */
export interface NetQueueOptions {
  /** Names the queue's regions in the arena. */
  readonly name: string;
  /** Address of the state of the side of the virtqueue (`VirtqueueSide.address`). */
  readonly queue: number;
  /** Bytes of struct virtio_net_hdr: 10 (legacy without MRG_RXBUF), 12, or 20 (HASH_REPORT). */
  readonly headerBytes: 10 | 12 | 20;
  /** VIRTIO_NET_F_MRG_RXBUF was negotiated. */
  readonly mergeable: boolean;
  /** What the sender of this queue's frames may leave to do: OFFLOAD_… of `packet/layout.ts`. */
  readonly offloads: number;
}

/** What happened to frames that did not get through, since the queue was made. */
export interface NetQueueDrops {
  /** Refused: too short, too long, or with a header that is not allowed. */
  readonly bad: number;
  /** The peer's buffers, or a chain of ours, are too small for them. */
  readonly long: number;
  /** The buffer pool was exhausted. */
  readonly empty: number;
}

/** One side of a virtqueue of virtio-net, on the thread that serves it. A queue goes one way: it receives or it sends. */
export interface NetQueue {
  readonly address: number;
  /** Writes up to `max` (1 to 32) frames to the packet slots at `slots`; returns how many. */
  receive(slots: number, max: number): number;
  /** Takes the first of `count` (1 to 32) packets at `slots`; returns how many. The rest stay the caller's. */
  send(slots: number, count: number): number;
  drops(): NetQueueDrops;
  /** The rule that the peer broke, in words: the queue stands still until it is reset. Undefined while it behaves. */
  fault(): string | undefined;
  /**
   * Ends it. Driver: frees what the device, which is stopped, still has. Device: gives back the chains that it holds,
   * before the queue is stopped.
   */
  detach(): void;
}

interface NetKernels {
  virtioNetDeviceFlush(netq: number): void;
  virtioNetDeviceReceive(netq: number, slots: number, max: number): number;
  virtioNetDeviceSend(netq: number, slots: number, count: number): number;
  virtioNetDriverReceive(netq: number, slots: number, max: number): number;
  virtioNetDriverSend(netq: number, slots: number, count: number): number;
  virtioNetDriverDetach(netq: number): void;
}

/** Bytes of the arena that a net queue over a virtqueue of `size` descriptors takes. */
export function netQueueBytes(size: number): number {
  // The queue's words, a chain (32 bytes) and a record for each of its chains, segments, and a slot for each id; guards.
  return NETQ_BYTES + NETQ_CHAINS * (32 + 8) + segmentsOf(size) * 8 + size * 16 + 2048;
}

/** A chain may have as many segments as the queue has descriptors; a burst of 32 may have two each. */
function segmentsOf(size: number): number {
  return Math.max(size, 2 * NETQ_CHAINS);
}

/**
 * Makes the words of one side of a virtio-net queue; `attachNetQueue` uses them, in any thread.
 * @returns their address.
 * @throws RingwayError `ARENA_FULL` when they do not fit.
 */
export function createNetQueue(arena: Arena, options: NetQueueOptions): number {
  const { name, queue, headerBytes, mergeable, offloads } = options;
  const { u32 } = arena;
  const size = u32[(queue + VQ_SIZE) >>> 2] ?? 0;
  const address = arena.allocate(`${name} net`, NETQ_BYTES);
  const list = createChainList(arena, { name: `${name} chains`, chains: NETQ_CHAINS, segments: segmentsOf(size) });
  const set = (offset: number, value: number): void => {
    u32[(address + offset) >>> 2] = value;
  };
  set(NETQ_QUEUE, queue);
  set(NETQ_LIST, list.address);
  set(NETQ_RECORDS, arena.allocate(`${name} records`, NETQ_CHAINS << USED_SHIFT));
  set(NETQ_SLOTS, arena.allocate(`${name} slots`, size << SLOT_SHIFT));
  set(NETQ_HEADER_BYTES, headerBytes);
  set(NETQ_FEATURES, mergeable ? NETQ_F_MRG_RXBUF : 0);
  set(NETQ_OFFLOADS, offloads);
  return address;
}

/**
 * Serves the net queue at `address` from this thread, with buffers of `cache`.
 * @throws RingwayError `BAD_ARGUMENT` when there is none.
 */
export function attachNetQueue(arena: Arena, address: number, cache: number): NetQueue {
  const { u32 } = arena;
  const get = (offset: number): number => u32[(address + offset) >>> 2] ?? 0;
  const queue = get(NETQ_QUEUE);
  if (queue === 0) throw new RingwayError('BAD_ARGUMENT', `virtio: no net queue at ${address}`);
  u32[(address + NETQ_CACHE) >>> 2] = cache;
  const k = arena.kernels<NetKernels>();
  const drops = (): NetQueueDrops => ({ bad: get(NETQ_BAD), long: get(NETQ_LONG), empty: get(NETQ_EMPTY) });
  const fault = (): string | undefined => brokenRuleText(u32[(queue + VQ_BROKEN) >>> 2] ?? 0);
  // Closures of their own for each side, so that their calls stay monomorphic.
  if ((u32[(queue + VQ_FEATURES) >>> 2] ?? 0) & VQ_F_DRIVER) {
    return {
      address,
      receive: (slots, max) => k.virtioNetDriverReceive(address, slots, max),
      send: (slots, count) => k.virtioNetDriverSend(address, slots, count),
      drops,
      fault,
      detach: () => k.virtioNetDriverDetach(address),
    };
  }
  return {
    address,
    receive: (slots, max) => k.virtioNetDeviceReceive(address, slots, max),
    send: (slots, count) => k.virtioNetDeviceSend(address, slots, count),
    drops,
    fault,
    detach: () => k.virtioNetDeviceFlush(address),
  };
}
