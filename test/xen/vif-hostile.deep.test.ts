import { expect, test } from 'vitest';
import { MODES } from './support/rig.ts';
import { runVifHostile } from './support/vif-hostile.ts';

test.each(MODES)('%s: whoever writes into rings, grants and pages: many seeds', async (mode) => {
  let faults = 0;
  for (let seed = 1000; seed < 1090; seed++) faults += (await runVifHostile(mode, seed, 400)).length;
  expect(faults).toBeGreaterThan(45);
});
