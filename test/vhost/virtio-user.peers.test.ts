import { rmSync } from 'node:fs';
import { afterAll, expect, test } from 'vitest';
import { problemsOf } from '../support/dataplanes.ts';
import { testFolder } from '../support/port-bench.ts';
import { endPrograms, missingPrograms } from '../support/program.ts';
import { startTestpmd } from '../support/testpmd.ts';
import { Linked, until } from '../support/virtio-user.ts';

const folder = testFolder();
afterAll(async () => {
  await endPrograms();
  folder.rm();
});

const missing = missingPrograms('dpdk-testpmd');
if (missing.length > 0) console.warn(`virtio-user.peers.test.ts is skipped: no ${missing.join(', ')}`);
const onPeers = test.skipIf(missing.length > 0);

const MIX = [60, 590, 1514, 9000].map((size) => ({ size, weight: 1 }));
let serial = 0;
const newSocket = (): string => folder.path(`${serial++}.sock`);

onPeers.each([
  { packed: false, mode: 'client', queues: 1, mergeable: true },
  { packed: true, mode: 'client', queues: 2, mergeable: true },
  { packed: false, mode: 'server', queues: 2, mergeable: false },
  { packed: true, mode: 'server', queues: 1, mergeable: false },
])(
  'testpmd sends back all that it gets: %o',
  async ({ mode, ...settings }) => {
    const socket = newSocket();
    const link = await Linked.start({ socket, driver: { mode, ...settings } });
    const testpmd = await startTestpmd({
      name: 'echo',
      ports: [{ kind: 'vhost', socket, server: mode === 'client', queues: settings.queues }],
    });
    const driver = () => link.port('driver');
    const probe = await link.send('device', { rate: 500 });
    await until('an echo', () => driver().rxPackets > 10, 20_000);
    await link.dataplane.deletePort(probe);
    await link.untilQuiet();
    const [sent, received, bytes] = [driver().txPackets, driver().rxPackets, driver().rxBytes];
    await link.send('device', { limit: 10_000, rate: 10_000, flows: 64, size: settings.mergeable ? MIX : 1514 });
    await until('all', () => driver().txPackets + (driver().drops['tx-full'] ?? 0) >= sent + 9990, 20_000);
    await link.untilQuiet();
    // What it finds no room for, testpmd drops; a burst may still be in its hands.
    const missing = async (): Promise<number> => {
      const [, dropped] = /TX-dropped: (\d+)/.exec(await testpmd.command('show fwd stats all')) ?? [];
      return driver().txPackets - driver().rxPackets - Number(dropped);
    };
    await expect.poll(missing, { timeout: 5000 }).toBe(0);
    expect(await testpmd.counters(0)).toMatchObject({ rxPackets: driver().txPackets, txPackets: driver().rxPackets });
    expect(driver().rxPackets - received).toBeGreaterThan(2000);
    expect((driver().rxBytes - bytes) / (driver().rxPackets - received)).toBeGreaterThan(1000);
    expect(driver().fault).toBeUndefined();
    await testpmd.stop();
    expect(problemsOf(await link.dataplane.stop())).toEqual([]);
  },
  90_000,
);

onPeers.each([
  { packed: false, mode: 'client' },
  { packed: true, mode: 'client' },
  { packed: true, mode: 'server' },
])(
  'traffic goes on with the testpmd that comes after one that was killed: %o',
  async (settings) => {
    const socket = newSocket();
    const isClient = settings.mode === 'client';
    const startEcho = () => {
      // What a program that was killed leaves behind.
      if (isClient) rmSync(socket, { force: true });
      return startTestpmd({ name: 'echo', ports: [{ kind: 'vhost', socket, server: isClient }] });
    };
    const link = await Linked.start({ socket, driver: settings });
    await link.send('device', { rate: 20_000, size: 590 });
    const driver = () => link.port('driver');
    for (let round = 0; round < 3; round++) {
      const testpmd = await startEcho();
      const before = driver().rxPackets;
      await until('packets', () => driver().rxPackets > before + 5000, 20_000);
      await testpmd.kill();
      const lost = driver().drops['link-down'] ?? 0;
      await until('drops', () => (driver().drops['link-down'] ?? 0) > lost + 1000);
    }
    expect(driver().fault).toBeUndefined();
    const last = await link.dataplane.stop();
    expect(problemsOf(last)).toEqual([]);
  },
  120_000,
);
