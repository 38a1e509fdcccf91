import { writeFileSync } from 'node:fs';
import type { RunningDataplane, Snapshot } from 'ringway';
import { afterAll, afterEach, expect, test } from 'vitest';
import { RSS_TYPES } from '#build/packet/layout.js';
import { CTRL_HASH_TOEPLITZ, VIFHASH_ALGORITHM, VIFHASH_RSS } from '#build/xen/control-layout.js';
import { NETTXF_STAGING_BUFFER } from '#build/xen/layout.js';
import { problemsOf, start, startWithMachine } from '../support/dataplanes.ts';
import { testFolder } from '../support/port-bench.ts';
import { writeObject } from '../xdp/support/object.ts';

const folder = testFolder();
afterAll(folder.rm);

/** Frames of all sizes up to a page and more, at either end of a Xen device. */
const load = (vlan: number, lcore: number) => ({
  type: 'generator',
  vlan: { access: vlan },
  lcore,
  rate: '20kpps',
  flows: 64,
  size: [60, 300, 1514, 6000].map((size) => ({ size, weight: 1 })),
  srcMac: `02:00:00:00:00:${vlan}`,
  dstMac: `02:00:00:00:00:${30 - vlan}`,
});

const source = (back: object = {}, front: object = {}, lcores: unknown = 2) => ({
  version: 1,
  name: 'xen',
  lcores,
  ports: {
    a: load(10, 0),
    eth0: { type: 'xen-netfront', backend: 'vif', vlan: { access: 20 }, lcore: 1, ...front },
    vif: { type: 'xen-netback', vlan: { access: 10 }, lcore: 0, ...back },
    b: load(20, 1),
  },
});

let dataplane: RunningDataplane;
const port = (name: string): Snapshot['ports'][number] | undefined =>
  dataplane.snapshot().ports.find((candidate) => candidate.name === name);
const received = (name: string): number => port(name)?.rxPackets ?? 0;

async function grows(read: () => number, more: number): Promise<void> {
  const least = read() + more;
  await expect.poll(read, { timeout: 20_000 }).toBeGreaterThanOrEqual(least);
}

// All that was received or copied was sent or dropped, every buffer is back, and what was on its way got out.
afterEach(async () => {
  const lost = ({ drops }: Snapshot): number => (drops.stopped ?? 0) + (drops['link-down'] ?? 0);
  const before = lost(dataplane.snapshot());
  const last = await dataplane.stop();
  expect(problemsOf(last)).toEqual([]);
  expect(lost(last)).toBe(before);
});

test.each([
  ['copies', {}, { path: 'copy' }],
  ['staging buffers', {}, { path: 'staging' }],
  [
    'whole packets staged, two queues, rings of two pages',
    { queues: 2, ringOrder: 1 },
    { queues: 2, ringOrder: 1, txDataLength: 4096, rxDataLength: 65536 },
  ],
  ['a data ring, two queues', { queues: 2 }, { queues: 2, path: 'data-ring', dataRingOrder: 2 }],
  ['pages that stay mapped', {}, { path: 'persistent' }],
  ['pages that messages name', {}, { path: 'control' }],
  ['a backend without staging', { paths: [] }, { path: 'staging' }],
  ['no offloads', { offloads: false }, { offloads: false }],
])('packets pass a Xen device both ways: %s', async (_, back, front) => {
  dataplane = await start(source(back, front));
  await grows(() => received('eth0'), 200);
  await grows(() => received('vif'), 200);
  expect([port('vif')?.fault, port('eth0')?.fault]).toEqual([undefined, undefined]);
});

test('a stop under load lets out what waits for either end', async () => {
  const { rate: _, ...a } = load(10, 0);
  const { rate: __, ...b } = load(20, 1);
  const { ports, ...rest } = source();
  dataplane = await start({ ...rest, ports: { ...ports, a, b } });
  await grows(() => received('eth0'), 5000);
  await grows(() => received('vif'), 5000);
});

test('a frontend with hash has its backend spread packets by one', async () => {
  const { machine, dataplane: started } = await startWithMachine(source({ queues: 2 }, { queues: 2, hash: true }));
  dataplane = started;
  const state = machine.arena.regions().find(({ name }) => name === 'port vif steer')?.address ?? 0;
  await grows(() => received('eth0'), 100);
  const said = (offset: number): number => machine.arena.u32[(state + offset) >>> 2] ?? 0;
  await expect.poll(() => [said(VIFHASH_ALGORITHM), said(VIFHASH_RSS + RSS_TYPES)]).toEqual([CTRL_HASH_TOEPLITZ, 27]);
  await grows(() => received('eth0'), 200);
  expect([port('vif')?.fault, port('eth0')?.fault]).toEqual([undefined, undefined]);
});

test.each([1, 2])('with two queues on %i lcores, what a program sends back goes from where it lies', async (lcores) => {
  const object = folder.path('back.o');
  writeFileSync(object, writeObject('back', 'mov %r0, 3\nexit'));
  const { machine, dataplane: started } = await startWithMachine({
    version: 1,
    name: 'xen',
    lcores,
    ports: {
      a: { ...load(10, 0), size: 60 },
      eth0: { type: 'xen-netfront', backend: 'vif', vlan: { access: 20 }, queues: 2, xdp: { object } },
      vif: { type: 'xen-netback', vlan: { access: 10 }, queues: 2 },
    },
  });
  dataplane = started;
  await grows(() => received('vif'), 2000);
  const { arena } = machine;
  const lent = [0, 1].map((queue) => {
    const ring = arena.regions().find(({ name }) => name === `port eth0 queue ${queue} tx ring`)?.address ?? 0;
    const flags = ((arena.u32[ring >>> 2] ?? 0) + 64 + 6) >>> 1;
    return Array.from({ length: 256 }, (_, i) => (arena.u16[flags + i * 6] ?? 0) & NETTXF_STAGING_BUFFER);
  });
  for (const queue of lent) expect(queue).toContain(NETTXF_STAGING_BUFFER);
});

test('lcores that sleep are woken by event channels', async () => {
  dataplane = await start(source({}, {}, [{ idle: 'park' }, { idle: 'park' }]));
  await grows(() => received('eth0'), 200);
});

test('either end goes and comes back, and all of it is given back in between', async () => {
  const { machine, dataplane: started } = await startWithMachine(source());
  dataplane = started;
  await grows(() => received('eth0'), 100);
  const xenRegions = (): string[] =>
    machine.arena
      .regions()
      .map(({ name }) => name)
      .filter((name) => /^(xen|port (vif|eth0))/.test(name));
  const { ports } = source();
  for (const [name, other] of [
    ['eth0', 'vif'],
    ['vif', 'eth0'],
    ['eth0', 'vif'],
  ] as const) {
    await dataplane.deletePort(name);
    expect(xenRegions().filter((region) => region.includes(`port ${name}`))).toEqual([]);
    await grows(() => port('vif')?.drops['link-down'] ?? 1, 0);
    await dataplane.addPort(name, ports[name]);
    await grows(() => received('eth0'), 100);
    expect(port(other)?.fault).toBeUndefined();
  }
  await dataplane.deletePort('eth0');
  await dataplane.deletePort('vif');
  expect(xenRegions()).toEqual([]);
});

test('a second frontend of one backend is refused', async () => {
  dataplane = await start(source());
  await expect(dataplane.addPort('eth1', { type: 'xen-netfront', backend: 'vif' })).rejects.toThrow(
    'the backend "vif" has a frontend already; it takes one',
  );
  await grows(() => received('eth0'), 100);
});
