import { execFileSync } from 'node:child_process';
import { readFileSync, realpathSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { type GuestKernel, moduleName, modulesFor } from './guest-kernel.ts';

/** Where Debian's programs are, and libraries of packages that are only unpacked. */
const PROGRAM_FOLDERS = ['/usr/bin', '/usr/sbin', '/bin', '/sbin'];
const LIBRARY_FOLDER = 'usr/lib/x86_64-linux-gnu';

/** Writes archives as cpio's format `newc` has them (Linux Documentation/driver-api/early-userspace/buffer-format.rst). */
export class Archive {
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

/** The first of them that is there. */
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

/**
 * A program, by its name on this machine or by its path, and the libraries that it loads, where it looks for them.
 * @param root a folder with packages that are not installed, whose libraries it takes, too.
 */
export function addProgram(archive: Archive, program: string, root = ''): void {
  const { path, data } = firstFile(PROGRAM_FOLDERS.map((folder) => resolve(folder, program)));
  archive.file(`bin/${basename(program)}`, data);
  const env = root === '' ? process.env : { ...process.env, LD_LIBRARY_PATH: join(root, LIBRARY_FOLDER) };
  for (const [, library = ''] of execFileSync('ldd', [path], { encoding: 'utf8', env }).matchAll(/(\/\S+) \(0x/g)) {
    const place = root !== '' && library.startsWith(root) ? library.slice(root.length) : library;
    archive.file(place.slice(1), readFileSync(realpathSync(library)));
  }
}

/** A shell and small programs. */
export function addBusybox(archive: Archive): void {
  const { path, data } = firstFile(PROGRAM_FOLDERS.map((folder) => join(folder, 'busybox')));
  archive.file('bin/busybox', data);
  for (const name of execFileSync(path, ['--list'], { encoding: 'utf8' }).trim().split('\n')) {
    archive.link(`bin/${name}`, 'busybox');
  }
}

/** Where `modprobe` looks, with a `modules.dep`: what a module needs comes with its path, the last needed first. */
export function addModules(archive: Archive, kernel: GuestKernel, names: readonly string[]): void {
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
