import { afterAll, expect, test } from 'vitest';
import { conserve } from '../support/conservation.ts';
import { testFolder } from '../support/port-bench.ts';
import { writeMixedCapture } from '../support/topology.ts';

const folder = testFolder();
afterAll(folder.rm);
writeMixedCapture(folder.path('mixed.pcap'));
const places = { ...folder, capture: folder.path('mixed.pcap') };

test('received and copied is sent and dropped, and every buffer is back, in 3,000 dataplanes', async () => {
  const { sent, drops } = await conserve(10_000, 3000, places);
  expect(sent).toBeGreaterThan(300_000);
  expect(Object.keys(drops)).toEqual(expect.arrayContaining(['no-route', 'ttl', 'bad-header', 'pool-empty']));
});

test('so it is with an event device, in 2,000 dataplanes', async () => {
  const { sent, drops } = await conserve(20_000, 2000, places, { isSpread: true });
  expect(sent).toBeGreaterThan(300_000);
  expect(Object.keys(drops)).toEqual(
    expect.arrayContaining(['stage', 'lcore-full', 'port-gone', 'tx-full', 'pool-empty']),
  );
});
