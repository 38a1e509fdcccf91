import * as z from 'zod';
import { mac, mapping, oneOf, truth, whole } from './scalars.ts';
import { common, file } from './schema-common.ts';

/** The network device of a virtual machine, as it is written. */
export const vhostUser = mapping('a vhost-user port', {
  type: z.literal('vhost-user'),
  ...common,
  socket: file('The socket that the virtual machine and this port meet at.'),
  mode: oneOf('a mode', ['server', 'client'], 'Listen at the socket, or connect to who listens there.').default(
    'server',
  ),
  queues: whole('a number of queue pairs', 1, 8, 'Queue pairs at most.').default(1),
  queueSize: whole('a queue size', 2, 32_768, 'Descriptors of a virtqueue at most.').default(1024),
  mac: z.exactOptional(mac('Address that the device tells a driver that asks; made of its name when left out.', true)),
  mtu: whole('an MTU', 68, 65_535, 'MTU that the device tells the guest.').default(1500),
  packed: truth('VIRTIO_F_RING_PACKED: offer packed rings beside split ones.').default(true),
  mergeable: truth('VIRTIO_NET_F_MRG_RXBUF.').default(true),
  eventIdx: truth('VIRTIO_F_EVENT_IDX.').default(true),
  inOrder: truth('VIRTIO_F_IN_ORDER.').default(true),
  indirect: truth('VIRTIO_F_INDIRECT_DESC.').default(true),
  notify: oneOf(
    'a way to be notified',
    ['poll', 'adaptive', 'interrupt'],
    'How an lcore that parks learns that the guest has sent something.',
  ).default('adaptive'),
  offloads: truth('Checksums and segmentation may be left to the other side.').default(true),
});
