import { afterAll, expect, test } from 'vitest';
import { Random } from '#build/util/random.js';
import { countThreads } from '../support/dataplanes.ts';
import { testFolder } from '../support/port-bench.ts';
import { randomRun } from '../support/random-run.ts';
import { writeMixedCapture } from '../support/topology.ts';
import { writeObjects } from '../support/xdp-scenario.ts';

const folder = testFolder();
afterAll(folder.rm);
writeMixedCapture(folder.path('mixed.pcap'));

test.each([
  ['3 dataplanes', 3, false, false],
  ['2 dataplanes with XDP programs', 2, false, true],
  ['2 dataplanes with an event device', 2, true, false],
])('%s on real threads, changed and stopped at random, lose nothing', async (_, count, isSpread, hasXdp) => {
  const threads = countThreads();
  const places = { ...folder, capture: folder.path('mixed.pcap') };
  const objects = hasXdp ? writeObjects(folder.path) : undefined;
  for (let seed = 0; seed < count; seed++) {
    const problems = await randomRun(new Random(seed), places, isSpread, objects);
    expect([...problems, ...folder.open()], `seed ${seed}`).toEqual([]);
  }
  // Node's own pool may have grown.
  await expect.poll(countThreads).toBeLessThanOrEqual(threads + 4);
});
