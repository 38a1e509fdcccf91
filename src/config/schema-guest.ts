import * as z from 'zod';
import { isPowerOfTwo } from '../util/bits.ts';
import { show } from './problems.ts';
import { address, mac, mapping, oneOf, rate, truth, whole } from './scalars.ts';
import { COUNT_MAX, common } from './schema-common.ts';

const WORDS = ['stack', 'sink', 'forward'] as const;

const source = mapping('a source', {
  to: address(undefined, 'Address to send UDP to; the guest asks for its MAC first.'),
  size: whole('a frame size', 60, 1514, 'Frame bytes without FCS.').default(60),
  flows: whole('a number of flows', 1, 16_384, 'Different source ports.').default(1),
  rate: z.exactOptional(rate('Packets per second; as many as it can when left out.')),
  limit: z.exactOptional(whole('a number of packets', 1, COUNT_MAX, 'Packets in all.')),
});

const app = z
  .union([z.enum(WORDS), source], {
    error: ({ input }) =>
      `${show(input)} is nothing that a guest does; use stack, sink or forward, or {to: ADDRESS} for one that sends`,
  })
  .meta({
    description:
      'stack: answer ARP, neighbor discovery, ping and UDP echo, take TCP. sink: drop. forward: send back. Or {to, size, flows, rate, limit}: send UDP.',
  });

/** A guest in this process, as it is written. */
export const guest = mapping('a guest port', {
  type: z.literal('guest'),
  ...common,
  layout: oneOf('a ring layout', ['packed', 'split'], 'Layout of the virtqueues.').default('packed'),
  queueSize: whole('a queue size', 2, 32_768, 'Descriptors of a virtqueue; a power of two when split.').default(256),
  queues: whole('a number of queue pairs', 1, 8, 'Queue pairs.').default(1),
  mac: z.exactOptional(mac('Address of the guest; made of its name when left out.', true)),
  ipv4: z.exactOptional(address(4, 'IPv4 address of the guest.')),
  ipv6: z.exactOptional(address(6, 'IPv6 address of the guest, beside the link-local one of its MAC.')),
  app: app.default('stack'),
  mtu: whole('an MTU', 68, 65_535, 'MTU that the device tells the guest.').default(1500),
  mergeable: truth('VIRTIO_NET_F_MRG_RXBUF.').default(true),
  eventIdx: truth('VIRTIO_F_EVENT_IDX.').default(true),
  inOrder: truth('VIRTIO_F_IN_ORDER.').default(true),
  indirect: truth('VIRTIO_F_INDIRECT_DESC.').default(true),
  offloads: truth('Checksums and segmentation may be left to the other side.').default(true),
  cpu: z.exactOptional(whole('a processor', 0, 1023, "Processor of the guest's thread.")),
  idle: z.exactOptional(
    oneOf('an idle strategy', ['spin', 'yield', 'park'], "What the guest's thread does when idle."),
  ),
}).superRefine(({ layout, queueSize }, context) => {
  if (layout === 'packed' || isPowerOfTwo(queueSize)) return;
  context.addIssue({
    code: 'custom',
    path: ['queueSize'],
    message: `${queueSize} is no power of two, which a split ring has; use one, or layout: packed`,
  });
});
