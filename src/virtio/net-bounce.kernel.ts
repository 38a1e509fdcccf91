import { append, frameLength } from '../memory/chain.kernel.ts';
import { copyBytes } from '../memory/copy.kernel.ts';
import {
  BUFFER_FRAME_MAX,
  BUFFER_HEADROOM,
  BURST_MAX,
  SEGMENTS_MAX,
  SLOT_BUFFER,
  SLOT_FLAG_CHAINED,
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
  CHAIN_SEGMENTS,
  CHAIN_WRITABLE,
  LIST_SEGMENTS,
  LIST_SEGMENTS_ADDRESS,
  NET_FRAME_MAX,
  NET_FRAME_MIN,
  NET_HDR_NUM_BUFFERS,
  NETQ_AREA_BYTES,
  NETQ_AREA_FREE,
  NETQ_AREA_LINKS,
  NETQ_AREA_SHIFT,
  NETQ_AREAS,
  NETQ_BAD,
  NETQ_CACHE,
  NETQ_CHAINS,
  NETQ_EMPTY,
  NETQ_F_MRG_RXBUF,
  NETQ_FEATURES,
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
  VQ_FREE,
  VQ_SIZE,
} from './layout.ts';
import { checksumFits, writeChain, writeSegment } from './net-driver.kernel.ts';
import { acceptOffload, countNet, writeHeader } from './net-header.kernel.ts';
import { scatter } from './scatter.kernel.ts';
import { addAny, pollAny } from './side.kernel.ts';
import { detach, isBroken } from './state.kernel.ts';

// A driver whose device can write to all that both reach: it reaches the rings and the areas, and no buffer of the pool.
// Each frame is copied, into or out of areas. There is an area for each descriptor, and a chain that is out has one for
// each of its descriptors: whoever finds a free descriptor finds a free area. Which areas are free is a list of links in our
// own memory. Taking some from its front leaves their links as they are, and so the areas of a chain stay linked.

/** Address of an area, of those at `areas`. */
function areaAt(netq: u32, areas: u32, area: u32): u32 {
  assert(area < load<u32>(load<u32>(netq, NETQ_QUEUE), VQ_SIZE));
  return areas + (area << NETQ_AREA_SHIFT);
}

/** The area behind `area`, in the free list or in a chain. */
function behind(links: u32, area: u32): u32 {
  return load<u32>(links + (area << 2));
}

/** Makes `n` chains of the list available, whose areas were taken. */
function addChains(netq: u32, n: u32): void {
  const list = load<u32>(netq, NETQ_LIST);
  const areas = load<u32>(netq, NETQ_AREAS);
  const outs = load<u32>(netq, NETQ_SLOTS);
  const added = addAny(load<u32>(netq, NETQ_QUEUE), list, n);
  // There is a descriptor for each area.
  assert(added === n);
  for (let i: u32 = 0; i < n; i++) {
    const chain = chainAt(list, i);
    const segments = load<u32>(chain, CHAIN_READABLE) + load<u32>(chain, CHAIN_WRITABLE);
    const first = load<u32>(chain, CHAIN_SEGMENTS);
    const last = first + ((segments - 1) << SEGMENT_SHIFT);
    const from = <u64>((load<u32>(first, SEGMENT_ADDRESS) - areas) >> NETQ_AREA_SHIFT);
    const to = <u64>((load<u32>(last, SEGMENT_ADDRESS) - areas) >> NETQ_AREA_SHIFT);
    store<u64>(outs + (load<u32>(chain, CHAIN_ID) << 3), (to << 32) | from);
  }
}

/** The areas of the chains of `n` records, which came back, are free again. */
function freeAreas(netq: u32, n: u32): void {
  const records = load<u32>(netq, NETQ_RECORDS);
  const links = load<u32>(netq, NETQ_AREA_LINKS);
  const outs = load<u32>(netq, NETQ_SLOTS);
  let first = load<u32>(netq, NETQ_AREA_FREE);
  for (let i: u32 = 0; i < n; i++) {
    const out = load<u64>(outs + (load<u32>(records + (i << USED_SHIFT), USED_ID) << 3));
    store<u32>(links + ((<u32>(out >> 32)) << 2), first);
    first = <u32>out;
  }
  store<u32>(netq, first, NETQ_AREA_FREE);
}

// ---------------------------------------------------------------- what the device takes

/** Takes back the areas that the device has read. */
function reclaim(netq: u32): void {
  while (true) {
    const n = pollAny(load<u32>(netq, NETQ_QUEUE), load<u32>(netq, NETQ_RECORDS), NETQ_CHAINS);
    freeAreas(netq, n);
    if (n < NETQ_CHAINS) return;
  }
}

/** Areas that header and frame take, of `bytes` in all. */
function areasOf(bytes: u32): u32 {
  return (bytes + NETQ_AREA_BYTES - 1) >> NETQ_AREA_SHIFT;
}

/** Copies packets until one does not fit what is free, or left of the list. Returns how many are with the device. */
function addPackets(netq: u32, slots: u32, packets: u32): u32 {
  const list = load<u32>(netq, NETQ_LIST);
  const headerBytes = load<u32>(netq, NETQ_HEADER_BYTES);
  const areas = load<u32>(netq, NETQ_AREAS);
  const links = load<u32>(netq, NETQ_AREA_LINKS);
  const segments = load<u32>(list, LIST_SEGMENTS_ADDRESS);
  const end = min(load<u32>(load<u32>(netq, NETQ_QUEUE), VQ_FREE), load<u32>(list, LIST_SEGMENTS));
  let area = load<u32>(netq, NETQ_AREA_FREE);
  let used: u32 = 0;
  let n: u32 = 0;
  while (n < packets) {
    const slot = slots + (n << SLOT_SHIFT);
    const bytes = headerBytes + frameLength(slot);
    const count = areasOf(bytes);
    if (used + count > end) break;
    const first = segments + (used << SEGMENT_SHIFT);
    if (count === 1 && !(load<u8>(slot, SLOT_FLAGS) & SLOT_FLAG_CHAINED)) {
      const target = areaAt(netq, areas, area);
      area = behind(links, area);
      writeSegment(first, target, bytes);
      writeHeader(netq, slot, target, 0);
      const source = load<u32>(slot, SLOT_BUFFER) + load<u16>(slot, SLOT_OFFSET);
      copyBytes(target + headerBytes, source, bytes - headerBytes);
    } else {
      for (let i: u32 = 0; i < count; i++) {
        const length = min(bytes - (i << NETQ_AREA_SHIFT), NETQ_AREA_BYTES);
        writeSegment(first + (i << SEGMENT_SHIFT), areaAt(netq, areas, area), length);
        area = behind(links, area);
      }
      scatter(netq, slot, first, 0, bytes);
    }
    writeChain(list, n, first, count, bytes, false);
    used += count;
    n++;
  }
  store<u32>(netq, area, NETQ_AREA_FREE);
  if (n > 0) addChains(netq, n);
  return n;
}

/**
 * Copies the first of `count` (1 to 32) packets at `slots` for the device, and frees them. Returns how many; the rest stay
 * the caller's: the device has not read enough yet. Those that need more areas than there are are dropped. Driver only.
 */
export function bounceSend(netq: u32, slots: u32, count: u32): u32 {
  const queue = load<u32>(netq, NETQ_QUEUE);
  const size = load<u32>(queue, VQ_SIZE);
  // Rarely, and then much at once: what the device has just written is still in its cache, and it writes there again.
  if (load<u32>(queue, VQ_FREE) <= size >> 2) reclaim(netq);
  let done: u32 = 0;
  let reclaimed = false;
  while (done < count && !isBroken(queue)) {
    const slot = slots + (done << SLOT_SHIFT);
    const n = addPackets(netq, slot, min(count - done, BURST_MAX));
    done += n;
    if (n > 0) continue;
    if (areasOf(load<u32>(netq, NETQ_HEADER_BYTES) + frameLength(slot)) > size) {
      countNet(netq, NETQ_LONG);
      done++;
    } else if (reclaimed) {
      break;
    } else {
      reclaim(netq);
      reclaimed = true;
    }
  }
  free(load<u32>(netq, NETQ_CACHE), slots, done);
  return done;
}

// ---------------------------------------------------------------- what the device gives

/** Gives the device free areas, one a chain, when `wanted` (1 to 32) or half of them are. A frame of one fits one buffer. */
function refill(netq: u32, wanted: u32): void {
  const queue = load<u32>(netq, NETQ_QUEUE);
  const list = load<u32>(netq, NETQ_LIST);
  const segments = load<u32>(list, LIST_SEGMENTS_ADDRESS);
  const areas = load<u32>(netq, NETQ_AREAS);
  const links = load<u32>(netq, NETQ_AREA_LINKS);
  const bytes = load<u32>(netq, NETQ_HEADER_BYTES) + BUFFER_FRAME_MAX;
  const least = min(wanted, max(load<u32>(queue, VQ_SIZE) >> 1, 1));
  while (load<u32>(queue, VQ_FREE) >= least && !isBroken(queue)) {
    const n = min(load<u32>(queue, VQ_FREE), BURST_MAX);
    let area = load<u32>(netq, NETQ_AREA_FREE);
    for (let i: u32 = 0; i < n; i++) {
      const segment = segments + (i << SEGMENT_SHIFT);
      writeSegment(segment, areaAt(netq, areas, area), bytes);
      writeChain(list, i, segment, 1, bytes, true);
      area = behind(links, area);
    }
    store<u32>(netq, area, NETQ_AREA_FREE);
    addChains(netq, n);
  }
}

/** Drops what was merged so far; what is still to come of the frame is passed over. */
function dropMerge(netq: u32, counter: u32): void {
  free(load<u32>(netq, NETQ_CACHE), netq + NETQ_MERGE_SLOT, 1);
  store<u32>(netq, 0, NETQ_MERGE_LAST);
  countNet(netq, counter);
}

/** Appends the `written` bytes at `source` to the frame that is being merged. Returns 1 when that made it whole. */
function mergePart(netq: u32, source: u32, written: u32): u32 {
  const left = load<u32>(netq, NETQ_MERGE_LEFT) - 1;
  store<u32>(netq, left, NETQ_MERGE_LEFT);
  if (load<u32>(netq, NETQ_MERGE_LAST) === 0) return 0;
  if (written === 0) {
    dropMerge(netq, NETQ_BAD);
    return 0;
  }
  const slot = netq + NETQ_MERGE_SLOT;
  const last = append(load<u32>(netq, NETQ_CACHE), slot, load<u32>(netq, NETQ_MERGE_LAST), source, written);
  store<u32>(netq, last, NETQ_MERGE_LAST);
  if (last === 0) {
    dropMerge(netq, NETQ_EMPTY);
    return 0;
  }
  if (left > 0) return 0;
  if (frameLength(slot) <= NET_FRAME_MAX && checksumFits(slot)) return 1;
  dropMerge(netq, NETQ_BAD);
  return 0;
}

/** Buffers of the frame whose first is `written` bytes at `area`; 0 when there is no such frame. */
function buffersOf(netq: u32, area: u32, written: u32): u32 {
  if (written < load<u32>(netq, NETQ_HEADER_BYTES) + NET_FRAME_MIN) return 0;
  if (!(load<u32>(netq, NETQ_FEATURES) & NETQ_F_MRG_RXBUF)) return 1;
  const buffers = <u32>load<u16>(area, NET_HDR_NUM_BUFFERS);
  return buffers <= SEGMENTS_MAX ? buffers : 0;
}

/** Copies the `written` bytes at `area`, all or the first of a frame, into the empty packet at `slot`. Returns 1, or 0. */
function copyFirst(netq: u32, slot: u32, area: u32, written: u32, buffers: u32): u32 {
  const headerBytes = load<u32>(netq, NETQ_HEADER_BYTES);
  const frame = written - headerBytes;
  copyBytes(load<u32>(slot, SLOT_BUFFER) + BUFFER_HEADROOM, area + headerBytes, frame);
  store<u16>(slot, <u16>frame, SLOT_LENGTH);
  // Of a frame in several buffers only the first is here: where its checksum lies is checked when all are.
  return acceptOffload(netq, slot, area, buffers > 1 ? <u32>0xffffffff : frame);
}

/**
 * Takes up to `max` (1 to 32) frames from the device, as packets to `slots`, and gives it the areas back. Returns how
 * many. Driver only.
 */
export function bounceReceive(netq: u32, slots: u32, max: u32): u32 {
  const records = load<u32>(netq, NETQ_RECORDS);
  const used = pollAny(load<u32>(netq, NETQ_QUEUE), records, min(max, BURST_MAX));
  const cache = load<u32>(netq, NETQ_CACHE);
  const areas = load<u32>(netq, NETQ_AREAS);
  const outs = load<u32>(netq, NETQ_SLOTS);
  // Packets from `n` to `ready` are empty.
  let ready: u32 = used === 0 ? 0 : alloc(cache, slots, used);
  let n: u32 = 0;
  for (let i: u32 = 0; i < used; i++) {
    const record = records + (i << USED_SHIFT);
    const written = load<u32>(record, USED_LENGTH);
    const area = areaAt(netq, areas, load<u32>(outs + (load<u32>(record, USED_ID) << 3)));
    const slot = slots + (n << SLOT_SHIFT);
    if (load<u32>(netq, NETQ_MERGE_LEFT) > 0) {
      if (mergePart(netq, area, written) === 0) continue;
      if (n < ready) free(cache, slot, 1);
      else ready++;
      v128.store(slot, v128.load(netq + NETQ_MERGE_SLOT));
      n++;
      continue;
    }
    const buffers = buffersOf(netq, area, written);
    if (buffers === 0) {
      countNet(netq, NETQ_BAD);
      continue;
    }
    let kept: u32 = 0;
    if (n === ready) countNet(netq, NETQ_EMPTY);
    else if (copyFirst(netq, slot, area, written, buffers) === 0) countNet(netq, NETQ_BAD);
    else kept = load<u32>(slot, SLOT_BUFFER);
    if (buffers === 1 && kept !== 0) {
      n++;
      continue;
    }
    store<u32>(netq, buffers - 1, NETQ_MERGE_LEFT);
    store<u32>(netq, buffers > 1 ? kept : 0, NETQ_MERGE_LAST);
    if (n === ready) continue;
    // It is merged, or freed, whatever it holds now; the last of the empty ones takes its place.
    if (kept !== 0) v128.store(netq + NETQ_MERGE_SLOT, v128.load(slot));
    else free(cache, slot, 1);
    ready--;
    if (ready > n) v128.store(slot, v128.load(slots + (ready << SLOT_SHIFT)));
  }
  if (ready > n) free(cache, slots + (n << SLOT_SHIFT), ready - n);
  freeAreas(netq, used);
  // By the burst while frames come; when none do, the device may be waiting for the last few areas.
  refill(netq, used === 0 ? 1 : BURST_MAX);
  return n;
}

/**
 * Takes back all areas of a device that is stopped, and frees what was being merged. Returns how many chains the device had
 * not returned. Driver only.
 */
export function bounceDetach(netq: u32): u32 {
  if (load<u32>(netq, NETQ_MERGE_LEFT) > 0 && load<u32>(netq, NETQ_MERGE_LAST) !== 0) dropMerge(netq, NETQ_BAD);
  store<u32>(netq, 0, NETQ_MERGE_LEFT);
  // What was sent comes back now and then only.
  reclaim(netq);
  let out: u32 = 0;
  while (true) {
    const n = detach(load<u32>(netq, NETQ_QUEUE), load<u32>(netq, NETQ_RECORDS), NETQ_CHAINS);
    if (n === 0) return out;
    freeAreas(netq, n);
    out += n;
  }
}
