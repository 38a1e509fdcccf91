import type { Arena } from '../memory/arena.ts';
import { requireSockets, requireSys } from '../sys/index.ts';
import { alignUp } from '../util/bits.ts';
import { hasFeature, VIRTIO_F } from '../virtio/features.ts';
import { type DriverQueue, setUpQueue, sharedRingBytes } from '../virtio/negotiate.ts';
import { netHeaderBytes, netOffloads, VIRTIO_NET_F } from '../virtio/net-features.ts';
import { createNetQueue, netAreaBytes } from '../virtio/net-queue.ts';
import type { QueueSetup, QueueTransport } from '../virtio/transport.ts';
import type { NetPair, NetRing } from './net.ts';
import type { MemoryRegion, VringAddresses } from './protocol.ts';

/** A page that is both a file's and the arena's. */
const PAGE_BYTES = 4096;
/** Both sides at place 0 of their first lap, in either layout. */
const SPLIT_BASE = 0;
const PACKED_BASE = 0x8000_8000;

/** What a driver's rings are to be. */
export interface DriverRingsOptions {
  /** Names their regions in the arena. */
  readonly name: string;
  /** Arena address of `driverWindowBytes` bytes, a multiple of the page size, which nothing else uses. */
  readonly window: number;
  /** What was negotiated. */
  readonly features: bigint;
  readonly pairs: number;
  readonly queueSize: number;
}

/** A ring, as the backend is told of it. */
export interface DriverRing {
  readonly index: number;
  readonly size: number;
  readonly base: number;
  readonly addresses: VringAddresses;
  /** Eventfds. */
  readonly kick: number;
  readonly call: number;
}

function ringBytes(queueSize: number): number {
  return sharedRingBytes(queueSize) + netAreaBytes(queueSize);
}

/** Bytes that the backend reaches: rings, and areas that frames are copied through. */
export function driverWindowBytes(pairs: number, queueSize: number): number {
  return alignUp(2 * pairs * ringBytes(queueSize), PAGE_BYTES);
}

/**
 * The driver's side of a network device in another process. What both reach is a file, mapped over a window of the arena: a
 * new one for each backend, so that one that was sent away reaches nothing of the next one's. All else is our own memory.
 *
 *     window  ring 0 │ its areas │ ring 1 │ its areas …   the file that the backend maps, too
 *     arena   queues, net queues, pool                    ours
 */
export class DriverRings {
  /** By queue index: receive and transmit queue of each pair in turn. */
  readonly rings: readonly DriverRing[];
  readonly pairs: readonly NetPair[];
  /** The file, and how the backend is told of it: by its addresses here. */
  readonly fd: number;
  readonly region: MemoryRegion;
  /** Eventfd by which the backend says that it found a ring broken. */
  readonly error: number;
  readonly #arena: Arena;
  readonly #queues: DriverQueue[] = [];
  /** What is given back, last taken first. */
  readonly #undo: (() => void)[] = [];

  /** @throws RingwayError `ARENA_FULL`, or `SYSTEM` when there is no memory or no descriptor left. */
  constructor(arena: Arena, options: DriverRingsOptions) {
    this.#arena = arena;
    const { name, window, pairs, queueSize } = options;
    try {
      const bytes = driverWindowBytes(pairs, queueSize);
      this.fd = this.#map(name, window, bytes);
      this.region = { guest: BigInt(window), user: BigInt(window), bytes: BigInt(bytes), offset: 0n };
      this.error = this.#eventfd(name);
      const made = Array.from({ length: 2 * pairs }, (_, index) => this.#makeRing(index, options));
      this.rings = made.map(({ ring }) => ring);
      this.pairs = Array.from({ length: pairs }, (_, i) => ({ receive: made[2 * i]?.net, send: made[2 * i + 1]?.net }));
    } catch (error) {
      this.close();
      throw error;
    }
  }

  #map(name: string, window: number, bytes: number): number {
    const { memfdCreate, mapFile, unmap, closeFd } = requireSys(name);
    const { memory } = this.#arena.handle;
    const fd = memfdCreate(name, bytes, { seal: true });
    this.#undo.push(() => closeFd(fd));
    mapFile(memory, window, bytes, fd, 0);
    this.#undo.push(() => unmap(memory, window, bytes));
    return fd;
  }

  #eventfd(name: string): number {
    const fd = requireSockets(name).eventfd();
    this.#undo.push(() => requireSys(name).closeFd(fd));
    return fd;
  }

  #makeRing(index: number, options: DriverRingsOptions): { readonly ring: DriverRing; readonly net: NetRing } {
    const { name, window, features, queueSize } = options;
    const ringsAt = window + index * ringBytes(queueSize);
    let setup: QueueSetup | undefined;
    const transport: QueueTransport = {
      queueMaxSize: () => queueSize,
      setQueue(_, wanted) {
        setup = wanted;
      },
      setLegacyQueue() {},
      enableQueue() {},
    };
    const queue = setUpQueue(this.#arena, transport, { name: `${name} queue ${index}`, index, features, ringsAt });
    this.#queues.push(queue);
    this.#undo.push(() => queue.release());
    const { size, descriptors, driverArea, deviceArea } = setup as unknown as QueueSetup;
    const net = this.#makeNetQueue(queue, ringsAt + sharedRingBytes(queueSize), options);
    const [kick, call] = [this.#eventfd(name), this.#eventfd(name)];
    const base = hasFeature(features, VIRTIO_F.RING_PACKED) ? PACKED_BASE : SPLIT_BASE;
    const addresses = { index, flags: 0, descriptors, available: driverArea, used: deviceArea, log: 0n };
    return {
      ring: { index, size, base, addresses, kick, call },
      net: { net, queue: queue.driver.address, kick, call, enabled: true },
    };
  }

  #makeNetQueue({ driver, index }: DriverQueue, areas: number, { name, features }: DriverRingsOptions): number {
    const before = new Set(this.#arena.regions().map((region) => region.name));
    const net = createNetQueue(this.#arena, {
      name: `${name} ring ${index}`,
      queue: driver.address,
      headerBytes: netHeaderBytes(features),
      mergeable: hasFeature(features, VIRTIO_NET_F.MRG_RXBUF),
      offloads: netOffloads(features, index % 2 === 0 ? 'receive' : 'transmit'),
      areas,
    });
    const made = this.#arena.regions().filter((region) => !before.has(region.name));
    this.#undo.push(() => {
      for (const region of made) this.#arena.release(region.name);
    });
    return net;
  }

  /** The index of a ring that the backend broke, and the VQ_BROKEN_… code of how; undefined when none is. */
  broken(): { readonly index: number; readonly code: number } | undefined {
    for (const { driver, index } of this.#queues) if (driver.broken() !== 0) return { index, code: driver.broken() };
    return undefined;
  }

  /** Gives everything back; nobody uses the rings any more. */
  close(): void {
    for (const undo of this.#undo.splice(0).reverse()) undo();
  }
}
