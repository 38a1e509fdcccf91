import { chainAt } from './chain.kernel.ts';
import { acceptUsed, closeOldest, directCount, fillDescriptor, fillTable, openBatch, outId } from './driver.kernel.ts';
import {
  CHAIN_ID,
  CHAIN_READABLE,
  CHAIN_WRITABLE,
  USED_SHIFT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
  VIRTQ_DESC_LEN,
  VIRTQ_DESC_WORD,
  VQ_BATCH,
  VQ_F_IN_ORDER,
  VQ_FREE,
  VQ_FREE_HEAD,
  VQ_GIVE,
  VQ_GIVE_WRAP,
  VQ_GIVEN,
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

/** Writes up to `n` chains of `list`, and their ids into it; unseen until `publish`. Returns how many fitted. */
export function writeAvailable(queue: u32, list: u32, n: u32): u32 {
  const free = load<u32>(queue, VQ_FREE);
  let added: u32 = 0;
  while (added < n) {
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
    let count: u32 = 0;
    if (!inOrder || load<u32>(queue, VQ_BATCH) === 0) {
      const descriptor = descriptorAt(queue, place);
      // One copy of id and flags; the length is read once, behind it.
      const word = atomic.load<u32>(descriptor, VIRTQ_DESC_WORD);
      if (!isForUs(word, bits)) break;
      // 2.7.3: without WRITE the length says nothing.
      const written = (word >> 16) & VIRTQ_DESC_F_WRITE ? load<u32>(descriptor, VIRTQ_DESC_LEN) : 0;
      if (!inOrder) {
        count = acceptUsed(queue, word & 0xffff, written, record);
        if (count === 0) break;
      } else if (!openBatch(queue, word & 0xffff, written)) {
        break;
      }
    }
    if (inOrder) count = closeOldest(queue, record);
    n++;
    place += count;
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
