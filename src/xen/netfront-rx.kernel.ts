import { append } from '../memory/chain.kernel.ts';
import { SLOT_BUFFER, SLOT_SHIFT } from '../memory/layout.ts';
import { alloc, free } from '../memory/pool.kernel.ts';
import { keepCopied, readFrame, returnFrames, takeFrame } from './data-ring.kernel.ts';
import { rxGather } from './gather.kernel.ts';
import {
  NETRING_GIVE,
  NETRING_SIZE,
  NETRX_GREF,
  NETRX_ID,
  NETRX_SHIFT,
  NETRXF_CSUM_BLANK,
  NETRXF_DATA_RING,
  XEN_PAGE_SHIFT,
} from './layout.ts';
import { takePlain } from './plain-rx.kernel.ts';
import {
  GATHER_PACKETS,
  GATHER_PIECES,
  GATHER_PIECES_MAX,
  LENDABLE_BUFFER,
  LENDABLE_NONE,
  LENDABLE_PLACE,
  LENDABLE_SHIFT,
  PACKET_BAD,
  PACKET_BAD_STATUS,
  PACKET_FLAGS,
  PACKET_PIECE,
  PACKET_PIECES,
  PACKET_SHIFT,
  PACKET_SIZE,
  PIECE_LENGTH,
  PIECE_OFFSET,
  PIECE_PLACE,
  PIECE_SHIFT,
  RECENT_COUNT,
  RECENT_FIRST,
  VIFQ_BAD,
  VIFQ_CACHE,
  VIFQ_DATA_INDEX,
  VIFQ_EMPTY,
  VIFQ_FAILED,
  VIFQ_GATHER,
  VIFQ_GREFS,
  VIFQ_LENT,
  VIFQ_PAGES,
  VIFQ_RECENT,
  VIFQ_RING,
} from './queue-layout.ts';
import { isBroken, publish, room, slotAt, unconsumed } from './ring.kernel.ts';
import { stagedAt, stagedBytes } from './staging.kernel.ts';
import { acceptOffload, countVif, keepHash } from './vif.kernel.ts';

/**
 * Asks for packets in all slots that are free, up to one whose staging buffer is out with a packet that is sent from it. A slot's page
 * and id are those of its place in the ring.
 */
export function frontRefill(queue: u32): void {
  const ring = load<u32>(queue, VIFQ_RING);
  const recent = load<u32>(queue, VIFQ_RECENT);
  if (recent !== 0) store<u32>(recent, 0, RECENT_COUNT);
  if (isBroken(ring)) return;
  // What does not change is read once: a compiler may not, with stores in between.
  const requests = slotAt(ring, 0);
  const mask = load<u32>(ring, NETRING_SIZE) - 1;
  const grefs = load<u32>(queue, VIFQ_GREFS);
  const lent = load<u32>(queue, VIFQ_LENT);
  const from = load<u32>(ring, NETRING_GIVE);
  const n = room(ring);
  let given: u32 = 0;
  for (; given < n; given++) {
    const place = (from + given) & mask;
    if (recent !== 0 && load<u8>(lent + place) !== 0) break;
    const gref = load<u32>(grefs + (place << 2));
    store<u64>(requests + (place << NETRX_SHIFT), <u64>place | ((<u64>gref) << ((NETRX_GREF - NETRX_ID) << 3)));
  }
  publish(ring, given);
}

/** Copies a packet out of its staging buffers and pages into the empty one at `slot`. Returns false when buffers run out. */
function copyOut(queue: u32, packet: u32, slot: u32): bool {
  const cache = load<u32>(queue, VIFQ_CACHE);
  const pieces = load<u32>(queue, VIFQ_GATHER) + GATHER_PIECES + (load<u32>(packet, PACKET_PIECE) << PIECE_SHIFT);
  const end = pieces + (load<u32>(packet, PACKET_PIECES) << PIECE_SHIFT);
  let last = load<u32>(slot, SLOT_BUFFER);
  let position: u32 = 0;
  for (let piece = pieces; piece < end; piece += 1 << PIECE_SHIFT) {
    const place = load<u32>(piece, PIECE_PLACE);
    const length = <u32>load<u16>(piece, PIECE_LENGTH);
    const staged = stagedBytes(queue, place, position, length);
    if (staged > 0) {
      last = append(cache, slot, last, stagedAt(queue, place), staged);
      if (last === 0) return false;
    }
    if (staged < length) {
      const page = load<u32>(queue, VIFQ_PAGES) + (place << XEN_PAGE_SHIFT);
      last = append(cache, slot, last, page + load<u16>(piece, PIECE_OFFSET) + staged, length - staged);
      if (last === 0) return false;
    }
    position += length;
  }
  return true;
}

/** The place of `packet` when it lies whole at the start of its staging buffer, which it may be sent from until the next burst. */
function lendablePlace(queue: u32, packet: u32): u32 {
  if (load<u32>(packet, PACKET_PIECES) !== 1) return LENDABLE_NONE;
  const piece = load<u32>(queue, VIFQ_GATHER) + GATHER_PIECES + (load<u32>(packet, PACKET_PIECE) << PIECE_SHIFT);
  const place = load<u32>(piece, PIECE_PLACE);
  const length = load<u32>(packet, PACKET_SIZE);
  return stagedBytes(queue, place, 0, length) === length ? place : LENDABLE_NONE;
}

/** Remembers that `packet` was received as the one at `slot`. */
function remember(queue: u32, packet: u32, slot: u32): void {
  const recent = load<u32>(queue, VIFQ_RECENT);
  if (recent === 0) return;
  const count = load<u32>(recent, RECENT_COUNT);
  const entry = recent + RECENT_FIRST + (count << LENDABLE_SHIFT);
  store<u32>(entry, load<u32>(slot, SLOT_BUFFER), LENDABLE_BUFFER);
  store<u32>(entry, lendablePlace(queue, packet), LENDABLE_PLACE);
  store<u32>(recent, count + 1, RECENT_COUNT);
}

/**
 * Asks for as many packets as fit, then takes up to `max` (32 at most) that the backend sends, as packets to `slots`. The bytes are
 * copied before anybody looks at them. Returns how many.
 */
export function frontReceive(queue: u32, slots: u32, max: u32): u32 {
  const gather = load<u32>(queue, VIFQ_GATHER);
  const cache = load<u32>(queue, VIFQ_CACHE);
  // Before and not after: what was received last could be sent from where it lay until now.
  frontRefill(queue);
  returnFrames(queue);
  const ring = load<u32>(queue, VIFQ_RING);
  const available = unconsumed(ring);
  // All buffers at once; those that are left go back behind the loop.
  let have = alloc(cache, slots, min(available, max));
  let n = takePlain(queue, slots, have);
  const packets = n < min(available, max) ? rxGather(ring, gather, max - n, GATHER_PIECES_MAX) : 0;
  for (let i: u32 = 0; i < packets; i++) {
    const packet = gather + GATHER_PACKETS + (i << PACKET_SHIFT);
    const bad = load<u32>(packet, PACKET_BAD);
    const isFramed = bad === 0 && (load<u16>(packet, PACKET_FLAGS) & <u16>NETRXF_DATA_RING) !== 0;
    const length = isFramed ? takeFrame(queue) : 0;
    if (bad !== 0 || (isFramed && length === 0)) {
      countVif(queue, bad === PACKET_BAD_STATUS ? VIFQ_FAILED : VIFQ_BAD);
      continue;
    }
    const slot = slots + (n << SLOT_SHIFT);
    if (n === have) {
      countVif(queue, VIFQ_EMPTY);
      continue;
    }
    const isWhole = isFramed ? readFrame(queue, slot, length) : copyOut(queue, packet, slot);
    const csumBlank = (load<u16>(packet, PACKET_FLAGS) & <u16>NETRXF_CSUM_BLANK) !== 0;
    if (isWhole && acceptOffload(slot, packet, csumBlank)) {
      keepHash(slot, packet);
      remember(queue, packet, slot);
      n++;
      continue;
    }
    countVif(queue, isWhole ? VIFQ_BAD : VIFQ_EMPTY);
    free(cache, slot, 1);
    // The last buffer takes the place of the one that was freed.
    have--;
    v128.store(slot, v128.load(slots + (have << SLOT_SHIFT)));
  }
  keepCopied(queue, load<u32>(queue, VIFQ_DATA_INDEX));
  if (n < have) free(cache, slots + (n << SLOT_SHIFT), have - n);
  return n;
}
