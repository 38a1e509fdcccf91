import type { GuestKernel } from './guest-kernel.ts';
import { Archive, addBusybox, addModules, addProgram } from './initramfs.ts';

/** What every guest has; it loads all but the last itself. */
const MODULES = ['virtio_pci', 'virtio_console', 'virtio_net', 'virtio_blk', 'pktgen'];

/**
 * The guest's first program. Commands come over a port of virtio's, which loses nothing as serial ports do: a line with a
 * word and a command in base64. Each runs in a shell of its own, beside others; its answer is a line with the word, the
 * exit code and the number of bytes, then those bytes.
 */
const initWith = (setup: string): string => `#!/bin/sh
export PATH=/bin HOME=/
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs run /run
mkdir -p /mnt /tmp
sysctl -q -w kernel.printk='4 4 1 7' net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0
modprobe -a virtio_pci virtio_console virtio_net virtio_blk
${setup}
ip link set lo up
for path in /sys/class/net/eth*; do
  [ -e "$path" ] && ip link set "\${path##*/}" up
done
answer() {
  command=$(echo "$2" | base64 -d)
  (eval "$command") > /run/$1 2>&1 < /dev/null
  code=$?
  until mkdir /run/lock 2> /dev/null; do sleep 0.01; done
  echo "$1 $code $(stat -c %s /run/$1)"
  cat /run/$1
  rm -r /run/$1 /run/lock
}
until [ -e /dev/vport*p1 ]; do sleep 0.01; done
port=$(echo /dev/vport*p1)
exec <> $port >&0
echo "ready 0 0"
while read -r word command; do
  answer "$word" "$command" &
done
poweroff -f
`;

export interface GuestImageOptions {
  /** Programs of this machine that the guest has too, such as `iperf3`. */
  readonly programs?: readonly string[];
  /** Modules that `modprobe` finds, beside pktgen and those of virtio. */
  readonly modules?: readonly string[];
  /** Lines of shell that it runs before it takes commands. */
  readonly setup?: string;
  /** Puts more into it. */
  add?(archive: Archive): void;
}

/** The first file system of a guest, which is not packed: an emulated machine takes longer to unpack than to load it. */
export function guestImage(
  kernel: GuestKernel,
  { programs = [], modules = [], setup = '', add = () => {} }: GuestImageOptions = {},
): Uint8Array {
  const archive = new Archive();
  for (const folder of ['dev', 'proc', 'sys', 'run']) archive.folder(folder);
  archive.file('init', initWith(setup));
  addBusybox(archive);
  for (const program of programs) addProgram(archive, program);
  addModules(archive, kernel, [...MODULES, ...modules]);
  add(archive);
  return archive.end();
}
