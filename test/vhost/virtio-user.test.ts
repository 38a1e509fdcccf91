import { afterAll, expect, test } from 'vitest';
import { sysAvailable } from '#build/sys/index.js';
import { problemsOf } from '../support/dataplanes.ts';
import { effort, someOf } from '../support/effort.ts';
import { testFolder } from '../support/port-bench.ts';
import { countFds, Linked, until } from '../support/virtio-user.ts';

const folder = testFolder();
afterAll(() => folder.rm());

let serial = 0;
const newSocket = (): string => folder.path(`${serial++}.sock`);
const MIX = [60, 590, 1514, 1792, 3000, 9000].map((size) => ({ size, weight: 1 }));
const OTHER_END = { device: 'driver', driver: 'device' } as const;

// Each pair of settings comes in all its combinations.
const COMBINATIONS = [
  [true, true, true, true, 1],
  [true, true, false, false, 2],
  [true, false, true, false, 2],
  [true, false, false, true, 1],
  [false, true, true, false, 1],
  [false, true, false, true, 2],
  [false, false, true, true, 2],
  [false, false, false, false, 1],
].map(([packed, mergeable, inOrder, eventIdx, queues]) => ({ packed, mergeable, inOrder, eventIdx, queues }));

test.skipIf(!sysAvailable()).each(someOf(COMBINATIONS, 5))(
  'all packets get through, both ways: %o',
  async (settings) => {
    const lcores = Array.from({ length: Number(settings.queues) }, () => ({ idle: 'park' }));
    const link = await Linked.start({ socket: newSocket(), driver: settings, device: { queues: 2 }, lcores });
    const size = settings.mergeable ? MIX : 'imix';
    for (const to of ['device', 'driver'] as const) {
      await link.untilUp(to);
      const before = link.arrived(to);
      const lost = (): number => link.port(OTHER_END[to]).drops['tx-full'] ?? 0;
      const load = await link.send(to, { limit: 2000, rate: 20_000, size, flows: 100 });
      const early = (): number => link.port(load).drops.vlan ?? 0;
      await until('the last packet', () => link.arrived(to) + lost() + early() === before + 2000);
      // One of several queues that is full loses what is for it; a single one has the generator wait.
      if (settings.queues === 1) expect(lost()).toBe(0);
    }
    expect(link.port('driver').fault).toBeUndefined();
    expect(link.port('driver').rxBytes).toBe(link.port('device').txBytes);
    expect(link.port('device').rxBytes).toBe(link.port('driver').txBytes);
    expect(problemsOf(await link.dataplane.stop())).toEqual([]);
  },
);

test.skipIf(!sysAvailable()).each(['client', 'server'])(
  'a driver that is %s comes back with its device, and accounts for every packet between',
  async (mode) => {
    const link = await Linked.start({
      socket: newSocket(),
      driver: { mode },
      device: { mode: mode === 'client' ? 'server' : 'client' },
    });
    await link.untilUp('device');
    const load = await link.send('device', { rate: 20_000, size: 'imix' });
    const fds: number[] = [];
    for (let round = 0; round < effort(2, 5); round++) {
      const before = link.arrived('device');
      await until('packets again', () => link.arrived('device') > before + 200);
      fds.push(countFds());
      await link.dataplane.deletePort('device');
      await link.addDevice();
    }
    await link.dataplane.deletePort(load);
    await link.untilQuiet();
    expect(new Set(fds).size).toBe(1);
    const last = await link.dataplane.stop();
    expect(problemsOf(last)).toEqual([]);
    const port = (name: string) => last.ports.find((each) => each.name === name);
    // What the switch got of a device that it had given up already.
    const { vlan = 0 } = last.drops;
    const missing = (port('driver')?.txPackets ?? 0) - (port('atDevice')?.txPackets ?? 0);
    expect(missing).toBeGreaterThanOrEqual(0);
    expect(missing).toBeLessThanOrEqual(vlan);
    expect(Object.keys(port('driver')?.drops ?? {})).toEqual(['link-down']);
  },
);

test.skipIf(!sysAvailable())('the link of a driver goes with that of its device', async () => {
  const link = await Linked.start({ socket: newSocket(), device: {} });
  await link.untilUp('device');
  const lost = (): number => link.port('driver').drops['link-down'] ?? 0;
  await link.send('device', { rate: 1000 });
  for (let round = 0; round < 2; round++) {
    await link.dataplane.set('ports.device.link', 'down');
    const before = lost();
    await until('drops', () => lost() > before + 10);
    await link.dataplane.set('ports.device.link', 'up');
    const arrived = link.arrived('device');
    await until('packets', () => link.arrived('device') > arrived + 10);
  }
  expect(problemsOf(await link.dataplane.stop())).toEqual([]);
});

test.skipIf(!sysAvailable()).each(['poll', 'adaptive', 'interrupt'])(
  'an lcore that sleeps hears of packets: %s',
  async (notify) => {
    const link = await Linked.start({
      socket: newSocket(),
      driver: { notify },
      device: { notify },
      lcores: [{ idle: 'park' }, { idle: 'park' }],
    });
    const limit = effort(20, 50);
    for (const to of ['device', 'driver'] as const) {
      await link.untilUp(to);
      const before = link.arrived(to);
      await link.send(to, { limit, rate: 200 });
      await until('the last packets', () => link.arrived(to) >= before + limit - 1, 3000);
    }
    expect(problemsOf(await link.dataplane.stop())).toEqual([]);
  },
);

test.skipIf(!sysAvailable())('a driver whose device refuses it says so, and gets it once it is there', async () => {
  const link = await Linked.start({ socket: newSocket(), driver: { mtu: 9000 }, device: { mtu: 1500 } });
  await until('a fault', () => link.port('driver').fault !== undefined);
  expect(link.port('driver').fault).toBe('port driver: the backend refuses NET_SET_MTU');
  await link.dataplane.deletePort('device');
  await link.addDevice({ mtu: 9000 });
  await link.untilUp('device');
  await until('no fault', () => link.port('driver').fault === undefined);
  expect(problemsOf(await link.dataplane.stop())).toEqual([]);
});
