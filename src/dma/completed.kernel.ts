import { descriptorAt } from './engine.kernel.ts';
import {
  DMA_DESC_STATUS,
  INDEX_MASK,
  STATUS_SUCCESSFUL,
  VCHAN_COMPLETED,
  VCHAN_ERRORS,
  VCHAN_ERRORS_SEEN,
  VCHAN_HAS_ERROR,
  VCHAN_LAST,
  VCHAN_RETURNED,
  VCHAN_SEEN,
} from './layout.ts';

/** How many of `max` operations from `returned` on are completed. */
function ready(vchan: u32, returned: u32, max: u32): u32 {
  let n = load<u32>(vchan, VCHAN_SEEN) - returned;
  if (n < max) {
    const completed = atomic.load<u32>(vchan, VCHAN_COMPLETED);
    store<u32>(vchan, completed, VCHAN_SEEN);
    n = completed - returned;
  }
  return min(n, max);
}

/** Empties the `n` descriptors from `returned` on. Returns `n`. */
function give(vchan: u32, returned: u32, n: u32, hasError: u32): u32 {
  store<u32>(vchan, returned + n, VCHAN_RETURNED);
  store<u32>(vchan, (returned + n - 1) & INDEX_MASK, VCHAN_LAST);
  store<u32>(vchan, hasError, VCHAN_HAS_ERROR);
  return n;
}

/**
 * Gives back up to `max` operations that succeeded, the oldest first, and stops before one that failed: VCHAN_HAS_ERROR
 * is 1 then, and `completedStatus` goes on. Returns how many; VCHAN_LAST is the ring index of the last one ever.
 */
export function completed(vchan: u32, max: u32): u32 {
  const returned = load<u32>(vchan, VCHAN_RETURNED);
  const n = ready(vchan, returned, max);
  // As long as no failure is outstanding, no descriptor is looked at: their lines stay where they are.
  if (load<u32>(vchan, VCHAN_ERRORS) === load<u32>(vchan, VCHAN_ERRORS_SEEN)) return give(vchan, returned, n, 0);
  for (let i: u32 = 0; i < n; i++) {
    const status = load<u32>(descriptorAt(vchan, returned + i), DMA_DESC_STATUS);
    if (status !== STATUS_SUCCESSFUL) return give(vchan, returned, i, 1);
  }
  return give(vchan, returned, n, 0);
}

/**
 * Gives back up to `max` operations, the oldest first, and writes the status of each, one byte, to `statuses`. Returns
 * how many; VCHAN_HAS_ERROR is 1 when some of them failed.
 */
export function completedStatus(vchan: u32, max: u32, statuses: u32): u32 {
  const returned = load<u32>(vchan, VCHAN_RETURNED);
  const n = ready(vchan, returned, max);
  let failed: u32 = 0;
  for (let i: u32 = 0; i < n; i++) {
    const status = load<u32>(descriptorAt(vchan, returned + i), DMA_DESC_STATUS);
    store<u8>(statuses + i, <u8>status);
    if (status !== STATUS_SUCCESSFUL) failed++;
  }
  store<u32>(vchan, load<u32>(vchan, VCHAN_ERRORS_SEEN) + failed, VCHAN_ERRORS_SEEN);
  return give(vchan, returned, n, failed === 0 ? 0 : 1);
}
