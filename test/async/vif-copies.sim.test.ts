import { expect, test } from 'vitest';
import { effort, someOf } from '../support/effort.ts';
import { compileTraced } from '../support/kernels.ts';
import { explorePlanted } from '../support/planted.ts';
import { VIF_FAULTS } from './support/planted.ts';
import { vifCopies } from './support/vif-copies.ts';

/** In all, with the full counts. */
const SCHEDULES = 100_000;
const PATHS = [
  { kind: 'staging', tx: 256, rx: 256 },
  { kind: 'staging', tx: 64, rx: 64 },
  { kind: 'persistent' },
  { kind: 'data-ring', order: 1 },
] as const;

test.each(PATHS)(
  '%j: whatever engines, lcores, a Xen guest and control thread do, frames arrive once, whole, in order, both ways',
  async (path) => {
    const schedules = effort(200, SCHEDULES / PATHS.length);
    const simulation = await vifCopies({ path });
    expect(simulation.explore(schedules)).toBeGreaterThan(schedules * 50);
  },
);

test.each(someOf(VIF_FAULTS, 3).map((fault) => [fault.what, fault] as const))(
  'it is found when %s',
  async (_, { path, mutation }) => {
    const module = await compileTraced({
      folders: ['async', 'dma', 'memory', 'ring', 'xen'],
      mutations: [mutation],
    });
    const { reason, failed } = explorePlanted(await vifCopies({ path, module }), 60);
    expect(reason).toMatch(/not what it was|in the place of|no end|missing|unreachable|broken|not answered/);
    expect(failed).toBeGreaterThan(0);
  },
);
