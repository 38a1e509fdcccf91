import { execFileSync } from 'node:child_process';
import { readFileSync, realpathSync } from 'node:fs';
import { basename, join } from 'node:path';
import { type GuestKernel, moduleName, modulesFor } from './guest-kernel.ts';

/** What every guest has; it loads all but the last itself. */
const MODULES = ['virtio_pci', 'virtio_console', 'virtio_net', 'virtio_blk', 'pktgen'];
/** Where Debian's programs are. */
const PROGRAM_FOLDERS = ['/usr/bin', '/usr/sbin', '/bin', '/sbin'];

/**
 * The guest's first program. Commands come over a port of virtio's, which loses nothing as serial ports do: a line with a
 * word and a command in base64. Each runs in a shell of its own, beside others; its answer is a line with the word, the
 * exit code and the number of bytes, then those bytes.
 */
const INIT = `#!/bin/sh
export PATH=/bin HOME=/
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs run /run
mkdir -p /mnt /tmp
sysctl -q -w kernel.printk='4 4 1 7' net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0
modprobe -a virtio_pci virtio_console virtio_net virtio_blk
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

/** Writes archives as cpio's format `newc` has them (Linux Documentation/driver-api/early-userspace/buffer-format.rst). */
class Archive {
  readonly #parts: Uint8Array[] = [];
  readonly #names = new Set<string>();

  #entry(name: string, mode: number, data: Uint8Array): void {
    if (this.#names.has(name)) return;
    this.#names.add(name);
    const path = Buffer.from(`${name}\0`);
    const number = this.#names.size;
    const fields = [number, mode, 0, 0, 1, 0, data.length, 0, 0, 0, 0, path.length, 0];
    const head = Buffer.from(`070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}`);
    const padding = (length: number): Uint8Array => new Uint8Array(-length & 3);
    this.#parts.push(head, path, padding(head.length + path.length), data, padding(data.length));
  }

  /** Folders that lead to `name`. */
  #folders(name: string): void {
    const parts = name.split('/').slice(0, -1);
    for (let i = 1; i <= parts.length; i++) this.folder(parts.slice(0, i).join('/'));
  }

  folder(name: string): void {
    this.#entry(name, 0o040755, new Uint8Array(0));
  }

  file(name: string, data: Uint8Array | string): void {
    this.#folders(name);
    this.#entry(name, 0o100755, Buffer.from(data));
  }

  link(name: string, target: string): void {
    this.#folders(name);
    this.#entry(name, 0o120777, Buffer.from(target));
  }

  end(): Uint8Array {
    this.#entry('TRAILER!!!', 0, new Uint8Array(0));
    return Buffer.concat(this.#parts);
  }
}

function firstFile(paths: readonly string[]): { path: string; data: Buffer } {
  for (const path of paths) {
    try {
      return { path, data: readFileSync(path) };
    } catch {
      // The next one may be there.
    }
  }
  throw new Error(`none of ${paths.join(', ')} is there: install the package that has it`);
}

/** A program of this machine, and the libraries that it loads, where it looks for them. */
function addProgram(archive: Archive, program: string): void {
  const { path, data } = firstFile(PROGRAM_FOLDERS.map((folder) => join(folder, program)));
  archive.file(`bin/${program}`, data);
  for (const [, library] of execFileSync('ldd', [path], { encoding: 'utf8' }).matchAll(/(\/\S+) \(0x/g)) {
    archive.file((library as string).slice(1), readFileSync(realpathSync(library as string)));
  }
}

/** Where `modprobe` looks, with a `modules.dep`: what a module needs comes with its path, the last needed first. */
function addModules(archive: Archive, kernel: GuestKernel, names: readonly string[]): void {
  const folder = `lib/modules/${kernel.release}`;
  const found = modulesFor(kernel, names);
  const fileOf = new Map([...found.keys()].map((path) => [moduleName(path), basename(path)]));
  const all = new Map<string, string[]>();
  for (const [path, needs] of found) {
    const files = needs.map((need) => fileOf.get(need) as string).flatMap((file) => [file, ...(all.get(file) ?? [])]);
    // Of a file that is there twice the later one stays.
    all.set(basename(path), [...new Set(files.reverse())].reverse());
    archive.file(`${folder}/${basename(path)}`, readFileSync(path));
  }
  archive.file(`${folder}/modules.dep`, [...all].map(([file, needs]) => `${file}: ${needs.join(' ')}\n`).join(''));
}

export interface GuestImageOptions {
  /** Programs of this machine that the guest has too, such as `iperf3`. */
  readonly programs?: readonly string[];
  /** Modules that `modprobe` finds, beside pktgen and those of virtio. */
  readonly modules?: readonly string[];
}

/** The first file system of a guest, which is not packed: an emulated machine takes longer to unpack than to load it. */
export function guestImage(kernel: GuestKernel, { programs = [], modules = [] }: GuestImageOptions = {}): Uint8Array {
  const archive = new Archive();
  for (const folder of ['dev', 'proc', 'sys', 'run']) archive.folder(folder);
  archive.file('init', INIT);
  const { path, data } = firstFile(PROGRAM_FOLDERS.map((folder) => join(folder, 'busybox')));
  archive.file('bin/busybox', data);
  for (const program of programs) addProgram(archive, program);
  for (const name of execFileSync(path, ['--list'], { encoding: 'utf8' }).trim().split('\n')) {
    archive.link(`bin/${name}`, 'busybox');
  }
  addModules(archive, kernel, [...MODULES, ...modules]);
  return archive.end();
}
