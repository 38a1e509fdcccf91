import { BUFFER_HEADROOM, SLOT_BUFFER, SLOT_LENGTH } from '../memory/layout.ts';
import type { PoolKernels } from '../memory/pool.ts';
import { buildRarpAnnouncement } from '../packet/rarp.ts';
import { macBytes, parseMacBytes } from '../util/addresses.ts';
import { Backend } from '../vhost/backend.ts';
import { VhostNet, type VhostNetOptions } from '../vhost/net.ts';
import { VhostService } from '../vhost/service.ts';
import { featureMask, VIRTIO_F } from '../virtio/features.ts';
import { STEER_BYTES } from '../virtio/layout.ts';
import { NET_OFFLOAD_FEATURES, VIRTIO_NET_F } from '../virtio/net-features.ts';
import { macOfName } from './guest.ts';
import type { PortContext, PortQueue, PortSetup, PortType } from './port.ts';
import { type Notify, RingPort, type RingShare, tellRings } from './ring-port.ts';

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
  readonly notify: Notify;
  readonly mtu: number;
  /** Derived from the port's name when missing. */
  readonly mac?: string;
}

/** The features of rings and frames that such settings stand for. */
export function ringFeatures(config: Omit<VhostUserConfig, 'indirect'>): bigint {
  const { packed, mergeable, eventIdx, inOrder, offloads } = config;
  const bits: number[] = [VIRTIO_F.VERSION_1];
  if (packed) bits.push(VIRTIO_F.RING_PACKED);
  if (eventIdx) bits.push(VIRTIO_F.RING_EVENT_IDX);
  if (inOrder) bits.push(VIRTIO_F.IN_ORDER);
  if (mergeable) bits.push(VIRTIO_NET_F.MRG_RXBUF);
  return featureMask(...bits) | (offloads ? NET_OFFLOAD_FEATURES : 0n);
}

/** One queue pair of the port. */
class VhostQueue extends RingPort {
  /** Address of a guest that is to be announced. */
  #announced: Uint8Array | undefined;

  override rxBurst(slots: number, max: number): number {
    return this.#announced === undefined ? super.rxBurst(slots, max) : this.#announce(slots, this.#announced);
  }

  override set(name: string, value: unknown): void {
    if (name !== 'announce') super.set(name, value);
    else if (this.context.queue === 0) this.#announced = value as Uint8Array;
  }

  /** Receives a frame in the name of a guest that has just arrived, so that switches learn where it is. */
  #announce(slots: number, mac: Uint8Array): number {
    const { arena, cache } = this.context;
    const frame = buildRarpAnnouncement(mac);
    if (arena.kernels<PoolKernels>().poolAlloc(cache, slots, 1) === 0) return 0;
    this.#announced = undefined;
    const buffer = arena.u32[(slots + SLOT_BUFFER) >>> 2] ?? 0;
    arena.u8.set(frame, buffer + BUFFER_HEADROOM);
    arena.u16[(slots + SLOT_LENGTH) >>> 1] = frame.length;
    return 1;
  }
}

type Serve = VhostNetOptions['serve'];

/** What the control thread keeps of a port. */
const services = new WeakMap<object, { service: VhostService<Backend>; net: VhostNet }>();

/** Has engines copy for the rings that are served, as long as they are. */
function withEngines({ async }: PortSetup, serve: Serve): Serve {
  if (async === undefined) return serve;
  let served: PortQueue[] = [];
  return async (pairs) => {
    const queues = pairs.flatMap(({ receive, send }, pair): PortQueue[] => [
      ...(receive === undefined ? [] : [{ netq: receive.net, kind: 'virtio' as const, pair, sends: false }]),
      ...(send === undefined ? [] : [{ netq: send.net, kind: 'virtio' as const, pair, sends: true }]),
    ]);
    const has = (list: readonly PortQueue[], queue: PortQueue): boolean => list.some(({ netq }) => netq === queue.netq);
    async.add(queues.filter((queue) => !has(served, queue)));
    const gone = served.filter((queue) => !has(queues, queue));
    served = queues;
    await serve(pairs);
    async.remove(gone);
    await async.assign();
  };
}

function makeService(setup: PortSetup, config: VhostUserConfig) {
  const { arena, name } = setup;
  const { queues, queueSize, mtu, mac, socket, mode, notify, indirect } = config;
  const net = new VhostNet(arena, {
    name,
    features: ringFeatures(config) | (indirect ? featureMask(VIRTIO_F.RING_INDIRECT_DESC) : 0n),
    pairs: queues,
    queueSize,
    mtu,
    mac: (mac === undefined ? undefined : parseMacBytes(mac)) ?? macBytes(macOfName(name)),
    serve: withEngines(setup, tellRings(setup, { notify, isDriver: false })),
    announce: (address) => void setup.tell('announce', address).catch(() => {}),
  });
  const service = new VhostService(setup.poller(), {
    name,
    socket,
    server: mode === 'server',
    connect: (fd) => new Backend(arena, name, net, fd),
    onChange: ({ fault }) => void setup.tell('peerFault', fault).catch(() => {}),
  });
  return { net, service };
}

/** A network device for a virtual machine or another program, over a vhost-user socket. */
export const vhostUserPort: PortType<VhostUserConfig> = {
  bytes: ({ queues, queueSize }) => (64 << 10) + queues * 2 * (queueSize * 48 + 8192),

  create(setup, config) {
    const { net, service } = makeService(setup, config);
    const data: RingShare = {
      control: net.control.address,
      work: setup.arena.allocate(`${setup.name} steer`, STEER_BYTES),
      notify: config.notify,
      isDriver: false,
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
        const isUp = value === 'up';
        net.setLink(isUp);
        if (isUp) service.open();
        // A frontend that has no way to hear of it, as QEMU's, learns it from the connection: while the link is down there
        // is none.
        if (service.connection?.configChanged() !== true && !isUp) await service.close();
      },
    };
  },

  attach: (context: PortContext, data) => new VhostQueue(context, data as RingShare),

  release({ arena, name, async }, data) {
    const made = services.get(data as RingShare);
    made?.service.abandon();
    async?.close();
    made?.net.close();
    arena.release(`${name} steer`);
  },
};
