import type { Arena } from '../memory/arena.ts';
import { ConfigSpace } from '../virtio/config-space.ts';
import { NetControlState } from '../virtio/control-state.ts';
import { featureMask, hasFeature, VIRTIO_F, withoutOrphans } from '../virtio/features.ts';
import { isStationMac, NET_CONFIG_BYTES, writeConfigStatus, writeNetConfig } from '../virtio/net-config.ts';
import { NET_FEATURE_NAMES, NET_RULES, netHeaderBytes, netOffloads, VIRTIO_NET_F } from '../virtio/net-features.ts';
import { createNetQueue } from '../virtio/net-queue.ts';
import type { DeviceState, RunningRing, VhostDevice } from './device.ts';
import { PROTOCOL_F } from './protocol.ts';

/** The control queue is never the backend's, and with it go the rules about it. */
export const VHOST_NET_RULES = NET_RULES.filter(({ needs }) => !needs.includes(VIRTIO_NET_F.CTRL_VQ));

/** A ring of a network device, as the lcore that serves it needs it. */
export interface NetRing {
  /** Addresses of the net queue, and of our side of the virtqueue behind it. */
  readonly net: number;
  readonly queue: number;
  /** Eventfds, with which the driver kicks and the device calls: -1 when there is none. */
  readonly kick: number;
  readonly call: number;
  readonly enabled: boolean;
}

/** The rings of a pair, as they are used here: a device receives what its driver transmits. Undefined while one does not run. */
export interface NetPair {
  readonly receive: NetRing | undefined;
  readonly send: NetRing | undefined;
}

/** How a network device is made. */
export interface VhostNetOptions {
  /** Names its regions in the arena. */
  readonly name: string;
  /** Bits of VIRTIO_F and VIRTIO_NET_F that it offers. */
  readonly features: bigint;
  /** Queue pairs, 1 to 8. */
  readonly pairs: number;
  readonly queueSize: number;
  readonly mtu: number;
  readonly mac: Uint8Array;
  /** Serves these pairs from now on. Resolves when nobody uses any other any more. */
  readonly serve: (pairs: readonly NetPair[]) => Promise<void>;
  /** Says in the network, in the name of the guest with this address, that it is here now. */
  readonly announce: (mac: Uint8Array) => void;
}

interface Made {
  readonly ring: RunningRing;
  readonly net: NetRing;
  readonly regions: readonly string[];
}

/**
 * The network device behind a vhost-user socket. Whoever is on the other end emulates the control queue: QEMU, DPDK and
 * ringway's own frontend do, so this device has data queues alone.
 */
export class VhostNet implements VhostDevice {
  readonly kind = 'net';
  readonly features: bigint;
  readonly featureNames = NET_FEATURE_NAMES;
  readonly protocolFeatures = featureMask(PROTOCOL_F.MQ, PROTOCOL_F.MTU, PROTOCOL_F.RARP);
  readonly rings: number;
  readonly queueNum: number;
  readonly queueSize: number;
  readonly config = new ConfigSpace(NET_CONFIG_BYTES);
  /** What a driver may set through a control queue, for the kernels that steer and filter. */
  readonly control: NetControlState;
  readonly #arena: Arena;
  readonly #options: VhostNetOptions;
  readonly #made = new Map<number, Made>();
  #serial = 0;

  /** @throws RingwayError `BAD_ARGUMENT` for a setting that the specification does not allow, `ARENA_FULL`. */
  constructor(arena: Arena, options: VhostNetOptions) {
    const { name, pairs, features, queueSize, mtu, mac } = options;
    this.#arena = arena;
    this.#options = options;
    this.rings = 2 * pairs;
    this.queueNum = pairs;
    this.queueSize = queueSize;
    const own: number[] = [VIRTIO_NET_F.MTU, VIRTIO_NET_F.GUEST_ANNOUNCE, VIRTIO_NET_F.STATUS, VIRTIO_NET_F.MAC];
    if (pairs > 1) own.push(VIRTIO_NET_F.MQ);
    this.features = features | featureMask(VIRTIO_F.VERSION_1, ...own);
    writeNetConfig(this.config, name, { mac, maxPairs: pairs, mtu });
    writeConfigStatus(this.config, { link: true }, false);
    this.control = new NetControlState(arena, `${name} control`);
    this.control.reset(mac, 0n);
    this.control.link = true;
  }

  async apply({ features, rings }: DeviceState): Promise<void> {
    const old = new Map(this.#made);
    const pairs: NetPair[] = [];
    const makeRing = (index: number): NetRing | undefined => {
      const ring = rings[index];
      if (ring === undefined) return undefined;
      const known = this.#made.get(index);
      if (known?.ring.queue === ring.queue) {
        old.delete(index);
        const net = { ...known.net, kick: ring.kick, call: ring.call, enabled: ring.enabled };
        this.#made.set(index, { ...known, net });
        return net;
      }
      const made = this.#make(index, ring, features);
      this.#made.set(index, made);
      return made.net;
    };
    for (const index of this.#made.keys()) if (rings[index] === undefined) this.#made.delete(index);
    for (let pair = 0; pair < this.#options.pairs; pair++) {
      pairs.push({ receive: makeRing(2 * pair + 1), send: makeRing(2 * pair) });
    }
    this.control.pairs = Math.max(1, pairs.filter(({ send }) => send?.enabled === true).length);
    await this.#options.serve(pairs);
    for (const { regions } of old.values()) for (const region of regions) this.#arena.release(region);
  }

  /** What the kernels need to move frames through a ring. */
  #make(index: number, ring: RunningRing, features: bigint): Made {
    const { queue, kick, call, enabled } = ring;
    const direction = index % 2 === 0 ? 'receive' : 'transmit';
    const before = new Set(this.#arena.regions().map(({ name }) => name));
    // Not the name of the one before, which may still be in use.
    this.#serial = (this.#serial + 1) >>> 0;
    // QEMU with `csum=off` or `host_tso4=off` leaves its guest bits that need those. They mean nothing then.
    const sound = withoutOrphans(features, NET_RULES);
    const net = createNetQueue(this.#arena, {
      name: `${this.#options.name} ring ${index}.${this.#serial}`,
      queue: queue.address,
      headerBytes: netHeaderBytes(features),
      mergeable: hasFeature(features, VIRTIO_NET_F.MRG_RXBUF),
      offloads: netOffloads(sound, direction),
    });
    const regions = this.#arena.regions().flatMap(({ name }) => (before.has(name) ? [] : [name]));
    return { ring, net: { net, queue: queue.address, kick, call, enabled }, regions };
  }

  setMtu(mtu: number): boolean {
    return mtu >= 68 && mtu <= this.#options.mtu;
  }

  sendRarp(mac: Uint8Array): void {
    if (isStationMac(mac)) this.#options.announce(mac);
  }

  /** Whether frames can pass; a frontend that asks is told. */
  setLink(up: boolean): void {
    this.control.link = up;
    writeConfigStatus(this.config, { link: up }, true);
  }

  /** Gives back what its regions take; no thread uses it any more. */
  close(): void {
    for (const { regions } of this.#made.values()) for (const region of regions) this.#arena.release(region);
    this.#made.clear();
    this.#arena.release(`${this.#options.name} control`);
  }
}
