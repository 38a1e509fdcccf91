import { expect, test } from 'vitest';
import { EventPipeline } from '../support/event-pipeline.ts';
import type { Mutation } from '../support/kernels.ts';
import { expectFound, explorePlanted } from '../support/planted.ts';
import { mutantArena } from './support/mutant.ts';

test.each([
  [2, 1, 60],
  [3, 3, 50],
  [4, 2, 25],
  [8, 4, 6],
])(
  '%i ports, %i flows: what leaves the ordered queue is in the order of what entered it',
  (ports, flows, schedules) => {
    const bench = new EventPipeline({ ports, flows, events: 30 });
    bench.simulation.explore(schedules);
    expect(bench.migrations).toBeGreaterThan(schedules);
  },
);

const file = 'eventdev/ordered.kernel.ts';
test.each<[string, Mutation, RegExp]>([
  [
    'the lock is given back before what was drained is sent',
    {
      file,
      from: '    flushOutputs(port);\n    atomic.store<u32>(ring, 0, ORDERED_LOCK);',
      to: '    atomic.store<u32>(ring, 0, ORDERED_LOCK);',
    },
    /came instead of/,
  ],
])('it is found when %s', async (_, mutation, reason) => {
  const bench = new EventPipeline({ ports: 3, flows: 2, events: 30, arena: await mutantArena([mutation]) });
  expectFound(explorePlanted(bench.simulation, 60), reason);
});
