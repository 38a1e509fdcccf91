import { afterAll, afterEach, beforeEach, expect, test } from 'vitest';
import type { RunningDataplane } from '#build/dataplane/running.js';
import { problemsOf, start } from '../support/dataplanes.ts';
import { effort } from '../support/effort.ts';
import { testFolder } from '../support/port-bench.ts';
import { writeMixedCapture } from '../support/topology.ts';

const folder = testFolder();
afterAll(folder.rm);

const PORTS = effort(30, 200);

let dataplane: RunningDataplane;
beforeEach(async () => {
  dataplane = await start({
    version: 1,
    name: 'control',
    lcores: 2,
    ports: {
      in: { type: 'generator', lcore: 0, rate: '20kpps', srcMac: '02:00:00:00:01:00', dstMac: '02:00:00:00:02:00' },
      out: { type: 'capture', lcore: 1, write: folder.path('out.pcap') },
    },
  });
});
afterEach(async () => {
  expect(problemsOf(await dataplane.stop())).toEqual([]);
  expect(folder.open()).toEqual([]);
});

const port = (name: string) => dataplane.snapshot().ports.find((candidate) => candidate.name === name);
const sent = (name: string): number => port(name)?.txPackets ?? 0;

async function grows(read: () => number): Promise<void> {
  const before = read();
  await expect.poll(read).toBeGreaterThan(before);
}

test('a port that is added gets packets, and one that is deleted gives its packets up', async () => {
  await grows(() => sent('out'));
  await dataplane.addPort('more', { type: 'null' });
  await grows(() => sent('more'));
  await expect(dataplane.addPort('more', { type: 'null' })).rejects.toMatchObject({ code: 'BUSY' });
  await expect(dataplane.addPort('bad', { type: 'capture', path: folder.path('none') })).rejects.toThrow(
    /ports\.bad\.path/,
  );
  await expect(dataplane.addPort('far', { type: 'null', lcore: 9 })).rejects.toThrow(
    /ports\.far\.lcore: 9, there are lcores 0 to 1/,
  );
  await expect(dataplane.addPort('own', { type: 'module', module: '/none.mjs' })).rejects.toMatchObject({
    code: 'BAD_CONFIG',
  });
  await dataplane.deletePort('more');
  expect(port('more')).toBeUndefined();
  await expect(dataplane.deletePort('more')).rejects.toMatchObject({ code: 'NOT_FOUND' });
  const { totals, ports } = dataplane.snapshot();
  expect(totals.sent).toBeGreaterThan(ports.reduce((sum, { txPackets }) => sum + txPackets, 0));
  // The next port that gets its number begins at 0.
  await dataplane.addPort('next', { type: 'null', vlan: { access: 99 } });
  expect(port('next')).toMatchObject({ rxPackets: 0, txPackets: 0, drops: {} });
});

test('a port is received from as it was configured from its first packet on', async () => {
  for (let i = 0; i < effort(3, 20); i++) {
    await dataplane.addPort('more', { type: 'generator', vlan: { access: 77 }, limit: 1000 });
    await expect.poll(() => port('more')?.rxPackets).toBe(1000);
    // Nobody mirrors it, and the VLAN is its own but for trunks.
    expect(port('more')).toMatchObject({ drops: {}, copies: 1000 });
    await dataplane.deletePort('more');
  }
});

test('values are changed while it runs, and what cannot be is refused', async () => {
  await grows(() => port('in')?.rxPackets ?? 0);
  await dataplane.set('ports.in.fault.loss', '100%');
  await grows(() => port('in')?.drops.fault ?? 0);
  await dataplane.set('ports.in.rate', '0pps').catch(() => dataplane.set('ports.in.rate', '1pps'));
  await dataplane.set('switch.ageing', '20s');
  await dataplane.set('switch.reserved', 'forward');
  await dataplane.set('ports.in.learn', 'false');
  await dataplane.set('ports.in.storm', '10pps');
  await expect(dataplane.set('ports.out.speed', 'full')).rejects.toMatchObject({
    code: 'BAD_ARGUMENT',
    message: 'capture: speed cannot be changed while it runs; only a replay’s speed can',
  });
  await expect(dataplane.set('ports.out.rate', '1pps')).rejects.toThrow(
    /it is a capture port; only a generator has that/,
  );
  await expect(dataplane.set('ports.none.rate', '1pps')).rejects.toMatchObject({ code: 'NOT_FOUND' });
});

test('rules are added, counted and deleted, and go with their port', async () => {
  await dataplane.addPort('dns', { type: 'null' });
  const id = await dataplane.addSteering({ match: { 'flow-type': 'udp4' }, action: { port: 'dns' } });
  await grows(() => sent('dns'));
  expect(dataplane.listSteering()).toMatchObject([{ id, hits: expect.any(Number) }]);
  expect(dataplane.listSteering()[0]?.hits).toBeGreaterThan(0);
  const drop = await dataplane.addSteering({ match: { 'in-port': 'in' }, action: { drop: true } });
  await dataplane.deleteSteering(id);
  await grows(() => port('in')?.drops.steered ?? 0);
  await dataplane.deleteSteering(drop);
  await expect(dataplane.deleteSteering(drop)).rejects.toMatchObject({ code: 'NOT_FOUND' });
  await expect(dataplane.addSteering({ match: { vlan: 1 }, action: { lcore: 7 } })).rejects.toThrow(
    /lcore 7, there are 0 to 1/,
  );
  for (const lcore of [0, 1]) await dataplane.addSteering({ match: { 'flow-type': 'udp4' }, action: { lcore } });
  await grows(() => sent('out'));
  await dataplane.addSteering({ match: { 'in-port': 'dns' }, action: { drop: true } });
  await dataplane.deletePort('dns');
  expect(dataplane.listSteering()).toHaveLength(2);
});

test('a rule for a queue says whose, and a port that a route leads to stays', async () => {
  const rule = { match: { vlan: 3 }, action: { queue: 0 } };
  await expect(dataplane.addSteering(rule)).rejects.toThrow(/needs in-port in its match/);
  await dataplane.addSteering({ ...rule, match: { 'in-port': 'in', vlan: 3 } });
  const routed = await start({
    version: 1,
    name: 'routed',
    ports: { a: { type: 'null' }, b: { type: 'null' } },
    switch: {
      routerMac: '02:00:00:00:00:01',
      routes: [{ prefix: '10.0.0.0/8', port: 'b', mac: '02:00:00:00:00:02' }],
    },
  });
  await expect(routed.deletePort('b')).rejects.toThrow(/port b: the route 10\.0\.0\.0\/8 leads there/);
  await routed.deletePort('a');
  await routed.stop();
});

test('packets are traced until nobody looks, also on a port that has another’s number', async () => {
  const lines: string[] = [];
  const stop = dataplane.trace('in', (line) => lines.push(line));
  await expect.poll(() => lines.length).toBeGreaterThan(3);
  stop();
  stop();
  expect(lines[0]).toMatch(/^rx 60 bytes .*udp/i);
  expect(() => dataplane.trace('none', () => {})).toThrow(/no port "none"; there are: in, out/);
  await dataplane.addPort('first', { type: 'null' });
  const stale = dataplane.trace('first', () => {});
  await dataplane.deletePort('first');
  await dataplane.addPort('second', { type: 'null' });
  const seen: string[] = [];
  dataplane.trace('second', (line) => seen.push(line));
  stale();
  await expect.poll(() => seen.length).toBeGreaterThan(3);
  expect(seen.at(-1)).toMatch(/^tx 60 bytes/);
});

test('a port that takes nothing is deleted under traffic, and what waited for it is port-gone', async () => {
  const module = new URL('../support/odd-port.mjs', import.meta.url).href;
  await dataplane.set('ports.in.rate', 'none');
  await dataplane.addPort('full', { type: 'module', module, options: { give: 0, take: 0 }, lcore: 1 });
  await expect.poll(() => dataplane.snapshot().rings.find(({ name }) => name === 'full tx')?.fill).toBeGreaterThan(900);
  await dataplane.deletePort('full');
  expect(dataplane.snapshot().drops['port-gone']).toBeGreaterThan(900);
  await grows(() => sent('out'));
});

test(`${PORTS} ports come and go without a trace in the arena`, async () => {
  const path = folder.path('mixed.pcap');
  writeMixedCapture(path);
  // Together they would need twice the room that there is for them, or six times.
  for (let i = 0; i < PORTS; i++) {
    const source = [
      { type: 'null', tap: folder.path('tap.pcap') },
      { type: 'generator', limit: 50, flows: 4 },
      { type: 'capture', path, write: folder.path('again.pcap') },
    ][i % 3];
    await dataplane.addPort(`p${i}`, source);
    await dataplane.deletePort(`p${i}`);
  }
  expect(folder.open()).toEqual([folder.path('out.pcap')]);
});
