// The module of a disk's thread: serves the rings of one block device from its file.
import type { LcoreContext, LcoreTask } from '../lcore/lcore.ts';
import { attachArena } from '../memory/arena.ts';
import { requireSockets } from '../sys/index.ts';
import { BlockDevice } from '../virtio/block.ts';
import { BlockFile } from '../virtio/block-file.ts';
import type { DeviceSession } from '../virtio/device.ts';
import { VQ_TABLE_SEGMENTS } from '../virtio/layout.ts';
import { attachVirtqueueDevice, type VirtqueueDevice } from '../virtio/queue.ts';

/** What a disk's thread is started with. */
export interface DiskWire {
  /** A nested arena: what the device allocates for itself lies there. */
  readonly base: number;
  readonly end: number;
  readonly file: string;
  readonly readOnly: boolean;
  readonly id: string;
  readonly queues: number;
  readonly queueSize: number;
}

/** A ring that the device serves. */
export interface DiskRing {
  /** Address of the device's side. */
  readonly queue: number;
  /** Eventfd that calls the driver; -1 when there is none. */
  readonly call: number;
}

export type DiskMessage =
  | { readonly kind: 'describe' }
  | { readonly kind: 'serve'; readonly features: bigint; readonly rings: readonly (DiskRing | undefined)[] };

/** What the backend tells the driver of the device. */
export interface DiskDescription {
  readonly features: bigint;
  readonly config: Uint8Array;
}

/**
 * Data segments of a request at most. A driver asks before anybody tells the device how large its queue is, and 2.6.5.3.1 has no
 * chain longer than the queue; so many and two more fit a table on the smallest (VQ_TABLE_SEGMENTS).
 */
const SEGMENTS = VQ_TABLE_SEGMENTS - 2;
/** A disk that nobody rings looks by itself so often, in ms. */
const REST_MS = 1000;

/** A block device over vhost-user: drivers are asked to kick whenever it has nothing to do. */
class Disk implements LcoreTask {
  readonly #context: LcoreContext;
  readonly #file: BlockFile;
  readonly #block: BlockDevice;
  #rings: readonly (VirtqueueDevice | undefined)[] = [];
  readonly eager = true;

  constructor(context: LcoreContext) {
    const { base, end, file, readOnly, id, queues, queueSize } = context.data as DiskWire;
    const own = attachArena({ ...context.arena.handle, base, end });
    this.#context = context;
    this.#file = new BlockFile(file, { readOnly });
    const options = { name: 'disk', store: this.#file, readOnly, id, queues, queueSize, segments: SEGMENTS };
    this.#block = new BlockDevice(own, options);
  }

  poll(): number {
    let work = 0;
    for (const [index, ring] of this.#rings.entries()) {
      if (ring === undefined) continue;
      const before = ring.base();
      this.#block.notify(index);
      if (ring.base() !== before) work++;
    }
    return work;
  }

  rest(): number {
    return this.#rings.some((ring) => ring?.setNotify(true) === true) ? 0 : REST_MS;
  }

  handle(message: unknown): unknown {
    const request = message as DiskMessage;
    if (request.kind === 'describe') {
      const { features, config } = this.#block;
      return { features, config: config.read(0, config.bytes) ?? new Uint8Array(0) } satisfies DiskDescription;
    }
    this.#serve(request.features, request.rings);
    return undefined;
  }

  #serve(features: bigint, rings: readonly (DiskRing | undefined)[]): void {
    const { signal } = requireSockets('a disk');
    const { arena } = this.#context;
    this.#rings = rings.map((ring) => (ring === undefined ? undefined : attachVirtqueueDevice(arena, ring.queue)));
    const session: DeviceSession = {
      usedBuffers(index) {
        const call = rings[index]?.call ?? -1;
        if (call !== -1) signal(call);
      },
      // The ring is latched, which the control thread sees.
      needsReset() {},
    };
    this.#block.start(features, this.#rings, session);
  }

  stop(): void {
    this.#block.stop();
    this.#file.close();
  }
}

/** Opens the file and makes the device. */
export default function start(context: LcoreContext): LcoreTask {
  return new Disk(context);
}
