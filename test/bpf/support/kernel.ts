import { createRequire } from 'node:module';
import { encodeInstructions, LDDW, OP_LDDW } from '#build/bpf/instruction.js';
import { KIND_ARRAY_OF_MAPS, KIND_HASH_OF_MAPS, MAP_FLAG_RDONLY_PROG } from '#build/bpf/layout.js';
import type { MapDefinition, Program, ProgramType } from '#build/bpf/program.js';

/** bpf(2) of this machine's kernel (Linux include/uapi/linux/bpf.h): what it takes of our programs. */

const MAP_CREATE = 0;
const MAP_UPDATE = 2;
const PROG_LOAD = 5;
const MAP_FREEZE = 22;
const PROG_TYPE_XDP = 6;
const ATTACH_TYPES: Readonly<Record<ProgramType, number>> = {
  xdp: 37,
  'xdp/devmap': 35,
  'xdp/cpumap': 36,
  freplace: 37,
};
const HAS_FRAGS = 1 << 5;
const NUMBERS: Readonly<Record<string, number>> = { x64: 321, arm64: 280 };
const ATTR_BYTES = 128;
const LOG_BYTES = 1 << 20;

interface Koffi {
  load(path: null): { func(declaration: string): (...values: unknown[]) => number };
  address(value: Uint8Array): bigint | number;
  errno(): number;
}

/** A kernel that makes maps and loads programs; undefined when this process may not, or has no way to ask. */
export function openKernel(): KernelBpf | undefined {
  const number = NUMBERS[process.arch];
  if (process.platform !== 'linux' || number === undefined) return undefined;
  let koffi: Koffi;
  try {
    koffi = createRequire(import.meta.url)('koffi') as Koffi;
  } catch {
    return undefined;
  }
  const kernel = new KernelBpf(koffi, number);
  return kernel.works() ? kernel : undefined;
}

/** Words of `union bpf_attr`, u32 unless they are bigints. */
type Attribute = readonly (number | bigint | Uint8Array)[];

export class KernelBpf {
  readonly #koffi: Koffi;
  readonly #number: number;
  readonly #syscall: (...values: unknown[]) => number;
  readonly #close: (...values: unknown[]) => number;

  constructor(koffi: Koffi, number: number) {
    const libc = koffi.load(null);
    this.#koffi = koffi;
    this.#number = number;
    this.#syscall = libc.func('long syscall(long number, int command, void *attr, unsigned int bytes)');
    this.#close = libc.func('int close(int fd)');
  }

  #pointer(bytes: Uint8Array): bigint {
    return BigInt(this.#koffi.address(bytes));
  }

  /** Result of the call, or minus its errno. */
  #call(command: number, attribute: Attribute): number {
    const attr = new Uint8Array(ATTR_BYTES);
    const view = new DataView(attr.buffer);
    let at = 0;
    for (const word of attribute) {
      if (typeof word === 'number') view.setUint32(at, word, true);
      else if (typeof word === 'bigint') view.setBigUint64(at, word, true);
      else attr.set(word, at);
      at += typeof word === 'number' ? 4 : typeof word === 'bigint' ? 8 : word.length;
    }
    const result = this.#syscall(this.#number, command, attr, ATTR_BYTES);
    return result < 0 ? -this.#koffi.errno() : result;
  }

  works(): boolean {
    const fd = this.#call(MAP_CREATE, [2, 4, 4, 1, 0]);
    if (fd >= 0) this.#close(fd);
    return fd >= 0;
  }

  #createMap(map: MapDefinition, fds: number[]): number {
    const isNested = map.kind === KIND_ARRAY_OF_MAPS || map.kind === KIND_HASH_OF_MAPS;
    const inner = isNested && map.inner !== undefined ? this.#createMap(map.inner, fds) : 0;
    const entries = map.maxEntries || 1;
    const fd = this.#call(MAP_CREATE, [map.kind, map.keyBytes, map.valueBytes, entries, map.flags, inner]);
    if (fd < 0) throw new Error(`map ${map.name}: errno ${-fd}`);
    fds.push(fd);
    if (map.initial !== undefined) {
      const key = new Uint8Array(4);
      const result = this.#call(MAP_UPDATE, [fd, 0, this.#pointer(key), this.#pointer(map.initial), 0n]);
      if (result < 0) throw new Error(`map ${map.name}: its value is refused, errno ${-result}`);
      if ((map.flags & MAP_FLAG_RDONLY_PROG) !== 0) this.#call(MAP_FREEZE, [fd]);
    }
    return fd;
  }

  /** Loads a program with maps of its own, and closes all. Gives what the verifier says of it when it is refused. */
  tryLoad(program: Program): string | undefined {
    const fds: number[] = [];
    try {
      const maps = program.maps.map((map) => this.#createMap(map, fds));
      const code = program.code.map((each) => {
        if (each.opcode !== OP_LDDW || each.src < LDDW.MAP_INDEX) return each;
        const src = each.src === LDDW.MAP_INDEX ? LDDW.MAP_FD : LDDW.MAP_VALUE;
        return { ...each, src, imm: maps[each.imm] as number };
      });
      const insns = encodeInstructions(code);
      const license = Buffer.from('GPL\0');
      const log = new Uint8Array(LOG_BYTES);
      const name = Buffer.alloc(16);
      const fd = this.#call(PROG_LOAD, [
        PROG_TYPE_XDP,
        code.length,
        this.#pointer(insns),
        this.#pointer(license),
        1,
        LOG_BYTES,
        this.#pointer(log),
        0,
        program.frags ? HAS_FRAGS : 0,
        name,
        0,
        ATTACH_TYPES[program.type],
      ]);
      if (fd >= 0) {
        this.#close(fd);
        return undefined;
      }
      const text = Buffer.from(log).toString('latin1');
      return `errno ${-fd}: ${text.slice(0, text.indexOf('\0')).slice(-600)}`;
    } finally {
      for (const fd of fds) this.#close(fd);
    }
  }
}
