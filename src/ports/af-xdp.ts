import { opening } from '../netif/interface.ts';
import {
  closeXsks,
  openXsks,
  XSK_BUFFERS,
  type XskOptions,
  XskQueue,
  type XskShare,
  xskBytes,
  xskDrops,
} from '../netif/xsk.ts';
import { netifPort } from './netif.ts';
import type { PortType } from './port.ts';

/** A network interface of the system through XDP sockets: what arrives there comes here, and nowhere else. */
export const afXdpPort: PortType<XskOptions> = {
  bytes: ({ queues }) => xskBytes(queues),
  buffers: ({ queues }) => queues * XSK_BUFFERS,
  create({ arena, name }, config) {
    const share = opening(name, () => openXsks(arena, name, config));
    return { data: share, rxQueues: config.queues, pausable: false, finite: false };
  },
  attach(context, data) {
    const { arena, queue, cache } = context;
    const share = data as XskShare;
    const { address = 0 } = share.queues[queue] ?? {};
    return netifPort(context, new XskQueue(arena, share, queue, cache), xskDrops(address));
  },
  release: ({ arena, name }, data) => closeXsks(arena, name, data as XskShare),
};
