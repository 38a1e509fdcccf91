import { type Arena, createPool, type Pool, type PoolKernels } from 'ringway/memory';
import {
  createRegionTable,
  createVirtqueueDevice,
  createVirtqueueDriver,
  type GuestRegion,
  MockDevice,
  MockDriver,
  type VirtqueueDevice,
  type VirtqueueLayout,
  virtqueueBytes,
} from 'ringway/virtio';
import { expect } from 'vitest';
import { SLOT_FLAG_OFFLOAD, SLOT_FLAGS, SLOT_SHIFT } from '#build/memory/layout.js';
import {
  attachNetQueue,
  createNetQueue,
  type NetQueue,
  type NetQueueDrops,
  netAreaBytes,
} from '#build/virtio/net-queue.js';
import { testArena } from '../../support/arena.ts';
import { TracedArena } from '../../support/traced.ts';

/** A queue, and what our end of it has. */
export interface NetQueueRigOptions {
  readonly layout: VirtqueueLayout;
  readonly size?: number;
  readonly indirect?: number;
  readonly inOrder?: boolean;
  readonly headerBytes?: 10 | 12 | 20;
  readonly mergeable?: boolean;
  readonly offloads?: number;
  readonly eventIdx?: boolean;
  readonly guestOffset?: bigint;
  /** Regions that the driver's 64 buffers lie in, side by side: 1 (when not given), 2, 4 … 64. */
  readonly regions?: number;
  /** A driver that copies through areas: its device reaches them and the rings, and nothing else. */
  readonly bounce?: boolean;
  /** Buffers that our pool has left: 8 to 64. All 256 when not given. */
  readonly left?: number;
  /** Kernels in place of the test build; traced. */
  readonly module?: WebAssembly.Module | undefined;
}

const BURST = 32;
/** Buffers of the smallest pool. */
const POOL_LEAST = 64;
const FRAME_BYTES = 70_000;
export const NO_DROPS: NetQueueDrops = { bad: 0, long: 0, empty: 0 };

/** `length` bytes that are like no other frame's. */
export const frameOf = (length: number, seed = 0): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => ((seed * 977 + i) * 40_503) >>> 8);

export const join = (...parts: readonly Uint8Array[]): Uint8Array =>
  Uint8Array.from(parts.flatMap((part) => [...part]));

/** `bytes` in pieces of these lengths, and the rest. */
export function cut(bytes: Uint8Array, lengths: readonly number[]): readonly Uint8Array[] {
  let at = 0;
  const pieces = lengths.map((length) => {
    at += length;
    return bytes.subarray(at - length, at);
  });
  return at < bytes.length ? [...pieces, bytes.subarray(at)] : pieces;
}

/** Our end of a net queue, a pool, and a burst of slots. */
abstract class Side {
  abstract readonly net: NetQueue;
  readonly arena: Arena;
  readonly pool: Pool;
  readonly cache: number;
  readonly slots: number;
  readonly kernels: PoolKernels;
  readonly #scratch: number;
  readonly #kept: number;
  #keptCount = 0;

  constructor(options: NetQueueRigOptions) {
    const plain = testArena(6 << 20);
    this.arena = options.module === undefined ? plain : new TracedArena(plain, options.module);
    this.pool = createPool(this.arena, { buffers: options.left === undefined ? 256 : POOL_LEAST, caches: 1 });
    this.cache = this.pool.caches[0] as number;
    this.kernels = this.arena.kernels<PoolKernels>();
    this.slots = this.arena.allocate('slots', BURST << SLOT_SHIFT);
    this.#scratch = this.arena.allocate('scratch', FRAME_BYTES);
    this.#kept = this.arena.allocate('kept', POOL_LEAST << SLOT_SHIFT);
    if (options.left !== undefined) this.#keep(POOL_LEAST - options.left);
  }

  /** Takes buffers out of the pool until the end. */
  #keep(count: number): void {
    while (this.#keptCount < count) {
      const at = this.#kept + (this.#keptCount << SLOT_SHIFT);
      this.#keptCount += this.kernels.poolAlloc(this.cache, at, Math.min(BURST, count - this.#keptCount));
    }
  }

  protected attach(options: NetQueueRigOptions, queue: number, areas?: number): NetQueue {
    const { headerBytes = 12, mergeable = false, offloads = 0 } = options;
    const words = { name: 'net', queue, headerBytes, mergeable, offloads };
    const address = createNetQueue(this.arena, areas === undefined ? words : { ...words, areas });
    return attachNetQueue(this.arena, address, this.cache);
  }

  /** Makes packets of `frames` in the slots. Returns how many the pool had buffers for. */
  fill(...frames: readonly Uint8Array[]): number {
    for (const [i, frame] of frames.entries()) {
      const slot = this.slots + (i << SLOT_SHIFT);
      this.arena.u8.set(frame, this.#scratch);
      if (this.kernels.poolAlloc(this.cache, slot, 1) === 0) return i;
      // When the pool runs dry, what there was of the packet is freed.
      if (this.kernels.memoryFill(this.cache, slot, this.#scratch, frame.length) === 0) return i;
    }
    return frames.length;
  }

  /** Frees `n` packets from slot `from` on. */
  free(n: number, from = 0): void {
    this.kernels.poolFree(this.cache, this.slots + (from << SLOT_SHIFT), n);
  }

  /** The frames of `n` packets in the slots, which are freed. */
  frames(n: number): Uint8Array[] {
    const frames = Array.from({ length: n }, (_, i) => {
      const length = this.kernels.memoryGather(this.slots + (i << SLOT_SHIFT), this.#scratch, FRAME_BYTES);
      return this.arena.u8.slice(this.#scratch, this.#scratch + length);
    });
    this.free(n);
    return frames;
  }

  /** True when packet `i` has something left to do. */
  isOffload(i: number): boolean {
    return ((this.arena.u8[this.slots + (i << SLOT_SHIFT) + SLOT_FLAGS] as number) & SLOT_FLAG_OFFLOAD) !== 0;
  }

  /** Frames of one call. */
  receive(max = BURST): Uint8Array[] {
    return this.frames(this.net.receive(this.slots, max));
  }

  /** Sends frames; what is not taken is freed. Returns how many were taken. */
  send(...frames: readonly Uint8Array[]): number {
    const n = this.fill(...frames);
    const sent = this.net.send(this.slots, n);
    this.free(n - sent, sent);
    return sent;
  }

  /** Ends it. Fails when a buffer is missing, or something was written that should not have been. */
  finish(): void {
    this.net.detach();
    for (; this.#keptCount > 0; this.#keptCount--) {
      this.kernels.poolFree(this.cache, this.#kept + ((this.#keptCount - 1) << SLOT_SHIFT), 1);
    }
    expect(this.arena.damaged()).toEqual([]);
    const { buffers, free, inFlight } = this.pool.audit();
    expect({ free, inFlight }).toEqual({ free: buffers, inFlight: 0 });
  }
}

/** The device's side of a net queue, and a driver that is moved by hand. */
export class DeviceSide extends Side {
  readonly driver: MockDriver;
  readonly net: NetQueue;
  readonly queue: VirtqueueDevice;
  readonly broken: () => number;
  /** Where the device goes on (`VirtqueueSide.base`). */
  readonly base: () => number;
  readonly #options: NetQueueRigOptions;

  constructor(options: NetQueueRigOptions) {
    super(options);
    this.#options = options;
    const ring = this.#ring('ring');
    const { guestOffset = 0n, regions: parts = 1 } = options;
    this.driver = new MockDriver(this.arena, { ...ring, buffers: 64, bufferBytes: 4096, guestOffset });
    const regions = createRegionTable(this.arena, 'regions');
    const [buffers, ...others] = this.driver.regions as [GuestRegion, ...GuestRegion[]];
    const bytes = buffers.bytes / parts;
    const pieces = Array.from({ length: parts }, (_, i) => ({
      guest: buffers.guest + BigInt(i * bytes),
      address: buffers.address + i * bytes,
      bytes,
    }));
    regions.set([...pieces, ...others]);
    const queue = createVirtqueueDevice(this.arena, { ...ring, rings: this.driver.rings, regions });
    this.queue = queue;
    this.base = () => queue.base();
    this.broken = () => queue.broken();
    this.net = this.attach(options, queue.address);
  }

  #ring(name: string) {
    const { layout, size = 16, indirect, inOrder = false, eventIdx = false } = this.#options;
    return { name, layout, size, inOrder, eventIdx, ...(indirect === undefined ? {} : { indirect }) };
  }

  /** A device of another kind on the same ring, which goes on where this one would. */
  successor(): MockDevice {
    const { rings, regions } = this.driver;
    const next = new MockDevice(this.arena, { ...this.#ring('successor'), rings, regions });
    next.queue.start(this.base());
    return next;
  }
}

/** The driver's side of a net queue, and a device that is moved by hand. */
export class DriverSide extends Side {
  readonly device: MockDevice;
  readonly net: NetQueue;
  readonly broken: () => number;
  /** Of a driver with areas. */
  readonly areas: number | undefined;
  /** Descriptors that no packet is in. */
  readonly unused: () => number;

  constructor(options: NetQueueRigOptions) {
    super(options);
    const { layout, size = 16, indirect, inOrder = false, bounce = false } = options;
    const ring = { name: 'ring', layout, size, inOrder, ...(indirect === undefined ? {} : { indirect }) };
    const bytes = virtqueueBytes(layout, size);
    const rings = {
      descriptors: this.arena.allocate('descriptors', bytes.descriptors),
      driverArea: this.arena.allocate('driver area', bytes.driverArea),
      deviceArea: this.arena.allocate('device area', bytes.deviceArea),
    };
    const queue = createVirtqueueDriver(this.arena, { ...ring, rings });
    const { base } = this.arena.handle;
    const areas = bounce ? this.arena.allocate('areas', netAreaBytes(size)) : undefined;
    const [from, length] = areas === undefined ? [base, this.arena.bytes - base] : [areas, netAreaBytes(size)];
    const regions = [{ guest: BigInt(from), address: from, bytes: length }];
    this.device = new MockDevice(this.arena, { ...ring, name: 'device', rings, regions });
    this.broken = () => queue.broken();
    this.unused = () => queue.free();
    this.areas = areas;
    this.net = this.attach(options, queue.address, areas);
  }
}
