import { BUFFER_HEADROOM, SLOT_BUFFER, SLOT_LENGTH } from '../memory/layout.ts';
import type { PoolKernels } from '../memory/pool.ts';
import { buildRarpAnnouncement } from '../packet/rarp.ts';
import { requireSockets } from '../sys/index.ts';
import { DROP_LINK_DOWN } from '../telemetry/layout.ts';
import { macBytes, parseMacBytes } from '../util/addresses.ts';
import { type NetPair, type NetRing, VhostNet } from '../vhost/net.ts';
import { VhostService } from '../vhost/service.ts';
import { featureMask, VIRTIO_F } from '../virtio/features.ts';
import { STEER_BYTES } from '../virtio/layout.ts';
import { NET_OFFLOAD_FEATURES, VIRTIO_NET_F } from '../virtio/net-features.ts';
import { attachNetQueue, type NetQueue } from '../virtio/net-queue.ts';
import { attachVirtqueueDevice, type VirtqueueDevice } from '../virtio/queue.ts';
import { macOfName } from './guest.ts';
import { netDevicePort } from './net-device.ts';
import type { Port, PortContext, PortSetup, PortType } from './port.ts';

/** The network device of a virtual machine, or of any vhost-user frontend. */
export interface VhostUserConfig {
  /** Absolute path of the socket. */
  readonly socket: string;
  /** `server`: listen there for the frontend; `client`: connect to one that listens. */
  readonly mode: 'server' | 'client';
  /** Queue pairs. */
  readonly queues: number;
  /** Descriptors of each virtqueue at most. */
  readonly queueSize: number;
  /** Offer packed rings beside split ones. */
  readonly packed: boolean;
  readonly mergeable: boolean;
  readonly eventIdx: boolean;
  readonly inOrder: boolean;
  readonly indirect: boolean;
  readonly offloads: boolean;
  /**
   * How an lcore that parks learns that the driver has sent something. `poll`: it looks every millisecond. `adaptive`: after
   * some 20 µs without anything it asks for a kick, and sleeps. `interrupt`: it does so at once.
   */
  readonly notify: 'poll' | 'adaptive' | 'interrupt';
  readonly mtu: number;
  /** Derived from the port's name when missing. */
  readonly mac?: string;
}

/** What the control thread tells the lcores: which rings there are now, and what is wrong. */
interface Served {
  readonly pairs: readonly NetPair[];
}

/** What the lcores that serve the port are given when it is made. */
interface VhostShare {
  /** What a driver may set through a control queue (NET_CONTROL_…). */
  readonly control: number;
  /** STEER_BYTES, for the lcore that sends. */
  readonly work: number;
  readonly notify: VhostUserConfig['notify'];
}

/** Who wants to be woken is woken by the driver alone; it looks by itself now and then, all the same. */
const REST_MS = 1000;
/** How often a ring is looked at whose driver has no way to wake anybody. */
const POLL_MS = 1;

function featuresOf({ packed, mergeable, eventIdx, inOrder, indirect, offloads }: VhostUserConfig): bigint {
  const bits: number[] = [VIRTIO_F.VERSION_1];
  if (packed) bits.push(VIRTIO_F.RING_PACKED);
  if (eventIdx) bits.push(VIRTIO_F.RING_EVENT_IDX);
  if (inOrder) bits.push(VIRTIO_F.IN_ORDER);
  if (indirect) bits.push(VIRTIO_F.RING_INDIRECT_DESC);
  if (mergeable) bits.push(VIRTIO_NET_F.MRG_RXBUF);
  return featureMask(...bits) | (offloads ? NET_OFFLOAD_FEATURES : 0n);
}

/** One queue pair of the port, on the lcore that serves it. Its rings come and go while it runs. */
class VhostQueue implements Port {
  readonly #context: PortContext;
  readonly #share: VhostShare;
  readonly #sockets = requireSockets('a vhost-user port');
  /** Serves the rings that run now. */
  #port: Port;
  /** The driver's transmit ring is not enabled: what it sends is thrown away. */
  #discards = false;
  #fault: string | undefined;
  /** Address of a guest that is to be announced. */
  #announced: Uint8Array | undefined;
  /** The ring that the driver sends through, when it is served. */
  #received: { readonly side: VirtqueueDevice; readonly net: NetQueue; readonly kicks: boolean } | undefined;
  /** The driver was asked for a kick. */
  #armed = false;
  readonly eager: boolean;
  readonly rest?: () => number;

  constructor(context: PortContext, share: VhostShare) {
    this.#context = context;
    this.#share = share;
    this.#port = netDevicePort(context, { ...share, pairs: [] });
    this.eager = share.notify === 'interrupt';
    if (share.notify !== 'poll') this.rest = () => this.#rest();
  }

  #rest(): number {
    if (this.#received === undefined) return REST_MS;
    const { side, net, kicks } = this.#received;
    // The driver may be waiting for what it sent, and nobody looks again before it sends more.
    net.detach();
    if (!kicks) return POLL_MS;
    this.#armed = true;
    return side.setNotify(true) ? 0 : REST_MS;
  }

  get offloads(): number {
    return this.#port.offloads ?? 0;
  }

  rxBurst(slots: number, max: number): number {
    if (this.#armed) {
      // It is looked at now, so kicks are a waste.
      this.#received?.side.setNotify(false);
      this.#armed = false;
    }
    if (this.#announced !== undefined) return this.#announce(slots, this.#announced);
    const n = this.#port.rxBurst(slots, max);
    if (n === 0 || !this.#discards) return n;
    const { arena, cache, refuse } = this.#context;
    arena.kernels<PoolKernels>().poolFree(cache, slots, n);
    refuse(DROP_LINK_DOWN, n);
    return 0;
  }

  txBurst(slots: number, count: number): number {
    return this.#port.txBurst(slots, count);
  }

  info() {
    const info = this.#port.info();
    return this.#fault === undefined ? info : { ...info, fault: this.#fault };
  }

  set(name: string, value: unknown): void {
    if (name === 'peer') this.#fault = value as string | undefined;
    else if (name === 'announce') this.#announced = this.#context.queue === 0 ? (value as Uint8Array) : undefined;
    else this.#serve((value as Served).pairs);
  }

  /** Receives a frame in the name of a guest that has just arrived, so that switches learn where it is. */
  #announce(slots: number, mac: Uint8Array): number {
    const { arena, cache } = this.#context;
    const frame = buildRarpAnnouncement(mac);
    if (arena.kernels<PoolKernels>().poolAlloc(cache, slots, 1) === 0) return 0;
    this.#announced = undefined;
    const buffer = arena.u32[(slots + SLOT_BUFFER) >>> 2] ?? 0;
    arena.u8.set(frame, buffer + BUFFER_HEADROOM);
    arena.u16[(slots + SLOT_LENGTH) >>> 1] = frame.length;
    return 1;
  }

  #serve(pairs: readonly NetPair[]): void {
    // Gives back what it holds of the rings that it served so far.
    this.#port.close();
    this.#received = undefined;
    this.#armed = false;
    const { queue } = this.#context;
    this.#discards = pairs[queue]?.receive?.enabled === false;
    const rings = new Map<number, NetRing>();
    const use = (ring: NetRing | undefined): number | undefined => {
      if (ring !== undefined) rings.set(ring.net, ring);
      return ring?.net;
    };
    const used = pairs.map(({ receive, send }) => ({
      receive: use(receive),
      send: use(send?.enabled === true ? send : undefined),
    }));
    this.#port = netDevicePort(this.#context, { ...this.#share, pairs: used }, (address) =>
      this.#attach(rings.get(address) as NetRing, address === used[queue]?.receive),
    );
  }

  /** Serves a ring, and calls its driver whenever it wants to be called. */
  #attach({ net, queue, kick, call }: NetRing, isReceived: boolean): NetQueue {
    const { arena, cache } = this.#context;
    const side = attachVirtqueueDevice(arena, queue);
    side.setNotify(false);
    const ring = this.#calling(attachNetQueue(arena, net, cache), side, call);
    if (isReceived) this.#received = { side, net: ring, kicks: kick !== -1 };
    return ring;
  }

  /** A queue that calls its driver, if it has a way to. */
  #calling(ring: NetQueue, side: VirtqueueDevice, call: number): NetQueue {
    if (call === -1) return ring;
    const { needsNotify } = side;
    const { signal } = this.#sockets;
    return {
      ...ring,
      receive(slots, max) {
        const n = ring.receive(slots, max);
        if (needsNotify()) signal(call);
        return n;
      },
      send(slots, count) {
        const n = ring.send(slots, count);
        if (needsNotify()) signal(call);
        return n;
      },
      detach() {
        ring.detach();
        if (needsNotify()) signal(call);
      },
    };
  }

  close(): void {
    this.#port.close();
  }
}

/** What the control thread keeps of a port. */
const services = new WeakMap<object, { service: VhostService; net: VhostNet }>();

/** Has the drivers' kicks wake the lcores. What ends that is added to `wakes`. */
function wakeOnKick(setup: PortSetup, pairs: readonly NetPair[], wakes: (() => void)[]): void {
  for (const [queue, { receive }] of pairs.entries()) {
    if (receive === undefined || receive.kick === -1) continue;
    wakes.push(setup.poller().wake(receive.kick, setup.bell(queue)));
  }
}

function makeService(setup: PortSetup, config: VhostUserConfig) {
  const { arena, name } = setup;
  const { queues, queueSize, mtu, mac, socket, mode, notify } = config;
  const wakes: (() => void)[] = [];
  const net = new VhostNet(arena, {
    name,
    features: featuresOf(config),
    pairs: queues,
    queueSize,
    mtu,
    mac: (mac === undefined ? undefined : parseMacBytes(mac)) ?? macBytes(macOfName(name)),
    serve: async (pairs) => {
      for (const end of wakes.splice(0)) end();
      if (notify !== 'poll') wakeOnKick(setup, pairs, wakes);
      await setup.tell('rings', { pairs } satisfies Served);
    },
    announce: (address) => void setup.tell('announce', address).catch(() => {}),
  });
  const service = new VhostService(arena, setup.poller(), {
    name,
    socket,
    server: mode === 'server',
    device: net,
    onChange: ({ fault }) => void setup.tell('peer', fault).catch(() => {}),
  });
  return { net, service };
}

/** A network device for a virtual machine or another program, over a vhost-user socket. */
export const vhostUserPort: PortType<VhostUserConfig> = {
  bytes: ({ queues, queueSize }) => (64 << 10) + queues * 2 * (queueSize * 48 + 8192),

  create(setup, config) {
    const { net, service } = makeService(setup, config);
    const data: VhostShare = {
      control: net.control.address,
      work: setup.arena.allocate(`${setup.name} steer`, STEER_BYTES),
      notify: config.notify,
    };
    services.set(data, { service, net });
    return {
      data,
      rxQueues: config.queues,
      pausable: false,
      finite: false,
      untrusted: true,
      service: { start: () => service.open(), stop: () => service.close() },
      async set(_, value) {
        net.setLink(value === 'up');
        await service.setLink(value === 'up');
      },
    };
  },

  attach: (context, data) => new VhostQueue(context, data as VhostShare),

  release({ arena, name }, data) {
    const made = services.get(data as VhostShare);
    made?.service.abandon();
    made?.net.close();
    arena.release(`${name} steer`);
  },
};
