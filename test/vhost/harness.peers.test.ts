import { rmSync } from 'node:fs';
import { afterAll, expect, test } from 'vitest';
import {
  featuresOf,
  hasCarrier,
  pingBetween,
  setAddress,
  statisticOf,
  transferFile,
  untilCarrier,
} from '../support/guest-net.ts';
import { testFolder } from '../support/port-bench.ts';
import { endPrograms, missingPrograms } from '../support/program.ts';
import { bootGuest } from '../support/qemu.ts';
import { startTestpmd } from '../support/testpmd.ts';

const folder = testFolder();
afterAll(async () => {
  await endPrograms();
  folder.rm();
});

const missing = missingPrograms('qemu-system-x86_64', 'busybox', 'dpdk-testpmd');
if (missing.length > 0) console.warn(`harness.peers.test.ts is skipped: no ${missing.join(', ')}`);

// The control experiment: without ringway, so that what fails here is the harness or the machine.
test.skipIf(missing.length > 0)(
  'guests reach each other through DPDK, over split and over packed rings',
  async () => {
    const sockets = ['a-split', 'b-split', 'a-packed', 'b-packed'].map(folder.path);
    const testpmd = await startTestpmd({
      name: 'between',
      ports: sockets.map((socket) => ({ kind: 'vhost', socket })),
      waits: true,
    });
    const boot = (name: string, index: number) =>
      bootGuest({
        name,
        netdevs: [false, true].map((packed) => ({
          socket: sockets[index + (packed ? 2 : 0)] as string,
          mac: `02:00:00:00:0${+packed}:0${index + 1}`,
          packed,
        })),
      });
    const [a, b] = await Promise.all([boot('a', 0), boot('b', 1)]);
    await testpmd.command('start');
    for (const [index, device] of ['eth0', 'eth1'].entries()) {
      await setAddress(a, `10.0.${index}.1/24`, device);
      await setAddress(b, `10.0.${index}.2/24`, device);
      expect((await featuresOf(a, device))('packed')).toBe(index === 1);
      expect(await hasCarrier(b, device)).toBe(true);
      expect(await pingBetween(a, `10.0.${index}.2`)).toEqual({ sent: 5, received: 5 });
      await transferFile(a, b, `10.0.${index}.2`, 1 << 20);
      expect(await statisticOf(b, 'rx_packets', device)).toBeGreaterThan(700);
      const { rxPackets, txPackets } = await testpmd.counters(2 * index);
      expect([rxPackets > 700, txPackets > 5]).toEqual([true, true]);
    }
    await testpmd.stop();
    await Promise.all([a.stop(), b.stop()]);
  },
  120_000,
);

test.skipIf(missing.length > 0)(
  'a guest gets its link back when its host does, whichever of them listens',
  async () => {
    const [listens, connects] = [folder.path('listens.sock'), folder.path('connects.sock')];
    const host = () => {
      // What a program that was killed leaves behind.
      rmSync(connects, { force: true });
      return startTestpmd({
        name: 'echo',
        ports: [
          { kind: 'vhost', socket: listens, server: false },
          { kind: 'vhost', socket: connects },
        ],
        mode: 'icmpecho',
      });
    };
    let testpmd = await host();
    const guest = await bootGuest({
      name: 'guest',
      netdevs: [
        { socket: listens, mac: '02:00:00:00:00:01', server: true },
        { socket: connects, mac: '02:00:00:00:01:01', reconnect: 1 },
      ],
    });
    const devices = ['eth0', 'eth1'];
    for (const [index, device] of devices.entries()) {
      await setAddress(guest, `10.0.${index}.1/24`, device);
      expect((await pingBetween(guest, `10.0.${index}.2`)).received).toBe(5);
    }
    await testpmd.kill();
    for (const device of devices) await untilCarrier(guest, false, device);
    testpmd = await host();
    for (const [index, device] of devices.entries()) {
      await untilCarrier(guest, true, device);
      expect((await pingBetween(guest, `10.0.${index}.2`)).received).toBe(5);
    }
    await testpmd.stop();
    await guest.stop();
  },
  120_000,
);

test.skipIf(missing.length > 0).each([
  { packed: false, inOrder: false, mrgRxbuf: false, server: false },
  { packed: true, inOrder: true, mrgRxbuf: true, server: true },
])(
  'testpmd sends to testpmd: %o',
  async (options) => {
    const socket = folder.path(`testpmd-${+options.server}.sock`);
    const backing = startTestpmd({
      name: 'back',
      mode: 'rxonly',
      ports: [{ kind: 'vhost', socket, server: !options.server, queues: 2 }],
    });
    // A guest's side that listens takes no commands before somebody has come; one that connects does not try twice.
    if (!options.server) await backing;
    const fronting = startTestpmd({
      name: 'front',
      mode: 'txonly',
      length: 128,
      ports: [{ kind: 'virtio-user', socket, queues: 2, queueSize: 256, mac: '02:00:00:00:00:09', ...options }],
    });
    const [back, front] = await Promise.all([backing, fronting]);
    const received = async () => (await back.counters(0)).rxPackets;
    await expect.poll(received, { timeout: 10_000 }).toBeGreaterThan(1000);
    await front.command('stop');
    const { rxPackets, rxBytes } = await back.counters(0);
    expect(rxBytes).toBe(rxPackets * 128);
    await front.stop();
    await back.stop();
  },
  60_000,
);
