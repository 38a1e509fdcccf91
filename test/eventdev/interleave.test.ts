import { beforeAll, expect, test } from 'vitest';
import { compileTraced } from '../support/kernels.ts';
import { expectFound, explorePlanted } from '../support/planted.ts';
import { interleavedPipeline } from './support/interleave.ts';
import { ORDERED_FAULTS } from './support/planted.ts';

let module: WebAssembly.Module;
beforeAll(async () => {
  module = await compileTraced({ folders: ['eventdev', 'ring'], pausable: true });
});

test.each([
  [2, 1, 40],
  [3, 2, 20],
])('%i ports, %i flows: whatever the order of accesses, events keep theirs', (ports, flows, schedules) => {
  const bench = interleavedPipeline({ ports, flows, events: 12 }, module);
  // Each event needs over forty accesses to what is shared.
  expect(bench.simulation.explore(schedules)).toBeGreaterThan(schedules * 12 * 40);
  expect(bench.migrations).toBeGreaterThan(schedules / 2);
});

test.each(ORDERED_FAULTS.slice(0, 1))('it is found when %s', async (_, mutation, reason) => {
  const planted = await compileTraced({ folders: ['eventdev', 'ring'], pausable: true, mutations: [mutation] });
  const { simulation } = interleavedPipeline({ ports: 3, flows: 1, events: 16 }, planted);
  expectFound(explorePlanted(simulation, 200), reason);
});
