import type { Arena } from 'ringway/memory';
import {
  type ChainList,
  createChainList,
  MockDevice,
  MockDriver,
  type RegionTable,
  type VirtqueueDevice,
  type VirtqueueDriver,
  type VirtqueueLayout,
  type VirtqueueRings,
} from 'ringway/virtio';
import { testArena } from '../../support/arena.ts';

export const SLOT_BYTES = 64;
export const SLOTS = 256;
export const BURST = 32;
/** Above 2^32, so that a guest address cut to 32 bits is found. */
export const GUEST_OFFSET = 0x12_3456_0000_0000n;
const CANARY_BYTES = 4096;
const CANARY = 0xc5;

export interface RigOptions {
  readonly layout: VirtqueueLayout;
  readonly size: number;
  readonly eventIdx?: boolean;
  readonly indirect?: number;
  readonly inOrder?: boolean;
  readonly base?: number;
  /** Names its regions: another for each rig of one arena. */
  readonly name?: string;
  /** Where it is made: an arena of its own by default. The kernels of the driver's side are this arena's. */
  readonly arena?: Arena;
  /** The same memory, with the kernels of the device's side. */
  readonly deviceArena?: Arena;
}

/** A queue with both sides in one arena, the driver's buffers, and canaries on both sides of what the device may reach. */
export interface Rig {
  readonly arena: Arena;
  readonly mockDriver: MockDriver;
  readonly mockDevice: MockDevice;
  readonly driver: VirtqueueDriver;
  readonly device: VirtqueueDevice;
  readonly rings: VirtqueueRings;
  readonly regions: RegionTable;
  readonly buffers: number;
  readonly adding: ChainList;
  readonly taken: ChainList;
  readonly records: number;
  /** Where the device finds `length` bytes at the driver's address `guest`; undefined when it may not reach them. */
  addressOf(guest: bigint, length: number): number | undefined;
  /** Names of regions that were written and should not have been. */
  damaged(): string[];
}

export const RIG_BYTES = 2 << 20;

export function makeRig(rigOptions: RigOptions): Rig {
  const { layout, size, eventIdx = false, indirect = 0, inOrder = false, base, name = 'q' } = rigOptions;
  const { arena = testArena(RIG_BYTES, base) } = rigOptions;
  const { deviceArena = arena } = rigOptions;
  const canaries: number[] = [];
  const canary = (): void => {
    const address = arena.allocate(`${name} canary ${canaries.length}`, CANARY_BYTES);
    arena.u8.fill(CANARY, address, address + CANARY_BYTES);
    canaries.push(address);
  };
  canary();
  const plain = { name, layout, size, eventIdx, inOrder };
  const options = indirect > 0 ? { ...plain, indirect } : plain;
  const mockDriver = new MockDriver(arena, {
    ...options,
    buffers: SLOTS,
    bufferBytes: SLOT_BYTES,
    guestOffset: GUEST_OFFSET,
  });
  canary();
  const { rings, queue: driver } = mockDriver;
  // The ring is not among what the device may reach by address: what lies there is no buffer.
  const inRing = Object.values(rings);
  const regions = mockDriver.regions.filter(({ address }) => !inRing.includes(address));
  const mockDevice = new MockDevice(deviceArena, { ...options, rings, regions });
  canary();
  return {
    arena,
    mockDriver,
    mockDevice,
    driver,
    device: mockDevice.queue,
    rings,
    regions: mockDevice.regions,
    buffers: mockDriver.buffers.address,
    adding: createChainList(arena, { name: `${name} adding`, chains: BURST, segments: BURST * 4 }),
    // So little room that some chains have to wait.
    taken: createChainList(arena, { name: `${name} taking`, chains: BURST, segments: mockDevice.queue.chainMax + 3 }),
    records: arena.allocate(`${name} records`, BURST * 8),
    addressOf(guest, length) {
      const at = guest - GUEST_OFFSET;
      const region = regions.find(
        ({ address, bytes: all }) => at >= BigInt(address) && at + BigInt(length) <= BigInt(address + all),
      );
      return region === undefined ? undefined : Number(at);
    },
    damaged: () => [
      ...arena.damaged(),
      ...canaries
        .filter((address) => arena.u8.subarray(address, address + CANARY_BYTES).some((byte) => byte !== CANARY))
        .map((address) => `canary at ${address}`),
    ],
  };
}
