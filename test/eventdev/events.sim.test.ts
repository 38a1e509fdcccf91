import { expect, test } from 'vitest';
import { effort, someOf } from '../support/effort.ts';
import { EventSimulation, type LinkFault } from '../support/event-scenario.ts';
import type { Mutation } from '../support/kernels.ts';
import { expectFound, explorePlanted } from '../support/planted.ts';
import { mutantArena } from './support/mutant.ts';

const file = 'eventdev/move.kernel.ts';

test.each([
  [2, effort(50, 400)],
  [3, effort(40, 300)],
  [4, effort(20, 150)],
  [8, effort(5, 40)],
])('%i ports: flows stay atomic and in order, credits and events are kept, moves end', (ports, schedules) => {
  const bench = new EventSimulation({ ports, events: 20 });
  bench.simulation.explore(schedules);
  expect(bench.migrations).toBeGreaterThan(schedules * 2);
});

test.each([
  [2, effort(15, 60)],
  [3, effort(15, 60)],
  [5, effort(5, 20)],
])('%i ports whose links come and go: none of that shows, and unlinked ones get nothing', (ports, schedules) => {
  const bench = new EventSimulation({ ports, events: 10, links: true });
  bench.simulation.explore(schedules);
  expect(bench.changes).toBeGreaterThan(schedules);
});

test.each([
  [2, effort(15, 60)],
  [4, effort(8, 30)],
])('%i ports with two priorities and changing links: the same', (ports, schedules) => {
  const bench = new EventSimulation({ ports, events: 10, links: true, priorities: true });
  bench.simulation.explore(schedules);
  expect(bench.migrations).toBeGreaterThan(schedules);
});

test.each<[LinkFault, RegExp]>([
  ['fast path stays', /came to port|is at ports|came instead of/],
  ['fast path too early', /is at ports|came instead of/],
])('it is found when the %s', (fault, reason) => {
  const bench = new EventSimulation({ ports: 2, events: 10, links: true, fault });
  expectFound(explorePlanted(bench.simulation, 100), reason);
});

test('it is found when a move drains but the first priority’s ring', async () => {
  const mutation = { file, from: 'if (!isDrained(port, level)) return;', to: 'if (!isDrained(port, 0)) return;' };
  const arena = await mutantArena([mutation]);
  const bench = new EventSimulation({ ports: 3, events: 20, priorities: true, arena });
  expectFound(explorePlanted(bench.simulation, 100), /came instead of|no end/);
});

test('it is found when flows of atomic queues leave an unlinked port as those of parallel ones do', async () => {
  const mutation = { file, from: 'EVQUEUE_SCHEDULE) === SCHEDULE_PARALLEL', to: 'EVQUEUE_SCHEDULE) !== 255' };
  const bench = new EventSimulation({
    ports: 2,
    events: 20,
    links: true,
    moves: false,
    arena: await mutantArena([mutation]),
  });
  expectFound(explorePlanted(bench.simulation, 100), /is at ports|came instead of/);
});

test.each([
  [2, effort(25, 200)],
  [3, effort(20, 150)],
  [5, effort(8, 50)],
])('%i ports whose applications hold events for long, and say which', (ports, schedules) => {
  const bench = new EventSimulation({ ports, events: 20, holds: true });
  bench.simulation.explore(schedules);
  expect(bench.said).toBeGreaterThan(schedules);
});

test('it is found when flows move of which the application holds events', async () => {
  const mutation = { file: 'eventdev/held.kernel.ts', from: 'if (at < moving) keep(port, at);', to: '' };
  const bench = new EventSimulation({ ports: 3, events: 20, holds: true, arena: await mutantArena([mutation]) });
  expectFound(explorePlanted(bench.simulation, 100), /is at ports|came instead of/);
});

const MOVE_FAULTS: readonly [string, Mutation, RegExp][] = [
  [
    'a port with paused events moves flows all the same',
    { file, from: 'if (load<u32>(port, EVPORT_PAUSED_EVENTS) > 0) {', to: 'if (false) {' },
    /came instead of/,
  ],
  [
    'a pause is confirmed before the output buffers are sent',
    { file, from: '    flushOutputs(port);\n    pauseFlows(port, from);', to: '    pauseFlows(port, from);' },
    /came instead of|is at ports/,
  ],
];

test.each(someOf(MOVE_FAULTS, 2))('it is found when %s', async (_, mutation, reason) => {
  const bench = new EventSimulation({ ports: 3, events: 20, arena: await mutantArena([mutation]) });
  expectFound(explorePlanted(bench.simulation, 300), reason);
});

test.each([
  [2, false, effort(20, 150)],
  [3, false, effort(15, 100)],
  [3, true, effort(12, 80)],
  [5, true, effort(6, 40)],
])('%i ports with a sender that stands still now and then, applications that hold %s', (ports, holds, schedules) => {
  const bench = new EventSimulation({ ports, events: 20, stalls: true, holds });
  bench.simulation.explore(schedules);
  expect(bench.migrations).toBeGreaterThan(schedules);
});

const rounds = 'eventdev/rounds.kernel.ts';

const ROUND_FAULTS: readonly [string, Mutation][] = [
  [
    'what a port sends to itself overtakes what came with a flow',
    { file, from: '      if (hasLane(port)) gateRound(port);', to: '' },
  ],
  [
    'it overtakes what came with a flow and is not readable yet',
    {
      file: rounds,
      from: 'const head = atomic.load<u32>(load<u32>(port, EVPORT_RING), MPSC_HEAD);',
      to: `const ring = load<u32>(port, EVPORT_RING);
        const size = load<u32>(ring, MPSC_SIZE);
        const tail = load<u32>(port, EVPORT_TAIL);
        const head = tail + claimFrom(ring, size, tail, size);`,
    },
  ],
  ['another flow’s arrival lets it pass', { file, from: '&& !mayGate(port)) return;', to: '&& false) return;' }],
  ['flows move while it may be younger than the ring', { file, from: '  if (isGated(port)) return;', to: '' }],
  ['what a port sent to itself stays behind', { file, from: 'if (hasLane(port)) takeLocal(port, device);', to: '' }],
  [
    'a round reads the ring first',
    {
      file: rounds,
      from: 'const n = readLocal(port, target, limit);',
      to: `const n = load<u32>(port, EVPORT_TAIL) === load<u32>(port, EVPORT_ROUND_RING) ? readLocal(port, target, limit) : 0;`,
    },
  ],
];

test.each(someOf(ROUND_FAULTS, 6))('it is found when %s', async (_, mutation) => {
  const bench = new EventSimulation({ ports: 3, events: 20, stalls: true, arena: await mutantArena([mutation]) });
  expectFound(explorePlanted(bench.simulation, 100), /came instead of|is at ports/);
});
