import type { Arena } from '../memory/arena.ts';
import { SLOT_SHIFT } from '../memory/layout.ts';
import type { PoolKernels } from '../memory/pool.ts';
import { attachDomain } from './access.ts';
import type { CopyBatch, DataAccess, DataShare } from './hypervisor.ts';
import { wantedMapper } from './kept-grants.ts';
import {
  GATHER_BYTES,
  VIFQ_BAD,
  VIFQ_BYTES,
  VIFQ_CACHE,
  VIFQ_COPIES_USED,
  VIFQ_EMPTY,
  VIFQ_F_CSUM,
  VIFQ_F_GSO_TCPV4,
  VIFQ_F_GSO_TCPV6,
  VIFQ_F_SG,
  VIFQ_FAILED,
  VIFQ_FALLBACKS,
  VIFQ_FEATURES,
  VIFQ_FILTERED,
  VIFQ_GATHER,
  VIFQ_LONG,
  VIFQ_RECENT,
  VIFQ_RING,
  VIFQ_STALLED,
} from './queue-layout.ts';
import { creditMeter } from './rate.ts';
import { attachNetRing, type NetRing } from './ring.ts';
import { StallWatch } from './stall.ts';
import { attachDevices } from './system/device-access.ts';

/** What the peer takes, beside packets of one page. */
export interface VifFeatures {
  readonly sg: boolean;
  readonly gsoTcpv4: boolean;
  readonly gsoTcpv6: boolean;
  /** Checksums that are left to do. */
  readonly csum: boolean;
}

/** Packets that did not get through, since the queue was made. */
export interface VifDrops {
  /** Refused: of a size, or with a request, that cannot be. */
  readonly bad: number;
  /** The peer takes no such packets. */
  readonly long: number;
  /** The buffer pool was exhausted. */
  readonly empty: number;
  /** Bytes could not be copied, or the peer says that it failed. */
  readonly failed: number;
  /** The frontend has asked for no packets for ten seconds. */
  readonly stalled: number;
  /** Multicast that the frontend did not ask for. */
  readonly filtered: number;
}

/** One side of one queue, for the thread that is to serve it: anything that can be posted. */
export interface VifQueueShare {
  readonly side: 'front' | 'back';
  /** Addresses of the state of each direction. */
  readonly txQueue: number;
  readonly rxQueue: number;
  /** Event channels of this end. */
  readonly txPort: number;
  readonly rxPort: number;
  readonly data: DataShare;
  /** Backend: copies of each direction. */
  readonly txBatch?: BatchShare;
  readonly rxBatch?: BatchShare;
  /** Frontend: address of what is known of packets that may be sent from where they were received; 0 when none may. */
  readonly recent: number;
}

type BatchShare = Pick<CopyBatch, 'address' | 'vectors' | 'size'>;

/** What both directions have. */
interface VifDirection {
  readonly ring: NetRing;
  /** What was lost on the way. */
  drops(): VifDrops;
  /** The rule that the peer broke. The ring stands still until the device is connected again. */
  fault(): string | undefined;
}

/** The direction that packets come by, on the thread that serves it. */
export interface VifReceiver extends VifDirection {
  /** Writes up to `max` (1 to 32) packets to the packet slots at `slots`; returns how many. */
  receive(slots: number, max: number): number;
  /** How many ms it is until the frontend may send more, as the device's `rate` has it: 0 when now. */
  waits(): number;
  /** Has the peer told of what it is to see. */
  notify(): void;
}

/** The direction that packets leave by, on the thread that serves it. */
export interface VifSender extends VifDirection {
  /** What the peer takes. */
  readonly features: VifFeatures;
  /** Packets that went by grant since the queue was made, because the data ring had no room; 0 without one. */
  fallbacks(): number;
  /** True when the frontend has asked for no packets for ten seconds: they are dropped, until it does. */
  stalled(): boolean;
  /** Takes the first of `count` (1 to 32) packets at `slots`; returns how many. The rest stay the caller's. */
  send(slots: number, count: number): number;
  /** Has the peer told of what it is to see. */
  notify(): void;
}

/** What a backend does with `count` packets at `slots` whose copies by grant are done, in the place of answering them. */
export type VifEnter = (slots: number, count: number) => void;

/**
 * What a backend does with packets that it gathered and whose copies by grant are done, in the place of handing them on: gives up to
 * `max` (1 to 32) that are copied to `slots`, and returns how many.
 */
export type VifTake = (slots: number, max: number) => number;

/** Both directions of a queue, on one thread. */
export interface VifQueue {
  readonly receiver: VifReceiver;
  readonly sender: VifSender;
}

interface VifKernels {
  xenBackTxBegin(queue: number, max: number): number;
  xenBackTxEnd(queue: number, slots: number): number;
  xenBackRxBegin(queue: number, slots: number, count: number): number;
  xenBackRxEnd(queue: number, slots: number, count: number): void;
  xenFrontSend(queue: number, slots: number, count: number): number;
  xenFrontReclaim(queue: number): void;
  xenFrontReceive(queue: number, slots: number, max: number): number;
}

/** What both sides of a queue are made of. */
export interface VifQueueOptions {
  /** Names its regions in the arena. */
  readonly name: string;
  readonly tx: NetRing;
  readonly rx: NetRing;
  readonly features: VifFeatures;
}

/** A queue on the control thread, which made it. */
export interface MadeVifQueue extends Pick<VifQueueShare, 'txQueue' | 'rxQueue' | 'txBatch' | 'rxBatch' | 'recent'> {
  /** Gives its regions back: nobody serves it any more. */
  release(): void;
}

/** A stretch of state for each direction, with what both sides have in it. */
export function makeVifState(arena: Arena, { name, tx, rx, features }: VifQueueOptions) {
  const regions: string[] = [];
  const release = (): void => {
    for (const region of regions.splice(0)) arena.release(region);
  };
  /** Makes a region by `make`; one that does not fit takes the others with it. */
  const keep = <T>(region: string, make: (region: string) => T): T => {
    try {
      const made = make(region);
      regions.push(region);
      return made;
    } catch (error) {
      release();
      throw error;
    }
  };
  const allocate = (what: string, bytes: number): number =>
    keep(`${name} ${what}`, (region) => arena.allocate(region, bytes));
  const set = (queue: number, offset: number, value: number): void => {
    arena.u32[(queue + offset) >>> 2] = value;
  };
  const bits =
    (features.sg ? VIFQ_F_SG : 0) |
    (features.gsoTcpv4 ? VIFQ_F_GSO_TCPV4 : 0) |
    (features.gsoTcpv6 ? VIFQ_F_GSO_TCPV6 : 0) |
    (features.csum ? VIFQ_F_CSUM : 0);
  const make = (what: string, ring: NetRing): number => {
    const queue = allocate(what, VIFQ_BYTES);
    set(queue, VIFQ_RING, ring.address);
    set(queue, VIFQ_FEATURES, bits);
    set(queue, VIFQ_GATHER, allocate(`${what} gather`, GATHER_BYTES));
    return queue;
  };
  return { txQueue: make('tx', tx), rxQueue: make('rx', rx), keep, allocate, set, release };
}

/** One direction of a queue, from this thread: its words, and what both sides do with it. */
function attachDirection(arena: Arena, queue: number, port: number, cache: number, send: (port: number) => void) {
  const get = (offset: number): number => arena.u32[(queue + offset) >>> 2] ?? 0;
  arena.u32[(queue + VIFQ_CACHE) >>> 2] = cache;
  const ring = attachNetRing(arena, get(VIFQ_RING));
  const drops = (): VifDrops => ({
    bad: get(VIFQ_BAD),
    long: get(VIFQ_LONG),
    empty: get(VIFQ_EMPTY),
    failed: get(VIFQ_FAILED),
    stalled: get(VIFQ_STALLED),
    filtered: get(VIFQ_FILTERED),
  });
  /** Has the peer told of what it is to see. */
  const notify = (): void => {
    if (ring.needsNotify()) send(port);
  };
  return { get, notify, shown: { ring, drops, fault: () => ring.broken() } };
}

/** Asks Xen from this thread, which alone uses `share`. */
function attachData(arena: Arena, share: DataShare): DataAccess {
  return 'gntdev' in share ? attachDevices(arena, share) : attachDomain(arena, share);
}

/** ms of the system's clock, for whoever has none of its own. */
const monotonic = (): number => performance.now();

/** Receives from this thread, with buffers of `cache`. One thread at a time does. @param now ms, from anywhere on */
export function attachVifReceiver(
  arena: Arena,
  share: VifQueueShare,
  cache: number,
  now = monotonic,
  take?: VifTake,
): VifReceiver {
  const { side, txQueue, rxQueue, txPort, rxPort, txBatch } = share;
  const [queue, port] = side === 'back' ? [txQueue, txPort] : [rxQueue, rxPort];
  const access = attachData(arena, share.data);
  const { notify, shown } = attachDirection(arena, queue, port, cache, (to) => access.send(to));
  const { xenBackTxBegin, xenBackTxEnd, xenFrontReceive } = arena.kernels<VifKernels>();
  const mapWanted = wantedMapper(arena, access, queue, true);
  const waits = side === 'back' ? creditMeter(arena, queue, now) : () => 0;
  const end = take ?? ((slots: number) => xenBackTxEnd(queue, slots));
  const back = (slots: number, max: number): number => {
    waits();
    const copies = xenBackTxBegin(queue, max);
    if (copies > 0 && txBatch !== undefined) access.copy(txBatch, copies);
    mapWanted();
    return end(slots, max);
  };
  const receive = side === 'back' ? back : (slots: number, max: number) => xenFrontReceive(queue, slots, max);
  // What was asked for when the queue was made.
  notify();
  return {
    ...shown,
    waits,
    notify,
    receive(slots, max) {
      const n = receive(slots, max);
      notify();
      return n;
    },
  };
}

/**
 * Sends from this thread, with buffers of `cache`. One thread at a time does.
 * @param now ms, from anywhere on
 */
export function attachVifSender(
  arena: Arena,
  share: VifQueueShare,
  cache: number,
  now = monotonic,
  enter?: VifEnter,
): VifSender {
  const { side, txQueue, rxQueue, txPort, rxPort, rxBatch } = share;
  const [queue, port] = side === 'back' ? [rxQueue, rxPort] : [txQueue, txPort];
  const access = attachData(arena, share.data);
  const { get, notify, shown } = attachDirection(arena, queue, port, cache, (to) => access.send(to));
  const { xenBackRxBegin, xenBackRxEnd, xenFrontSend, poolFree } = arena.kernels<VifKernels & PoolKernels>();
  const mapWanted = wantedMapper(arena, access, queue, false);
  const end = enter ?? ((slots: number, count: number) => xenBackRxEnd(queue, slots, count));
  const stall = new StallWatch(now);
  const back = (slots: number, count: number): number => {
    const done = xenBackRxBegin(queue, slots, count);
    const copies = get(VIFQ_COPIES_USED);
    if (copies > 0 && rxBatch !== undefined) access.copy(rxBatch, copies);
    mapWanted();
    end(slots, done);
    if (!stall.saw(done)) return done;
    poolFree(cache, slots + (done << SLOT_SHIFT), count - done);
    const word = (queue + VIFQ_STALLED) >>> 2;
    arena.u32[word] = (arena.u32[word] ?? 0) + count - done;
    return count;
  };
  const give = side === 'back' ? back : (slots: number, count: number) => xenFrontSend(queue, slots, count);
  const bits = get(VIFQ_FEATURES);
  return {
    ...shown,
    features: {
      sg: (bits & VIFQ_F_SG) !== 0,
      gsoTcpv4: (bits & VIFQ_F_GSO_TCPV4) !== 0,
      gsoTcpv6: (bits & VIFQ_F_GSO_TCPV6) !== 0,
      csum: (bits & VIFQ_F_CSUM) !== 0,
    },
    fallbacks: () => get(VIFQ_FALLBACKS),
    stalled: () => stall.stalled,
    notify,
    send(slots, count) {
      const n = give(slots, count);
      notify();
      return n;
    },
  };
}

/** Serves both directions from this thread: a frontend then sends what it has received from where it lies, when that can be. */
export function attachVifQueue(
  arena: Arena,
  share: VifQueueShare,
  cache: number,
  now = monotonic,
  enter?: VifEnter,
  take?: VifTake,
): VifQueue {
  const { side, txQueue, rxQueue, recent } = share;
  for (const queue of [txQueue, rxQueue]) arena.u32[(queue + VIFQ_RECENT) >>> 2] = recent;
  const receiver = attachVifReceiver(arena, share, cache, now, take);
  const sender = attachVifSender(arena, share, cache, now, enter);
  if (side === 'back') return { receiver, sender };
  const { xenFrontReclaim } = arena.kernels<VifKernels>();
  return {
    sender,
    receiver: {
      ...receiver,
      receive(slots, max) {
        // Buffers that come back are received to again.
        xenFrontReclaim(txQueue);
        return receiver.receive(slots, max);
      },
    },
  };
}
