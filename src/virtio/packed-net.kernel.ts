// The frames of most bursts on a packed ring: one descriptor each, nothing out of the ordinary. They go between the ring
// and the packets without a list in between. What is not so simple stays where it is, for the kernels of any chain.

import { copyFrame } from '../memory/copy.kernel.ts';
import {
  BUFFER_DATA_MIN,
  BUFFER_FRAME_MAX,
  BUFFER_HEADROOM,
  BURST_MAX,
  SLOT_BUFFER,
  SLOT_FLAG_CHAINED,
  SLOT_FLAG_OFFLOAD,
  SLOT_FLAG_SHARED,
  SLOT_FLAGS,
  SLOT_LENGTH,
  SLOT_OFFSET,
  SLOT_SHIFT,
} from '../memory/layout.ts';
import { alloc, free } from '../memory/pool.kernel.ts';
import { holdId } from './chain.kernel.ts';
import { isTracked } from './inflight.kernel.ts';
import {
  NET_FRAME_MIN,
  NETQ_BAD,
  NETQ_CACHE,
  NETQ_EMPTY,
  NETQ_HEADER_BYTES,
  NETQ_OFFLOADS,
  NETQ_PENDING,
  NETQ_QUEUE,
  NETQ_RECORDS,
  USED_ID,
  USED_SHIFT,
  VIRTQ_DESC_ADDR,
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
  VIRTQ_DESC_LEN,
  VIRTQ_DESC_SHIFT,
  VIRTQ_DESC_WORD,
  VQ_BROKEN_ID_STATE,
  VQ_DESCRIPTORS,
  VQ_FREE,
  VQ_FREE_HEAD,
  VQ_GIVE,
  VQ_GIVE_WRAP,
  VQ_GIVEN,
  VQ_GUEST_OFFSET,
  VQ_ID_LAST,
  VQ_ID_NEXT,
  VQ_REGIONS,
  VQ_SIZE,
  VQ_TAKE,
  VQ_TAKE_WRAP,
} from './layout.ts';
import { isLogged } from './log.kernel.ts';
import { acceptHeader, countNet, renewHeader, writeHeader } from './net-header.kernel.ts';
import { checkId, giveBits, hold, isForUs, publish, takeBits } from './packed.kernel.ts';
import { idEntry, isBroken, latch } from './state.kernel.ts';
import { translate } from './translate.kernel.ts';

/** Flags of a descriptor that make it another kind of chain than one buffer that the device reads, or writes. */
const NOT_READABLE: u32 = (VIRTQ_DESC_F_NEXT | VIRTQ_DESC_F_INDIRECT | VIRTQ_DESC_F_WRITE) << 16;
const WRITABLE: u32 = VIRTQ_DESC_F_WRITE << 16;

/** Descriptors from VQ_TAKE on that are there to be taken: up to `max`, and to the end of the ring. Only a hint. */
function countReady(queue: u32, max: u32): u32 {
  const place = load<u32>(queue, VQ_TAKE);
  const bits = takeBits(queue, load<u32>(queue, VQ_TAKE_WRAP));
  // The ring's other places hold chains that were not returned: they cannot be available again.
  const most = min(min(max, load<u32>(queue, VQ_FREE)), load<u32>(queue, VQ_SIZE) - place);
  let descriptor = load<u32>(queue, VQ_DESCRIPTORS) + (place << VIRTQ_DESC_SHIFT);
  let n: u32 = 0;
  while (n < most && isForUs(load<u32>(descriptor, VIRTQ_DESC_WORD), bits)) {
    descriptor += 1 << VIRTQ_DESC_SHIFT;
    n++;
  }
  return n;
}

/** Moves the place at `at`, whose wrap counter lies behind it, by `n`: at most to the end of the ring. */
function passPlaces(queue: u32, at: u32, n: u32): void {
  const place = load<u32>(queue + at) + n;
  const isEnd = place === load<u32>(queue, VQ_SIZE);
  store<u32>(queue + at, isEnd ? 0 : place);
  store<u32>(queue + at, load<u32>(queue + at, 4) ^ u32(isEnd), 4);
}

/**
 * Takes up to `max` frames, as entries at `frames`: u32 address behind the header, u16 length, u16 id. Returns how many; less
 * when a chain follows that is not a simple one.
 */
function takeFrames(queue: u32, frames: u32, headerBytes: u32, max: u32): u32 {
  const regions = load<u32>(queue, VQ_REGIONS);
  const bits = takeBits(queue, load<u32>(queue, VQ_TAKE_WRAP));
  const ready = countReady(queue, max);
  let descriptor = load<u32>(queue, VQ_DESCRIPTORS) + (load<u32>(queue, VQ_TAKE) << VIRTQ_DESC_SHIFT);
  let touched: u32 = 0;
  let n: u32 = 0;
  for (; n < ready; n++) {
    // Copied once, and only the copy is looked at: what `countReady` saw may be something else by now.
    const word = atomic.load<u32>(descriptor, VIRTQ_DESC_WORD);
    const guest = load<u64>(descriptor, VIRTQ_DESC_ADDR);
    const length = load<u32>(descriptor, VIRTQ_DESC_LEN);
    if (!isForUs(word, bits) || word & NOT_READABLE) break;
    // Unsigned: what is shorter than the header is longer than any frame.
    const frame = length - headerBytes;
    if (frame - NET_FRAME_MIN > BUFFER_FRAME_MAX - NET_FRAME_MIN) break;
    const id = word & 0xffff;
    const header = translate(regions, guest, length);
    if (header === 0 || checkId(queue, id) !== 0) break;
    holdId(queue, id, 1, 0);
    store<u64>(frames + (n << USED_SHIFT), ((<u64>((id << 16) | frame)) << 32) | (header + headerBytes));
    // The frame's first line is under way from here on, beside those of the others.
    touched += load<u8>(header + headerBytes);
    descriptor += 1 << VIRTQ_DESC_SHIFT;
  }
  store<u32>(frames + (n << USED_SHIFT), touched);
  passPlaces(queue, VQ_TAKE, n);
  store<u32>(queue, load<u32>(queue, VQ_FREE) - n, VQ_FREE);
  return n;
}

/**
 * Receives up to `max` frames as packets to `slots`, and leaves their records with those that are to be returned. Returns how
 * many; 0 when the next chain is not a simple one, or there is none. Device only.
 */
export function receivePacked(netq: u32, slots: u32, max: u32): u32 {
  const queue = load<u32>(netq, NETQ_QUEUE);
  if (isBroken(queue) || isTracked(queue)) return 0;
  const cache = load<u32>(netq, NETQ_CACHE);
  const headerBytes = load<u32>(netq, NETQ_HEADER_BYTES);
  const offloads = load<u32>(netq, NETQ_OFFLOADS);
  const pending = load<u32>(netq, NETQ_PENDING);
  const records = load<u32>(netq, NETQ_RECORDS) + (pending << USED_SHIFT);
  const taken = takeFrames(queue, records, headerBytes, max);
  if (taken === 0) return 0;
  const have = alloc(cache, slots, taken);
  let n: u32 = 0;
  for (let i: u32 = 0; i < taken; i++) {
    const record = records + (i << USED_SHIFT);
    const slot = slots + (n << SLOT_SHIFT);
    const source = load<u32>(record);
    const frame: u32 = load<u16>(record, 4);
    store<u64>(record, load<u16>(record, 6), USED_ID);
    if (n === have) {
      countNet(netq, NETQ_EMPTY);
      continue;
    }
    copyFrame(load<u32>(slot, SLOT_BUFFER) + BUFFER_HEADROOM, source, frame);
    store<u16>(slot, <u16>frame, SLOT_LENGTH);
    n++;
    if (offloads !== 0 && acceptHeader(offloads, slot, source - headerBytes, frame) === 0) {
      countNet(netq, NETQ_BAD);
      n--;
    }
  }
  if (n < have) free(cache, slots + (n << SLOT_SHIFT), have - n);
  store<u32>(netq, pending + taken, NETQ_PENDING);
  return n;
}

/** Packets of a burst from which on reading descriptors ahead of it gains nothing. */
const BURST_LEAST: u32 = 8;

/** Of the `n` entries at `frames`, how many come before the first with the id of one before it. */
function countAlone(frames: u32, n: u32): u32 {
  for (let i: u32 = 1; i < n; i++) {
    const id: u32 = load<u16>(frames + (i << USED_SHIFT), 6);
    for (let j: u32 = 0; j < i; j++) if (load<u16>(frames + (j << USED_SHIFT), 6) === id) return i;
  }
  return n;
}

/**
 * Finds room for the first of `count` packets at `slots`, as entries at `frames`: u32 address behind the header, u16 length,
 * u16 id. Returns how many; less when a packet or a chain follows that is not a simple one. Moves nothing. Latches an id that the
 * driver offers twice: the chains before it are used all the same.
 */
function findRoom(queue: u32, slots: u32, frames: u32, headerBytes: u32, count: u32): u32 {
  const size = load<u32>(queue, VQ_SIZE);
  const regions = load<u32>(queue, VQ_REGIONS);
  const bits = takeBits(queue, load<u32>(queue, VQ_TAKE_WRAP));
  const ready = countReady(queue, count);
  let descriptor = load<u32>(queue, VQ_DESCRIPTORS) + (load<u32>(queue, VQ_TAKE) << VIRTQ_DESC_SHIFT);
  // Ids by their last six bits: those of a burst are seldom far from each other.
  let seen: u64 = 0;
  let n: u32 = 0;
  for (; n < ready; n++) {
    const slot = slots + (n << SLOT_SHIFT);
    if (load<u8>(slot, SLOT_FLAGS) & (SLOT_FLAG_CHAINED | SLOT_FLAG_OFFLOAD)) break;
    // Copied once, as above.
    const word = atomic.load<u32>(descriptor, VIRTQ_DESC_WORD);
    const guest = load<u64>(descriptor, VIRTQ_DESC_ADDR);
    const length = load<u32>(descriptor, VIRTQ_DESC_LEN);
    if (!isForUs(word, bits) || (word & NOT_READABLE) !== WRITABLE) break;
    const frame: u32 = load<u16>(slot, SLOT_LENGTH);
    const id = word & 0xffff;
    if (length < headerBytes + frame || id >= size) break;
    const target = translate(regions, guest, length);
    if (target === 0) break;
    seen |= (<u64>1) << (<u64>id);
    store<u64>(frames + (n << USED_SHIFT), ((<u64>((id << 16) | frame)) << 32) | (target + headerBytes));
    descriptor += 1 << VIRTQ_DESC_SHIFT;
  }
  if (<u32>popcnt<u64>(seen) === n) return n;
  const alone = countAlone(frames, n);
  if (alone < n) latch(queue, VQ_BROKEN_ID_STATE);
  return alone;
}

/** Writes the used descriptors of the `n` entries at `frames`, and publishes them: backwards, so that each line is fetched once. */
function useRoom(queue: u32, frames: u32, headerBytes: u32, n: u32): void {
  const place = load<u32>(queue, VQ_GIVE);
  const bits = giveBits(queue, load<u32>(queue, VQ_GIVE_WRAP)) | WRITABLE;
  const descriptors = load<u32>(queue, VQ_DESCRIPTORS) + (place << VIRTQ_DESC_SHIFT);
  for (let i = n - 1; i > 0; i--) {
    const entry = frames + (i << USED_SHIFT);
    const word: u32 = load<u16>(entry, 6) | bits;
    const bytes: u32 = load<u16>(entry, 4) + headerBytes;
    store<u64>(descriptors + (i << VIRTQ_DESC_SHIFT), ((<u64>word) << 32) | bytes, VIRTQ_DESC_LEN);
  }
  store<u32>(descriptors, load<u16>(frames, 4) + headerBytes, VIRTQ_DESC_LEN);
  hold(queue, place, load<u16>(frames, 6) | bits);
  publish(queue);
}

/**
 * Sends the first of `count` packets at `slots`, which stay the caller's to free, as long as they are of one buffer and
 * without offloads. Returns how many; 0 when this is not a burst, chains are out, or the next chain is not a simple one.
 * Device only.
 */
export function sendPacked(netq: u32, slots: u32, count: u32): u32 {
  const queue = load<u32>(netq, NETQ_QUEUE);
  // With none out, chains go back where they were taken, and their order is right.
  if (count < BURST_LEAST || load<u32>(queue, VQ_FREE) !== load<u32>(queue, VQ_SIZE)) return 0;
  if (isBroken(queue) || isTracked(queue) || isLogged(queue)) return 0;
  const headerBytes = load<u32>(netq, NETQ_HEADER_BYTES);
  const frames = load<u32>(netq, NETQ_RECORDS);
  const n = findRoom(queue, slots, frames, headerBytes, min(count, BURST_MAX));
  if (n === 0) return 0;
  for (let i: u32 = 0; i < n; i++) {
    const slot = slots + (i << SLOT_SHIFT);
    const entry = load<u64>(frames + (i << USED_SHIFT));
    const frame = <u32>(entry >> 32) & 0xffff;
    const source = load<u32>(slot, SLOT_BUFFER) + load<u16>(slot, SLOT_OFFSET);
    renewHeader(netq, slot, <u32>entry - headerBytes);
    copyFrame(<u32>entry, source, frame);
  }
  useRoom(queue, frames, headerBytes, n);
  passPlaces(queue, VQ_TAKE, n);
  passPlaces(queue, VQ_GIVE, n);
  store<u32>(queue, load<u32>(queue, VQ_GIVEN) + n, VQ_GIVEN);
  return n;
}

/**
 * Adds packets of one buffer that nobody else holds, as long as there is room for them up to the end of the ring, and keeps
 * their slots under their ids at `held`. Returns how many; 0 when the first is not so simple, or there is no room. Driver only.
 */
export function addPacked(netq: u32, slots: u32, held: u32, count: u32): u32 {
  const queue = load<u32>(netq, NETQ_QUEUE);
  if (isBroken(queue)) return 0;
  const headerBytes = load<u32>(netq, NETQ_HEADER_BYTES);
  const frames = load<u32>(netq, NETQ_RECORDS);
  const place = load<u32>(queue, VQ_GIVE);
  const most = min(min(count, load<u32>(queue, VQ_FREE)), load<u32>(queue, VQ_SIZE) - place);
  let id = load<u32>(queue, VQ_FREE_HEAD);
  let n: u32 = 0;
  for (; n < most; n++) {
    const slot = slots + (n << SLOT_SHIFT);
    const offset: u32 = load<u16>(slot, SLOT_OFFSET);
    // The header goes into the headroom before the frame.
    if (load<u8>(slot, SLOT_FLAGS) & (SLOT_FLAG_CHAINED | SLOT_FLAG_SHARED)) break;
    if (offset < BUFFER_DATA_MIN + headerBytes) break;
    const start = load<u32>(slot, SLOT_BUFFER) + offset - headerBytes;
    const bytes = headerBytes + load<u16>(slot, SLOT_LENGTH);
    writeHeader(netq, slot, start, 0);
    store<u64>(frames + (n << USED_SHIFT), ((<u64>((id << 16) | bytes)) << 32) | start);
    v128.store(held + (id << SLOT_SHIFT), v128.load(slot));
    const entry = idEntry(queue, id);
    holdId(queue, id, 1, 0);
    store<u32>(entry, id, VQ_ID_LAST);
    id = load<u32>(entry, VQ_ID_NEXT);
  }
  if (n === 0) return 0;
  const guestOffset = load<u64>(queue, VQ_GUEST_OFFSET);
  const bits = giveBits(queue, load<u32>(queue, VQ_GIVE_WRAP));
  const descriptors = load<u32>(queue, VQ_DESCRIPTORS) + (place << VIRTQ_DESC_SHIFT);
  for (let i = n - 1; i > 0; i--) {
    const entry = load<u64>(frames + (i << USED_SHIFT));
    const word = <u32>(entry >> 48) | bits;
    const rest = ((<u64>word) << 32) | ((entry >> 32) & 0xffff);
    const both = i64x2.splat(guestOffset + <u64>(<u32>entry));
    v128.store(descriptors + (i << VIRTQ_DESC_SHIFT), i64x2.replace_lane(both, 1, rest));
  }
  store<u64>(descriptors, guestOffset + load<u32>(frames), VIRTQ_DESC_ADDR);
  store<u32>(descriptors, load<u16>(frames, 4), VIRTQ_DESC_LEN);
  hold(queue, place, load<u16>(frames, 6) | bits);
  store<u32>(queue, id, VQ_FREE_HEAD);
  passPlaces(queue, VQ_GIVE, n);
  store<u32>(queue, load<u32>(queue, VQ_FREE) - n, VQ_FREE);
  store<u32>(queue, load<u32>(queue, VQ_GIVEN) + n, VQ_GIVEN);
  publish(queue);
  return n;
}
