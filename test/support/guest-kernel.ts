import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { newestPackage, unpackOnce } from './packages.ts';

/** Debian's kernel for virtual machines: small, with the drivers of virtio as modules and ext4 built in. */
const PACKAGE = /^linux-image-6\.1\.0-(\d+)-cloud-amd64$/;
const FOLDER = 'ringway-guest-kernel';

/** A Linux kernel on this machine that is not installed. */
export interface GuestKernel {
  /** As `uname -r` has it. */
  readonly release: string;
  /** Path of what a boot loader starts. */
  readonly image: string;
  /** Folder of the modules. */
  readonly modules: string;
}

/** The kernel that was unpacked in `folder`. */
export function kernelIn(folder: string): GuestKernel {
  const boot = join(folder, 'boot');
  const image = readdirSync(boot).find((name) => name.startsWith('vmlinuz-'));
  if (image === undefined) throw new Error(`${boot} has no kernel: remove ${folder}`);
  const release = image.slice('vmlinuz-'.length);
  return { release, image: join(boot, image), modules: join(folder, 'lib/modules', release) };
}

/** The kernel that guests boot; downloads it when it is not there. Throws when apt cannot. */
export function guestKernel(): GuestKernel {
  const what = 'kernel for guests';
  return kernelIn(unpackOnce(what, FOLDER, () => [newestPackage(what, 'linux-image-6.1.0-', PACKAGE)]));
}

/** A module by its file: `virtio-rng.ko` is the module virtio_rng. */
export const moduleName = (path: string): string => basename(path, '.ko').replaceAll('-', '_');

/** What a module says that it needs: `depends=a,b` and `softdep=pre: c` in its section of strings that end in zero. */
function needsOf(path: string): string[] {
  const text = readFileSync(path).toString('latin1');
  const depends = /\0depends=([^\0]*)\0/.exec(text)?.[1] ?? '';
  const before = /\0softdep=pre: ([^\0]*)\0/.exec(text)?.[1] ?? '';
  return [...depends.split(','), ...before.split(' ')].filter((name) => name !== '').map(moduleName);
}

/**
 * The modules `names` and all that they need, a module behind those that it needs. Those built into the kernel are left
 * out. Throws when there is one that the kernel does not have.
 * @returns for each its path and the names that it needs.
 */
export function modulesFor(
  { modules, release }: GuestKernel,
  names: readonly string[],
): Map<string, readonly string[]> {
  const files = readdirSync(modules, { recursive: true, encoding: 'utf8' }).filter((path) => path.endsWith('.ko'));
  const paths = new Map(files.map((path) => [moduleName(path), join(modules, path)]));
  const builtin = new Set(readFileSync(join(modules, 'modules.builtin'), 'utf8').split('\n').map(moduleName));
  const found = new Map<string, readonly string[]>();
  const seen = new Set<string>();
  const visit = (name: string): void => {
    if (seen.has(name) || builtin.has(name)) return;
    seen.add(name);
    const path = paths.get(name);
    if (path === undefined) throw new Error(`the kernel ${release} has no module ${name}`);
    const needs = needsOf(path);
    for (const each of needs) visit(each);
    found.set(
      path,
      needs.filter((each) => paths.has(each)),
    );
  };
  for (const name of names) visit(name);
  return found;
}
