/** The schema of a file of tests of XDP programs. */
import * as z from 'zod';
import type { BtfValue } from '../bpf/object/values.ts';
import { XDP_ACTIONS } from '../xdp/actions.ts';
import { show } from './problems.ts';
import { list, mapping, oneOf, text, whole } from './scalars.ts';
import { COUNT_MAX, file, seed, U32_MAX } from './schema-common.ts';
import { frame, hexadecimal } from './schema-frame.ts';

const program = z.exactOptional(text('a program', 'the name of its function', 'Which of its programs; the only one.'));

const contents = (description: string) =>
  z
    .record(
      z.string(),
      z.record(z.string(), z.unknown(), {
        error: ({ input }) => `${show(input)} is no contents of a map; use a mapping of keys to values`,
      }),
      { error: ({ input }) => `${show(input)} is no set of maps; use a mapping of names to contents` },
    )
    .meta({ description })
    .default({});

const action = oneOf('an action', XDP_ACTIONS as ['ABORTED', ...typeof XDP_ACTIONS], 'What each packet must get.');

const counts = mapping(
  'a count of actions',
  Object.fromEntries(
    XDP_ACTIONS.map((name) => [name, z.exactOptional(whole('a count', 0, COUNT_MAX, 'Packets that must get it.'))]),
  ) as Record<(typeof XDP_ACTIONS)[number], z.ZodExactOptional<z.ZodInt>>,
);

const bytes = z.union([hexadecimal('The packet.'), frame], {
  error: ({ input }) => `${show(input)} is no packet; use hexadecimal bytes or a frame such as {ethernet, ipv4, udp}`,
});

const packet = mapping('a packet', {
  in: z.exactOptional(bytes),
  capture: z.exactOptional(file('A capture whose frames go in.')),
  frame: z.exactOptional(whole('a frame', 1, COUNT_MAX, 'The one frame of the capture that goes in, from 1.')),
  ifindex: whole('an interface', 0, U32_MAX, 'Number of the interface it comes in by.').default(1),
  rxQueue: whole('a queue', 0, U32_MAX, 'Number of the queue it comes in by.').default(0),
  egressIfindex: whole('an interface', 0, U32_MAX, 'Interface it leaves by, for programs of device maps.').default(0),
  cpu: whole('a CPU', 0, 255, 'CPU that it runs on.').default(0),
  now: z.exactOptional(whole('a time', 0, COUNT_MAX, 'The time that the program sees, in nanoseconds.')),
  action: z.exactOptional(
    z.union([action, counts], {
      error: ({ input }) => `${show(input)} is no action; use ${XDP_ACTIONS.join(', ')}, or counts such as {DROP: 3}`,
    }),
  ),
  out: z.exactOptional(
    z.union([z.literal('same'), bytes], {
      error: ({ input }) => `${show(input)} is no packet; use same, hexadecimal bytes or a frame`,
    }),
  ),
  outCapture: z.exactOptional(file('A capture of the packets that must leave.')),
  redirect: z.exactOptional(
    mapping('redirect', {
      to: z.exactOptional(oneOf('a kind of target', ['interface', 'cpu', 'socket'], 'What kind of target.')),
      target: z.exactOptional(whole('a target', 0, U32_MAX, 'Number of the interface, CPU or socket.')),
      map: z.exactOptional(text('a map', 'its name', 'The map that the target is from.')),
      key: z.exactOptional(whole('a key', 0, U32_MAX, 'Its key there.')),
    }),
  ),
  log: z.exactOptional(list(z.string(), 0, 1000, 'lines', 'All that it must say with trace_printk.')),
}).superRefine((given, context) => {
  const isPacket = given.in !== undefined;
  const refuse = (message: string): void => context.addIssue({ code: 'custom', message });
  if (isPacket === (given.capture !== undefined)) refuse('has no packet, or two; give in or capture');
  if (given.frame !== undefined && given.capture === undefined) refuse('has frame without capture; give both');
  if (given.out !== undefined && given.outCapture !== undefined) refuse('has out and outCapture; give one of them');
});

/** One test. */
const test = mapping('a test', {
  name: text('a name', 'a sentence', 'What the program does then.'),
  program,
  maps: contents('What is put into its maps before.'),
  packets: list(packet, 1, 10_000, 'packets', 'What goes in, one after another.'),
  after: contents('What its maps must hold afterwards; null for an entry that must not be there.'),
});

/** A file of tests. */
export const xdpSpecSchema = mapping('a file of XDP tests', {
  object: file('The eBPF object file.'),
  program,
  cpus: whole('a number of CPUs', 1, 256, 'CPUs that maps have values for.').default(1),
  seed: seed('Seed of random numbers and hashes.').default(1),
  variables: z
    .record(z.string(), z.custom<BtfValue>(), {
      error: ({ input }) => `${show(input)} is no set of variables; use a mapping of names to values`,
    })
    .meta({ description: 'Values of global variables by name.' })
    .default({}),
  maps: contents('What is put into maps before each test.'),
  tests: list(test, 1, 10_000, 'tests', 'The tests.'),
});

export type ParsedXdpSpec = z.output<typeof xdpSpecSchema>;
