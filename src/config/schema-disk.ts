import { isPowerOfTwo } from '../util/bits.ts';
import { mapping, oneOf, truth, whole } from './scalars.ts';
import { file } from './schema-common.ts';

/** A disk of a virtual machine, as it is written. */
export const disk = mapping('a disk', {
  socket: file('The socket that the virtual machine and this disk meet at.'),
  mode: oneOf('a mode', ['server', 'client'], 'Listen at the socket, or connect to who listens there.').default(
    'server',
  ),
  file: file('The file whose bytes are the sectors of the disk.'),
  readOnly: truth('Refuse to write.').default(false),
  queues: whole('a number of queues', 1, 8, 'Queues of the disk at most.').default(1),
  queueSize: whole('a queue size', 2, 32_768, 'Descriptors of a queue at most: a power of two.').default(256),
  packed: truth('VIRTIO_F_RING_PACKED: offer packed rings beside split ones.').default(true),
}).superRefine(({ queueSize }, context) => {
  if (isPowerOfTwo(queueSize)) return;
  context.addIssue({ code: 'custom', path: ['queueSize'], message: `${queueSize} is no power of two; use one` });
});
