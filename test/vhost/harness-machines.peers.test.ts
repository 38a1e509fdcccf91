import { afterAll, expect, test } from 'vitest';
import {
  checkDisk,
  checksumOf,
  createDisk,
  mountDisk,
  startStorageDaemon,
  writeRandom,
} from '../support/guest-disk.ts';
import { migrate } from '../support/guest-migration.ts';
import { featuresOf, iperfBetween, pingBetween, setAddress, transferFile } from '../support/guest-net.ts';
import { testFolder } from '../support/port-bench.ts';
import { endPrograms, missingPrograms } from '../support/program.ts';
import { bootGuest, type GuestNetdev } from '../support/qemu.ts';
import { startTestpmd } from '../support/testpmd.ts';

const folder = testFolder();
afterAll(async () => {
  await endPrograms();
  folder.rm();
});

const missing = missingPrograms(
  'qemu-system-x86_64',
  'busybox',
  'dpdk-testpmd',
  'qemu-storage-daemon',
  'iperf3',
  'mkfs.ext4',
);
if (missing.length > 0) console.warn(`harness-machines.peers.test.ts is skipped: no ${missing.join(', ')}`);

// As the control experiment of harness.peers.test.ts: DPDK and QEMU alone, with what tests of ringway lean on.
test.skipIf(missing.length > 0)(
  'guests with two queues move data, write to a disk, and one moves to another QEMU',
  async () => {
    const names = ['a', 'b', 'moved'];
    const testpmd = await startTestpmd({
      name: 'between',
      ports: names.map((name) => ({
        kind: 'vhost',
        socket: folder.path(`${name}.sock`),
        queues: 2,
        tso: true,
        extra: ['legacy-ol-flags=1'],
      })),
      waits: true,
    });
    const netdev = (name: string, mac: string): GuestNetdev => ({
      socket: folder.path(`${name}.sock`),
      mac,
      queues: 2,
      packed: true,
      csum: true,
      tso: true,
      mrgRxbuf: true,
    });
    const image = folder.path('disk.img');
    createDisk(image);
    const daemon = await startStorageDaemon(image, folder.path('disk.sock'));

    const machine = { cpus: 2, programs: ['iperf3'] };
    const uri = `unix:${folder.path('migration.sock')}`;
    const [a, b] = await Promise.all([
      bootGuest({ name: 'a', ...machine, netdevs: [netdev('a', '02:00:00:00:00:01')] }),
      bootGuest({
        name: 'b',
        ...machine,
        netdevs: [netdev('b', '02:00:00:00:00:02')],
        disks: [{ socket: folder.path('disk.sock') }],
      }),
    ]);
    await testpmd.command('start');
    await setAddress(a, '10.0.0.1/24');
    await setAddress(b, '10.0.0.2/24');
    const has = await featuresOf(a);
    expect([has('packed'), has('mq'), has('csum'), has('hostTso4')]).toEqual([true, true, true, true]);
    expect(await a.must('ls /sys/class/net/eth0/queues')).toBe('rx-0\nrx-1\ntx-0\ntx-1');
    expect(await pingBetween(a, '10.0.0.2')).toEqual({ sent: 5, received: 5 });
    await transferFile(b, a, '10.0.0.1');
    const before = await testpmd.counters(0);
    expect(await iperfBetween(a, b, '10.0.0.2', 1)).toBeGreaterThan(0);
    // Longer than the MTU: what is to be segmented comes in one piece.
    const after = await testpmd.counters(0);
    expect((after.rxBytes - before.rxBytes) / (after.rxPackets - before.rxPackets)).toBeGreaterThan(2000);

    await mountDisk(b);
    const sum = await writeRandom(b, '/mnt/file', 4 << 20);
    expect(await checksumOf(b, '/mnt/file')).toBe(sum);
    await b.must('umount /mnt');

    const moved = await bootGuest({
      name: 'moved',
      ...machine,
      netdevs: [netdev('moved', '02:00:00:00:00:01')],
      incoming: uri,
    });
    await a.must('echo here > /run/mark');
    const { status } = await migrate(a, moved, uri);
    expect(status).toBe('completed');
    await a.kill();
    expect(await moved.must('cat /run/mark')).toBe('here');
    for (const line of ['stop', 'set portlist 1,2', 'start']) await testpmd.command(line);
    expect((await pingBetween(moved, '10.0.0.2', { count: 10 })).received).toBeGreaterThanOrEqual(9);
    await transferFile(b, moved, '10.0.0.1', 1 << 20);

    await Promise.all([moved.stop(), b.stop()]);
    await testpmd.stop();
    await daemon.kill();
    expect(checkDisk(image)).toBe('');
  },
  180_000,
);
