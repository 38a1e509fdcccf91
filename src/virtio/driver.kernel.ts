import { holdId } from './chain.kernel.ts';
import {
  CHAIN_READABLE,
  CHAIN_SEGMENTS,
  CHAIN_WRITABLE,
  CHAIN_WRITABLE_BYTES,
  SEGMENT_ADDRESS,
  SEGMENT_LENGTH,
  SEGMENT_SHIFT,
  USED_ID,
  USED_SHIFT,
  VIRTQ_DESC_ADDR,
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
  VIRTQ_DESC_LEN,
  VIRTQ_DESC_SHIFT,
  VIRTQ_DESC_WORD,
  VQ_BATCH,
  VQ_BATCH_WRITTEN,
  VQ_BROKEN_ID,
  VQ_BROKEN_ID_STATE,
  VQ_BROKEN_LENGTH,
  VQ_FREE,
  VQ_GUEST_OFFSET,
  VQ_ID_COUNT,
  VQ_ID_LAST,
  VQ_ID_NEXT,
  VQ_ID_WRITABLE,
  VQ_ORDER,
  VQ_SIZE,
  VQ_TABLE_ENTRIES,
  VQ_TABLES,
} from './layout.ts';
import { idEntry, latch, release } from './state.kernel.ts';

/** Descriptors of the ring that the chain takes: one when its segments go into a table, else one each. */
export function directCount(queue: u32, chain: u32): u32 {
  const segments = load<u32>(chain, CHAIN_READABLE) + load<u32>(chain, CHAIN_WRITABLE);
  // Ours to keep, 2.6.5.2: a chain has a buffer, and at most as many as the queue has descriptors.
  assert(segments > 0 && segments <= load<u32>(queue, VQ_SIZE));
  return segments > 1 && segments <= load<u32>(queue, VQ_TABLE_ENTRIES) ? 1 : segments;
}

/** Writes address and length of segment `i` of the chain. Returns its flags: 0 or WRITE. */
export function fillDescriptor(queue: u32, chain: u32, i: u32, descriptor: u32): u32 {
  const segment = load<u32>(chain, CHAIN_SEGMENTS) + (i << SEGMENT_SHIFT);
  const guest = load<u64>(queue, VQ_GUEST_OFFSET) + load<u32>(segment, SEGMENT_ADDRESS);
  store<u64>(descriptor, guest, VIRTQ_DESC_ADDR);
  store<u32>(descriptor, load<u32>(segment, SEGMENT_LENGTH), VIRTQ_DESC_LEN);
  return i < load<u32>(chain, CHAIN_READABLE) ? 0 : VIRTQ_DESC_F_WRITE;
}

/**
 * Writes all segments into the indirect table of `id`, and address and length of the table into `descriptor`. Tables are
 * chained by `next` when split (2.6.5.3), read in sequence when packed (2.7.7). Returns the descriptor's flags.
 */
export function fillTable(queue: u32, chain: u32, id: u32, descriptor: u32, chained: bool): u32 {
  const bytes = load<u32>(queue, VQ_TABLE_ENTRIES) << VIRTQ_DESC_SHIFT;
  const table = load<u32>(queue, VQ_TABLES) + id * bytes;
  const segments = load<u32>(chain, CHAIN_READABLE) + load<u32>(chain, CHAIN_WRITABLE);
  for (let i: u32 = 0; i < segments; i++) {
    const inner = table + (i << VIRTQ_DESC_SHIFT);
    const flags = fillDescriptor(queue, chain, i, inner);
    if (!chained) store<u32>(inner, flags << 16, VIRTQ_DESC_WORD);
    else if (i + 1 === segments) store<u32>(inner, flags, VIRTQ_DESC_WORD);
    else store<u32>(inner, flags | VIRTQ_DESC_F_NEXT | ((i + 1) << 16), VIRTQ_DESC_WORD);
  }
  store<u64>(descriptor, load<u64>(queue, VQ_GUEST_OFFSET) + table, VIRTQ_DESC_ADDR);
  store<u32>(descriptor, segments << VIRTQ_DESC_SHIFT, VIRTQ_DESC_LEN);
  return VIRTQ_DESC_F_INDIRECT;
}

/** The chain is out under `id`, in `count` descriptors of which `last` names the last. */
export function outId(queue: u32, chain: u32, id: u32, count: u32, last: u32): void {
  holdId(queue, id, count, load<u32>(chain, CHAIN_WRITABLE_BYTES));
  store<u32>(idEntry(queue, id), last, VQ_ID_LAST);
  store<u32>(queue, load<u32>(queue, VQ_FREE) - count, VQ_FREE);
}

/** Checks a used element. Returns the ring's descriptors that its chain used; 0 when it breaks the queue. */
function checkUsed(queue: u32, id: u32, written: u32): u32 {
  if (id >= load<u32>(queue, VQ_SIZE)) {
    latch(queue, VQ_BROKEN_ID);
    return 0;
  }
  const entry = idEntry(queue, id);
  const count = load<u32>(entry, VQ_ID_COUNT);
  // Never given, or returned before.
  if (count === 0) {
    latch(queue, VQ_BROKEN_ID_STATE);
    return 0;
  }
  // 2.6.8.2: the device does not write more than there is room for.
  if (written > load<u32>(entry, VQ_ID_WRITABLE)) {
    latch(queue, VQ_BROKEN_LENGTH);
    return 0;
  }
  return count;
}

function writeRecord(target: u32, id: u32, written: u32): void {
  store<u64>(target, ((<u64>written) << 32) | id, USED_ID);
}

/**
 * Checks a used element, frees its chain and writes its record to `target`. Returns the ring's descriptors that the chain
 * used; 0 when the element breaks the queue.
 */
export function acceptUsed(queue: u32, id: u32, written: u32, target: u32): u32 {
  const count = checkUsed(queue, id, written);
  if (count === 0) return 0;
  release(queue, id);
  writeRecord(target, id, written);
  return count;
}

/**
 * IN_ORDER: a used element stands for all chains up to the one under `id` (2.6.9, 2.7.8). Returns false when it breaks
 * the queue; else `closeBatch` gives these chains.
 */
export function openBatch(queue: u32, id: u32, written: u32): bool {
  if (checkUsed(queue, id, written) === 0) return false;
  store<u32>(queue, id + 1, VQ_BATCH);
  store<u32>(queue, written, VQ_BATCH_WRITTEN);
  return true;
}

/**
 * IN_ORDER: frees the oldest chains, up to `max` and as far as the open batch goes, and writes their records to `target`.
 * All before its last were used in full. Returns how many.
 */
export function closeBatch(queue: u32, target: u32, max: u32): u32 {
  const last = load<u32>(queue, VQ_BATCH) - 1;
  let id = load<u32>(queue, VQ_ORDER);
  let free = load<u32>(queue, VQ_FREE);
  let n: u32 = 0;
  while (n < max) {
    const entry = idEntry(queue, id);
    const out = load<u64>(entry, VQ_ID_COUNT);
    assert(<u32>out > 0);
    const isLast = id === last;
    store<u32>(entry, 0, VQ_ID_COUNT);
    free += <u32>out;
    writeRecord(target + (n << USED_SHIFT), id, isLast ? load<u32>(queue, VQ_BATCH_WRITTEN) : <u32>(out >> 32));
    id = load<u32>(idEntry(queue, load<u32>(entry, VQ_ID_LAST)), VQ_ID_NEXT);
    n++;
    if (isLast) {
      store<u32>(queue, 0, VQ_BATCH);
      break;
    }
  }
  store<u32>(queue, id, VQ_ORDER);
  store<u32>(queue, free, VQ_FREE);
  return n;
}
