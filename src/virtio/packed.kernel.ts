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
import {
  beginTake,
  isTracked,
  linkPacked,
  nextAgain,
  packedEntry,
  settlePacked,
  tookAgain,
  trackPacked,
} from './inflight.kernel.ts';
import {
  INFLIGHT_PACKED_ADDR,
  INFLIGHT_PACKED_NEXT,
  INFLIGHT_PACKED_NUM,
  INFLIGHT_PACKED_REST,
  LIST_CHAINS,
  LIST_SEGMENTS,
  LIST_SEGMENTS_USED,
  SEGMENT_SHIFT,
  USED_ID,
  USED_LENGTH,
  USED_SHIFT,
  VIRTQ_DESC_ADDR,
  VIRTQ_DESC_F_AVAIL,
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_USED,
  VIRTQ_DESC_F_WRITE,
  VIRTQ_DESC_LEN,
  VIRTQ_DESC_SHIFT,
  VIRTQ_DESC_WORD,
  VQ_BROKEN_ADDRESS,
  VQ_BROKEN_CHAIN,
  VQ_BROKEN_ID,
  VQ_BROKEN_ID_STATE,
  VQ_BROKEN_INDEX,
  VQ_BROKEN_INDIRECT,
  VQ_BROKEN_INFLIGHT,
  VQ_DESCRIPTORS,
  VQ_F_DRIVER,
  VQ_F_IN_ORDER,
  VQ_FREE,
  VQ_GIVE,
  VQ_GIVE_WRAP,
  VQ_GIVEN,
  VQ_HELD_PLACE,
  VQ_HELD_WORD,
  VQ_ID_COUNT,
  VQ_ID_LAST,
  VQ_ID_WRITABLE,
  VQ_INFLIGHT,
  VQ_REGIONS,
  VQ_SIZE,
  VQ_TAKE,
  VQ_TAKE_WRAP,
} from './layout.ts';
import { isLogged, logUsedDescriptors } from './log.kernel.ts';
import { advance, hasFeature, idEntry, isBroken, latch } from './state.kernel.ts';
import { translate } from './translate.kernel.ts';

/** AVAIL and USED, where they are in a descriptor's word. */
const TURN_BITS: u32 = (VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED) << 16;
const AVAIL_BIT: u32 = VIRTQ_DESC_F_AVAIL << 16;
const USED_BIT: u32 = VIRTQ_DESC_F_USED << 16;

/** Address of the descriptor at `place`, which is below the queue's size. */
export function descriptorAt(queue: u32, place: u32): u32 {
  return load<u32>(queue, VQ_DESCRIPTORS) + (place << VIRTQ_DESC_SHIFT);
}

/** AVAIL and USED of a descriptor that is for this side to read, at wrap counter `wrap` (2.7.1). */
export function takeBits(queue: u32, wrap: u32): u32 {
  if (hasFeature(queue, VQ_F_DRIVER)) return wrap ? TURN_BITS : 0;
  return wrap ? AVAIL_BIT : USED_BIT;
}

/** AVAIL and USED of a descriptor that this side gives, at wrap counter `wrap`. */
export function giveBits(queue: u32, wrap: u32): u32 {
  if (hasFeature(queue, VQ_F_DRIVER)) return wrap ? AVAIL_BIT : USED_BIT;
  return wrap ? TURN_BITS : 0;
}

/** True when a descriptor whose word is `word` is for the side whose `takeBits` are `bits`. */
export function isForUs(word: u32, bits: u32): bool {
  return (word & TURN_BITS) === bits;
}

/** Takes the segments of a table in sequence (2.7.7). Returns 0, a VQ_BROKEN_… code or NO_ROOM. */
function walkTable(queue: u32, list: u32, chain: u32, table: u32, entries: u32): u32 {
  for (let i: u32 = 0; i < entries; i++) {
    const descriptor = table + (i << VIRTQ_DESC_SHIFT);
    const guest = load<u64>(descriptor, VIRTQ_DESC_ADDR);
    const rest = load<u64>(descriptor, VIRTQ_DESC_LEN);
    const flags = <u32>(rest >> 48);
    // 2.7.7: inside a table, WRITE alone has a meaning; id and the other flags are not looked at.
    const code =
      checkNesting(flags) || addSegment(queue, list, chain, guest, <u32>rest, (flags & VIRTQ_DESC_F_WRITE) !== 0);
    if (code !== 0) return code;
  }
  return 0;
}

/** Checks a chain's id. Returns 0 or the VQ_BROKEN_… code. */
export function checkId(queue: u32, id: u32): u32 {
  if (id >= load<u32>(queue, VQ_SIZE)) return VQ_BROKEN_ID;
  return load<u32>(idEntry(queue, id), VQ_ID_COUNT) !== 0 ? VQ_BROKEN_ID_STATE : 0;
}

/** Takes the chain of several segments that starts at VQ_TAKE. Returns 0, a VQ_BROKEN_… code or NO_ROOM. */
function takeChain(queue: u32, list: u32, index: u32): u32 {
  const size = load<u32>(queue, VQ_SIZE);
  const chain = openChain(list, index);
  const free = load<u32>(queue, VQ_FREE);
  let place = load<u32>(queue, VQ_TAKE);
  for (let count: u32 = 1; count <= size; count++) {
    // The ring's other places hold chains that were not returned: they cannot be available again.
    if (count > free) return VQ_BROKEN_INDEX;
    const descriptor = descriptorAt(queue, place);
    // Copied once, then only the copy is looked at: the driver may be writing here.
    const guest = load<u64>(descriptor, VIRTQ_DESC_ADDR);
    const rest = load<u64>(descriptor, VIRTQ_DESC_LEN);
    const flags = <u32>(rest >> 48);
    let code: u32 = 0;
    if (flags & VIRTQ_DESC_F_INDIRECT) {
      // 2.7.19: a descriptor list has no indirect ones.
      if (count > 1) return VQ_BROKEN_INDIRECT;
      const table = openTable(queue, guest, <u32>rest, flags);
      if (table <= NO_ROOM) return table;
      code = walkTable(queue, list, chain, table, <u32>rest >> VIRTQ_DESC_SHIFT);
    } else {
      code = addSegment(queue, list, chain, guest, <u32>rest, (flags & VIRTQ_DESC_F_WRITE) !== 0);
    }
    if (code !== 0) return code;
    if (!(flags & VIRTQ_DESC_F_NEXT)) {
      // 2.7.6: the id is in the last descriptor.
      const id = <u32>(rest >> 32) & 0xffff;
      code = checkId(queue, id);
      if (code !== 0) return code;
      closeChain(queue, list, chain, id, count);
      advance(queue, queue + VQ_TAKE, count);
      return 0;
    }
    place = place + 1 === size ? 0 : place + 1;
  }
  return VQ_BROKEN_CHAIN;
}

/** True when there is something to read at VQ_TAKE. Both sides. */
export function isReady(queue: u32): bool {
  const word = atomic.load<u32>(descriptorAt(queue, load<u32>(queue, VQ_TAKE)), VIRTQ_DESC_WORD);
  return isForUs(word, takeBits(queue, load<u32>(queue, VQ_TAKE_WRAP)));
}

/**
 * Takes available chains of one descriptor from VQ_TAKE on, as entries `n` to `limit` of the list. Returns how many
 * entries the list has then; less than `limit` when a chain follows that is not so simple, or none. Latches what breaks.
 */
function takeSimple(queue: u32, list: u32, n: u32, limit: u32): u32 {
  const size = load<u32>(queue, VQ_SIZE);
  const base = load<u32>(queue, VQ_DESCRIPTORS);
  let place = load<u32>(queue, VQ_TAKE);
  let wrap = load<u32>(queue, VQ_TAKE_WRAP);
  let bits = takeBits(queue, wrap);
  // The ring's other places hold chains that were not returned: they cannot be available again.
  const start = n;
  const used = load<u32>(list, LIST_SEGMENTS_USED);
  const room = min(load<u32>(queue, VQ_FREE), load<u32>(list, LIST_SEGMENTS) - used);
  const end = min(limit, n + room);
  const regions = load<u32>(queue, VQ_REGIONS);
  let segment = freeSegment(list);
  while (n < end) {
    const descriptor = base + (place << VIRTQ_DESC_SHIFT);
    // The one copy of id and flags; what is read behind it was written before it.
    const word = atomic.load<u32>(descriptor, VIRTQ_DESC_WORD);
    if (!isForUs(word, bits) || word & ((VIRTQ_DESC_F_NEXT | VIRTQ_DESC_F_INDIRECT) << 16)) break;
    const id = word & 0xffff;
    const guest = load<u64>(descriptor, VIRTQ_DESC_ADDR);
    const length = load<u32>(descriptor, VIRTQ_DESC_LEN);
    const writable = (word >> 17) & 1;
    const code = checkId(queue, id);
    const address = translate(regions, guest, length);
    if (code !== 0 || address === 0) {
      latch(queue, code !== 0 ? code : VQ_BROKEN_ADDRESS);
      break;
    }
    writeSimpleChain(chainAt(list, n), segment, id, address, length, writable);
    segment += 1 << SEGMENT_SHIFT;
    holdId(queue, id, 1, writable ? length : 0);
    n++;
    place++;
    if (place === size) {
      place = 0;
      wrap ^= 1;
      bits = takeBits(queue, wrap);
    }
  }
  store<u32>(queue, place, VQ_TAKE);
  store<u32>(queue, wrap, VQ_TAKE_WRAP);
  store<u32>(list, used + n - start, LIST_SEGMENTS_USED);
  store<u32>(queue, load<u32>(queue, VQ_FREE) - (n - start), VQ_FREE);
  return n;
}

/** Takes the chain whose copy begins at entry `index` of the inflight region. Returns 0, a VQ_BROKEN_… code or NO_ROOM. */
function takeCopy(queue: u32, list: u32, n: u32, index: u32): u32 {
  const size = load<u32>(queue, VQ_SIZE);
  const region = load<u32>(queue, VQ_INFLIGHT);
  const chain = openChain(list, n);
  const count = <u32>load<u16>(packedEntry(region, index), INFLIGHT_PACKED_NUM);
  if (count === 0 || count > load<u32>(queue, VQ_FREE)) return VQ_BROKEN_INFLIGHT;
  let at = index;
  for (let left = count; left > 0; left--) {
    const entry = packedEntry(region, at);
    // Copied once, then only the copy is looked at: the region is shared, and says what a driver said.
    const guest = load<u64>(entry, INFLIGHT_PACKED_ADDR);
    const rest = load<u64>(entry, INFLIGHT_PACKED_REST);
    const length = <u32>(rest >> 32);
    const flags = <u32>(rest >> 16) & 0xffff;
    let code: u32 = 0;
    if (flags & VIRTQ_DESC_F_INDIRECT) {
      if (count > 1) return VQ_BROKEN_INDIRECT;
      const inner = openTable(queue, guest, length, flags);
      if (inner <= NO_ROOM) return inner;
      code = walkTable(queue, list, chain, inner, length >> VIRTQ_DESC_SHIFT);
    } else {
      code = addSegment(queue, list, chain, guest, length, (flags & VIRTQ_DESC_F_WRITE) !== 0);
    }
    if (code !== 0) return code;
    if (left === 1) {
      const id = <u32>rest & 0xffff;
      const wrong = checkId(queue, id);
      if (wrong !== 0) return wrong;
      closeChain(queue, list, chain, id, count);
      store<u32>(idEntry(queue, id), index | (at << 16), VQ_ID_LAST);
      return 0;
    }
    at = load<u16>(entry, INFLIGHT_PACKED_NEXT);
    if (at >= size) break;
  }
  return VQ_BROKEN_INFLIGHT;
}

/** Takes up to `max` chains again that a device before this one had taken. Returns how many. */
function takeAgain(queue: u32, list: u32, max: u32): u32 {
  const limit = min(max, load<u32>(list, LIST_CHAINS));
  let n: u32 = 0;
  beginTake(queue);
  while (n < limit && nextAgain(queue) !== 0) {
    const code = takeCopy(queue, list, n, nextAgain(queue) - 1);
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
  const start = load<u32>(queue, VQ_TAKE);
  const limit = min(max, load<u32>(list, LIST_CHAINS));
  let n = again;
  while (true) {
    n = takeSimple(queue, list, n, limit);
    if (n === limit || isBroken(queue) || !isReady(queue)) break;
    const code = takeChain(queue, list, n);
    if (code !== 0) {
      if (code !== NO_ROOM) latch(queue, code);
      break;
    }
    n++;
  }
  return tracked ? trackPacked(queue, list, again, n, start) : n;
}

/** Keeps the word of a burst's first descriptor, which goes to `place`, until the burst is published. */
export function hold(queue: u32, place: u32, word: u32): void {
  store<u32>(queue, place, VQ_HELD_PLACE);
  store<u32>(queue, word, VQ_HELD_WORD);
}

/** Makes the burst that was written visible to the peer, by the word of its first descriptor. Both sides. */
export function publish(queue: u32): void {
  const first = descriptorAt(queue, load<u32>(queue, VQ_HELD_PLACE));
  // The one publication of the burst (2.7.21, 2.7.22): the peer reads in order, so it sees none before the first.
  atomic.store<u32>(first, load<u32>(queue, VQ_HELD_WORD), VIRTQ_DESC_WORD);
}

/** Writes the used descriptors of `n` records; unseen until `publish`. */
export function writeUsed(queue: u32, used: u32, n: u32): void {
  const inOrder = hasFeature(queue, VQ_F_IN_ORDER);
  const size = load<u32>(queue, VQ_SIZE);
  let place = load<u32>(queue, VQ_GIVE);
  let wrap = load<u32>(queue, VQ_GIVE_WRAP);
  let total: u32 = 0;
  let batch: u32 = 0;
  let first = true;
  for (let i: u32 = 0; i < n; i++) {
    const record = used + (i << USED_SHIFT);
    const id = load<u32>(record, USED_ID);
    const length = load<u32>(record, USED_LENGTH);
    const entry = idEntry(queue, id);
    const count = load<u32>(entry, VQ_ID_COUNT);
    assert(count > 0);
    store<u32>(entry, 0, VQ_ID_COUNT);
    batch += count;
    // IN_ORDER (2.7.8): one used descriptor stands for those before it, which then count as fully written.
    if (inOrder && i + 1 < n && length === load<u32>(entry, VQ_ID_WRITABLE)) continue;
    const descriptor = descriptorAt(queue, place);
    // 2.7.3: WRITE in a used descriptor says that the length is valid. 2.7.6: a driver ignores NEXT there; it tells a device
    // that comes after this one that the rest of the chain lies behind (resume.ts).
    const rest: u32 = !inOrder && count > 1 ? VIRTQ_DESC_F_NEXT << 16 : 0;
    const word = id | (length > 0 ? VIRTQ_DESC_F_WRITE << 16 : 0) | rest | giveBits(queue, wrap);
    if (first) {
      hold(queue, place, word);
      store<u32>(descriptor, length, VIRTQ_DESC_LEN);
      first = false;
    } else {
      store<u64>(descriptor, ((<u64>word) << 32) | length, VIRTQ_DESC_LEN);
    }
    total += batch;
    place += batch;
    batch = 0;
    if (place >= size) {
      place -= size;
      wrap ^= 1;
    }
  }
  store<u32>(queue, place, VQ_GIVE);
  store<u32>(queue, wrap, VQ_GIVE_WRAP);
  store<u32>(queue, load<u32>(queue, VQ_GIVEN) + total, VQ_GIVEN);
  store<u32>(queue, load<u32>(queue, VQ_FREE) + total, VQ_FREE);
}

/**
 * Returns the `n` chains of the records at `used` (id, bytes written) to the driver: in any order, or, IN_ORDER, in that
 * in which they were taken. Each is returned once. Returns `n`, or 0 when the queue is broken. Device only.
 */
export function giveBack(queue: u32, used: u32, n: u32): u32 {
  if (n === 0 || isBroken(queue)) return 0;
  const from = load<u32>(queue, VQ_GIVE);
  const wrap = load<u32>(queue, VQ_GIVE_WRAP);
  const free = load<u32>(queue, VQ_FREE);
  const tracked = isTracked(queue);
  writeUsed(queue, used, n);
  if (tracked) linkPacked(queue, used, n, from, wrap);
  publish(queue);
  if (tracked) settlePacked(queue, used, n);
  if (isLogged(queue)) logUsedDescriptors(queue, from, load<u32>(queue, VQ_FREE) - free);
  return n;
}
