import * as z from 'zod';
import { isPowerOfTwo } from '../util/bits.ts';
import { mac, mapping, oneOf, truth, whole } from './scalars.ts';
import { common, file } from './schema-common.ts';

const MODES = ['server', 'client'] as const;

const notify = oneOf(
  'a way to be notified',
  ['poll', 'adaptive', 'interrupt'],
  'How an lcore that parks learns that the other side has sent something.',
).default('adaptive');

/** What both ends have. */
const features = {
  packed: truth('VIRTIO_F_RING_PACKED: packed rings where both sides have them, else split ones.').default(true),
  mergeable: truth('VIRTIO_NET_F_MRG_RXBUF.').default(true),
  eventIdx: truth('VIRTIO_F_EVENT_IDX.').default(true),
  inOrder: truth('VIRTIO_F_IN_ORDER.').default(true),
  offloads: truth('Checksums and segmentation may be left to the other side.').default(true),
};

/** The network device of a virtual machine, as it is written. */
export const vhostUser = mapping('a vhost-user port', {
  type: z.literal('vhost-user'),
  ...common,
  socket: file('The socket that the virtual machine and this port meet at.'),
  mode: oneOf('a mode', MODES, 'Listen at the socket, or connect to who listens there.').default('server'),
  queues: whole('a number of queue pairs', 1, 8, 'Queue pairs at most.').default(1),
  queueSize: whole('a queue size', 2, 32_768, 'Descriptors of a virtqueue at most.').default(1024),
  mac: z.exactOptional(mac('Address that the device tells a driver that asks; made of its name when left out.', true)),
  mtu: whole('an MTU', 68, 65_535, 'MTU that the device tells the guest.').default(1500),
  ...features,
  indirect: truth('VIRTIO_F_INDIRECT_DESC.').default(true),
  notify,
});

/** The driver of a network device in another process, as it is written. */
export const virtioUser = mapping('a virtio-user port', {
  type: z.literal('virtio-user'),
  ...common,
  socket: file('The socket that the backend and this port meet at.'),
  mode: oneOf('a mode', MODES, 'Listen at the socket, or connect to the backend that listens there.').default('client'),
  queues: whole('a number of queue pairs', 1, 8, 'Queue pairs at most.').default(1),
  queueSize: whole('a queue size', 2, 32_768, 'Descriptors of a virtqueue, a power of two.').default(256),
  mac: z.exactOptional(mac("Address that is announced in the backend's network; none when left out.", true)),
  mtu: whole('an MTU', 68, 65_535, 'MTU that the backend is told.').default(1500),
  ...features,
  notify,
}).superRefine(({ queueSize }, context) => {
  if (isPowerOfTwo(queueSize)) return;
  context.addIssue({
    code: 'custom',
    path: ['queueSize'],
    message: `${queueSize} is no power of two, which split rings have; use one`,
  });
});
