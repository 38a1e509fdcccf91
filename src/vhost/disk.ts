import { LCORE_DOORBELL, LCORE_PARKED } from '../lcore/layout.ts';
import { allocateLcore, type Lcore, startLcore } from '../lcore/lcore.ts';
import { type Arena, nestArena } from '../memory/arena.ts';
import type { Poller } from '../sys/index.ts';
import { moduleUrl } from '../util/module-url.ts';
import { BLOCK_FEATURE_NAMES, BLOCK_RULES } from '../virtio/block-config.ts';
import { ConfigSpace } from '../virtio/config-space.ts';
import { brokenRule, featureMask, featureName, VIRTIO_F } from '../virtio/features.ts';
import { Backend } from './backend.ts';
import type { DeviceState, VhostDevice } from './device.ts';
import type { DiskDescription, DiskMessage, DiskWire } from './disk-task.ts';
import { PROTOCOL_F } from './protocol.ts';
import { type ServiceState, VhostService } from './service.ts';

/** A disk for a virtual machine, over a vhost-user socket. */
export interface DiskOptions {
  /** Names what is allocated in the arena, and the disk in messages. */
  readonly name: string;
  /** Absolute path of the socket. */
  readonly socket: string;
  /** Listen there; else connect to who listens. */
  readonly server: boolean;
  /** Absolute path of the file whose bytes are its sectors. */
  readonly file: string;
  readonly readOnly: boolean;
  /** What the driver is told when it asks who the disk is: up to 20 ASCII characters. */
  readonly id: string;
  /** 1 to 8. */
  readonly queues: number;
  /** Descriptors of a queue at most: a power of two. */
  readonly queueSize: number;
  /** Offer packed rings beside split ones. */
  readonly packed: boolean;
}

const RING_FEATURES: readonly number[] = [VIRTIO_F.VERSION_1, VIRTIO_F.RING_INDIRECT_DESC, VIRTIO_F.RING_EVENT_IDX];

/** The block device as the backend needs it: what it is was said by its thread, which does the work. */
class VhostBlock implements VhostDevice {
  readonly kind = 'block';
  readonly features: bigint;
  readonly featureNames = BLOCK_FEATURE_NAMES;
  readonly protocolFeatures = featureMask(PROTOCOL_F.MQ);
  readonly rings: number;
  readonly queueNum: number;
  readonly queueSize: number;
  readonly config: ConfigSpace;
  readonly #thread: Lcore;
  readonly #poller: Poller;
  /** End the watches of kicks. */
  #wakes: (() => void)[] = [];

  constructor(options: DiskOptions, { features, config }: DiskDescription, thread: Lcore, poller: Poller) {
    const { queues, queueSize, packed } = options;
    this.features = features | featureMask(...RING_FEATURES, ...(packed ? [VIRTIO_F.RING_PACKED] : []));
    this.rings = queues;
    this.queueNum = queues;
    this.queueSize = queueSize;
    this.config = new ConfigSpace(config.length);
    this.config.update((fields) => new Uint8Array(fields.buffer).set(config), false);
    this.#thread = thread;
    this.#poller = poller;
  }

  validate(features: bigint): string | undefined {
    const broken = brokenRule(features, BLOCK_RULES);
    if (broken === undefined) return undefined;
    const name = (bit: number): string => featureName(bit, BLOCK_FEATURE_NAMES);
    return `${name(broken.bit)} needs ${broken.needs.map(name).join(' or ')}`;
  }

  async apply({ features, rings }: DeviceState): Promise<void> {
    for (const end of this.#wakes.splice(0)) end();
    const { address } = this.#thread;
    const bell = { doorbell: (address + LCORE_DOORBELL) >>> 2, parked: (address + LCORE_PARKED) >>> 2 };
    const served = rings.map((ring) => (ring?.enabled === true ? ring : undefined));
    for (const ring of served) {
      if (ring !== undefined && ring.kick !== -1) this.#wakes.push(this.#poller.wake(ring.kick, bell));
    }
    const message: DiskMessage = {
      kind: 'serve',
      features,
      rings: served.map((ring) => (ring === undefined ? undefined : { queue: ring.queue.address, call: ring.call })),
    };
    await this.#thread.call(message);
  }
}

/** A disk that runs. */
export interface Disk {
  readonly name: string;
  /** Rejects when its thread ends by itself. */
  readonly ended: Promise<void>;
  /** Who is connected, and why the last one was sent away. */
  state(): ServiceState;
  /** Sends the driver away and ends the thread. */
  close(): Promise<void>;
  /** Ends all of it at once, wherever its thread is. */
  terminate(): Promise<void>;
}

/** Bytes of the arena that a disk takes. */
export function diskBytes({ queueSize }: Pick<DiskOptions, 'queueSize'>): number {
  return (512 << 10) + queueSize * 64;
}

/**
 * Starts a disk: a thread that serves its file, and its socket.
 * @throws RingwayError `SYSTEM` when the file cannot be opened or the socket cannot be made, `BUSY` when somebody listens
 *   there, `BAD_ARGUMENT` when the file has no sector, `ARENA_FULL`, `UNSUPPORTED`.
 */
export async function startDisk(arena: Arena, poller: () => Poller, options: DiskOptions): Promise<Disk> {
  const { name, socket, server, file, readOnly, id, queues, queueSize } = options;
  const region = `${name} memory`;
  const memory = nestArena(arena, region, diskBytes(options) >> 1);
  const { base, end = arena.bytes } = memory.handle;
  let thread: Lcore | undefined;
  try {
    const address = allocateLcore(memory, 0, 0, 0);
    const data: DiskWire = { base, end, file, readOnly, id, queues, queueSize };
    const module = moduleUrl('vhost/disk-task.js');
    thread = await startLcore(arena, address, { index: 0, label: name, module, data, idle: 'park' });
    const description = (await thread.call({ kind: 'describe' } satisfies DiskMessage)) as DiskDescription;
    const device = new VhostBlock(options, description, thread, poller());
    let state: ServiceState = { connected: false };
    const onChange = (now: ServiceState): void => {
      state = now;
    };
    const service = new VhostService(poller(), {
      name,
      socket,
      server,
      connect: (fd) => new Backend(arena, name, device, fd),
      onChange,
    });
    service.open();
    const running = thread;
    return {
      name,
      ended: running.ended,
      state: () => state,
      async close() {
        await service.close();
        await running.stop();
        arena.release(region);
      },
      async terminate() {
        await running.terminate();
        service.abandon();
      },
    };
  } catch (error) {
    await thread?.terminate();
    arena.release(region);
    throw error;
  }
}
