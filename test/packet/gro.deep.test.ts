import { expect, test } from 'vitest';
import { BASES } from '../support/arena.ts';
import { checkHostile, checkTraffic, GroRig } from './support/gro-properties.ts';
import { checkTunnels } from './support/tunnel-properties.ts';

test.each(BASES)('any traffic comes out as the model says, and is what it was (base %i)', (base) => {
  const rig = new GroRig(512, base);
  checkTraffic(rig, 1500);
  expect(rig.merged).toBeGreaterThan(10_000);
});

test.each(BASES)('any tunnels with any changes come out as they were (base %i)', (base) => {
  const rig = new GroRig(512, base);
  checkTunnels(rig, 2000);
  expect(rig.merged).toBeGreaterThan(5_000);
});

test('hostile frames come out as they were', () => {
  checkHostile(new GroRig(256), 10_000);
});
