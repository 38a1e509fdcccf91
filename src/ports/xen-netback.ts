import { Netback } from '../xen/netback.ts';
import { BACK_CONTROL_BYTES, BACK_QUEUE_BYTES, backQueuePages } from '../xen/netback-queue.ts';
import type { VifPath } from '../xen/vif-device.ts';
import { xenEndType } from './xen-end.ts';

/** The backend of a Xen network device. Its frontend is another port, which names it. */
export interface XenNetbackConfig {
  readonly name: string;
  /** Queues at most, 1 to 8. */
  readonly queues: number;
  /** How packets may get across, beside copies by grant. */
  readonly paths: readonly VifPath[];
  /** Pages of a ring at most, as a power of two: 0 to 4. */
  readonly ringOrder: number;
  /** Checksums, segments and packets of more than a page are taken. */
  readonly offloads: boolean;
}

/** The features of an end with or without offloads. Packets of several pages are no offload, but need as much of the other end. */
export function xenFeatures(offloads: boolean) {
  return { sg: offloads, csum: offloads, gsoTcpv4: offloads, gsoTcpv6: offloads };
}

/** A backend in a driver domain of its own, which may name all of the arena in its copies. */
export const xenNetbackPort = xenEndType<XenNetbackConfig>({
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
