import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { testFolder } from '../support/port-bench.ts';
import { captureNames, captures, compareReplay, replayCapture, replayConfig } from '../support/replayed.ts';

const folder = testFolder();
afterAll(folder.rm);

const names = captureNames();
if (names.length === 0) console.warn(`captures.deep.test.ts is skipped: there is no folder ${captures}`);

test.skipIf(names.length === 0)('every real capture comes out byte for byte, or is counted', async () => {
  const wrong: unknown[] = [];
  for (const name of names) {
    const problems = await replayCapture(name, folder.path('out.pcapng'));
    if (problems.length > 0) wrong.push({ name, problems });
  }
  expect(wrong).toEqual([]);
  expect(names.length).toBeGreaterThan(500);
  expect(folder.open()).toEqual([]);
});

function run(config: string): Promise<{ code: number | null; out: string; err: string }> {
  const child = spawn(process.execPath, ['dist/cli/main.js', 'run', config, '--json']);
  let [out, err] = ['', ''];
  child.stdout.on('data', (chunk) => {
    out += chunk;
  });
  child.stderr.on('data', (chunk) => {
    err += chunk;
  });
  return new Promise((resolve) => child.on('close', (code) => resolve({ code, out, err })));
}

test.skipIf(names.length === 0)('the program ends with 0, 1 or 2 and a reason, and its sums are right', async () => {
  const codes = new Set<number | null>();
  for (const [i, name] of names.filter((_, i) => i % 9 === 4).entries()) {
    const [input, output] = [join(captures, name), folder.path('cli.pcap')];
    const config = folder.path('cli.yaml');
    writeFileSync(config, JSON.stringify(replayConfig(input, output, `cli-${process.pid}-${i}`)));
    const { code, out, err } = await run(config);
    codes.add(code);
    expect([0, 1], `${name}: ${err}`).toContain(code);
    if (code === 1) expect(err, name).toMatch(/^ringway: \S/);
    if (out === '') continue;
    const { summary } = JSON.parse(out.trim().split('\n').at(-1) ?? '');
    expect(summary.missing, name).toBe(0);
    expect(compareReplay(input, output, summary, summary.ports[0].fault), name).toEqual([]);
  }
  expect([...codes].sort()).toEqual([0, 1]);
});
