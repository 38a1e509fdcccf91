import { append } from '../memory/chain.kernel.ts';
import { SLOT_BUFFER, SLOT_SHIFT } from '../memory/layout.ts';
import { alloc, free } from '../memory/pool.kernel.ts';
import { rxGather } from './gather.kernel.ts';
import {
  GATHER_PACKETS,
  GATHER_PIECES,
  GATHER_PIECES_MAX,
  NETRING_GIVE,
  NETRING_SIZE,
  NETRX_BYTES,
  NETRX_GREF,
  NETRX_ID,
  NETRXF_CSUM_BLANK,
  PACKET_BAD,
  PACKET_BAD_STATUS,
  PACKET_FLAGS,
  PACKET_PIECE,
  PACKET_PIECES,
  PACKET_SHIFT,
  PIECE_LENGTH,
  PIECE_OFFSET,
  PIECE_PLACE,
  PIECE_SHIFT,
  VIFQ_BAD,
  VIFQ_CACHE,
  VIFQ_EMPTY,
  VIFQ_FAILED,
  VIFQ_GATHER,
  VIFQ_GREFS,
  VIFQ_PAGES,
  VIFQ_RING,
  VIFQ_SCRATCH,
  XEN_PAGE_SHIFT,
} from './layout.ts';
import { copySlot, isBroken, publish, room, slotAt } from './ring.kernel.ts';
import { acceptOffload, countVif } from './vif.kernel.ts';

/** Asks for packets in all slots that are free. A slot's page and id are those of its place in the ring. */
export function frontRefill(queue: u32): void {
  const ring = load<u32>(queue, VIFQ_RING);
  if (isBroken(ring)) return;
  const scratch = queue + VIFQ_SCRATCH;
  const from = load<u32>(ring, NETRING_GIVE);
  const n = room(ring);
  for (let i: u32 = 0; i < n; i++) {
    const place = (from + i) & (load<u32>(ring, NETRING_SIZE) - 1);
    store<u32>(scratch, place, NETRX_ID);
    store<u32>(scratch, load<u32>(load<u32>(queue, VIFQ_GREFS) + (place << 2)), NETRX_GREF);
    copySlot(slotAt(ring, from + i), scratch, NETRX_BYTES);
  }
  publish(ring, n);
}

/** Copies a packet out of its pages into the empty one at `slot`. Returns false when buffers run out. */
function copyOut(queue: u32, packet: u32, slot: u32): bool {
  const cache = load<u32>(queue, VIFQ_CACHE);
  const pieces = load<u32>(queue, VIFQ_GATHER) + GATHER_PIECES + (load<u32>(packet, PACKET_PIECE) << PIECE_SHIFT);
  const end = pieces + (load<u32>(packet, PACKET_PIECES) << PIECE_SHIFT);
  let last = load<u32>(slot, SLOT_BUFFER);
  for (let piece = pieces; piece < end; piece += 1 << PIECE_SHIFT) {
    const page = load<u32>(queue, VIFQ_PAGES) + (load<u32>(piece, PIECE_PLACE) << XEN_PAGE_SHIFT);
    const length = <u32>load<u16>(piece, PIECE_LENGTH);
    if (length === 0) continue;
    last = append(cache, slot, last, page + load<u16>(piece, PIECE_OFFSET), length);
    if (last === 0) return false;
  }
  return true;
}

/**
 * Takes up to `max` (32 at most) packets that the backend sends, as packets to `slots`, and asks for as many more. The bytes are
 * copied before anybody looks at them. Returns how many.
 */
export function frontReceive(queue: u32, slots: u32, max: u32): u32 {
  const gather = load<u32>(queue, VIFQ_GATHER);
  const cache = load<u32>(queue, VIFQ_CACHE);
  const packets = rxGather(load<u32>(queue, VIFQ_RING), gather, max, GATHER_PIECES_MAX);
  let n: u32 = 0;
  for (let i: u32 = 0; i < packets; i++) {
    const packet = gather + GATHER_PACKETS + (i << PACKET_SHIFT);
    const bad = load<u32>(packet, PACKET_BAD);
    if (bad !== 0) {
      countVif(queue, bad === PACKET_BAD_STATUS ? VIFQ_FAILED : VIFQ_BAD);
      continue;
    }
    const slot = slots + (n << SLOT_SHIFT);
    if (alloc(cache, slot, 1) === 0) {
      countVif(queue, VIFQ_EMPTY);
      continue;
    }
    const isWhole = copyOut(queue, packet, slot);
    const csumBlank = (load<u16>(packet, PACKET_FLAGS) & <u16>NETRXF_CSUM_BLANK) !== 0;
    if (isWhole && acceptOffload(slot, packet, csumBlank)) {
      n++;
      continue;
    }
    countVif(queue, isWhole ? VIFQ_BAD : VIFQ_EMPTY);
    free(cache, slot, 1);
  }
  frontRefill(queue);
  return n;
}
