import type { Arena } from '../memory/arena.ts';
import { alignUp, nextPowerOfTwo } from '../util/bits.ts';
import { RingwayError } from '../util/errors.ts';
import {
  type FeatureNames,
  type FeatureRule,
  featureMask,
  featureNames,
  hasFeature,
  LEGACY_FEATURES,
  VIRTIO_F,
  withoutOrphans,
} from './features.ts';
import { LEGACY_QUEUE_ALIGN, legacyQueueLayout } from './legacy.ts';
import { createVirtqueueDriver, type VirtqueueDriver } from './queue.ts';
import { virtqueueBytes } from './rings.ts';
import { type ConfigTransport, type QueueTransport, VIRTIO_STATUS, type VirtioTransport } from './transport.ts';

/** What a driver knows of its device type. */
export interface NegotiateOptions {
  /** For messages: `input driver`. */
  readonly name: string;
  /** All that the driver can use. */
  readonly supported: bigint;
  /** What it cannot do without; none when not given. Without VERSION_1, it drives legacy devices too. */
  readonly required?: bigint;
  readonly featureNames?: FeatureNames;
  readonly rules?: readonly FeatureRule[];
}

/** Bits 0 to 23, and from 50 on, belong to the device type (virtio 1.2, 2.2). */
const TYPE_FEATURES = 0xff_ffffn | (((1n << 78n) - 1n) << 50n);
/** Two cache lines, as regions of the arena are aligned. */
const RING_ALIGN = 128;
/** Times that a driver looks again before it believes that a device does not answer. */
const RETRIES = 1000;

/** Sets FAILED (virtio 1.1, 2.1.1, 3.1.1) and says why. */
function giveUp(transport: VirtioTransport, name: string, why: string): never {
  transport.writeStatus(transport.readStatus() | VIRTIO_STATUS.FAILED);
  throw new RingwayError('UNSUPPORTED', `${name}: ${why}`);
}

/**
 * Agrees with a device on features: steps 1 to 6 of virtio 1.1, 3.1.1. Queues and `startDevice` come next.
 * @returns what is negotiated. Without VERSION_1, the device is a legacy one (2.2.3).
 * @throws RingwayError `UNSUPPORTED` when the device lacks what the driver requires, or does not accept what the driver
 *   can do; the device's status is FAILED then.
 */
export function negotiate(transport: VirtioTransport, options: NegotiateOptions): bigint {
  const { name, supported, required = 0n, featureNames: names, rules = [] } = options;
  const list = (mask: bigint): string => featureNames(mask, names).join(', ') || 'nothing';
  resetDevice(transport, name);
  transport.writeStatus(VIRTIO_STATUS.ACKNOWLEDGE);
  transport.writeStatus(VIRTIO_STATUS.ACKNOWLEDGE | VIRTIO_STATUS.DRIVER);
  const offered = transport.readFeatures();
  // 2.2.1: nothing that was not offered, nor what needs something that is not accepted.
  let accepted = withoutOrphans(offered & supported, rules);
  const modern = hasFeature(accepted, VIRTIO_F.VERSION_1);
  if (!modern) accepted &= LEGACY_FEATURES;
  const missing = required & ~accepted;
  if (missing !== 0n) {
    giveUp(transport, name, `needs ${list(missing)}, and the device offers only ${list(offered)}`);
  }
  transport.writeFeatures(accepted);
  // 3.1.2: a legacy device has no FEATURES_OK.
  if (!modern) return accepted;
  transport.writeStatus(transport.readStatus() | VIRTIO_STATUS.FEATURES_OK);
  if (!(transport.readStatus() & VIRTIO_STATUS.FEATURES_OK)) {
    // The device cannot say why. What it offers of its own type and did not get is the likeliest reason.
    const unknown = offered & ~accepted & TYPE_FEATURES;
    const without = unknown === 0n ? '' : ` without ${list(unknown)}, which it offers too`;
    giveUp(transport, name, `the device refuses ${list(accepted)}${without}`);
  }
  return accepted;
}

/**
 * Resets a device and waits until it is (virtio 1.1, 3.1.1).
 * @throws RingwayError `SYSTEM` when it does not come to rest.
 */
export function resetDevice(transport: VirtioTransport, name: string): void {
  transport.writeStatus(0);
  for (let i = 0; transport.readStatus() !== 0; i++) {
    if (i === RETRIES) throw new RingwayError('SYSTEM', `${name}: the device does not reset`);
  }
}

/**
 * Step 8 of virtio 1.1, 3.1.1: from here on the device may use what is in its queues.
 * @throws RingwayError `UNSUPPORTED` when the device does not start.
 */
export function startDevice(transport: VirtioTransport, name: string): void {
  transport.writeStatus(transport.readStatus() | VIRTIO_STATUS.DRIVER_OK);
  const status = transport.readStatus();
  if (!(status & VIRTIO_STATUS.DRIVER_OK) || status & VIRTIO_STATUS.NEEDS_RESET) {
    giveUp(transport, name, `the device does not start: status 0x${status.toString(16)}`);
  }
}

/**
 * Configuration fields of one generation (virtio 1.1, 2.4.1).
 * @throws RingwayError `UNSUPPORTED` when the space is too short, `SYSTEM` when it changes all the time.
 */
export function readConfig(transport: ConfigTransport, name: string, offset: number, length: number): DataView {
  for (let i = 0; i < RETRIES; i++) {
    const before = transport.configGeneration();
    const data = transport.readConfig(offset, length);
    if (data === undefined || data.length !== length) {
      throw new RingwayError('UNSUPPORTED', `${name}: the device has no configuration of ${offset + length} bytes`);
    }
    if (transport.configGeneration() === before) return new DataView(data.buffer, data.byteOffset, length);
  }
  throw new RingwayError('SYSTEM', `${name}: the device's configuration does not come to rest`);
}

/** A queue as a driver wants it. */
export interface DriverQueueOptions {
  /** Names the queue's regions in the arena. */
  readonly name: string;
  readonly index: number;
  /** What `negotiate` returned. */
  readonly features: bigint;
  /** Descriptors wanted; the device's largest when not given or when that is less. A legacy queue has the largest. */
  readonly size?: number;
  /** Segments of an indirect table, when INDIRECT_DESC is negotiated; no tables when not given. */
  readonly indirect?: number;
  /** What is added to an arena address to make the one that the device is told. */
  readonly guestOffset?: bigint;
  /**
   * Where the rings go, `sharedRingBytes` of them: in memory that the device can write, of which nobody allocates. A multiple
   * of 128. In a region of the arena when not given.
   */
  readonly ringsAt?: number;
}

/** Bytes that the rings of a queue of up to `size` descriptors take at `ringsAt`, in either layout. */
export function sharedRingBytes(size: number): number {
  const { descriptors, driverArea, deviceArea } = virtqueueBytes('split', nextPowerOfTwo(size));
  return [descriptors, driverArea, deviceArea].reduce((sum, bytes) => sum + alignUp(bytes, RING_ALIGN), 0);
}

/** The driver's side of a queue, and what it takes to give it up. */
export interface DriverQueue {
  readonly driver: VirtqueueDriver;
  readonly index: number;
  /** Releases the queue's regions of the arena, once the device is reset or the queue is. */
  release(): void;
}

/**
 * Makes a queue's rings in the arena and tells the device where they are: step 7 of virtio 1.1, 3.1.1.
 * @throws RingwayError `UNSUPPORTED` when the device has no such queue, `BAD_ARGUMENT` when it refuses the rings, which
 *   happens when its regions do not cover them, `ARENA_FULL`.
 */
export function setUpQueue(arena: Arena, transport: QueueTransport, options: DriverQueueOptions): DriverQueue {
  const { name, index, features, size: wanted, indirect, guestOffset = 0n, ringsAt } = options;
  const max = transport.queueMaxSize(index);
  if (max === 0) throw new RingwayError('UNSUPPORTED', `${name}: the device has no queue ${index}`);
  const modern = hasFeature(features, VIRTIO_F.VERSION_1);
  const size = modern ? Math.min(wanted ?? max, max) : max;
  const layout = modern && hasFeature(features, VIRTIO_F.RING_PACKED) ? 'packed' : 'split';
  const bytes = virtqueueBytes(layout, size);
  const owned: string[] = [];
  let shared = ringsAt;
  const place = (part: string, length: number, align?: number): number => {
    if (shared !== undefined) {
      const address = shared;
      shared += alignUp(length, RING_ALIGN);
      arena.u8.fill(0, address, address + length);
      return address;
    }
    const address = arena.allocate(`${name} ${part}`, length, align);
    owned.push(`${name} ${part}`);
    return address;
  };
  const release = (): void => {
    for (const region of owned.splice(0)) arena.release(region);
  };
  const guest = (address: number): bigint => BigInt.asUintN(64, BigInt(address) + guestOffset);
  const tables = indirect !== undefined && hasFeature(features, VIRTIO_F.RING_INDIRECT_DESC) ? { indirect } : {};
  const eventIdx = hasFeature(features, VIRTIO_F.RING_EVENT_IDX);
  const inOrder = hasFeature(features, VIRTIO_F.IN_ORDER);
  const make = (rings: { descriptors: number; driverArea: number; deviceArea: number }): VirtqueueDriver => {
    const driver = createVirtqueueDriver(arena, {
      name,
      layout,
      size,
      eventIdx,
      inOrder,
      ...tables,
      rings,
      guestOffset,
    });
    owned.push(`${name} driver`, ...(driver.tables === undefined ? [] : [`${name} tables`]));
    return driver;
  };
  try {
    if (!modern) {
      // Its one address is a page's number, and nobody shares memory with such a device.
      if (ringsAt !== undefined)
        throw new RingwayError('UNSUPPORTED', `${name}: a legacy device's rings lie in the arena`);
      const legacy = legacyQueueLayout(size);
      const descriptors = place('rings', legacy.bytes, LEGACY_QUEUE_ALIGN);
      const { driverArea, deviceArea } = legacy;
      const rings = { descriptors, driverArea: descriptors + driverArea, deviceArea: descriptors + deviceArea };
      transport.setLegacyQueue(index, guest(descriptors));
      return { driver: make(rings), index, release };
    }
    const rings = {
      descriptors: place('descriptors', bytes.descriptors),
      driverArea: place('driver area', bytes.driverArea),
      deviceArea: place('device area', bytes.deviceArea),
    };
    transport.setQueue(index, {
      size,
      descriptors: guest(rings.descriptors),
      driverArea: guest(rings.driverArea),
      deviceArea: guest(rings.deviceArea),
    });
    const driver = make(rings);
    transport.enableQueue(index);
    return { driver, index, release };
  } catch (error) {
    release();
    throw error;
  }
}

/** Feature bits that a driver of ours can use whatever its device: both layouts, tables, event indexes, order, queue resets. */
export const DRIVER_RING_FEATURES: bigint = featureMask(
  VIRTIO_F.RING_INDIRECT_DESC,
  VIRTIO_F.RING_EVENT_IDX,
  VIRTIO_F.VERSION_1,
  VIRTIO_F.RING_PACKED,
  VIRTIO_F.IN_ORDER,
  VIRTIO_F.RING_RESET,
);
