import { afterAll, expect, test } from 'vitest';
import { testFolder } from '../support/port-bench.ts';
import { writeMixedCapture } from '../support/topology.ts';
import { writeObjects, xdpRun, xdpRuns } from '../support/xdp-scenario.ts';

const folder = testFolder();
afterAll(folder.rm);
writeMixedCapture(folder.path('mixed.pcap'));
const places = { ...folder, capture: folder.path('mixed.pcap') };

const SCHEDULES = 60;

test(`whatever XDP programs say, no packet and no buffer is lost, in ${SCHEDULES} dataplanes`, async () => {
  const { sent, drops } = await xdpRuns(0, SCHEDULES, places);
  expect(sent).toBeGreaterThan(SCHEDULES * 50);
  expect(Object.keys(drops)).toEqual(
    expect.arrayContaining(['xdp', 'xdp-aborted', 'xdp-redirect', 'xdp-frags', 'tx-full', 'stopped']),
  );
});

test('so it is with an event device', async () => {
  const { sent, drops } = await xdpRuns(5000, SCHEDULES / 2, places, { isSpread: true });
  expect(sent).toBeGreaterThan(SCHEDULES * 20);
  expect(Object.keys(drops)).toEqual(expect.arrayContaining(['xdp', 'xdp-aborted', 'xdp-redirect', 'stage']));
});

test('it is found when lcores are not told to let go of what is on its way', async () => {
  const objects = writeObjects(places.path);
  let found = 0;
  for (let seed = 0; seed < 300 && found === 0; seed++) {
    found += (await xdpRun(seed, places, objects, { skip: ['quiesce', 'abandon'] })).problems.length;
  }
  expect(found).toBeGreaterThan(0);
});
