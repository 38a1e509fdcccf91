import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync, statSync } from 'node:fs';
import { EthernetView, readCapture } from 'ringway/packet';
import { afterAll, expect, test } from 'vitest';
import { testFolder } from './support/port-bench.ts';

const folder = testFolder();
afterAll(folder.rm);

test('the bundled capture is what its script makes', () => {
  execFileSync(process.execPath, ['scripts/make-edge-capture.mjs', folder.path('edge.pcap')]);
  const made = readFileSync(folder.path('edge.pcap'));
  expect(Buffer.compare(made, readFileSync('examples/edge.pcap'))).toBe(0);
  expect(made.length).toBeLessThan(100_000);
  const frames = [...readCapture('examples/edge.pcap')];
  const macs = new Set(frames.map(({ frame }) => EthernetView.parse(frame)?.source));
  expect(macs.size).toBeGreaterThanOrEqual(5);
  const [first, last] = [frames[0], frames.at(-1)];
  const seconds =
    (last?.seconds ?? 0) - (first?.seconds ?? 0) + ((last?.nanoseconds ?? 0) - (first?.nanoseconds ?? 0)) / 1e9;
  expect(seconds).toBeGreaterThan(1.5);
  expect(seconds).toBeLessThan(2.5);
});

/** Runs an example with its files in the test's folder. Returns its summary. */
function run(script: string[], sets: Record<string, string>) {
  const flags = Object.entries(sets).flatMap(([path, value]) => ['--set', `${path}=${value}`]);
  const { status, stdout, stderr } = spawnSync(process.execPath, [...script, '--json', ...flags], { encoding: 'utf8' });
  expect(stderr).toBe('');
  expect(status).toBe(0);
  return JSON.parse(stdout.trim().split('\n').at(-1) ?? '').summary;
}

test('npm start runs the example to its end, with traffic on every port and nothing lost', () => {
  const files = { red: 'red.pcap', blue: 'blue.pcap', uplink: 'uplink.pcapng' };
  const writes = Object.entries(files).map(([port, name]) => [`ports.${port}.write`, folder.path(name)] as const);
  const summary = run(['scripts/start.mjs'], {
    ...Object.fromEntries(writes),
    name: `edge-${process.pid}`,
    // Less of it than in the file, since this is one of many tests.
    'ports.load.limit': '10000',
    'metrics.listen': '0',
  });
  expect(summary.missing).toBe(0);
  expect(summary.received).toBeGreaterThan(10_000);
  for (const { name, rxPackets, txPackets } of summary.ports) expect(rxPackets + txPackets, name).toBeGreaterThan(50);
  for (const [port, name] of Object.entries(files)) {
    const { txPackets } = summary.ports.find((candidate: { name: string }) => candidate.name === port);
    expect([...readCapture(folder.path(name))]).toHaveLength(txPackets);
  }
  // The line loses and overtakes, and nothing else is dropped.
  expect(Object.keys(summary.drops)).toEqual(['fault']);
});

test('the replay example carries the bundled capture byte for byte', () => {
  const out = folder.path('replay.pcap');
  run(['dist/cli/main.js', 'run', 'examples/replay.yaml'], { 'ports.out.write': out, name: `replay-${process.pid}` });
  expect([...readCapture(out)]).toEqual([...readCapture('examples/edge.pcap')]);
  expect(statSync(out).size).toBe(statSync('examples/edge.pcap').size);
});
