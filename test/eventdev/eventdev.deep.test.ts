import { expect, test } from 'vitest';
import { EventPipeline } from '../support/event-pipeline.ts';
import { EventSimulation } from '../support/event-scenario.ts';
import { compileTraced } from '../support/kernels.ts';
import { expectFound, explorePlanted } from '../support/planted.ts';
import { interleavedPipeline } from './support/interleave.ts';
import { ORDERED_FAULTS } from './support/planted.ts';
import { runStress } from './support/stress.ts';

/** Events of each of the runs on threads. RINGWAY_EVENTS=1000000000 makes them long ones. */
const EVENTS = Number(process.env.RINGWAY_EVENTS ?? 10_000_000);
/** What a run of so many may take: a tenth of the pace of two slow cores. */
const SECONDS = 60 + EVENTS / 40_000;
const MINUTES = 60_000;

// The first seven run 1,000,000 schedules in all.

test.each([
  ['2 ports', { ports: 2 }, 400_000],
  ['3 ports', { ports: 3 }, 150_000],
  ['4 ports, two priorities', { ports: 4, priorities: true }, 50_000],
  ['2 ports, changing links', { ports: 2, links: true }, 40_000],
  ['3 ports, changing links, two priorities', { ports: 3, links: true, priorities: true }, 10_000],
])(
  '%s: flows stay atomic and in order',
  (_, options, schedules) => {
    const bench = new EventSimulation({ events: 3, ...options });
    bench.simulation.explore(schedules);
    expect(bench.migrations).toBeGreaterThan(schedules);
  },
  15 * MINUTES,
);

test.each([
  [2, 1, 250_000],
  [3, 2, 100_000],
])(
  '%i ports, %i flows: what leaves the ordered queue is in the order of what entered it',
  (ports, flows, schedules) => {
    new EventPipeline({ ports, flows, events: 8 }).simulation.explore(schedules);
  },
  15 * MINUTES,
);

test.each([
  [2, 1, 4000],
  [3, 2, 2000],
])(
  '%i ports, %i flows: whatever the order of accesses, events keep theirs',
  async (ports, flows, schedules) => {
    const module = await compileTraced({ folders: ['eventdev', 'ring'], pausable: true });
    interleavedPipeline({ ports, flows, events: 10 }, module).simulation.explore(schedules);
  },
  15 * MINUTES,
);

test.each(ORDERED_FAULTS)('it is found when %s', async (_, mutation, reason) => {
  const planted = await compileTraced({ folders: ['eventdev', 'ring'], pausable: true, mutations: [mutation] });
  const { simulation } = interleavedPipeline({ ports: 3, flows: 1, events: 16 }, planted);
  expectFound(explorePlanted(simulation, 1000), reason);
});

test.each([
  [2, false],
  [2, true],
])(
  '%i threads, ordered %s: every event, and each flow in its order',
  async (ports, ordered) => {
    await runStress({ ports, events: EVENTS, ordered, seconds: SECONDS });
  },
  SECONDS * 1100,
);
