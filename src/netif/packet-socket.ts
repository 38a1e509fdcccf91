import type { Arena } from '../memory/arena.ts';
import { OFFLOAD_CSUM } from '../packet/layout.ts';
import { type Devices, requireDevices, requireSys } from '../sys/index.ts';
import { DROP_BAD_OFFLOAD, DROP_OVERSIZE, DROP_POOL_EMPTY, DROP_TX_ERROR } from '../telemetry/layout.ts';
import { nextPowerOfTwo } from '../util/bits.ts';
import { findInterface } from './interface.ts';
import {
  FRAME_DATA,
  PACKET_BAD,
  PACKET_BLOCK_BYTES,
  PACKET_BLOCK_COUNT,
  PACKET_BLOCKS,
  PACKET_BYTES,
  PACKET_CUT,
  PACKET_EMPTY,
  PACKET_LONG,
  PACKET_PLACE_BYTES,
  PACKET_PLACE_COUNT,
  PACKET_PLACES,
  PACKET_REFUSED,
  SHORT_HEADER_BYTES,
} from './layout.ts';
import type { DropWord, NetifQueue } from './queue.ts';

/** Values of Linux include/uapi: linux/if_packet.h, linux/if_ether.h, linux/socket.h. */
const AF_PACKET = 17;
const SOL_PACKET = 263;
const PACKET_ADD_MEMBERSHIP = 1;
const PACKET_RX_RING = 5;
const PACKET_VERSION = 10;
const PACKET_TX_RING = 13;
const PACKET_VNET_HDR = 15;
const PACKET_FANOUT = 18;
const PACKET_QDISC_BYPASS = 20;
const PACKET_IGNORE_OUTGOING = 23;
const PACKET_MR_PROMISC = 1;
const PACKET_FANOUT_HASH = 0;
const PACKET_FANOUT_FLAG_DEFRAG = 0x8000;
const TPACKET_V3 = 2;
const ETH_P_ALL = 0x0003;
const MAPPED_PAGE = 4096;

/** A block holds the longest frame several times, and is handed over after a millisecond at the latest. */
const BLOCK_BYTES = 1 << 18;
const BLOCKS = 16;
const RETIRE_MS = 1;
/** The kernel counts frames of such a size at least when it lays out blocks. */
const FRAME_UNIT = 2048;
/** Frames that wait to be sent. */
const PLACES = 512;
/** Ethernet and two tags, over the MTU. */
const LINK_BYTES = 22;
/** Places of jumbo frames on the loopback interface, whose MTU is 65,536, would be none that anybody needs. */
const MTU_MAX = 9000;

const WHAT = 'an af-packet port';

interface PacketKernels {
  netifPacketReceive(packet: number, cache: number, slots: number, max: number): number;
  netifPacketSend(packet: number, cache: number, slots: number, count: number): number;
  netifPacketUnsent(packet: number): number;
}

/** Open packet sockets: what their queues need, which can be posted. */
export interface PacketShare {
  readonly queues: readonly { readonly fd: number; readonly address: number }[];
}

/** A u32 for setsockopt. */
const word = (...values: number[]): Uint8Array => new Uint8Array(Uint32Array.from(values).buffer);
const regionOf = (region: string, queue: number): string => `${region} packet ${queue}`;
const ringOf = (region: string, queue: number): string => `${region} packet ring ${queue}`;
/** Bytes of a place for a frame of the interface. */
const placeBytes = (mtu: number): number =>
  nextPowerOfTwo(FRAME_DATA + SHORT_HEADER_BYTES + LINK_BYTES + Math.min(mtu, MTU_MAX));

/** Bytes of the arena that so many queues take at most. */
export const packetBytes = (queues: number): number =>
  queues * (PACKET_BYTES + BLOCK_BYTES * BLOCKS + PLACES * placeBytes(MTU_MAX) + 2 * MAPPED_PAGE);

/** What a packet socket is opened for. */
export interface PacketOptions {
  readonly interface: string;
  readonly queues: number;
  /** Also frames for others. */
  readonly promiscuous: boolean;
}

/** Makes the two rings of a socket, and maps them one behind the other over the arena. */
function mapRings(arena: Arena, devices: Devices, name: string, packet: number, fd: number, mtu: number): void {
  const option = (number: number, value: Uint8Array, what: string): void =>
    devices.setOption(fd, SOL_PACKET, number, value, what);
  const blocks = BLOCK_BYTES * BLOCKS;
  const place = placeBytes(mtu);
  option(PACKET_VERSION, word(TPACKET_V3), 'PACKET_VERSION');
  option(PACKET_VNET_HDR, word(1), 'PACKET_VNET_HDR');
  // struct tpacket_req3: block size and number, frame size and number, then of the receiving ring the time to hand over.
  option(PACKET_RX_RING, word(BLOCK_BYTES, BLOCKS, FRAME_UNIT, blocks / FRAME_UNIT, RETIRE_MS, 0, 0), 'PACKET_RX_RING');
  const unit = Math.max(place, MAPPED_PAGE);
  option(PACKET_TX_RING, word(unit, (PLACES * place) / unit, place, PLACES, 0, 0, 0), 'PACKET_TX_RING');
  const bytes = blocks + PLACES * place;
  const ring = arena.allocate(name, bytes, MAPPED_PAGE);
  devices.map(ring, bytes, fd, 0, 'packet rings');
  const set = (at: number, value: number): void => {
    arena.u32[(packet + at) >>> 2] = value;
  };
  set(PACKET_BLOCKS, ring);
  set(PACKET_BLOCK_BYTES, BLOCK_BYTES);
  set(PACKET_BLOCK_COUNT, BLOCKS);
  set(PACKET_PLACES, ring + blocks);
  set(PACKET_PLACE_BYTES, place);
  set(PACKET_PLACE_COUNT, PLACES);
}

/**
 * Opens a packet socket for each queue, bound to the interface. Several share its frames by flow.
 * @param region names regions of the arena: `REGION packet N`.
 * @throws RingwayError `SYSTEM` when the kernel refuses.
 */
export function openPacketSockets(arena: Arena, region: string, options: PacketOptions): PacketShare {
  const devices = requireDevices(arena.handle.memory, WHAT);
  const { index, mtu } = findInterface(devices, options.interface);
  const opened: { fd: number; address: number }[] = [];
  try {
    for (let queue = 0; queue < options.queues; queue++) {
      const address = arena.allocate(regionOf(region, queue), PACKET_BYTES);
      opened.push({ fd: -1, address });
      // Of no protocol until all is set up: nothing arrives before.
      const fd = devices.socket(AF_PACKET, 0);
      opened[queue] = { fd, address };
      mapRings(arena, devices, ringOf(region, queue), address, fd, mtu);
      const option = (number: number, value: Uint8Array, what: string): void =>
        devices.setOption(fd, SOL_PACKET, number, value, what);
      option(PACKET_IGNORE_OUTGOING, word(1), 'PACKET_IGNORE_OUTGOING');
      option(PACKET_QDISC_BYPASS, word(1), 'PACKET_QDISC_BYPASS');
      // struct packet_mreq: index, u16 type, u16 address length, address.
      if (options.promiscuous) {
        option(PACKET_ADD_MEMBERSHIP, word(index, PACKET_MR_PROMISC, 0, 0), 'PACKET_ADD_MEMBERSHIP');
      }
      // struct sockaddr_ll: family, protocol in network order, index, hatype, pkttype, halen, address.
      const sockaddr = new Uint8Array(20);
      const view = new DataView(sockaddr.buffer);
      view.setUint16(0, AF_PACKET, true);
      view.setUint16(2, ETH_P_ALL);
      view.setInt32(4, index, true);
      devices.bind(fd, sockaddr, `AF_PACKET to ${options.interface}`);
      if (options.queues > 1) {
        const group = (process.pid + index) & 0xffff;
        option(PACKET_FANOUT, word(group | ((PACKET_FANOUT_HASH | PACKET_FANOUT_FLAG_DEFRAG) << 16)), 'PACKET_FANOUT');
      }
    }
  } catch (error) {
    closePacketSockets(arena, region, { queues: opened });
    throw error;
  }
  return { queues: opened };
}

/** Takes the rings out of the arena and closes the sockets. */
export function closePacketSockets(arena: Arena, region: string, { queues }: PacketShare): void {
  const { closeFd, unmap } = requireSys(WHAT);
  const regions = arena.regions();
  for (const [queue, { fd }] of queues.entries()) {
    const ring = regions.find(({ name }) => name === ringOf(region, queue));
    if (ring !== undefined) {
      unmap(arena.handle.memory, ring.address, ring.bytes);
      arena.release(ring.name);
    }
    if (fd !== -1) closeFd(fd);
    arena.release(regionOf(region, queue));
  }
}

/** What the kernels count of a queue at `address`. */
export function packetDrops(address: number): DropWord[] {
  return [
    { address: address + PACKET_CUT, reason: DROP_OVERSIZE, isSent: false },
    { address: address + PACKET_EMPTY, reason: DROP_POOL_EMPTY, isSent: false },
    { address: address + PACKET_BAD, reason: DROP_BAD_OFFLOAD, isSent: false },
    { address: address + PACKET_LONG, reason: DROP_OVERSIZE, isSent: true },
    { address: address + PACKET_REFUSED, reason: DROP_TX_ERROR, isSent: true },
  ];
}

/** Serves a socket from this thread: a kernel call a burst, and a system call a burst that is sent. */
export class PacketQueue implements NetifQueue {
  readonly offloads = OFFLOAD_CSUM;
  readonly #devices: Devices;
  readonly #kernels: PacketKernels;
  readonly #fd: number;
  readonly #packet: number;
  readonly #cache: number;
  /** The kernel has not yet sent all. */
  #isBehind = false;
  #fault: string | undefined;

  constructor(arena: Arena, { queues }: PacketShare, queue: number, cache: number) {
    const { fd, address } = queues[queue] as PacketShare['queues'][number];
    this.#devices = requireDevices(arena.handle.memory, WHAT);
    this.#kernels = arena.kernels<PacketKernels>();
    this.#fd = fd;
    this.#packet = address;
    this.#cache = cache;
  }

  receive(slots: number, max: number): number {
    if (this.#isBehind) this.#kick();
    return this.#kernels.netifPacketReceive(this.#packet, this.#cache, slots, max);
  }

  send(slots: number, count: number): number {
    const n = this.#kernels.netifPacketSend(this.#packet, this.#cache, slots, count);
    if (n > 0 || this.#isBehind) this.#kick();
    return n;
  }

  /** Has the kernel send what is in the ring. */
  #kick(): void {
    this.#isBehind = this.#devices.kick(this.#fd) < 0;
    if (!this.#isBehind) {
      this.#fault = undefined;
      return;
    }
    const errno = this.#devices.errorName();
    if (errno === 'ENETDOWN' || errno === 'ENXIO')
      this.#fault = `the interface is ${errno === 'ENXIO' ? 'gone' : 'down'}`;
  }

  unsent(): number {
    // A call that succeeded has sent all; the places are a megabyte apart from first to last.
    return this.#isBehind ? this.#kernels.netifPacketUnsent(this.#packet) : 0;
  }

  fault(): string | undefined {
    return this.#fault;
  }

  close(): void {}
}
