import { Netback } from '../xen/netback.ts';
import { BACK_CONTROL_BYTES, BACK_QUEUE_BYTES, backQueuePages } from '../xen/netback-queue.ts';
import type { VifPath } from '../xen/vif-device.ts';
import type { PortType } from './port.ts';
import { xenEndType } from './xen-end.ts';
import { XenPort, type XenShare, xenFeatures } from './xen-port.ts';
import { xenSystemPort } from './xen-system.ts';

/** The backend of a Xen network device. */
export interface XenNetbackConfig {
  readonly name: string;
  /**
   * `process`: a Xen in this process; the frontend is another port, which names this one. `system`: the Xen that this system is
   * domain 0 of; the frontend is a domain's, whose vif has the port's name.
   */
  readonly xen: 'process' | 'system';
  /** Queues at most, 1 to 8. */
  readonly queues: number;
  /** How packets may get across, beside copies by grant. */
  readonly paths: readonly VifPath[];
  /** Pages of a ring at most, as a power of two: 0 to 4. */
  readonly ringOrder: number;
  /** Checksums, segments and packets of more than a page are taken. */
  readonly offloads: boolean;
}

/** A backend in a driver domain of its own, which may name all of the arena in its copies. */
const xenProcessPort = xenEndType<XenNetbackConfig>({
  side: 'back',
  domain({ queues, ringOrder }) {
    const mapPages = 1 + queues * backQueuePages(ringOrder);
    return { pages: 1, grants: 16, mapPages, maptrack: mapPages, ports: 3 + 2 * queues, wholeArena: true };
  },
  queueBytes: ({ queues }) => queues * BACK_QUEUE_BYTES + BACK_CONTROL_BYTES,
  backend: ({ name }) => name,
  make: ({ paths, ringOrder, offloads }, _domain, options, hash) =>
    new Netback({ ...options, hash, paths, maxRingOrder: ringOrder, features: xenFeatures(offloads) }),
});

const kindOf = ({ xen }: XenNetbackConfig): PortType<XenNetbackConfig> =>
  xen === 'system' ? xenSystemPort : xenProcessPort;

/** Which of the two made a port. */
const kinds = new WeakMap<object, PortType<XenNetbackConfig>>();

/** Either of them. */
export const xenNetbackPort: PortType<XenNetbackConfig> = {
  bytes: (config) => kindOf(config).bytes(config),
  create(setup, config) {
    const kind = kindOf(config);
    const share = kind.create(setup, config);
    kinds.set(share.data as XenShare, kind);
    return share;
  },
  attach: (context, data) => new XenPort(context, data as XenShare),
  release: (setup, data) => kinds.get(data as XenShare)?.release?.(setup, data),
};
