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

/** A network interface of the system through XDP sockets: what arrives there comes here, and nowhere else. */
export const afXdpPort = netifPort<XskOptions, XskShare>({
  bytes: ({ queues }) => xskBytes(queues),
  buffers: ({ queues }) => queues * XSK_BUFFERS,
  open: ({ arena, name }, config) => openXsks(arena, name, config),
  serve: ({ arena, queue, cache }, share) => new XskQueue(arena, share, queue, cache),
  drops: xskDrops,
  close: ({ arena, name }, share) => closeXsks(arena, name, share),
});
