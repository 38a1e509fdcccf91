import { type AsyncQueue, attachAsyncQueue, createAsyncQueue } from '#build/async/queue.js';
import { createTrack, type Track } from '#build/async/track.js';
import type { DmaKernels } from '#build/dma/kernels.js';
import { createVchan, openVchan } from '#build/dma/vchan.js';
import { createNetQueue, type NetQueue } from '#build/virtio/net-queue.js';
import { DeviceSide, type NetQueueRigOptions } from '../../virtio/support/net-queue-rig.ts';

export interface AsyncRigOptions extends NetQueueRigOptions {
  readonly threshold?: number;
  /** Left to the CPU: the queue has no channel. */
  readonly byCpu?: boolean;
  /** Descriptors of the channel. */
  readonly descriptors?: number;
}

/** A device's net queue whose copies a channel does, when the test says so. */
export class AsyncSide extends DeviceSide {
  declare track: Track;
  declare vchan: number;
  /** Address of what the queue keeps. */
  declare address: number;

  protected override attach(options: AsyncRigOptions, queue: number): NetQueue {
    const {
      headerBytes = 12,
      mergeable = false,
      offloads = 0,
      threshold = 128,
      descriptors = 64,
      byCpu = false,
    } = options;
    const capabilities = { sg: false, fill: false };
    const setup = { name: 'channel', descriptors, priority: 0, capabilities, cpu: false, silent: false };
    this.vchan = createVchan(this.arena, setup, { min: 32, max: 8192 });
    openVchan(this.arena, this.vchan, 0);
    this.track = createTrack(this.arena, 'channel', this.vchan);
    const netq = createNetQueue(this.arena, { name: 'net', queue, headerBytes, mergeable, offloads });
    this.address = createAsyncQueue(this.arena, { name: 'net', netq, threshold, sends: true });
    const attached = attachAsyncQueue(this.arena, this.address, this.cache);
    attached.use(byCpu ? 0 : this.track.address);
    return attached;
  }

  get async(): AsyncQueue {
    return this.net as AsyncQueue;
  }

  /** The engine does up to `max` copies. Returns how many it did. */
  run(max: number): number {
    return this.arena.kernels<DmaKernels>().dmaRunEngine(this.vchan, max);
  }

  /** It fails at the next one, without writing anything. Returns false when there is none. */
  fail(): boolean {
    const kernels = this.arena.kernels<DmaKernels>();
    if (kernels.dmaRunning(this.vchan) === 0) return false;
    kernels.dmaFail(this.vchan, this.#position(), 10);
    kernels.dmaFinish(this.vchan, 1);
    return true;
  }

  /** Ends what it has in flight in its place. Returns how many copies. */
  abort(): number {
    return this.arena.kernels<DmaKernels>().dmaAbort(this.vchan);
  }

  /** Position of the descriptor that the engine does next. */
  #position(): number {
    return this.arena.u32[(this.vchan + 384) >>> 2] as number;
  }
}
