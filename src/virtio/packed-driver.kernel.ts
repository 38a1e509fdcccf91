import { chainAt } from './chain.kernel.ts';
import { acceptUsed, directCount, fillDescriptor, fillTable } from './driver.kernel.ts';
import {
  CHAIN_ID,
  CHAIN_READABLE,
  CHAIN_WRITABLE,
  CHAIN_WRITABLE_BYTES,
  USED_SHIFT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
  VIRTQ_DESC_LEN,
  VIRTQ_DESC_WORD,
  VQ_FREE,
  VQ_FREE_HEAD,
  VQ_GIVE,
  VQ_GIVE_WRAP,
  VQ_ID_COUNT,
  VQ_ID_LAST,
  VQ_ID_NEXT,
  VQ_ID_WRITABLE,
  VQ_TAKE,
  VQ_TAKE_WRAP,
} from './layout.ts';
import { descriptorAt, giveFlags, giveMore, hold, isForUs, publish } from './packed.kernel.ts';
import { advance, idEntry, isBroken } from './state.kernel.ts';

/**
 * Writes the chain under `id` into the `count` descriptors from VQ_GIVE on, and moves VQ_GIVE. `first` holds the word of
 * its first descriptor back: it is the burst's first.
 */
function writeChain(queue: u32, chain: u32, id: u32, count: u32, first: bool): void {
  const segments = load<u32>(chain, CHAIN_READABLE) + load<u32>(chain, CHAIN_WRITABLE);
  for (let i: u32 = 0; i < count; i++) {
    const place = load<u32>(queue, VQ_GIVE);
    const descriptor = descriptorAt(queue, place);
    const filled =
      count < segments ? fillTable(queue, chain, id, descriptor, false) : fillDescriptor(queue, chain, i, descriptor);
    const flags = i + 1 === count ? filled : filled | VIRTQ_DESC_F_NEXT;
    const word = id | (flags << 16) | giveFlags(queue, load<u32>(queue, VQ_GIVE_WRAP));
    if (first && i === 0) hold(queue, place, word);
    else store<u32>(descriptor, word, VIRTQ_DESC_WORD);
    giveMore(queue, 1);
  }
}

/** Takes a free id for the chain. */
function takeId(queue: u32, chain: u32, count: u32): u32 {
  const id = load<u32>(queue, VQ_FREE_HEAD);
  const entry = idEntry(queue, id);
  store<u32>(queue, load<u32>(entry, VQ_ID_NEXT), VQ_FREE_HEAD);
  store<u32>(queue, load<u32>(queue, VQ_FREE) - count, VQ_FREE);
  store<u32>(entry, id, VQ_ID_LAST);
  store<u32>(entry, count, VQ_ID_COUNT);
  store<u32>(entry, load<u32>(chain, CHAIN_WRITABLE_BYTES), VQ_ID_WRITABLE);
  return id;
}

/** Writes up to `n` chains of `list`, and their ids into it; unseen until `publish`. Returns how many fitted. */
export function writeAvailable(queue: u32, list: u32, n: u32): u32 {
  for (let i: u32 = 0; i < n; i++) {
    const chain = chainAt(list, i);
    const count = directCount(queue, chain);
    if (count > load<u32>(queue, VQ_FREE)) return i;
    const id = takeId(queue, chain, count);
    store<u32>(chain, id, CHAIN_ID);
    writeChain(queue, chain, id, count, i === 0);
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
  if (added > 0) publish(queue);
  return added;
}

/** Takes up to `max` used chains as records (id, bytes written) to `target`. Returns how many. Driver only. */
export function poll(queue: u32, target: u32, max: u32): u32 {
  if (isBroken(queue)) return 0;
  let n: u32 = 0;
  while (n < max) {
    const descriptor = descriptorAt(queue, load<u32>(queue, VQ_TAKE));
    // One copy of id and flags; the length is read once, behind it.
    const word = atomic.load<u32>(descriptor, VIRTQ_DESC_WORD);
    if (!isForUs(queue, word, load<u32>(queue, VQ_TAKE_WRAP))) break;
    // 2.7.3: without WRITE the length says nothing.
    const written = (word >> 16) & VIRTQ_DESC_F_WRITE ? load<u32>(descriptor, VIRTQ_DESC_LEN) : 0;
    const count = acceptUsed(queue, word & 0xffff, written, target + (n << USED_SHIFT));
    if (count === 0) break;
    advance(queue, queue + VQ_TAKE, count);
    n++;
  }
  return n;
}
