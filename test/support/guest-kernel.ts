import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';

/** Debian's kernel for virtual machines: small, with the drivers of virtio as modules and ext4 built in. */
const PACKAGE = /^linux-image-6\.1\.0-(\d+)-cloud-amd64$/;
/** Unpacked once, for all tests of all checkouts, by whichever comes first. */
const FOLDER = join(tmpdir(), 'ringway-guest-kernel');
const DOWNLOAD_MS = 120_000;

/** A Linux kernel on this machine that is not installed. */
export interface GuestKernel {
  /** As `uname -r` has it. */
  readonly release: string;
  /** Path of what a boot loader starts. */
  readonly image: string;
  /** Folder of the modules. */
  readonly modules: string;
}

function call(program: string, args: readonly string[], cwd: string): string {
  try {
    return execFileSync(program, args, {
      cwd,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: DOWNLOAD_MS,
      maxBuffer: 16 << 20,
    });
  } catch (error) {
    const { stderr, message } = error as Error & { stderr?: string };
    throw new Error(`no kernel for guests: ${program}: ${stderr?.trim() || message}; run apt-get update first`);
  }
}

function newestPackage(): string {
  const versions = call('apt-cache', ['pkgnames', 'linux-image-6.1.0-'], '/')
    .split('\n')
    .map((name) => PACKAGE.exec(name))
    .filter((match) => match !== null)
    .sort((a, b) => Number(b[1]) - Number(a[1]));
  if (versions[0] === undefined)
    throw new Error(`no kernel for guests: apt knows no ${PACKAGE}; run apt-get update first`);
  return versions[0][0];
}

/** Another process may do the same: the first to rename its folder wins, and the loser's is removed. */
function unpackOnce(): void {
  const work = mkdtempSync(`${FOLDER}-`);
  try {
    const name = newestPackage();
    call('apt-get', ['-q', '-o', 'APT::Sandbox::User=root', 'download', name], work);
    const file = readdirSync(work).find((entry) => entry.endsWith('.deb')) as string;
    call('dpkg', ['-x', file, 'root'], work);
    renameSync(join(work, 'root'), FOLDER);
  } catch (error) {
    if (!existsSync(FOLDER)) throw error;
  } finally {
    rmSync(work, { recursive: true });
  }
}

/** The kernel that guests boot; downloads it when it is not there. Throws when apt cannot. */
export function guestKernel(): GuestKernel {
  if (!existsSync(FOLDER)) unpackOnce();
  const boot = join(FOLDER, 'boot');
  const image = readdirSync(boot).find((name) => name.startsWith('vmlinuz-'));
  if (image === undefined) throw new Error(`${boot} has no kernel: remove ${FOLDER}`);
  const release = image.slice('vmlinuz-'.length);
  return { release, image: join(boot, image), modules: join(FOLDER, 'lib/modules', release) };
}

/** A module by its file: `virtio-rng.ko` is the module virtio_rng. */
export const moduleName = (path: string): string => basename(path, '.ko').replaceAll('-', '_');

/** What a module says that it needs: `depends=a,b` and `softdep=pre: c` in its section of strings that end in zero. */
function needsOf(path: string): string[] {
  const text = readFileSync(path).toString('latin1');
  const depends = /\0depends=([^\0]*)\0/.exec(text)?.[1] ?? '';
  const before = /\0softdep=pre: ([^\0]*)\0/.exec(text)?.[1] ?? '';
  return [...depends.split(','), ...before.split(' ')].filter((name) => name !== '');
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
