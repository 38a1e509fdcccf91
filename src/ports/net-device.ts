import type { ServedQueue, ServeHooks } from '../async/lcore.ts';
import type { Arena } from '../memory/arena.ts';
import { SLOT_SHIFT } from '../memory/layout.ts';
import type { PoolKernels } from '../memory/pool.ts';
import {
  DROP_BAD_DESCRIPTOR,
  DROP_FILTERED,
  DROP_LINK_DOWN,
  DROP_OVERSIZE,
  DROP_POOL_EMPTY,
  DROP_TX_FULL,
} from '../telemetry/layout.ts';
import { NET_CONTROL_LINK, NETQ_HEADER_BYTES, NETQ_OFFLOADS, STEER_BYTES, STEER_COUNTS } from '../virtio/layout.ts';
import { attachNetQueue, type NetQueue, type NetQueueDrops } from '../virtio/net-queue.ts';
import type { Port, PortContext } from './port.ts';

/** Addresses of a network device's parts, or of its driver's, for the lcores that serve it. */
export interface NetDeviceShare {
  /** Ours is the driver's side. */
  readonly isDriver: boolean;
  /** Net queues of each pair, as they are used here: a device receives from its driver's transmit queue. Undefined: not in use. */
  readonly pairs: readonly { readonly receive: number | undefined; readonly send: number | undefined }[];
  /** What the driver set through the control queue (NET_CONTROL_…). */
  readonly control: number;
  /** STEER_BYTES, for the lcore that sends. */
  readonly work: number;
}

interface NetDeviceKernels extends PoolKernels {
  telemetryBurstBytes(slots: number, count: number): number;
  virtioNetFilter(state: number, slots: number, n: number): number;
  virtioNetSteer(state: number, slots: number, n: number, queues: number, work: number): void;
}

/** What `netDevicePort` needs of a device, with what it works with allocated in the region `NAME steer`. */
export function shareNetDevice(
  arena: Arena,
  name: string,
  pairs: NetDeviceShare['pairs'],
  control: number,
): NetDeviceShare {
  return { isDriver: false, pairs, control, work: arena.allocate(`${name} steer`, STEER_BYTES) };
}

/** Tells the dataplane of frames that a net queue dropped since the last call. */
function dropReporter(queue: NetQueue, report: (reason: number, n: number) => void): () => void {
  let seen: NetQueueDrops = { bad: 0, long: 0, empty: 0 };
  return () => {
    const now = queue.drops();
    if (now.bad !== seen.bad) report(DROP_BAD_DESCRIPTOR, (now.bad - seen.bad) >>> 0);
    if (now.long !== seen.long) report(DROP_OVERSIZE, (now.long - seen.long) >>> 0);
    if (now.empty !== seen.empty) report(DROP_POOL_EMPTY, (now.empty - seen.empty) >>> 0);
    seen = now;
  };
}

/** What is wrong with a queue, for people. They have the names that the driver gives them. */
function describeFault(isDriver: boolean, receives: boolean, index: number, queue: NetQueue): string | undefined {
  const fault = queue.fault();
  if (fault === undefined) return undefined;
  const name = `${isDriver === receives ? 'receive' : 'transmit'} queue ${index}`;
  return `the ${isDriver ? 'device broke' : 'driver broke its'} ${name}, which stands still: ${fault}`;
}

/**
 * Serves the net queue at an address from this thread.
 * @param drop frees and counts packets that it took and that do not fit.
 */
export type AttachNetQueue = (address: number, drop: ServeHooks['drop']) => ServedQueue;

/** Sends to all queues that the other side receives from, since one lcore sends for a port. */
class Sender {
  readonly #context: PortContext;
  readonly #share: NetDeviceShare;
  readonly #kernels: NetDeviceKernels;
  readonly #queues: readonly ServedQueue[];
  readonly #reports: readonly (() => void)[];
  /** One queue, and no hash to report: nothing to find out about a packet. */
  readonly #isPlain: boolean;
  readonly #link: number;

  constructor(context: PortContext, share: NetDeviceShare, attach: AttachNetQueue) {
    const { arena } = context;
    const addresses = share.pairs.flatMap(({ send }) => send ?? []);
    this.#context = context;
    this.#share = share;
    this.#link = (share.control + NET_CONTROL_LINK) >>> 2;
    this.#kernels = arena.kernels<NetDeviceKernels>();
    this.#queues = addresses.map((address) => attach(address, (slots, n) => this.#drop(slots, n, DROP_TX_FULL)));
    this.#reports = this.#queues.map((queue) => dropReporter(queue, context.lost));
    const headerBytes = arena.u32[((addresses[0] ?? 0) + NETQ_HEADER_BYTES) >>> 2];
    this.#isPlain = addresses.length === 1 && headerBytes !== 20;
  }

  send(slots: number, count: number): number {
    if (this.#queues.length === 0 || this.#context.arena.u32[this.#link] === 0) {
      this.#drop(slots, count, DROP_LINK_DOWN);
      return count;
    }
    const wanted = this.#kernels.virtioNetFilter(this.#share.control, slots, count);
    const sent = this.#isPlain ? (this.#queues[0] as NetQueue).send(slots, wanted) : this.#steer(slots, wanted);
    // What is not wanted lies behind what is, and waits with it.
    if (wanted === count || sent < wanted) return sent;
    this.#drop(slots + (wanted << SLOT_SHIFT), count - wanted, DROP_FILTERED);
    return count;
  }

  /** Gives each queue its packets. What a full queue does not take is dropped: the other queues go on. */
  #steer(slots: number, count: number): number {
    const { control, work } = this.#share;
    const { u32 } = this.#context.arena;
    this.#kernels.virtioNetSteer(control, slots, count, this.#queues.length, work);
    let at = slots;
    for (const [index, queue] of this.#queues.entries()) {
      const n = u32[((work + STEER_COUNTS) >>> 2) + index] ?? 0;
      if (n === 0) continue;
      const sent = queue.send(at, n);
      if (sent < n) this.#drop(at + (sent << SLOT_SHIFT), n - sent, DROP_TX_FULL);
      at += n << SLOT_SHIFT;
    }
    return count;
  }

  #drop(slots: number, n: number, reason: number): void {
    const bytes = this.#kernels.telemetryBurstBytes(slots, n);
    this.#kernels.poolFree(this.#context.cache, slots, n);
    this.#context.lost(reason, n, bytes);
  }

  /** The port is about to be received from. */
  poll(): void {
    for (const queue of this.#queues) queue.poll?.();
  }

  report(): void {
    for (const report of this.#reports) report();
  }

  fault(): string | undefined {
    const faults = this.#queues.map((queue, index) => describeFault(this.#share.isDriver, false, index, queue));
    return faults.find((fault) => fault !== undefined);
  }

  close(): void {
    const unsent = this.#queues.reduce((sum, queue) => sum + queue.detach(), 0);
    if (unsent > 0) this.#context.lost(DROP_LINK_DOWN, unsent);
  }
}

/**
 * The port that is a network device: what its driver transmits arrives, what is sent goes to its receive queues. Or it is
 * the driver.
 * @param attach makes this thread serve a net queue; `attachNetQueue` when not given.
 */
export function netDevicePort(context: PortContext, share: NetDeviceShare, attach?: AttachNetQueue): Port {
  const { arena, cache, queue } = context;
  const attachQueue = attach ?? ((address: number): ServedQueue => attachNetQueue(arena, address, cache));
  const pair = share.pairs[queue];
  const receive = pair?.receive === undefined ? undefined : attachQueue(pair.receive, () => {});
  const link = (share.control + NET_CONTROL_LINK) >>> 2;
  const reportReceived = receive === undefined ? () => {} : dropReporter(receive, context.refuse);
  const sender = queue === 0 ? new Sender(context, share, attachQueue) : undefined;
  const report = (): void => {
    reportReceived();
    sender?.report();
  };
  return {
    // Bit by bit what the net queue lets a sender leave to do.
    offloads: pair?.send === undefined ? 0 : (arena.u32[(pair.send + NETQ_OFFLOADS) >>> 2] ?? 0),
    rxBurst(slots, max) {
      sender?.poll();
      if (receive === undefined) return 0;
      if (arena.u32[link] !== 0) return receive.receive(slots, max);
      const n = receive.discard?.() ?? 0;
      if (n > 0) context.refuse(DROP_LINK_DOWN, n);
      return 0;
    },
    txBurst: (slots, count) => sender?.send(slots, count) ?? 0,
    info() {
      report();
      const received = receive === undefined ? undefined : describeFault(share.isDriver, true, queue, receive);
      const fault = received ?? sender?.fault();
      return fault === undefined ? { done: false } : { done: false, fault };
    },
    close() {
      report();
      const left = receive?.detach() ?? 0;
      // Frames that were on their way in. A driver's are buffers.
      if (left > 0 && !share.isDriver) context.refuse(DROP_LINK_DOWN, left);
      sender?.close();
    },
  };
}
