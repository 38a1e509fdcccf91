import { frameLength } from '../memory/chain.kernel.ts';
import { copyBytes } from '../memory/copy.kernel.ts';
import {
  BUFFER_LENGTH,
  BUFFER_NEXT,
  BUFFER_OFFSET,
  SLOT_BUFFER,
  SLOT_LENGTH,
  SLOT_OFFSET,
  SLOT_SHIFT,
} from '../memory/layout.ts';
import { free } from '../memory/pool.kernel.ts';
import {
  EXTRA_BYTES,
  NETIF_RSP_NULL,
  NETRING_BROKEN_ID,
  NETRING_GIVE,
  NETRING_SIZE,
  NETRING_TAKE,
  NETTX_BYTES,
  NETTX_FLAGS,
  NETTX_GREF,
  NETTX_ID,
  NETTX_OFFSET,
  NETTX_SIZE,
  NETTXF_CSUM_BLANK,
  NETTXF_DATA_VALIDATED,
  NETTXF_EXTRA_INFO,
  NETTXF_MORE_DATA,
  TXRSP_BYTES,
  TXRSP_ID,
  TXRSP_STATUS,
  VIFQ_CACHE,
  VIFQ_FAILED,
  VIFQ_FREE,
  VIFQ_FREE_COUNT,
  VIFQ_GREFS,
  VIFQ_LONG,
  VIFQ_OUT,
  VIFQ_PAGES,
  VIFQ_RING,
  VIFQ_SCRATCH,
  XEN_PAGE_BYTES,
  XEN_PAGE_SHIFT,
} from './layout.ts';
import { copySlot, isBroken, latch, publish, room, slotAt, unconsumed } from './ring.kernel.ts';
import { countVif, needsChecksum, pagesFor, segmentType, writeSegments } from './vif.kernel.ts';

/** Takes a page. Returns its id. */
function takePage(queue: u32): u32 {
  const count = load<u32>(queue, VIFQ_FREE_COUNT) - 1;
  const id = <u32>load<u16>(load<u32>(queue, VIFQ_FREE) + (count << 1));
  store<u32>(queue, count, VIFQ_FREE_COUNT);
  store<u8>(load<u32>(queue, VIFQ_OUT) + id, 1);
  return id;
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
    const isOut = id < load<u32>(ring, NETRING_SIZE) && load<u8>(out) !== 0;
    if (!isOut) {
      latch(ring, NETRING_BROKEN_ID);
      return;
    }
    store<u8>(out, 0);
    const count = load<u32>(queue, VIFQ_FREE_COUNT);
    store<u16>(load<u32>(queue, VIFQ_FREE) + (count << 1), <u16>id);
    store<u32>(queue, count + 1, VIFQ_FREE_COUNT);
    if (status < 0) countVif(queue, VIFQ_FAILED);
  }
  store<u32>(ring, from + n, NETRING_TAKE);
}

/** Writes a request for `length` bytes of the page `id` to the slot of `index`. */
function writeRequest(queue: u32, index: u32, id: u32, length: u32, flags: u32): void {
  const scratch = queue + VIFQ_SCRATCH;
  store<u32>(scratch, load<u32>(load<u32>(queue, VIFQ_GREFS) + (id << 2)), NETTX_GREF);
  store<u16>(scratch, 0, NETTX_OFFSET);
  store<u16>(scratch, <u16>flags, NETTX_FLAGS);
  store<u16>(scratch, <u16>id, NETTX_ID);
  store<u16>(scratch, <u16>length, NETTX_SIZE);
  copySlot(slotAt(load<u32>(queue, VIFQ_RING), index), scratch, NETTX_BYTES);
}

/** Flags of a packet's first slot. */
function firstFlags(slot: u32): u32 {
  const sum = needsChecksum(slot) ? NETTXF_CSUM_BLANK | NETTXF_DATA_VALIDATED : 0;
  return sum | (segmentType(slot) === 0 ? 0 : NETTXF_EXTRA_INFO);
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
    const id = takePage(queue);
    const page = load<u32>(queue, VIFQ_PAGES) + (id << XEN_PAGE_SHIFT);
    const length = min(left, XEN_PAGE_BYTES);
    let done: u32 = 0;
    while (done < length) {
      while (have === 0) {
        buffer = load<u32>(buffer, BUFFER_NEXT);
        source = buffer + load<u16>(buffer, BUFFER_OFFSET);
        have = load<u16>(buffer, BUFFER_LENGTH);
      }
      const n = min(have, length - done);
      copyBytes(page + done, source, n);
      done += n;
      source += n;
      have -= n;
    }
    left -= length;
    const flags = (left > 0 ? NETTXF_MORE_DATA : 0) | (at === index ? firstFlags(slot) : 0);
    // The first slot says how long the packet is, the others how much they add.
    writeRequest(queue, at, id, at === index ? total : length, flags);
    at++;
    if (flags & NETTXF_EXTRA_INFO) {
      writeSegments(queue + VIFQ_SCRATCH, slot);
      copySlot(slotAt(load<u32>(queue, VIFQ_RING), at), queue + VIFQ_SCRATCH, EXTRA_BYTES);
      at++;
    }
  }
  return at - index;
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
    const pages = pagesFor(queue, slot, frameLength(slot));
    if (pages === 0) {
      countVif(queue, VIFQ_LONG);
      continue;
    }
    const extras: u32 = segmentType(slot) === 0 ? 0 : 1;
    if (written + pages + extras > slotsFree || pages > load<u32>(queue, VIFQ_FREE_COUNT)) break;
    written += writePacket(queue, slot, from + written);
  }
  publish(ring, written);
  free(load<u32>(queue, VIFQ_CACHE), slots, done);
  return done;
}
