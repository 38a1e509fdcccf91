import { mkdirSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { buildFrame, CaptureWriter } from 'ringway/packet';
import { afterAll, afterEach, beforeEach, expect, test } from 'vitest';
import { ControlClient } from '#build/control/index.js';
import type { MapSummary, XdpAttachment } from '#build/control/target.js';
import { Random } from '#build/util/random.js';
import { Namespace, namespacesUnavailable } from '../support/netns.ts';
import { testFolder } from '../support/port-bench.ts';
import { endPrograms, missingPrograms, type Program } from '../support/program.ts';
import { writeObject } from '../xdp/support/object.ts';

const missing = missingPrograms('ip', 'setpriv');
const reason = missing.length > 0 ? `no ${missing.join(', ')}` : namespacesUnavailable();
if (reason !== undefined) console.warn(`kernel-attach.peers.test.ts is skipped: ${reason}`);
const on = test.skipIf(reason !== undefined);

const folder = testFolder();
afterAll(folder.rm);
process.env.XDG_RUNTIME_DIR = folder.path('run');
mkdirSync(process.env.XDG_RUNTIME_DIR);

const MAIN = resolve('dist/cli/main.js');
const example = (name: string): string => resolve(`examples/xdp/${name}.o`);

/** Who sends, and the switch that receives on `port0`: nobody else says anything on the cable between them. */
let sender: Namespace;
let receiver: Namespace;

beforeEach(() => {
  if (reason !== undefined) return;
  sender = new Namespace();
  receiver = new Namespace();
  const peer = ['peer', 'name', 'eth0', 'numrxqueues', '2', 'numtxqueues', '2', 'netns', sender.name];
  receiver.run('ip', 'link', 'add', 'name', 'port0', 'numrxqueues', '2', 'numtxqueues', '2', 'type', 'veth', ...peer);
  for (const [namespace, name] of [
    [sender, 'eth0'],
    [receiver, 'port0'],
  ] as const) {
    namespace.run('sysctl', '-qw', 'net.ipv6.conf.all.disable_ipv6=1');
    namespace.run('ip', 'link', 'set', name, 'arp', 'off', 'up');
  }
});
afterEach(async () => {
  await endPrograms();
  if (reason === undefined) for (const each of [sender, receiver]) each.remove();
});

async function startRingway(namespace: Namespace, ports: object): Promise<Program> {
  const file = folder.path(`${namespace.name}.yaml`);
  writeFileSync(file, JSON.stringify({ version: 1, lcores: [{ idle: 'park' }], ports }));
  const ringway = namespace.start('ringway', process.execPath, MAIN, 'run', file, '--json');
  await ringway.until('a snapshot', 20_000, () => (ringway.text.includes('"event":"snapshot"') ? true : undefined));
  return ringway;
}

/** Asks the dataplane that receives. */
async function ask<T>(method: string, params: object = {}): Promise<T> {
  const client = await ControlClient.connect({ name: receiver.name });
  try {
    return await client.request<T>(method, params as Record<string, unknown>);
  } finally {
    client.close();
  }
}

interface Port {
  readonly name: string;
  readonly rxPackets: number;
  readonly txPackets: number;
}

async function finish(ringway: Program): Promise<void> {
  ringway.child.kill('SIGINT');
  await ringway.ended;
  expect(ringway.child.exitCode, ringway.text.slice(-2000)).toBe(0);
}

/** Sends all frames over the cable; resolves when they are on it. */
async function send(frames: readonly Uint8Array[]): Promise<void> {
  const path = folder.path(`${sender.name}.pcap`);
  const writer = new CaptureWriter(path);
  for (const [i, frame] of frames.entries()) writer.write(frame, { seconds: 1, nanoseconds: i * GAP_NS });
  writer.close();
  const ringway = await startRingway(sender, {
    file: { type: 'capture', path, speed: 'recorded' },
    wire: { type: 'af-packet', interface: 'eth0' },
  });
  const sent = (): true | undefined => (ringway.text.includes(`"txPackets":${frames.length},`) ? true : undefined);
  await ringway.until('all sent', 20_000, sent);
  await finish(ringway);
}

/** As many as the rings of a socket hold, whatever keeps the receiver from looking. */
const COUNT = 1000;
const GAP_NS = 50_000;
const PATIENCE = { timeout: 10_000 };

/** Datagrams from many hosts, a third of them listed, to port 9 and others. */
function makeFrames(seed: number): Uint8Array[] {
  const random = new Random(seed);
  return Array.from({ length: COUNT }, () =>
    buildFrame({
      ethernet: { source: '02:00:00:00:00:01', destination: '02:00:00:00:00:02' },
      ipv4: { source: `198.51.${random.below(3)}.${random.below(256)}`, destination: '192.0.2.1' },
      udp: { sourcePort: random.below(65_536), destinationPort: 9 + random.below(2) },
      payload: new Uint8Array(18 + random.below(200)),
    }),
  );
}

interface Entry {
  readonly key: unknown;
  readonly value: number | readonly number[];
}

/** The entries of a map, values by CPU as their sums. */
async function entries(map: string): Promise<[unknown, number][]> {
  const found = await ask<Entry[]>('map.dump', { map });
  return found.map(({ key, value }) => [key, typeof value === 'number' ? value : value.reduce((a, b) => a + b, 0)]);
}

async function portOf(name: string): Promise<Port> {
  const { ports } = await ask<{ ports: Port[] }>('stats');
  return ports.find((port) => port.name === name) as Port;
}

const xdpPort = (xdp?: object) => ({
  port0: { type: 'af-xdp', interface: 'port0', queues: 2, ...(xdp === undefined ? {} : { xdp }) },
  sink: { type: 'null' },
});

on(
  'a program counts the same in the kernel and in user space',
  async () => {
    const seed = Number(process.env.RINGWAY_SEED ?? 1);
    const frames = makeFrames(seed);
    const maps = { denied: { '198.51.1.0/24': 0, '198.51.2.0/25': 0 } };
    const counted: unknown[] = [];
    for (const attach of ['kernel', 'ringway']) {
      const ringway = await startRingway(receiver, xdpPort({ object: example('drop-list'), attach, maps }));
      expect(await ask<XdpAttachment[]>('xdp.list')).toEqual([
        { port: 'port0', object: 'drop-list', program: 'xdp_drop_list', attach, checked: true },
      ]);
      await send(frames);
      await expect
        .poll(async () => (await entries('packets')).reduce((sum, [, n]) => sum + n, 0), PATIENCE)
        .toBe(COUNT);
      const packets = await entries('packets');
      counted.push({ packets, denied: (await entries('denied')).map((entry) => JSON.stringify(entry)).sort() });
      // What passes goes on to the system in the kernel, to the switch here.
      const passed = Number(packets[0]?.[1]);
      expect(passed).toBeGreaterThan(COUNT / 4);
      expect((await portOf('port0')).rxPackets).toBe(attach === 'kernel' ? 0 : COUNT);
      expect((await portOf('sink')).txPackets).toBe(attach === 'kernel' ? 0 : passed);
      await finish(ringway);
    }
    expect(counted[0], `RINGWAY_SEED=${seed}`).toEqual(counted[1]);
  },
  120_000,
);

on(
  'what a program sends to sockets comes up by their queues; it is replaced, and goes, while packets pass',
  async () => {
    const frames = makeFrames(2);
    const wanted = frames.filter((frame) => frame[37] === 9).length;
    const ringway = await startRingway(receiver, xdpPort({ object: example('to-socket'), attach: 'kernel' }));
    await send(frames);
    await expect.poll(async () => (await portOf('port0')).rxPackets, PATIENCE).toBe(wanted);
    const maps = await ask<MapSummary[]>('map.list');
    expect(maps.map(({ name, kind }) => [name, kind])).toContainEqual(['to-socket/sockets', 'XSKMAP']);
    await expect(ask('map.dump', { map: 'sockets' })).rejects.toThrow('Linux lists no entries of a XSKMAP');
    const taken = ask('map.update', { map: 'sockets', key: '0', value: '1' });
    await expect(taken).rejects.toThrow('has the sockets of its');

    await ask('xdp.attach', { port: 'port0', program: { object: example('drop-list'), attach: 'kernel' } });
    await ask('map.update', { map: 'denied', key: '198.51.0.0/16', value: '0' });
    await send(frames);
    await expect
      .poll(() => entries('packets'))
      .toEqual([
        [0, 0],
        [1, COUNT],
      ]);
    await ask('map.delete', { map: 'denied', key: '198.51.0.0/16' });
    await expect(ask('map.delete', { map: 'denied', key: '198.51.0.0/16' })).rejects.toThrow('no entry');

    await ask('xdp.attach', { port: 'port0', program: example('drop-list') });
    await send(frames);
    await expect
      .poll(() => entries('drop-list-2/packets'))
      .toEqual([
        [0, COUNT],
        [1, 0],
      ]);
    await ask('xdp.attach', { port: 'port0', program: { object: example('to-socket'), attach: 'kernel' } });
    await ask('xdp.detach', { port: 'port0' });
    expect(await ask('xdp.list')).toEqual([]);
    expect(await ask('map.list')).toEqual([]);
    await send(frames);
    await expect.poll(async () => (await portOf('port0')).rxPackets, PATIENCE).toBe(wanted + 2 * COUNT);
    await finish(ringway);
  },
  120_000,
);

on(
  'a program that the kernel refuses is not attached, and its verifier has the last word',
  async () => {
    writeFileSync(folder.path('bad.o'), writeObject('bad', 'ldxw %r2, [%r1]\nldxb %r0, [%r2]\nexit'));
    writeFileSync(folder.path('good.o'), writeObject('good', 'mov %r0, 1\nexit'));
    const ringway = await startRingway(receiver, xdpPort());
    const attach = (name: string): Promise<unknown> =>
      ask('xdp.attach', { port: 'port0', program: { object: folder.path(`${name}.o`), attach: 'kernel' } });
    await expect(attach('bad')).rejects.toThrow(
      /^port port0: bpf\(PROG_LOAD bad\): EACCES\n.*invalid access to packet, off=0 size=1.*processed 2 insns/s,
    );
    await send(makeFrames(3));
    await expect.poll(async () => (await portOf('port0')).rxPackets, PATIENCE).toBe(COUNT);
    await attach('good');
    await finish(ringway);
    // Nothing is left at the interface.
    expect(receiver.run('ip', 'link', 'show', 'port0')).not.toContain('xdp');
  },
  60_000,
);

on(
  'without the right to, one sentence says what is needed',
  async () => {
    const file = folder.path('nobody.yaml');
    writeFileSync(
      file,
      JSON.stringify({ version: 1, ports: xdpPort({ object: example('drop-list'), attach: 'kernel' }) }),
    );
    const rights = ['--inh-caps', '-all', '--bounding-set', '-all'];
    const ringway = receiver.start('ringway', 'setpriv', ...rights, process.execPath, MAIN, 'run', file);
    await ringway.ended;
    expect(ringway.child.exitCode).not.toBe(0);
    expect(ringway.text).toMatch(/port port0: .*: run as root, or give Node the capabilities .*CAP_NET_ADMIN/);
  },
  60_000,
);
