import * as z from 'zod';
import { show } from './problems.ts';
import { duration, list, mapping, probability, rate, text, truth, whole } from './scalars.ts';
import { xdp } from './schema-xdp.ts';

/** The largest u32. */
export const U32_MAX = 2 ** 32 - 1;
/** Packets that can be counted. */
export const COUNT_MAX = Number.MAX_SAFE_INTEGER;

/** A u32 that seeds something random. */
export const seed = (description: string) => whole('a seed', 0, U32_MAX, description);
const vlanId = (description: string) => whole('a VLAN', 1, 4094, description);
/** A path. */
export const file = (description: string) => text('a path', 'a path, relative to this file or absolute', description);

const vlan = mapping('vlan', {
  access: z.exactOptional(vlanId('Untagged frames of this port belong to this VLAN.')),
  trunk: z.exactOptional(
    z
      .union(
        [
          z.literal('all'),
          list(vlanId('A VLAN that passes.'), 1, 4094, 'a list of VLANs', 'The VLANs that pass tagged.'),
        ],
        { error: ({ input }) => `${show(input)} is not a set of VLANs; use all, or a list such as [10, 20]` },
      )
      .meta({ description: 'Tagged frames of all VLANs, or of these, pass.' }),
  ),
  native: z.exactOptional(vlanId('VLAN of the untagged frames of a trunk.')),
})
  .transform((input, context) => {
    const { access, trunk = 'all' as const, native } = input;
    if (access === undefined) return native === undefined ? { trunk } : { trunk, native };
    if (input.trunk === undefined && native === undefined) return { access };
    const message = 'has access and trunk (or native); use access for one VLAN, trunk for several';
    context.addIssue({ code: 'custom', message });
    return z.NEVER;
  })
  .meta({ description: 'VLANs of the port: access, or trunk and native.' });

const fault = mapping('fault', {
  loss: probability('Packets lost.').default(0),
  duplicate: probability('Packets that come twice.').default(0),
  reorder: probability('Packets that up to eight later ones overtake.').default(0),
  corrupt: probability('Packets with a bit flipped.').default(0),
  delay: duration(0, 60, '0s to 60s', 'Time that each packet is held.').default(0),
  seed: z.exactOptional(seed('Seed of these faults.')),
}).meta({ description: 'Faults to inject into what passes the port, both ways.' });

/** What every port has. */
export const common = {
  lcore: z.exactOptional(whole('an lcore', 0, 63, 'Index of the lcore that serves the port.')),
  learn: truth('Learn source MAC addresses here.').default(true),
  vlan: vlan.default({ trunk: 'all' }),
  storm: z.exactOptional(rate('Most flooded frames per second that enter here.')),
  fault: z.exactOptional(fault),
  tap: z.exactOptional(file('A capture that records everything that passes the port.')),
  xdp: z.exactOptional(xdp),
  gro: z.exactOptional(
    truth('Merge consecutive TCP segments that arrive here into longer packets; false when missing.'),
  ),
};

/** Of a port with one queue. */
export const oneQueue = {
  queues: whole(
    'a number of queues (only generators and guests may have more than 1)',
    1,
    1,
    'Queues of the port.',
  ).default(1),
};
