import { type Arena, createPool, type Pool, type PoolKernels } from 'ringway/memory';
import {
  createRegionTable,
  createVirtqueueDevice,
  createVirtqueueDriver,
  type VirtqueueDevice,
  type VirtqueueDriver,
  type VirtqueueLayout,
  virtqueueBytes,
} from 'ringway/virtio';
import { expect } from 'vitest';
import { BUFFER_OFFLOAD_FLAGS, SLOT_FLAG_OFFLOAD, SLOT_FLAGS } from '#build/memory/layout.js';
import type { Random } from '#build/util/random.js';
import { attachNetQueue, createNetQueue, type NetQueue, netAreaBytes } from '#build/virtio/net-queue.js';
import { testArena } from '../../support/arena.ts';
import type { Window } from './watch.ts';

/** From the driver to the device, or the other way. */
export type Way = 'out' | 'in';

export interface BounceOptions {
  readonly layout: VirtqueueLayout;
  readonly way: Way;
  readonly size: number;
  readonly inOrder: boolean;
  readonly eventIdx: boolean;
  readonly mergeable: boolean;
  readonly headerBytes: number;
  readonly base: number;
}

/** A frame; one that is `offload` has its checksum left to do. */
export interface Frame {
  readonly bytes: Uint8Array;
  readonly offload: boolean;
}

/** Somewhere else than in the arena. */
const GUEST = 0x7f12_3456_7000_0000n;
const BUFFERS = 128;
const CSUM = 1;
/** flags, gso_type, hdr_len, gso_size, csum_start and csum_offset: NEEDS_CSUM at 34 and 16. */
const WORDS = [1, 0, 0, 0, 0, 0, 34, 0, 16, 0];

/** One end: a net queue, and buffers for it. */
interface End {
  readonly net: NetQueue;
  readonly pool: Pool;
  readonly cache: number;
}

/** A driver with areas and a device over one arena, whose device reaches the rings and the areas and nothing else. */
export class BouncePair {
  readonly arena: Arena;
  readonly window: Window;
  readonly areas: Window;
  /** Called with true before the driver's kernels run, and with false after that. */
  onDriver: (on: boolean) => void = () => {};
  readonly #options: BounceOptions;
  readonly #driver: VirtqueueDriver;
  readonly #device: VirtqueueDevice;
  readonly #near: End;
  readonly #far: End;
  readonly #kernels: PoolKernels;
  readonly #slots: number;
  readonly #scratch: number;

  /** @param arena over the same memory, whose kernels are the driver's: they may be traced. */
  constructor(options: BounceOptions, plain = testArena(4 << 20, options.base), arena = plain) {
    const { layout, size, inOrder, eventIdx } = options;
    this.arena = plain;
    this.#options = options;
    const bytes = virtqueueBytes(layout, size);
    const areas = netAreaBytes(size);
    const total = bytes.descriptors + bytes.driverArea + bytes.deviceArea + areas + 4 * 128;
    this.window = { address: arena.allocate('window', total, 4096), bytes: total };
    let at = this.window.address;
    const place = (length: number): number => {
      const address = at;
      at = Math.ceil((at + length) / 128) * 128;
      return address;
    };
    this.areas = { address: place(areas), bytes: areas };
    const rings = {
      descriptors: place(bytes.descriptors),
      driverArea: place(bytes.driverArea),
      deviceArea: place(bytes.deviceArea),
    };
    const regions = createRegionTable(arena, 'far regions');
    regions.set([{ guest: GUEST, address: this.window.address, bytes: total }]);
    const ring = { name: 'near', layout, size, inOrder, eventIdx, rings };
    const guestOffset = GUEST - BigInt(this.window.address);
    this.#driver = createVirtqueueDriver(arena, { ...ring, guestOffset });
    this.#device = createVirtqueueDevice(plain, { ...ring, name: 'far', regions });
    this.#near = this.#end(arena, 'near', this.#driver.address, this.areas.address);
    this.#far = this.#end(plain, 'far', this.#device.address);
    this.#kernels = plain.kernels<PoolKernels>();
    this.#slots = arena.allocate('near burst', 32 * 16);
    this.#scratch = arena.allocate('scratch', 70_000);
  }

  get driverQueue(): number {
    return this.#driver.address;
  }

  get deviceQueue(): number {
    return this.#device.address;
  }

  #end(arena: Arena, name: string, queue: number, areas?: number): End {
    const { headerBytes, mergeable } = this.#options;
    const pool = createPool(arena, { buffers: BUFFERS, caches: 1, name: `${name} pool` });
    const [cache = 0] = pool.caches;
    const words = { name, queue, headerBytes: headerBytes as 12, mergeable, offloads: CSUM };
    const address = createNetQueue(arena, areas === undefined ? words : { ...words, areas });
    return { net: attachNetQueue(arena, address, cache), pool, cache };
  }

  /** All that the driver's kernels may touch. */
  driverWindows(): Window[] {
    return this.arena.regions().filter(({ name }) => name.startsWith('near') || name === 'window');
  }

  /** A byte, or a word, somewhere in what is shared. */
  scribble(random: Random): void {
    const { address, bytes } = this.window;
    this.arena.u8[address + random.below(bytes)] = random.next();
    this.arena.u32[(address >>> 2) + random.below((bytes - this.areas.bytes) >>> 2) + (this.areas.bytes >>> 2)] =
      random.below(this.#options.size + 1);
  }

  #call(end: End, move: () => number): number {
    this.onDriver(end === this.#near);
    try {
      return move();
    } finally {
      this.onDriver(false);
    }
  }

  /** Sends a frame. Returns 0 when there is no room for it. */
  send({ bytes, offload }: Frame): number {
    const from = this.#options.way === 'out' ? this.#near : this.#far;
    const slot = this.#slots;
    this.arena.u8.set(bytes, this.#scratch);
    if (this.#kernels.poolAlloc(from.cache, slot, 1) === 0) return 0;
    if (this.#kernels.memoryFill(from.cache, slot, this.#scratch, bytes.length) === 0) return 0;
    if (offload) {
      this.arena.u8.set(WORDS, (this.arena.u32[slot >>> 2] as number) + BUFFER_OFFLOAD_FLAGS);
      this.arena.u8[slot + SLOT_FLAGS] = (this.arena.u8[slot + SLOT_FLAGS] as number) | SLOT_FLAG_OFFLOAD;
    }
    const sent = this.#call(from, () => from.net.send(slot, 1));
    if (sent === 0) this.#kernels.poolFree(from.cache, slot, 1);
    return sent;
  }

  /** A frame in a word that is short when it is wrong. */
  print({ bytes, offload }: Frame): string {
    let hash = 7;
    for (const byte of bytes) hash = (Math.imul(hash, 31) + byte) >>> 0;
    return `${bytes.length} bytes ${hash}${offload ? ' csum' : ''}`;
  }

  /** The frames of one call, printed. */
  receive(max: number): string[] {
    const to = this.#options.way === 'out' ? this.#far : this.#near;
    const n = this.#call(to, () => to.net.receive(this.#slots, max));
    const frames = Array.from({ length: n }, (_, i) => {
      const slot = this.#slots + i * 16;
      const length = this.#kernels.memoryGather(slot, this.#scratch, 70_000);
      const offload = ((this.arena.u8[slot + SLOT_FLAGS] as number) & SLOT_FLAG_OFFLOAD) !== 0;
      return this.print({ bytes: this.arena.u8.slice(this.#scratch, this.#scratch + length), offload });
    });
    this.#kernels.poolFree(to.cache, this.#slots, n);
    return frames;
  }

  isBroken(): boolean {
    return this.#driver.broken() !== 0 || this.#device.broken() !== 0;
  }

  /** Both sides as before the first frame. */
  restart(): void {
    this.#far.net.detach();
    this.#device.reset();
    this.#near.net.detach();
    this.#driver.reset();
  }

  /** Ends it. Fails when a buffer or a descriptor is missing, or something was written that should not have been. */
  finish(): void {
    this.restart();
    expect(this.arena.damaged()).toEqual([]);
    expect(this.#driver.free()).toBe(this.#options.size);
    for (const { pool } of [this.#near, this.#far]) {
      expect(pool.audit()).toEqual({ buffers: BUFFERS, free: BUFFERS, inFlight: 0 });
    }
  }
}
