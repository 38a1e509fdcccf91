import { afterAll, expect, test } from 'vitest';
import { Random } from '#dist/util/random.js';
import { countThreads } from '../support/dataplanes.ts';
import { testFolder } from '../support/port-bench.ts';
import { randomRun } from '../support/random-run.ts';
import { writeMixedCapture } from '../support/topology.ts';

const folder = testFolder();
afterAll(folder.rm);
writeMixedCapture(folder.path('mixed.pcap'));

test.each([
  ['150 dataplanes', 150, false],
  ['100 dataplanes with an event device', 100, true],
])('%s on real threads, changed and stopped at random, lose nothing', async (_, count, isSpread) => {
  const threads = countThreads();
  for (let seed = 1000; seed < 1000 + count; seed++) {
    const problems = await randomRun(new Random(seed), { ...folder, capture: folder.path('mixed.pcap') }, isSpread);
    expect([...problems, ...folder.open()], `seed ${seed}`).toEqual([]);
  }
  // Node's own pool may have grown.
  await expect.poll(countThreads).toBeLessThanOrEqual(threads + 4);
});
