import { randomInt } from 'node:crypto';
import type { Arena } from '../memory/arena.ts';
import type { DataAccess, Hypervisor } from './hypervisor.ts';
import { XEN_PAGE_BYTES } from './layout.ts';
import {
  GREFTABLE_BYTES,
  GREFTABLE_MAX,
  GREFTABLE_READONLY,
  GREFTABLE_SEED,
  VIFQ_DOMID,
  VIFQ_TABLE,
  VIFQ_WANTED,
  WANTED_COUNT,
  WANTED_GREFS,
  WANTED_HANDLES,
  WANTED_MAPPED,
  WANTED_MOST,
  WANTED_PAGES,
} from './queue-layout.ts';

/** Kernels that work on a table of mapped pages. */
export interface GrefTableKernels {
  xenGrefAt(table: number, gref: number, writes: number): number;
  xenGrefInsert(table: number, gref: number, address: number): number;
  xenGrefRemove(table: number, gref: number): number;
}

/** Makes an empty table of mapped pages in the region `name`. @throws RingwayError `ARENA_FULL` */
export function createGrefTable(arena: Arena, name: string): number {
  const table = arena.allocate(name, GREFTABLE_BYTES);
  arena.u32[(table + GREFTABLE_SEED) >>> 2] = randomInt(2 ** 32);
  return table;
}

/** Says how a page is mapped in the way that a table has it. */
export function tableEntry(address: number, readonly: boolean): number {
  return readonly ? (address | GREFTABLE_READONLY) >>> 0 : address;
}

/**
 * Has one direction of a backend's queue keep what it maps: the frontend uses the same grants again and again, and does not end
 * them. What is copied by a reference for the first time is mapped for the next.
 * @param queue address of the direction's state.
 * @param most mappings at most, 1 to 1,024: the slots of its ring, and a few.
 * @returns what takes all mappings away, when nobody serves the queue any more.
 */
export function keepGrants(
  arena: Arena,
  hypervisor: Hypervisor,
  { queue, name, slots }: { readonly queue: number; readonly name: string; readonly slots: number },
): () => void {
  const most = Math.min(slots, GREFTABLE_MAX);
  const undo: (() => void)[] = [];
  try {
    const pages = hypervisor.takePages(most);
    undo.push(() => hypervisor.freePages(pages));
    const table = createGrefTable(arena, `${name} table`);
    undo.push(() => arena.release(`${name} table`));
    const wanted = arena.allocate(`${name} wanted`, WANTED_HANDLES + most * 4);
    undo.push(() => arena.release(`${name} wanted`));
    const { u32 } = arena;
    u32[(wanted + WANTED_MOST) >>> 2] = most;
    u32[(wanted + WANTED_PAGES) >>> 2] = pages;
    undo.push(() => {
      const mapped = u32[(wanted + WANTED_MAPPED) >>> 2] ?? 0;
      const words = u32.subarray((wanted + WANTED_HANDLES) >>> 2, ((wanted + WANTED_HANDLES) >>> 2) + mapped);
      const handles = [...words].filter((handle) => handle !== 0).map((handle) => handle - 1);
      if (handles.length > 0) hypervisor.unmap(handles);
    });
    u32[(queue + VIFQ_TABLE) >>> 2] = table;
    u32[(queue + VIFQ_WANTED) >>> 2] = wanted;
  } catch (error) {
    for (const step of undo.reverse()) step();
    throw error;
  }
  return () => {
    for (const step of undo.reverse()) step();
  };
}

/**
 * Maps what a burst wanted, on the thread that serves the queue. Each reference is tried once or a few times, and uses up a place
 * even when it fails, so that a frontend that names ever new ones is soon left to copies.
 */
export function wantedMapper(arena: Arena, access: DataAccess, queue: number, readonly: boolean): () => void {
  const { u32 } = arena;
  const get = (address: number): number => u32[address >>> 2] ?? 0;
  const wanted = get(queue + VIFQ_WANTED);
  if (wanted === 0) return () => {};
  const table = get(queue + VIFQ_TABLE);
  const domid = get(queue + VIFQ_DOMID);
  const pages = get(wanted + WANTED_PAGES);
  const { xenGrefInsert } = arena.kernels<GrefTableKernels>();
  return () => {
    const count = get(wanted + WANTED_COUNT);
    if (count === 0) return;
    u32[(wanted + WANTED_COUNT) >>> 2] = 0;
    const from = (wanted + WANTED_GREFS) >>> 2;
    const refs = [...new Set(u32.subarray(from, from + count))];
    const first = get(wanted + WANTED_MAPPED);
    const mapped = access.map(
      refs.map((ref) => ({ domid, ref, readonly })),
      pages + first * XEN_PAGE_BYTES,
    );
    for (const [i, { status, handle, address }] of mapped.entries()) {
      const isKept = status === 0 && xenGrefInsert(table, refs[i] ?? 0, tableEntry(address, readonly)) !== 0;
      if (status === 0 && !isKept) access.unmap([handle]);
      u32[((wanted + WANTED_HANDLES) >>> 2) + first + i] = isKept ? handle + 1 : 0;
    }
    u32[(wanted + WANTED_MAPPED) >>> 2] = first + mapped.length;
  };
}
