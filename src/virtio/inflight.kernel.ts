// Keeps the inflight region as it has to be at every moment: the device may be killed between any two writes, and who comes
// after it has the ring and the region alone. The order of writes is the one that vhost-user has; plain writes keep it.

import { chainAt } from './chain.kernel.ts';
import {
  CHAIN_ID,
  INFLIGHT_COUNTER,
  INFLIGHT_INFLIGHT,
  INFLIGHT_PACKED,
  INFLIGHT_PACKED_ADDR,
  INFLIGHT_PACKED_FREE,
  INFLIGHT_PACKED_LAST,
  INFLIGHT_PACKED_NEXT,
  INFLIGHT_PACKED_NUM,
  INFLIGHT_PACKED_OLD_FREE,
  INFLIGHT_PACKED_REST,
  INFLIGHT_PACKED_SHIFT,
  INFLIGHT_PLACES,
  INFLIGHT_SPLIT,
  INFLIGHT_SPLIT_LAST_HEAD,
  INFLIGHT_SPLIT_NEXT,
  INFLIGHT_SPLIT_SHIFT,
  INFLIGHT_SPLIT_USED_IDX,
  USED_ID,
  USED_SHIFT,
  VIRTQ_DESC_ADDR,
  VIRTQ_DESC_LEN,
  VIRTQ_DESC_SHIFT,
  VQ_AGAIN,
  VQ_BROKEN_INFLIGHT,
  VQ_COUNTER,
  VQ_DESCRIPTORS,
  VQ_F_PACKED,
  VQ_GIVE,
  VQ_GIVE_WRAP,
  VQ_ID_COUNT,
  VQ_ID_LAST,
  VQ_ID_NEXT,
  VQ_INFLIGHT,
  VQ_SIZE,
  VQ_TOOK_AGAIN,
} from './layout.ts';
import { hasFeature, idEntry, latch } from './state.kernel.ts';

/** True while chains are tracked. */
export function isTracked(queue: u32): bool {
  return load<u32>(queue, VQ_INFLIGHT) !== 0;
}

function splitEntry(region: u32, head: u32): u32 {
  return region + INFLIGHT_SPLIT + (head << INFLIGHT_SPLIT_SHIFT);
}

/** Address of entry `index` of a packed queue's region. The index is below the queue's size. */
export function packedEntry(region: u32, index: u32): u32 {
  return region + INFLIGHT_PACKED + (index << INFLIGHT_PACKED_SHIFT);
}

function usedId(used: u32, i: u32): u32 {
  return load<u32>(used + (i << USED_SHIFT), USED_ID);
}

/** The chain whose first entry is `entry` is inflight, after all that were before. */
function open(queue: u32, entry: u32): void {
  const counter = load<u64>(queue, VQ_COUNTER);
  store<u64>(entry, counter, INFLIGHT_COUNTER);
  store<u64>(queue, counter + 1, VQ_COUNTER);
  store<u8>(entry, 1, INFLIGHT_INFLIGHT);
}

// ---------------------------------------------------------------- split

/** Tracks chains `from` to `n` of the list, which were taken just now. */
export function trackSplit(queue: u32, list: u32, from: u32, n: u32): void {
  const region = load<u32>(queue, VQ_INFLIGHT);
  for (let i = from; i < n; i++) open(queue, splitEntry(region, load<u32>(chainAt(list, i), CHAIN_ID)));
}

/** Before the used index moves: links the batch, of which only the index says whether it was returned. */
export function linkSplit(queue: u32, used: u32, n: u32): void {
  const region = load<u32>(queue, VQ_INFLIGHT);
  for (let i: u32 = 0; i < n; i++) {
    const head = usedId(used, i);
    store<u16>(splitEntry(region, head), load<u16>(region, INFLIGHT_SPLIT_LAST_HEAD), INFLIGHT_SPLIT_NEXT);
    store<u16>(region, <u16>head, INFLIGHT_SPLIT_LAST_HEAD);
  }
}

/** After the used index moved: the batch is not inflight any more. */
export function settleSplit(queue: u32, used: u32, n: u32): void {
  const region = load<u32>(queue, VQ_INFLIGHT);
  for (let i: u32 = 0; i < n; i++) store<u8>(splitEntry(region, usedId(used, i)), 0, INFLIGHT_INFLIGHT);
  atomic.store<u16>(region, <u16>load<u32>(queue, VQ_GIVE), INFLIGHT_SPLIT_USED_IDX);
}

// ---------------------------------------------------------------- packed

/** Copies the `count` descriptors from `place` on into free entries. Returns false when a link leads nowhere. */
function trackChain(queue: u32, region: u32, id: u32, count: u32, place: u32): bool {
  const size = load<u32>(queue, VQ_SIZE);
  const first = <u32>load<u16>(region, INFLIGHT_PACKED_FREE);
  let last = first;
  let next = first;
  for (let i: u32 = 0; i < count; i++) {
    // Links are in shared memory: whatever they are, they do not leave the region.
    if (next >= size) return false;
    const entry = packedEntry(region, next);
    if (i === 0) {
      store<u16>(entry, <u16>count, INFLIGHT_PACKED_NUM);
      open(queue, entry);
    }
    // Read once more, for whoever takes the chain again, who checks it as if it had never been checked.
    const descriptor = load<u32>(queue, VQ_DESCRIPTORS) + (place << VIRTQ_DESC_SHIFT);
    store<u64>(entry, load<u64>(descriptor, VIRTQ_DESC_ADDR), INFLIGHT_PACKED_ADDR);
    store<u64>(entry, rotr<u64>(load<u64>(descriptor, VIRTQ_DESC_LEN), 32), INFLIGHT_PACKED_REST);
    last = next;
    next = load<u16>(entry, INFLIGHT_PACKED_NEXT);
    place = place + 1 === size ? 0 : place + 1;
  }
  store<u16>(packedEntry(region, first), <u16>last, INFLIGHT_PACKED_LAST);
  store<u16>(region, <u16>next, INFLIGHT_PACKED_FREE);
  // Until now the entries are free ones, which are not inflight whatever they say.
  store<u16>(region, <u16>next, INFLIGHT_PACKED_OLD_FREE);
  store<u32>(idEntry(queue, id), first | (last << 16), VQ_ID_LAST);
  return true;
}

/**
 * Tracks chains `from` to `n` of the list, which were taken just now, from `place` on. Returns the first that could not be
 * tracked, or `n`.
 */
export function trackPacked(queue: u32, list: u32, from: u32, n: u32, place: u32): u32 {
  const size = load<u32>(queue, VQ_SIZE);
  const region = load<u32>(queue, VQ_INFLIGHT);
  for (let i = from; i < n; i++) {
    const id = load<u32>(chainAt(list, i), CHAIN_ID);
    const count = load<u32>(idEntry(queue, id), VQ_ID_COUNT);
    if (!trackChain(queue, region, id, count, place)) {
      latch(queue, VQ_BROKEN_INFLIGHT);
      return i;
    }
    place += count;
    if (place >= size) place -= size;
  }
  return n;
}

/** Puts the entries of the chain under `id` in front of the free ones. */
function freeEntries(queue: u32, region: u32, id: u32): void {
  const entries = load<u32>(idEntry(queue, id), VQ_ID_LAST);
  store<u16>(packedEntry(region, entries >> 16), load<u16>(region, INFLIGHT_PACKED_FREE), INFLIGHT_PACKED_NEXT);
  store<u16>(region, <u16>entries, INFLIGHT_PACKED_FREE);
}

/** The used place and its wrap counter, and the old ones, in one write: they are never seen half changed. */
function storePlaces(queue: u32, place: u32, wrap: u32): void {
  const now = <u64>load<u32>(queue, VQ_GIVE) | ((<u64>load<u32>(queue, VQ_GIVE_WRAP)) << 32);
  store<u64>(load<u32>(queue, VQ_INFLIGHT), now | ((<u64>place) << 16) | ((<u64>wrap) << 40), INFLIGHT_PLACES);
}

/** Before the batch is published: says where it will end, and that it began at `place`, whose descriptor tells the rest. */
export function linkPacked(queue: u32, used: u32, n: u32, place: u32, wrap: u32): void {
  const region = load<u32>(queue, VQ_INFLIGHT);
  for (let i: u32 = 0; i < n; i++) freeEntries(queue, region, usedId(used, i));
  storePlaces(queue, place, wrap);
}

function firstEntry(queue: u32, region: u32, id: u32): u32 {
  return packedEntry(region, load<u32>(idEntry(queue, id), VQ_ID_LAST) & 0xffff);
}

/** After the batch was published: it is not inflight any more. */
export function settlePacked(queue: u32, used: u32, n: u32): void {
  const region = load<u32>(queue, VQ_INFLIGHT);
  for (let i: u32 = 0; i < n; i++) store<u8>(firstEntry(queue, region, usedId(used, i)), 0, INFLIGHT_INFLIGHT);
  store<u16>(region, load<u16>(region, INFLIGHT_PACKED_FREE), INFLIGHT_PACKED_OLD_FREE);
  storePlaces(queue, load<u32>(queue, VQ_GIVE), load<u32>(queue, VQ_GIVE_WRAP));
}

// ---------------------------------------------------------------- both

/** Removes the chain under `id`, which was the last that was tracked: it is available again. */
function untrack(queue: u32, id: u32): void {
  const region = load<u32>(queue, VQ_INFLIGHT);
  if (!hasFeature(queue, VQ_F_PACKED)) {
    store<u8>(splitEntry(region, id), 0, INFLIGHT_INFLIGHT);
    return;
  }
  freeEntries(queue, region, id);
  store<u16>(region, load<u16>(region, INFLIGHT_PACKED_FREE), INFLIGHT_PACKED_OLD_FREE);
  store<u8>(firstEntry(queue, region, id), 0, INFLIGHT_INFLIGHT);
}

/**
 * Gives up chains `from` to `to` of the list, the last that `take` took. Returns how many of the list were taken again:
 * those stay inflight, and are to be taken once more.
 */
export function untrackTaken(queue: u32, list: u32, from: u32, to: u32): u32 {
  const again = load<u32>(queue, VQ_TOOK_AGAIN);
  const packed = hasFeature(queue, VQ_F_PACKED);
  // The last first: those that are inflight are always the ones that were taken first.
  for (let i = to; i > from; i--) {
    const id = load<u32>(chainAt(list, i - 1), CHAIN_ID);
    if (i > again) {
      untrack(queue, id);
      continue;
    }
    const index = packed ? load<u32>(idEntry(queue, id), VQ_ID_LAST) & 0xffff : id;
    store<u32>(idEntry(queue, index), load<u32>(queue, VQ_AGAIN), VQ_ID_NEXT);
    store<u32>(queue, index + 1, VQ_AGAIN);
  }
  return again;
}

/** The entry whose chain is to be taken again next, plus 1; 0 when there is none. */
export function nextAgain(queue: u32): u32 {
  return load<u32>(queue, VQ_AGAIN);
}

/** `take` begins, with no chain taken again. */
export function beginTake(queue: u32): void {
  store<u32>(queue, 0, VQ_TOOK_AGAIN);
}

/** The chain of the entry that `nextAgain` named was taken, as the `n`th of its list. */
export function tookAgain(queue: u32, n: u32): void {
  store<u32>(queue, load<u32>(idEntry(queue, load<u32>(queue, VQ_AGAIN) - 1), VQ_ID_NEXT), VQ_AGAIN);
  store<u32>(queue, n, VQ_TOOK_AGAIN);
}
