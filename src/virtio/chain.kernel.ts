import {
  CHAIN_ID,
  CHAIN_READABLE,
  CHAIN_READABLE_BYTES,
  CHAIN_SEGMENTS,
  CHAIN_SHIFT,
  CHAIN_WRITABLE,
  CHAIN_WRITABLE_BYTES,
  LIST_FIRST,
  LIST_SEGMENTS,
  LIST_SEGMENTS_ADDRESS,
  LIST_SEGMENTS_USED,
  SEGMENT_ADDRESS,
  SEGMENT_LENGTH,
  SEGMENT_SHIFT,
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_SHIFT,
  VQ_BROKEN_ADDRESS,
  VQ_BROKEN_CHAIN,
  VQ_BROKEN_INDIRECT,
  VQ_BROKEN_LENGTH,
  VQ_BROKEN_ORDER,
  VQ_CHAIN_MAX,
  VQ_F_INDIRECT_DESC,
  VQ_FREE,
  VQ_ID_COUNT,
  VQ_REGIONS,
} from './layout.ts';
import { hasFeature, idEntry } from './state.kernel.ts';
import { translate } from './translate.kernel.ts';

/** The list has no room for the chain now; the next call finds it again. Above every VQ_BROKEN_…. */
export const NO_ROOM: u32 = 255;

/** Address of chain `index` of the list. */
export function chainAt(list: u32, index: u32): u32 {
  return list + LIST_FIRST + (index << CHAIN_SHIFT);
}

/** Starts chain `index` of the list, behind the segments of those before it. Returns its address. */
export function openChain(list: u32, index: u32): u32 {
  const chain = chainAt(list, index);
  const used = load<u32>(list, LIST_SEGMENTS_USED);
  store<u32>(chain, load<u32>(list, LIST_SEGMENTS_ADDRESS) + (used << SEGMENT_SHIFT), CHAIN_SEGMENTS);
  store<u32>(chain, 0, CHAIN_READABLE);
  store<u32>(chain, 0, CHAIN_WRITABLE);
  store<u32>(chain, 0, CHAIN_READABLE_BYTES);
  store<u32>(chain, 0, CHAIN_WRITABLE_BYTES);
  return chain;
}

/** Appends the `length` bytes at `guest` to the chain that is open. Returns 0, a VQ_BROKEN_… code or NO_ROOM. */
export function addSegment(queue: u32, list: u32, chain: u32, guest: u64, length: u32, writable: bool): u32 {
  const readables = load<u32>(chain, CHAIN_READABLE);
  const writables = load<u32>(chain, CHAIN_WRITABLE);
  const count = readables + writables;
  // 2.6.5.2: no chain is longer than the queue, or what we bear with in its place. This ends the walk over a loop.
  if (count === load<u32>(queue, VQ_CHAIN_MAX)) return VQ_BROKEN_CHAIN;
  // 2.6.4.2, 2.7.17: what the device writes comes last.
  if (!writable && writables > 0) return VQ_BROKEN_ORDER;
  const address = translate(load<u32>(queue, VQ_REGIONS), guest, length);
  if (address === 0) return VQ_BROKEN_ADDRESS;
  const read = load<u32>(chain, CHAIN_READABLE_BYTES);
  const written = load<u32>(chain, CHAIN_WRITABLE_BYTES);
  // 2.6.5.2, 2.7.17: at most 2^32 bytes in all; here less, so that sums fit their words.
  if (length > ~(read + written)) return VQ_BROKEN_LENGTH;
  if (load<u32>(list, LIST_SEGMENTS_USED) + count === load<u32>(list, LIST_SEGMENTS)) return NO_ROOM;
  const segment = load<u32>(chain, CHAIN_SEGMENTS) + (count << SEGMENT_SHIFT);
  store<u32>(segment, address, SEGMENT_ADDRESS);
  store<u32>(segment, length, SEGMENT_LENGTH);
  if (writable) {
    store<u32>(chain, writables + 1, CHAIN_WRITABLE);
    store<u32>(chain, written + length, CHAIN_WRITABLE_BYTES);
  } else {
    store<u32>(chain, readables + 1, CHAIN_READABLE);
    store<u32>(chain, read + length, CHAIN_READABLE_BYTES);
  }
  return 0;
}

/** Arena address of the indirect table that a descriptor with `flags` refers to; a VQ_BROKEN_… code if it may not. */
export function openTable(queue: u32, guest: u64, length: u32, flags: u32): u32 {
  // 2.6.5.3.1, 2.7.19: only when negotiated, and never with NEXT. 2.6.5.3: a whole number of descriptors.
  if (!hasFeature(queue, VQ_F_INDIRECT_DESC) || flags & VIRTQ_DESC_F_NEXT) return VQ_BROKEN_INDIRECT;
  if (length === 0 || length & ((1 << VIRTQ_DESC_SHIFT) - 1)) return VQ_BROKEN_INDIRECT;
  const table = translate(load<u32>(queue, VQ_REGIONS), guest, length);
  return table === 0 ? VQ_BROKEN_ADDRESS : table;
}

/** 2.6.5.3.1, 2.7.19: tables do not nest. Returns 0 or the code. */
export function checkNesting(flags: u32): u32 {
  return flags & VIRTQ_DESC_F_INDIRECT ? VQ_BROKEN_INDIRECT : 0;
}

/** Ends the chain: `id` is out now, with `count` descriptors, until the device returns it. */
export function closeChain(queue: u32, list: u32, chain: u32, id: u32, count: u32): void {
  store<u32>(chain, id, CHAIN_ID);
  const segments = load<u32>(chain, CHAIN_READABLE) + load<u32>(chain, CHAIN_WRITABLE);
  store<u32>(list, load<u32>(list, LIST_SEGMENTS_USED) + segments, LIST_SEGMENTS_USED);
  holdId(queue, id, count, load<u32>(chain, CHAIN_WRITABLE_BYTES));
  store<u32>(queue, load<u32>(queue, VQ_FREE) - count, VQ_FREE);
}

/** `id` is out, with `count` descriptors and `writable` bytes to write. */
export function holdId(queue: u32, id: u32, count: u32, writable: u32): void {
  store<u64>(idEntry(queue, id), ((<u64>writable) << 32) | count, VQ_ID_COUNT);
}

/** Address of the list's first free segment. */
export function freeSegment(list: u32): u32 {
  return load<u32>(list, LIST_SEGMENTS_ADDRESS) + (load<u32>(list, LIST_SEGMENTS_USED) << SEGMENT_SHIFT);
}

/** Writes a whole chain of one segment: most are. */
export function writeSimpleChain(chain: u32, segment: u32, id: u32, address: u32, length: u32, writable: u32): void {
  store<u64>(segment, ((<u64>length) << 32) | address, SEGMENT_ADDRESS);
  store<u64>(chain, ((<u64>segment) << 32) | id, CHAIN_ID);
  // One of the two kinds is there: 1 segment or none, `length` bytes or none, in the upper half when writable.
  const shift: u64 = writable << 5;
  store<u64>(chain, (<u64>1) << shift, CHAIN_READABLE);
  store<u64>(chain, (<u64>length) << shift, CHAIN_READABLE_BYTES);
}
