import type { Arena } from '../memory/arena.ts';
import { SLOT_SHIFT } from '../memory/layout.ts';
import type { PoolKernels } from '../memory/pool.ts';
import { OFFLOAD_CSUM, OFFLOAD_ECN, OFFLOAD_TSO4, OFFLOAD_TSO6, OFFLOAD_USO } from '../packet/layout.ts';
import { type Devices, requireDevices, requireSys } from '../sys/index.ts';
import { DROP_BAD_OFFLOAD, DROP_POOL_EMPTY, DROP_TX_ERROR } from '../telemetry/layout.ts';
import { IFREQ_UNION, ifreq, setUp } from './interface.ts';
import {
  TAP_BAD,
  TAP_BYTES,
  TAP_EMPTY,
  TAP_HEADER_BYTES,
  TAP_OFFLOADS,
  TAP_PIECE,
  TAP_PIECE_BYTES,
  TAP_REFUSED,
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
  /** A descriptor and the address of a region for each queue. */
  readonly queues: readonly { readonly fd: number; readonly address: number }[];
  readonly offloads: number;
}

interface TapKernels extends PoolKernels {
  netifTapPrepare(tap: number, cache: number, slots: number, max: number, low: number, high: number): number;
  netifTapReceived(tap: number, cache: number, slot: number, bytes: number): number;
  netifTapGather(tap: number, slot: number, low: number, high: number): number;
}

/** Bytes of the arena that a tap of so many queues takes. */
export const tapBytes = (queues: number): number => queues * (TAP_BYTES + 256);

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
  const opened: { fd: number; address: number }[] = [];
  let agreed = 0;
  try {
    for (let queue = 0; queue < queues; queue++) {
      const address = arena.allocate(`${region} tap ${queue}`, TAP_BYTES);
      opened.push({ fd: -1, address });
      const fd = devices.open('/dev/net/tun');
      opened[queue] = { fd, address };
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
  for (const [queue, { fd }] of queues.entries()) {
    if (fd !== -1) closeFd(fd);
    arena.release(`${region} tap ${queue}`);
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

/** Serves a queue from this thread: a system call a frame, either way. */
export class TapQueue implements NetifQueue {
  readonly offloads: number;
  readonly #devices: Devices;
  readonly #kernels: TapKernels;
  readonly #arena: Arena;
  readonly #fd: number;
  readonly #tap: number;
  readonly #cache: number;
  /** Where the memory starts in the process, as two words. */
  readonly #low: number;
  readonly #high: number;
  #fault: string | undefined;

  constructor(arena: Arena, { queues, offloads }: TapShare, queue: number, cache: number) {
    const { fd, address } = queues[queue] as TapShare['queues'][number];
    this.offloads = offloads;
    this.#devices = requireDevices(arena.handle.memory, WHAT);
    this.#kernels = arena.kernels<TapKernels>();
    this.#arena = arena;
    this.#fd = fd;
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
    for (; done < count; done++) {
      const vectors = netifTapGather(this.#tap, slots + (done << SLOT_SHIFT), this.#low, this.#high);
      if ((vectors === 0 ? this.#writePiece() : this.#writeVectors(vectors)) >= 0) continue;
      if (this.#failed('write to')) break;
      const refused = (this.#tap + TAP_REFUSED) >>> 2;
      this.#arena.u32[refused] = (this.#arena.u32[refused] ?? 0) + 1;
    }
    poolFree(this.#cache, slots, done);
    return done;
  }

  #writePiece(): number {
    const words = this.#arena.u32;
    const at = (word: number): number => (this.#tap + word) >>> 2;
    return this.#devices.write(this.#fd, words[at(TAP_PIECE)] ?? 0, words[at(TAP_PIECE_BYTES)] ?? 0);
  }

  #writeVectors(count: number): number {
    return this.#devices.writev(this.#fd, this.#tap + TAP_VECTORS, count);
  }

  /** A call failed. True when it is to be tried again later. */
  #failed(what: string): boolean {
    const errno = this.#devices.errorName();
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
