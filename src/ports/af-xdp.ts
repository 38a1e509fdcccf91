import {
  closeXsks,
  openXsks,
  runOnInterface,
  XSK_BUFFERS,
  type XskOptions,
  XskQueue,
  type XskShare,
  xskBytes,
  xskDrops,
} from '../netif/xsk.ts';
import { netifPort } from './netif.ts';

/** An af-xdp port, and where its XDP program is attached. */
interface AfXdpConfig extends XskOptions {
  readonly xdp?: { readonly attach: 'kernel' | 'ringway' };
}

/** A network interface of the system through XDP sockets: what arrives there comes here, and nowhere else. */
export const afXdpPort = netifPort<AfXdpConfig, XskShare>({
  bytes: ({ queues }) => xskBytes(queues),
  buffers: ({ queues }) => queues * XSK_BUFFERS,
  open({ arena, name }, config) {
    const share = openXsks(arena, name, config);
    // Else nothing comes up before its program is there.
    if (config.xdp?.attach === 'kernel') return share;
    try {
      runOnInterface(share);
      return share;
    } catch (error) {
      closeXsks(arena, name, share);
      throw error;
    }
  },
  serve: ({ arena, queue, cache }, share) => new XskQueue(arena, share, queue, cache),
  drops: xskDrops,
  hook: (share) => ({
    index: share.index,
    sockets: share.queues.map(({ fd }) => fd),
    run: (program) => runOnInterface(share, program),
  }),
  close: ({ arena, name }, share) => closeXsks(arena, name, share),
});
