import * as z from 'zod';
import { parsePrefix } from '../util/addresses.ts';
import { nearest } from '../util/nearest.ts';
import { show } from './problems.ts';
import { list, mac, mapping, oneOf, prefix, rate, speed, text, whole } from './scalars.ts';
import { COUNT_MAX, common, file, oneQueue, seed, U32_MAX } from './schema-common.ts';
import { guest } from './schema-guest.ts';
import { afPacket, afXdp, tap } from './schema-netif.ts';
import { vhostUser, virtioUser } from './schema-vhost.ts';
import { xenNetback, xenNetfront } from './schema-xen.ts';

const capture = mapping('a capture port', {
  type: z.literal('capture'),
  ...common,
  ...oneQueue,
  path: z.exactOptional(file('The pcap or pcapng file to replay.')),
  write: z.exactOptional(file('The file to record to; missing directories are made.')),
  speed: speed('full, recorded, or a factor such as 2x.').default('full'),
  loop: whole('a number of times', 0, U32_MAX, 'Times to replay the file; 0 is forever.').default(1),
  limit: z.exactOptional(whole('a number of packets', 1, COUNT_MAX, 'Packets to replay at most.')),
  format: z.exactOptional(oneOf('a capture format', ['pcap', 'pcapng'], 'Format of the file that is written.')),
}).superRefine(({ path, write }, context) => {
  if (path !== undefined || write !== undefined) return;
  context.addIssue({
    code: 'custom',
    message: 'has neither path nor write; give a file to replay or one to record to',
  });
});

const frameBytes = (description: string) => whole('a frame size', 60, 9000, description);
const weighted = mapping('a weighted size', {
  size: frameBytes('Frame bytes without FCS.'),
  weight: whole('a weight', 1, 1_000_000, 'How often this size comes, relative to the others.'),
});
const size = z
  .union([frameBytes('Frame bytes without FCS.'), z.literal('imix'), list(weighted, 1, 64, 'a mix', 'A mix.')], {
    error: ({ input }) => `${show(input)} is not a frame size; use 60 to 9000 bytes, imix, or a list of {size, weight}`,
  })
  .meta({ description: 'Frame bytes without FCS: one size, imix, or a list of {size, weight}.' });

const macCount = (description: string) => whole('a number of MAC addresses', 1, 65536, description);

/** The benchmarking networks of RFC 2544 (appendix C.2.2) and RFC 5180 (section 8), cut in two. */
const NETWORKS = {
  4: { src: '198.18.0.0/16', dst: '198.19.0.0/16' },
  6: { src: '2001:2:0:1::/64', dst: '2001:2:0:2::/64' },
} as const;

const generator = mapping('a generator port', {
  type: z.literal('generator'),
  ...common,
  queues: whole('a number of queues', 1, 16, 'Queues of the port.').default(1),
  flows: whole('a number of flows', 1, 65536, 'Different flows.').default(64),
  zipf: z
    .number({ error: ({ input }) => `${show(input)} is not an exponent; use 0 (uniform) to 4` })
    .min(0, { error: ({ input }) => `${show(input)} is not an exponent; use 0 (uniform) to 4` })
    .max(4, { error: ({ input }) => `${show(input)} is not an exponent; use 0 (uniform) to 4` })
    .meta({ description: 'Exponent of the Zipf distribution of packets over flows; 0 is uniform.' })
    .default(0),
  size: size.default(60),
  rate: z.exactOptional(rate('Packets per second in all.')),
  limit: z.exactOptional(whole('a number of packets', 1, COUNT_MAX, 'Packets in all.')),
  seed: z.exactOptional(seed('Seed of the flows and their order.')),
  srcMac: z.exactOptional(mac('The first source MAC.', true)),
  dstMac: z.exactOptional(mac('The first destination MAC.')),
  srcMacs: macCount('Different source MACs.').default(1),
  dstMacs: macCount('Different destination MACs.').default(1),
  src: z.exactOptional(prefix('Prefix of the source addresses.')),
  dst: z.exactOptional(prefix('Prefix of the destination addresses.')),
  protocol: oneOf('a protocol', ['udp', 'tcp'], 'Protocol of the flows.').default('udp'),
}).transform((port, context) => {
  const families = [port.src, port.dst].map((given) => (given === undefined ? undefined : parsePrefix(given)?.family));
  const networks = NETWORKS[families[0] ?? families[1] ?? 4];
  const { src = networks.src, dst = networks.dst } = port;
  if (families[0] !== undefined && families[1] !== undefined && families[0] !== families[1]) {
    const message = `has src ${src} and dst ${dst}, of different families; use two of IPv4 or two of IPv6`;
    context.addIssue({ code: 'custom', message });
    return z.NEVER;
  }
  return { ...port, src, dst };
});

/** In YAML a bare `null` is no text, and people write it bare. */
const NULL_TYPES = ['null', null] as const;
const nothing = mapping('a null port', { type: z.literal(NULL_TYPES), ...common, ...oneQueue }).transform((port) => ({
  ...port,
  type: 'null' as const,
}));

const module = mapping('a module port', {
  type: z.literal('module'),
  ...common,
  ...oneQueue,
  module: text('a module', 'the path or the file: URL of an ES module', 'Path or URL of an ES module.'),
  options: z
    .record(z.string(), z.unknown(), { error: ({ input }) => `${show(input)} is no set of options; use a mapping` })
    .meta({ description: 'Handed to the module as it stands.' })
    .default({}),
});

const TYPES = [
  'af-packet',
  'af-xdp',
  'capture',
  'generator',
  'guest',
  'module',
  'null',
  'tap',
  'vhost-user',
  'virtio-user',
  'xen-netback',
  'xen-netfront',
];

/** A port as it is written, without its name. */
export const portSchema = z.discriminatedUnion(
  'type',
  [capture, generator, guest, nothing, module, vhostUser, virtioUser, xenNetback, xenNetfront, afPacket, afXdp, tap],
  {
    error: ({ input }) => {
      if (typeof input !== 'object' || input === null || Array.isArray(input)) {
        return `${show(input)} is not a port; use a mapping with a type`;
      }
      const { type } = input as { type?: unknown };
      const near = typeof type === 'string' ? nearest(type, TYPES) : undefined;
      const hint = near === undefined ? '' : `; did you mean ${JSON.stringify(near)}?`;
      const got = type === undefined ? 'is missing' : `${show(type)} is not a type of port`;
      return `${got}; use one of ${TYPES.join(', ')}${hint}`;
    },
  },
);

/** A port that `portSchema` accepted. */
export type ParsedPort = z.output<typeof portSchema>;
