import { frameLength } from '../memory/chain.kernel.ts';
import { copyBytes } from '../memory/copy.kernel.ts';
import {
  BUFFER_LENGTH,
  BUFFER_NEXT,
  BUFFER_OFFSET,
  SLOT_BUFFER,
  SLOT_FLAG_CHAINED,
  SLOT_FLAG_OFFLOAD,
  SLOT_FLAGS,
  SLOT_LENGTH,
  SLOT_OFFSET,
  SLOT_SHIFT,
} from '../memory/layout.ts';
import { free } from '../memory/pool.kernel.ts';
import { countFallback, publishFrames, putFrame } from './data-ring.kernel.ts';
import {
  EXTRA_BYTES,
  NETIF_RSP_NULL,
  NETRING_BROKEN_ID,
  NETRING_GIVE,
  NETRING_SIZE,
  NETRING_TAKE,
  NETTX_FLAGS,
  NETTX_GREF,
  NETTX_ID,
  NETTX_SIZE,
  NETTXF_CSUM_BLANK,
  NETTXF_DATA_RING,
  NETTXF_DATA_VALIDATED,
  NETTXF_EXTRA_INFO,
  NETTXF_MORE_DATA,
  NETTXF_STAGING_BUFFER,
  TXRSP_BYTES,
  TXRSP_ID,
  TXRSP_STATUS,
  XEN_PAGE_BYTES,
  XEN_PAGE_SHIFT,
} from './layout.ts';
import {
  LENDABLE_BUFFER,
  LENDABLE_NONE,
  LENDABLE_PLACE,
  VIFQ_CACHE,
  VIFQ_DATA_INDEX,
  VIFQ_FAILED,
  VIFQ_FREE,
  VIFQ_FREE_COUNT,
  VIFQ_GREFS,
  VIFQ_LEND,
  VIFQ_LEND_BYTES,
  VIFQ_LENT,
  VIFQ_LONG,
  VIFQ_OTHER,
  VIFQ_OUT,
  VIFQ_OUT_FIRST,
  VIFQ_OUT_MORE,
  VIFQ_PAGES,
  VIFQ_RECENT,
  VIFQ_RING,
  VIFQ_SCRATCH,
} from './queue-layout.ts';
import { copySlot, isBroken, latch, publish, room, slotAt, unconsumed } from './ring.kernel.ts';
import { findRecent, stagedAt, stagedBytes } from './staging.kernel.ts';
import { countVif, needsChecksum, pagesFor, segmentType, writeSegments } from './vif.kernel.ts';

/** Takes a page for a slot, which is VIFQ_OUT_…. Returns its id. */
function takePage(queue: u32, kind: u32): u32 {
  const count = load<u32>(queue, VIFQ_FREE_COUNT) - 1;
  const id = <u32>load<u16>(load<u32>(queue, VIFQ_FREE) + (count << 1));
  store<u32>(queue, count, VIFQ_FREE_COUNT);
  store<u8>(load<u32>(queue, VIFQ_OUT) + id, <u8>kind);
  return id;
}

/** The rx staging buffer that went out with `id`, if one did, may be received to again. */
function takeBack(queue: u32, id: u32): void {
  const lent = load<u32>(queue, VIFQ_LENT) + (id << 1);
  const place = <u32>load<u16>(lent);
  if (place === 0) return;
  store<u16>(lent, 0);
  store<u8>(load<u32>(load<u32>(queue, VIFQ_OTHER), VIFQ_LENT) + place - 1, 0);
}

/** Takes the answers that are there: their pages are free again. A page that is not out breaks the ring. */
export function frontReclaim(queue: u32): void {
  const ring = load<u32>(queue, VIFQ_RING);
  const scratch = queue + VIFQ_SCRATCH;
  const from = load<u32>(ring, NETRING_TAKE);
  const n = unconsumed(ring);
  for (let i: u32 = 0; i < n; i++) {
    copySlot(scratch, slotAt(ring, from + i), TXRSP_BYTES);
    const status = load<i16>(scratch, TXRSP_STATUS);
    if (status === <i16>NETIF_RSP_NULL) continue;
    const id = <u32>load<u16>(scratch, TXRSP_ID);
    const out = load<u32>(queue, VIFQ_OUT) + id;
    const kind = id < load<u32>(ring, NETRING_SIZE) ? <u32>load<u8>(out) : 0;
    if (kind === 0) {
      latch(ring, NETRING_BROKEN_ID);
      return;
    }
    store<u8>(out, 0);
    if (load<u32>(queue, VIFQ_RECENT) !== 0) takeBack(queue, id);
    const count = load<u32>(queue, VIFQ_FREE_COUNT);
    store<u16>(load<u32>(queue, VIFQ_FREE) + (count << 1), <u16>id);
    store<u32>(queue, count + 1, VIFQ_FREE_COUNT);
    // Each slot of a packet that failed says so; it is one packet.
    if (status < 0 && kind === VIFQ_OUT_FIRST) countVif(queue, VIFQ_FAILED);
  }
  store<u32>(ring, from + n, NETRING_TAKE);
}

/** Writes a request for `length` bytes of what `gref` names to the slot of `index`. */
function writeRequest(queue: u32, index: u32, gref: u32, id: u32, length: u32, flags: u32): void {
  const slot = slotAt(load<u32>(queue, VIFQ_RING), index);
  // In two stores: reading what several narrower ones have just written waits until they are done. The offset is 0.
  store<u64>(slot, <u64>gref | ((<u64>flags) << ((NETTX_FLAGS - NETTX_GREF) << 3)));
  store<u32>(slot, id | (length << ((NETTX_SIZE - NETTX_ID) << 3)), NETTX_ID);
}

function grefOf(queue: u32, id: u32): u32 {
  return load<u32>(load<u32>(queue, VIFQ_GREFS) + (id << 2));
}

/** Flags of a packet's first slot. */
function firstFlags(slot: u32): u32 {
  const sum = needsChecksum(slot) ? NETTXF_CSUM_BLANK | NETTXF_DATA_VALIDATED : 0;
  return sum | (segmentType(slot) === 0 ? 0 : NETTXF_EXTRA_INFO);
}

/** Writes the extra information of the packet at `slot` to the slot of `index`. */
function writeExtra(queue: u32, slot: u32, index: u32): void {
  writeSegments(queue + VIFQ_SCRATCH, slot);
  copySlot(slotAt(load<u32>(queue, VIFQ_RING), index), queue + VIFQ_SCRATCH, EXTRA_BYTES);
}

/** Writes the slots of the packet at `slot`, which is in the data ring, from `index` on. Returns how many. */
function writeFramed(queue: u32, slot: u32, index: u32): u32 {
  const flags = firstFlags(slot) | NETTXF_DATA_RING;
  writeRequest(queue, index, 0, takePage(queue, VIFQ_OUT_FIRST), frameLength(slot), flags);
  if (!(flags & NETTXF_EXTRA_INFO)) return 1;
  writeExtra(queue, slot, index + 1);
  return 2;
}

/** Copies the packet at `slot` to pages, and writes its slots from `index` on. Returns how many slots it took. */
function writePacket(queue: u32, slot: u32, index: u32): u32 {
  const total = frameLength(slot);
  let buffer = load<u32>(slot, SLOT_BUFFER);
  let source = buffer + load<u16>(slot, SLOT_OFFSET);
  let have: u32 = load<u16>(slot, SLOT_LENGTH);
  let left = total;
  let at = index;
  while (left > 0) {
    const id = takePage(queue, at === index ? VIFQ_OUT_FIRST : VIFQ_OUT_MORE);
    const page = load<u32>(queue, VIFQ_PAGES) + (id << XEN_PAGE_SHIFT);
    const length = min(left, XEN_PAGE_BYTES);
    const staged = stagedBytes(queue, id, total - left, length);
    let done: u32 = 0;
    while (done < length) {
      while (have === 0) {
        buffer = load<u32>(buffer, BUFFER_NEXT);
        source = buffer + load<u16>(buffer, BUFFER_OFFSET);
        have = load<u16>(buffer, BUFFER_LENGTH);
      }
      const isStaged = done < staged;
      const n = min(have, (isStaged ? staged : length) - done);
      copyBytes((isStaged ? stagedAt(queue, id) : page) + done, source, n);
      done += n;
      source += n;
      have -= n;
    }
    left -= length;
    const flags = (left > 0 ? NETTXF_MORE_DATA : 0) | (at === index ? firstFlags(slot) : 0);
    // The first slot says how long the packet is, the others how much they add.
    writeRequest(queue, at, grefOf(queue, id), id, at === index ? total : length, flags);
    at++;
    if (flags & NETTXF_EXTRA_INFO) {
      writeExtra(queue, slot, at);
      at++;
    }
  }
  return at - index;
}

/** As `findRecent`, of the packet at `slot`; 0 when there is nothing that it may be sent from. */
function lendable(queue: u32, slot: u32): u32 {
  const recent = load<u32>(queue, VIFQ_RECENT);
  if (recent === 0 || load<u8>(slot, SLOT_FLAGS) & <u8>(SLOT_FLAG_CHAINED | SLOT_FLAG_OFFLOAD)) return 0;
  if (load<u16>(slot, SLOT_LENGTH) > <u16>load<u32>(queue, VIFQ_LEND_BYTES)) return 0;
  const entry = findRecent(recent, load<u32>(slot, SLOT_BUFFER));
  return entry === 0 || load<u32>(entry, LENDABLE_PLACE) === LENDABLE_NONE ? 0 : entry;
}

/** Makes `n` bytes at `target` those at `source`, and writes only where they differ: the lines stay with whoever has them. */
function writeChanged(target: u32, source: u32, n: u32): void {
  if (n < 16) {
    copyBytes(target, source, n);
    return;
  }
  for (let at: u32 = 0; at < n; at += 16) {
    const from = min(at, n - 16);
    const bytes = v128.load(source + from);
    if (v128.any_true(v128.xor(bytes, v128.load(target + from)))) v128.store(target + from, bytes);
  }
}

/** Sends the packet at `slot` out of the rx staging buffer that it was received in, by one request at `index`. */
function lend(queue: u32, slot: u32, recent: u32, index: u32): void {
  const place = load<u32>(recent, LENDABLE_PLACE);
  const length = <u32>load<u16>(slot, SLOT_LENGTH);
  const source = load<u32>(slot, SLOT_BUFFER) + load<u16>(slot, SLOT_OFFSET);
  writeChanged(load<u32>(load<u32>(queue, VIFQ_LEND) + (place << 2)), source, length);
  store<u32>(recent, 0, LENDABLE_BUFFER);
  const id = takePage(queue, VIFQ_OUT_FIRST);
  store<u16>(load<u32>(queue, VIFQ_LENT) + (id << 1), <u16>(place + 1));
  store<u8>(load<u32>(load<u32>(queue, VIFQ_OTHER), VIFQ_LENT) + place, 1);
  // Its id among all staging buffers: tx's come first, one for each slot.
  const gref = load<u32>(load<u32>(queue, VIFQ_RING), NETRING_SIZE) + place;
  writeRequest(queue, index, gref, id, length, NETTXF_STAGING_BUFFER);
}

/**
 * Sends the first of `count` packets at `slots`, as far as pages and slots are free, and frees them; one that the backend cannot
 * take at all is counted and passed over. Returns how many packets are dealt with.
 */
export function frontSend(queue: u32, slots: u32, count: u32): u32 {
  const ring = load<u32>(queue, VIFQ_RING);
  frontReclaim(queue);
  if (isBroken(ring)) return 0;
  const from = load<u32>(ring, NETRING_GIVE);
  const slotsFree = room(ring);
  let written: u32 = 0;
  let done: u32 = 0;
  for (; done < count; done++) {
    const slot = slots + (done << SLOT_SHIFT);
    const length = frameLength(slot);
    const pages = pagesFor(queue, slot, length, 0);
    if (pages === 0) {
      countVif(queue, VIFQ_LONG);
      continue;
    }
    const extras: u32 = segmentType(slot) === 0 ? 0 : 1;
    const hasSlot = written + 1 + extras <= slotsFree && load<u32>(queue, VIFQ_FREE_COUNT) > 0;
    if (hasSlot && putFrame(queue, slot, length)) {
      written += writeFramed(queue, slot, from + written);
      continue;
    }
    if (written + pages + extras > slotsFree || pages > load<u32>(queue, VIFQ_FREE_COUNT)) break;
    countFallback(queue);
    const recent = lendable(queue, slot);
    if (recent === 0) written += writePacket(queue, slot, from + written);
    else lend(queue, slot, recent, from + written++);
  }
  publishFrames(queue, load<u32>(queue, VIFQ_DATA_INDEX));
  publish(ring, written);
  free(load<u32>(queue, VIFQ_CACHE), slots, done);
  return done;
}
