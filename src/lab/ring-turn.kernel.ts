import { chainAt } from '../virtio/chain.kernel.ts';
import { CHAIN_ID, USED_SHIFT, VQ_FREE, VQ_SIZE } from '../virtio/layout.ts';
import { addAny, pollAny, returnAny, takeAny } from '../virtio/side.kernel.ts';

/** Used chains that a driver takes back at once. */
const POLL_MAX: u32 = 64;

/**
 * A driver's turn without payload: adds the `n` chains of the list, as many as find room, and, when a quarter of the ring is
 * left, takes back used ones as records to `records` (64 of them). Returns how many were added.
 */
export function drive(queue: u32, list: u32, records: u32, n: u32): u32 {
  while (load<u32>(queue, VQ_FREE) <= load<u32>(queue, VQ_SIZE) >> 2) {
    if (pollAny(queue, records, POLL_MAX) < POLL_MAX) break;
  }
  return addAny(queue, list, n);
}

/** A device's turn without payload: takes up to `max` chains and returns them, read and not written. Returns how many. */
export function serve(queue: u32, list: u32, records: u32, max: u32): u32 {
  const n = takeAny(queue, list, max);
  for (let i: u32 = 0; i < n; i++) {
    store<u64>(records + (i << USED_SHIFT), load<u32>(chainAt(list, i), CHAIN_ID));
  }
  returnAny(queue, records, n);
  return n;
}
