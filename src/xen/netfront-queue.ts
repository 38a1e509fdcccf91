import type { Arena } from '../memory/arena.ts';
import { type DataRing, dataRingPages, makeDataRing } from './data-ring.ts';
import { createFrontQueue, type FrontPages } from './front-queue.ts';
import type { Hypervisor } from './hypervisor.ts';
import { XEN_PAGE_BYTES } from './layout.ts';
import type { GrantEntry } from './mapped-grants.ts';
import { createNetRing, initSharedRing, type NetRing, netRingSlots } from './ring.ts';
import type { SharedPages } from './shared-pages.ts';
import { makeStaging, type StagingBuffers, stagingPages } from './staging.ts';
import { DATA_RING_KEY } from './vif-device.ts';
import type { MadeVifQueue, VifFeatures, VifQueueShare } from './vif-queue.ts';

/** How a frontend's packets get across, once the backend is known to be able to. */
export type FrontPath =
  | { readonly kind: 'copy' }
  /** The backend maps the slots' pages and keeps them. */
  | { readonly kind: 'persistent' }
  /** The backend is asked by messages to keep the slots' pages mapped: staging grants as merged. */
  | { readonly kind: 'control' }
  /** Bytes of each packet that go to staging buffers, 0 to 65,536 each way: the rest goes by grant. */
  | { readonly kind: 'staging'; readonly tx: number; readonly rx: number }
  /** Whole packets go through a ring of bytes of 2^order pages, 1 to 9, half of them each way; by grant when it is full. */
  | { readonly kind: 'data-ring'; readonly order: number };

type Kind = 'tx' | 'rx';

/** Bytes of the arena that the state of a queue takes, beside its pages, with rings of `order`. */
export function frontQueueBytes(order: number): number {
  return (160 << 10) + 2 ** order * (16 << 10);
}

/** Pages that a queue takes of its domain: each is granted. */
export function frontQueuePages(order: number, path: FrontPath): number {
  const one = (kind: Kind): number => {
    const slots = netRingSlots(kind, order);
    const staging = path.kind === 'staging' && path[kind] > 0 ? stagingPages(path[kind], slots) : 0;
    return 2 ** order + slots + staging;
  };
  return one('tx') + one('rx') + (path.kind === 'data-ring' ? dataRingPages(path.order) : 0);
}

/** What a frontend makes a queue with. */
export interface FrontMakeOptions {
  readonly arena: Arena;
  readonly hypervisor: Hypervisor;
  readonly shared: SharedPages;
  readonly backend: number;
  /** Names its regions in the arena. */
  readonly name: string;
  readonly features: VifFeatures;
  readonly split: boolean;
  /** Pages of each ring, as a power of two. */
  readonly ringOrder: number;
  readonly path: FrontPath;
}

/** A queue of the frontend, and what the other end is told of it. Pages, grants and channels are made step by step. */
export class FrontQueue {
  readonly keys: Record<string, number> = {};
  /** Grants of its slots' pages. */
  readonly grants: GrantEntry[] = [];
  readonly #options: FrontMakeOptions;
  readonly #ports: number[] = [];
  readonly #regions: string[] = [];
  #made: MadeVifQueue | undefined;
  #share: VifQueueShare | undefined;

  /** @throws RingwayError `ARENA_FULL`, `BUSY` when the domain has no pages, grants or ports left: then only `shared` keeps anything. */
  constructor(options: FrontMakeOptions) {
    this.#options = options;
    try {
      this.#share = this.#make();
    } catch (error) {
      this.release();
      throw error;
    }
  }

  get share(): VifQueueShare {
    if (this.#share === undefined) throw new Error(`${this.#options.name} is released`);
    return this.#share;
  }

  #ring(kind: Kind): NetRing {
    const { arena, name, ringOrder, shared } = this.#options;
    const pages = 2 ** ringOrder;
    const sring = shared.alloc(pages);
    initSharedRing(arena, sring);
    const region = `${name} ${kind} ring`;
    const ring = createNetRing(arena, { name: region, kind, side: 'front', sring, order: ringOrder });
    this.#regions.push(region);
    const refs = Array.from({ length: pages }, (_, i) => shared.grant(sring + i * XEN_PAGE_BYTES, false));
    if (ringOrder > 0) this.keys[`${kind}-ring-page-order`] = ringOrder;
    for (const [i, ref] of refs.entries()) this.keys[`${kind}-ring-ref${ringOrder === 0 ? '' : i}`] = ref;
    return ring;
  }

  #slotPages(slots: number, readonly: boolean): FrontPages {
    const { shared } = this.#options;
    const address = shared.alloc(slots);
    return {
      address,
      refs: Array.from({ length: slots }, (_, slot) => shared.grant(address + slot * XEN_PAGE_BYTES, readonly)),
    };
  }

  #staging(kind: Kind, ring: NetRing, pages: FrontPages, firstId: number): StagingBuffers | undefined {
    const { arena, path, shared } = this.#options;
    if (path.kind !== 'staging' || path[kind] === 0) return undefined;
    const { buffers, listRefs } = makeStaging(arena, shared, {
      length: path[kind],
      slots: ring.slots,
      readonly: kind === 'tx',
      firstId,
      pages,
    });
    this.keys[`${kind}-data-len`] = path[kind];
    for (const [i, ref] of listRefs.entries()) this.keys[`${kind}-data-ref${i}`] = ref;
    return buffers;
  }

  #dataRing(): DataRing | undefined {
    const { arena, path, shared } = this.#options;
    if (path.kind !== 'data-ring') return undefined;
    const { ring, ref } = makeDataRing(arena, shared, path.order);
    this.keys[DATA_RING_KEY] = ref;
    return ring;
  }

  #channel(): number {
    const { hypervisor, backend } = this.#options;
    const port = hypervisor.events.allocUnbound(backend);
    this.#ports.push(port);
    return port;
  }

  #make(): VifQueueShare {
    const { arena, hypervisor, name, features, split } = this.#options;
    const [tx, rx] = [this.#ring('tx'), this.#ring('rx')];
    const txPort = this.#channel();
    const rxPort = split ? this.#channel() : txPort;
    Object.assign(
      this.keys,
      split ? { 'event-channel-tx': txPort, 'event-channel-rx': rxPort } : { 'event-channel': txPort },
    );
    const txPages = this.#slotPages(tx.slots, true);
    const rxPages = this.#slotPages(rx.slots, false);
    for (const ref of txPages.refs) this.grants.push({ ref, readonly: true });
    for (const ref of rxPages.refs) this.grants.push({ ref, readonly: false });
    const txStaging = this.#staging('tx', tx, txPages, 0);
    const rxStaging = this.#staging('rx', rx, rxPages, txStaging?.addresses.length ?? 0);
    const dataRing = this.#dataRing();
    this.#made = createFrontQueue(arena, {
      name,
      tx,
      rx,
      features,
      txPages,
      rxPages,
      ...(txStaging === undefined ? {} : { txStaging }),
      ...(rxStaging === undefined ? {} : { rxStaging }),
      ...(dataRing === undefined ? {} : { dataRing }),
    });
    const data = hypervisor.shareData(`${name} data`);
    this.#regions.push(data.name);
    const { release: _, ...made } = this.#made;
    return { side: 'front', ...made, txPort, rxPort, data };
  }

  /** Gives all back that nobody serves any more, but for `shared`. */
  release(): void {
    const { arena, hypervisor } = this.#options;
    this.#made?.release();
    for (const port of this.#ports.splice(0)) hypervisor.events.close(port);
    for (const region of this.#regions.splice(0)) arena.release(region);
    this.#share = undefined;
  }
}
