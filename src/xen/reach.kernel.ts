// Where a backend finds a slot's bytes without a copy by grant: in a staging buffer, or in a page that stays mapped.

import { grefAt } from './gref-table.kernel.ts';
import { NETTXF_STAGING_BUFFER } from './layout.ts';
import {
  PIECE_FLAGS,
  PIECE_ID,
  PIECE_LENGTH,
  PIECE_OFFSET,
  PIECE_PLACE,
  PIECE_REACHED,
  VIFQ_EPOCH,
  VIFQ_TABLE,
  VIFQ_WANTED,
  WANTED_COUNT,
  WANTED_GREFS,
  WANTED_MAPPED,
  WANTED_MAX,
  WANTED_MOST,
} from './queue-layout.ts';
import { anyStaged, stagedAt, stagedBytes } from './staging.kernel.ts';

/** Says that pages of the table are in use from here, or, in turn, are not any more. */
export function turnEpoch(queue: u32): void {
  if (load<u32>(queue, VIFQ_TABLE) !== 0) atomic.store<u32>(queue, load<u32>(queue, VIFQ_EPOCH) + 1, VIFQ_EPOCH);
}

/** True when mapped pages stay as long as the queue: those that messages name may be taken back once the burst is over. */
export function pagesStay(queue: u32): bool {
  return load<u32>(queue, VIFQ_TABLE) === 0 || load<u32>(queue, VIFQ_WANTED) !== 0;
}

/** Remembers a reference that is to be mapped for the next time, while there is room for it. */
function want(queue: u32, gref: u32): void {
  const wanted = load<u32>(queue, VIFQ_WANTED);
  if (wanted === 0) return;
  const count = load<u32>(wanted, WANTED_COUNT);
  if (count === WANTED_MAX || load<u32>(wanted, WANTED_MAPPED) + count >= load<u32>(wanted, WANTED_MOST)) return;
  store<u32>(wanted + WANTED_GREFS + (count << 2), gref);
  store<u32>(wanted, count + 1, WANTED_COUNT);
}

/** Finds the mapped page of a piece. PIECE_REACHED is 0 when there is none. */
function findPage(queue: u32, piece: u32, writes: bool): bool {
  const table = load<u32>(queue, VIFQ_TABLE);
  if (table === 0) return false;
  const gref = load<u32>(piece, PIECE_PLACE);
  const page = grefAt(table, gref, writes);
  if (page === 0) {
    want(queue, gref);
    return false;
  }
  store<u32>(piece, page, PIECE_REACHED);
  return true;
}

/**
 * Finds where a piece of a packet from the frontend is reached. Returns how many of its bytes, from `position` of the packet on, are;
 * all, and PIECE_REACHED is 0, when it names a staging buffer that is none.
 */
export function reachSent(queue: u32, piece: u32, position: u32): u32 {
  const length = <u32>load<u16>(piece, PIECE_LENGTH);
  const offset = <u32>load<u16>(piece, PIECE_OFFSET);
  if (load<u16>(piece, PIECE_FLAGS) & <u16>NETTXF_STAGING_BUFFER) {
    store<u32>(piece, anyStaged(queue, load<u32>(piece, PIECE_PLACE), offset, length), PIECE_REACHED);
    return max(length, 1);
  }
  const id = <u32>load<u16>(piece, PIECE_ID);
  const bytes = stagedBytes(queue, id, position, length);
  if (bytes > 0) {
    store<u32>(piece, stagedAt(queue, id), PIECE_REACHED);
    return bytes;
  }
  if (!findPage(queue, piece, false)) return 0;
  store<u32>(piece, load<u32>(piece, PIECE_REACHED) + offset, PIECE_REACHED);
  return length;
}

/** The same for `length` bytes of a packet to the frontend, which go to `offset` of a page that is mapped. */
export function reachAsked(queue: u32, piece: u32, position: u32, length: u32, offset: u32): u32 {
  const id = <u32>load<u16>(piece, PIECE_ID);
  const bytes = stagedBytes(queue, id, position, length);
  if (bytes > 0) {
    store<u32>(piece, stagedAt(queue, id), PIECE_REACHED);
    return bytes;
  }
  if (!findPage(queue, piece, true)) return 0;
  store<u32>(piece, load<u32>(piece, PIECE_REACHED) + offset, PIECE_REACHED);
  return length;
}
