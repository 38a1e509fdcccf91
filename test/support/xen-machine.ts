import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { guestImage } from './guest-image.ts';
import { type GuestKernel, guestKernel, kernelIn } from './guest-kernel.ts';
import { Archive, addBusybox, addModules, addProgram } from './initramfs.ts';
import { newestPackage, unpackOnce } from './packages.ts';
import { bootGuest, type Guest, type GuestBoot } from './qemu.ts';

/** Xen, what domain 0 needs of its tools, and the libraries that these load. */
const XEN_PACKAGES = [
  ...['xen-hypervisor-4.17-amd64', 'xen-utils-4.17', 'xenstore-utils', 'libyajl2'],
  ...['libxencall1', 'libxendevicemodel1', 'libxenevtchn1', 'libxenforeignmemory1'],
  ...['libxengnttab1', 'libxenhypfs1', 'libxenmisc4.17', 'libxenstore4', 'libxentoolcore1', 'libxentoollog1'],
];
const XEN_BIN = 'usr/lib/xen-4.17/bin';
/** Debian's kernel for all machines: that for virtual ones cannot be domain 0 (CONFIG_XEN_DOM0). */
const DOM0_KERNEL = /^linux-image-6\.1\.0-(\d+)-amd64$/;
const DOM0_MODULES = ['xen_gntdev', 'xen_evtchn', 'xen_privcmd', 'xenfs', 'tun'];

/** What domain 0 does before it takes commands. */
const DOM0_SETUP = `
modprobe -a xenfs xen_gntdev xen_evtchn xen_privcmd tun
mount -t xenfs xenfs /proc/xen
mkdir -p /var/run /var/lib/xenstored /var/lib/xen /var/log/xen /var/lock /run/xen /run/xenstored
ln -s /run/xen /run/xenstored /var/run/
mkdir -p /dev/pts /var/log/xen/console
mount -t devpts devpts /dev/pts
xenstored
until [ -e /run/xenstored/socket ]; do sleep 0.1; done
xen-init-dom0
xenconsoled --log=guest --log-dir=/var/log/xen/console
`;

/** What a domain U does: its vif gets an address, and whoever connects to port 9000 there gives it commands. */
const DOMU_INIT = `#!/bin/sh
export PATH=/bin HOME=/
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /tmp
modprobe xen_netfront max_queues=2
ip link set lo up
until [ -e /sys/class/net/eth0 ]; do sleep 0.1; done
for word in $(cat /proc/cmdline); do
  case $word in address=*) ip addr add "\${word#address=}" dev eth0 ;; esac
done
ip link set eth0 up
nc -ll -p 9000 -e sh
`;

function domuImage(kernel: GuestKernel): Uint8Array {
  const archive = new Archive();
  for (const folder of ['dev', 'proc', 'sys']) archive.folder(folder);
  archive.file('init', DOMU_INIT);
  addBusybox(archive);
  addModules(archive, kernel, ['xen_netfront']);
  return archive.end();
}

/** All files below a folder of this checkout, at /ringway. */
function addFolder(archive: Archive, folder: string): void {
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (entry.isFile()) archive.file(join('ringway', path), readFileSync(path));
  }
}

/** The packages that ringway needs where it runs: the others are in its bundle. */
const DEPENDENCIES = ['koffi', '@koromix/koffi-linux-x64'];

interface XenParts {
  /** Folder of the packages. */
  readonly root: string;
  readonly dom0: GuestKernel;
  readonly domu: GuestKernel;
}

/** Throws when apt cannot get the packages. */
function xenParts(): XenParts {
  const what = 'Xen';
  const dom0 = unpackOnce(what, 'ringway-dom0-kernel', () => [newestPackage(what, 'linux-image-6.1.0-', DOM0_KERNEL)]);
  return { root: unpackOnce(what, 'ringway-xen', () => XEN_PACKAGES), dom0: kernelIn(dom0), domu: guestKernel() };
}

/** Why no Xen can be booted here; undefined when one can. */
export function xenUnavailable(): string | undefined {
  try {
    xenParts();
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

/** Domain 0, with ringway at /ringway, and a domain U's kernel and file system in /domu. */
function xenBoot(): GuestBoot {
  const { root, dom0: kernel, domu: domuKernel } = xenParts();
  const image = guestImage(kernel, {
    modules: DOM0_MODULES,
    setup: DOM0_SETUP,
    add(archive) {
      for (const name of ['xl', 'xenstored', 'xenconsoled', 'xen-init-dom0'])
        addProgram(archive, join(root, XEN_BIN, name), root);
      for (const name of ['xenstore-ls', 'xenstore-read', 'xenstore-write']) {
        addProgram(archive, join(root, 'usr/bin', name), root);
      }
      addProgram(archive, process.execPath);
      archive.file('etc/xen/xl.conf', 'autoballoon="off"\n');
      archive.file('ringway/package.json', readFileSync('package.json'));
      for (const folder of ['dist', ...DEPENDENCIES.map((name) => join('node_modules', name))])
        addFolder(archive, folder);
      archive.file('domu/kernel', readFileSync(domuKernel.image));
      archive.file('domu/initramfs', domuImage(domuKernel));
    },
  });
  const append =
    'console=com1 com1=115200,8n1 dom0_mem=768M,max:768M dom0_max_vcpus=1 xpti=false spec-ctrl=no ucode=no';
  const linux = 'console=hvc0 quiet panic=-1 mitigations=off nokaslr cryptomgr.notests';
  return {
    image,
    args(initramfs) {
      // QEMU reads a packed Linux, and no packed multiboot kernel.
      const unpacked = join(dirname(initramfs), 'xen');
      writeFileSync(unpacked, gunzipSync(readFileSync(join(root, 'boot/xen-4.17-amd64.gz'))));
      return [
        ...['-cpu', 'qemu64,+svm,+npt,+ssse3,+sse4.1,+sse4.2,+popcnt', '-kernel', unpacked, '-append', append],
        ...['-initrd', `${kernel.image} ${linux},${initramfs}`],
      ];
    },
  };
}

/** Boots a Xen in QEMU whose domain 0 takes commands: about a quarter of a minute. */
export function bootXen(): Promise<Guest> {
  return bootGuest({ name: 'xen', memoryMb: 1536, boot: xenBoot(), bootMs: 240_000, lifeMs: 400_000 });
}
