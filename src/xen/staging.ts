import type { Arena } from '../memory/arena.ts';
import { alignUp } from '../util/bits.ts';
import { RingwayError } from '../util/errors.ts';
import type { GrantMap, Hypervisor } from './hypervisor.ts';
import {
  GRANT_BATCH_MAX,
  STAGING_GREF,
  STAGING_ID,
  STAGING_LENGTH_MAX,
  STAGING_OFFSET,
  STAGING_PAGE_ENTRIES,
  STAGING_SHIFT,
  XEN_PAGE_BYTES,
} from './layout.ts';
import {
  VIFQ_LEND,
  VIFQ_LEND_BYTES,
  VIFQ_LEND_COUNT,
  VIFQ_STAGE,
  VIFQ_STAGE_BYTES,
  VIFQ_STAGE_COUNT,
  VIFQ_STAGE_LENGTH,
} from './queue-layout.ts';

/** Staging buffers of one direction of a queue. */
export interface StagingBuffers {
  /** Bytes of a packet that go there: 1 to 65,536. */
  readonly length: number;
  /** Where each is, by id. */
  readonly addresses: readonly number[];
}

/** Bytes of a buffer. What is longer than a page goes to the buffers of several slots. */
const bufferBytes = (length: number): number => Math.min(length, XEN_PAGE_BYTES);

/** Has a queue's kernels use staging buffers. What they find is the same at both ends. */
export function setStaging(
  arena: Arena,
  {
    txQueue,
    rxQueue,
    allocate,
    set,
  }: {
    readonly txQueue: number;
    readonly rxQueue: number;
    allocate(what: string, bytes: number): number;
    set(queue: number, offset: number, value: number): void;
  },
  { txStaging, rxStaging }: { readonly txStaging?: StagingBuffers; readonly rxStaging?: StagingBuffers },
): void {
  const put = (queue: number, what: string, { length, addresses }: StagingBuffers): number => {
    const table = allocate(what, addresses.length * 4);
    arena.u32.set(addresses, table >>> 2);
    set(queue, VIFQ_STAGE, table);
    set(queue, VIFQ_STAGE_COUNT, addresses.length);
    set(queue, VIFQ_STAGE_BYTES, bufferBytes(length));
    set(queue, VIFQ_STAGE_LENGTH, length);
    return table;
  };
  if (txStaging !== undefined) put(txQueue, 'tx staging', txStaging);
  if (rxStaging === undefined) return;
  const table = put(rxQueue, 'rx staging', rxStaging);
  set(txQueue, VIFQ_LEND, table);
  set(txQueue, VIFQ_LEND_COUNT, rxStaging.addresses.length);
  set(txQueue, VIFQ_LEND_BYTES, bufferBytes(rxStaging.length));
}

/** Bytes from one buffer to the next: each has lines of its own, since both ends write at the same time. */
const strideOf = (length: number): number => alignUp(bufferBytes(length), 64);

const buffersPerPage = (length: number): number => Math.floor(XEN_PAGE_BYTES / strideOf(length));

/** Pages that staging buffers of `slots` slots take, beside those of the slots, and the pages that list them. */
export function stagingPages(length: number, slots: number): number {
  const own = strideOf(length) === XEN_PAGE_BYTES ? 0 : Math.ceil(slots / buffersPerPage(length));
  return own + Math.ceil(slots / STAGING_PAGE_ENTRIES);
}

/** What a frontend makes staging buffers of. */
export interface StagingMemory {
  /** Pages that follow each other, and go with the queue. */
  alloc(pages: number): number;
  /** A reference for one, which ends with the queue. */
  grant(page: number, readonly: boolean): number;
}

/**
 * Makes staging buffers, one for each slot of a ring, and pages that list them for the backend.
 * @param firstId ids of the list begin there.
 * @param pages those of the slots: where a buffer is a whole page, they are it.
 * @returns the buffers, and references of the list's pages.
 */
export function makeStaging(
  arena: Arena,
  memory: StagingMemory,
  options: {
    readonly length: number;
    readonly slots: number;
    readonly readonly: boolean;
    readonly firstId: number;
    readonly pages: { readonly address: number; readonly refs: readonly number[] };
  },
): { readonly buffers: StagingBuffers; readonly listRefs: readonly number[] } {
  const { length, slots, readonly, firstId, pages } = options;
  const addresses: number[] = [];
  const entries: { ref: number; offset: number }[] = [];
  const stride = strideOf(length);
  const perPage = buffersPerPage(length);
  const isWhole = stride === XEN_PAGE_BYTES;
  const base = isWhole ? pages.address : memory.alloc(Math.ceil(slots / perPage));
  let ref = 0;
  for (let i = 0; i < slots; i++) {
    const page = base + Math.floor(i / perPage) * XEN_PAGE_BYTES;
    const offset = (i % perPage) * stride;
    if (offset === 0) ref = isWhole ? (pages.refs[i] ?? 0) : memory.grant(page, readonly);
    addresses.push(page + offset);
    entries.push({ ref, offset });
  }
  const lists = Math.ceil(slots / STAGING_PAGE_ENTRIES);
  const list = memory.alloc(lists);
  const { u16, u32 } = arena;
  for (const [i, entry] of entries.entries()) {
    const at = list + (i << STAGING_SHIFT);
    u16[(at + STAGING_ID) >>> 1] = firstId + i;
    u16[(at + STAGING_OFFSET) >>> 1] = entry.offset;
    u32[(at + STAGING_GREF) >>> 2] = entry.ref;
  }
  const listRefs = Array.from({ length: lists }, (_, i) => memory.grant(list + i * XEN_PAGE_BYTES, true));
  return { buffers: { length, addresses }, listRefs };
}

/** Maps pages of the frontend one behind the other, a hypercall for each 1,024; `undo` takes them away. */
export function mapGrants(hypervisor: Hypervisor, grants: readonly GrantMap[], undo: (() => void)[]): number[] {
  const target = hypervisor.takePages(grants.length);
  undo.push(() => hypervisor.freePages(target));
  const addresses: number[] = [];
  for (let from = 0; from < grants.length; from += GRANT_BATCH_MAX) {
    const some = grants.slice(from, from + GRANT_BATCH_MAX);
    const mapped = hypervisor.map(some, target + from * XEN_PAGE_BYTES);
    const good = mapped.flatMap(({ status, handle }) => (status === 0 ? [handle] : []));
    if (good.length > 0) undo.push(() => void hypervisor.unmap(good));
    for (const [i, { status, address }] of mapped.entries()) {
      const { domid, ref } = some[i] as GrantMap;
      // A map that failed is never taken for one: its address would be a page of our own.
      if (status !== 0) {
        throw new RingwayError('BAD_REQUEST', `grant ${ref} of domain ${domid} cannot be mapped: ${status}`);
      }
      addresses.push(address);
    }
  }
  return addresses;
}

/**
 * The same, for pages that must lie one behind the other. @returns the first.
 * @param what names them, for what is said of them.
 * @throws RingwayError `BAD_REQUEST` when they do not: where nothing can be mapped, a page is where the frontend has it.
 */
export function mapRun(
  hypervisor: Hypervisor,
  grants: readonly GrantMap[],
  undo: (() => void)[],
  what: string,
): number {
  const pages = mapGrants(hypervisor, grants, undo);
  const [first = 0] = pages;
  if (pages.some((page, i) => page !== first + i * XEN_PAGE_BYTES)) {
    throw new RingwayError('BAD_REQUEST', `${what} do not follow each other`);
  }
  return first;
}

/**
 * Reads a frontend's list of staging buffers, and maps what it names: each page once.
 * @param most entries at most.
 * @throws RingwayError `BAD_REQUEST` for a list that cannot be, `ARENA_FULL` when the map area is too small.
 */
export function mapStaging(
  arena: Arena,
  hypervisor: Hypervisor,
  options: {
    /** Where the list's references stand, for what is said of it. */
    readonly path: string;
    readonly domid: number;
    readonly listRefs: readonly number[];
    readonly length: number;
    readonly readonly: boolean;
    readonly firstId: number;
    readonly most: number;
  },
  undo: (() => void)[],
): StagingBuffers {
  const { path, domid, listRefs, length, readonly, firstId, most } = options;
  const refuse = (i: number, what: string): never => {
    throw new RingwayError('BAD_REQUEST', `${path}: entry ${i} of its list ${what}`);
  };
  if (length < 1 || length > STAGING_LENGTH_MAX) {
    throw new RingwayError('BAD_REQUEST', `${path}: ${length} bytes, must be 1 to ${STAGING_LENGTH_MAX}`);
  }
  const entries = readList(arena, hypervisor, domid, listRefs);
  if (entries.length > most) refuse(most, `is one more than the ${most} that its ring allows`);
  const refs = [...new Set(entries.map(({ ref }) => ref))];
  for (const [i, { id, offset }] of entries.entries()) {
    if (id !== firstId + i) refuse(i, `has id ${id}, must be ${firstId + i}`);
    if (offset + bufferBytes(length) > XEN_PAGE_BYTES) refuse(i, `leaves its page: ${offset} and ${length} bytes`);
  }
  if (refs.length === 0) return { length, addresses: [] };
  const addresses = mapGrants(
    hypervisor,
    refs.map((ref) => ({ domid, ref, readonly })),
    undo,
  );
  const pageOf = new Map(refs.map((ref, i) => [ref, addresses[i] ?? 0]));
  return { length, addresses: entries.map(({ ref, offset }) => (pageOf.get(ref) ?? 0) + offset) };
}

/** Entries up to the end of the list. Its pages are mapped for that long, and copied before they are looked at. */
function readList(
  arena: Arena,
  hypervisor: Hypervisor,
  domid: number,
  listRefs: readonly number[],
): { readonly id: number; readonly offset: number; readonly ref: number }[] {
  const undo: (() => void)[] = [];
  const copies: DataView[] = [];
  try {
    const pages = mapGrants(
      hypervisor,
      listRefs.map((ref) => ({ domid, ref, readonly: true })),
      undo,
    );
    for (const page of pages) copies.push(new DataView(arena.u8.slice(page, page + XEN_PAGE_BYTES).buffer));
  } finally {
    unwind(undo);
  }
  const all = copies.flatMap((page) =>
    Array.from({ length: STAGING_PAGE_ENTRIES }, (_, i) => {
      const at = i << STAGING_SHIFT;
      return {
        id: page.getUint16(at + STAGING_ID, true),
        offset: page.getUint16(at + STAGING_OFFSET, true),
        ref: page.getUint32(at + STAGING_GREF, true),
      };
    }),
  );
  const end = all.findIndex(({ ref }) => ref === 0);
  return end < 0 ? all : all.slice(0, end);
}

/** Undoes steps, the last first. */
export function unwind(undo: (() => void)[]): void {
  for (const step of undo.splice(0).reverse()) step();
}
