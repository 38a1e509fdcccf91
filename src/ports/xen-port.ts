import type { ServedReceiver, ServedSender } from '../async/lcore.ts';
import { asyncVifOf, enterVif, takeVif } from '../async/vif.ts';
import { ringDoorbell } from '../lcore/idle.ts';
import { LCORE_NANOSECONDS, LCORE_SECONDS } from '../lcore/layout.ts';
import { SLOT_SHIFT } from '../memory/layout.ts';
import type { PoolKernels } from '../memory/pool.ts';
import { OFFLOAD_CSUM, OFFLOAD_TSO4, OFFLOAD_TSO6 } from '../packet/layout.ts';
import {
  DROP_BAD_DESCRIPTOR,
  DROP_FILTERED,
  DROP_LINK_DOWN,
  DROP_OVERSIZE,
  DROP_POOL_EMPTY,
  DROP_TX_ERROR,
  DROP_TX_FULL,
} from '../telemetry/layout.ts';
import {
  VIFHASH_ALGORITHM,
  VIFHASH_BYTES,
  VIFSTEER_BYTES,
  VIFSTEER_COUNTS,
  VIFSTEER_PORT,
  VIFSTEER_QUEUE,
  VIFSTEER_RECENT,
} from '../xen/control-layout.ts';
import type { Hypervisor } from '../xen/hypervisor.ts';
import {
  attachVifQueue,
  attachVifReceiver,
  attachVifSender,
  type VifDrops,
  type VifQueueShare,
} from '../xen/vif-queue.ts';
import type { Port, PortContext, PortInfo, PortQueue, PortSetup } from './port.ts';

/** What the lcores that serve an end of a Xen device are given when it is made. */
export interface XenShare {
  readonly side: 'front' | 'back';
  /** How packets are spread over queues (VIFHASH_…), and VIFSTEER_BYTES of each queue that the lcore which sends by it works with. */
  readonly hash: number;
  readonly work: number;
}

interface XenPortKernels extends PoolKernels {
  telemetryBurstBytes(slots: number, count: number): number;
  xenVifSteer(state: number, slots: number, n: number, queues: number, work: number): void;
}

/** Who wants to be woken is woken by the other end alone; it looks by itself now and then, all the same. */
const REST_MS = 1000;
const NO_DROPS: VifDrops = { bad: 0, long: 0, empty: 0, failed: 0, stalled: 0, filtered: 0 };

/** The features of an end with or without offloads. Packets of several pages are no offload, but need as much of the other end. */
export function xenFeatures(offloads: boolean) {
  return { sg: offloads, csum: offloads, gsoTcpv4: offloads, gsoTcpv6: offloads };
}

/** Bytes of what `shareXen` makes. */
export function xenShareBytes(queues: number): number {
  return VIFHASH_BYTES + queues * VIFSTEER_BYTES;
}

/** Makes what the lcores of a port of so many queues need, in the region `NAME steer`. */
export function shareXen({ arena, name }: PortSetup, side: XenShare['side'], queues: number): XenShare {
  const hash = arena.allocate(`${name} steer`, xenShareBytes(queues));
  return { side, hash, work: hash + VIFHASH_BYTES };
}

/** Tells the dataplane of packets that a direction has lost since the last call. */
function lossReporter(
  direction: { drops(): VifDrops },
  failed: number,
  report: (reason: number, n: number) => void,
): () => void {
  let seen = NO_DROPS;
  return () => {
    const now = direction.drops();
    for (const [key, reason] of [
      ['bad', DROP_BAD_DESCRIPTOR],
      ['long', DROP_OVERSIZE],
      ['empty', DROP_POOL_EMPTY],
      ['failed', failed],
      ['stalled', DROP_LINK_DOWN],
      ['filtered', DROP_FILTERED],
    ] as const) {
      if (now[key] !== seen[key]) report(reason, (now[key] - seen[key]) >>> 0);
    }
    seen = now;
  };
}

/** What this lcore serves of a device that is connected. */
interface Serving {
  readonly receiver: ServedReceiver | undefined;
  /** A frontend's queue's own; of all queues of a backend, at its queue 0. */
  readonly senders: readonly ServedSender[];
  /** RECENT_… of a frontend's queue, or 0. */
  readonly recent: number;
  readonly reports: readonly (() => void)[];
}

const NOTHING: Serving = { receiver: undefined, senders: [], recent: 0, reports: [] };

/** The queues of each port that this thread serves, the lowest first. */
const served = new WeakMap<XenShare, XenPort[]>();

/** One queue of an end of a Xen network device, on the lcore that serves it. Queues come and go with the other end. */
export class XenPort implements Port {
  readonly #context: PortContext;
  readonly #share: XenShare;
  readonly #kernels: XenPortKernels;
  /** All queues of the port that this thread serves. */
  readonly #all: XenPort[];
  #serving = NOTHING;
  /** Where packets go, as `Serving.senders` of all of them. */
  #exits: readonly ServedSender[] = [];
  #fault: string | undefined;

  constructor(context: PortContext, share: XenShare) {
    this.#context = context;
    this.#share = share;
    this.#kernels = context.arena.kernels<XenPortKernels>();
    this.#all = served.get(share) ?? [];
    this.#all.push(this);
    served.set(share, this.#all);
  }

  get offloads(): number {
    const [sender] = this.#exits;
    if (sender === undefined) return 0;
    const { csum, gsoTcpv4, gsoTcpv6 } = sender.features;
    return (csum ? OFFLOAD_CSUM : 0) | (gsoTcpv4 ? OFFLOAD_TSO4 : 0) | (gsoTcpv6 ? OFFLOAD_TSO6 : 0);
  }

  rxBurst(slots: number, max: number): number {
    for (const { poll } of this.#serving.senders) poll?.();
    const { receiver, recent } = this.#serving;
    const n = receiver?.receive(slots, max) ?? 0;
    if (n > 0 && recent !== 0 && this.#all.length > 1) this.#sayLast(recent);
    return n;
  }

  /** Has whoever sends for this thread's queues know which one received last, and what. */
  #sayLast(recent: number): void {
    const { arena, index } = this.#context;
    const [first = this] = this.#all;
    const work = first.#work;
    arena.u32[(work + VIFSTEER_PORT) >>> 2] = index;
    arena.u32[(work + VIFSTEER_QUEUE) >>> 2] = this.#all.indexOf(this);
    arena.u32[(work + VIFSTEER_RECENT) >>> 2] = recent;
  }

  txBurst(slots: number, count: number): number {
    const exits = this.#exits;
    if (exits.length === 1) {
      // A frontend that set how packets are hashed is told the hash of each.
      if (this.#hashes) this.#steer(slots, count);
      return exits[0]?.send(slots, count) ?? 0;
    }
    if (exits.length === 0) this.#drop(slots, count, DROP_LINK_DOWN);
    else this.#spread(slots, count);
    return count;
  }

  get #hashes(): boolean {
    return this.#context.arena.u32[(this.#share.hash + VIFHASH_ALGORITHM) >>> 2] !== 0;
  }

  /** What this queue works with when it sends. */
  get #work(): number {
    return this.#share.work + this.#context.queue * VIFSTEER_BYTES;
  }

  #steer(slots: number, count: number): void {
    this.#kernels.xenVifSteer(this.#share.hash, slots, count, this.#exits.length, this.#work);
  }

  /** Gives each queue its flows. What a full queue does not take is dropped: the other queues go on. */
  #spread(slots: number, count: number): void {
    this.#steer(slots, count);
    let at = slots;
    for (const [index, sender] of this.#exits.entries()) {
      const n = this.#context.arena.u32[((this.#work + VIFSTEER_COUNTS) >>> 2) + index] ?? 0;
      if (n === 0) continue;
      const sent = sender.send(at, n);
      if (sent < n) this.#drop(at + (sent << SLOT_SHIFT), n - sent, DROP_TX_FULL);
      at += n << SLOT_SHIFT;
    }
  }

  #drop(slots: number, n: number, reason: number): void {
    const bytes = this.#kernels.telemetryBurstBytes(slots, n);
    this.#kernels.poolFree(this.#context.cache, slots, n);
    this.#context.lost(reason, n, bytes);
  }

  info(): PortInfo {
    for (const report of this.#serving.reports) report();
    const broken = this.#broken() ?? this.#stalled() ?? this.#fault;
    return broken === undefined ? { done: false } : { done: false, fault: broken };
  }

  #broken(): string | undefined {
    const peer = this.#share.side === 'front' ? 'backend' : 'frontend';
    const { receiver, senders } = this.#serving;
    const say = (rule: string | undefined, ring: 'tx' | 'rx', queue: number): string | undefined =>
      rule && `the ${peer} broke the ${ring} ring of queue ${queue}, which stands still: ${rule}`;
    const [from, to] = this.#share.side === 'front' ? (['rx', 'tx'] as const) : (['tx', 'rx'] as const);
    return (
      say(receiver?.fault(), from, this.#context.queue) ??
      senders.map((sender, i) => say(sender.fault(), to, this.#context.queue + i)).find((fault) => fault !== undefined)
    );
  }

  #stalled(): string | undefined {
    const queue = this.#serving.senders.findIndex((sender) => sender.stalled());
    return queue < 0 ? undefined : `the frontend asks for no packets on queue ${queue}: they are dropped until it does`;
  }

  rest(): number {
    const { receiver } = this.#serving;
    // What may not be taken yet is no reason to stay awake.
    return receiver?.ring.finalCheck() === true ? Math.min(Math.ceil(receiver.waits()), REST_MS) : REST_MS;
  }

  /** The lcore's time, in ms. */
  #now(): number {
    const { arena, lcore } = this.#context;
    const word = (offset: number): number => arena.u32[(lcore + offset) >>> 2] ?? 0;
    return word(LCORE_SECONDS) * 1000 + word(LCORE_NANOSECONDS) / 1e6;
  }

  set(name: string, value: unknown): void {
    if (name === 'xenFault') this.#fault = value as string | undefined;
    else this.#serve(value as readonly VifQueueShare[]);
  }

  #serve(shares: readonly VifQueueShare[]): void {
    // Nothing is copied to or from the other end behind this.
    for (const { detach } of this.#serving.senders) detach?.();
    const left = this.#serving.receiver?.detach?.() ?? 0;
    for (const report of this.#serving.reports) report();
    const { queue, refuse, lost } = this.#context;
    // Packets that were on their way in.
    if (left > 0) refuse(DROP_LINK_DOWN, left);
    const { receiver, senders } = this.#attach(shares);
    const reports = senders.map((sender) => lossReporter(sender, DROP_TX_ERROR, lost));
    if (receiver !== undefined) reports.push(lossReporter(receiver, DROP_BAD_DESCRIPTOR, refuse));
    this.#serving = { receiver, senders, recent: shares[queue]?.recent ?? 0, reports };
    const [first] = this.#all;
    if (first !== undefined) first.#listExits();
  }

  /** What this queue serves of the ends at `shares`. */
  #attach(shares: readonly VifQueueShare[]): Pick<Serving, 'receiver' | 'senders'> {
    const { arena, cache, queue } = this.#context;
    const now = (): number => this.#now();
    const share = shares[queue];
    if (share === undefined) return NOTHING;
    if (this.#share.side === 'front') {
      const { receiver, sender } = attachVifQueue(arena, share, cache, now);
      return { receiver, senders: [sender] };
    }
    const receiver = this.#attachReceiver(share, now);
    return { receiver, senders: queue === 0 ? shares.map((each) => this.#attachSender(each, now)) : [] };
  }

  /** Sends by all queues of this thread, of which none has received anything yet. */
  #listExits(): void {
    this.#exits = this.#all.flatMap((port) => port.#serving.senders);
    this.#context.arena.u32[(this.#work + VIFSTEER_RECENT) >>> 2] = 0;
  }

  /** A backend's sending side, with an engine that copies when there is one. */
  #attachSender(share: VifQueueShare, now: () => number): ServedSender {
    const { arena, cache, async } = this.#context;
    const copies = asyncVifOf(arena, share.rxQueue);
    if (copies === 0 || async === undefined) return attachVifSender(arena, share, cache, now);
    const sender = attachVifSender(arena, share, cache, now, enterVif(arena, copies));
    return async.serveVif(copies, sender, (slots, n) => this.#drop(slots, n, DROP_TX_FULL));
  }

  /** The same of its receiving side. */
  #attachReceiver(share: VifQueueShare, now: () => number): ServedReceiver {
    const { arena, cache, async } = this.#context;
    const copies = asyncVifOf(arena, share.txQueue);
    if (copies === 0 || async === undefined) return attachVifReceiver(arena, share, cache, now);
    return async.serveVifReceiver(copies, attachVifReceiver(arena, share, cache, now, takeVif(arena, copies)));
  }

  close(): void {
    this.#serve([]);
    const at = this.#all.indexOf(this);
    if (at >= 0) this.#all.splice(at, 1);
  }
}

/**
 * What has the lcores of a port serve queues, none when there are none, and be woken by what the other end sends.
 * @returns what resolves when no lcore uses any other any more.
 */
export function tellQueues(
  setup: PortSetup,
  hypervisor: Hypervisor,
): (queues: readonly VifQueueShare[]) => Promise<void> {
  const { async, arena } = setup;
  const { i32 } = arena;
  /** Those whose copies engines do. */
  let copied: readonly PortQueue[] = [];
  return async (queues) => {
    const gone = copied;
    const added = queues.flatMap(({ side, txQueue, rxQueue }, pair): PortQueue[] =>
      side === 'back'
        ? [
            { netq: txQueue, kind: 'vif', pair, sends: false },
            { netq: rxQueue, kind: 'vif', pair, sends: true },
          ]
        : [],
    );
    async?.add(added);
    copied = added;
    for (const [i, { side, txPort, rxPort }] of queues.entries()) {
      const { doorbell, parked } = setup.bell(i);
      hypervisor.events.listen(side === 'back' ? txPort : rxPort, () => ringDoorbell(i32, doorbell, parked));
    }
    await setup.tell('xenQueues', queues);
    async?.remove(gone);
    await async?.assign();
    await setup.tell('xenFault', undefined);
  };
}
