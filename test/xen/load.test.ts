import { expect, test } from 'vitest';
import { connect } from './support/exchange.ts';
import { Load } from './support/load.ts';
import { makeVif } from './support/vif-rig.ts';

test.each([
  ['a byte of a frame', false, 80_000],
  ['a byte of segments that are to be cut', true, 80_000],
])('a load passes, and notices when %s is another', async (_, gso, at) => {
  const rig = await makeVif({ mode: 'plain' });
  await connect(rig);
  const load = new Load(rig, { seed: 5, packets: 500, most: 65_534, gso, program: undefined });
  load.run();
  expect(load.arrived).toBeGreaterThan(499);
  const pattern = rig.arena.regions().find(({ name }) => name === 'pattern')?.address ?? 0;
  rig.arena.u8[pattern + at] = (rig.arena.u8[pattern + at] ?? 0) ^ 1;
  expect(() => load.run()).toThrow(/seed 5: what arrived are not the \d+ bytes from \d+ on that were sent/);
});
