import { allocateLcore } from '../lcore/lcore.ts';
import { type Arena, nestArena, nestedArenaBytes } from '../memory/arena.ts';
import { createPool, poolBytes } from '../memory/pool.ts';
import { macBytes } from '../util/addresses.ts';
import { ControlQueueDriver } from '../virtio/control-driver.ts';
import { VirtioDevice } from '../virtio/device.ts';
import { featureMask, hasFeature } from '../virtio/features.ts';
import { NET_CONTROL_LINK } from '../virtio/layout.ts';
import { type DriverQueue, negotiate, setUpQueue, startDevice } from '../virtio/negotiate.ts';
import { type NetDataPath, NetDevice } from '../virtio/net.ts';
import {
  NET_FEATURE_NAMES,
  NET_OFFLOAD_FEATURES,
  NET_RULES,
  netDriverFeatures,
  netHeaderBytes,
  netOffloads,
  VIRTIO_NET_F,
} from '../virtio/net-features.ts';
import { createNetQueue, netQueueBytes } from '../virtio/net-queue.ts';
import { createRegionTable } from '../virtio/regions.ts';
import type { StackAddresses } from './stack.ts';
import { GUEST_BURST_BYTES, GUEST_SCRATCH_BYTES, type GuestApp, type GuestWire } from './wire.ts';

/** A guest and its network device. */
export interface GuestOptions {
  /** Names what is allocated in the arena. */
  readonly name: string;
  /** Descriptors of each data queue. */
  readonly queueSize: number;
  /** Queue pairs, 1 to 8. */
  readonly queues: number;
  readonly mtu: number;
  /** What the device offers, and what the driver can do: bits of VIRTIO_F, and of GUEST_FEATURES. */
  readonly offered: bigint;
  readonly supported: bigint;
  readonly addresses: StackAddresses;
  readonly app: GuestApp;
  readonly seed: number;
}

/** A guest that is ready to run, and the other end of its queues. */
export interface GuestMachine {
  /** The guest's memory: all that the device reaches. */
  readonly arena: Arena;
  /** Address of the words of its lcore. */
  readonly lcore: number;
  readonly wire: GuestWire;
  readonly device: VirtioDevice;
  readonly net: NetDevice;
  /** What was agreed on. */
  readonly features: bigint;
  /** Addresses of the device's net queues: what it receives is what the guest transmits. */
  readonly pairs: readonly { readonly receive: number; readonly send: number }[];
}

/** The bits of VIRTIO_NET_F that make a difference to a guest's queues. */
export const GUEST_FEATURES: bigint =
  NET_OFFLOAD_FEATURES | featureMask(VIRTIO_NET_F.MRG_RXBUF, VIRTIO_NET_F.HASH_REPORT, VIRTIO_NET_F.RSS);
/** All that `rssHash` can hash: VIRTIO_NET_HASH_TYPE_IPv4 to _UDP_EX (virtio 1.2, 5.1.6.4.3.1). */
const HASH_TYPES = 0x1ff;
/** Segments of an indirect table of ours: a frame of 64 KiB in buffers of 1,792 bytes takes 37. */
const TABLE_ENTRIES = 40;
/** Buffers of a guest beside those in its rings: in the thread's cache and bursts. */
const SPARE_BUFFERS = 512;
function buffersOf({ queueSize, queues, supported }: GuestOptions): number {
  // Each descriptor of a receive queue holds one; of a transmit queue one, or, with segmentation left to do, several.
  const isLong = (supported & NET_OFFLOAD_FEATURES) !== 0n;
  return queues * queueSize * (isLong ? 4 : 2) + SPARE_BUFFERS;
}

/** Bytes of a guest's memory. */
function memoryBytes(options: GuestOptions): number {
  const { queueSize, queues } = options;
  const ring = queueSize * (16 + 6 + 16 + TABLE_ENTRIES * 16) + netQueueBytes(queueSize) + 8192;
  const rest = GUEST_SCRATCH_BYTES + GUEST_BURST_BYTES + (64 << 10); // and the control queue, the lcore's words
  return poolBytes(buffersOf(options), 1) + queues * 2 * ring + rest;
}

/** Bytes of the arena that a guest takes: its memory, and the device's state. */
export function guestBytes(options: GuestOptions): number {
  const { queueSize, queues } = options;
  return nestedArenaBytes(memoryBytes(options)) + (64 << 10) + queues * 2 * (netQueueBytes(queueSize) + queueSize * 16);
}

/** What the device's kernels need for each pair; the lcores that serve the port attach them. */
function createPairs(arena: Arena, name: string, net: NetDevice, features: bigint): GuestMachine['pairs'] {
  const common = { headerBytes: netHeaderBytes(features), mergeable: hasFeature(features, VIRTIO_NET_F.MRG_RXBUF) };
  return net.transmit.map((transmit, i) => {
    const receive = net.receive[i];
    if (transmit === undefined || receive === undefined) throw new Error(`${name}: pair ${i} was not set up`);
    const make = (queue: number, direction: 'transmit' | 'receive'): number =>
      createNetQueue(arena, {
        name: `${name} ${direction === 'transmit' ? 'tx' : 'rx'} ${i}`,
        queue,
        ...common,
        offloads: netOffloads(features, direction),
      });
    return { receive: make(transmit.address, 'transmit'), send: make(receive.address, 'receive') };
  });
}

/** The driver's part: everything of it lies in the guest's memory. */
function createDriver(memory: Arena, device: VirtioDevice, options: GuestOptions, features: bigint) {
  const guestOffset = -BigInt(memory.handle.base);
  const common = { headerBytes: netHeaderBytes(features), mergeable: hasFeature(features, VIRTIO_NET_F.MRG_RXBUF) };
  const size = options.queueSize;
  const queue = (index: number, indirect?: number): DriverQueue =>
    setUpQueue(memory, device, {
      name: `queue ${index}`,
      index,
      features,
      size,
      guestOffset,
      ...(indirect === undefined ? {} : { indirect }),
    });
  const pairs = Array.from({ length: options.queues }, (_, i) => {
    const receive = queue(2 * i);
    const transmit = queue(2 * i + 1, Math.min(TABLE_ENTRIES, size) < 2 ? undefined : Math.min(TABLE_ENTRIES, size));
    const make = (name: string, { driver }: DriverQueue, direction: 'transmit' | 'receive'): number =>
      createNetQueue(memory, {
        name: `${name} ${i}`,
        queue: driver.address,
        ...common,
        offloads: netOffloads(features, direction),
      });
    return { receive: make('receive', receive, 'receive'), send: make('transmit', transmit, 'transmit') };
  });
  const index = options.queues > 1 ? options.queues * 2 : 2;
  const control = new ControlQueueDriver(memory, {
    name: 'control',
    queue: queue(index).driver,
    notify: () => void device.notify(index),
  });
  return { pairs, control };
}

/**
 * Makes a guest's memory, its network device, and its driver, and has both negotiate: after that the guest's thread and
 * the lcores that serve the port only move frames.
 * @throws RingwayError `ARENA_FULL`, `BAD_ARGUMENT` for a queue size that the layout does not allow.
 */
export function createGuest(arena: Arena, options: GuestOptions): GuestMachine {
  const { name, queueSize, queues, mtu, offered, supported, addresses, app, seed } = options;
  const memory = nestArena(arena, `${name} memory`, memoryBytes(options));
  const { base, end = arena.bytes } = memory.handle;
  const pool = createPool(memory, { buffers: buffersOf(options), caches: 1 });
  const [cache = 0] = pool.caches;
  const regions = createRegionTable(arena, `${name} regions`);
  regions.set([{ guest: 0n, bytes: end - base, address: base }]);
  const dataPath: NetDataPath = { features: offered & GUEST_FEATURES, start() {}, stop() {}, queueChanged() {} };
  const hashes = featureMask(VIRTIO_NET_F.HASH_REPORT, VIRTIO_NET_F.RSS);
  const hashTypes = (offered & hashes) === 0n ? 0 : HASH_TYPES;
  const net = new NetDevice(arena, {
    name,
    dataPath,
    mac: macBytes(addresses.mac),
    maxPairs: queues,
    mtu,
    queueSize,
    hashTypes,
  });
  net.setLink(true);
  const device = new VirtioDevice(arena, {
    name,
    type: net,
    regions,
    host: { usedBuffers() {}, configChanged() {} },
    ringFeatures: offered & ~GUEST_FEATURES,
  });
  const features = negotiate(device, {
    name: `${name} driver`,
    supported: netDriverFeatures(supported) | (net.features & ~GUEST_FEATURES),
    featureNames: NET_FEATURE_NAMES,
    rules: NET_RULES,
  });
  const { pairs, control } = createDriver(memory, device, options, features);
  startDevice(device, `${name} driver`);
  if (queues > 1) {
    void control.setPairs(queues);
    control.poll();
  }
  const wire: GuestWire = {
    pairs,
    cache,
    burst: memory.allocate('burst', GUEST_BURST_BYTES),
    scratch: memory.allocate('scratch', GUEST_SCRATCH_BYTES),
    link: (net.control.address + NET_CONTROL_LINK) >>> 2,
    addresses,
    app,
    seed,
  };
  const lcore = allocateLcore(memory, 0, cache, 0);
  return { arena: memory, lcore, wire, device, net, features, pairs: createPairs(arena, name, net, features) };
}
