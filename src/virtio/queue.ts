import type { Arena } from '../memory/arena.ts';
import { RingwayError } from '../util/errors.ts';
import { notificationData, readBase, writeBase } from './base.ts';
import type { ChainList } from './chain-list.ts';
import { startInflight } from './inflight.ts';
import {
  VIRTQ_DESC_SHIFT,
  VQ_BROKEN,
  VQ_BROKEN_COUNT,
  VQ_CHAIN_MAX,
  VQ_DESCRIPTORS,
  VQ_F_DRIVER,
  VQ_F_EVENT_IDX,
  VQ_F_IN_ORDER,
  VQ_F_INDIRECT_DESC,
  VQ_F_PACKED,
  VQ_FEATURES,
  VQ_FREE,
  VQ_GUEST_OFFSET,
  VQ_ID_SHIFT,
  VQ_IDS,
  VQ_LOG,
  VQ_OWN_AREA,
  VQ_OWN_EVENT,
  VQ_PEER_AREA,
  VQ_PEER_EVENT,
  VQ_REGIONS,
  VQ_SIZE,
  VQ_TABLE_ENTRIES,
  VQ_TABLE_SEGMENTS,
  VQ_TABLES,
} from './layout.ts';
import type { RegionTable } from './regions.ts';
import { checkRings, eventWords, type VirtqueueLayout, type VirtqueueRings, virtqueueBytes } from './rings.ts';

interface SideKernels {
  needsNotify(queue: number): number;
  setNotify(queue: number, wanted: number): number;
}

/** What both sides of a queue agree on. */
export interface VirtqueueOptions {
  /** Names the queue's regions in the arena. */
  readonly name: string;
  readonly layout: VirtqueueLayout;
  /** Descriptors: 1 to 32,768; a power of two when split. */
  readonly size: number;
  /** VIRTIO_F_RING_EVENT_IDX was negotiated. */
  readonly eventIdx?: boolean;
  /** VIRTIO_F_RING_INDIRECT_DESC was negotiated: segments that a table of the driver holds, 2 to `size`. */
  readonly indirect?: number;
  /** VIRTIO_F_IN_ORDER was negotiated: a device returns chains in the order in which it took them. */
  readonly inOrder?: boolean;
}

/** What either side can do. */
export interface VirtqueueSide {
  /** Address of this side's state in the arena. */
  readonly address: number;
  readonly rings: VirtqueueRings;
  /** True when what was given since the last call calls for a notification of the peer. */
  needsNotify(): boolean;
  /** Asks the peer to notify, or not to. True when it is wanted and there is something to take already. */
  setNotify(wanted: boolean): boolean;
  /** 0, or the VQ_BROKEN_… code of the rule that the peer broke. Only `reset` ends that. */
  broken(): number;
  /** Times that the queue broke, since it was made. */
  brokenCount(): number;
  /** Descriptors that no chain uses (driver), or room for what was not taken yet (device). */
  free(): number;
  /**
   * As before the first buffer, for a reset of the device or of this queue alone (RING_RESET, virtio 1.2, 2.6.1). First the
   * device resets and touches the ring no more; then the driver, which has taken everything back with `detach`, resets and
   * zeroes the ring.
   */
  reset(): void;
  /**
   * Where this side goes on, as vhost-user's VRING_BASE has it. Split: the available index. Packed: bits 0-14 the next
   * available place, 15 its wrap counter, 16-30 the next used place, 31 its wrap counter.
   */
  base(): number;
  /**
   * Goes on from `base` in a ring that was used before, with nothing taken. When split, the used index is the ring's. When
   * packed, a device whose base has nothing out goes on from where the ring says, if the ring says it: a base from before a
   * device that died does. Upper half zero, as DPDK's virtio-user sends it, stands for the same place as the lower.
   * @param isTracked `startInflight` follows: what is in flight says where it goes on, and the ring is not asked.
   * @throws RingwayError `BAD_ARGUMENT` for a base that this queue cannot have, or, for a driver, with chains out.
   */
  start(base: number, isTracked?: boolean): void;
}

/** The driver's side: adds chains, polls used ones. */
export interface VirtqueueDriver extends VirtqueueSide {
  /** Where the indirect tables lie: the device must be able to reach them. None without `indirect`. */
  readonly tables: { readonly address: number; readonly bytes: number } | undefined;
  /** Makes up to `n` chains of the list available and sets their ids; returns how many found free descriptors. */
  add(list: ChainList, n: number): number;
  /** Writes up to `max` used chains to `target` as records of 8 bytes: id, bytes written. Returns how many. */
  poll(target: number, max: number): number;
  /** As `poll`, for chains that a stopped device will not return. */
  detach(target: number, max: number): number;
  /** What notifies the device of queue `index` (0 to 65535) when VIRTIO_F_NOTIFICATION_DATA was negotiated (2.7.23): a u32. */
  notificationData(index: number): number;
}

/** The device's side: takes available chains, returns used ones. */
export interface VirtqueueDevice extends VirtqueueSide {
  /** Segments of a chain at most: a list that takes has room for so many. */
  readonly chainMax: number;
  /** Takes up to `max` chains into the list; returns how many. */
  take(list: ChainList, max: number): number;
  /** Returns the chains of `n` records of 8 bytes at `used`: id, bytes written. Returns `n`, or 0 when broken. */
  return(used: number, n: number): number;
  /**
   * Tracks its chains in the region at arena address `region`, of `inflightBytes(layout, size)` bytes, after `start`: as
   * vhost-user's INFLIGHT_SHMFD has it. A region of zeroes is made one. One that a device before this one has used, however
   * that ended, says where this one goes on: `take` first gives the chains again that were not returned, unasked. Until
   * the next `start` or `reset`.
   * @throws RingwayError `BAD_ARGUMENT` for a region that this queue cannot have.
   */
  startInflight(region: number): void;
  /** Marks what it writes in the dirty log at `address` (`DirtyLog.address`) from now on; nothing when undefined. */
  setLog(address: number | undefined): void;
  /** Marks all that may have been written into the first `n` chains of the list: before they are returned. */
  logWritten(list: ChainList, n: number): void;
}

/** The kernels of `layout` under the names that a side calls them by. */
function kernelsOf(arena: Arena, layout: VirtqueueLayout) {
  type Kernel = (queue: number, address: number, n: number) => number;
  const k = arena.kernels<{
    virtioSplitDriverAdd: Kernel;
    virtioSplitDriverPoll: Kernel;
    virtioSplitDeviceTake: Kernel;
    virtioSplitDeviceReturn: Kernel;
    virtioSplitNeedsNotify: SideKernels['needsNotify'];
    virtioSplitSetNotify: SideKernels['setNotify'];
    virtioPackedDriverAdd: Kernel;
    virtioPackedDriverPoll: Kernel;
    virtioPackedDeviceTake: Kernel;
    virtioPackedDeviceReturn: Kernel;
    virtioPackedNeedsNotify: SideKernels['needsNotify'];
    virtioPackedSetNotify: SideKernels['setNotify'];
    virtioLogWritten: (queue: number, list: number, n: number) => void;
    virtioDriverDetach: Kernel;
    virtioReset(queue: number): void;
  }>();
  const both = { detach: k.virtioDriverDetach, reset: k.virtioReset, logWritten: k.virtioLogWritten };
  if (layout === 'split') {
    return {
      ...both,
      add: k.virtioSplitDriverAdd,
      poll: k.virtioSplitDriverPoll,
      take: k.virtioSplitDeviceTake,
      giveBack: k.virtioSplitDeviceReturn,
      needsNotify: k.virtioSplitNeedsNotify,
      setNotify: k.virtioSplitSetNotify,
    };
  }
  return {
    ...both,
    add: k.virtioPackedDriverAdd,
    poll: k.virtioPackedDriverPoll,
    take: k.virtioPackedDeviceTake,
    giveBack: k.virtioPackedDeviceReturn,
    needsNotify: k.virtioPackedNeedsNotify,
    setNotify: k.virtioPackedSetNotify,
  };
}

/** Makes the state of one side. Returns its address. */
function createState(arena: Arena, options: VirtqueueOptions, rings: VirtqueueRings, driver: boolean): number {
  const { name, layout, size, eventIdx = false, indirect = 0, inOrder = false } = options;
  checkRings(arena, name, layout, size, rings);
  if (indirect !== 0 && !(Number.isInteger(indirect) && indirect >= 2 && indirect <= size)) {
    throw new RingwayError('BAD_ARGUMENT', `${name}: indirect=${indirect}, must be a whole number from 2 to ${size}`);
  }
  const address = arena.allocate(`${name} ${driver ? 'driver' : 'device'}`, VQ_IDS + (size << VQ_ID_SHIFT));
  const set = (offset: number, value: number): void => {
    arena.u32[(address + offset) >>> 2] = value;
  };
  set(VQ_SIZE, size);
  set(VQ_CHAIN_MAX, indirect > 0 ? Math.max(size, VQ_TABLE_SEGMENTS) : size);
  set(VQ_DESCRIPTORS, rings.descriptors);
  set(VQ_OWN_AREA, driver ? rings.driverArea : rings.deviceArea);
  set(VQ_PEER_AREA, driver ? rings.deviceArea : rings.driverArea);
  if (layout === 'split') {
    const events = eventWords(rings, size);
    set(VQ_OWN_EVENT, driver ? events.driver : events.device);
    set(VQ_PEER_EVENT, driver ? events.device : events.driver);
  }
  set(
    VQ_FEATURES,
    (eventIdx ? VQ_F_EVENT_IDX : 0) |
      (indirect > 0 ? VQ_F_INDIRECT_DESC : 0) |
      (inOrder ? VQ_F_IN_ORDER : 0) |
      (layout === 'packed' ? VQ_F_PACKED : 0) |
      (driver ? VQ_F_DRIVER : 0),
  );
  kernelsOf(arena, layout).reset(address);
  return address;
}

/** What both sides can do, over the state at `address`. */
function attachSide(arena: Arena, address: number, driver: boolean) {
  const get = (offset: number): number => arena.u32[(address + offset) >>> 2] ?? 0;
  const region = arena.regions().find((each) => each.address === address);
  const features = get(VQ_FEATURES);
  const kind = driver ? 'driver' : 'device';
  if (!region?.name.endsWith(` ${kind}`) || ((features & VQ_F_DRIVER) !== 0) !== driver) {
    throw new RingwayError('BAD_ARGUMENT', `virtio: no ${kind}'s side of a virtqueue at ${address}`);
  }
  const layout: VirtqueueLayout = (features & VQ_F_PACKED) !== 0 ? 'packed' : 'split';
  const kernels = kernelsOf(arena, layout);
  const size = get(VQ_SIZE);
  const [own, peer] = [get(VQ_OWN_AREA), get(VQ_PEER_AREA)];
  const rings: VirtqueueRings = {
    descriptors: get(VQ_DESCRIPTORS),
    driverArea: driver ? own : peer,
    deviceArea: driver ? peer : own,
  };
  const side: VirtqueueSide = {
    address,
    rings,
    needsNotify: () => kernels.needsNotify(address) !== 0,
    setNotify: (wanted) => kernels.setNotify(address, wanted ? 1 : 0) !== 0,
    broken: () => get(VQ_BROKEN),
    brokenCount: () => get(VQ_BROKEN_COUNT),
    free: () => get(VQ_FREE),
    reset: () => kernels.reset(address),
    base: () => readBase(arena, address),
    start(base, isTracked = false) {
      kernels.reset(address);
      writeBase(arena, address, region.name, base, isTracked);
    },
  };
  return { side, name: region.name, layout, size, kernels, get };
}

/**
 * The driver's side whose state is at `address`, made in any thread: one thread at a time uses it.
 * @throws RingwayError `BAD_ARGUMENT` when there is none.
 */
export function attachVirtqueueDriver(arena: Arena, address: number): VirtqueueDriver {
  const { side, layout, size, kernels, get } = attachSide(arena, address, true);
  const { add, poll, detach, reset } = kernels;
  const bytes = virtqueueBytes(layout, size);
  const parts = Object.keys(bytes) as (keyof VirtqueueRings)[];
  const tables = { address: get(VQ_TABLES), bytes: (size * get(VQ_TABLE_ENTRIES)) << VIRTQ_DESC_SHIFT };
  return {
    ...side,
    tables: tables.address === 0 ? undefined : tables,
    add: (list, n) => add(address, list.address, Math.min(n, list.chains)),
    poll: (target, max) => poll(address, target, max),
    detach: (target, max) => detach(address, target, max),
    reset() {
      // A packed ring that still held used descriptors would look returned (2.7.1); a split one's indexes start at 0.
      for (const part of parts) arena.u8.fill(0, side.rings[part], side.rings[part] + bytes[part]);
      reset(address);
    },
    notificationData: (index) => notificationData(arena, address, index),
  };
}

/**
 * The device's side whose state is at `address`, made in any thread: one thread at a time uses it.
 * @throws RingwayError `BAD_ARGUMENT` when there is none.
 */
export function attachVirtqueueDevice(arena: Arena, address: number): VirtqueueDevice {
  const { side, name, kernels, get } = attachSide(arena, address, false);
  const { take, giveBack, logWritten } = kernels;
  const chainMax = get(VQ_CHAIN_MAX);
  return {
    ...side,
    chainMax,
    take(list, max) {
      if (list.segments < chainMax) {
        throw new RingwayError(
          'BAD_ARGUMENT',
          `${name}: a list of ${list.segments} segments, needs ${chainMax}: a chain may have so many`,
        );
      }
      return take(address, list.address, max);
    },
    return: (used, n) => giveBack(address, used, n),
    startInflight: (region) => startInflight(arena, address, name, region),
    setLog(log = 0) {
      arena.u32[(address + VQ_LOG) >>> 2] = log;
    },
    logWritten: (list, n) => logWritten(address, list.address, n),
  };
}

/**
 * Makes the driver's side of the queue in `rings`, which are zeroed.
 * @param guestOffset what is added to an arena address to make the address that the device is told, modulo 2^64.
 * @throws RingwayError `BAD_ARGUMENT` when the size or the place of the rings is not allowed, `ARENA_FULL`.
 */
export function createVirtqueueDriver(
  arena: Arena,
  options: VirtqueueOptions & { readonly rings: VirtqueueRings; readonly guestOffset?: bigint },
): VirtqueueDriver {
  const { name, size, rings, indirect = 0, guestOffset = 0n } = options;
  const address = createState(arena, options, rings, true);
  if (indirect > 0) {
    arena.u32[(address + VQ_TABLES) >>> 2] = arena.allocate(`${name} tables`, (size * indirect) << VIRTQ_DESC_SHIFT);
  }
  arena.u32[(address + VQ_TABLE_ENTRIES) >>> 2] = indirect;
  const words = [Number(guestOffset & 0xffff_ffffn), Number((guestOffset >> 32n) & 0xffff_ffffn)];
  arena.u32.set(words, (address + VQ_GUEST_OFFSET) >>> 2);
  return attachVirtqueueDriver(arena, address);
}

/**
 * Makes the device's side of the queue in `rings`. It reaches the memory of `regions` alone.
 * @throws RingwayError `BAD_ARGUMENT` when the size or the place of the rings is not allowed, `ARENA_FULL`.
 */
export function createVirtqueueDevice(
  arena: Arena,
  options: VirtqueueOptions & { readonly rings: VirtqueueRings; readonly regions: RegionTable },
): VirtqueueDevice {
  const address = createState(arena, options, options.rings, false);
  arena.u32[(address + VQ_REGIONS) >>> 2] = options.regions.address;
  return attachVirtqueueDevice(arena, address);
}

/**
 * Makes a ring in the arena and both its sides.
 * @throws RingwayError `BAD_ARGUMENT` when the layout does not allow the size, `ARENA_FULL` when it does not fit.
 */
export function createVirtqueue(
  arena: Arena,
  options: VirtqueueOptions & { readonly regions: RegionTable; readonly guestOffset?: bigint },
): { driver: VirtqueueDriver; device: VirtqueueDevice; rings: VirtqueueRings } {
  const { name, layout, size } = options;
  const bytes = virtqueueBytes(layout, size);
  const rings = {
    descriptors: arena.allocate(`${name} descriptors`, bytes.descriptors),
    driverArea: arena.allocate(`${name} driver area`, bytes.driverArea),
    deviceArea: arena.allocate(`${name} device area`, bytes.deviceArea),
  };
  return {
    rings,
    driver: createVirtqueueDriver(arena, { ...options, rings }),
    device: createVirtqueueDevice(arena, { ...options, rings }),
  };
}
