import { assemble } from '../bpf/assemble.ts';
import { encodeInstructions, LDDW, OP_LDDW } from '../bpf/instruction.ts';
import type { Arena } from '../memory/arena.ts';
import { BUFFER_BYTES } from '../memory/layout.ts';
import { POOL_BUFFERS_MAX } from '../memory/pool.ts';
import { type Devices, requireBpf, requireDevices, requireSys } from '../sys/index.ts';
import { DROP_BAD_DESCRIPTOR, DROP_OVERSIZE, DROP_POOL_EMPTY } from '../telemetry/layout.ts';
import { alignUp } from '../util/bits.ts';
import { findInterface } from './interface.ts';
import {
  XADDRESS_SHIFT,
  XDESC_SHIFT,
  XRING_CONSUMER,
  XRING_ENTRIES,
  XRING_FLAGS,
  XRING_MASK,
  XRING_NEED_WAKEUP,
  XRING_PRODUCER,
  XSK_BAD,
  XSK_BASE,
  XSK_BYTES,
  XSK_COMPLETION,
  XSK_COUNT,
  XSK_EMPTY,
  XSK_FILL,
  XSK_LONG,
  XSK_OWNED,
  XSK_RINGS,
  XSK_RX,
  XSK_TX,
} from './layout.ts';
import type { DropWord, NetifQueue } from './queue.ts';

/** Values of Linux include/uapi/linux/if_xdp.h, linux/socket.h, linux/bpf.h. */
const AF_XDP = 44;
const SOL_XDP = 283;
const XDP_MMAP_OFFSETS = 1;
const XDP_UMEM_REG = 4;
const XDP_COPY = 1 << 1;
const XDP_ZEROCOPY = 1 << 2;
const XDP_USE_NEED_WAKEUP = 1 << 3;
const MAP_TYPE_XSKMAP = 17;
const PAGE_BYTES = 4096;
/** The place of a ring in XDP_MMAP_OFFSETS' answer: producer, consumer, descriptors, flags, u64 each. */
const OFFSETS_BYTES = 32;

/** Entries of each ring. */
const ENTRIES = 1024;
/** What precedes the entries of a ring takes less than a page. */
const RING_BYTES = PAGE_BYTES + (ENTRIES << XDESC_SHIFT);

/** The four rings, as XDP_MMAP_OFFSETS lists them: where they are in our words, socket option, offset to map, entry size. */
const RINGS = [
  { name: 'XDP_RX_RING', at: XSK_RX, option: 2, place: 0, shift: XDESC_SHIFT },
  { name: 'XDP_TX_RING', at: XSK_TX, option: 3, place: 0x8000_0000, shift: XDESC_SHIFT },
  { name: 'XDP_UMEM_FILL_RING', at: XSK_FILL, option: 5, place: 0x1_0000_0000, shift: XADDRESS_SHIFT },
  { name: 'XDP_UMEM_COMPLETION_RING', at: XSK_COMPLETION, option: 6, place: 0x1_8000_0000, shift: XADDRESS_SHIFT },
] as const;

const WHAT = 'an af-xdp port';

/** Sends a packet to the socket under the queue that it came by, or on (XDP_PASS) as if there were no program. */
const REDIRECT = assemble(`
  ldxw %r2, [%r1+16]
  lddw %r1, map 0
  mov %r3, 2
  call redirect_map
  exit`);

/** That program for the map of a descriptor. */
const redirectTo = (map: number): Uint8Array =>
  encodeInstructions(REDIRECT.map((one) => (one.opcode === OP_LDDW ? { ...one, src: LDDW.MAP_FD, imm: map } : one)));

/** A u32 for a system call. */
const word = (value: number): Uint8Array => new Uint8Array(Uint32Array.of(value).buffer);

interface XskKernels {
  netifXskFill(xsk: number, cache: number): number;
  netifXskReceive(xsk: number, cache: number, slots: number, max: number): number;
  netifXskSend(xsk: number, cache: number, slots: number, count: number): number;
  netifXskUnsent(xsk: number): number;
  netifXskReclaim(xsk: number, cache: number): void;
}

/** Open XDP sockets: what their queues need, which can be posted. */
export interface XskShare {
  readonly queues: readonly { readonly fd: number; readonly address: number }[];
  /** Index of the interface. */
  readonly index: number;
  /** Descriptors of the program that brings all packets there, and of its map. */
  readonly redirect: readonly [program: number, map: number];
  /** Descriptor of what has the interface run a program; -1 when it runs none. The control thread's. */
  link: number;
}

/** What XDP sockets are opened for. */
export interface XskOptions {
  readonly interface: string;
  /** The interface's receive queues from 0 on; as many must be there. */
  readonly queues: number;
  /** `copy`: the kernel copies; `zero-copy`: the driver uses the buffers; `auto`: as the driver can. */
  readonly mode: 'auto' | 'copy' | 'zero-copy';
}

/** Bytes of the arena that so many queues take, with a byte for each buffer of the largest pool. */
export const xskBytes = (queues: number): number =>
  queues * (XSK_BYTES + RINGS.length * RING_BYTES + POOL_BUFFERS_MAX + PAGE_BYTES);
/** Buffers that the kernel has of a queue at most: to receive into, received, to be sent. */
export const XSK_BUFFERS = 3 * ENTRIES;

const regionOf = (region: string, queue: number): string => `${region} xsk ${queue}`;
const ringsOf = (region: string, queue: number): string => `${region} xsk rings ${queue}`;
const ownedOf = (region: string, queue: number): string => `${region} xsk owned ${queue}`;

/** Makes the four rings of a socket, and maps them over the arena. */
function mapRings(arena: Arena, devices: Devices, rings: number, xsk: number, fd: number): void {
  for (const { name, option } of RINGS) devices.setOption(fd, SOL_XDP, option, word(ENTRIES), name);
  const answer = new Uint8Array(RINGS.length * OFFSETS_BYTES);
  devices.getOption(fd, SOL_XDP, XDP_MMAP_OFFSETS, answer, 'XDP_MMAP_OFFSETS');
  const view = new DataView(answer.buffer);
  for (const [i, { name, at, place, shift }] of RINGS.entries()) {
    const offset = (field: number): number => Number(view.getBigUint64(i * OFFSETS_BYTES + field * 8, true));
    const ring = rings + i * RING_BYTES;
    const bytes = alignUp(offset(2) + (ENTRIES << shift), PAGE_BYTES);
    devices.map(ring, bytes, fd, place, name);
    const set = (field: number, value: number): void => {
      arena.u32[(xsk + at + field) >>> 2] = value;
    };
    set(XRING_PRODUCER, ring + offset(0));
    set(XRING_CONSUMER, ring + offset(1));
    set(XRING_ENTRIES, ring + offset(2));
    set(XRING_FLAGS, ring + offset(3));
    set(XRING_MASK, ENTRIES - 1);
  }
}

/** Shares all buffers of the pool with the kernel, in place. */
function registerBuffers(devices: Devices, fd: number, base: number, bytes: number): void {
  // struct xdp_umem_reg: address, bytes, chunk size, headroom, flags, metadata. The kernel writes frames XDP_PACKET_HEADROOM
  // (256) bytes into a chunk, which is where they are in our buffers.
  const registration = new Uint8Array(32);
  const view = new DataView(registration.buffer);
  view.setBigUint64(0, BigInt(devices.base + base), true);
  view.setBigUint64(8, BigInt(bytes), true);
  view.setUint32(16, BUFFER_BYTES, true);
  devices.setOption(fd, SOL_XDP, XDP_UMEM_REG, registration, 'XDP_UMEM_REG');
}

/** Binds a socket to a queue of the interface. */
function bindQueue(devices: Devices, fd: number, index: number, queue: number, mode: XskOptions['mode']): void {
  // struct sockaddr_xdp: family, flags, interface, queue, descriptor of a socket whose memory is shared.
  const address = new Uint8Array(16);
  const view = new DataView(address.buffer);
  view.setUint16(0, AF_XDP, true);
  view.setUint16(2, XDP_USE_NEED_WAKEUP | { auto: 0, copy: XDP_COPY, 'zero-copy': XDP_ZEROCOPY }[mode], true);
  view.setUint32(4, index, true);
  view.setUint32(8, queue, true);
  devices.bind(fd, address, `AF_XDP to queue ${queue}`);
}

/** Loads the program that brings all packets to the sockets. */
function loadRedirect(fds: readonly number[]): XskShare['redirect'] {
  const bpf = requireBpf();
  const map = bpf.mapCreate({ kind: MAP_TYPE_XSKMAP, keyBytes: 4, valueBytes: 4, maxEntries: fds.length });
  try {
    for (const [queue, fd] of fds.entries()) bpf.mapUpdate(map, word(queue), word(fd));
    return [bpf.progLoad(redirectTo(map), { name: 'ringway_xsk' }), map];
  } catch (error) {
    bpf.close(map);
    throw error;
  }
}

/**
 * Has the interface run another program from the next packet on.
 * @param program its descriptor; that of the program which brings all packets to the sockets when missing.
 * @throws RingwayError `SYSTEM` when Linux refuses; it runs on as before.
 */
export function runOnInterface(share: XskShare, program: number = share.redirect[0]): void {
  const bpf = requireBpf();
  if (share.link === -1) share.link = bpf.linkXdp(program, share.index);
  else bpf.linkUpdate(share.link, program);
}

/**
 * Opens a socket for each of the first queues of the interface. It runs no program yet.
 * @param region names regions of the arena: `REGION xsk N`.
 * @throws RingwayError `SYSTEM` when the kernel refuses, `UNSUPPORTED` where there is no bpf(2).
 */
export function openXsks(arena: Arena, region: string, options: XskOptions): XskShare {
  const devices = requireDevices(arena.handle.memory, WHAT);
  const { index } = findInterface(devices, options.interface);
  const pool = arena.region('pool.buffers');
  const opened: { fd: number; address: number }[] = [];
  try {
    for (let queue = 0; queue < options.queues; queue++) {
      const address = arena.allocate(regionOf(region, queue), XSK_BYTES);
      opened.push({ fd: -1, address });
      const owned = arena.allocate(ownedOf(region, queue), pool.bytes / BUFFER_BYTES);
      const rings = arena.allocate(ringsOf(region, queue), RINGS.length * RING_BYTES, PAGE_BYTES);
      const fd = devices.socket(AF_XDP, 0);
      opened[queue] = { fd, address };
      arena.u32[(address + XSK_BASE) >>> 2] = pool.address;
      arena.u32[(address + XSK_COUNT) >>> 2] = pool.bytes / BUFFER_BYTES;
      arena.u32[(address + XSK_OWNED) >>> 2] = owned;
      arena.u32[(address + XSK_RINGS) >>> 2] = rings;
      registerBuffers(devices, fd, pool.address, pool.bytes);
      mapRings(arena, devices, rings, address, fd);
      bindQueue(devices, fd, index, queue, options.mode);
    }
    return { queues: opened, index, redirect: loadRedirect(opened.map(({ fd }) => fd)), link: -1 };
  } catch (error) {
    closeSockets(arena, region, opened);
    throw error;
  }
}

/** Closes a socket, unless that was done. It lives as long as its rings are mapped, so those go first. */
function closeSocket(arena: Arena, { fd, address }: XskShare['queues'][number]): void {
  const { closeFd, unmap } = requireSys(WHAT);
  const rings = arena.u32[(address + XSK_RINGS) >>> 2] ?? 0;
  if (rings === 0) return;
  arena.u32[(address + XSK_RINGS) >>> 2] = 0;
  unmap(arena.handle.memory, rings, RINGS.length * RING_BYTES);
  if (fd !== -1) closeFd(fd);
}

/** Detaches the program, and closes the sockets that are open still. */
export function closeXsks(arena: Arena, region: string, { queues, redirect, link }: XskShare): void {
  const { closeFd } = requireSys(WHAT);
  if (link !== -1) closeFd(link);
  for (const descriptor of redirect) closeFd(descriptor);
  closeSockets(arena, region, queues);
}

function closeSockets(arena: Arena, region: string, queues: XskShare['queues']): void {
  const names = new Set(arena.regions().map(({ name }) => name));
  for (const [queue, socket] of queues.entries()) {
    closeSocket(arena, socket);
    for (const name of [ringsOf, ownedOf, regionOf].map((of) => of(region, queue))) {
      if (names.has(name)) arena.release(name);
    }
  }
}

/** What the kernels count of a queue at `address`. */
export function xskDrops(address: number): DropWord[] {
  return [
    { address: address + XSK_BAD, reason: DROP_BAD_DESCRIPTOR, isSent: false },
    { address: address + XSK_LONG, reason: DROP_OVERSIZE, isSent: true },
    { address: address + XSK_EMPTY, reason: DROP_POOL_EMPTY, isSent: true },
  ];
}

/** Serves a socket from this thread: packets stay where the kernel has them. */
export class XskQueue implements NetifQueue {
  readonly offloads = 0;
  readonly #arena: Arena;
  readonly #devices: Devices;
  readonly #kernels: XskKernels;
  readonly #socket: XskShare['queues'][number];
  readonly #xsk: number;
  readonly #cache: number;
  /** Where the kernel says whether it wants to be told of packets to send: an index of u32. */
  readonly #wakeup: number;
  #fault: string | undefined;

  constructor(arena: Arena, { queues }: XskShare, queue: number, cache: number) {
    const socket = queues[queue] as XskShare['queues'][number];
    const { address } = socket;
    this.#arena = arena;
    this.#devices = requireDevices(arena.handle.memory, WHAT);
    this.#kernels = arena.kernels<XskKernels>();
    this.#socket = socket;
    this.#xsk = address;
    this.#cache = cache;
    this.#wakeup = (arena.u32[(address + XSK_TX + XRING_FLAGS) >>> 2] ?? 0) >>> 2;
    this.#kernels.netifXskFill(address, cache);
  }

  receive(slots: number, max: number): number {
    if (this.unsent() > 0) this.#kick();
    return this.#kernels.netifXskReceive(this.#xsk, this.#cache, slots, max);
  }

  send(slots: number, count: number): number {
    const n = this.#kernels.netifXskSend(this.#xsk, this.#cache, slots, count);
    this.#kick();
    return n;
  }

  /** Has the kernel look at the ring, when it sleeps. */
  #kick(): void {
    if (((this.#arena.u32[this.#wakeup] ?? 0) & XRING_NEED_WAKEUP) === 0) return;
    if (this.#devices.kick(this.#socket.fd) >= 0) {
      this.#fault = undefined;
      return;
    }
    const errno = this.#devices.errorName();
    if (errno === 'ENETDOWN') this.#fault = 'the interface is down';
    else if (errno === 'ENXIO') this.#fault = 'the interface is gone';
  }

  unsent(): number {
    return this.#kernels.netifXskUnsent(this.#xsk);
  }

  fault(): string | undefined {
    return this.#fault;
  }

  /** Closes the socket, after which every buffer that the kernel had is ours. */
  close(): void {
    closeSocket(this.#arena, this.#socket);
    this.#kernels.netifXskReclaim(this.#xsk, this.#cache);
  }
}
