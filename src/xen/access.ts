import type { Arena } from '../memory/arena.ts';
import { type Pages, requirePages } from '../sys/index.ts';
import { RingwayError } from '../util/errors.ts';
import { createCopyBatch, signed } from './batch.ts';
import { MAP_OPS_BYTES } from './domain.ts';
import type { DataAccess, DomainShare, EventChannels, GrantMap, Hypervisor, Mapped } from './hypervisor.ts';
import {
  DOMAIN_COPIES,
  DOMAIN_COPY_BYTES,
  DOMAIN_EVENTS,
  DOMAIN_FAILED,
  DOMAIN_HYPERCALLS,
  DOMAIN_MAPS,
  DOMAIN_TLB_FLUSHES,
  DOMAIN_UNMAPS,
  GNTMAP_READONLY,
  GRANT_BATCH_MAX,
  MAP_ADDRESS,
  MAP_DOMID,
  MAP_FILE,
  MAP_FLAGS,
  MAP_FRAME,
  MAP_HANDLE,
  MAP_REF,
  MAP_SHIFT,
  MAP_STATUS,
  MAP_TARGET,
  VECTOR_SHIFT,
  XEN_PAGE_BYTES,
} from './layout.ts';
import { PageRuns } from './page-runs.ts';
import type { XenStore } from './store-client.ts';

interface AccessKernels {
  xenCopyBegin(xen: number, caller: number, ops: number, n: number, vectors: number): number;
  xenCopyMove(ops: number, n: number): void;
  xenCopyEnd(xen: number, ops: number, n: number): void;
  xenMapBegin(xen: number, caller: number, ops: number, n: number): number;
  xenMapUndo(xen: number, caller: number, op: number): void;
  xenUnmapBegin(caller: number, ops: number, n: number): number;
  xenUnmapEnd(xen: number, caller: number, ops: number, n: number): void;
  xenEventSend(xen: number, domain: number, port: number): number;
}

/** What a domain's operations came to so far. */
export interface HypervisorCosts {
  /** Entries into the hypervisor: a batch is one. */
  readonly hypercalls: number;
  readonly copies: number;
  readonly copyBytes: number;
  readonly maps: number;
  readonly unmaps: number;
  /** One for each 32 unmaps of a batch. */
  readonly tlbFlushes: number;
  readonly events: number;
  /** Operations with another status than okay. */
  readonly failed: number;
}

/** What the domain whose record is at `record` has cost. */
export function readCosts(arena: Arena, record: number): HypervisorCosts {
  const get = (offset: number): number => {
    const at = (record + offset) >>> 2;
    return (arena.u32[at] ?? 0) + (arena.u32[at + 1] ?? 0) * 2 ** 32;
  };
  return {
    hypercalls: get(DOMAIN_HYPERCALLS),
    copies: get(DOMAIN_COPIES),
    copyBytes: get(DOMAIN_COPY_BYTES),
    maps: get(DOMAIN_MAPS),
    unmaps: get(DOMAIN_UNMAPS),
    tlbFlushes: get(DOMAIN_TLB_FLUSHES),
    events: get(DOMAIN_EVENTS),
    failed: get(DOMAIN_FAILED),
  };
}

/** Where an access works: the in-process Xen, the domain in it, and operations of maps. */
interface Place {
  readonly arena: Arena;
  readonly name: string;
  readonly xen: number;
  readonly record: number;
  readonly ops: number;
  /** Undefined where nothing can be mapped: then pages are named where they lie, and copies are copies. */
  readonly pages: Pages | undefined;
}

/** What one thread asks of the in-process Xen for a domain. */
class Access implements DataAccess {
  readonly #place: Place;
  readonly #kernels: AccessKernels;

  constructor(place: Place) {
    this.#place = place;
    this.#kernels = place.arena.kernels<AccessKernels>();
  }

  copy({ address, vectors, size }: { address: number; vectors: number; size: number }, n: number): void {
    const { xen, record, pages } = this.#place;
    const { xenCopyBegin, xenCopyMove, xenCopyEnd } = this.#kernels;
    const ops = Math.min(n, size);
    const count = xenCopyBegin(xen, record, address, ops, vectors);
    try {
      if (pages === undefined) xenCopyMove(address, ops);
      else if (count > 0) pages.copy(vectors, vectors + (GRANT_BATCH_MAX << VECTOR_SHIFT), count);
    } finally {
      xenCopyEnd(xen, address, ops);
    }
  }

  send(port: number): void {
    this.#kernels.xenEventSend(this.#place.xen, this.#place.record, port);
  }

  #word(i: number, offset: number): number {
    return (this.#place.ops + (i << MAP_SHIFT) + offset) >>> 2;
  }

  #status(i: number): number {
    return signed(this.#place.arena.u16[(this.#place.ops + (i << MAP_SHIFT) + MAP_STATUS) >>> 1] ?? 0);
  }

  #checkBatch(n: number): void {
    if (n > GRANT_BATCH_MAX) {
      throw new RingwayError('BAD_ARGUMENT', `${this.#place.name}: ${n} grants in a batch, at most ${GRANT_BATCH_MAX}`);
    }
  }

  map(grants: readonly GrantMap[], target: number): Mapped[] {
    this.#checkBatch(grants.length);
    const { arena, xen, record, ops, pages } = this.#place;
    const { u16, u32 } = arena;
    for (const [i, { domid, ref, readonly = false }] of grants.entries()) {
      u32[this.#word(i, MAP_REF)] = ref;
      u16[(ops + (i << MAP_SHIFT) + MAP_DOMID) >>> 1] = domid;
      u16[(ops + (i << MAP_SHIFT) + MAP_FLAGS) >>> 1] = readonly ? GNTMAP_READONLY : 0;
      u32[this.#word(i, MAP_TARGET)] = target + i * XEN_PAGE_BYTES;
    }
    this.#kernels.xenMapBegin(xen, record, ops, grants.length);
    return grants.map(({ readonly = false }, i) => {
      const word = (offset: number): number => u32[this.#word(i, offset)] ?? 0;
      const place = word(MAP_TARGET);
      if (pages !== undefined && this.#status(i) === 0) {
        const isMapped = pages.map(place, word(MAP_FILE), word(MAP_FRAME) * XEN_PAGE_BYTES, !readonly);
        if (!isMapped) this.#kernels.xenMapUndo(xen, record, ops + (i << MAP_SHIFT));
        else u32[this.#word(i, MAP_ADDRESS)] = place;
      }
      return { status: this.#status(i), handle: word(MAP_HANDLE), address: word(MAP_ADDRESS) };
    });
  }

  unmap(handles: readonly number[]): number[] {
    this.#checkBatch(handles.length);
    const { arena, xen, record, ops, pages } = this.#place;
    for (const [i, handle] of handles.entries()) arena.u32[this.#word(i, MAP_HANDLE)] = handle;
    this.#kernels.xenUnmapBegin(record, ops, handles.length);
    const statuses = handles.map((_, i) => this.#status(i));
    for (const [i, status] of statuses.entries()) {
      const place = arena.u32[this.#word(i, MAP_TARGET)] ?? 0;
      // Before the entry is given back: its owner may reuse the page from then on.
      if (status === 0 && pages !== undefined && !pages.unmap(place, XEN_PAGE_BYTES)) {
        throw new RingwayError('SYSTEM', `${this.#place.name}: the page at ${place} cannot be unmapped`);
      }
    }
    this.#kernels.xenUnmapEnd(xen, record, ops, handles.length);
    return statuses;
  }
}

/** Serves a domain of the in-process Xen from this thread, which alone uses `share`. */
export function attachDomain(arena: Arena, share: DomainShare): DataAccess {
  const pages = share.mapped ? requirePages(arena.handle.memory, share.name) : undefined;
  return new Access({ arena, ...share, pages });
}

/** A domain of the in-process Xen. */
export interface AccessPlace extends Omit<Place, 'ops'> {
  readonly domid: number;
  /** Its map area. */
  readonly area: number;
  readonly areaPages: number;
}

/** What one domain may ask of the in-process Xen. */
export class DomainAccess extends Access implements Hypervisor {
  readonly domid: number;
  readonly events: EventChannels;
  readonly store: XenStore;
  readonly #place: AccessPlace;
  readonly #runs: PageRuns;

  constructor(place: AccessPlace, ops: number, events: EventChannels, store: XenStore) {
    super({ ...place, ops });
    this.domid = place.domid;
    this.events = events;
    this.store = store;
    this.#place = place;
    this.#runs = new PageRuns(place.name, place.area, place.areaPages);
  }

  createBatch(name: string, size: number) {
    return createCopyBatch(this.#place.arena, name, size);
  }

  shareData(name: string): DomainShare {
    const { arena, xen, record, pages } = this.#place;
    return { name, xen, record, ops: arena.allocate(name, MAP_OPS_BYTES), mapped: pages !== undefined };
  }

  takePages(pages: number): number {
    return this.#runs.take(pages);
  }

  freePages(address: number): void {
    this.#runs.free(address);
  }
}
