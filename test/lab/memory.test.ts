import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, test } from 'vitest';
import { makeCapture, runPorts } from '#build/lab/run-ports.js';

const folder = mkdtempSync(join(tmpdir(), 'ringway-lab-'));
afterAll(() => rmSync(folder, { recursive: true }));

test('a capture is made and replayed whole; one packet more than it has is an error', async () => {
  const capture = join(folder, 'in.pcap');
  await makeCapture(capture, 10_000);
  expect(Math.abs(statSync(capture).size / 10_000 - 374)).toBeLessThan(20);
  const ports = { in: { type: 'capture', path: capture, learn: false }, out: { type: 'null' } };
  await runPorts({ lcores: 1, ports, to: 'out', packets: 10_000 });
  await expect(runPorts({ lcores: 1, ports, to: 'out', packets: 10_001 })).rejects.toThrow(
    'only 10000 of 10001 packets came out',
  );
});

test('an lcore says how much of its heap is live, once warm and at the end', () => {
  const run = fileURLToPath(import.meta.resolve('#build/lab/heap-run.js'));
  const said = execFileSync(process.execPath, ['--expose-gc', run, '20000', '10000'], { encoding: 'utf8' });
  const { before, after } = JSON.parse(said);
  expect(before).toBeGreaterThan(1e6);
  expect(after).toBeGreaterThan(1e6);
});
