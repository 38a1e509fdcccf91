import type { Arena } from '../memory/arena.ts';
import { RingwayError } from '../util/errors.ts';
import { type Chain, type ChainList, createChainList, type Segment } from './chain-list.ts';
import { USED_SHIFT } from './layout.ts';
import { createVirtqueueDevice, type VirtqueueDevice, type VirtqueueOptions } from './queue.ts';
import { createRegionTable, type GuestRegion, type RegionTable } from './regions.ts';
import type { VirtqueueRings } from './rings.ts';

const BURST = 32;

/** A device's queue, in a ring that a driver made. */
export interface MockDeviceOptions extends VirtqueueOptions {
  readonly rings: VirtqueueRings;
  /** The driver's memory, as far as the device may reach it. */
  readonly regions: readonly GuestRegion[];
}

/** A chain that the device holds. */
export interface MockChain extends Chain {
  /** What the driver gave to read, all buffers of it. */
  readonly bytes: Uint8Array;
  /** Bytes that the device may write. */
  readonly room: number;
}

/** What the device does with a chain. */
export interface MockAnswer {
  readonly chain: Chain;
  /** What it writes, from the first writable buffer on; nothing when not given. */
  readonly bytes?: Uint8Array;
}

const lengthOf = (segments: readonly Segment[]): number => segments.reduce((sum, { length }) => sum + length, 0);

/** A device that is moved by hand: it takes chains as bytes and returns them with bytes. The other side of `MockDriver`. */
export class MockDevice {
  readonly queue: VirtqueueDevice;
  /** What it may reach. */
  readonly regions: RegionTable;
  /** Where chains are taken to. */
  readonly taken: ChainList;
  readonly #arena: Arena;
  readonly #name: string;
  readonly #records: number;

  /** @throws RingwayError `BAD_ARGUMENT` for a queue or regions that cannot be, `ARENA_FULL` when they do not fit. */
  constructor(arena: Arena, options: MockDeviceOptions) {
    const { name, regions } = options;
    this.#arena = arena;
    this.#name = name;
    this.regions = createRegionTable(arena, `${name} regions`);
    this.regions.set(regions);
    this.queue = createVirtqueueDevice(arena, { ...options, regions: this.regions });
    const segments = this.queue.chainMax + 2 * BURST;
    this.taken = createChainList(arena, { name: `${name} taken`, chains: BURST, segments });
    this.#records = arena.allocate(`${name} returned`, BURST << USED_SHIFT);
  }

  /** Takes up to `max` (32 at most) available chains. The bytes are a copy: the driver may write to its own any time. */
  take(max = BURST): MockChain[] {
    const n = this.queue.take(this.taken, max);
    return Array.from({ length: n }, (_, i) => {
      const chain = this.taken.at(i);
      const bytes = new Uint8Array(lengthOf(chain.readable));
      let at = 0;
      for (const { address, length } of chain.readable) {
        bytes.set(this.#arena.u8.subarray(address, address + length), at);
        at += length;
      }
      return { ...chain, bytes, room: lengthOf(chain.writable) };
    });
  }

  /**
   * Returns up to 32 chains in one burst. Returns how many: none when the queue is broken.
   * @throws RingwayError `BAD_ARGUMENT` for more chains, or more bytes than a chain has room for.
   */
  return(...answers: readonly MockAnswer[]): number {
    if (answers.length > BURST) {
      throw new RingwayError('BAD_ARGUMENT', `${this.#name}: ${answers.length} chains, returns ${BURST} at once`);
    }
    for (const [i, { chain, bytes = new Uint8Array() }] of answers.entries()) {
      const room = lengthOf(chain.writable);
      if (bytes.length > room) {
        throw new RingwayError(
          'BAD_ARGUMENT',
          `${this.#name}: ${bytes.length} bytes for chain ${chain.id}, which has room for ${room}`,
        );
      }
      let at = 0;
      for (const { address, length } of chain.writable) {
        const part = bytes.subarray(at, at + length);
        this.#arena.u8.set(part, address);
        at += part.length;
      }
      this.#arena.u32.set([chain.id, bytes.length], (this.#records + (i << USED_SHIFT)) >>> 2);
    }
    return this.queue.return(this.#records, answers.length);
  }
}
