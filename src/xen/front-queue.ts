import type { Arena } from '../memory/arena.ts';
import { type DataRing, setDataRing } from './data-ring.ts';
import {
  RECENT_BYTES,
  VIFQ_FREE,
  VIFQ_FREE_COUNT,
  VIFQ_GREFS,
  VIFQ_LENT,
  VIFQ_OTHER,
  VIFQ_OUT,
  VIFQ_PAGES,
} from './queue-layout.ts';
import { type StagingBuffers, setStaging } from './staging.ts';
import { type MadeVifQueue, makeVifState, type VifQueueOptions } from './vif-queue.ts';

/** Pages of one direction of the frontend, one for each slot, and what they are granted by. */
export interface FrontPages {
  /** The first of `slots` pages that follow each other. */
  readonly address: number;
  readonly refs: readonly number[];
}

/** What a frontend's queue is made of. */
export interface FrontQueueOptions extends VifQueueOptions {
  readonly txPages: FrontPages;
  readonly rxPages: FrontPages;
  /** Staging buffers that the backend has been told of. */
  readonly txStaging?: StagingBuffers;
  readonly rxStaging?: StagingBuffers;
  readonly dataRing?: DataRing;
}

/**
 * Makes the frontend's side of a queue: packets are copied to pages and from pages that stay granted as long as it is connected. Its rx
 * ring is filled with requests.
 */
export function createFrontQueue(arena: Arena, options: FrontQueueOptions): MadeVifQueue {
  const state = makeVifState(arena, options);
  const { txQueue, rxQueue, allocate, set, release } = state;
  const { tx, rx, txPages, rxPages, txStaging, rxStaging } = options;
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
  setStaging(arena, state, options);
  if (options.dataRing !== undefined) setDataRing(state, options.dataRing);
  let recent = 0;
  if (txStaging !== undefined && rxStaging !== undefined) {
    recent = allocate('recent', RECENT_BYTES);
    set(txQueue, VIFQ_LENT, allocate('tx lent', tx.slots * 2));
    set(rxQueue, VIFQ_LENT, allocate('rx lent', rx.slots));
    set(txQueue, VIFQ_OTHER, rxQueue);
  }
  arena.kernels<{ xenFrontRefill(queue: number): void }>().xenFrontRefill(rxQueue);
  return { txQueue, rxQueue, recent, release };
}
