import type { Arena } from '../memory/arena.ts';
import { RingwayError } from '../util/errors.ts';
import {
  VIRTIO_REGION_ADDRESS,
  VIRTIO_REGION_BYTES,
  VIRTIO_REGION_GUEST,
  VIRTIO_REGION_SIZE,
  VIRTIO_REGIONS_BYTES,
  VIRTIO_REGIONS_COUNT,
  VIRTIO_REGIONS_FIRST,
  VIRTIO_REGIONS_MAX,
} from './layout.ts';

/** A stretch of a driver's memory, and where it lies in the arena. */
export interface GuestRegion {
  /** The driver's address of its first byte: 0 to 2^64 - 1. */
  readonly guest: bigint;
  readonly bytes: number;
  /** Its address in the arena. */
  readonly address: number;
}

/** The stretches of one driver's memory that a device may reach. All else is out of bounds to it. */
export interface RegionTable {
  /** Address of the table in the arena. */
  readonly address: number;
  /**
   * Replaces the table, while no queue that uses it runs.
   * @throws RingwayError `BAD_ARGUMENT` for over 32 regions, or one that is empty, passes 2^64 or leaves the arena.
   */
  set(regions: readonly GuestRegion[]): void;
  /** Arena address of `bytes` bytes at the driver's address `guest`; 0 when they do not lie in one region. */
  translate(guest: bigint, bytes: number): number;
}

const low = (value: bigint): number => Number(value & 0xffff_ffffn);
const high = (value: bigint): number => Number(value >> 32n);

function checkRegion(arena: Arena, name: string, { guest, bytes, address }: GuestRegion): void {
  const first = arena.handle.base;
  const place = `${name}: region guest=${guest} bytes=${bytes} address=${address}`;
  if (!Number.isSafeInteger(bytes) || bytes < 1 || guest < 0n || guest + BigInt(bytes) > 1n << 64n) {
    throw new RingwayError('BAD_ARGUMENT', `${place}: needs 1 byte or more that end at 2^64 or before`);
  }
  if (!Number.isSafeInteger(address) || address < first || address + bytes > arena.bytes) {
    throw new RingwayError('BAD_ARGUMENT', `${place}: must lie in the arena, from ${first} to ${arena.bytes}`);
  }
}

/**
 * Makes an empty table under `name`.
 * @throws RingwayError `ARENA_FULL` when it does not fit.
 */
export function createRegionTable(arena: Arena, name: string): RegionTable {
  const address = arena.allocate(name, VIRTIO_REGIONS_BYTES);
  const { u32 } = arena;
  const { virtioTranslate } = arena.kernels<{
    virtioTranslate(regions: number, low: number, high: number, length: number): number;
  }>();
  return {
    address,
    set(regions) {
      if (regions.length > VIRTIO_REGIONS_MAX) {
        throw new RingwayError('BAD_ARGUMENT', `${name}: ${regions.length} regions, at most ${VIRTIO_REGIONS_MAX}`);
      }
      for (const region of regions) checkRegion(arena, name, region);
      for (const [index, { guest, bytes, address: at }] of regions.entries()) {
        const entry = address + VIRTIO_REGIONS_FIRST + index * VIRTIO_REGION_BYTES;
        u32.set([low(guest), high(guest)], (entry + VIRTIO_REGION_GUEST) >>> 2);
        u32.set([bytes, bytes / 2 ** 32], (entry + VIRTIO_REGION_SIZE) >>> 2);
        u32[(entry + VIRTIO_REGION_ADDRESS) >>> 2] = at;
      }
      u32[(address + VIRTIO_REGIONS_COUNT) >>> 2] = regions.length;
    },
    translate: (guest, bytes) => virtioTranslate(address, low(guest), high(guest), bytes) >>> 0,
  };
}
