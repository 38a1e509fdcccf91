import { afterAll, expect, test } from 'vitest';
import { Random } from '#dist/util/random.js';
import { countThreads } from '../support/dataplanes.ts';
import { testFolder } from '../support/port-bench.ts';
import { randomRun } from '../support/random-run.ts';
import { writeMixedCapture } from '../support/topology.ts';

const folder = testFolder();
afterAll(folder.rm);
writeMixedCapture(folder.path('mixed.pcap'));

test('8 dataplanes on real threads, changed and stopped at random, lose nothing', async () => {
  const threads = countThreads();
  for (let seed = 0; seed < 8; seed++) {
    const problems = await randomRun(new Random(seed), { ...folder, capture: folder.path('mixed.pcap') });
    expect([...problems, ...folder.open()], `seed ${seed}`).toEqual([]);
  }
  // Node's own pool may have grown.
  await expect.poll(countThreads).toBeLessThanOrEqual(threads + 4);
});
