import { clone, frameLength } from '../memory/chain.kernel.ts';
import {
  BUFFER_CSUM_OFFSET,
  BUFFER_CSUM_START,
  BUFFER_DATA_MIN,
  BUFFER_FRAME_MAX,
  BUFFER_HEADROOM,
  BUFFER_LENGTH,
  BUFFER_NEXT,
  BUFFER_OFFSET,
  BUFFER_REFERENCES,
  BUFFER_TOTAL,
  BURST_MAX,
  SEGMENTS_MAX,
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
import { chainAt } from './chain.kernel.ts';
import {
  CHAIN_ID,
  CHAIN_READABLE,
  CHAIN_READABLE_BYTES,
  CHAIN_SEGMENTS,
  LIST_SEGMENTS,
  LIST_SEGMENTS_ADDRESS,
  NET_FRAME_MIN,
  NET_HDR_NUM_BUFFERS,
  NETQ_BAD,
  NETQ_CACHE,
  NETQ_CHAINS,
  NETQ_F_MRG_RXBUF,
  NETQ_FEATURES,
  NETQ_FRESH,
  NETQ_HEADER_BYTES,
  NETQ_LIST,
  NETQ_LONG,
  NETQ_MERGE_LAST,
  NETQ_MERGE_LEFT,
  NETQ_MERGE_SLOT,
  NETQ_QUEUE,
  NETQ_RECORDS,
  NETQ_SLOTS,
  SEGMENT_ADDRESS,
  SEGMENT_SHIFT,
  USED_ID,
  USED_LENGTH,
  USED_SHIFT,
  VQ_F_PACKED,
  VQ_FREE,
  VQ_SIZE,
  VQ_TABLE_ENTRIES,
} from './layout.ts';
import { acceptOffload, countNet, writeHeader } from './net-header.kernel.ts';
import { addPacked } from './packed-net.kernel.ts';
import { addAny, pollAny } from './side.kernel.ts';
import { detach, hasFeature, isBroken } from './state.kernel.ts';

/** Address of the slot that is out under `id`. */
function slotOf(netq: u32, id: u32): u32 {
  return load<u32>(netq, NETQ_SLOTS) + (id << SLOT_SHIFT);
}

/** Makes chain `index` of the list one of `segments` segments, all readable or all writable, of `bytes` in all. */
export function writeChain(list: u32, index: u32, first: u32, segments: u32, bytes: u32, writable: bool): void {
  const chain = chainAt(list, index);
  // Of each pair the readable part is the lower half.
  const shift: u64 = writable ? 32 : 0;
  store<u32>(chain, first, CHAIN_SEGMENTS);
  store<u64>(chain, (<u64>segments) << shift, CHAIN_READABLE);
  store<u64>(chain, (<u64>bytes) << shift, CHAIN_READABLE_BYTES);
}

export function writeSegment(segment: u32, address: u32, length: u32): void {
  store<u64>(segment, ((<u64>length) << 32) | address, SEGMENT_ADDRESS);
}

// ---------------------------------------------------------------- what the device takes

/** Frees the packets of `n` records: those of neighboring ids, as most are, in one go. */
function freeRecords(netq: u32, records: u32, n: u32): void {
  const cache = load<u32>(netq, NETQ_CACHE);
  for (let i: u32 = 0; i < n; ) {
    const first = load<u32>(records + (i << USED_SHIFT), USED_ID);
    let run: u32 = 1;
    while (i + run < n && load<u32>(records + ((i + run) << USED_SHIFT), USED_ID) === first + run) run++;
    free(cache, slotOf(netq, first), run);
    i += run;
  }
}

/** Frees the packets that the device has sent. */
function reclaim(netq: u32): void {
  const records = load<u32>(netq, NETQ_RECORDS);
  while (true) {
    const n = pollAny(load<u32>(netq, NETQ_QUEUE), records, NETQ_CHAINS);
    freeRecords(netq, records, n);
    if (n < NETQ_CHAINS) return;
  }
}

/** Makes room for the header before the frame at `slot`: in the headroom, or in a copy. Returns 0 when no buffer is left. */
function makeRoom(netq: u32, slot: u32): u32 {
  const shared = load<u8>(slot, SLOT_FLAGS) & SLOT_FLAG_SHARED;
  if (!shared && load<u16>(slot, SLOT_OFFSET) >= BUFFER_DATA_MIN + load<u32>(netq, NETQ_HEADER_BYTES)) return 1;
  const cache = load<u32>(netq, NETQ_CACHE);
  const copy = netq + NETQ_FRESH;
  if (clone(cache, slot, copy) === 0) return 0;
  free(cache, slot, 1);
  v128.store(slot, v128.load(copy));
  return 1;
}

/** Writes the segments of the packet, its header in front, from `segment` on. Returns how many; 0 when over `max`. */
function writeSegments(netq: u32, slot: u32, segment: u32, max: u32): u32 {
  const headerBytes = load<u32>(netq, NETQ_HEADER_BYTES);
  const first = load<u32>(slot, SLOT_BUFFER);
  const start = first + load<u16>(slot, SLOT_OFFSET) - headerBytes;
  writeHeader(netq, slot, start, 0);
  if (max === 0) return 0;
  writeSegment(segment, start, headerBytes + load<u16>(slot, SLOT_LENGTH));
  if (!(load<u8>(slot, SLOT_FLAGS) & SLOT_FLAG_CHAINED)) return 1;
  let buffer = load<u32>(first, BUFFER_NEXT);
  let n: u32 = 1;
  for (; buffer !== 0; n++) {
    if (n === max) return 0;
    const at = segment + (n << SEGMENT_SHIFT);
    writeSegment(at, buffer + load<u16>(buffer, BUFFER_OFFSET), load<u16>(buffer, BUFFER_LENGTH));
    buffer = load<u32>(buffer, BUFFER_NEXT);
  }
  return n;
}

/** Adds packets until one does not fit what is left of the list. Returns how many are with the device. */
function addPackets(netq: u32, slots: u32, count: u32): u32 {
  const queue = load<u32>(netq, NETQ_QUEUE);
  const list = load<u32>(netq, NETQ_LIST);
  const headerBytes = load<u32>(netq, NETQ_HEADER_BYTES);
  const chainMax = max(load<u32>(queue, VQ_SIZE), load<u32>(queue, VQ_TABLE_ENTRIES));
  const end = load<u32>(list, LIST_SEGMENTS);
  let used: u32 = 0;
  let n: u32 = 0;
  while (n < count) {
    const slot = slots + (n << SLOT_SHIFT);
    if (makeRoom(netq, slot) === 0) break;
    const segment = load<u32>(list, LIST_SEGMENTS_ADDRESS) + (used << SEGMENT_SHIFT);
    const segments = writeSegments(netq, slot, segment, min(chainMax, end - used));
    if (segments === 0) break;
    writeChain(list, n, segment, segments, headerBytes + frameLength(slot), false);
    used += segments;
    n++;
  }
  if (n === 0) return 0;
  const added = addAny(queue, list, n);
  for (let i: u32 = 0; i < added; i++) {
    v128.store(slotOf(netq, load<u32>(chainAt(list, i), CHAIN_ID)), v128.load(slots + (i << SLOT_SHIFT)));
  }
  return added;
}

/** True when the packet has more buffers than a chain may have, so that it never fits. */
function isTooLong(netq: u32, slot: u32): bool {
  if (!(load<u8>(slot, SLOT_FLAGS) & SLOT_FLAG_CHAINED)) return false;
  const queue = load<u32>(netq, NETQ_QUEUE);
  const chainMax = max(load<u32>(queue, VQ_SIZE), load<u32>(queue, VQ_TABLE_ENTRIES));
  const most = min(chainMax, load<u32>(load<u32>(netq, NETQ_LIST), LIST_SEGMENTS));
  let n: u32 = 0;
  for (let buffer = load<u32>(slot, SLOT_BUFFER); buffer !== 0 && n <= most; n++) {
    buffer = load<u32>(buffer, BUFFER_NEXT);
  }
  return n > most;
}

/**
 * Sends the first of `count` (1 to 32) packets at `slots`. Returns how many: they are the device's until it has read them.
 * The rest stay the caller's. Driver only.
 */
export function driverSend(netq: u32, slots: u32, count: u32): u32 {
  const queue = load<u32>(netq, NETQ_QUEUE);
  // Rarely, and then much at once: what the device has just written is still in its cache, and it writes there again.
  if (load<u32>(queue, VQ_FREE) <= load<u32>(queue, VQ_SIZE) >> 2) reclaim(netq);
  const isPacked = hasFeature(queue, VQ_F_PACKED);
  const held = load<u32>(netq, NETQ_SLOTS);
  let done: u32 = 0;
  let reclaimed = false;
  while (done < count && !isBroken(queue)) {
    const slot = slots + (done << SLOT_SHIFT);
    let n = isPacked ? addPacked(netq, slot, held, min(count - done, BURST_MAX)) : 0;
    if (n === 0) n = addPackets(netq, slot, min(count - done, BURST_MAX));
    done += n;
    if (n > 0) continue;
    if (isTooLong(netq, slot)) {
      countNet(netq, NETQ_LONG);
      free(load<u32>(netq, NETQ_CACHE), slot, 1);
      done++;
    } else if (reclaimed) {
      break;
    } else {
      reclaim(netq);
      reclaimed = true;
    }
  }
  return done;
}

// ---------------------------------------------------------------- what the device gives

/**
 * Gives the device empty buffers, one a chain, when `wanted` (1 to 32) or half of them are missing. A frame starts where frames
 * start, with its header in the headroom before it.
 */
function driverRefill(netq: u32, wanted: u32): void {
  const queue = load<u32>(netq, NETQ_QUEUE);
  const list = load<u32>(netq, NETQ_LIST);
  const headerBytes = load<u32>(netq, NETQ_HEADER_BYTES);
  const cache = load<u32>(netq, NETQ_CACHE);
  const fresh = netq + NETQ_FRESH;
  const least = min(wanted, max(load<u32>(queue, VQ_SIZE) >> 1, 1));
  while (load<u32>(queue, VQ_FREE) >= least && !isBroken(queue)) {
    const n = alloc(cache, fresh, min(load<u32>(queue, VQ_FREE), BURST_MAX));
    if (n === 0) return;
    const segments = load<u32>(list, LIST_SEGMENTS_ADDRESS);
    for (let i: u32 = 0; i < n; i++) {
      const segment = segments + (i << SEGMENT_SHIFT);
      const start = load<u32>(fresh + (i << SLOT_SHIFT), SLOT_BUFFER) + BUFFER_HEADROOM - headerBytes;
      writeSegment(segment, start, headerBytes + BUFFER_FRAME_MAX);
      writeChain(list, i, segment, 1, headerBytes + BUFFER_FRAME_MAX, true);
    }
    const added = addAny(queue, list, n);
    for (let i: u32 = 0; i < added; i++) {
      v128.store(slotOf(netq, load<u32>(chainAt(list, i), CHAIN_ID)), v128.load(fresh + (i << SLOT_SHIFT)));
    }
    if (added < n) {
      free(cache, fresh + (added << SLOT_SHIFT), n - added);
      return;
    }
  }
}

/** Drops what was merged so far. */
function dropMerge(netq: u32): void {
  free(load<u32>(netq, NETQ_CACHE), netq + NETQ_MERGE_SLOT, 1);
  store<u32>(netq, 0, NETQ_MERGE_LEFT);
  countNet(netq, NETQ_BAD);
}

/** Appends a buffer of `written` bytes to the frame that is being merged. Returns 1 when that was its last. */
function mergeBuffer(netq: u32, buffer: u32, written: u32): u32 {
  const slot = netq + NETQ_MERGE_SLOT;
  const first = load<u32>(slot, SLOT_BUFFER);
  store<u32>(buffer, 1, BUFFER_REFERENCES);
  store<u32>(buffer, 0, BUFFER_NEXT);
  store<u16>(buffer, <u16>(BUFFER_HEADROOM - load<u32>(netq, NETQ_HEADER_BYTES)), BUFFER_OFFSET);
  store<u16>(buffer, <u16>written, BUFFER_LENGTH);
  store<u32>(load<u32>(netq, NETQ_MERGE_LAST), buffer, BUFFER_NEXT);
  store<u32>(first, load<u32>(first, BUFFER_TOTAL) + written, BUFFER_TOTAL);
  store<u32>(netq, buffer, NETQ_MERGE_LAST);
  const left = load<u32>(netq, NETQ_MERGE_LEFT) - 1;
  store<u32>(netq, left, NETQ_MERGE_LEFT);
  return left === 0 ? 1 : 0;
}

/** Starts to merge a frame of `buffers` buffers, whose first is at `slot`. */
function startMerge(netq: u32, slot: u32, buffers: u32): void {
  const first = load<u32>(slot, SLOT_BUFFER);
  store<u32>(first, 0, BUFFER_NEXT);
  store<u32>(first, load<u16>(slot, SLOT_LENGTH), BUFFER_TOTAL);
  v128.store(netq + NETQ_MERGE_SLOT, v128.load(slot));
  store<u8>(netq + NETQ_MERGE_SLOT, load<u8>(slot, SLOT_FLAGS) | <u8>SLOT_FLAG_CHAINED, SLOT_FLAGS);
  store<u32>(netq, first, NETQ_MERGE_LAST);
  store<u32>(netq, buffers - 1, NETQ_MERGE_LEFT);
}

/** True when the checksum that is left to do lies in the frame (5.1.6.4.2). */
export function checksumFits(slot: u32): bool {
  if (!(load<u8>(slot, SLOT_FLAGS) & SLOT_FLAG_OFFLOAD)) return true;
  const buffer = load<u32>(slot, SLOT_BUFFER);
  return <u32>load<u16>(buffer, BUFFER_CSUM_START) + load<u16>(buffer, BUFFER_CSUM_OFFSET) + 2 <= frameLength(slot);
}

/** Makes a packet at `slot` of a used buffer, or of the frame that it completes. Returns 1 when there is one. */
function acceptBuffer(netq: u32, slot: u32, out: u32, written: u32): u32 {
  const cache = load<u32>(netq, NETQ_CACHE);
  const headerBytes = load<u32>(netq, NETQ_HEADER_BYTES);
  if (load<u32>(netq, NETQ_MERGE_LEFT) > 0) {
    if (written === 0) {
      free(cache, out, 1);
      dropMerge(netq);
      return 0;
    }
    if (mergeBuffer(netq, load<u32>(out, SLOT_BUFFER), written) === 0) return 0;
    v128.store(slot, v128.load(netq + NETQ_MERGE_SLOT));
    if (checksumFits(slot)) return 1;
    dropMerge(netq);
    return 0;
  }
  v128.store(slot, v128.load(out));
  const header = load<u32>(out, SLOT_BUFFER) + BUFFER_HEADROOM - headerBytes;
  const merges = (load<u32>(netq, NETQ_FEATURES) & NETQ_F_MRG_RXBUF) !== 0;
  const buffers: u32 = merges ? load<u16>(header, NET_HDR_NUM_BUFFERS) : 1;
  store<u16>(slot, <u16>(written - headerBytes), SLOT_LENGTH);
  // Of a frame in several buffers only the first is here: where its checksum lies is checked when all are.
  const length = buffers > 1 ? <u32>0xffffffff : written - headerBytes;
  const ok = written >= headerBytes + NET_FRAME_MIN && buffers >= 1 && buffers <= SEGMENTS_MAX;
  if (!ok || acceptOffload(netq, slot, header, length) === 0) {
    free(cache, slot, 1);
    countNet(netq, NETQ_BAD);
    return 0;
  }
  if (buffers === 1) return 1;
  startMerge(netq, slot, buffers);
  return 0;
}

/**
 * Takes up to `max` (1 to 32) frames from the device, as packets to `slots`, and gives it empty buffers for them. Returns
 * how many. Driver only.
 */
export function driverReceive(netq: u32, slots: u32, max: u32): u32 {
  const records = load<u32>(netq, NETQ_RECORDS);
  const used = pollAny(load<u32>(netq, NETQ_QUEUE), records, min(max, BURST_MAX));
  let n: u32 = 0;
  for (let i: u32 = 0; i < used; i++) {
    const record = records + (i << USED_SHIFT);
    const out = slotOf(netq, load<u32>(record, USED_ID));
    n += acceptBuffer(netq, slots + (n << SLOT_SHIFT), out, load<u32>(record, USED_LENGTH));
  }
  // By the burst while frames come; when none do, the device may be waiting for the last few buffers.
  driverRefill(netq, used === 0 ? 1 : BURST_MAX);
  return n;
}

/** Frees every packet and buffer that a device, which is stopped, still has: returns in how many chains. Driver only. */
export function driverDetach(netq: u32): u32 {
  const records = load<u32>(netq, NETQ_RECORDS);
  if (load<u32>(netq, NETQ_MERGE_LEFT) > 0) dropMerge(netq);
  let out: u32 = 0;
  while (true) {
    const n = detach(load<u32>(netq, NETQ_QUEUE), records, NETQ_CHAINS);
    if (n === 0) return out;
    freeRecords(netq, records, n);
    out += n;
  }
}
