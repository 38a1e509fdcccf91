import { chainAt, holdId } from './chain.kernel.ts';
import { acceptUsed, closeBatch, directCount, fillDescriptor, fillTable, openBatch, outId } from './driver.kernel.ts';
import {
  CHAIN_ID,
  CHAIN_READABLE,
  CHAIN_SEGMENTS,
  CHAIN_WRITABLE,
  CHAIN_WRITABLE_BYTES,
  USED_SHIFT,
  VIRTQ_DESC_ADDR,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
  VIRTQ_DESC_LEN,
  VIRTQ_DESC_SHIFT,
  VIRTQ_DESC_WORD,
  VQ_BATCH,
  VQ_DESCRIPTORS,
  VQ_F_IN_ORDER,
  VQ_FREE,
  VQ_FREE_HEAD,
  VQ_GIVE,
  VQ_GIVE_WRAP,
  VQ_GIVEN,
  VQ_GUEST_OFFSET,
  VQ_ID_LAST,
  VQ_ID_NEXT,
  VQ_SIZE,
  VQ_TAKE,
  VQ_TAKE_WRAP,
} from './layout.ts';
import { descriptorAt, giveBits, hold, isForUs, publish, takeBits } from './packed.kernel.ts';
import { hasFeature, idEntry, isBroken } from './state.kernel.ts';

/**
 * Writes the chain under `id` into the `count` descriptors from VQ_GIVE on, and moves VQ_GIVE. `first` holds the word of
 * its first descriptor back: it is the burst's first.
 */
function writeChain(queue: u32, chain: u32, id: u32, count: u32, first: bool): void {
  const segments = load<u32>(chain, CHAIN_READABLE) + load<u32>(chain, CHAIN_WRITABLE);
  const size = load<u32>(queue, VQ_SIZE);
  let place = load<u32>(queue, VQ_GIVE);
  let wrap = load<u32>(queue, VQ_GIVE_WRAP);
  for (let i: u32 = 0; i < count; i++) {
    const descriptor = descriptorAt(queue, place);
    const filled =
      count < segments ? fillTable(queue, chain, id, descriptor, false) : fillDescriptor(queue, chain, i, descriptor);
    const flags = i + 1 === count ? filled : filled | VIRTQ_DESC_F_NEXT;
    const word = id | (flags << 16) | giveBits(queue, wrap);
    if (first && i === 0) hold(queue, place, word);
    else store<u32>(descriptor, word, VIRTQ_DESC_WORD);
    place++;
    if (place === size) {
      place = 0;
      wrap ^= 1;
    }
  }
  store<u32>(queue, place, VQ_GIVE);
  store<u32>(queue, wrap, VQ_GIVE_WRAP);
}

/**
 * Writes chains `from` to `n` of the list as long as they have one segment each and find a free descriptor, from VQ_GIVE
 * on. Returns the first that does not.
 */
function writeSimple(queue: u32, list: u32, from: u32, n: u32): u32 {
  const size = load<u32>(queue, VQ_SIZE);
  const base = load<u32>(queue, VQ_DESCRIPTORS);
  const end = min(n, from + load<u32>(queue, VQ_FREE));
  let place = load<u32>(queue, VQ_GIVE);
  let wrap = load<u32>(queue, VQ_GIVE_WRAP);
  let bits = giveBits(queue, wrap);
  let id = load<u32>(queue, VQ_FREE_HEAD);
  let i = from;
  while (i < end) {
    const chain = chainAt(list, i);
    // Both counts in one load: the readable one is the lower half.
    const segments = load<u64>(chain, CHAIN_READABLE);
    if (<u32>segments + <u32>(segments >> 32) !== 1) break;
    const entry = idEntry(queue, id);
    const next = load<u32>(entry, VQ_ID_NEXT);
    holdId(queue, id, 1, load<u32>(chain, CHAIN_WRITABLE_BYTES));
    store<u32>(entry, id, VQ_ID_LAST);
    store<u32>(chain, id, CHAIN_ID);
    const descriptor = base + (place << VIRTQ_DESC_SHIFT);
    const segment = load<u64>(load<u32>(chain, CHAIN_SEGMENTS));
    store<u64>(descriptor, load<u64>(queue, VQ_GUEST_OFFSET) + <u64>(<u32>segment), VIRTQ_DESC_ADDR);
    const flags: u32 = segments === 1 ? 0 : VIRTQ_DESC_F_WRITE << 16;
    const word = id | flags | bits;
    if (i === 0) {
      hold(queue, place, word);
      store<u32>(descriptor, <u32>(segment >> 32), VIRTQ_DESC_LEN);
    } else {
      store<u64>(descriptor, ((<u64>word) << 32) | (segment >> 32), VIRTQ_DESC_LEN);
    }
    id = next;
    i++;
    place++;
    if (place === size) {
      place = 0;
      wrap ^= 1;
      bits = giveBits(queue, wrap);
    }
  }
  store<u32>(queue, id, VQ_FREE_HEAD);
  store<u32>(queue, place, VQ_GIVE);
  store<u32>(queue, wrap, VQ_GIVE_WRAP);
  store<u32>(queue, load<u32>(queue, VQ_FREE) - (i - from), VQ_FREE);
  return i;
}

/** Writes up to `n` chains of `list`, and their ids into it; unseen until `publish`. Returns how many fitted. */
export function writeAvailable(queue: u32, list: u32, n: u32): u32 {
  const free = load<u32>(queue, VQ_FREE);
  let added: u32 = 0;
  while (true) {
    added = writeSimple(queue, list, added, n);
    if (added === n) break;
    const chain = chainAt(list, added);
    const count = directCount(queue, chain);
    if (count > load<u32>(queue, VQ_FREE)) break;
    const id = load<u32>(queue, VQ_FREE_HEAD);
    store<u32>(queue, load<u32>(idEntry(queue, id), VQ_ID_NEXT), VQ_FREE_HEAD);
    outId(queue, chain, id, count, id);
    store<u32>(chain, id, CHAIN_ID);
    writeChain(queue, chain, id, count, added === 0);
    added++;
  }
  store<u32>(queue, load<u32>(queue, VQ_GIVEN) + free - load<u32>(queue, VQ_FREE), VQ_GIVEN);
  return added;
}

/**
 * Makes up to `n` chains of `list` available, and writes their ids into it. Returns how many found free descriptors; 0
 * when the queue is broken. Driver only.
 */
export function add(queue: u32, list: u32, n: u32): u32 {
  if (isBroken(queue)) return 0;
  const added = writeAvailable(queue, list, n);
  if (added > 0) publish(queue);
  return added;
}

/** Takes up to `max` used chains as records (id, bytes written) to `target`. Returns how many. Driver only. */
export function poll(queue: u32, target: u32, max: u32): u32 {
  if (isBroken(queue)) return 0;
  const inOrder = hasFeature(queue, VQ_F_IN_ORDER);
  const size = load<u32>(queue, VQ_SIZE);
  let place = load<u32>(queue, VQ_TAKE);
  let wrap = load<u32>(queue, VQ_TAKE_WRAP);
  let bits = takeBits(queue, wrap);
  let n: u32 = 0;
  while (n < max) {
    const record = target + (n << USED_SHIFT);
    const free = load<u32>(queue, VQ_FREE);
    if (!inOrder || load<u32>(queue, VQ_BATCH) === 0) {
      const descriptor = descriptorAt(queue, place);
      // One copy of id and flags; the length is read once, behind it.
      const word = atomic.load<u32>(descriptor, VIRTQ_DESC_WORD);
      if (!isForUs(word, bits)) break;
      // 2.7.3: without WRITE the length says nothing.
      const written = (word >> 16) & VIRTQ_DESC_F_WRITE ? load<u32>(descriptor, VIRTQ_DESC_LEN) : 0;
      const id = word & 0xffff;
      if (!(inOrder ? openBatch(queue, id, written) : acceptUsed(queue, id, written, record) !== 0)) break;
    }
    n += inOrder ? closeBatch(queue, record, max - n) : 1;
    place += load<u32>(queue, VQ_FREE) - free;
    if (place >= size) {
      place -= size;
      wrap ^= 1;
      bits = takeBits(queue, wrap);
    }
  }
  store<u32>(queue, place, VQ_TAKE);
  store<u32>(queue, wrap, VQ_TAKE_WRAP);
  return n;
}
