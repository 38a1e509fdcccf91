/** Bits of a device's status (virtio 1.1, 2.1). */
export const VIRTIO_STATUS = {
  ACKNOWLEDGE: 1,
  DRIVER: 2,
  DRIVER_OK: 4,
  FEATURES_OK: 8,
  NEEDS_RESET: 64,
  FAILED: 128,
} as const;

/** Where a driver wants a queue: addresses of its own memory, which the device's region table translates. */
export interface QueueSetup {
  /** Descriptors: up to what the device allows for the queue. */
  readonly size: number;
  readonly descriptors: bigint;
  readonly driverArea: bigint;
  readonly deviceArea: bigint;
}

/** What a driver sees of a device, whatever lies between them. */
export interface VirtioTransport {
  /** The device type's number (virtio 1.1, 5): 1 network, 2 block, 18 input. */
  readonly deviceId: number;
  /** What the device offers. */
  readFeatures(): bigint;
  /** What the driver accepts; without effect once FEATURES_OK is set (2.2, 3.1.1). */
  writeFeatures(features: bigint): void;
  readStatus(): number;
  /** Sets bits; 0 resets the device. Whether a bit was set, a read of the status tells (3.1.1). */
  writeStatus(status: number): void;
  /** Bytes of the configuration space; undefined when they are not all inside it. */
  readConfig(offset: number, length: number): Uint8Array | undefined;
  /** False when the driver may not write there. */
  writeConfig(offset: number, data: Uint8Array): boolean;
  /** Changes whenever the configuration does (2.4). */
  configGeneration(): number;
  /** Descriptors that queue `index` may have; 0 when there is no such queue. */
  queueMaxSize(index: number): number;
  /**
   * Says where a queue's rings are.
   * @throws RingwayError `BAD_ARGUMENT` when the device refuses them.
   */
  setQueue(index: number, setup: QueueSetup): void;
  /**
   * As `setQueue`, for the legacy interface: one address, at which a queue of the largest size is laid out (2.6.2).
   * @throws RingwayError `BAD_ARGUMENT` when the device refuses it.
   */
  setLegacyQueue(index: number, address: bigint): void;
  /**
   * Makes a queue that was set usable.
   * @throws RingwayError `BAD_ARGUMENT` when it was not set, or the device is not ready for it.
   */
  enableQueue(index: number): void;
  /**
   * Takes one queue out of use (virtio 1.2, 2.6.1); it can be set and enabled again.
   * @throws RingwayError `BAD_ARGUMENT` when VIRTIO_F_RING_RESET was not negotiated, or the queue is not enabled.
   */
  resetQueue(index: number): void;
  queueEnabled(index: number): boolean;
  /** Tells the device that it has buffers to take from a queue. */
  notify(index: number): void;
}

/** What sets up a queue. */
export type QueueTransport = Pick<VirtioTransport, 'queueMaxSize' | 'setQueue' | 'setLegacyQueue' | 'enableQueue'>;

/** What reads the configuration space. */
export type ConfigTransport = Pick<VirtioTransport, 'readConfig' | 'configGeneration'>;
