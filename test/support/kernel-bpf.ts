import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

interface Koffi {
  load(path: null): { func(declaration: string): (...values: unknown[]) => number | bigint };
  address(view: Uint8Array): bigint;
  errno(): number;
}

/** SYS_bpf on x86-64, and commands of bpf(2) (Linux include/uapi/linux/bpf.h). */
const SYS_BPF = 321;
const MAP_CREATE = 0;
const MAP_LOOKUP_ELEM = 1;
const MAP_UPDATE_ELEM = 2;
const MAP_DELETE_ELEM = 3;
const MAP_GET_NEXT_KEY = 4;
const PROG_LOAD = 5;
const PROG_TEST_RUN = 10;
const ATTR_BYTES = 120;

/** Maps and programs of the running kernel. */
export class KernelBpf {
  /** CPUs that maps with values by CPU have values for. */
  readonly cpus: number;
  readonly #koffi: Koffi;
  readonly #syscall: (...values: unknown[]) => number | bigint;
  readonly #close: (...values: unknown[]) => number | bigint;
  readonly #open: number[] = [];

  constructor() {
    this.#koffi = createRequire(import.meta.url)('koffi') as Koffi;
    const libc = this.#koffi.load(null);
    this.#syscall = libc.func('long syscall(long number, int command, void *attr, unsigned int bytes)');
    this.#close = libc.func('int close(int fd)');
    const last = readFileSync('/sys/devices/system/cpu/possible', 'utf8').trim().split(/[-,]/).at(-1);
    this.cpus = Number(last) + 1;
  }

  /** Returns what the call returns, or a negative error number; `attr` may be read afterwards. */
  #bpf(
    command: number,
    fill: (attr: DataView, address: (bytes: Uint8Array) => bigint) => void,
    attr: Buffer = Buffer.alloc(ATTR_BYTES),
  ): number {
    // Their memory must stay where it is until the call is done.
    const kept: Uint8Array[] = [];
    fill(new DataView(attr.buffer, attr.byteOffset, attr.length), (bytes) => {
      kept.push(bytes);
      return BigInt(this.#koffi.address(bytes));
    });
    const result = Number(this.#syscall(SYS_BPF, command, attr, ATTR_BYTES));
    const errno = this.#koffi.errno();
    return kept.length >= 0 && result < 0 ? -errno : result;
  }

  #element(command: number, fd: number, key: Uint8Array, other: Uint8Array | undefined, flags = 0n): number {
    return this.#bpf(command, (attr, address) => {
      attr.setUint32(0, fd, true);
      if (key.length > 0) attr.setBigUint64(8, address(key), true);
      if (other !== undefined) attr.setBigUint64(16, address(other), true);
      attr.setBigUint64(24, flags, true);
    });
  }

  /** A new map's descriptor. Throws when the kernel refuses. */
  createMap(kind: number, keyBytes: number, valueBytes: number, maxEntries: number, flags: number): number {
    const fd = this.#bpf(MAP_CREATE, (attr) => {
      for (const [index, word] of [kind, keyBytes, valueBytes, maxEntries, flags].entries()) {
        attr.setUint32(index * 4, word, true);
      }
    });
    if (fd < 0) throw new Error(`bpf(MAP_CREATE) gives ${fd}`);
    this.#open.push(fd);
    return fd;
  }

  update(fd: number, key: Uint8Array, value: Uint8Array, flags: bigint): number {
    return this.#element(MAP_UPDATE_ELEM, fd, Buffer.from(key), Buffer.from(value), flags);
  }

  delete(fd: number, key: Uint8Array): number {
    return this.#element(MAP_DELETE_ELEM, fd, Buffer.from(key), undefined);
  }

  /** The value of `bytes` bytes, or an error number. */
  lookup(fd: number, key: Uint8Array, bytes: number): Uint8Array | number {
    const value = Buffer.alloc(bytes);
    const result = this.#element(MAP_LOOKUP_ELEM, fd, Buffer.from(key), value);
    return result < 0 ? result : Uint8Array.from(value);
  }

  keys(fd: number, keyBytes: number): Uint8Array[] {
    const found: Uint8Array[] = [];
    let key = new Uint8Array(0);
    while (true) {
      const next = Buffer.alloc(keyBytes);
      if (this.#element(MAP_GET_NEXT_KEY, fd, Buffer.from(key), next) < 0) return found;
      key = Uint8Array.from(next);
      found.push(key);
    }
  }

  /** Loads an XDP program, runs it once over `packet`, and returns what it returns. Throws with the verifier's words. */
  run(instructions: Uint8Array, packet: Uint8Array): number {
    const log = Buffer.alloc(65536);
    const code = Buffer.from(instructions);
    const fd = this.#bpf(PROG_LOAD, (attr, address) => {
      attr.setUint32(0, 6, true);
      attr.setUint32(4, code.length / 8, true);
      attr.setBigUint64(8, address(code), true);
      attr.setBigUint64(16, address(Buffer.from('GPL\0')), true);
      attr.setUint32(24, 1, true);
      attr.setUint32(28, log.length, true);
      attr.setBigUint64(32, address(log), true);
    });
    if (fd < 0) throw new Error(`bpf(PROG_LOAD) gives ${fd}: ${log.toString('latin1').replace(/\0[\s\S]*/, '')}`);
    const attr = Buffer.alloc(ATTR_BYTES);
    const fill = (words: DataView, address: (bytes: Uint8Array) => bigint): void => {
      words.setUint32(0, fd, true);
      words.setUint32(8, packet.length, true);
      words.setBigUint64(16, address(Buffer.from(packet)), true);
      words.setUint32(32, 1, true);
    };
    const result = this.#bpf(PROG_TEST_RUN, fill, attr);
    this.#close(fd);
    if (result < 0) throw new Error(`bpf(PROG_TEST_RUN) gives ${result}`);
    return attr.readUInt32LE(4);
  }

  /** Closes all maps. */
  close(): void {
    for (const fd of this.#open.splice(0)) this.#close(fd);
  }
}

/** The kernel's maps, or why there are none here. */
export function openKernelBpf(): KernelBpf | string {
  if (process.platform !== 'linux' || process.arch !== 'x64') return 'needs Linux on x86-64';
  if (process.getuid?.() !== 0) return 'needs root';
  try {
    const kernel = new KernelBpf();
    kernel.createMap(2, 4, 4, 1, 0);
    kernel.close();
    return kernel;
  } catch (error) {
    return `no bpf(2) here: ${(error as Error).message}`;
  }
}
