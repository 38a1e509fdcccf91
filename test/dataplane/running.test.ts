import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { RingwayError } from 'ringway/memory';
import { CaptureWriter, readCapture } from 'ringway/packet';
import { afterAll, afterEach, expect, test } from 'vitest';
import type { RunningDataplane } from '#build/dataplane/running.js';
import { problemsOf, start } from '../support/dataplanes.ts';
import { testFolder } from '../support/port-bench.ts';

const folder = testFolder();
afterAll(folder.rm);
const running: RunningDataplane[] = [];
afterEach(async () => {
  for (const dataplane of running.splice(0)) await dataplane.stop().catch(() => {});
  expect(folder.open()).toEqual([]);
});

async function begin(source: object): Promise<RunningDataplane> {
  const dataplane = await start({ version: 1, name: 'test', ...source });
  running.push(dataplane);
  return dataplane;
}

const DEATH = new URL('../support/death-port.mjs', import.meta.url).href;
const capture = folder.path('in.pcap');
const writer = new CaptureWriter(capture);
for (let i = 0; i < 500; i++) writer.write(new Uint8Array(60 + i).fill(i), { seconds: i, nanoseconds: i });
writer.close();

const gone = (dataplane: RunningDataplane): Promise<unknown> =>
  dataplane.finished.then(
    () => 'finished',
    (error) => error,
  );

test('several finite inputs on several lcores are drained, and finished says so', async () => {
  const dataplane = await begin({
    lcores: 2,
    ports: {
      a: { type: 'capture', path: capture, learn: false, loop: 3, fault: { delay: '2ms', duplicate: 0.2 } },
      b: { type: 'generator', limit: 5000, queues: 2 },
      c: { type: 'capture', path: capture, learn: false, loop: 0, limit: 700 },
      out: { type: 'capture', write: folder.path('several.pcap') },
    },
  });
  await dataplane.finished;
  const last = await dataplane.stop();
  expect(problemsOf(last)).toEqual([]);
  expect(last.state).toBe('stopped');
  expect(last.ports.map(({ name, done }) => [name, done])).toEqual([
    ['a', true],
    ['b', true],
    ['c', true],
    ['out', false],
  ]);
  const [a, b, c, out] = last.ports;
  expect([a?.rxPackets, b?.rxPackets, c?.rxPackets]).toEqual([1500, 5000, 700]);
  expect([...readCapture(folder.path('several.pcap'))]).toHaveLength(out?.txPackets ?? 0);
  expect(await dataplane.stop()).toBe(last);
  expect(dataplane.snapshot()).toEqual(last);
});

test('a capture is carried byte for byte, with its times', async () => {
  const out = folder.path('deep/er/copy.pcapng');
  const dataplane = await begin({
    ports: { in: { type: 'capture', path: capture, learn: false }, out: { type: 'capture', write: out } },
  });
  await dataplane.finished;
  expect(problemsOf(await dataplane.stop())).toEqual([]);
  expect([...readCapture(out)]).toEqual([...readCapture(capture)]);
});

test('a stop before the end loses nothing that was received', async () => {
  const dataplane = await begin({
    lcores: 2,
    ports: {
      in: { type: 'generator', lcore: 0, rate: '20kpps' },
      out: { type: 'capture', lcore: 1, write: folder.path('early.pcap'), fault: { delay: '50ms' } },
    },
  });
  await expect.poll(() => dataplane.snapshot().ports[0]?.rxPackets ?? 0).toBeGreaterThan(500);
  dataplane.requestStop();
  await dataplane.finished;
  const last = await dataplane.stop();
  expect(problemsOf(last)).toEqual([]);
  // What the delay held has come out.
  expect(last.drops).toEqual({});
  expect(last.ports[1]?.txPackets).toBe(last.ports[0]?.rxPackets);
});

test('a plan that does not fit says each term, and an lcore that is not there is refused', async () => {
  const source = { ports: { in: { type: 'capture', path: capture }, out: { type: 'null' } }, memory: '16MiB' };
  const refusal = await begin(source).catch((error) => error);
  expect(refusal).toBeInstanceOf(RingwayError);
  expect(refusal.code).toBe('ARENA_FULL');
  for (const term of ['pool', 'switch', 'rings', 'lcores', 'port in', 'port out', 'spare']) {
    expect(refusal.message).toMatch(new RegExp(`^ {2}${term}: \\d+ bytes \\(.+\\)$`, 'm'));
  }
  expect(refusal.message).toMatch(/^test: needs \d+ bytes, and memory is 16777216; raise `memory` or lower one of:/);
});

test.each([
  [
    'a port that cannot be opened',
    { z: { type: 'capture', path: folder.path('none.pcap') } },
    /ports\.z\.path: .*ENOENT/,
  ],
  ['a tap that cannot be made', { z: { type: 'null', tap: '/dev/null/x' } }, /ports\.z\.tap: .* cannot be written/],
  [
    'a module that is missing',
    { z: { type: 'module', module: './none.mjs' } },
    /ports\.z\.module: .* cannot be imported/,
  ],
  [
    'a thread that ends',
    { z: { type: 'module', module: DEATH, options: { exit: true } } },
    /ended by itself: exit code 9/,
  ],
])('a start that fails half-way by %s leaves nothing open', async (_, ports, reason) => {
  const refusal = await begin({
    lcores: 2,
    ports: {
      a: { type: 'capture', path: capture, write: folder.path('half.pcap'), tap: folder.path('half-tap.pcap') },
      ...ports,
    },
  }).catch((error) => error);
  expect(refusal).toBeInstanceOf(RingwayError);
  expect(refusal.message).toMatch(reason);
  expect(folder.open()).toEqual([]);
});

test.each(['rxBurst', 'txBurst'])('an lcore that dies in %s stops everything in order, with a dump', async (fail) => {
  const dataplane = await begin({
    lcores: 2,
    ports: {
      in: { type: 'generator', lcore: 0, rate: '10kpps' },
      bad: { type: 'module', module: DEATH, lcore: 1, options: { fail, after: 50 } },
      out: { type: 'capture', lcore: 0, write: folder.path('death.pcap') },
    },
  });
  const failure = (await gone(dataplane)) as Error;
  expect(failure).toMatchObject({
    code: 'LCORE_DIED',
    message: expect.stringMatching(
      /^test: lcore 1 ended by itself: Error: .* went wrong; the state is in \/.*dump\.json$/,
    ),
  });
  const dump = failure.message.split(' ').at(-1) ?? '';
  expect(existsSync(dump)).toBe(true);
  const { snapshot, regions, damaged, lcores } = JSON.parse(readFileSync(dump, 'utf8'));
  expect(snapshot.ports.map(({ name }: { name: string }) => name)).toEqual(['in', 'bad', 'out']);
  expect(regions.length).toBeGreaterThan(10);
  expect(damaged).toEqual([]);
  expect(lcores).toHaveLength(2);
  const last = await dataplane.stop();
  expect(last.state).toBe('stopped');
  expect(last.ports).toHaveLength(3);
  expect(folder.open()).toEqual([]);
  await expect(dataplane.set('switch.ageing', '10s')).rejects.toMatchObject({ code: 'BUSY' });
});

test('an lcore that dies while the dataplane stops leaves nothing open either', async () => {
  const dataplane = await begin({
    ports: {
      bad: { type: 'module', module: DEATH, options: { fail: 'txBurst' } },
      in: { type: 'capture', path: capture, learn: false, fault: { delay: '100ms' } },
    },
  });
  const ended = gone(dataplane);
  await expect.poll(() => dataplane.snapshot().ports[1]?.rxPackets ?? 0).toBe(500);
  await expect(dataplane.stop()).rejects.toMatchObject({ code: 'LCORE_DIED' });
  expect(await ended).toMatchObject({ code: 'LCORE_DIED' });
  expect(folder.open()).toEqual([]);
});

test('a port that fails as it is closed has a fault, and the rest is closed', async () => {
  const dataplane = await begin({
    ports: {
      bad: { type: 'module', module: DEATH, options: { fail: 'close' } },
      in: { type: 'capture', path: capture, learn: false, limit: 10 },
    },
  });
  await expect.poll(() => dataplane.snapshot().ports[0]?.txPackets).toBe(10);
  const last = await dataplane.stop();
  expect(problemsOf(last)).toEqual([]);
  expect(last.ports[0]?.fault).toBe('Error: close went wrong');
});

test('a disk that is full is a fault of its port, the file ends with a whole record, and the program with 1', () => {
  const config = folder.path('full.yaml');
  const path = folder.path('full.pcap');
  const ports = { in: { type: 'generator', limit: 5000, size: 1000 }, out: { type: 'capture', write: path } };
  writeFileSync(config, JSON.stringify({ version: 1, name: `full-${process.pid}`, ports }));
  // A limit of the size of files, in KiB, in place of a disk: writes beyond it are cut, then refused.
  const command = `trap '' XFSZ; ulimit -f 2500; exec "${process.execPath}" dist/cli/main.js run "${config}" --json`;
  const { status, stdout, stderr } = spawnSync('bash', ['-c', command], { encoding: 'utf8' });
  expect(stderr).toMatch(
    /^ringway: port out: .*full\.pcap: write failed: EFBIG: .*; \d+ packets behind byte \d+ are lost\n$/,
  );
  expect(status).toBe(1);
  const { summary } = JSON.parse(stdout.trim().split('\n').at(-1) ?? '');
  expect(summary).toMatchObject({ received: 5000, missing: 0 });
  const written = [...readCapture(path)].length;
  expect(written).toBeGreaterThan(1000);
  expect(summary.sent).toBe(written);
  expect(summary.drops).toEqual({ 'tx-error': 5000 - written });
});
