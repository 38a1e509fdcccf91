import { afterAll, expect, test } from 'vitest';
import { Random } from '#build/util/random.js';
import { conservationRun, conserve } from '../support/conservation.ts';
import { MachineBench, type MachineBenchOptions, problemsAtEnd } from '../support/machine-bench.ts';
import { testFolder } from '../support/port-bench.ts';
import { ODD_PORT, writeMixedCapture } from '../support/topology.ts';

const folder = testFolder();
afterAll(folder.rm);
writeMixedCapture(folder.path('mixed.pcap'));
const places = { ...folder, capture: folder.path('mixed.pcap') };

const SCHEDULES = 40;

test(`received and copied is sent and dropped, and every buffer is back, in ${SCHEDULES} dataplanes`, async () => {
  const { sent, drops } = await conserve(0, SCHEDULES, places);
  expect(sent).toBeGreaterThan(SCHEDULES * 100);
  // The schedules go where it hurts.
  expect(Object.keys(drops)).toEqual(
    expect.arrayContaining(['pool-empty', 'stopped', 'fault', 'steered', 'vlan', 'tx-full', 'bad-offload']),
  );
});

test('it is found when lcores are not told to let go of what is on its way', async () => {
  let found = 0;
  for (let seed = 0; seed < 50 && found === 0; seed++) {
    found += (await conservationRun(seed, places, { skip: ['quiesce', 'abandon'] })).problems.length;
  }
  expect(found).toBeGreaterThan(0);
});

/** Deletes a port of lcore 0 that takes nothing, with all that waits for it on lcore 1. Returns what is wrong afterwards. */
async function deleteUnderPressure(seed: number, skip: MachineBenchOptions['skip'] = []): Promise<unknown[]> {
  const bench = new MachineBench(
    {
      version: 1,
      lcores: 2,
      ports: {
        in: { type: 'generator', lcore: 1, learn: false },
        full: { type: 'module', module: ODD_PORT, lcore: 0, options: { give: 0, take: 0 } },
      },
    },
    new Random(seed),
    { skip },
  );
  await bench.start();
  bench.poll(200);
  await bench.deletePort('full');
  bench.poll(5);
  const last = await bench.stop(100);
  expect(last.drops['port-gone'] ?? 0).toBeGreaterThan(500);
  return problemsAtEnd(last, bench.machine);
}

test('a port that is full on both sides of a ring is deleted with all that waits for it', async () => {
  for (let seed = 0; seed < 10; seed++) expect(await deleteUnderPressure(seed), `seed ${seed}`).toEqual([]);
  const planted: unknown[] = [];
  for (let seed = 0; seed < 10; seed++) planted.push(...(await deleteUnderPressure(seed, ['detach'])));
  expect(planted.length).toBeGreaterThan(0);
});
