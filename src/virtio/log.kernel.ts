// The dirty log of vhost: while a virtual machine migrates, every page that the device writes is marked after the write.

import { chainAt } from './chain.kernel.ts';
import {
  CHAIN_READABLE,
  CHAIN_SEGMENTS,
  CHAIN_WRITABLE_BYTES,
  LOG_BITMAP,
  LOG_BYTES,
  LOG_PAGE_SHIFT,
  SEGMENT_ADDRESS,
  SEGMENT_LENGTH,
  SEGMENT_SHIFT,
  USED_LENGTH,
  USED_SHIFT,
  VIRTQ_AREA_IDX,
  VIRTQ_AREA_RING,
  VIRTQ_DESC_SHIFT,
  VIRTQ_USED_ENTRY_SHIFT,
  VQ_DESCRIPTORS,
  VQ_LOG,
  VQ_OWN_AREA,
  VQ_REGIONS,
  VQ_SIZE,
} from './layout.ts';
import { untranslate } from './translate.kernel.ts';

/** True while what the device writes is to be marked. */
export function isLogged(queue: u32): bool {
  return load<u32>(queue, VQ_LOG) !== 0;
}

/** Marks the pages of the `length` bytes at arena address `address`, which lie in one region. The queue has a log. */
export function logBytes(queue: u32, address: u32, length: u32): void {
  if (length === 0) return;
  const log = load<u32>(queue, VQ_LOG);
  const bitmap = load<u32>(log, LOG_BITMAP);
  const guest = untranslate(load<u32>(queue, VQ_REGIONS), address);
  const last = (guest + length - 1) >> LOG_PAGE_SHIFT;
  const end = (<u64>load<u32>(log, LOG_BYTES)) << 3;
  // Behind the end of the log there are no pages, as far as who gave it is concerned.
  for (let page = guest >> LOG_PAGE_SHIFT; page <= last && page < end; page++) {
    // The other side takes bits at the same time. Also where the bit is set: it may have been taken before our write.
    const bit: u32 = 1 << (<u32>page & 7);
    atomic.or<u8>(bitmap + <u32>(page >> 3), <u8>bit);
  }
}

/** Marks the first `bytes` writable bytes of the chain, which has so many. */
function logChain(queue: u32, chain: u32, bytes: u32): void {
  let segment = load<u32>(chain, CHAIN_SEGMENTS) + (load<u32>(chain, CHAIN_READABLE) << SEGMENT_SHIFT);
  let left = bytes;
  while (left > 0) {
    const n = min(left, load<u32>(segment, SEGMENT_LENGTH));
    logBytes(queue, load<u32>(segment, SEGMENT_ADDRESS), n);
    left -= n;
    segment += 1 << SEGMENT_SHIFT;
  }
}

/** Marks what the `n` records at `used` say was written into chains `first` and on of the list. */
export function logUsed(queue: u32, list: u32, first: u32, used: u32, n: u32): void {
  for (let i: u32 = 0; i < n; i++) {
    logChain(queue, chainAt(list, first + i), load<u32>(used + (i << USED_SHIFT), USED_LENGTH));
  }
}

/** Marks all that may have been written into the first `n` chains of the list, if the queue has a log. */
export function logWritten(queue: u32, list: u32, n: u32): void {
  if (!isLogged(queue)) return;
  for (let i: u32 = 0; i < n; i++) {
    const chain = chainAt(list, i);
    logChain(queue, chain, load<u32>(chain, CHAIN_WRITABLE_BYTES));
  }
}

/** Marks `n` (up to the size) elements of `shift` bytes each from `place` of the array at `base` on, going round. */
function logElements(queue: u32, base: u32, place: u32, n: u32, shift: u32): void {
  const straight = min(n, load<u32>(queue, VQ_SIZE) - place);
  logBytes(queue, base + (place << shift), straight << shift);
  logBytes(queue, base, (n - straight) << shift);
}

/** Marks the `n` used elements behind the free-running index `from`, and the index. Split. */
export function logUsedElements(queue: u32, from: u32, n: u32): void {
  const area = load<u32>(queue, VQ_OWN_AREA);
  const place = from & (load<u32>(queue, VQ_SIZE) - 1);
  logElements(queue, area + VIRTQ_AREA_RING, place, n, VIRTQ_USED_ENTRY_SHIFT);
  logBytes(queue, area + VIRTQ_AREA_IDX, 2);
}

/** Marks the `n` descriptors from `place` on, some of which are used now. Packed. */
export function logUsedDescriptors(queue: u32, place: u32, n: u32): void {
  logElements(queue, load<u32>(queue, VQ_DESCRIPTORS), place, n, VIRTQ_DESC_SHIFT);
}
