import type { Arena } from '../memory/arena.ts';
import { SLOT_SHIFT } from '../memory/layout.ts';
import type { PoolKernels } from '../memory/pool.ts';
import { OFFLOAD_CSUM, OFFLOAD_ECN, OFFLOAD_TSO4, OFFLOAD_TSO6, OFFLOAD_USO } from '../packet/layout.ts';
import { type Devices, requireDevices, requireSys, requireUrings } from '../sys/index.ts';
import { DROP_BAD_OFFLOAD, DROP_POOL_EMPTY, DROP_TX_ERROR } from '../telemetry/layout.ts';
import { IFREQ_UNION, ifreq, setUp } from './interface.ts';
import {
  REQUEST_LENGTH,
  REQUEST_OWN,
  REQUEST_SHIFT,
  REQUEST_WRITE,
  TAP_BAD,
  TAP_BYTES,
  TAP_COMPLETIONS,
  TAP_CQ_HEAD,
  TAP_CQ_TAIL,
  TAP_EMPTY,
  TAP_ERRNO,
  TAP_FD,
  TAP_HEADER_BYTES,
  TAP_OFFLOADS,
  TAP_REFUSED,
  TAP_REQUEST,
  TAP_REQUESTS,
  TAP_SQ_HEAD,
  TAP_SQ_TAIL,
  TAP_VECTORS,
  VECTOR_SHIFT,
} from './layout.ts';
import type { DropWord, NetifQueue } from './queue.ts';

/** Values of Linux include/uapi/linux/if_tun.h. */
const TUNSETIFF = 0x400454ca;
const TUNSETOFFLOAD = 0x400454d0;
const TUNSETVNETHDRSZ = 0x400454d8;
const IFF_TAP = 0x0002;
const IFF_MULTI_QUEUE = 0x0100;
const IFF_NO_PI = 0x1000;
const IFF_VNET_HDR = 0x4000;
const TUN_F_CSUM_TSO = 1 | 2 | 4 | 8;
/** Since Linux 6.2. */
const TUN_F_USO = 32 | 64;

const WHAT = 'a tap port';
const CSUM_TSO = OFFLOAD_CSUM | OFFLOAD_TSO4 | OFFLOAD_TSO6 | OFFLOAD_ECN;

/** An open tap: what its queues need, which can be posted. */
export interface TapShare {
  /** A descriptor, that of a ring (-1: there is none), and the address of a region for each queue. */
  readonly queues: readonly { readonly fd: number; readonly ring: number; readonly address: number }[];
  readonly offloads: number;
}

interface TapKernels extends PoolKernels {
  netifTapPrepare(tap: number, cache: number, slots: number, max: number, low: number, high: number): number;
  netifTapReceived(tap: number, cache: number, slot: number, bytes: number): number;
  netifTapGather(tap: number, slots: number, count: number, low: number, high: number): number;
  netifTapSent(tap: number): number;
}

/** A page of requests, and one of the ring that they are in. */
const PAGE_BYTES = 4096;
/** Bytes of the arena that a tap of so many queues takes. */
export const tapBytes = (queues: number): number => queues * (TAP_BYTES + 3 * PAGE_BYTES + 256);

const regionOf = (region: string, queue: number): string => `${region} tap ${queue}`;
const pagesOf = (region: string, queue: number): string => `${region} tap requests ${queue}`;

/** Agrees with the kernel on what either side may leave to the other. Returns the mask of OFFLOAD_…. */
function agree(devices: Devices, fd: number, name: string): number {
  try {
    devices.ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM_TSO | TUN_F_USO, `TUNSETOFFLOAD of ${name}`);
    return CSUM_TSO | OFFLOAD_USO;
  } catch {
    devices.ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM_TSO, `TUNSETOFFLOAD of ${name}`);
    return CSUM_TSO;
  }
}

/** Opens one queue of the tap `name`. Returns what the two sides agreed on. */
function openQueue(devices: Devices, fd: number, name: string, several: boolean, offloads: boolean): number {
  const request = ifreq(name);
  const flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | (several ? IFF_MULTI_QUEUE : 0);
  new DataView(request.buffer).setUint16(IFREQ_UNION, flags, true);
  devices.ioctl(fd, TUNSETIFF, request, `TUNSETIFF of ${name}`);
  devices.ioctl(fd, TUNSETVNETHDRSZ, Uint8Array.of(TAP_HEADER_BYTES, 0, 0, 0), `TUNSETVNETHDRSZ of ${name}`);
  return offloads ? agree(devices, fd, name) : 0;
}

/**
 * Prepares the queue at `address` for writing to `fd`: in bursts, by a ring, where Linux lets us.
 * @param pages address of two pages: for the requests, and for the ring.
 * @returns descriptor of the ring; -1 when there is none.
 */
export function openRing(arena: Arena, address: number, pages: number, fd: number): number {
  const ring = requireUrings(arena.handle.memory, WHAT).create(TAP_REQUESTS, pages, pages + PAGE_BYTES);
  const set = (at: number, value: number): void => {
    arena.u32[(address + at) >>> 2] = value;
  };
  set(TAP_FD, fd);
  set(TAP_REQUEST, pages);
  if (ring === undefined) return -1;
  set(TAP_SQ_HEAD, ring.sqHead);
  set(TAP_SQ_TAIL, ring.sqTail);
  set(TAP_CQ_HEAD, ring.cqHead);
  set(TAP_CQ_TAIL, ring.cqTail);
  set(TAP_COMPLETIONS, ring.completions);
  return ring.fd;
}

/**
 * Opens the tap `name` and sets it up; one that does not exist is made, and goes with its last descriptor.
 * @param region names regions of the arena: `REGION tap N`.
 * @throws RingwayError `SYSTEM` when the kernel refuses.
 */
export function openTap(
  arena: Arena,
  region: string,
  { name, queues, offloads }: { readonly name: string; readonly queues: number; readonly offloads: boolean },
): TapShare {
  const devices = requireDevices(arena.handle.memory, WHAT);
  const opened: { fd: number; ring: number; address: number }[] = [];
  let agreed = 0;
  try {
    for (let queue = 0; queue < queues; queue++) {
      const address = arena.allocate(regionOf(region, queue), TAP_BYTES);
      const each = { fd: -1, ring: -1, address };
      opened.push(each);
      const pages = arena.allocate(pagesOf(region, queue), 2 * PAGE_BYTES, PAGE_BYTES);
      const fd = devices.open('/dev/net/tun');
      each.fd = fd;
      each.ring = openRing(arena, address, pages, fd);
      agreed = openQueue(devices, fd, name, queues > 1, offloads);
      arena.u32[(address + TAP_OFFLOADS) >>> 2] = agreed;
    }
    setUp(devices, name);
  } catch (error) {
    closeTap(arena, region, { queues: opened, offloads: 0 });
    throw error;
  }
  return { queues: opened, offloads: agreed };
}

/** Closes every queue: a tap that we made is gone. */
export function closeTap(arena: Arena, region: string, { queues }: TapShare): void {
  const { closeFd } = requireSys(WHAT);
  const names = new Set(arena.regions().map(({ name }) => name));
  for (const [queue, { fd, ring }] of queues.entries()) {
    for (const each of [ring, fd]) if (each !== -1) closeFd(each);
    for (const name of [pagesOf, regionOf].map((of) => of(region, queue))) if (names.has(name)) arena.release(name);
  }
}

/** What the kernels count of a queue at `address`. */
export function tapDrops(address: number): DropWord[] {
  return [
    { address: address + TAP_BAD, reason: DROP_BAD_OFFLOAD, isSent: false },
    { address: address + TAP_EMPTY, reason: DROP_POOL_EMPTY, isSent: false },
    { address: address + TAP_REFUSED, reason: DROP_TX_ERROR, isSent: true },
  ];
}

/** Serves a queue from this thread: a system call a frame that is received; one a burst that is sent, or one a frame. */
export class TapQueue implements NetifQueue {
  readonly offloads: number;
  readonly #devices: Devices;
  readonly #kernels: TapKernels;
  readonly #arena: Arena;
  readonly #fd: number;
  readonly #ring: number;
  readonly #submit: (ring: number, count: number) => number;
  readonly #tap: number;
  readonly #cache: number;
  /** Where the memory starts in the process, as two words. */
  readonly #low: number;
  readonly #high: number;
  #fault: string | undefined;

  constructor(arena: Arena, { queues, offloads }: TapShare, queue: number, cache: number) {
    const { fd, ring, address } = queues[queue] as TapShare['queues'][number];
    this.offloads = offloads;
    this.#devices = requireDevices(arena.handle.memory, WHAT);
    this.#kernels = arena.kernels<TapKernels>();
    this.#arena = arena;
    this.#fd = fd;
    this.#ring = ring;
    this.#submit = requireUrings(arena.handle.memory, WHAT).submit;
    this.#tap = address;
    this.#cache = cache;
    this.#low = this.#devices.base % 2 ** 32;
    this.#high = Math.floor(this.#devices.base / 2 ** 32);
  }

  receive(slots: number, max: number): number {
    const { netifTapPrepare, netifTapReceived, poolFree } = this.#kernels;
    const ready = netifTapPrepare(this.#tap, this.#cache, slots, max, this.#low, this.#high);
    let read = 0;
    let n = 0;
    for (; read < ready; read++) {
      const bytes = this.#devices.readv(this.#fd, this.#tap + TAP_VECTORS + (read << (VECTOR_SHIFT + 1)), 2);
      if (bytes < 0) {
        this.#failed('read from');
        break;
      }
      const slot = slots + (read << SLOT_SHIFT);
      if (netifTapReceived(this.#tap, this.#cache, slot, bytes) === 0) continue;
      if (n < read) this.#arena.u8.copyWithin(slots + (n << SLOT_SHIFT), slot, slot + (1 << SLOT_SHIFT));
      n++;
    }
    if (read < ready) poolFree(this.#cache, slots + (read << SLOT_SHIFT), ready - read);
    return n;
  }

  send(slots: number, count: number): number {
    const { netifTapGather, poolFree } = this.#kernels;
    let done = 0;
    while (done < count) {
      const n = netifTapGather(this.#tap, slots + (done << SLOT_SHIFT), count - done, this.#low, this.#high);
      const sent = this.#ring === -1 ? this.#writeEach(n) : this.#writeAll(n);
      done += sent;
      if (sent < n) break;
    }
    poolFree(this.#cache, slots, done);
    return done;
  }

  /** Has the ring make the first `count` requests. Returns how many were made, and failed or not. */
  #writeAll(count: number): number {
    this.#submit(this.#ring, count);
    const sent = this.#kernels.netifTapSent(this.#tap);
    const { u32 } = this.#arena;
    const at = (this.#tap + TAP_ERRNO) >>> 2;
    const errno = u32[at] ?? 0;
    if (errno !== 0) {
      u32[at] = 0;
      this.#failed('write to', errno);
    }
    return sent;
  }

  /** Makes the first `count` requests one by one. */
  #writeEach(count: number): number {
    const { u8, u32 } = this.#arena;
    const requests = u32[(this.#tap + TAP_REQUEST) >>> 2] ?? 0;
    for (let i = 0; i < count; i++) {
      const request = requests + (i << REQUEST_SHIFT);
      const own = u32[(request + REQUEST_OWN) >>> 2] ?? 0;
      const length = u32[(request + REQUEST_LENGTH) >>> 2] ?? 0;
      const write = u8[request] === REQUEST_WRITE ? this.#devices.write : this.#devices.writev;
      if (write(this.#fd, own, length) >= 0) continue;
      if (this.#failed('write to')) return i;
      const refused = (this.#tap + TAP_REFUSED) >>> 2;
      u32[refused] = (u32[refused] ?? 0) + 1;
    }
    return count;
  }

  /** A call failed. True when it is to be tried again later. */
  #failed(what: string, number?: number): boolean {
    const errno = this.#devices.errorName(number);
    if (errno === 'EAGAIN' || errno === 'EINTR') {
      // It takes part again.
      this.#fault = undefined;
      return true;
    }
    this.#fault = `${errno === 'EIO' ? 'the interface is down' : `cannot ${what} it: ${errno}`}`;
    return false;
  }

  unsent(): number {
    return 0;
  }

  fault(): string | undefined {
    return this.#fault;
  }

  close(): void {}
}
