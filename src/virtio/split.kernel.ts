import {
  addSegment,
  chainAt,
  checkNesting,
  closeChain,
  freeSegment,
  holdId,
  NO_ROOM,
  openChain,
  openTable,
  writeSimpleChain,
} from './chain.kernel.ts';
import { beginTake, isTracked, linkSplit, nextAgain, settleSplit, tookAgain, trackSplit } from './inflight.kernel.ts';
import {
  LIST_CHAINS,
  LIST_SEGMENTS,
  LIST_SEGMENTS_USED,
  USED_SHIFT,
  VIRTQ_AREA_IDX,
  VIRTQ_AREA_RING,
  VIRTQ_AVAIL_ENTRY_SHIFT,
  VIRTQ_DESC_ADDR,
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
  VIRTQ_DESC_LEN,
  VIRTQ_DESC_SHIFT,
  VIRTQ_USED_ENTRY_SHIFT,
  VQ_BROKEN_ADDRESS,
  VQ_BROKEN_CHAIN,
  VQ_BROKEN_ID,
  VQ_BROKEN_ID_STATE,
  VQ_BROKEN_INDEX,
  VQ_BROKEN_NEXT,
  VQ_CHAIN_MAX,
  VQ_DESCRIPTORS,
  VQ_F_IN_ORDER,
  VQ_FREE,
  VQ_GIVE,
  VQ_GIVEN,
  VQ_ID_COUNT,
  VQ_ID_WRITABLE,
  VQ_OWN_AREA,
  VQ_PEER_AREA,
  VQ_REGIONS,
  VQ_SIZE,
  VQ_TAKE,
} from './layout.ts';
import { isLogged, logUsedElements } from './log.kernel.ts';
import { hasFeature, idEntry, isBroken, latch } from './state.kernel.ts';
import { translate } from './translate.kernel.ts';

/**
 * Walks a chain in a table of `entries`, from the copy of a descriptor (address `guest`, and all behind it in `rest`) on.
 * Returns 0, a VQ_BROKEN_… code or NO_ROOM.
 */
function walkTable(
  queue: u32,
  list: u32,
  chain: u32,
  table: u32,
  entries: u32,
  guest: u64,
  rest: u64,
  nested: bool,
): u32 {
  const budget = load<u32>(queue, VQ_CHAIN_MAX);
  for (let i: u32 = 0; i < budget; i++) {
    const length = <u32>rest;
    const flags = <u32>(rest >> 32) & 0xffff;
    if (flags & VIRTQ_DESC_F_INDIRECT) {
      if (nested) return checkNesting(flags);
      const inner = openTable(queue, guest, length, flags);
      if (inner <= NO_ROOM) return inner;
      const first = load<u64>(inner, VIRTQ_DESC_ADDR);
      // 2.6.5.3.2: the WRITE flag of the descriptor that refers to a table is ignored.
      const behind = load<u64>(inner, VIRTQ_DESC_LEN);
      return walkTable(queue, list, chain, inner, length >> VIRTQ_DESC_SHIFT, first, behind, true);
    }
    const code = addSegment(queue, list, chain, guest, length, (flags & VIRTQ_DESC_F_WRITE) !== 0);
    if (code !== 0 || !(flags & VIRTQ_DESC_F_NEXT)) return code;
    const next = <u32>(rest >> 48);
    if (next >= entries) return VQ_BROKEN_NEXT;
    guest = load<u64>(table + (next << VIRTQ_DESC_SHIFT), VIRTQ_DESC_ADDR);
    rest = load<u64>(table + (next << VIRTQ_DESC_SHIFT), VIRTQ_DESC_LEN);
  }
  return VQ_BROKEN_CHAIN;
}

function takeChain(queue: u32, list: u32, index: u32, head: u32): u32 {
  const size = load<u32>(queue, VQ_SIZE);
  if (head >= size) return VQ_BROKEN_ID;
  if (load<u32>(idEntry(queue, head), VQ_ID_COUNT) !== 0) return VQ_BROKEN_ID_STATE;
  const descriptor = load<u32>(queue, VQ_DESCRIPTORS) + (head << VIRTQ_DESC_SHIFT);
  // Copied once, then only the copy is looked at: the driver may be writing here.
  const guest = load<u64>(descriptor, VIRTQ_DESC_ADDR);
  const rest = load<u64>(descriptor, VIRTQ_DESC_LEN);
  const flags = <u32>(rest >> 32) & 0xffff;
  if (!(flags & (VIRTQ_DESC_F_NEXT | VIRTQ_DESC_F_INDIRECT))) {
    const writable = (flags >> 1) & 1;
    const address = translate(load<u32>(queue, VQ_REGIONS), guest, <u32>rest);
    if (address === 0) return VQ_BROKEN_ADDRESS;
    const used = load<u32>(list, LIST_SEGMENTS_USED);
    if (used === load<u32>(list, LIST_SEGMENTS)) return NO_ROOM;
    writeSimpleChain(chainAt(list, index), freeSegment(list), head, address, <u32>rest, writable);
    store<u32>(list, used + 1, LIST_SEGMENTS_USED);
    holdId(queue, head, 1, writable ? <u32>rest : 0);
    store<u32>(queue, load<u32>(queue, VQ_FREE) - 1, VQ_FREE);
    return 0;
  }
  const chain = openChain(list, index);
  const code = walkTable(queue, list, chain, load<u32>(queue, VQ_DESCRIPTORS), size, guest, rest, false);
  // Chains are counted here, not descriptors: heads are unique, so at most VQ_SIZE are ever out.
  if (code === 0) closeChain(queue, list, chain, head, 1);
  return code;
}

/** Takes up to `max` chains again that a device before this one had taken. Returns how many. */
function takeAgain(queue: u32, list: u32, max: u32): u32 {
  const limit = min(max, load<u32>(list, LIST_CHAINS));
  let n: u32 = 0;
  beginTake(queue);
  while (n < limit && nextAgain(queue) !== 0) {
    const code = takeChain(queue, list, n, nextAgain(queue) - 1);
    if (code !== 0) {
      if (code !== NO_ROOM) latch(queue, code);
      return n;
    }
    tookAgain(queue, ++n);
  }
  return n;
}

/**
 * Takes up to `max` available chains into `list`. Returns how many. A chain that breaks a rule breaks the queue; those
 * before it are in the list. Device only.
 */
export function take(queue: u32, list: u32, max: u32): u32 {
  store<u32>(list, 0, LIST_SEGMENTS_USED);
  if (isBroken(queue)) return 0;
  const tracked = isTracked(queue);
  const again = tracked ? takeAgain(queue, list, max) : 0;
  if (tracked && (nextAgain(queue) !== 0 || isBroken(queue))) return again;
  const size = load<u32>(queue, VQ_SIZE);
  const area = load<u32>(queue, VQ_PEER_AREA);
  // Those that were taken again count as if they were the ones before.
  const next = load<u32>(queue, VQ_TAKE) - again;
  const ready = (<u32>atomic.load<u16>(area, VIRTQ_AREA_IDX) - next) & 0xffff;
  // 2.6.6: an entry for each descriptor at most, so the index cannot run further ahead.
  if (ready > size) {
    latch(queue, VQ_BROKEN_INDEX);
    return again;
  }
  const limit = min(min(ready, max), load<u32>(list, LIST_CHAINS));
  let n = again;
  while (n < limit) {
    const place = (next + n) & (size - 1);
    const head = <u32>load<u16>(area + (place << VIRTQ_AVAIL_ENTRY_SHIFT), VIRTQ_AREA_RING);
    const code = takeChain(queue, list, n, head);
    if (code !== 0) {
      if (code !== NO_ROOM) latch(queue, code);
      break;
    }
    n++;
  }
  store<u32>(queue, (next + n) & 0xffff, VQ_TAKE);
  if (tracked) trackSplit(queue, list, again, n);
  return n;
}

/** Writes the used elements of `n` records; unseen until `publish`. */
export function writeUsed(queue: u32, used: u32, n: u32): void {
  const inOrder = hasFeature(queue, VQ_F_IN_ORDER);
  const mask = load<u32>(queue, VQ_SIZE) - 1;
  const give = load<u32>(queue, VQ_GIVE);
  const area = load<u32>(queue, VQ_OWN_AREA);
  let batch: u32 = 0;
  for (let i: u32 = 0; i < n; i++) {
    const record = load<u64>(used + (i << USED_SHIFT));
    const entry = idEntry(queue, <u32>record);
    assert(load<u32>(entry, VQ_ID_COUNT) > 0);
    store<u32>(entry, 0, VQ_ID_COUNT);
    // IN_ORDER (2.6.9): one used element stands for those before it, which then count as fully written.
    if (inOrder && i + 1 < n && <u32>(record >> 32) === load<u32>(entry, VQ_ID_WRITABLE)) continue;
    // Our record has the form of a used element (2.6.8): one move.
    store<u64>(area + (((give + batch) & mask) << VIRTQ_USED_ENTRY_SHIFT), record, VIRTQ_AREA_RING);
    batch = i + 1;
  }
  store<u32>(queue, load<u32>(queue, VQ_FREE) + n, VQ_FREE);
}

/** Makes the `n` entries behind the index that this side writes visible to the peer. Both sides. */
export function publish(queue: u32, n: u32): void {
  const give = (load<u32>(queue, VQ_GIVE) + n) & 0xffff;
  store<u32>(queue, give, VQ_GIVE);
  store<u32>(queue, load<u32>(queue, VQ_GIVEN) + n, VQ_GIVEN);
  // The one publication of the burst (2.6.13.3, 2.6.14). It orders the entries before it.
  atomic.store<u16>(load<u32>(queue, VQ_OWN_AREA), <u16>give, VIRTQ_AREA_IDX);
}

/**
 * Returns the `n` chains of the records at `used` (id, bytes written) to the driver: in any order, or, IN_ORDER, in that
 * in which they were taken. Each is returned once. Returns `n`, or 0 when the queue is broken. Device only.
 */
export function giveBack(queue: u32, used: u32, n: u32): u32 {
  if (n === 0 || isBroken(queue)) return 0;
  const from = load<u32>(queue, VQ_GIVE);
  const tracked = isTracked(queue);
  if (tracked) linkSplit(queue, used, n);
  writeUsed(queue, used, n);
  publish(queue, n);
  if (tracked) settleSplit(queue, used, n);
  if (isLogged(queue)) logUsedElements(queue, from, n);
  return n;
}
