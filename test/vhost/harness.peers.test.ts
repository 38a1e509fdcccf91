import { afterAll, expect, test } from 'vitest';
import { featuresOf, hasCarrier, pingBetween, setAddress, statisticOf, transferFile } from '../support/guest-net.ts';
import { testFolder } from '../support/port-bench.ts';
import { endPrograms } from '../support/program.ts';
import { bootGuest } from '../support/qemu.ts';
import { startTestpmd } from '../support/testpmd.ts';

const folder = testFolder();
afterAll(async () => {
  await endPrograms();
  folder.rm();
});

// The control experiment: without ringway, so that what fails here is the harness or the machine.
test('guests reach each other through DPDK, over split and over packed rings', async () => {
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
}, 120_000);
