// The tests of the fast suite, with full counts, and longer ones.
import './copies.sim.test.ts';
import { expect, test } from 'vitest';
import { compileTraced } from '../support/kernels.ts';
import { copies } from './support/copies.ts';
import { turns } from './support/turns.ts';

/** In all. */
const SCHEDULES = 100_000;
const CASES = (['split', 'packed'] as const).flatMap((layout) => [
  { layout, inOrder: false },
  { layout, inOrder: true },
]);

test.each(CASES)(`%o: a quarter of ${SCHEDULES} schedules of engines, lcores, guest and control thread`, (options) => {
  const schedules = SCHEDULES / CASES.length;
  expect(copies({ ...options, total: 6 }).explore(schedules, 1000)).toBeGreaterThan(schedules * 50);
});

test('lcores take turns with a channel, access by access, in 2,000 schedules', async () => {
  const module = await compileTraced({ folders: ['async', 'dma', 'memory', 'virtio'], pausable: true });
  expect(turns(module).explore(2000, 1000)).toBeGreaterThan(2000 * 100);
});
