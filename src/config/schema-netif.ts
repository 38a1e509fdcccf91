import * as z from 'zod';
import { mapping, oneOf, text, truth, whole } from './scalars.ts';
import { common } from './schema-common.ts';

/** IFNAMSIZ is 16, with a zero; the kernel takes no `/`, no `:` and no white space (dev_valid_name). */
const name = text(
  'an interface',
  "an interface's name of 1 to 15 bytes, without /, : and spaces",
  'Name of the interface.',
).regex(/^[^\s/:]{1,15}$/, {
  error: ({ input }) =>
    `${JSON.stringify(input)} is no name of an interface; use 1 to 15 bytes without /, : and spaces`,
});

const queues = (description: string) => whole('a number of queues', 1, 16, description).default(1);

/** A tap, as it is written. */
export const tap = mapping('a tap port', {
  type: z.literal('tap'),
  ...common,
  interface: name,
  queues: queues('Queues of the tap.'),
  offloads: truth('Checksums and segmentation may be left to the other side.').default(true),
});

/** A network interface of the system by packet sockets, as it is written. */
export const afPacket = mapping('an af-packet port', {
  type: z.literal('af-packet'),
  ...common,
  interface: name,
  queues: queues('Sockets that share what arrives by flow.'),
  promiscuous: truth('Also frames that are for others.').default(true),
});

/** A network interface of the system by XDP sockets, as it is written. */
export const afXdp = mapping('an af-xdp port', {
  type: z.literal('af-xdp'),
  ...common,
  interface: name,
  queues: queues('Receive queues of the interface, from its first one on: all that it has.'),
  mode: oneOf(
    'a mode',
    ['auto', 'copy', 'zero-copy'],
    'Whether the kernel copies frames, or the driver uses the buffers; auto is as the driver can.',
  ).default('auto'),
});
