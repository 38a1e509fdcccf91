import { execFileSync } from 'node:child_process';
import { closeSync, existsSync, ftruncateSync, openSync } from 'node:fs';
import { Program } from './program.ts';
import type { Guest } from './qemu.ts';

/** Makes a file of so many MiB with an empty ext4 file system. */
export function createDisk(path: string, megabytes = 32): void {
  const file = openSync(path, 'w');
  ftruncateSync(file, megabytes << 20);
  closeSync(file);
  execFileSync('mkfs.ext4', ['-q', '-F', path], { stdio: 'pipe' });
}

/** Problems of the ext4 file system in a file: nothing when it is clean. */
export function checkDisk(path: string): string {
  try {
    execFileSync('fsck.ext4', ['-f', '-n', path], { stdio: 'pipe', encoding: 'utf8' });
    return '';
  } catch (error) {
    return (error as { stdout?: string }).stdout ?? String(error);
  }
}

/** Mounts the ext4 file system of a disk, such as `vda`. */
export async function mountDisk(guest: Guest, disk = 'vda', at = '/mnt'): Promise<void> {
  await guest.must(`mkdir -p ${at} && mount -t ext4 /dev/${disk} ${at}`);
}

/** Writes random bytes to a file of a mounted disk and flushes them. Returns their checksum. */
export function writeRandom(guest: Guest, path: string, bytes: number): Promise<string> {
  const write = `tee ${path} | sha256sum | cut -d ' ' -f 1`;
  return guest.must(`head -c ${bytes} /dev/urandom | ${write} && sync`, 60_000);
}

/** The checksum of a file, read from the disk and not from the guest's memory. */
export function checksumOf(guest: Guest, path: string): Promise<string> {
  return guest.must(`sync; echo 3 > /proc/sys/vm/drop_caches; sha256sum ${path} | cut -d ' ' -f 1`, 60_000);
}

/** QEMU's own vhost-user disk: serves the file `image` at the socket. */
export async function startStorageDaemon(image: string, socket: string, queues = 1): Promise<Program> {
  const program = new Program('storage daemon', 'qemu-storage-daemon', [
    ...['--blockdev', `driver=file,node-name=file,filename=${image}`],
    ...['--blockdev', 'driver=raw,node-name=disk,file=file'],
    '--export',
    `type=vhost-user-blk,id=export,addr.type=unix,addr.path=${socket},node-name=disk,writable=on,num-queues=${queues}`,
  ]);
  await program.until('socket', 10_000, () => existsSync(socket) || undefined);
  return program;
}
