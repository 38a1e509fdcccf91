import { chainAt } from './chain.kernel.ts';
import { acceptUsed, closeBatch, directCount, fillDescriptor, fillTable, openBatch, outId } from './driver.kernel.ts';
import {
  CHAIN_ID,
  CHAIN_READABLE,
  CHAIN_WRITABLE,
  USED_SHIFT,
  VIRTQ_AREA_IDX,
  VIRTQ_AREA_RING,
  VIRTQ_AVAIL_ENTRY_SHIFT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_SHIFT,
  VIRTQ_DESC_WORD,
  VIRTQ_USED_ENTRY_SHIFT,
  VQ_BATCH,
  VQ_BROKEN_INDEX,
  VQ_DESCRIPTORS,
  VQ_F_IN_ORDER,
  VQ_FREE,
  VQ_FREE_HEAD,
  VQ_GIVE,
  VQ_ID_NEXT,
  VQ_OWN_AREA,
  VQ_PEER_AREA,
  VQ_SIZE,
  VQ_TAKE,
} from './layout.ts';
import { publish } from './split.kernel.ts';
import { hasFeature, idEntry, isBroken, latch } from './state.kernel.ts';

/** Writes the chain into `count` free descriptors. Returns its head. */
function writeChain(queue: u32, chain: u32, count: u32): u32 {
  const table = load<u32>(queue, VQ_DESCRIPTORS);
  const segments = load<u32>(chain, CHAIN_READABLE) + load<u32>(chain, CHAIN_WRITABLE);
  const head = load<u32>(queue, VQ_FREE_HEAD);
  let last = head;
  if (count < segments) {
    const flags = fillTable(queue, chain, head, table + (head << VIRTQ_DESC_SHIFT), true);
    store<u32>(table + (head << VIRTQ_DESC_SHIFT), flags, VIRTQ_DESC_WORD);
  } else {
    for (let i: u32 = 0; ; i++) {
      const descriptor = table + (last << VIRTQ_DESC_SHIFT);
      const flags = fillDescriptor(queue, chain, i, descriptor);
      const next = load<u32>(idEntry(queue, last), VQ_ID_NEXT);
      if (i + 1 === count) {
        store<u32>(descriptor, flags, VIRTQ_DESC_WORD);
        break;
      }
      store<u32>(descriptor, flags | VIRTQ_DESC_F_NEXT | (next << 16), VIRTQ_DESC_WORD);
      last = next;
    }
  }
  store<u32>(queue, load<u32>(idEntry(queue, last), VQ_ID_NEXT), VQ_FREE_HEAD);
  outId(queue, chain, head, count, last);
  return head;
}

/** Writes up to `n` chains of `list` and their available entries; unseen until `publish`. Returns how many fitted. */
export function writeAvailable(queue: u32, list: u32, n: u32): u32 {
  const area = load<u32>(queue, VQ_OWN_AREA);
  const mask = load<u32>(queue, VQ_SIZE) - 1;
  const give = load<u32>(queue, VQ_GIVE);
  for (let i: u32 = 0; i < n; i++) {
    const chain = chainAt(list, i);
    const count = directCount(queue, chain);
    if (count > load<u32>(queue, VQ_FREE)) return i;
    const head = writeChain(queue, chain, count);
    store<u32>(chain, head, CHAIN_ID);
    store<u16>(area + (((give + i) & mask) << VIRTQ_AVAIL_ENTRY_SHIFT), <u16>head, VIRTQ_AREA_RING);
  }
  return n;
}

/**
 * Makes up to `n` chains of `list` available, and writes their ids into it. Returns how many found free descriptors; 0
 * when the queue is broken. Driver only.
 */
export function add(queue: u32, list: u32, n: u32): u32 {
  if (isBroken(queue)) return 0;
  const added = writeAvailable(queue, list, n);
  if (added > 0) publish(queue, added);
  return added;
}

/** Takes up to `max` used chains as records (id, bytes written) to `target`. Returns how many. Driver only. */
export function poll(queue: u32, target: u32, max: u32): u32 {
  if (isBroken(queue)) return 0;
  const size = load<u32>(queue, VQ_SIZE);
  const area = load<u32>(queue, VQ_PEER_AREA);
  const next = load<u32>(queue, VQ_TAKE);
  const ready = (<u32>atomic.load<u16>(area, VIRTQ_AREA_IDX) - next) & 0xffff;
  // 2.6.8: one entry for each chain made available, of which there are never more than descriptors.
  if (ready > size) {
    latch(queue, VQ_BROKEN_INDEX);
    return 0;
  }
  const inOrder = hasFeature(queue, VQ_F_IN_ORDER);
  const limit = min(ready, max);
  let n: u32 = 0;
  while (n < limit) {
    const record = target + (n << USED_SHIFT);
    if (!inOrder || load<u32>(queue, VQ_BATCH) === 0) {
      const element = area + (((next + n) & (size - 1)) << VIRTQ_USED_ENTRY_SHIFT);
      // Copied once: the device may be writing here.
      const copy = load<u64>(element, VIRTQ_AREA_RING);
      if (!inOrder) {
        if (acceptUsed(queue, <u32>copy, <u32>(copy >> 32), record) === 0) break;
        n++;
        continue;
      }
      if (!openBatch(queue, <u32>copy, <u32>(copy >> 32))) break;
    }
    n += closeBatch(queue, record, limit - n);
  }
  // 2.6.9: the index moves by the size of a batch, so no batch reaches past it.
  if (inOrder && n === ready && load<u32>(queue, VQ_BATCH) !== 0) latch(queue, VQ_BROKEN_INDEX);
  store<u32>(queue, (next + n) & 0xffff, VQ_TAKE);
  return n;
}
