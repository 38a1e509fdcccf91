import type { Arena } from '../memory/arena.ts';
import { SLOT_SHIFT } from '../memory/layout.ts';
import type { Hypervisor } from './hypervisor.ts';
import {
  GATHER_BYTES,
  GATHER_PACKETS_MAX,
  GRANT_BATCH_MAX,
  NETRX_BYTES,
  VIFQ_BAD,
  VIFQ_BYTES,
  VIFQ_CACHE,
  VIFQ_COPIES,
  VIFQ_COPIES_USED,
  VIFQ_DOMID,
  VIFQ_EMPTY,
  VIFQ_F_GSO_TCPV4,
  VIFQ_F_GSO_TCPV6,
  VIFQ_F_SG,
  VIFQ_FAILED,
  VIFQ_FEATURES,
  VIFQ_FREE,
  VIFQ_FREE_COUNT,
  VIFQ_GATHER,
  VIFQ_GREFS,
  VIFQ_LONG,
  VIFQ_OUT,
  VIFQ_PAGES,
  VIFQ_RECORDS,
  VIFQ_RECORDS_MAX,
  VIFQ_RING,
  VIFQ_SLOTS,
} from './layout.ts';
import type { NetRing } from './ring.ts';

/** What the peer takes, beside packets of one page. */
export interface VifFeatures {
  readonly sg: boolean;
  readonly gsoTcpv4: boolean;
  readonly gsoTcpv6: boolean;
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
}

/** One side of one queue, on the thread that serves it. */
export interface VifQueue {
  readonly tx: NetRing;
  readonly rx: NetRing;
  /** Writes up to `max` (1 to 32) packets to the packet slots at `slots`; returns how many. */
  receive(slots: number, max: number): number;
  /** Takes the first of `count` (1 to 32) packets at `slots`; returns how many. The rest stay the caller's. */
  send(slots: number, count: number): number;
  /** What was lost on either way. */
  drops(): { readonly received: VifDrops; readonly sent: VifDrops };
  /** The rule that the peer broke. The queue stands still until the device is connected again. */
  fault(): string | undefined;
  /** Gives its regions back. */
  release(): void;
}

interface VifKernels {
  xenBackTxBegin(queue: number, max: number): number;
  xenBackTxEnd(queue: number, slots: number): number;
  xenBackRxBegin(queue: number, slots: number, count: number): number;
  xenBackRxEnd(queue: number, slots: number, count: number): void;
  xenFrontSend(queue: number, slots: number, count: number): number;
  xenFrontReclaim(queue: number): void;
  xenFrontReceive(queue: number, slots: number, max: number): number;
  xenFrontRefill(queue: number): void;
}

/** What both sides of a queue are made of. */
export interface VifQueueOptions {
  /** Names its regions in the arena. */
  readonly name: string;
  readonly tx: NetRing;
  readonly rx: NetRing;
  /** The buffer cache of the thread that serves it. */
  readonly cache: number;
  readonly features: VifFeatures;
}

/** A stretch of state for each direction, with what both sides have in it. */
function makeState(arena: Arena, { name, tx, rx, cache, features }: VifQueueOptions) {
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
  const get = (queue: number, offset: number): number => arena.u32[(queue + offset) >>> 2] ?? 0;
  const bits =
    (features.sg ? VIFQ_F_SG : 0) |
    (features.gsoTcpv4 ? VIFQ_F_GSO_TCPV4 : 0) |
    (features.gsoTcpv6 ? VIFQ_F_GSO_TCPV6 : 0);
  const gather = allocate('gather', GATHER_BYTES);
  const make = (what: string, ring: NetRing): number => {
    const queue = allocate(what, VIFQ_BYTES);
    set(queue, VIFQ_RING, ring.address);
    set(queue, VIFQ_CACHE, cache);
    set(queue, VIFQ_FEATURES, bits);
    set(queue, VIFQ_GATHER, gather);
    return queue;
  };
  const dropsOf = (queue: number): VifDrops => ({
    bad: get(queue, VIFQ_BAD),
    long: get(queue, VIFQ_LONG),
    empty: get(queue, VIFQ_EMPTY),
    failed: get(queue, VIFQ_FAILED),
  });
  return {
    txQueue: make('tx', tx),
    rxQueue: make('rx', rx),
    keep,
    allocate,
    set,
    get,
    dropsOf,
    fault: () => tx.broken() ?? rx.broken(),
    release,
  };
}

/** The backend's side: it receives what the frontend sends, and copies by grants. */
export function createBackQueue(
  arena: Arena,
  hypervisor: Hypervisor,
  options: VifQueueOptions & { readonly frontend: number },
): VifQueue {
  const state = makeState(arena, options);
  const { txQueue, rxQueue, keep, allocate, set, get, dropsOf } = state;
  const batch = keep(`${options.name} copies`, (region) => hypervisor.createBatch(region, GRANT_BATCH_MAX));
  const records = allocate('records', VIFQ_RECORDS_MAX * NETRX_BYTES);
  for (const queue of [txQueue, rxQueue]) {
    set(queue, VIFQ_COPIES, batch.address);
    set(queue, VIFQ_DOMID, options.frontend);
    set(queue, VIFQ_RECORDS, records);
  }
  set(txQueue, VIFQ_SLOTS, allocate('slots', GATHER_PACKETS_MAX << SLOT_SHIFT));
  const { xenBackTxBegin, xenBackTxEnd, xenBackRxBegin, xenBackRxEnd } = arena.kernels<VifKernels>();
  return {
    tx: options.tx,
    rx: options.rx,
    receive(slots, max) {
      const copies = xenBackTxBegin(txQueue, max);
      if (copies > 0) hypervisor.copy(batch, copies);
      return xenBackTxEnd(txQueue, slots);
    },
    send(slots, count) {
      const done = xenBackRxBegin(rxQueue, slots, count);
      const copies = get(rxQueue, VIFQ_COPIES_USED);
      if (copies > 0) hypervisor.copy(batch, copies);
      xenBackRxEnd(rxQueue, slots, done);
      return done;
    },
    drops: () => ({ received: dropsOf(txQueue), sent: dropsOf(rxQueue) }),
    fault: state.fault,
    release: state.release,
  };
}

/** Pages of one direction of the frontend, one for each slot, and what they are granted by. */
export interface FrontPages {
  /** The first of `slots` pages that follow each other. */
  readonly address: number;
  readonly refs: readonly number[];
}

/** The frontend's side: packets are copied to pages and from pages that stay granted as long as it is connected. */
export function createFrontQueue(
  arena: Arena,
  options: VifQueueOptions & { readonly txPages: FrontPages; readonly rxPages: FrontPages },
): VifQueue {
  const state = makeState(arena, options);
  const { txQueue, rxQueue, allocate, set, dropsOf } = state;
  const { tx, rx, txPages, rxPages } = options;
  for (const [queue, pages, what] of [
    [txQueue, txPages, 'tx references'],
    [rxQueue, rxPages, 'rx references'],
  ] as const) {
    const grefs = allocate(what, pages.refs.length * 4);
    arena.u32.set(pages.refs, grefs >>> 2);
    set(queue, VIFQ_PAGES, pages.address);
    set(queue, VIFQ_GREFS, grefs);
  }
  const free = allocate('free', tx.slots * 2);
  for (let id = 0; id < tx.slots; id++) arena.u16[(free >>> 1) + id] = tx.slots - 1 - id;
  set(txQueue, VIFQ_FREE, free);
  set(txQueue, VIFQ_FREE_COUNT, tx.slots);
  set(txQueue, VIFQ_OUT, allocate('out', tx.slots));
  const { xenFrontSend, xenFrontReclaim, xenFrontReceive, xenFrontRefill } = arena.kernels<VifKernels>();
  xenFrontRefill(rxQueue);
  return {
    tx,
    rx,
    receive(slots, max) {
      xenFrontReclaim(txQueue);
      return xenFrontReceive(rxQueue, slots, max);
    },
    send: (slots, count) => xenFrontSend(txQueue, slots, count),
    drops: () => ({ received: dropsOf(rxQueue), sent: dropsOf(txQueue) }),
    fault: state.fault,
    release: state.release,
  };
}
