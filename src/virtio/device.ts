import type { Arena } from '../memory/arena.ts';
import { RingwayError } from '../util/errors.ts';
import type { ConfigSpace } from './config-space.ts';
import {
  brokenRule,
  type FeatureNames,
  type FeatureRule,
  featureMask,
  featureName,
  featureNames,
  hasFeature,
  LEGACY_FEATURES,
  VIRTIO_F,
  withoutOrphans,
} from './features.ts';
import { LEGACY_QUEUE_ALIGN, legacyQueueLayout } from './legacy.ts';
import { createVirtqueueDevice, type VirtqueueDevice } from './queue.ts';
import type { RegionTable } from './regions.ts';
import { checkRings, type VirtqueueLayout, type VirtqueueRings, virtqueueBytes } from './rings.ts';
import { type QueueSetup, VIRTIO_STATUS, type VirtioTransport } from './transport.ts';

const { ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK, NEEDS_RESET, FAILED } = VIRTIO_STATUS;

/** How a device reaches its driver. */
export interface DeviceHost {
  /** Used buffer notification (virtio 1.1, 2.3): the driver has something to poll from queue `index`. */
  usedBuffers(index: number): void;
  /** Configuration change notification. */
  configChanged(): void;
}

/** What a running device type may do besides work on its queues. */
export interface DeviceSession {
  usedBuffers(index: number): void;
  /** Sets NEEDS_RESET and tells the driver (virtio 1.1, 2.1.2). `notify` is not called any more until the reset. */
  needsReset(reason: string): void;
}

/** A kind of device: what it offers, and what it does with queues. `VirtioDevice` does the rest. */
export interface DeviceType {
  /** For messages: `net`. */
  readonly name: string;
  /** Virtio 1.1, 5. */
  readonly id: number;
  /** The bits of its own that it offers; the bits of VIRTIO_F are the device's. */
  readonly features: bigint;
  readonly featureNames: FeatureNames;
  readonly rules: readonly FeatureRule[];
  readonly config: ConfigSpace;
  /** The most descriptors of each queue that there is with these features. */
  queues(features: bigint): readonly number[];
  /** Why the device cannot work with a set of features that breaks no rule; undefined when it can. */
  validate?(features: bigint): string | undefined;
  /** DRIVER_OK. `queues` has one that the driver set up in each place, or undefined. */
  start(features: bigint, queues: readonly (VirtqueueDevice | undefined)[], session: DeviceSession): void;
  /** The driver reset the device or gave it up: its queues are gone, and all that the driver had set is forgotten. */
  stop(): void;
  /** Queue `index` came back after a reset (virtio 1.2, 2.6.1.2). With `resetQueue`, makes the device offer RING_RESET. */
  enableQueue?(index: number, queue: VirtqueueDevice): void;
  resetQueue?(index: number): void;
  /** The driver says that queue `index` has buffers. True when the type stopped with some left: `notify` again. */
  notify?(index: number): boolean;
  /** The driver writes to the configuration, at a place inside it. False refuses that; so does not having this. */
  writeConfig?(offset: number, data: Uint8Array, features: bigint): boolean;
}

/** How a device is made of its type. */
export interface VirtioDeviceOptions {
  /** Names its regions in the arena. */
  readonly name: string;
  readonly type: DeviceType;
  /** The driver's memory. */
  readonly regions: RegionTable;
  readonly host: DeviceHost;
  /** Bits of VIRTIO_F that it offers; all that it can do when not given. VERSION_1 is always one. */
  readonly ringFeatures?: bigint;
  /** Take drivers that know virtio before 1.0 too (2.2.3): true when not given. */
  readonly transitional?: boolean;
}

interface QueueSetting {
  readonly layout: VirtqueueLayout;
  readonly size: number;
  readonly rings: VirtqueueRings;
}

interface QueueSlot {
  set: QueueSetting | undefined;
  queue: VirtqueueDevice | undefined;
}

const RING_FEATURES = featureMask(
  VIRTIO_F.RING_INDIRECT_DESC,
  VIRTIO_F.RING_EVENT_IDX,
  VIRTIO_F.RING_PACKED,
  VIRTIO_F.IN_ORDER,
);
const VERSION_1 = featureMask(VIRTIO_F.VERSION_1);
const hex = (address: bigint): string => `0x${address.toString(16)}`;

/**
 * The device's side of features, status, configuration and queues (virtio 1.1, 2 and 3.1), for any device type and any
 * transport. It is itself the transport of a driver in the same program.
 *
 *     reset ─▶ ACKNOWLEDGE, DRIVER ─▶ FEATURES_OK (checked; stays clear when refused) ─▶ queues ─▶ DRIVER_OK
 *     a driver that does not accept VERSION_1 has no FEATURES_OK, and may notify before DRIVER_OK (3.1.2)
 */
export class VirtioDevice implements VirtioTransport {
  readonly deviceId: number;
  readonly #arena: Arena;
  readonly #name: string;
  readonly #type: DeviceType;
  readonly #regions: RegionTable;
  readonly #host: DeviceHost;
  readonly #offered: bigint;
  readonly #transitional: boolean;
  readonly #slots: QueueSlot[];
  #status = 0;
  #accepted = 0n;
  #running = false;
  /** The driver gave the address of a whole legacy queue: it uses the legacy interface. */
  #legacy = false;
  #refusal = '';

  constructor(arena: Arena, options: VirtioDeviceOptions) {
    const { name, type, regions, host, ringFeatures, transitional = true } = options;
    const canReset = type.resetQueue !== undefined && type.enableQueue !== undefined;
    const able = RING_FEATURES | (canReset ? featureMask(VIRTIO_F.RING_RESET) : 0n);
    const wanted = ringFeatures ?? able;
    if ((wanted & ~(able | VERSION_1)) !== 0n) {
      const names = featureNames(wanted & ~(able | VERSION_1)).join(', ');
      throw new RingwayError('BAD_ARGUMENT', `${name}: cannot offer ${names}; can: ${featureNames(able).join(', ')}`);
    }
    this.deviceId = type.id;
    this.#arena = arena;
    this.#name = name;
    this.#type = type;
    this.#regions = regions;
    this.#host = host;
    this.#transitional = transitional;
    this.#offered = type.features | wanted | VERSION_1;
    // 2.2.2: a device offers nothing that needs what it does not offer.
    const broken = brokenRule(this.#offered, type.rules);
    if (broken !== undefined) throw new RingwayError('BAD_ARGUMENT', `${name}: ${this.#ruleText(broken)}`);
    this.#slots = type.queues(this.#offered).map(() => ({ set: undefined, queue: undefined }));
    type.config.onChange = () => {
      if (this.#status & DRIVER_OK) host.configChanged();
    };
  }

  /** Why the device last left a status bit clear, ignored a write or asked for a reset; empty when it never did. */
  get refusal(): string {
    return this.#refusal;
  }

  /** What was negotiated; 0 before that. */
  get negotiated(): bigint {
    return this.#running || this.#status & FEATURES_OK ? this.#accepted : 0n;
  }

  /** True from DRIVER_OK on, until a reset, FAILED or NEEDS_RESET. */
  get live(): boolean {
    return this.#running && (this.#status & (NEEDS_RESET | FAILED)) === 0;
  }

  readFeatures(): bigint {
    return this.#offered;
  }

  writeFeatures(features: bigint): void {
    // 2.2, 3.1.1: the only way to renegotiate is a reset.
    if (this.#running || this.#status & FEATURES_OK) this.#refusal = 'features were negotiated; reset the device first';
    else this.#accepted = features;
  }

  readStatus(): number {
    return this.#status;
  }

  writeStatus(status: number): void {
    if (status === 0) {
      this.#reset();
      return;
    }
    // 2.1.1: a driver that gave up resets the device first. It never clears bits, and NEEDS_RESET is not its own.
    if (this.#status & FAILED) return;
    const added = status & ~this.#status;
    this.#status |= added & (ACKNOWLEDGE | DRIVER);
    if (added & FAILED) {
      this.#status |= FAILED;
      this.#stop();
      return;
    }
    // A legacy driver that runs already has ended the negotiation.
    if (added & FEATURES_OK && !this.#running) this.#checkFeatures();
    if (added & DRIVER_OK) this.#goLive();
  }

  readConfig(offset: number, length: number): Uint8Array | undefined {
    return this.#type.config.read(offset, length);
  }

  writeConfig(offset: number, data: Uint8Array): boolean {
    const { config } = this.#type;
    if (!config.contains(offset, data.length)) return false;
    return this.#type.writeConfig?.(offset, data, this.#accepted) ?? false;
  }

  configGeneration(): number {
    return this.#type.config.generation;
  }

  queueMaxSize(index: number): number {
    const known = this.#accepted === 0n ? this.#offered : this.#accepted & this.#offered;
    return this.#type.queues(known)[index] ?? 0;
  }

  setQueue(index: number, setup: QueueSetup): void {
    const slot = this.#restingSlot(index);
    this.#needSettled(index);
    const { size } = setup;
    const modern = this.#has(VIRTIO_F.VERSION_1);
    const layout: VirtqueueLayout = modern && this.#has(VIRTIO_F.RING_PACKED) ? 'packed' : 'split';
    const max = this.queueMaxSize(index);
    if (size > max) this.#refuse(index, `size=${size}, at most ${max}`);
    const bytes = virtqueueBytes(layout, size);
    const place = (part: keyof VirtqueueRings): number => this.#translate(index, part, setup[part], bytes[part]);
    const rings = {
      descriptors: place('descriptors'),
      driverArea: place('driverArea'),
      deviceArea: place('deviceArea'),
    };
    checkRings(this.#arena, this.#queueName(index), layout, size, rings);
    slot.set = { layout, size, rings };
  }

  setLegacyQueue(index: number, address: bigint): void {
    const slot = this.#restingSlot(index);
    // 2.2.3: the legacy interface is for drivers that have not accepted VERSION_1.
    if (!this.#transitional || this.#has(VIRTIO_F.VERSION_1)) this.#refuse(index, 'the legacy layout is not in use');
    const size = this.queueMaxSize(index);
    const layout = legacyQueueLayout(size);
    if (address % BigInt(LEGACY_QUEUE_ALIGN) !== 0n) {
      this.#refuse(index, `legacy queue at ${hex(address)}, must be a multiple of ${LEGACY_QUEUE_ALIGN}`);
    }
    const descriptors = this.#translate(index, 'legacy queue', address, layout.bytes);
    const { driverArea, deviceArea } = layout;
    const rings = { descriptors, driverArea: descriptors + driverArea, deviceArea: descriptors + deviceArea };
    checkRings(this.#arena, this.#queueName(index), 'split', size, rings);
    slot.set = { layout: 'split', size, rings };
    // The legacy interface has no step that enables a queue, and features may still be written: see #start.
    this.#legacy = true;
  }

  enableQueue(index: number): void {
    const slot = this.#restingSlot(index);
    if (slot.set === undefined) this.#refuse(index, 'was not set');
    this.#needSettled(index);
    if (this.#running && !this.#has(VIRTIO_F.RING_RESET)) this.#refuse(index, 'the device runs');
    slot.queue = this.#makeQueue(index, slot.set);
    if (this.#running) this.#type.enableQueue?.(index, slot.queue);
  }

  resetQueue(index: number): void {
    const slot = this.#slots[index];
    if (!this.#has(VIRTIO_F.RING_RESET) || !(this.#status & FEATURES_OK)) {
      this.#refuse(index, 'VIRTIO_F_RING_RESET was not negotiated; reset the device');
    }
    if (slot?.queue === undefined) this.#refuse(index, 'is not enabled');
    if (this.#running) this.#type.resetQueue?.(index);
    this.#release(index, slot);
  }

  queueEnabled(index: number): boolean {
    return this.#slots[index]?.queue !== undefined;
  }

  /** True when the device stopped with buffers left, so as not to stay for ever: call again. */
  notify(index: number): boolean {
    // 3.1.2: legacy drivers use the device before DRIVER_OK; features are final with the first use.
    if (!this.#running && this.#legacy && !(this.#status & FAILED)) this.#start();
    if (!this.live || this.#slots[index]?.queue === undefined) return false;
    return this.#type.notify?.(index) ?? false;
  }

  #has(bit: number): boolean {
    return hasFeature(this.#accepted, bit);
  }

  #ruleText({ bit, needs }: FeatureRule): string {
    const name = (one: number): string => featureName(one, this.#type.featureNames);
    return `${name(bit)} needs ${needs.map(name).join(' or ')}`;
  }

  /** Why the device cannot work with what the driver accepted. */
  #objection(): string | undefined {
    const type = this.#type;
    const foreign = this.#accepted & ~this.#offered;
    if (foreign !== 0n) return `not offered: ${featureNames(foreign, type.featureNames).join(', ')}`;
    if (!this.#has(VIRTIO_F.VERSION_1)) {
      // 6.2: a device may insist on VERSION_1.
      if (!this.#transitional) return 'VIRTIO_F_VERSION_1 is needed';
      const modern = this.#accepted & ~LEGACY_FEATURES;
      if (modern !== 0n) return `${featureNames(modern, type.featureNames).join(', ')} without VIRTIO_F_VERSION_1`;
    }
    const broken = brokenRule(this.#accepted, type.rules);
    return broken === undefined ? type.validate?.(this.#accepted) : this.#ruleText(broken);
  }

  #checkFeatures(): void {
    const objection = this.#objection();
    // 2.2.2: the bit stays clear, which the driver finds when it reads the status again.
    if (objection !== undefined) {
      this.#refusal = `features refused: ${objection}`;
      return;
    }
    this.#status |= FEATURES_OK;
    // Queues that were set before were set for other features, perhaps through the legacy interface.
    this.#releaseAll();
    this.#legacy = false;
  }

  #goLive(): void {
    if (this.#status & FEATURES_OK || (this.#transitional && !this.#has(VIRTIO_F.VERSION_1))) {
      this.#status |= DRIVER_OK;
      if (!this.#running) this.#start();
    } else {
      this.#refusal = 'DRIVER_OK before FEATURES_OK';
    }
  }

  #start(): void {
    if (!(this.#status & FEATURES_OK)) {
      // 3.1.2: a legacy driver cannot be refused. What it cannot have it does not get.
      this.#accepted = withoutOrphans(this.#accepted & this.#offered & LEGACY_FEATURES, this.#type.rules);
      const objection = this.#objection();
      if (objection !== undefined) {
        this.#needsReset(`features refused: ${objection}`);
        return;
      }
    }
    if (this.#legacy) {
      for (const [index, slot] of this.#slots.entries()) {
        if (slot.set !== undefined && slot.queue === undefined) slot.queue = this.#makeQueue(index, slot.set);
      }
    }
    this.#running = true;
    this.#type.start(
      this.#accepted,
      this.#slots.map(({ queue }) => queue),
      {
        usedBuffers: (index) => {
          if (this.live) this.#host.usedBuffers(index);
        },
        needsReset: (reason) => this.#needsReset(reason),
      },
    );
  }

  #needsReset(reason: string): void {
    if (this.#status & NEEDS_RESET) return;
    this.#refusal = reason;
    this.#status |= NEEDS_RESET;
    if (this.#status & DRIVER_OK) this.#host.configChanged();
  }

  #stop(): void {
    if (this.#running) this.#type.stop();
    this.#running = false;
    this.#releaseAll();
  }

  #reset(): void {
    this.#stop();
    this.#status = 0;
    this.#accepted = 0n;
    this.#legacy = false;
  }

  #refuse(index: number, why: string): never {
    throw new RingwayError('BAD_ARGUMENT', `${this.#name}: queue ${index} ${why}`);
  }

  /** What a ring is made like depends on features, so they come first (3.1.1); a legacy driver has no such step. */
  #needSettled(index: number): void {
    if (!(this.#status & FEATURES_OK) && (!this.#transitional || this.#has(VIRTIO_F.VERSION_1))) {
      this.#refuse(index, 'cannot be set before FEATURES_OK');
    }
  }

  /** The slot of a queue that there is and that no one uses. */
  #restingSlot(index: number): QueueSlot {
    const slot = this.#slots[index];
    if (slot === undefined || this.queueMaxSize(index) === 0) this.#refuse(index, 'does not exist');
    if (slot.queue !== undefined) this.#refuse(index, 'is in use; reset it first');
    return slot;
  }

  /** The driver's address of a part of its ring becomes ours here, or is refused: it may be anything. */
  #translate(index: number, part: string, guest: bigint, bytes: number): number {
    const inRange = guest >= 0n && guest >> 64n === 0n;
    const address = inRange ? this.#regions.translate(guest, bytes) : 0;
    if (address === 0) {
      this.#refuse(index, `${part}=${hex(guest)} with ${bytes} bytes, must lie in one region of the driver's memory`);
    }
    return address;
  }

  #makeQueue(index: number, { layout, size, rings }: QueueSetting): VirtqueueDevice {
    // A table has two entries or more to be of use, so a queue of one descriptor has none.
    const indirect = this.#has(VIRTIO_F.RING_INDIRECT_DESC) && size > 1 ? { indirect: size } : {};
    return createVirtqueueDevice(this.#arena, {
      name: this.#queueName(index),
      layout,
      size,
      eventIdx: this.#has(VIRTIO_F.RING_EVENT_IDX),
      inOrder: this.#has(VIRTIO_F.IN_ORDER),
      ...indirect,
      rings,
      regions: this.#regions,
    });
  }

  #queueName(index: number): string {
    return `${this.#name} queue ${index}`;
  }

  #releaseAll(): void {
    for (const [index, slot] of this.#slots.entries()) this.#release(index, slot);
  }

  #release(index: number, slot: QueueSlot): void {
    if (slot.queue !== undefined) this.#arena.release(`${this.#queueName(index)} device`);
    slot.queue = undefined;
    slot.set = undefined;
  }
}
