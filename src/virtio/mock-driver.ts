import type { Arena } from '../memory/arena.ts';
import { RingwayError } from '../util/errors.ts';
import { type ChainList, createChainList, type Segment } from './chain-list.ts';
import { USED_SHIFT } from './layout.ts';
import { createVirtqueueDriver, type VirtqueueDriver, type VirtqueueOptions } from './queue.ts';
import { type RawDescriptor, type RawRing, rawRing } from './raw.ts';
import type { GuestRegion } from './regions.ts';
import { type VirtqueueRings, virtqueueBytes } from './rings.ts';

const BURST = 32;

/** A driver's queue and memory. */
export interface MockDriverOptions extends VirtqueueOptions {
  /** Buffers of its memory: 1 to 65536, 256 by default. */
  readonly buffers?: number;
  /** Bytes of each: 2048 by default. */
  readonly bufferBytes?: number;
  /** What is added to an arena address to make the one that the device is told, modulo 2^64: 0 by default. */
  readonly guestOffset?: bigint;
}

/** A chain that came back. */
export interface MockUsed {
  readonly id: number;
  /** Bytes that the device says it wrote, from the first writable buffer on. */
  readonly bytes: Uint8Array;
}

/**
 * A driver that is moved by hand: it has memory of its own with a ring and buffers in it, sends bytes and gets bytes back.
 * For tests, benches and experiments with a device; `raw` and `poke` are for those that break the rules on purpose.
 */
export class MockDriver {
  readonly queue: VirtqueueDriver;
  readonly rings: VirtqueueRings;
  readonly raw: RawRing;
  /** Where the buffers lie in the arena, all behind each other. */
  readonly buffers: Segment;
  /** All memory that the device has to reach: buffers, ring and tables. */
  readonly regions: readonly GuestRegion[];
  readonly #arena: Arena;
  readonly #options: MockDriverOptions;
  readonly #list: ChainList;
  readonly #records: number;
  readonly #bufferBytes: number;
  readonly #free: number[];
  readonly #out = new Map<number, { readonly slots: readonly number[]; readonly writable: readonly Segment[] }>();

  /** @throws RingwayError `BAD_ARGUMENT` for a queue that cannot be, `ARENA_FULL` when it does not fit. */
  constructor(arena: Arena, options: MockDriverOptions) {
    const { name, layout, size, buffers = 256, bufferBytes = 2048 } = options;
    const bytes = virtqueueBytes(layout, size);
    this.#arena = arena;
    this.#options = options;
    this.#bufferBytes = bufferBytes;
    this.buffers = { address: arena.allocate(`${name} buffers`, buffers * bufferBytes), length: buffers * bufferBytes };
    this.rings = {
      descriptors: arena.allocate(`${name} descriptors`, bytes.descriptors),
      driverArea: arena.allocate(`${name} driver area`, bytes.driverArea),
      deviceArea: arena.allocate(`${name} device area`, bytes.deviceArea),
    };
    this.queue = createVirtqueueDriver(arena, { ...options, rings: this.rings });
    this.raw = rawRing(arena, layout);
    this.#list = createChainList(arena, { name: `${name} sending`, chains: 1, segments: size });
    this.#records = arena.allocate(`${name} received`, BURST << USED_SHIFT);
    this.#free = Array.from({ length: buffers }, (_, slot) => slot);
    const { tables } = this.queue;
    this.regions = [
      { address: this.buffers.address, bytes: this.buffers.length },
      ...(['descriptors', 'driverArea', 'deviceArea'] as const).map((part) => ({
        address: this.rings[part],
        bytes: bytes[part],
      })),
      ...(tables === undefined ? [] : [tables]),
    ].map((region) => ({ ...region, guest: this.guest(region.address) }));
  }

  /** Chains that the device has not returned. */
  get outstanding(): number {
    return this.#out.size;
  }

  /** What the device is told for an arena address. */
  guest(address: number): bigint {
    return BigInt.asUintN(64, BigInt(address) + (this.#options.guestOffset ?? 0n));
  }

  /**
   * Makes a chain available: buffers with these bytes to read, then empty ones of these lengths to write. Returns its id;
   * undefined when the queue or the memory has no room for it, or the queue is broken.
   * @throws RingwayError `BAD_ARGUMENT` for a chain without buffers or of more than `size`, or a buffer that is too long.
   */
  send(readable: readonly Uint8Array[], writable: readonly number[] = []): number | undefined {
    const { name, size } = this.#options;
    const lengths = [...readable.map(({ length }) => length), ...writable];
    const longest = Math.max(...lengths);
    if (lengths.length === 0 || lengths.length > size || longest > this.#bufferBytes) {
      throw new RingwayError(
        'BAD_ARGUMENT',
        `${name}: a chain of ${lengths.length} buffers of up to ${longest} bytes, may have 1 to ${size} of ${this.#bufferBytes}`,
      );
    }
    if (lengths.length > this.#free.length) return undefined;
    const slots = this.#free.splice(-lengths.length);
    const segments = slots.map((slot, i) => ({
      address: this.buffers.address + slot * this.#bufferBytes,
      length: lengths[i] as number,
    }));
    for (const [i, bytes] of readable.entries()) this.#arena.u8.set(bytes, segments[i]?.address);
    this.#list.clear();
    this.#list.push(segments.slice(0, readable.length), segments.slice(readable.length));
    if (this.queue.add(this.#list, 1) === 0) {
      this.#free.push(...slots);
      return undefined;
    }
    const id = this.#list.id(0);
    this.#out.set(id, { slots, writable: segments.slice(readable.length) });
    return id;
  }

  /** Takes back what the device returned, up to 32 chains. */
  receive(): MockUsed[] {
    return this.#collect(this.queue.poll(this.#records, BURST));
  }

  /** Takes back what a stopped device holds, up to 32 chains. */
  detach(): MockUsed[] {
    return this.#collect(this.queue.detach(this.#records, BURST));
  }

  /** Writes descriptors into the ring from `place` on, whatever is there. */
  poke(place: number, ...descriptors: readonly RawDescriptor[]): void {
    for (const [i, each] of descriptors.entries()) this.raw.writeDescriptor(this.rings.descriptors, place + i, each);
  }

  /** Split: makes heads available as they are, behind those that were before, and moves the index by `count`. */
  offer(heads: readonly number[], count = heads.length): void {
    const { driverArea } = this.rings;
    const index = this.raw.readIndex(driverArea);
    for (const [i, head] of heads.entries()) {
      this.raw.writeAvailable(driverArea, (index + i) % this.#options.size, head);
    }
    this.raw.writeIndex(driverArea, index + count);
  }

  #collect(n: number): MockUsed[] {
    const { u8, u32 } = this.#arena;
    return Array.from({ length: n }, (_, i) => {
      const record = (this.#records + (i << USED_SHIFT)) >>> 2;
      const id = u32[record] ?? 0;
      const written = u32[record + 1] ?? 0;
      const { slots = [], writable = [] } = this.#out.get(id) ?? {};
      this.#out.delete(id);
      this.#free.push(...slots);
      const bytes = new Uint8Array(written);
      let at = 0;
      for (const { address, length } of writable) {
        const part = u8.subarray(address, address + Math.min(length, written - at));
        bytes.set(part, at);
        at += part.length;
      }
      return { id, bytes };
    });
  }
}
