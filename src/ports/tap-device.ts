import { opening } from '../netif/interface.ts';
import { closeTap, openTap, TapQueue, type TapShare, tapBytes, tapDrops } from '../netif/tap.ts';
import { netifPort } from './netif.ts';
import type { PortType } from './port.ts';

/** A tap of the system. */
export interface TapConfig {
  /** Its name: 1 to 15 bytes. */
  readonly interface: string;
  readonly queues: number;
  /** Checksums and segmentation may be left to the other side. */
  readonly offloads: boolean;
}

/** The far end of a network interface of this system: what the system sends by it is received here. */
export const tapDevicePort: PortType<TapConfig> = {
  bytes: ({ queues }) => tapBytes(queues),
  create({ arena, name }, { interface: tap, queues, offloads }) {
    const share = opening(name, () => openTap(arena, name, { name: tap, queues, offloads }));
    return { data: share, rxQueues: queues, pausable: false, finite: false };
  },
  attach(context, data) {
    const { arena, queue, cache } = context;
    const share = data as TapShare;
    return netifPort(context, new TapQueue(arena, share, queue, cache), tapDrops(share.queues[queue]?.address ?? 0));
  },
  release: ({ arena, name }, data) => closeTap(arena, name, data as TapShare),
};
