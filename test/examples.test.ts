import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, readCapture } from 'ringway/packet';
import { afterAll, expect, test } from 'vitest';

const folder = mkdtempSync(join(tmpdir(), 'ringway-examples-'));
afterAll(() => rmSync(folder, { recursive: true }));

const execute = promisify(execFile);

async function node(...args: string[]): Promise<string> {
  return (await execute(process.execPath, args, { timeout: 60_000 })).stdout;
}

test.concurrent('the bundled capture is what its script makes', async () => {
  const made = join(folder, 'made.pcap');
  await node('scripts/make-edge-capture.mjs', made);
  expect(readFileSync(made).equals(readFileSync('examples/edge.pcap'))).toBe(true);
});

test.concurrent('the example brings traffic through every port', async () => {
  const outputs = ['red', 'blue', 'uplink'].map((port) => `ports.${port}.write=${join(folder, `${port}.pcapng`)}`);
  const settings = [...outputs, 'ports.load.limit=20000'].flatMap((setting) => ['--set', setting]);
  const out = await node(
    'dist/cli/main.js',
    'run',
    'examples/edge.yaml',
    '--name',
    'example-test',
    '--json',
    ...settings,
  );
  const { summary } = JSON.parse(out.trim().split('\n').at(-1) ?? '');
  for (const { name, rxPackets, txPackets } of summary.ports) expect(rxPackets + txPackets, name).toBeGreaterThan(0);
  expect(summary.missing).toBe(0);
  const of = (port: string): { rxPackets: number } => summary.ports.find(({ name }: { name: string }) => name === port);
  const [vm1, vm2] = ['vm1', 'vm2'].map((port) => of(port).rxPackets);
  // Eight hosts ask each guest four things; the line that they are replayed over loses some.
  for (const answers of [vm1, vm2]) expect(answers).toBeGreaterThan(28);
  expect(summary.received).toBe(20_264 + Number(vm1) + Number(vm2));
  expect([...readCapture(join(folder, 'red.pcapng'))].length).toBe(20_000);
  const said = Array.from(readCapture(join(folder, 'blue.pcapng')), ({ frame }) => describe(frame)).join('\n');
  for (const guest of ['192.0.2.101', '192.0.2.102']) expect(said).toContain(guest);
});

test.concurrent('the smallest example copies a capture', async () => {
  const copy = join(folder, 'copy.pcap');
  await node(
    'dist/cli/main.js',
    'run',
    'examples/replay.yaml',
    '--name',
    'replay-test',
    '--set',
    `ports.out.write=${copy}`,
  );
  const frames = (path: string) =>
    Array.from(readCapture(path), ({ frame, ...rest }) => ({ ...rest, frame: [...frame] }));
  expect(frames(copy)).toEqual(frames('examples/edge.pcap'));
});

test.concurrent('two guests talk through a Xen device, both ways', async () => {
  const out = await node(
    'dist/cli/main.js',
    'run',
    'examples/xen.yaml',
    '--name',
    'xen-test',
    '--json',
    '--duration',
    '1s',
  );
  const { summary } = JSON.parse(out.trim().split('\n').at(-1) ?? '');
  expect(summary.missing).toBe(0);
  const of = (port: string): { rxPackets: number } => summary.ports.find(({ name }: { name: string }) => name === port);
  expect(of('eth0').rxPackets).toBeGreaterThan(1000);
  expect(of('vif').rxPackets).toBeGreaterThan(0);
});

test.concurrent('a stage that polices flows lets the same through on any worker', async () => {
  const uplink = join(folder, 'uplink.pcap');
  const set = [
    `ports.uplink.write=${uplink}`,
    'ports.customers.limit=30000',
    'ports.customers.rate=1Mpps',
    'eventdev.stages[0].options={rate: 0, burst: 10}',
  ].flatMap((setting) => ['--set', setting]);
  const out = await node('dist/cli/main.js', 'run', 'examples/spread.yaml', '--name', 'spread-test', '--json', ...set);
  const { summary } = JSON.parse(out.trim().split('\n').at(-1) ?? '');
  expect(summary).toMatchObject({ received: 30_000, missing: 0 });
  expect(Object.keys(summary.drops)).toEqual(['stage']);
  const flows = new Map<string, number>();
  for (const { frame } of readCapture(uplink)) {
    const flow = frame.subarray(26, 38).toString();
    flows.set(flow, (flows.get(flow) ?? 0) + 1);
  }
  expect(flows.size).toBeGreaterThan(1000);
  // Whoever sent more than ten got ten through, wherever they were policed.
  const counts = [...flows.values()].sort((a, b) => b - a);
  expect(counts[0]).toBe(10);
  expect(counts.filter((count) => count === 10).length).toBeGreaterThan(200);
  expect(summary.sent).toBe(counts.reduce((sum, count) => sum + count, 0));
});

test.concurrent('old and new input drivers and devices work together, and a device that refuses is given up', async () => {
  expect((await node('examples/virtio-input/main.mjs')).trimEnd().split('\n')).toEqual([
    'old driver, old device    single touch: 100,200 (X Y)',
    'new driver, old device    single touch: 100,200 (X Y)',
    'old driver, new device    single touch: 100,200 (X Y)',
    'new driver, new device    multi-touch: 100,200 and 300,400 (X Y MT_SLOT MT_POSITION_X MT_POSITION_Y)',
    expect.stringMatching(/^old driver, strict device UNSUPPORTED: .* without VIRTIO_INPUT_F_MULTI_TOUCH/),
    expect.stringMatching(/the device says: features refused: this screen reports nothing but multi-touch$/),
    'new driver, strict device multi-touch: 100,200 and 300,400 (X Y MT_SLOT MT_POSITION_X MT_POSITION_Y)',
  ]);
});

test.concurrent('transfers through a pool of workers are in order for each account', async () => {
  const lines = (await node('examples/keyed-pool/run.mjs', '3000', join(folder, 'transfers.csv')))
    .trimEnd()
    .split('\n');
  expect(lines).toEqual([
    expect.stringMatching(/^writing 3000 transfers to /),
    expect.stringMatching(/^one thread: 3000 transfers in /),
    expect.stringMatching(/^\d+ workers: 3000 transfers in [\d.]+ s, \d+ moves$/),
    'every account in order, 3 forged, balances equal',
    expect.stringMatching(/^speed-up: [\d.]+$/),
  ]);
});

test.concurrent('the XDP programs do what the tests beside them say', async () => {
  const tests = readdirSync('examples/xdp').filter((name) => name.endsWith('.test.mjs'));
  const out = await node('--test', '--test-reporter=tap', ...tests.map((name) => join('examples/xdp', name)));
  expect(out).toMatch(/^# fail 0$/m);
  expect(Number(/^# pass (\d+)$/m.exec(out)?.[1])).toBeGreaterThan(18);
});

/** The last line of a run of an example, as JSON. */
async function runExample(
  name: string,
  ...settings: string[]
): Promise<{ ports: PortSummary[]; missing: number; drops: object }> {
  const set = settings.flatMap((setting) => ['--set', setting]);
  const out = await node(
    'dist/cli/main.js',
    'run',
    `examples/${name}.yaml`,
    '--name',
    `${name}-test`,
    '--json',
    ...set,
  );
  return JSON.parse(out.trim().split('\n').at(-1) ?? '').summary;
}

interface PortSummary {
  readonly name: string;
  readonly rxPackets: number;
  readonly txPackets: number;
  readonly drops: Readonly<Record<string, number>>;
}

test.concurrent('an attack is dropped at the hook, and all customers get through', async () => {
  const { ports, missing } = await runExample('ddos', 'ports.wire.limit=100000', 'ports.wire.rate=400kpps');
  const [wire, server] = ports;
  expect(missing).toBe(0);
  expect(wire?.drops.xdp).toBeGreaterThan(74_000);
  expect(wire?.drops.xdp).toBeLessThan(76_000);
  expect(server?.txPackets).toBe(100_000 - (wire?.drops.xdp ?? 0));
});

test.concurrent('frames are redirected to ports, sockets and lcores as the examples say', async () => {
  const forward = await runExample('xdp-forward', 'ports.left.limit=20000');
  const [, right, other] = forward.ports;
  expect((right?.txPackets ?? 0) + (other?.txPackets ?? 0)).toBe(20_000);
  const outputs = ['socket', 'rest'].map((port) => `ports.${port}.write=${join(folder, `${port}.pcap`)}`);
  expect((await runExample('xdp-socket', ...outputs)).ports[1]?.txPackets).toBe(88);
  const steer = await runExample('xdp-steer', 'ports.wire.limit=20000', 'ports.wire.rate=100kpps');
  expect(steer.missing).toBe(0);
  expect(steer.ports[1]?.txPackets).toBeGreaterThan(10_000);
});
