import * as z from 'zod';
import { show } from './problems.ts';
import { mapping, oneOf, text, whole } from './scalars.ts';

const moduleEngine = mapping('an engine', {
  module: text('a module', 'the path or the file: URL of an ES module', 'Path or URL of an ES module that copies.'),
  options: z
    .record(z.string(), z.unknown(), { error: ({ input }) => `${show(input)} is no set of options; use a mapping` })
    .meta({ description: 'Handed to the module as it stands.' })
    .default({}),
});

const engine = z
  .union([z.enum(['worker', 'cpu']), moduleEngine], {
    error: ({ input }) => `${show(input)} is not an engine; use worker, cpu, or {module: PATH}`,
  })
  .meta({
    description:
      'Who copies. worker: a thread for each engine. cpu: the lcore itself. Or {module, options}: a thread that runs it.',
  });

/** Who notices that copies are done; can change while a dataplane runs. */
export const integration = oneOf(
  'an integration',
  ['defer', 'v3', 'v4', 'vq'],
  'Who notices that copies are done: the lcore that sent (defer), who receives from the port (v3; v4 with a ring before it), or the queue (vq).',
);

/** How copies into and out of guests are done, as it is written. */
export const asyncSchema = mapping('async', {
  integration: integration.default('defer'),
  assignment: oneOf(
    'an assignment',
    ['lcore', 'vring', 'dynamic-lcore', 'dynamic-vring'],
    'Who has which engine: each lcore one, each queue one in turn, or shared out evenly by lcores or by queues as they come and go.',
  ).default('lcore'),
  engine: engine.default('worker'),
  engines: z.exactOptional(whole('a number of engines', 1, 64, 'Number of engines; one for each lcore when left out.')),
  threshold: whole('a number of bytes', 0, 65_535, 'Copies of fewer bytes are left to the CPU.').default(128),
  attempts: whole('a number of looks', 1, 1024, 'Of defer: looks at work that is not done, in one go.').default(1),
  delay: whole('a number of loops', 0, 1024, 'Of defer: loops of the lcore between two looks at its work.').default(0),
  ringFull: oneOf(
    'an answer',
    ['wait', 'drop'],
    'Of v4: what becomes of packets that find the ring before a queue full.',
  ).default('wait'),
});

/** What `asyncSchema` accepted. */
export type ParsedAsync = z.output<typeof asyncSchema>;
