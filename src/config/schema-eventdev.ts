import * as z from 'zod';
import { show } from './problems.ts';
import { bytes, list, mapping, oneOf, text, whole } from './scalars.ts';

/** As QUEUES_MAX and IN_FLIGHT_MAX of `eventdev/layout.ts`. */
const QUEUES = 16;
const IN_FLIGHT = 16384;

const moduleStage = mapping('a stage', {
  module: text('a module', 'the path or the file: URL of an ES module', 'Path or URL of an ES module that makes it.'),
  options: z
    .record(z.string(), z.unknown(), { error: ({ input }) => `${show(input)} is no set of options; use a mapping` })
    .meta({ description: 'Handed to the module as it stands.' })
    .default({}),
  memory: bytes(0, 2 ** 30, '0 to 1GiB', 'Bytes that the stage has on all workers together, zeroed.').default(0),
});

const stage = z.union([z.literal('switch'), moduleStage], {
  error: ({ input }) => `${show(input)} is not a stage; use switch, or {module: PATH}`,
});

const workers = z
  .union(
    [
      whole('a number of workers', 1, 63, 'Number of workers.'),
      list(whole('an lcore', 0, 63, 'Index of an lcore.'), 1, 63, 'a list of lcores', 'Lcores that are workers.'),
    ],
    {
      error: ({ input }) =>
        input === undefined
          ? 'is missing; give how many of the lcores, or a list such as [2, 3]'
          : `${show(input)} is not a set of workers; use how many of the lcores, or a list such as [2, 3]`,
    },
  )
  .meta({ description: 'Lcores that serve the stages: how many of the last ones, or which. The others serve ports.' });

/** How packets are spread over lcores, as it is written. Whether it fits the lcores and ports is checked elsewhere. */
export const eventdevSchema = mapping('eventdev', {
  workers,
  stages: list(
    stage,
    1,
    QUEUES - 1,
    'a list of stages',
    'Stages that each packet passes in turn; the last is switch.',
  ).default(['switch']),
  schedule: oneOf(
    'a schedule',
    ['atomic', 'parallel'],
    'A flow is at one worker at a time and in order (atomic), or anywhere (parallel).',
  ).default('atomic'),
  migration: oneOf(
    'a strategy',
    ['flow-group', 'single-flow'],
    'What a busy worker moves: up to 8 flows at once, or one.',
  ).default('flow-group'),
  newEventsLimit: z.exactOptional(
    whole('a number of events', 1, IN_FLIGHT, 'Packets that may be on their way through the stages.'),
  ),
  flowHashBits: z.exactOptional(
    z
      .literal([13, 15], { error: ({ input }) => `${show(input)} is not a number of bits; use 13 or 15` })
      .meta({ description: 'Bits that flow hashes are folded to: 13 or 15.' }),
  ),
}).superRefine(({ stages }, context) => {
  for (const [index, given] of stages.entries()) {
    const isLast = index === stages.length - 1;
    if ((given === 'switch') === isLast) continue;
    const message = isLast
      ? 'is a module and the last stage; put switch behind it'
      : 'is switch and not the last stage; packets leave the stages there';
    context.addIssue({ code: 'custom', path: ['stages', index], message });
  }
});

/** An event device that `eventdevSchema` accepted. */
export type ParsedEventdev = z.output<typeof eventdevSchema>;
