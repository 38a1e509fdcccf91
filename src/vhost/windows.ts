import { fstatSync } from 'node:fs';
import type { Arena } from '../memory/arena.ts';
import { type FileShape, guardWindow, requireSys, type Sys, surviveTruncation } from '../sys/index.ts';
import { alignUp } from '../util/bits.ts';
import { RingwayError } from '../util/errors.ts';
import { VIRTIO_REGIONS_MAX } from '../virtio/layout.ts';
import { createRegionTable, type RegionTable } from '../virtio/regions.ts';
import type { MemoryRegion, SharedArea } from './protocol.ts';

/** A stretch of a file that is mapped over the arena. */
interface Window {
  /** Its region in the arena, and the part of that where the file is. */
  readonly region: string;
  readonly mapped: number;
  readonly bytes: number;
  /** Arena address of the first byte that was asked for: a page may begin before it. */
  readonly address: number;
  /** Ends the guard against a file that is truncated. */
  readonly unguard: () => void;
}

/** A region of the frontend's memory, and its window. */
interface Mapped extends MemoryRegion {
  readonly window: Window;
  /** Which file it is of. */
  readonly file: string;
  /** How often it was added. */
  times: number;
}

/** QEMU before 9 adds each region once for each pair of queues, and takes it out as often. */
const TIMES_MAX = 8;
const OWED_MAX = TIMES_MAX * VIRTIO_REGIONS_MAX;

const ADDRESSES = 1n << 64n;
const hex = (value: bigint): string => `0x${value.toString(16)}`;

function fileOf(fd: number): string {
  const { dev, ino } = fstatSync(fd, { bigint: true });
  return `${dev} ${ino}`;
}

function isSame(a: MemoryRegion, b: MemoryRegion): boolean {
  return a.guest === b.guest && a.user === b.user && a.bytes === b.bytes;
}

function overlaps(a: bigint, b: bigint, aBytes: bigint, bBytes: bigint): boolean {
  return a < b + bBytes && b < a + aBytes;
}

/**
 * The memory of one frontend, mapped over the arena: kernels, XDP programs and TypeScript see it at plain addresses. A
 * region is changed only while no queue uses it.
 *
 *     descriptors name   guest 0x40000000 …      ─▶ the table, for kernels ─┐
 *     SET_VRING_ADDR     user  0x7f12a0000000 …  ─▶ toArena                 ├─▶ arena address
 *     SET_MEM_TABLE      file descriptor, offset ─▶ mmap over the arena ────┘
 */
export class GuestWindows {
  /** By the driver's addresses. */
  readonly table: RegionTable;
  readonly #arena: Arena;
  readonly #name: string;
  readonly #sys: Sys;
  /** Address of a word that is set when a file was truncated while it was mapped. */
  readonly #flag: number;
  #regions: Mapped[] = [];
  /** Regions that are gone and were added more often than taken out. Who does that once more is right. */
  readonly #owed: MemoryRegion[] = [];
  #serial = 0;

  /** @throws RingwayError `UNSUPPORTED` when there are no system calls here, `ARENA_FULL`. */
  constructor(arena: Arena, name: string) {
    this.#arena = arena;
    this.#name = name;
    this.#sys = requireSys(name);
    this.table = createRegionTable(arena, `${name} regions`);
    this.#flag = arena.allocate(`${name} truncated`, 4);
  }

  /** A file was truncated while it was mapped: zeroes are in its place. */
  get isTruncated(): boolean {
    return Atomics.load(this.#arena.u32, this.#flag >>> 2) !== 0;
  }

  /** Bytes that the regions have in all. */
  get bytes(): number {
    return this.#regions.reduce((sum, { window }) => sum + window.bytes, 0);
  }

  /**
   * Replaces all regions. The descriptors stay the caller's. Nothing is mapped when it throws.
   * @throws RingwayError as `add`.
   */
  set(regions: readonly MemoryRegion[], fds: readonly number[]): void {
    this.clear();
    try {
      for (const [i, region] of regions.entries()) this.add(region, fds[i] ?? -1);
    } catch (error) {
      this.clear();
      throw error;
    }
  }

  /**
   * Maps one more region. One that is there already, of the same file, stays.
   * @throws RingwayError `BAD_ARGUMENT` for a region that is empty, wraps, leaves its file or meets another,
   *   `ARENA_FULL` when it does not fit the arena, `SYSTEM` when it cannot be mapped.
   */
  add(region: MemoryRegion, fd: number): void {
    const { guest, user, bytes, offset } = region;
    const refuse = (why: string): RingwayError =>
      new RingwayError('BAD_ARGUMENT', `${this.#name}: ${bytes} bytes of memory at ${hex(guest)}: ${why}`);
    if (bytes === 0n) throw refuse('a region has at least one byte');
    if (guest + bytes > ADDRESSES || user + bytes > ADDRESSES || offset + bytes > ADDRESSES) {
      throw refuse(`guest, user (${hex(user)}) or offset (${hex(offset)}) pass 2^64`);
    }
    const other = this.#regions.find(
      (each) => overlaps(each.guest, guest, each.bytes, bytes) || overlaps(each.user, user, each.bytes, bytes),
    );
    if (other !== undefined && isSame(other, region) && other.offset === offset && other.file === fileOf(fd)) {
      other.times = Math.min(other.times + 1, TIMES_MAX);
      return;
    }
    if (other !== undefined) throw refuse(`meets the region of ${other.bytes} bytes at ${hex(other.guest)}`);
    if (this.#regions.length === VIRTIO_REGIONS_MAX) throw refuse(`there are ${VIRTIO_REGIONS_MAX} regions already`);
    const window = this.map(fd, { bytes, offset }, hex(guest));
    this.#regions.push({ ...region, window, file: fileOf(fd), times: 1 });
    this.#publish();
  }

  /** Takes a region out, however often it was added. False when there is no such region. */
  remove(region: MemoryRegion): boolean {
    const owed = this.#owed.findIndex((each) => isSame(each, region));
    if (owed >= 0) {
      this.#owed.splice(owed, 1);
      return true;
    }
    const found = this.#regions.find((each) => isSame(each, region));
    if (found === undefined) return false;
    this.#regions = this.#regions.filter((each) => each !== found);
    this.#owed.push(...Array.from({ length: found.times - 1 }, () => region));
    this.#owed.splice(0, this.#owed.length - OWED_MAX);
    this.#publish();
    this.unmap(found.window);
    return true;
  }

  /** Takes all regions out. */
  clear(): void {
    const old = this.#regions;
    this.#regions = [];
    this.#owed.length = 0;
    this.#publish();
    for (const { window } of old) this.unmap(window);
  }

  /** Arena address of `bytes` bytes at `user`, an address of the frontend's process; 0 when no region has them. */
  toArena(user: bigint, bytes: number): number {
    const found = this.#regions.find((each) => user >= each.user && user + BigInt(bytes) <= each.user + each.bytes);
    return found === undefined ? 0 : found.window.address + Number(user - found.user);
  }

  #publish(): void {
    this.table.set(
      this.#regions.map(({ guest, bytes, window }) => ({ guest, bytes: Number(bytes), address: window.address })),
    );
  }

  /**
   * Maps a stretch of the file `fd` somewhere over the arena: for what is the frontend's but not its driver's.
   * @param what names it in messages.
   * @throws RingwayError as `add`.
   */
  map(fd: number, { bytes, offset }: SharedArea, what: string): Window {
    const { pageBytes: page } = this.#checkFile(fd, { bytes, offset }, what);
    const before = Number(offset) % page;
    const whole = alignUp(before + Number(bytes), page);
    const region = `${this.#name} window ${this.#serial++}`;
    // Only the address in the process is known to be aligned, and only to small pages.
    const slack = page > this.#sys.pageBytes ? page : 0;
    const start = this.#reserve(region, whole + slack, what);
    const mapped = start + (slack === 0 ? 0 : this.#sys.misalignment(this.#arena.handle.memory, start, page));
    const { memory } = this.#arena.handle;
    let unguard = (): void => {};
    try {
      if (surviveTruncation().supported) unguard = guardWindow(memory, mapped, whole, this.#flag);
      this.#sys.mapFile(memory, mapped, whole, fd, Number(offset) - before);
    } catch (error) {
      unguard();
      this.#arena.release(region);
      throw error;
    }
    return { region, mapped, bytes: whole, address: mapped + before, unguard };
  }

  unmap({ region, mapped, bytes, unguard }: Window): void {
    this.#sys.unmap(this.#arena.handle.memory, mapped, bytes);
    unguard();
    this.#arena.release(region);
  }

  /** What a file is like that holds the stretch, and may be mapped. */
  #checkFile(fd: number, { bytes, offset }: SharedArea, what: string): FileShape {
    const refuse = (why: string): RingwayError => new RingwayError('BAD_ARGUMENT', `${this.#name}: ${what}: ${why}`);
    if (fd < 0 || !fstatSync(fd).isFile()) throw refuse('its descriptor is no file that can be mapped');
    const shape = this.#sys.describeFile(fd);
    if (offset + bytes > BigInt(shape.bytes)) {
      throw refuse(`${bytes} bytes from ${offset} on, and the file has ${shape.bytes}`);
    }
    const survives = surviveTruncation();
    if (!shape.keepsSize && !survives.supported) {
      throw refuse(
        `its file may be truncated, which nobody here survives: ${survives.reason}; seal it (F_SEAL_SHRINK)`,
      );
    }
    return shape;
  }

  #reserve(region: string, bytes: number, what: string): number {
    const align = this.#sys.pageBytes;
    const room = this.#arena.largestGap(align);
    if (bytes > room) {
      throw new RingwayError(
        'ARENA_FULL',
        `${this.#name}: ${what}: ${bytes} bytes are to be mapped, and ${Math.max(0, room)} fit; give the guest less memory, or run it on a dataplane of its own`,
      );
    }
    return this.#arena.reserve(region, bytes, align);
  }

  /** Gives all of it back. */
  close(): void {
    this.clear();
    this.#arena.release(`${this.#name} regions`);
    this.#arena.release(`${this.#name} truncated`);
  }
}

export type { Window };
