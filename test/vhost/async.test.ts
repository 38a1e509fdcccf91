import { afterAll, expect, test } from 'vitest';
import { sysAvailable } from '#build/sys/index.js';
import { testEngine } from '../support/async-echo.ts';
import { problemsOf } from '../support/dataplanes.ts';
import { testFolder } from '../support/port-bench.ts';
import { mappings } from '../support/resources.ts';
import { Linked, until } from '../support/virtio-user.ts';

const folder = testFolder();
afterAll(() => folder.rm());

let serial = 0;
const newSocket = (): string => folder.path(`${serial++}.sock`);
const MIX = [60, 590, 1514, 1792, 3000, 9000].map((size) => ({ size, weight: 1 }));

test.skipIf(!sysAvailable()).each([
  [
    { packed: true, inOrder: true, notify: 'interrupt' },
    { integration: 'defer', assignment: 'lcore' },
  ],
  [
    { packed: false, inOrder: true, notify: 'adaptive' },
    { integration: 'v4', assignment: 'dynamic-lcore' },
  ],
  [
    { packed: true, inOrder: false, notify: 'poll', queues: 2 },
    { integration: 'v3', assignment: 'vring' },
  ],
  [
    { packed: false, inOrder: false, eventIdx: false, notify: 'adaptive', queues: 2 },
    { integration: 'vq', assignment: 'dynamic-vring' },
  ],
])('all packets get through, both ways, by engines: %o, %o', async (settings, async) => {
  const lcores = [{ idle: 'park' }, { idle: 'park' }];
  const { notify } = settings;
  const link = await Linked.start({
    socket: newSocket(),
    driver: settings,
    device: { queues: 2, notify },
    lcores,
    async: { ...async, engines: 2 },
  });
  for (const to of ['device', 'driver'] as const) {
    await link.untilUp(to);
    const before = link.arrived(to);
    const other = to === 'device' ? 'driver' : 'device';
    const load = await link.send(to, { limit: 1000, rate: 20_000, size: MIX, flows: 100 });
    const lost = (): number => (link.port(other).drops['tx-full'] ?? 0) + (link.port(load).drops.vlan ?? 0);
    await until('the last packet', () => link.arrived(to) + lost() === before + 1000);
  }
  expect(link.port('driver').rxBytes).toBe(link.port('device').txBytes);
  expect(link.port('device').rxBytes).toBe(link.port('driver').txBytes);
  const rings = link.dataplane.snapshot().async?.rings ?? [];
  for (const sends of [true, false]) {
    const offloaded = rings.reduce((sum, ring) => sum + (ring.sends === sends ? ring.offloaded : 0), 0);
    expect(offloaded, `sends: ${sends}`).toBeGreaterThan(0);
  }
  expect(problemsOf(await link.dataplane.stop())).toEqual([]);
});

test.skipIf(!sysAvailable()).each([
  ['is slow', testEngine('./dma-faulty.mjs', { every: 5, polls: 20_000 })],
  ['hangs', testEngine('./dma-hang.mjs', { how: 'hang' })],
])('a driver that vanishes with copies under way, in an engine that %s, leaves nothing', async (_, engine) => {
  const link = await Linked.start({ socket: newSocket(), device: {}, async: { engine, assignment: 'vring' } });
  await link.untilUp('device');
  await link.send('driver', { rate: 20_000, size: [{ size: 601, weight: 1 }] });
  const offloaded = (): number => link.dataplane.snapshot().async?.rings.find(({ sends }) => sends)?.offloaded ?? 0;
  let before: number | undefined;
  for (let round = 0; round < 3; round++) {
    const sent = link.port('device').txPackets;
    await until('packets', () => link.port('device').txPackets > sent + 20);
    if (round === 0) expect(offloaded()).toBeGreaterThan(0);
    await link.dataplane.deletePort('driver');
    await until('its memory is given back', () => (link.dataplane.snapshot().async?.rings.length ?? 0) === 0);
    const left = mappings();
    before ??= left;
    expect(left).toEqual(before);
    await link.addDriver();
  }
  expect(problemsOf(await link.dataplane.stop())).toEqual([]);
});
