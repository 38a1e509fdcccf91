// What either layout does, by the layout of the queue: for kernels that work on both.

import { chainAt } from './chain.kernel.ts';
import { isTracked, untrackTaken } from './inflight.kernel.ts';
import { CHAIN_ID, USED_SHIFT, VQ_F_PACKED, VQ_FREE, VQ_ID_COUNT, VQ_SIZE, VQ_TAKE, VQ_TAKE_WRAP } from './layout.ts';
import { isLogged, logUsed } from './log.kernel.ts';
import { giveBack as packedReturn, take as packedTake } from './packed.kernel.ts';
import { add as packedAdd, poll as packedPoll } from './packed-driver.kernel.ts';
import { giveBack as splitReturn, take as splitTake } from './split.kernel.ts';
import { add as splitAdd, poll as splitPoll } from './split-driver.kernel.ts';
import { hasFeature, idEntry } from './state.kernel.ts';

/** `take` of the queue's layout. */
export function takeAny(queue: u32, list: u32, max: u32): u32 {
  return hasFeature(queue, VQ_F_PACKED) ? packedTake(queue, list, max) : splitTake(queue, list, max);
}

/** Writes record `i`: chain `id`, of whose bytes so many were written. */
export function writeRecord(records: u32, i: u32, id: u32, written: u32): void {
  store<u64>(records + (i << USED_SHIFT), ((<u64>written) << 32) | id);
}

/** `giveBack` of the queue's layout. */
export function returnAny(queue: u32, used: u32, n: u32): u32 {
  return hasFeature(queue, VQ_F_PACKED) ? packedReturn(queue, used, n) : splitReturn(queue, used, n);
}

/** `returnAny` of the `n` chains from `first` on of the list, into which the records say how much was written. */
export function returnWritten(queue: u32, list: u32, first: u32, used: u32, n: u32): u32 {
  if (isLogged(queue)) logUsed(queue, list, first, used, n);
  return returnAny(queue, used, n);
}

/** `add` of the queue's layout. */
export function addAny(queue: u32, list: u32, n: u32): u32 {
  return hasFeature(queue, VQ_F_PACKED) ? packedAdd(queue, list, n) : splitAdd(queue, list, n);
}

/** `poll` of the queue's layout. */
export function pollAny(queue: u32, target: u32, max: u32): u32 {
  return hasFeature(queue, VQ_F_PACKED) ? packedPoll(queue, target, max) : splitPoll(queue, target, max);
}

/**
 * Gives up chains `from` to `to` of the list, which were the last that `take` took: the next call takes them anew. Only
 * our own state says that they were taken, so nobody sees it. Device only.
 */
export function putBack(queue: u32, list: u32, from: u32, to: u32): void {
  const again = isTracked(queue) ? untrackTaken(queue, list, from, to) : 0;
  let free: u32 = 0;
  let count: u32 = 0;
  for (let i = from; i < to; i++) {
    const entry = idEntry(queue, load<u32>(chainAt(list, i), CHAIN_ID));
    free += load<u32>(entry, VQ_ID_COUNT);
    if (i >= again) count += load<u32>(entry, VQ_ID_COUNT);
    store<u32>(entry, 0, VQ_ID_COUNT);
  }
  store<u32>(queue, load<u32>(queue, VQ_FREE) + free, VQ_FREE);
  const place = load<u32>(queue, VQ_TAKE);
  if (!hasFeature(queue, VQ_F_PACKED)) {
    store<u32>(queue, (place - count) & 0xffff, VQ_TAKE);
  } else if (count <= place) {
    store<u32>(queue, place - count, VQ_TAKE);
  } else {
    store<u32>(queue, place + load<u32>(queue, VQ_SIZE) - count, VQ_TAKE);
    store<u32>(queue, load<u32>(queue, VQ_TAKE_WRAP) ^ 1, VQ_TAKE_WRAP);
  }
}
