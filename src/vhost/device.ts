import type { ConfigSpace } from '../virtio/config-space.ts';
import type { FeatureNames } from '../virtio/features.ts';
import type { VirtqueueDevice } from '../virtio/queue.ts';

/** A ring that runs: started, and its memory is there. */
export interface RunningRing {
  readonly queue: VirtqueueDevice;
  readonly size: number;
  /** Eventfds of the frontend: it kicks us, we call it. -1 when there is none. */
  readonly kick: number;
  readonly call: number;
  /** A ring that is not enabled is not served: what it sends is taken and thrown away. */
  readonly enabled: boolean;
}

/** What a frontend has set up. */
export interface DeviceState {
  /** What was negotiated. */
  readonly features: bigint;
  /** By index; undefined for rings that do not run. */
  readonly rings: readonly (RunningRing | undefined)[];
}

/** A kind of device behind a vhost-user socket. The backend does the rest. */
export interface VhostDevice {
  /** For messages: `net`. */
  readonly kind: string;
  /** Bits of its own that it offers, and bits of VIRTIO_F. */
  readonly features: bigint;
  readonly featureNames: FeatureNames;
  /** PROTOCOL_F bits of its own that it offers. */
  readonly protocolFeatures: bigint;
  /** Rings that there may be, and what GET_QUEUE_NUM says: pairs for a network device. */
  readonly rings: number;
  readonly queueNum: number;
  /** Descriptors of a ring at most. */
  readonly queueSize: number;
  readonly config: ConfigSpace;
  /** Why it cannot work with what was negotiated; undefined when it can. */
  validate?(features: bigint): string | undefined;
  /** Serves these rings from now on. Resolves when nobody uses any other any more. */
  apply(state: DeviceState): Promise<void>;
  /** The frontend writes to the configuration. False refuses that. */
  writeConfig?(offset: number, data: Uint8Array): boolean;
  /** NET_SET_MTU. False refuses that. */
  setMtu?(mtu: number): boolean;
  /** SEND_RARP: the guest with this address has just arrived here. */
  sendRarp?(mac: Uint8Array): void;
}
