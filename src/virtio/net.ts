import type { Arena } from '../memory/arena.ts';
import { ConfigSpace } from './config-space.ts';
import type { ControlTarget } from './control-commands.ts';
import { CONTROL_QUEUE_SIZE, ControlQueue, type ControlStats } from './control-queue.ts';
import { guestOffloads, NetControlState } from './control-state.ts';
import type { DeviceSession, DeviceType } from './device.ts';
import { featureMask, hasFeature, VIRTIO_F } from './features.ts';
import {
  isStationMac,
  MAC_BYTES,
  NET_CONFIG_BYTES,
  type NetSettings,
  writeConfigMac,
  writeConfigStatus,
  writeNetConfig,
} from './net-config.ts';
import { NET_FEATURE_NAMES, NET_RULES, VIRTIO_NET_F } from './net-features.ts';
import type { VirtqueueDevice } from './queue.ts';

const F = VIRTIO_NET_F;

/** What moves the packets of a network device. */
export interface NetDataPath {
  /** The bits of VIRTIO_NET_F that it can work with: offloads, MRG_RXBUF, HASH_REPORT, RSS. */
  readonly features: bigint;
  /** DRIVER_OK: `net.receive` and `net.transmit` are there, and `net.features`. */
  start(net: NetDevice): void;
  /** The queues are gone. */
  stop(): void;
  /** Data queue `index` was reset, or came back (virtio 1.2, 2.6.1): `net.receive` and `net.transmit` have changed. */
  queueChanged(index: number): void;
  /** The driver says that a data queue has buffers. True when it stopped with some left. */
  notify?(index: number): boolean;
}

/** How a network device is made. */
export interface NetDeviceOptions extends NetSettings {
  /** Names its regions in the arena. */
  readonly name: string;
  readonly dataPath: NetDataPath;
  /** Descriptors of a data queue at most; 256 when not given. */
  readonly queueSize?: number;
}

/**
 * The network device (virtio 1.1, 5.1) but for its packets: features, configuration, link, control queue. Kernels read
 * what the driver set at `control.address`.
 *
 *     queue  0 rx 1   1 tx 1   2 rx 2   3 tx 2 …   2N control    (N: maxPairs with MQ or RSS, else 1; 5.1.2)
 */
export class NetDevice implements DeviceType {
  readonly name = 'net';
  readonly id = 1;
  readonly features: bigint;
  readonly featureNames = NET_FEATURE_NAMES;
  readonly rules = NET_RULES;
  readonly config = new ConfigSpace(NET_CONFIG_BYTES);
  /** What the driver set. */
  readonly control: NetControlState;
  readonly #commands: ControlQueue;
  readonly #mac: Uint8Array;
  readonly #maxPairs: number;
  readonly #hashTypes: number;
  readonly #queueSize: number;
  readonly #dataPath: NetDataPath;
  #negotiated = 0n;
  #queues: (VirtqueueDevice | undefined)[] = [];
  #session: DeviceSession | undefined;

  /** @throws RingwayError `BAD_ARGUMENT` for a setting that the specification does not allow, `ARENA_FULL`. */
  constructor(arena: Arena, options: NetDeviceOptions) {
    const { name, dataPath, mac, maxPairs = 1, mtu, speed, hashTypes = 0, queueSize = 256 } = options;
    writeNetConfig(this.config, name, options);
    this.#mac = mac.slice();
    this.#maxPairs = maxPairs;
    this.#hashTypes = hashTypes;
    this.#queueSize = queueSize;
    this.#dataPath = dataPath;
    this.control = new NetControlState(arena, `${name} control`);
    this.control.reset(mac, 0n);
    this.#commands = new ControlQueue(arena, `${name} control`);
    const own: number[] = [
      F.MAC,
      F.STATUS,
      F.CTRL_VQ,
      F.CTRL_RX,
      F.CTRL_RX_EXTRA,
      F.CTRL_VLAN,
      F.GUEST_ANNOUNCE,
      F.CTRL_MAC_ADDR,
    ];
    if (maxPairs > 1) own.push(F.MQ);
    if (mtu !== undefined) own.push(F.MTU);
    if (speed !== undefined) own.push(F.SPEED_DUPLEX);
    if (guestOffloads(dataPath.features) !== 0n) own.push(F.CTRL_GUEST_OFFLOADS);
    this.features = dataPath.features | featureMask(...own);
  }

  /** What was negotiated; 0 while no driver runs. */
  get negotiated(): bigint {
    return this.#negotiated;
  }

  /** Receive queues, pair by pair; undefined for those that the driver did not set up. Empty while no driver runs. */
  get receive(): readonly (VirtqueueDevice | undefined)[] {
    return this.#data().filter((_, index) => index % 2 === 0);
  }

  get transmit(): readonly (VirtqueueDevice | undefined)[] {
    return this.#data().filter((_, index) => index % 2 === 1);
  }

  get controlStats(): ControlStats {
    return this.#commands.stats;
  }

  /** While a driver runs: notifies it of used buffers, or has it reset the device. */
  get session(): DeviceSession | undefined {
    return this.#session;
  }

  /** Tells the driver whether frames can pass (virtio 1.1, 5.1.4). */
  setLink(up: boolean): void {
    this.control.link = up;
    writeConfigStatus(this.config, { link: up }, this.#has(F.STATUS));
  }

  /** Asks the driver for gratuitous packets (5.1.6.5.4). False when it does not know how. */
  announce(): boolean {
    if (!this.#has(F.GUEST_ANNOUNCE)) return false;
    writeConfigStatus(this.config, { announce: true }, true);
    return true;
  }

  queues(features: bigint): readonly number[] {
    const data = Array.from({ length: this.#pairsOf(features) * 2 }, () => this.#queueSize);
    return hasFeature(features, F.CTRL_VQ) ? [...data, CONTROL_QUEUE_SIZE] : data;
  }

  start(features: bigint, queues: readonly (VirtqueueDevice | undefined)[], session: DeviceSession): void {
    this.#negotiated = features;
    this.#queues = [...queues];
    this.#session = session;
    this.control.reset(this.#mac, features);
    this.#dataPath.start(this);
  }

  stop(): void {
    this.#dataPath.stop();
    this.#negotiated = 0n;
    this.#queues = [];
    this.#session = undefined;
    this.control.reset(this.#mac, 0n);
    writeConfigMac(this.config, this.#mac, false);
    writeConfigStatus(this.config, { announce: false }, false);
  }

  enableQueue(index: number, queue: VirtqueueDevice): void {
    this.#queues[index] = queue;
    if (!this.#isControl(index)) this.#dataPath.queueChanged(index);
  }

  resetQueue(index: number): void {
    this.#queues[index] = undefined;
    if (!this.#isControl(index)) this.#dataPath.queueChanged(index);
  }

  notify(index: number): boolean {
    const queue = this.#queues[index];
    if (!this.#isControl(index)) return this.#dataPath.notify?.(index) ?? false;
    if (queue === undefined) return false;
    const more = this.#commands.serve(queue, this.#target());
    if (queue.needsNotify()) this.#session?.usedBuffers(index);
    if (queue.broken() !== 0) this.#session?.needsReset(`control queue broken, rule ${queue.broken()}`);
    return more;
  }

  /** 5.1.6.5.2.3: a legacy driver without MAC_ADDR_SET writes its address here, from the first byte to the last. */
  writeConfig(offset: number, data: Uint8Array, features: bigint): boolean {
    const hasCommand = hasFeature(features, VIRTIO_F.VERSION_1) || hasFeature(features, F.CTRL_MAC_ADDR);
    if (hasCommand || offset + data.length > MAC_BYTES) return false;
    this.config.update((fields) => {
      for (const [i, byte] of data.entries()) fields.setUint8(offset + i, byte);
    }, false);
    const mac = this.config.read(0, MAC_BYTES);
    if (mac !== undefined && isStationMac(mac)) this.control.setMac(mac);
    return true;
  }

  #has(bit: number): boolean {
    return hasFeature(this.#negotiated, bit);
  }

  #pairsOf(features: bigint): number {
    return hasFeature(features, F.MQ) || hasFeature(features, F.RSS) ? this.#maxPairs : 1;
  }

  #isControl(index: number): boolean {
    return this.#has(F.CTRL_VQ) && index === this.#pairsOf(this.#negotiated) * 2;
  }

  #data(): (VirtqueueDevice | undefined)[] {
    return this.#queues.slice(0, this.#pairsOf(this.#negotiated) * 2);
  }

  #target(): ControlTarget {
    return {
      state: this.control,
      features: this.#negotiated,
      maxPairs: this.#maxPairs,
      hashTypes: this.#hashTypes,
      setMac: (mac) => {
        this.control.setMac(mac);
        // 5.1.6.5.2.1: seen in the configuration before the command is used. The driver knows: it asked.
        writeConfigMac(this.config, mac, false);
      },
      acknowledgeAnnounce: () => writeConfigStatus(this.config, { announce: false }, false),
    };
  }
}
