import * as z from 'zod';
import { show } from './problems.ts';
import {
  bytes,
  duration,
  list,
  mac,
  mapping,
  NAME,
  NAME_ALLOWED,
  oneOf,
  portName,
  prefix,
  text,
  whole,
} from './scalars.ts';
import { asyncSchema } from './schema-async.ts';
import { seed } from './schema-common.ts';
import { disk } from './schema-disk.ts';
import { eventdevSchema } from './schema-eventdev.ts';
import { portSchema } from './schema-port.ts';
import { steeringSchema } from './schema-steering.ts';
import type { LcoreConfig, MetricsConfig } from './types.ts';

const MIB = 2 ** 20;
const GIB = 2 ** 30;

const lcore = mapping('an lcore', {
  cpu: z.exactOptional(whole('a processor', 0, 1023, 'The processor to stay on.')),
  idle: z.exactOptional(
    oneOf('an idle strategy', ['spin', 'yield', 'park'], 'What to do when there is nothing to do.'),
  ),
});

const lcores = z
  .union([whole('a number of lcores', 1, 64, 'Number of lcores.'), list(lcore, 1, 64, 'a list of lcores', 'Lcores.')], {
    error: ({ input }) => `${show(input)} is not a number of lcores; use 1 to 64, or a list of {cpu, idle}`,
  })
  .meta({ description: 'Worker threads: how many, or a list of {cpu, idle}.' })
  .transform((input): LcoreConfig[] => (typeof input === 'number' ? Array.from({ length: input }, () => ({})) : input));

const ports = z
  .record(
    z.string().regex(NAME, { error: ({ input }) => `${show(input)} is not a port name; use ${NAME_ALLOWED}` }),
    portSchema,
    {
      error: ({ input }) =>
        input === undefined
          ? 'is missing; name at least one port'
          : `${show(input)} is not a set of ports; use a mapping of names to ports`,
    },
  )
  .superRefine((given, context) => {
    const count = Object.keys(given).length;
    if (count >= 1 && count <= 255) return;
    context.addIssue({ code: 'custom', message: `has ${count} ports; use 1 to 255` });
  })
  .meta({ description: 'The ports, by name.' });

const staticMac = mapping('a static entry', {
  mac: mac('The MAC address.', true),
  vlan: whole('a VLAN', 0, 4094, 'Its VLAN; 0 is none.').default(0),
  port: portName('Where it is.'),
});

const route = mapping('a route', {
  prefix: prefix('Destination prefix.'),
  port: portName('Where its packets go.'),
  mac: z.exactOptional(mac("The next hop's MAC.", true)),
  via: z.exactOptional(text('a note', 'a few words', 'A note for people.')),
});

const mirror = mapping('a mirror', {
  from: portName('The port that is copied.'),
  to: portName('The port that gets the copies.'),
  direction: oneOf('a direction', ['rx', 'tx', 'both'], 'Which way.').default('both'),
}).superRefine(({ from, to }, context) => {
  if (from !== to) return;
  context.addIssue({ code: 'custom', path: ['to'], message: `${show(to)} is the port that is copied; use another` });
});

/** The settings of a switch that can change while it runs. */
export const ageing = duration(1, 1e6, '1s to 1000000s', 'When a MAC address that was not seen is forgotten.');
export const reserved = oneOf('an answer', ['drop', 'forward'], 'What becomes of frames to 01:80:c2:00:00:00 … 0f.');

const TABLE_MAX = 4096;
const switching = mapping('switch', {
  ageing: ageing.default(300),
  macs: whole('a table size', 64, 1_048_576, 'Entries of the MAC table.').default(8192),
  reserved: reserved.default('drop'),
  static: list(staticMac, 0, TABLE_MAX, 'a list of static entries', 'MAC addresses that stay.').default([]),
  routes: list(route, 0, TABLE_MAX, 'a list of routes', 'IP routes.').default([]),
  routerMac: z.exactOptional(mac('The MAC that the router answers to.', true)),
  mirrors: list(mirror, 0, 255, 'a list of mirrors', 'Copies of what passes a port.').default([]),
}).superRefine(({ routes, routerMac }, context) => {
  if (routes.length === 0 || routerMac !== undefined) return;
  context.addIssue({
    code: 'custom',
    path: ['routerMac'],
    message: 'is missing and there are routes; give the MAC that the router answers to',
  });
});

const disks = z
  .record(
    z.string().regex(NAME, { error: ({ input }) => `${show(input)} is not a name of a disk; use ${NAME_ALLOWED}` }),
    disk,
    { error: ({ input }) => `${show(input)} is not a set of disks; use a mapping of names to disks` },
  )
  .meta({ description: 'Disks of virtual machines, by name.' });

const LOOPBACK = '127.0.0.1';

function parseListen(input: string | number): MetricsConfig | undefined {
  const match = /^(?:(?:\[([0-9a-f:.]+)\]|([^:[\]\s/]{1,253})):|:)?(\d{1,5})$/i.exec(String(input));
  if (match === null) return undefined;
  const port = Number(match[3]);
  return port <= 65535 ? { host: match[1] ?? match[2] ?? LOOPBACK, port } : undefined;
}

const metrics = mapping('metrics', {
  listen: z
    .union([z.string(), z.number()], {
      error: ({ input }) => `${show(input)} is not an address; use one such as 127.0.0.1:9464`,
    })
    .meta({ description: 'Where the metrics are served: a port on 127.0.0.1, or HOST:PORT.' })
    .transform((input, context): MetricsConfig => {
      const parsed = parseListen(input);
      if (parsed !== undefined) return parsed;
      const message = `${show(input)} is not an address; use HOST:PORT or a port from 0 to 65535, such as 127.0.0.1:9464`;
      context.addIssue({ code: 'custom', message });
      return z.NEVER;
    }),
}).transform(({ listen }) => listen);

/** A whole configuration as it is written. */
export const configSchema = mapping('the configuration', {
  version: z
    .literal(1, {
      error: ({ input }) =>
        input === undefined ? 'is missing; write version: 1' : `${show(input)} is not a known version; use 1`,
    })
    .meta({ description: 'Version of the format: 1.' }),
  name: z.exactOptional(
    z
      .string({ error: ({ input }) => `${show(input)} is not a name; use ${NAME_ALLOWED}` })
      .regex(NAME, { error: ({ input }) => `${show(input)} is not a name; use ${NAME_ALLOWED}` })
      .meta({ description: 'Name of the dataplane: its control socket and its metrics.' }),
  ),
  lcores: lcores.prefault(1),
  memory: bytes(16 * MIB, 4 * GIB, '16MiB to 4GiB', 'Most memory that packets and tables may take.').default(GIB),
  buffers: z.exactOptional(whole('a number of buffers', 0, 1_048_576, 'Packet buffers besides those that are needed.')),
  seed: seed('Seed of everything random.').default(1),
  ports,
  switch: switching.meta({ description: 'How packets find their way.' }).prefault({}),
  steering: list(
    steeringSchema,
    0,
    TABLE_MAX,
    'a list of rules',
    'Rules in order; the first that matches decides.',
  ).default([]),
  eventdev: z.exactOptional(
    eventdevSchema.meta({ description: 'An event device that spreads packets over lcores, flow by flow.' }),
  ),
  async: z.exactOptional(asyncSchema.meta({ description: 'Engines that copy into and out of the memory of guests.' })),
  disks: disks.default({}),
  metrics: z.exactOptional(metrics.meta({ description: 'Counters over HTTP, for Prometheus.' })),
});

/** A configuration that `configSchema` accepted. */
export type ParsedConfig = z.output<typeof configSchema>;
