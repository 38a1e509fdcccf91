import type { Arena } from '../memory/arena.ts';
import { SLOT_SHIFT } from '../memory/layout.ts';
import { RingwayError } from '../util/errors.ts';
import { brokenRuleText } from './broken.ts';
import { createChainList } from './chain-list.ts';
import {
  NETQ_AREA_LINKS,
  NETQ_AREA_SHIFT,
  NETQ_AREAS,
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
  VQ_TABLE_ENTRIES,
} from './layout.ts';

/** A cache line. */
const AREA_ALIGN = 64;

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
  /**
   * Driver, when its device can write to what it shares: address of `netAreaBytes` bytes that the device reaches, as it
   * does the rings. Frames are copied there or from there, and nothing else of the arena need be shared.
   */
  readonly areas?: number;
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
   * Ends it. Driver: frees what the device, which is stopped, still has, and returns in how many chains that is: frames
   * that a device which sends has not sent. Device: gives back the chains that it holds, before the queue is stopped, and
   * returns 0.
   */
  detach(): number;
}

interface NetKernels {
  virtioNetBounceDetach(netq: number): number;
  virtioNetBounceReceive(netq: number, slots: number, max: number): number;
  virtioNetBounceSend(netq: number, slots: number, count: number): number;
  virtioNetDeviceFlush(netq: number): void;
  virtioNetDeviceReceive(netq: number, slots: number, max: number): number;
  virtioNetDeviceSend(netq: number, slots: number, count: number): number;
  virtioNetDriverReceive(netq: number, slots: number, max: number): number;
  virtioNetDriverSend(netq: number, slots: number, count: number): number;
  virtioNetDriverDetach(netq: number): number;
}

/** Bytes of the arena that a net queue over a virtqueue of `size` descriptors takes. */
export function netQueueBytes(size: number): number {
  // The queue's words, a chain (32 bytes) and a record for each of its chains, segments, a slot and a link for each id; guards.
  return NETQ_BYTES + NETQ_CHAINS * (32 + 8) + segmentsOf(size) * 8 + size * (16 + 4) + 2048;
}

/** Bytes of the areas of a queue of `size` descriptors: one for each. */
export function netAreaBytes(size: number): number {
  return size << NETQ_AREA_SHIFT;
}

/** A chain may have as many segments as the queue has descriptors; a burst of 32 may have two each. */
function segmentsOf(size: number): number {
  return Math.max(size, 2 * NETQ_CHAINS);
}

/**
 * Makes the words of one side of a virtio-net queue; `attachNetQueue` uses them, in any thread.
 * @returns their address.
 * @throws RingwayError `ARENA_FULL` when they do not fit, `BAD_ARGUMENT` when the areas lie outside of the arena, or are not
 *   for a driver.
 */
export function createNetQueue(arena: Arena, options: NetQueueOptions): number {
  const { name, queue, headerBytes, mergeable, offloads, areas } = options;
  const { u32 } = arena;
  const size = u32[(queue + VQ_SIZE) >>> 2] ?? 0;
  if (areas !== undefined) checkAreas(arena, name, queue, areas, netAreaBytes(size));
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
  if (areas !== undefined) {
    const links = arena.allocate(`${name} areas`, size * 4);
    for (let area = 0; area < size; area++) u32[(links >>> 2) + area] = area + 1;
    set(NETQ_AREAS, areas);
    set(NETQ_AREA_LINKS, links);
  }
  return address;
}

/** Descriptors and areas go together one by one, which a table of descriptors would break. */
function checkAreas(arena: Arena, name: string, queue: number, areas: number, bytes: number): void {
  if (((arena.u32[(queue + VQ_FEATURES) >>> 2] ?? 0) & VQ_F_DRIVER) === 0) {
    throw new RingwayError(
      'BAD_ARGUMENT',
      `${name}: areas are for a driver; a device copies out of what is shared anyway`,
    );
  }
  if ((arena.u32[(queue + VQ_TABLE_ENTRIES) >>> 2] ?? 0) !== 0) {
    throw new RingwayError(
      'BAD_ARGUMENT',
      `${name}: a queue with indirect tables has no areas; leave INDIRECT_DESC out`,
    );
  }
  if (areas % AREA_ALIGN !== 0 || !(areas >= arena.handle.base && areas + bytes <= arena.bytes)) {
    throw new RingwayError(
      'BAD_ARGUMENT',
      `${name}: areas=${areas} with ${bytes} bytes, must be a multiple of ${AREA_ALIGN} and lie in the arena's ${arena.bytes} bytes`,
    );
  }
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
  // Closures of their own for each kind, so that their calls stay monomorphic.
  if (get(NETQ_AREAS) !== 0) {
    return {
      address,
      receive: (slots, max) => k.virtioNetBounceReceive(address, slots, max),
      send: (slots, count) => k.virtioNetBounceSend(address, slots, count),
      drops,
      fault,
      detach: () => k.virtioNetBounceDetach(address),
    };
  }
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
    detach() {
      k.virtioNetDeviceFlush(address);
      return 0;
    },
  };
}
