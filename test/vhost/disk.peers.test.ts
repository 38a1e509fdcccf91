import { existsSync, mkdtempSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { checkDisk, checksumOf, createDisk, mountDisk, writeRandom } from '../support/guest-disk.ts';
import { endPrograms, missingPrograms, Program } from '../support/program.ts';
import { bootGuest } from '../support/qemu.ts';

const folder = mkdtempSync(join(tmpdir(), 'ringway-disk-'));
afterAll(async () => {
  await endPrograms();
  await rm(folder, { recursive: true, force: true });
});

/** ringway with a disk for each of the two layouts, in a process that can be killed. */
async function startDisks(): Promise<Program> {
  const file = join(folder, 'disks.yaml');
  const disk = (name: string, packed: boolean): string =>
    `  ${name}: { socket: ${name}.sock, file: ${name}.img, queues: 2, packed: ${packed} }`;
  writeFileSync(
    file,
    ['version: 1', 'ports: { none: { type: null } }', 'disks:', disk('split', false), disk('packed', true)].join('\n'),
  );
  const ringway = new Program('ringway', process.execPath, [
    'dist/cli/main.js',
    'run',
    file,
    '--name',
    `disks${process.pid}`,
  ]);
  // Stale sockets stay behind a kill: QEMU tries again until there is somebody.
  const isOpen = (): true | undefined =>
    ['split', 'packed'].every((name) => existsSync(join(folder, `${name}.sock`))) || undefined;
  await ringway.until('sockets', 20_000, isOpen);
  return ringway;
}

test.skipIf(missingPrograms('qemu-system-x86_64', 'busybox').length > 0)(
  'a guest writes to disks and reads the same, across a kill of ringway in the middle',
  { timeout: 150_000 },
  async () => {
    for (const name of ['split', 'packed']) await createDisk(join(folder, `${name}.img`), 64);
    let ringway = await startDisks();
    const disk = (name: string, packed: boolean) => ({
      socket: join(folder, `${name}.sock`),
      packed,
      queues: 2,
      reconnect: 1,
    });
    const guest = await bootGuest({ name: 'disks', cpus: 2, disks: [disk('split', false), disk('packed', true)] });
    for (const [device, path] of [
      ['vda', '/split'],
      ['vdb', '/packed'],
    ] as const) {
      await mountDisk(guest, device, path);
      const sum = await writeRandom(guest, `${path}/before`, 8 << 20);
      // Written back while ringway dies.
      const writing = guest.run(`dd if=/dev/urandom of=${path}/during bs=64k count=320 conv=fsync`, 60_000);
      await new Promise((resolve) => setTimeout(resolve, 700));
      await ringway.kill();
      ringway = await startDisks();
      expect((await writing).code, (await writing).output).toBe(0);
      await guest.must(`echo 3 > /proc/sys/vm/drop_caches`);
      expect(await checksumOf(guest, `${path}/before`)).toBe(sum);
      await guest.must(`sync; umount ${path}`, 60_000);
    }
    await guest.stop();
    await ringway.kill();
    for (const name of ['split', 'packed']) expect(await checkDisk(join(folder, `${name}.img`))).toBe('');
  },
);
