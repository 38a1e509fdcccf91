import { expect, test } from 'vitest';
import { MODES } from './support/rig.ts';
import { type Hostility, searchVifHostile } from './support/vif-hostile.ts';

/** Seeds of each mode, and steps of each seed: ten million in all, where both modes are there. */
const SEEDS = { plain: 240, mapped: 160 } as const;
const STEPS = 25_000;
const FIRST = 1000;

test.each(MODES)('%s: whoever writes into rings, grants, pages and xenstore: many seeds', async (mode) => {
  const done: Hostility = await searchVifHostile(mode, FIRST, FIRST + SEEDS[mode], STEPS);
  console.log(mode, `seeds ${FIRST} to ${FIRST + SEEDS[mode] - 1}:`, done);
  expect(done.steps).toBeGreaterThanOrEqual(SEEDS[mode] * STEPS);
  expect(done.packets).toBeGreaterThan(done.steps / 20);
  expect(done.changes).toBeGreaterThan(5000);
  expect(done.faults.size).toBeGreaterThan(6);
});
