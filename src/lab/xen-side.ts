import type { Arena } from '../memory/arena.ts';
import { BUFFER_FRAME_MAX, BURST_MAX, SLOT_LENGTH, SLOT_SHIFT } from '../memory/layout.ts';
import type { PoolKernels } from '../memory/pool.ts';
import { assert } from '../util/assert.ts';
import { attachVifQueue, type VifQueue, type VifQueueShare } from '../xen/vif-queue.ts';

/** An end of a queue, for the thread that is to serve it: anything that can be posted. */
export interface XenSideShare {
  readonly share: VifQueueShare;
  /** Addresses of its buffer cache, and of a burst of slots. */
  readonly cache: number;
  readonly burst: number;
}

/** Does something with the `n` packets at `burst`, and frees them. */
export type UseBurst = (burst: number, n: number) => void;

/** An end of a queue, on the thread that serves it. */
export class XenSide implements XenSideShare {
  readonly share: VifQueueShare;
  readonly cache: number;
  readonly burst: number;
  readonly queue: VifQueue;
  readonly #arena: Arena;
  readonly #kernels: PoolKernels;

  constructor(arena: Arena, { share, cache, burst }: XenSideShare) {
    this.share = share;
    this.cache = cache;
    this.burst = burst;
    this.queue = attachVifQueue(arena, share, cache);
    this.#arena = arena;
    this.#kernels = arena.kernels<PoolKernels>();
  }

  /** Sends up to `n` (1 to 32) packets of `bytes` bytes, 1,792 at most: what lies in the buffers. Returns how many it took. */
  send(n: number, bytes: number): number {
    assert(bytes <= BUFFER_FRAME_MAX, 'bench xen: a frame is one buffer');
    const { u16 } = this.#arena;
    const made = this.#kernels.poolAlloc(this.cache, this.burst, n);
    for (let i = 0, at = (this.burst + SLOT_LENGTH) >>> 1; i < made; i++, at += 1 << (SLOT_SHIFT - 1)) u16[at] = bytes;
    return this.sendBurst(made);
  }

  /** Sends the first `n` packets at `burst`; what it does not take is freed. Returns how many it took. */
  sendBurst(n: number): number {
    if (n === 0) return 0;
    const sent = this.queue.sender.send(this.burst, n);
    if (sent < n) this.free(this.burst + (sent << SLOT_SHIFT), n - sent);
    return sent;
  }

  /** Receives a burst, and does `use` with it. Returns how many packets: 0 when there are none. */
  receive(use: UseBurst = this.free): number {
    const n = this.queue.receiver.receive(this.burst, BURST_MAX);
    if (n > 0) use(this.burst, n);
    return n;
  }

  readonly free: UseBurst = (burst, n) => {
    this.#kernels.poolFree(this.cache, burst, n);
  };
}
