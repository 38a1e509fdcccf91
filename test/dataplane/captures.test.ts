import { afterAll, expect, test } from 'vitest';
import { testFolder } from '../support/port-bench.ts';
import { captureNames, captures, replayCapture } from '../support/replayed.ts';

const folder = testFolder();
afterAll(folder.rm);

const names = captureNames();
if (names.length === 0) console.warn(`captures.test.ts is skipped: there is no folder ${captures}`);
const SAMPLE = 8;
/** Every so many of them, so that all kinds come up. */
const sample = names.filter((_, i) => i % Math.ceil(names.length / SAMPLE) === 7);

test.skipIf(names.length === 0)('a sample of real captures comes out byte for byte, or is counted', async () => {
  for (const name of sample) {
    expect(await replayCapture(name, folder.path('out.pcap')), name).toEqual([]);
  }
  expect(folder.open()).toEqual([]);
});
