import type { Arena } from '../memory/arena.ts';
import { SLOT_SHIFT } from '../memory/layout.ts';
import { type DataRing, setDataRing } from './data-ring.ts';
import type { Hypervisor } from './hypervisor.ts';
import { GRANT_BATCH_MAX, NETRX_BYTES } from './layout.ts';
import {
  GATHER_PACKETS_MAX,
  VIFQ_COPIES,
  VIFQ_DOMID,
  VIFQ_HASH,
  VIFQ_MCAST,
  VIFQ_RECORDS,
  VIFQ_RECORDS_MAX,
  VIFQ_SLOTS,
} from './queue-layout.ts';
import { type StagingBuffers, setStaging } from './staging.ts';
import { type MadeVifQueue, makeVifState, type VifQueueOptions } from './vif-queue.ts';

/** What a backend's queue is made of. */
export interface BackQueueOptions extends VifQueueOptions {
  readonly frontend: number;
  /** Address of multicast addresses that it wants (MCAST_…); whether it wants no others. */
  readonly multicast: number;
  readonly filters: boolean;
  /** Address of what it sets of hashes (VIFHASH_…), or 0. */
  readonly hash: number;
  /** Staging buffers of the frontend, which are mapped. */
  readonly txStaging?: StagingBuffers;
  readonly rxStaging?: StagingBuffers;
  readonly dataRing?: DataRing;
}

/** Makes the backend's side of a queue: it receives what the frontend sends. */
export function createBackQueue(arena: Arena, hypervisor: Hypervisor, options: BackQueueOptions): MadeVifQueue {
  const state = makeVifState(arena, options);
  const { txQueue, rxQueue, keep, allocate, set, release } = state;
  const prepare = (queue: number, what: string) => {
    const batch = keep(`${options.name} ${what} copies`, (region) => hypervisor.createBatch(region, GRANT_BATCH_MAX));
    set(queue, VIFQ_COPIES, batch.address);
    set(queue, VIFQ_DOMID, options.frontend);
    set(queue, VIFQ_RECORDS, allocate(`${what} records`, VIFQ_RECORDS_MAX * NETRX_BYTES));
    const { address, vectors, size } = batch;
    return { address, vectors, size };
  };
  const [txBatch, rxBatch] = [prepare(txQueue, 'tx'), prepare(rxQueue, 'rx')];
  set(txQueue, VIFQ_MCAST, options.multicast);
  if (options.filters) set(rxQueue, VIFQ_MCAST, options.multicast);
  set(rxQueue, VIFQ_HASH, options.hash);
  set(txQueue, VIFQ_SLOTS, allocate('slots', GATHER_PACKETS_MAX << SLOT_SHIFT));
  setStaging(arena, state, options);
  if (options.dataRing !== undefined) setDataRing(state, options.dataRing);
  return { txQueue, rxQueue, txBatch, rxBatch, recent: 0, release };
}
