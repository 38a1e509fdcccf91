import { afterAll, expect, test } from 'vitest';
import { Random } from '#build/util/random.js';
import { MachineBench, type MachineBenchOptions, problemsAtEnd } from '../support/machine-bench.ts';
import { testFolder } from '../support/port-bench.ts';
import { writeMixedCapture } from '../support/topology.ts';
import { WHAT, writeObjects, xdpRuns } from '../support/xdp-scenario.ts';

const folder = testFolder();
afterAll(folder.rm);
writeMixedCapture(folder.path('mixed.pcap'));
const places = { ...folder, capture: folder.path('mixed.pcap') };

const SCHEDULES = 16;

test(`whatever XDP programs say, no packet and no buffer is lost, in ${SCHEDULES} dataplanes`, async () => {
  const { sent, drops } = await xdpRuns(0, SCHEDULES, places);
  expect(sent).toBeGreaterThan(SCHEDULES * 50);
  expect(Object.keys(drops)).toEqual(
    expect.arrayContaining(['xdp', 'xdp-aborted', 'xdp-redirect', 'xdp-frags', 'tx-full', 'stopped']),
  );
});

test('so it is with an event device', async () => {
  const { sent, drops } = await xdpRuns(5000, SCHEDULES / 2, places, { isSpread: true });
  expect(sent).toBeGreaterThan(SCHEDULES * 10);
  expect(Object.keys(drops)).toEqual(expect.arrayContaining(['xdp', 'xdp-aborted', 'xdp-redirect', 'stage']));
});

/** A program sends all packets of lcore 1 to lcore 0, which stops first. Returns what is wrong afterwards. */
async function stopAhead(seed: number, skip: MachineBenchOptions['skip'] = []): Promise<unknown[]> {
  const [object = ''] = writeObjects(places.path).verdicts;
  const choices = Object.fromEntries(Array.from({ length: 16 }, (_, key) => [key, { what: WHAT.toCpu, argument: 0 }]));
  const xdp = { object, program: 'one', maps: { choices, cpus: { 0: 192 } } };
  const ports = { in: { type: 'generator', lcore: 1, xdp }, out: { type: 'null', lcore: 0 } };
  const bench = new MachineBench({ version: 1, lcores: 2, ports }, new Random(seed), { skip });
  await bench.start();
  bench.poll(50);
  const last = await bench.stop(100);
  expect(last.totals.sent).toBeGreaterThan(100);
  return problemsAtEnd(last, bench.machine);
}

test('it is found when lcores are not told to let go of what is on its way', async () => {
  const planted: unknown[] = [];
  for (let seed = 0; seed < 10; seed++) {
    expect(await stopAhead(seed), `seed ${seed}`).toEqual([]);
    planted.push(...(await stopAhead(seed, ['quiesce', 'abandon'])));
  }
  expect(planted.length).toBeGreaterThan(0);
});
