import type { Arena } from '../memory/arena.ts';
import { RingwayError } from '../util/errors.ts';
import {
  DATAFRAME_ALIGN_SHIFT,
  DATAHALF_CONS,
  DATAHALF_PROD,
  DATARING_IN,
  DATARING_ORDER,
  DATARING_ORDER_MAX,
  DATARING_ORDER_MIN,
  DATARING_OUT,
  DATARING_REFS,
} from './data-ring-layout.ts';
import type { Hypervisor } from './hypervisor.ts';
import { XEN_PAGE_BYTES } from './layout.ts';
import { VIFQ_DATA, VIFQ_DATA_BASE, VIFQ_DATA_COPIED, VIFQ_DATA_INDEX, VIFQ_DATA_SIZE } from './queue-layout.ts';
import { mapGrants, mapRun, type StagingMemory } from './staging.ts';

/** A data ring, as one end reaches it. */
export interface DataRing {
  /** The index page, and the first byte of `in`. */
  readonly indexes: number;
  readonly bytes: number;
  /** Pages of bytes, both halves together, as a power of two. */
  readonly order: number;
  /** Where this end goes on: its indexes of the two halves. */
  readonly txIndex: number;
  readonly rxIndex: number;
}

/** Pages that a data ring of `order` takes: those of its bytes, and the index page. */
export function dataRingPages(order: number): number {
  return 1 + 2 ** order;
}

/** Makes an empty data ring for the frontend's end. @returns it, and the reference of the index page, which names the others. */
export function makeDataRing(arena: Arena, memory: StagingMemory, order: number): { ring: DataRing; ref: number } {
  const pages = 2 ** order;
  const indexes = memory.alloc(dataRingPages(order));
  const bytes = indexes + XEN_PAGE_BYTES;
  const { u32 } = arena;
  u32[(indexes + DATARING_ORDER) >>> 2] = order;
  for (let i = 0; i < pages; i++) {
    // The half that the backend only reads it cannot write.
    u32[((indexes + DATARING_REFS) >>> 2) + i] = memory.grant(bytes + i * XEN_PAGE_BYTES, i >= pages / 2);
  }
  const ref = memory.grant(indexes, false);
  return { ring: { indexes, bytes, order, txIndex: 0, rxIndex: 0 }, ref };
}

/**
 * Maps the data ring that a frontend offers. The index page is copied before it is looked at.
 * @param path where its reference stands, for what is said of it.
 * @throws RingwayError `BAD_REQUEST` for one that cannot be, `ARENA_FULL` when the map area is too small.
 */
export function mapDataRing(
  arena: Arena,
  hypervisor: Hypervisor,
  { path, domid, ref }: { readonly path: string; readonly domid: number; readonly ref: number },
  undo: (() => void)[],
): DataRing {
  const [indexes = 0] = mapGrants(hypervisor, [{ domid, ref }], undo);
  const page = new DataView(arena.u8.slice(indexes, indexes + XEN_PAGE_BYTES).buffer);
  const read = (at: number): number => page.getUint32(at, true);
  const order = read(DATARING_ORDER);
  if (order < DATARING_ORDER_MIN || order > DATARING_ORDER_MAX) {
    throw new RingwayError(
      'BAD_REQUEST',
      `${path}: a data ring of order ${order}, must be from ${DATARING_ORDER_MIN} to ${DATARING_ORDER_MAX}`,
    );
  }
  // A backend that comes back to a frontend that stayed goes on where it was.
  const txIndex = read(DATARING_OUT + DATAHALF_CONS);
  const rxIndex = read(DATARING_IN + DATAHALF_PROD);
  const unit = 1 << DATAFRAME_ALIGN_SHIFT;
  for (const [name, index] of [
    ['out_cons', txIndex],
    ['in_prod', rxIndex],
  ] as const) {
    if (index % unit === 0) continue;
    throw new RingwayError(
      'BAD_REQUEST',
      `${path}: ${name} of its data ring is ${index}, must be a multiple of ${unit}`,
    );
  }
  const pages = 2 ** order;
  const grants = Array.from({ length: pages }, (_, i) => ({
    domid,
    ref: read(DATARING_REFS + i * 4),
    readonly: i >= pages / 2,
  }));
  const bytes = mapRun(hypervisor, grants, undo, `${path}: the pages of its data ring`);
  return { indexes, bytes, order, txIndex, rxIndex };
}

/** Has a queue's kernels use a data ring: what the frontend sends goes through `out`, what it receives through `in`. */
export function setDataRing(
  {
    txQueue,
    rxQueue,
    set,
  }: {
    readonly txQueue: number;
    readonly rxQueue: number;
    set(queue: number, offset: number, value: number): void;
  },
  { indexes, bytes, order, txIndex, rxIndex }: DataRing,
): void {
  const half = 2 ** (order - 1) * XEN_PAGE_BYTES;
  for (const [queue, place, base, index] of [
    [rxQueue, DATARING_IN, bytes, rxIndex],
    [txQueue, DATARING_OUT, bytes + half, txIndex],
  ] as const) {
    set(queue, VIFQ_DATA, indexes + place);
    set(queue, VIFQ_DATA_BASE, base);
    set(queue, VIFQ_DATA_SIZE, half);
    set(queue, VIFQ_DATA_INDEX, index);
    set(queue, VIFQ_DATA_COPIED, index);
  }
}
