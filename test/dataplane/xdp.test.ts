import { copyFileSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { buildFrame, CaptureWriter, readCapture } from 'ringway/packet';
import { afterAll, afterEach, expect, test } from 'vitest';
import type { XdpReport } from '#build/control/target.js';
import type { RunningDataplane } from '#build/dataplane/running.js';
import { problemsOf, start } from '../support/dataplanes.ts';
import { testFolder } from '../support/port-bench.ts';
import { writeObject } from '../xdp/support/object.ts';

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

const example = (name: string): string => new URL(`../../examples/xdp/${name}.o`, import.meta.url).pathname;
const text = (name: string, source: string): string => {
  const path = folder.path(`${name}.o`);
  writeFileSync(path, writeObject(name, source));
  return path;
};
const action = (name: string, returned: number): string => text(name, `mov %r0, ${returned}\nexit`);

test('what a program drops never reaches the switch, and its buffers are back in the pool', async () => {
  const dataplane = await begin({
    ports: {
      in: {
        type: 'generator',
        flows: 4096,
        src: '198.18.0.0/20',
        limit: 200_000,
        xdp: { object: example('drop-list'), maps: { denied: { '198.18.8.0/21': 0 } } },
      },
      out: { type: 'null' },
    },
  });
  await dataplane.finished;
  const entries = dataplane.dumpMap('drop-list/denied');
  const last = await dataplane.stop();
  expect(problemsOf(last)).toEqual([]);
  const [port] = last.ports;
  const dropped = port?.drops.xdp ?? 0;
  // Half of the flows are on the list.
  expect(dropped).toBeGreaterThan(95_000);
  expect(dropped).toBeLessThan(105_000);
  expect(port?.xdp).toMatchObject({ program: 'xdp_drop_list', drop: dropped, pass: 200_000 - dropped, aborted: 0 });
  expect(last.ports[1]?.txPackets).toBe(200_000 - dropped);
  expect(entries.map(({ value }) => value)).toEqual([dropped]);
  expect(last.pool.recycleCached).toBeGreaterThanOrEqual(200_000);
});

test('a packet that is sent back or redirected leaves through the port that the program says', async () => {
  const dataplane = await begin({
    lcores: 2,
    ports: {
      in: {
        type: 'generator',
        lcore: 0,
        limit: 10_000,
        dstMac: '02:00:00:00:00:10',
        dstMacs: 2,
        flows: 64,
        xdp: {
          object: example('l2-forward'),
          maps: {
            stations: { '02:00:00:00:00:10': 0, '02:00:00:00:00:11': 1 },
            ports: { 0: 'port:near', 1: 'port:far' },
          },
        },
      },
      near: { type: 'null', lcore: 0 },
      far: { type: 'null', lcore: 1 },
      echo: { type: 'generator', lcore: 1, limit: 5_000, xdp: action('back', 3) },
    },
  });
  await dataplane.finished;
  const last = await dataplane.stop();
  expect(problemsOf(last)).toEqual([]);
  const [, near, far, echo] = last.ports;
  expect((near?.txPackets ?? 0) + (far?.txPackets ?? 0)).toBe(10_000);
  expect(near?.txPackets).toBeGreaterThan(4_000);
  expect(far?.txPackets).toBeGreaterThan(4_000);
  expect(last.ports[0]?.xdp).toMatchObject({ redirect: 10_000, pass: 0, drop: 0 });
  // A generator takes nothing: what it is sent back is dropped there, and counted as what was to leave.
  expect(echo?.xdp?.tx).toBe(5_000);
});

test('flows that a CPU map deals out are switched by the lcores that it says', async () => {
  const dataplane = await begin({
    lcores: 3,
    ports: {
      in: {
        type: 'generator',
        lcore: 0,
        flows: 256,
        limit: 30_000,
        rate: 300_000,
        xdp: { object: example('steer'), maps: { targets: { 0: 192, 1: 192 } } },
      },
      out: { type: 'null', lcore: 2 },
    },
  });
  await dataplane.finished;
  const steered = dataplane.dumpMap('steered') as readonly { readonly value: number[] }[];
  const last = await dataplane.stop();
  expect(problemsOf(last)).toEqual([]);
  const counts = steered.map(({ value }) => value.reduce((sum, one) => sum + one, 0)).slice(0, 2);
  expect(counts.reduce((sum, one) => sum + one, 0)).toBe(30_000);
  for (const count of counts) expect(count).toBeGreaterThan(5_000);
  // The generator waits for nobody: rings may overflow where threads wait for their turn.
  const [from, to] = last.ports;
  expect((to?.txPackets ?? 0) + (to?.drops['tx-full'] ?? 0) + (from?.drops['lcore-full'] ?? 0)).toBe(30_000);
  expect(last.lcores.every(({ packets }) => packets > 5_000)).toBe(true);
});

test('a socket gets what its map says, with the bytes that came in; the switch gets the rest', async () => {
  const input = folder.path('socket-in.pcap');
  const writer = new CaptureWriter(input);
  const frame = (port: number): Uint8Array =>
    buildFrame({
      ethernet: { source: '02:00:00:00:00:01', destination: 'ff:ff:ff:ff:ff:ff' },
      ipv4: { source: '10.0.0.1', destination: '10.0.0.2' },
      udp: { sourcePort: 1000, destinationPort: port },
      payload: new Uint8Array(20).fill(port),
    });
  for (let i = 0; i < 100; i++) writer.write(frame(i % 4 === 0 ? 9 : 10), { seconds: 1, nanoseconds: i });
  writer.close();
  const [socket, rest] = [folder.path('socket.pcap'), folder.path('rest.pcap')];
  const dataplane = await begin({
    ports: {
      in: {
        type: 'capture',
        path: input,
        xdp: { object: example('to-socket'), maps: { sockets: { 0: 'port:socket' } } },
      },
      socket: { type: 'capture', write: socket },
      rest: { type: 'capture', write: rest },
    },
    steering: [{ match: { 'flow-type': 'udp4' }, action: { port: 'rest' } }],
  });
  await dataplane.finished;
  expect(problemsOf(await dataplane.stop())).toEqual([]);
  const got = [...readCapture(socket)];
  expect(got).toHaveLength(25);
  expect(got.every(({ frame: bytes }) => Buffer.compare(bytes, frame(9)) === 0)).toBe(true);
  expect([...readCapture(rest)]).toHaveLength(75);
});

test('programs are replaced while traffic flows, and every packet sees one of them', async () => {
  const dataplane = await begin({
    ports: {
      in: { type: 'generator', rate: 200_000, xdp: action('pass', 2) },
      out: { type: 'null' },
    },
  });
  const objects = [action('drop', 1), action('pass2', 2)];
  for (let i = 0; i < 20; i++) {
    await dataplane.attachXdp('in', objects[i % 2]);
    await sleep(10);
    expect(dataplane.listXdp()).toEqual([
      {
        port: 'in',
        object: i % 2 === 0 ? 'drop' : 'pass2',
        program: i % 2 === 0 ? 'drop' : 'pass2',
        attach: 'ringway',
        checked: true,
      },
    ]);
  }
  await dataplane.detachXdp('in');
  expect(dataplane.listXdp()).toEqual([]);
  await expect(dataplane.detachXdp('in')).rejects.toMatchObject({ code: 'NOT_FOUND' });
  await sleep(20);
  const last = await dataplane.stop();
  expect(problemsOf(last)).toEqual([]);
  const [port] = last.ports;
  expect(port?.drops.xdp).toBeGreaterThan(0);
  expect(last.ports[1]?.txPackets).toBeGreaterThan(0);
  expect(last.totals.received).toBe(last.totals.sent + last.totals.dropped);
});

test('what programs say and which packets they abort is told to whoever listens', async () => {
  const wild = text('wild', 'mov %r1, 4096\nldxdw %r0, [%r1+0]\nexit');
  const dataplane = await begin({
    ports: {
      in: { type: 'generator', rate: 50_000, xdp: wild },
      odd: { type: 'generator', rate: 50_000, xdp: action('odd', 77) },
      out: { type: 'null' },
    },
  });
  const reports: XdpReport[] = [];
  const stop = dataplane.watchXdp((report) => reports.push(report));
  await expect
    .poll(() => reports.map(({ text: line }) => line).join('\n'), { timeout: 5000 })
    .toMatch(/odd returned 77/);
  await expect.poll(() => reports.map(({ text: line }) => line).join('\n'), { timeout: 5000 }).toMatch(/port in:/);
  stop();
  const why = reports.map(({ text: line }) => line).join('\n');
  expect(why).toMatch(
    /port in: \d+ packets, the last: wild reaches memory that is not in its packet, stack or maps, at wild, instruction 1/,
  );
  const last = await dataplane.stop();
  expect(problemsOf(last)).toEqual([]);
  expect(last.ports[0]?.drops['xdp-aborted']).toBe(last.ports[0]?.rxPackets);
  expect(last.ports[2]?.txPackets).toBe(0);
});

test('maps are listed, read and written while programs run', async () => {
  const dataplane = await begin({
    lcores: 2,
    ports: {
      in: { type: 'generator', rate: 100_000, src: '198.18.0.0/24', flows: 16, xdp: example('drop-list') },
      out: { type: 'null' },
    },
  });
  expect(dataplane.listMaps().map(({ name, kind }) => `${name} ${kind}`)).toEqual([
    'drop-list/packets PERCPU_ARRAY',
    'drop-list/denied LPM_TRIE',
    'drop-list/denied6 LPM_TRIE',
  ]);
  await dataplane.updateMap('denied', '198.18.0.0/24', '0');
  await expect.poll(() => Number((dataplane.dumpMap('denied')[0] as { value: number }).value)).toBeGreaterThan(100);
  await dataplane.deleteMapEntry('denied', '198.18.0.0/24');
  expect(dataplane.dumpMap('denied')).toEqual([]);
  await expect(dataplane.deleteMapEntry('denied', '198.18.0.0/24')).rejects.toMatchObject({ code: 'NOT_FOUND' });
  await expect(dataplane.updateMap('denied', '198.18.0.0', '0')).rejects.toThrow(/map denied: key/);
  await expect(dataplane.updateMap('nothing', '1', '0')).rejects.toThrow(/no map "nothing"/);
});

test('a configuration that names what is not there is refused with its place', async () => {
  const ports = (xdp: unknown): object => ({ ports: { in: { type: 'generator', xdp }, out: { type: 'null' } } });
  await expect(begin(ports('/nowhere.o'))).rejects.toThrow(/ports\.in\.xdp: \/nowhere\.o cannot be read/);
  await expect(begin(ports({ object: example('vlan') }))).rejects.toThrow(
    /2 XDP programs: xdp_vlan_pop, xdp_vlan_push|2 XDP programs/,
  );
  await expect(begin(ports({ object: example('drop-list'), maps: { denid: {} } }))).rejects.toThrow(
    /ports\.in\.xdp\.maps\.denid: is no map .*did you mean "denied"/,
  );
  await expect(begin(ports({ object: example('l2-forward'), maps: { ports: { 0: 'port:gone' } } }))).rejects.toThrow(
    /there is no port "gone"/,
  );
  const garbage = folder.path('garbage.o');
  copyFileSync(new URL('../../package.json', import.meta.url), garbage);
  await expect(begin(ports(garbage))).rejects.toMatchObject({ code: 'BAD_OBJECT' });
});

test('packets in several buffers are for programs of section xdp.frags only', async () => {
  const source = (xdp: string): object => ({
    ports: { in: { type: 'generator', size: 4000, limit: 1000, xdp }, out: { type: 'null' } },
  });
  const plain = await begin(source(action('plain', 2)));
  await plain.finished;
  const without = await plain.stop();
  expect(without.ports[0]?.drops['xdp-frags']).toBe(1000);
  expect(problemsOf(without)).toEqual([]);
  const frags = folder.path('frags.o');
  writeFileSync(frags, writeObject('frags', 'mov %r0, 2\nexit', { section: 'xdp.frags' }));
  const taken = await begin(source(frags));
  await taken.finished;
  const last = await taken.stop();
  expect(last.ports[1]?.txPackets).toBe(1000);
  expect(problemsOf(last)).toEqual([]);
});
