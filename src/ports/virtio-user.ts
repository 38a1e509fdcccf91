import { requireSys } from '../sys/index.ts';
import { parseMacBytes } from '../util/addresses.ts';
import { driverWindowBytes } from '../vhost/driver-rings.ts';
import { Frontend } from '../vhost/frontend.ts';
import { VhostService } from '../vhost/service.ts';
import { NetControlState } from '../virtio/control-state.ts';
import { NET_CONTROL_BYTES, STEER_BYTES, VQ_ID_SHIFT } from '../virtio/layout.ts';
import { MAC_BYTES } from '../virtio/net-config.ts';
import { netQueueBytes } from '../virtio/net-queue.ts';
import type { PortSetup, PortType } from './port.ts';
import { RingPort, type RingShare, tellRings } from './ring-port.ts';
import { ringFeatures, type VhostUserConfig } from './vhost-user.ts';

/** The driver of a network device in another process. */
export interface VirtioUserConfig extends Omit<VhostUserConfig, 'indirect'> {
  /** Descriptors of each virtqueue: a power of two, since the backend may have split rings alone. */
  readonly queueSize: number;
  /** Announced in the backend's network when it connects; nothing is when missing. */
  readonly mac?: string;
}

/** What the control thread keeps of a port. */
const services = new WeakMap<object, VhostService<Frontend>>();

function makeService(setup: PortSetup, config: VirtioUserConfig, control: NetControlState): VhostService<Frontend> {
  const { arena, name } = setup;
  const { socket, mode, queues, queueSize, mtu, mac, notify } = config;
  const window = arena.reserve(`${name} window`, driverWindowBytes(queues, queueSize), requireSys(name).pageBytes);
  const poller = setup.poller();
  const tellFault = (fault: string | undefined): void => void setup.tell('peerFault', fault).catch(() => {});
  const serve = tellRings(setup, { notify, isDriver: true });
  const options = {
    name,
    supported: ringFeatures(config),
    pairs: queues,
    queueSize,
    mtu,
    mac: mac === undefined ? undefined : parseMacBytes(mac),
    window,
    async serve(pairs: Parameters<typeof serve>[0]) {
      control.pairs = Math.max(1, pairs.length);
      await serve(pairs);
      // What was wrong before is over once a backend works.
      if (pairs.length > 0) tellFault(undefined);
    },
    setLink(up: boolean) {
      control.link = up;
    },
  };
  return new VhostService(poller, {
    name,
    socket,
    server: mode === 'server',
    connect: (fd) => new Frontend(arena, poller, options, fd),
    onChange({ fault }) {
      if (fault !== undefined) tellFault(fault);
    },
  });
}

/** A port that is the driver of a network device in another process, behind a vhost-user socket. */
export const virtioUserPort: PortType<VirtioUserConfig> = {
  bytes({ queues, queueSize }) {
    const ring = (queueSize << VQ_ID_SHIFT) + netQueueBytes(queueSize) + 4096;
    return driverWindowBytes(queues, queueSize) + queues * 2 * ring + NET_CONTROL_BYTES + STEER_BYTES + (64 << 10);
  },

  create(setup, config) {
    const { arena, name } = setup;
    const before = new Set(arena.regions().map((region) => region.name));
    try {
      const control = new NetControlState(arena, `${name} control`);
      control.reset(new Uint8Array(MAC_BYTES), 0n);
      const work = arena.allocate(`${name} steer`, STEER_BYTES);
      const service = makeService(setup, config, control);
      const data: RingShare = { control: control.address, work, notify: config.notify, isDriver: true };
      services.set(data, service);
      return {
        data,
        rxQueues: config.queues,
        pausable: false,
        finite: false,
        untrusted: true,
        service: { start: () => service.open(), stop: () => service.close() },
      };
    } catch (error) {
      for (const region of arena.regions()) if (!before.has(region.name)) arena.release(region.name);
      throw error;
    }
  },

  attach: (context, data) => new RingPort(context, data as RingShare),

  release({ arena, name }, data) {
    services.get(data as RingShare)?.abandon();
    for (const part of ['control', 'steer', 'window']) arena.release(`${name} ${part}`);
  },
};
