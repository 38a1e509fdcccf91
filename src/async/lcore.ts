import { PARK_MS } from '../lcore/idle.ts';
import type { Arena } from '../memory/arena.ts';
import type { PoolKernels } from '../memory/pool.ts';
import { NETQ_ASYNC } from '../virtio/layout.ts';
import type { NetQueue } from '../virtio/net-queue.ts';
import type { VifReceiver, VifSender } from '../xen/vif-queue.ts';
import { ASYNC_RING } from './layout.ts';
import { attachAsyncQueue, type CopyQueue, type QueueCopies } from './queue.ts';
import { shareTrack } from './track.ts';
import { type Integration, type RingFull, Transmit } from './transmit.ts';
import { attachAsyncVif, attachAsyncVifReceiver } from './vif.ts';
import { WorkRing } from './work-ring.ts';

/** What an lcore must know to have its copies done by engines. */
export interface AsyncWire {
  readonly integration: Integration;
  readonly ringFull: RingFull;
  /** Looks at deferred work in one run, 1 or more; loops that are passed over between two runs, 0 or more. */
  readonly attempts: number;
  readonly delay: number;
  /** Address of WORK_BYTES (`layout.ts`). */
  readonly work: number;
}

/** What the control thread tells an lcore about channels, between polls. */
export type AsyncMessage =
  | { readonly kind: 'integrate'; readonly integration: Integration }
  /** The channel with this track gets users on other lcores. */
  | { readonly kind: 'share'; readonly track: number }
  /** A queue's copies are done by another channel from now on. */
  | { readonly kind: 'use'; readonly queue: number; readonly track: number };

/** What a port does about its queue. */
export interface ServeHooks {
  /** Chains were used: the driver may want to be notified. */
  used(): void;
  /** Frees and counts packets that were taken and do not fit. */
  drop(slots: number, n: number): void;
}

/** The sending side of a Xen device as a port serves it. */
export interface ServedSender extends VifSender {
  /** The same port is about to be received from. */
  poll?(): void;
  /** Gives back what it holds, and waits until nothing is under way. */
  detach?(): void;
}

/** The receiving side of a Xen device as a port serves it. */
export interface ServedReceiver extends VifReceiver {
  /** Waits until nothing is under way, and drops it. Returns how many packets. */
  detach?(): number;
}

/** A queue as a port serves it. */
export interface ServedQueue extends NetQueue {
  /** The same port is about to be received from. */
  poll?(): void;
  /** Receiving: drops the frames that are copied, for a port whose link is down. Returns how many. */
  discard?(): number;
  /** Gives back the chains that it holds, and goes on: its thread is about to sleep. */
  flush?(): void;
}

interface Served {
  readonly queue: QueueCopies;
  readonly transmit: Transmit | undefined;
}

/** Deferred work is looked at after so many loops, whatever its delay; and so are all queues. */
const LOOPS_MAX = 1024;
/** Between two looks at copies that the end of a queue waits for, ms. */
const PAUSE_MS = 0.05;

/** One lcore's side of asynchronous copies: its queues, the work that they left, and how it looks after both. */
export class AsyncLcore {
  readonly #arena: Arena;
  readonly #cache: number;
  readonly #wire: AsyncWire;
  readonly #work: WorkRing;
  /** By address. */
  readonly #served = new Map<number, Served>();
  #integration: Integration;
  #loops = 0;
  /** Loops since deferred work was looked at. */
  #passed = 0;

  constructor(arena: Arena, cache: number, wire: AsyncWire) {
    this.#arena = arena;
    this.#cache = cache;
    this.#wire = wire;
    this.#integration = wire.integration;
    this.#work = new WorkRing(arena, wire.work, wire.attempts);
  }

  /**
   * Serves the net queue at `netq` from this thread, with copies by an engine. Undefined when it is none of those that
   * have them: a driver's, or one that was made without.
   */
  serve(netq: number, { used, drop }: ServeHooks): ServedQueue | undefined {
    const { u32 } = this.#arena;
    const address = u32[(netq + NETQ_ASYNC) >>> 2] ?? 0;
    if (address === 0) return undefined;
    const queue = attachAsyncQueue(this.#arena, address, this.#cache, used);
    // Each by its name, for the reason that `attachAsyncQueue` has.
    const { receive, drops, fault } = queue;
    if (u32[(address + ASYNC_RING) >>> 2] === 0) {
      this.#served.set(address, { queue, transmit: undefined });
      return {
        address: netq,
        receive,
        send: queue.send,
        drops,
        fault,
        discard: () => queue.settle(),
        flush: () => void queue.detach(),
        detach: () => this.#end(address, queue),
      };
    }
    const { send, poll, detach } = this.#transmit(address, queue, drop);
    return { address: netq, receive, send, drops, fault, poll, detach };
  }

  /**
   * Sends to the frontend of a Xen device from this thread, with the copies at `address` by an engine. `sender` enters its packets
   * there (`enterVif`).
   */
  serveVif(address: number, sender: VifSender, drop: ServeHooks['drop']): ServedSender {
    return { ...sender, ...this.#transmit(address, attachAsyncVif(this.#arena, address, sender), drop) };
  }

  /**
   * Receives from the frontend of a Xen device from this thread, with the copies at `address` by an engine. `receiver` takes its packets
   * from there (`takeVif`).
   */
  serveVifReceiver(address: number, receiver: VifReceiver): ServedReceiver {
    const queue = attachAsyncVifReceiver(this.#arena, address, receiver);
    this.#served.set(address, { queue, transmit: undefined });
    return { ...receiver, detach: () => this.#end(address, queue) };
  }

  /** The way into a queue. */
  #transmit(address: number, queue: CopyQueue, drop: ServeHooks['drop']) {
    const { ringFull } = this.#wire;
    const transmit = new Transmit(this.#arena, {
      address,
      queue,
      integration: this.#integration,
      ringFull,
      work: this.#work,
      drop,
    });
    this.#served.set(address, { queue, transmit });
    const { poolFree } = this.#arena.kernels<PoolKernels>();
    return {
      send: (slots: number, n: number) => transmit.send(slots, n),
      poll: () => transmit.poll(),
      /** Returns how many packets were not sent. */
      detach: (): number => {
        const unsent = transmit.abandon((slots, n) => poolFree(this.#cache, slots, n));
        this.#end(address, queue);
        return unsent;
      },
    };
  }

  /**
   * Waits until nothing is under way any more, so that what the queue lies in can be given back. Whoever watches the engine
   * sees to it that this ends. Returns how many packets were settled.
   */
  #end(address: number, queue: QueueCopies): number {
    const { i32 } = this.#arena;
    let settled = queue.settle();
    while (queue.inFlight() > 0) {
      // A word that nobody writes meanwhile: the engine may need the processor.
      Atomics.wait(i32, (address + ASYNC_RING) >>> 2, i32[(address + ASYNC_RING) >>> 2] ?? 0, PAUSE_MS);
      settled += queue.settle();
    }
    queue.detach?.();
    this.#served.delete(address);
    // Nothing of it is in flight: its item goes.
    this.#work.run();
    return settled;
  }

  /** A loop has received from every port: deferred work is looked at when it is time to. */
  run(): void {
    this.#loops++;
    this.#passed++;
    if (this.#passed > this.#wire.delay) this.#settleWork();
    if (this.#loops < LOOPS_MAX) return;
    this.#loops = 0;
    this.#settleWork();
    // Also what found the work ring full, and what belongs to a port that is not received from at the moment.
    for (const { transmit } of this.#served.values()) if (transmit !== undefined) transmit.settle();
  }

  #settleWork(): void {
    this.#passed = 0;
    if (this.#work.waiting > 0) this.#work.run();
  }

  /**
   * Returns how many ms the lcore may sleep as far as its queues go: 0 while copies are under way, since nobody wakes it when
   * they are done.
   */
  rest(): number {
    this.#settleWork();
    let ms = Number.POSITIVE_INFINITY;
    for (const { queue, transmit } of this.#served.values()) {
      if (queue.inFlight() > 0) return 0;
      // What waits in a ring waits for the driver to make room.
      if (transmit !== undefined && transmit.inFlight() > 0) ms = PARK_MS;
    }
    return ms;
  }

  /**
   * Does what the control thread says. True when it is done, false when that is to be said again later, undefined when the
   * queue is not served here, or not at the moment.
   */
  handle(message: AsyncMessage): boolean | undefined {
    switch (message.kind) {
      case 'integrate':
        this.#integration = message.integration;
        for (const { transmit } of this.#served.values()) {
          if (transmit !== undefined) transmit.integration = message.integration;
        }
        return true;
      case 'share':
        shareTrack(this.#arena, message.track);
        return true;
      case 'use':
        return this.#served.get(message.queue)?.queue.use(message.track);
    }
  }
}
