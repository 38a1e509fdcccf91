import * as z from 'zod';
import { list, mapping, oneOf, text, truth, whole } from './scalars.ts';
import { common } from './schema-common.ts';

const PATHS = ['staging', 'persistent', 'control', 'data-ring'] as const;

/** What both ends have. */
const both = {
  ...common,
  queues: whole('a number of queues', 1, 8, 'Queues at most; the end with fewer decides.').default(1),
  ringOrder: whole('a ring order', 0, 4, 'Pages of each ring, as a power of two.').default(0),
  offloads: truth('Checksums, segments and packets of more than a page may be left to this end.').default(true),
};

/** The backend of a Xen network device, as it is written. */
export const xenNetback = mapping('a xen-netback port', {
  type: z.literal('xen-netback'),
  ...both,
  xen: oneOf(
    'a Xen',
    ['process', 'system'],
    'The Xen in this process, or the one that this system is domain 0 of.',
  ).default('process'),
  paths: list(
    oneOf('a path', PATHS, 'A way for packets to get across.'),
    0,
    PATHS.length,
    'a set of paths',
    'How packets may get across, beside copies by grant.',
  ).default([...PATHS]),
});

/** The frontend of a Xen network device, as it is written. */
export const xenNetfront = mapping('a xen-netfront port', {
  type: z.literal('xen-netfront'),
  ...both,
  backend: text('a port', 'the name of a xen-netback port', 'The xen-netback port that is the other end.'),
  path: oneOf('a path', ['copy', ...PATHS], 'How packets get across, where the backend can.').default('staging'),
  hash: truth('The backend is asked for the hash of each packet, and spreads packets over queues by it.').default(
    false,
  ),
  txDataLength: whole('a number of bytes', 0, 65_536, 'Bytes of each packet to the backend that are staged.').default(
    256,
  ),
  rxDataLength: whole('a number of bytes', 0, 65_536, 'Bytes of each packet from the backend that are staged.').default(
    256,
  ),
  dataRingOrder: whole(
    'a data ring order',
    1,
    9,
    'Pages of the data ring, as a power of two, half of them each way.',
  ).default(5),
});
