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
  readonly queues: readonly {
    /** The socket that receives. */
    readonly fd: number;
    /** The socket that sends. */
    readonly sender: number;
    readonly address: number;
  }[];
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

/** Sets options of a socket, as SOL_PACKET numbers them. */
type SetOption = (number: number, value: Uint8Array, what: string) => void;

/** Prepares a socket for the interface. Frames have in front of them what is still to be done to them. */
function prepare(devices: Devices, fd: number): SetOption {
  const option: SetOption = (number, value, what) => devices.setOption(fd, SOL_PACKET, number, value, what);
  option(PACKET_VERSION, word(TPACKET_V3), 'PACKET_VERSION');
  option(PACKET_VNET_HDR, word(1), 'PACKET_VNET_HDR');
  return option;
}

/** Binds a socket to the interface `index`, which `name` is. Frames of `protocol` arrive from then on; none when it is 0. */
function bindTo(devices: Devices, fd: number, index: number, protocol: number, name: string): void {
  // struct sockaddr_ll: family, protocol in network order, index, hatype, pkttype, halen, address.
  const sockaddr = new Uint8Array(20);
  const view = new DataView(sockaddr.buffer);
  view.setUint16(0, AF_PACKET, true);
  view.setUint16(2, protocol);
  view.setInt32(4, index, true);
  devices.bind(fd, sockaddr, `AF_PACKET to ${name}`);
}

/** Makes a socket receive in the blocks at `ring`. */
function startReceiver(devices: Devices, fd: number, index: number, ring: number, options: PacketOptions): void {
  const option = prepare(devices, fd);
  const bytes = BLOCK_BYTES * BLOCKS;
  // struct tpacket_req3: block size and number, frame size and number, time to hand over.
  option(PACKET_RX_RING, word(BLOCK_BYTES, BLOCKS, FRAME_UNIT, bytes / FRAME_UNIT, RETIRE_MS, 0, 0), 'PACKET_RX_RING');
  devices.map(ring, bytes, fd, 0, 'packet blocks');
  option(PACKET_IGNORE_OUTGOING, word(1), 'PACKET_IGNORE_OUTGOING');
  // struct packet_mreq: index, u16 type, u16 address length, address.
  if (options.promiscuous) {
    option(PACKET_ADD_MEMBERSHIP, word(index, PACKET_MR_PROMISC, 0, 0), 'PACKET_ADD_MEMBERSHIP');
  }
  bindTo(devices, fd, index, ETH_P_ALL, options.interface);
  if (options.queues > 1) {
    const group = (process.pid + index) & 0xffff;
    option(PACKET_FANOUT, word(group | ((PACKET_FANOUT_HASH | PACKET_FANOUT_FLAG_DEFRAG) << 16)), 'PACKET_FANOUT');
  }
}

/**
 * Makes a socket send from the places of `place` bytes at `ring`. It is another than the one that receives: who waits for that one,
 * the kernel would tell of each frame that is sent.
 */
function startSender(devices: Devices, fd: number, index: number, ring: number, place: number, name: string): void {
  const option = prepare(devices, fd);
  const unit = Math.max(place, MAPPED_PAGE);
  option(PACKET_TX_RING, word(unit, (PLACES * place) / unit, place, PLACES, 0, 0, 0), 'PACKET_TX_RING');
  devices.map(ring, PLACES * place, fd, 0, 'packet places');
  option(PACKET_QDISC_BYPASS, word(1), 'PACKET_QDISC_BYPASS');
  bindTo(devices, fd, index, 0, name);
}

/**
 * Opens two packet sockets for each queue, bound to the interface. Several queues share its frames by flow.
 * @param region names regions of the arena: `REGION packet N`.
 * @throws RingwayError `SYSTEM` when the kernel refuses.
 */
export function openPacketSockets(arena: Arena, region: string, options: PacketOptions): PacketShare {
  const devices = requireDevices(arena.handle.memory, WHAT);
  const { index, mtu } = findInterface(devices, options.interface);
  const place = placeBytes(mtu);
  const blocks = BLOCK_BYTES * BLOCKS;
  const opened: { fd: number; sender: number; address: number }[] = [];
  try {
    for (let queue = 0; queue < options.queues; queue++) {
      const address = arena.allocate(regionOf(region, queue), PACKET_BYTES);
      const each = { fd: -1, sender: -1, address };
      opened.push(each);
      const ring = arena.allocate(ringOf(region, queue), blocks + PLACES * place, MAPPED_PAGE);
      const set = (at: number, value: number): void => {
        arena.u32[(address + at) >>> 2] = value;
      };
      set(PACKET_BLOCKS, ring);
      set(PACKET_BLOCK_BYTES, BLOCK_BYTES);
      set(PACKET_BLOCK_COUNT, BLOCKS);
      set(PACKET_PLACES, ring + blocks);
      set(PACKET_PLACE_BYTES, place);
      set(PACKET_PLACE_COUNT, PLACES);
      each.sender = devices.socket(AF_PACKET, 0);
      startSender(devices, each.sender, index, ring + blocks, place, options.interface);
      // Of no protocol until all is set up: nothing arrives before.
      each.fd = devices.socket(AF_PACKET, 0);
      startReceiver(devices, each.fd, index, ring, options);
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
  for (const [queue, { fd, sender }] of queues.entries()) {
    const ring = regions.find(({ name }) => name === ringOf(region, queue));
    if (ring !== undefined) {
      unmap(arena.handle.memory, ring.address, ring.bytes);
      arena.release(ring.name);
    }
    for (const socket of [fd, sender]) if (socket !== -1) closeFd(socket);
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

/** Serves a queue from this thread: a kernel call a burst, and a system call a burst that is sent. */
export class PacketQueue implements NetifQueue {
  readonly offloads = OFFLOAD_CSUM;
  readonly #devices: Devices;
  readonly #kernels: PacketKernels;
  readonly #sender: number;
  readonly #packet: number;
  readonly #cache: number;
  /** The kernel has not yet sent all. */
  #isBehind = false;
  #fault: string | undefined;

  constructor(arena: Arena, { queues }: PacketShare, queue: number, cache: number) {
    const { sender, address } = queues[queue] as PacketShare['queues'][number];
    this.#devices = requireDevices(arena.handle.memory, WHAT);
    this.#kernels = arena.kernels<PacketKernels>();
    this.#sender = sender;
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
    this.#isBehind = this.#devices.kick(this.#sender) < 0;
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
