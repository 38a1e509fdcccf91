import { expect, test } from 'vitest';
import { copies } from './support/copies.ts';

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
