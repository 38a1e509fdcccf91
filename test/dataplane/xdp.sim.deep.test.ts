import { afterAll, expect, test } from 'vitest';
import { testFolder } from '../support/port-bench.ts';
import { writeMixedCapture } from '../support/topology.ts';
import { xdpRuns } from '../support/xdp-scenario.ts';

const folder = testFolder();
afterAll(folder.rm);
writeMixedCapture(folder.path('mixed.pcap'));
const places = { ...folder, capture: folder.path('mixed.pcap') };

test('whatever XDP programs say, no packet and no buffer is lost, in 400 dataplanes', async () => {
  const { sent, drops } = await xdpRuns(10_000, 400, places);
  expect(sent).toBeGreaterThan(50_000);
  expect(Object.keys(drops)).toEqual(expect.arrayContaining(['xdp-redirect', 'xdp-frags', 'port-gone', 'pool-empty']));
});

test('so it is with an event device, in 200 dataplanes', async () => {
  const { sent, drops } = await xdpRuns(20_000, 200, places, { isSpread: true });
  expect(sent).toBeGreaterThan(20_000);
  expect(Object.keys(drops)).toEqual(expect.arrayContaining(['xdp-redirect', 'xdp-frags', 'stage']));
});
