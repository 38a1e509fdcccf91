import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { afterAll, expect, test } from 'vitest';
import { testFolder } from '../support/port-bench.ts';
import { captureNames, captures, replayCapture } from '../support/replayed.ts';

const folder = testFolder();
afterAll(folder.rm);

const names = captureNames();
const hasTools = ['mergecap', 'tshark'].every((tool) => spawnSync(tool, ['-v']).error === undefined);
const ready = hasTools && names.length > 0;
if (!hasTools) console.warn('captures.peers.test.ts is skipped: tshark and mergecap are not both installed');
else if (!ready) console.warn(`captures.peers.test.ts is skipped: there is no folder ${captures}`);

const BATCH = 40;

test.skipIf(!ready)('tshark and mergecap read every output without a complaint', async () => {
  const outputs: string[] = [];
  for (const [i, name] of names.entries()) {
    const output = folder.path(`${i}.${i % 2 === 0 ? 'pcap' : 'pcapng'}`);
    await replayCapture(name, output);
    if (existsSync(output)) outputs.push(output);
  }
  for (let from = 0; from < outputs.length; from += BATCH) {
    // Merged, so that tshark starts once for all; mergecap itself stops at the first one it cannot read.
    const merged = folder.path('merged.pcapng');
    const merge = spawnSync('mergecap', ['-a', '-w', merged, ...outputs.slice(from, from + BATCH)], {
      encoding: 'utf8',
    });
    expect({ status: merge.status, complaint: merge.stderr }).toEqual({ status: 0, complaint: '' });
    const read = spawnSync('tshark', ['-n', '-r', merged, '-T', 'fields', '-e', 'frame.len'], {
      encoding: 'utf8',
      maxBuffer: 1 << 28,
    });
    expect({ status: read.status, complaint: read.stderr.replace(/^Running as user.*\n/, '') }).toEqual({
      status: 0,
      complaint: '',
    });
  }
  // The rest has no Ethernet frames and is refused.
  expect(outputs.length).toBeGreaterThan(250);
});
