import { readFileSync } from 'node:fs';
import { alignUp, isPowerOfTwo } from '../util/bits.ts';
import { RingwayError } from '../util/errors.ts';
import type { Budget } from './budget.ts';
import {
  ARENA_BUILD,
  ARENA_MAGIC,
  ARENA_MAGIC_VALUE,
  ARENA_PAGES,
  ARENA_REGION_COUNT,
  ARENA_REGIONS,
  DIRECTORY_BYTES,
  GUARD_BYTES,
  GUARD_VALUE,
  REGION_ADDRESS,
  REGION_BYTES,
  REGION_ENTRY_SHIFT,
  REGION_NAME,
  REGION_NAME_MAX,
  REGIONS_MAX,
} from './layout.ts';
import { buildNumber, openMemory, shareMemory } from './shared.ts';

const PAGE_BYTES = 65536;
const MEMORY_MAX = 65536 * PAGE_BYTES;
/** The first page stays empty, so that address 0 is never anybody's. */
const LOWEST_BASE = PAGE_BYTES;

/** A named stretch of the arena. */
export interface Region {
  readonly name: string;
  /** Bytes from the start of the memory. */
  readonly address: number;
  readonly bytes: number;
}

/** What another thread needs to reach the arena: pass it in `workerData` or a message. */
export interface ArenaHandle {
  readonly memory: WebAssembly.Memory;
  readonly kernel: WebAssembly.Module;
  readonly base: number;
  /** Where the arena ends when it is nested in another; the end of the memory otherwise. */
  readonly end?: number;
  /** Path by which other processes open it (`openArena`), when it was made to be shared, or opened. */
  readonly path?: string;
}

/** How large an arena is, and where in its memory it begins. */
export interface ArenaOptions {
  /** Bytes that regions may take in all: 64 KiB to 4 GiB. Pages are committed by the system when first touched. */
  readonly bytes: number;
  /** What `bytes` is the sum of, for the message when it does not fit. */
  readonly budget?: Budget;
  /** Address of the directory; regions follow. A multiple of 64 KiB, at least 64 KiB (the default). */
  readonly base?: number;
  /** Use the test build of the kernels: it traps on a double free and on foreign addresses, and has single steps. */
  readonly debug?: boolean;
  /**
   * Let other processes open the arena, by `handle.path`: Linux, with koffi. `Atomics.wait` and `notify` do not reach from
   * one process to another, so nobody may sleep on a word that another process writes for long.
   */
  readonly shared?: boolean;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
const modules = new Map<string, WebAssembly.Module>();

/** @throws RingwayError `UNSUPPORTED` where V8 compiles no SIMD: it needs SSSE3 and SSE 4.1 on x64. */
function compile(bytes: Uint8Array<ArrayBuffer>): WebAssembly.Module {
  try {
    return new WebAssembly.Module(bytes);
  } catch (cause) {
    if (!(cause instanceof WebAssembly.CompileError && cause.message.includes('SIMD unsupported'))) throw cause;
    throw new RingwayError(
      'UNSUPPORTED',
      'this CPU has no SSE 4.1, which ringway needs: use a CPU that does, or let a virtual machine see it (QEMU: -cpu host)',
      { cause },
    );
  }
}

/** The compiled kernels: compiled once a process, instantiated in each thread. */
function kernelModule(debug: boolean): WebAssembly.Module {
  const file = debug ? 'kernel.debug.wasm' : 'kernel.wasm';
  let module = modules.get(file);
  if (module === undefined) {
    module = compile(readFileSync(new URL(`../${file}`, import.meta.url)));
    modules.set(file, module);
  }
  return module;
}

/**
 * One shared linear memory with regions in it, and the kernels over it. Made once with `createArena`; other threads
 * join with `attachArena(arena.handle)`. Only the thread that made it allocates and releases.
 */
export class Arena {
  readonly handle: ArenaHandle;
  /** One set of views a thread: mixing kinds of views at one access costs 3–9 ns. */
  readonly u8: Uint8Array;
  readonly u16: Uint16Array;
  readonly u32: Uint32Array;
  /** For `Atomics.wait` and `Atomics.notify`. */
  readonly i32: Int32Array;
  readonly #exports: WebAssembly.Exports;

  constructor(handle: ArenaHandle) {
    const { buffer } = handle.memory;
    this.handle = handle;
    this.u8 = new Uint8Array(buffer);
    this.u16 = new Uint16Array(buffer);
    this.u32 = new Uint32Array(buffer);
    this.i32 = new Int32Array(buffer);
    this.#exports = new WebAssembly.Instance(handle.kernel, { env: { memory: handle.memory } }).exports;
  }

  /** Bytes of the whole memory. */
  get bytes(): number {
    return this.u8.length;
  }

  /**
   * The kernels, seen as `K`: the slice that calls them declares what it needs. Addresses and counts in, a count out.
   * A result of 2^31 or more comes out negative: apply `>>> 0` to addresses.
   */
  kernels<K>(): K {
    return this.#exports as K;
  }

  /**
   * Returns the address of `bytes` zeroed bytes under a new name. Guard words lie behind them.
   * @param name 1 to 55 bytes of UTF-8, none of them zero, unique in the arena.
   * @param align a power of two, 4 or more; 128 (two cache lines) by default.
   * @throws RingwayError `ARENA_FULL` when no gap is large enough, `BAD_ARGUMENT` on a bad name, size or alignment.
   */
  allocate(name: string, bytes: number, align = 128): number {
    const address = this.reserve(name, bytes, align);
    // Words: V8 fills shared memory an element at a time.
    this.u32.fill(0, address >>> 2, (address + alignUp(bytes, 4)) >>> 2);
    return address;
  }

  /**
   * As `allocate`, with whatever the bytes hold: for what is to be mapped over them, so that no page is touched.
   * @throws RingwayError as `allocate`.
   */
  reserve(name: string, bytes: number, align: number): number {
    const encoded = encoder.encode(name);
    const readable = decoder.decode(encoded) === name && !encoded.includes(0);
    if (encoded.length === 0 || encoded.length > REGION_NAME_MAX || !readable) {
      throw new RingwayError(
        'BAD_ARGUMENT',
        `arena: region name ${JSON.stringify(name)} must have 1 to ${REGION_NAME_MAX} bytes of UTF-8 without zeroes`,
      );
    }
    if (!Number.isSafeInteger(bytes) || bytes < 1) {
      throw new RingwayError('BAD_ARGUMENT', `arena: region ${name}: ${bytes} bytes, must be a whole number from 1`);
    }
    if (!isPowerOfTwo(align) || align < 4) {
      throw new RingwayError(
        'BAD_ARGUMENT',
        `arena: region ${name}: alignment ${align}, must be a power of two from 4`,
      );
    }
    const taken = this.regions();
    if (taken.some((region) => region.name === name)) {
      throw new RingwayError('BAD_ARGUMENT', `arena: region ${name} exists already; release it first`);
    }
    const size = alignUp(bytes, 4);
    const address = this.#findGap(taken, size + GUARD_BYTES, align);
    if (address === undefined) {
      throw new RingwayError(
        'ARENA_FULL',
        `arena: region ${name} needs ${bytes} bytes and finds no gap of that size\n${describe(taken, (this.handle.end ?? this.bytes) - this.handle.base)}`,
      );
    }
    this.#guard(address + size).fill(GUARD_VALUE);
    this.#writeEntry(address, size, encoded);
    return address;
  }

  /**
   * Gives a region back. Whoever still reads or writes it is the caller's business.
   * @throws RingwayError `NOT_FOUND` when there is no such region.
   */
  release(name: string): void {
    const entry = this.#entryOf(name);
    this.u32.fill(0, entry >>> 2, (entry >>> 2) + (1 << (REGION_ENTRY_SHIFT - 2)));
  }

  /**
   * The region of that name.
   * @throws RingwayError `NOT_FOUND` when there is none.
   */
  region(name: string): Region {
    return this.#readEntry(this.#entryOf(name));
  }

  /** All regions, by address. */
  regions(): Region[] {
    const found: Region[] = [];
    for (const entry of this.#entries()) {
      if (this.u32[(entry + REGION_BYTES) >>> 2] !== 0) found.push(this.#readEntry(entry));
    }
    return found.sort((a, b) => a.address - b.address);
  }

  /** Bytes of the largest region that fits, at an address that is a multiple of `align`. */
  largestGap(align: number): number {
    let [from, largest] = [this.handle.base + DIRECTORY_BYTES, 0];
    for (const region of [...this.regions(), { address: this.handle.end ?? this.bytes, bytes: 0 }]) {
      largest = Math.max(largest, region.address - alignUp(from, align) - GUARD_BYTES);
      from = region.address + region.bytes + GUARD_BYTES;
    }
    return largest;
  }

  /** Names of regions whose guard words were overwritten: somebody wrote past their end. None when all is well. */
  damaged(): string[] {
    return this.regions()
      .filter(({ address, bytes }) => this.#guard(address + bytes).some((word) => word !== GUARD_VALUE))
      .map(({ name }) => name);
  }

  /** The guard words from `address` on. */
  #guard(address: number): Uint32Array {
    return this.u32.subarray(address / 4, (address + GUARD_BYTES) / 4);
  }

  #findGap(taken: Region[], size: number, align: number): number | undefined {
    let from = this.handle.base + DIRECTORY_BYTES;
    for (const region of [...taken, { address: this.handle.end ?? this.bytes, bytes: 0 }]) {
      const address = alignUp(from, align);
      if (address + size <= region.address) return address;
      from = region.address + region.bytes + GUARD_BYTES;
    }
    return undefined;
  }

  #writeEntry(address: number, bytes: number, name: Uint8Array): void {
    const count = this.u32[(this.handle.base + ARENA_REGION_COUNT) >>> 2] ?? 0;
    let entry = this.#entries().find((candidate) => this.u32[(candidate + REGION_BYTES) >>> 2] === 0);
    if (entry === undefined) {
      if (count === REGIONS_MAX) {
        throw new RingwayError('ARENA_FULL', `arena: ${REGIONS_MAX} regions, no more fit its directory`);
      }
      entry = this.handle.base + ARENA_REGIONS + (count << REGION_ENTRY_SHIFT);
      this.u32[(this.handle.base + ARENA_REGION_COUNT) >>> 2] = count + 1;
    }
    this.u8.set(name, entry + REGION_NAME);
    this.u32[(entry + REGION_ADDRESS) >>> 2] = address;
    Atomics.store(this.u32, (entry + REGION_BYTES) >>> 2, bytes);
  }

  #entries(): number[] {
    const { base } = this.handle;
    const count = this.u32[(base + ARENA_REGION_COUNT) >>> 2] ?? 0;
    return Array.from({ length: count }, (_, index) => base + ARENA_REGIONS + (index << REGION_ENTRY_SHIFT));
  }

  #readEntry(entry: number): Region {
    // A copy, since TextDecoder refuses shared memory.
    const text = this.u8.slice(entry + REGION_NAME, entry + REGION_NAME + REGION_NAME_MAX + 1);
    return {
      name: decoder.decode(text.subarray(0, text.indexOf(0))),
      address: this.u32[(entry + REGION_ADDRESS) >>> 2] ?? 0,
      bytes: this.u32[(entry + REGION_BYTES) >>> 2] ?? 0,
    };
  }

  #entryOf(name: string): number {
    const entry = this.#entries().find(
      (candidate) => this.u32[(candidate + REGION_BYTES) >>> 2] !== 0 && this.#readEntry(candidate).name === name,
    );
    if (entry === undefined) {
      const names = this.regions().map((region) => region.name);
      throw new RingwayError(
        'NOT_FOUND',
        `arena: no region ${JSON.stringify(name)}; there are: ${names.join(', ') || 'none'}`,
      );
    }
    return entry;
  }
}

function describe(regions: Region[], total: number): string {
  const rows = regions.map(({ name, bytes }) => `  ${name}: ${bytes} bytes`);
  return [...rows, `  of ${total} bytes in all`].join('\n');
}

/**
 * Makes an arena.
 * @throws RingwayError `ARENA_FULL` when `bytes` is over 4 GiB or the system refuses so much, with each term of
 *   `budget` and its size; `UNSUPPORTED` when it is to be shared and cannot be here.
 */
export function createArena(options: ArenaOptions): Arena {
  const { bytes, budget, base = LOWEST_BASE, debug = false, shared = false } = options;
  if (base < LOWEST_BASE || base >= MEMORY_MAX || base % PAGE_BYTES !== 0) {
    throw new RingwayError(
      'BAD_ARGUMENT',
      `arena: base ${base}, must be a multiple of ${PAGE_BYTES} from ${LOWEST_BASE}, below ${MEMORY_MAX}`,
    );
  }
  if (!Number.isSafeInteger(bytes) || bytes < 1) {
    throw new RingwayError('BAD_ARGUMENT', `arena: ${bytes} bytes, must be a whole number from 1 to ${MEMORY_MAX}`);
  }
  const total = alignUp(base + DIRECTORY_BYTES + bytes, PAGE_BYTES);
  const terms = budget === undefined ? '' : `\n${budget}`;
  if (total > MEMORY_MAX) {
    throw new RingwayError(
      'ARENA_FULL',
      `arena: ${bytes} bytes are wanted, and a memory holds ${MEMORY_MAX - base - DIRECTORY_BYTES}${terms}`,
    );
  }
  const pages = total / PAGE_BYTES;
  let memory: WebAssembly.Memory;
  try {
    memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
  } catch (cause) {
    throw new RingwayError(
      'ARENA_FULL',
      `arena: the system refuses ${total} bytes of address space (is \`ulimit -v\` set?)${terms}`,
      { cause },
    );
  }
  const kernel = kernelModule(debug);
  const arena = new Arena(shared ? { memory, kernel, base, path: shareMemory(memory) } : { memory, kernel, base });
  arena.u32[(base + ARENA_PAGES) >>> 2] = pages;
  if (shared) arena.u32[(base + ARENA_BUILD) >>> 2] = buildNumber();
  Atomics.store(arena.u32, (base + ARENA_MAGIC) >>> 2, ARENA_MAGIC_VALUE);
  return arena;
}

/**
 * The arena that another thread made.
 * @throws RingwayError `ARENA_LAYOUT` when the memory is not an arena.
 */
export function attachArena(handle: ArenaHandle): Arena {
  const arena = new Arena(handle);
  if (arena.u32[(handle.base + ARENA_MAGIC) >>> 2] !== ARENA_MAGIC_VALUE) {
    throw new RingwayError('ARENA_LAYOUT', `arena: no directory at ${handle.base}; was it made with createArena?`);
  }
  return arena;
}

/**
 * The arena that another process made `shared`, in this one.
 * @param path `handle.path` over there. That process still runs, as the same user.
 * @param options `base` and `debug` as over there.
 * @throws RingwayError `UNSUPPORTED` when there are no system calls here, `SYSTEM` when the path cannot be opened,
 *   `ARENA_LAYOUT` when what is there is not such an arena, or was made by another build.
 */
export function openArena(path: string, options: Pick<ArenaOptions, 'base' | 'debug'> = {}): Arena {
  const { base = LOWEST_BASE, debug = false } = options;
  const memory = openMemory(path);
  const words = new Uint32Array(memory.buffer);
  const word = (offset: number): number => words[(base + offset) >>> 2] ?? 0;
  if (word(ARENA_MAGIC) !== ARENA_MAGIC_VALUE || word(ARENA_PAGES) !== memory.buffer.byteLength / PAGE_BYTES) {
    throw new RingwayError('ARENA_LAYOUT', `arena ${path}: no directory at ${base}; was it made with createArena?`);
  }
  if (word(ARENA_BUILD) !== buildNumber()) {
    throw new RingwayError(
      'ARENA_LAYOUT',
      `arena ${path}: made by another build of ringway; use one for both processes`,
    );
  }
  return new Arena({ memory, kernel: kernelModule(debug), base, path });
}

/**
 * Makes an arena in a region of another, over the same memory: what one guest's memory is to the machine's. Its regions
 * are those of `arena` no more than a guest's are the machine's; all of them go when `arena` releases `name`.
 * @param bytes what its regions may take in all; its directory comes on top.
 * @param map is given where it is to lie, for whoever maps a file of zeroes there.
 * @throws RingwayError as `Arena.allocate`.
 */
export function nestArena(
  arena: Arena,
  name: string,
  bytes: number,
  map?: (base: number, total: number) => void,
): Arena {
  const total = alignUp(nestedArenaBytes(bytes), PAGE_BYTES);
  const base = arena.allocate(name, total, PAGE_BYTES);
  map?.(base, total);
  const nested = new Arena({ ...arena.handle, base, end: base + total });
  nested.u32[(base + ARENA_PAGES) >>> 2] = total / PAGE_BYTES;
  Atomics.store(nested.u32, (base + ARENA_MAGIC) >>> 2, ARENA_MAGIC_VALUE);
  return nested;
}

/** Bytes that an arena for `bytes` of regions takes in another, with what its alignment may cost. */
export function nestedArenaBytes(bytes: number): number {
  return DIRECTORY_BYTES + alignUp(bytes, PAGE_BYTES);
}
