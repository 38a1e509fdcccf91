import { extend } from '../memory/chain.kernel.ts';
import { copyBytes } from '../memory/copy.kernel.ts';
import {
  BUFFER_FRAME_MAX,
  BUFFER_HEADROOM,
  BUFFER_LENGTH,
  BUFFER_TOTAL,
  SLOT_BUFFER,
  SLOT_LENGTH,
  SLOT_SHIFT,
} from '../memory/layout.ts';
import { alloc, free } from '../memory/pool.kernel.ts';
import { keepCopied, readFrame, returnFrames, takeFrame } from './data-ring.kernel.ts';
import { txGather } from './gather.kernel.ts';
import {
  COPY_FLAGS,
  COPY_LENGTH,
  COPY_SHIFT,
  COPY_SOURCE,
  COPY_STATUS,
  COPY_TARGET,
  EXTRA_TYPE_MCAST_ADD,
  EXTRA_TYPE_MCAST_DEL,
  GNTCOPY_SOURCE_GREF,
  NETIF_RSP_DROPPED,
  NETIF_RSP_ERROR,
  NETIF_RSP_NULL,
  NETRING_BROKEN_FRAME,
  NETTXF_CSUM_BLANK,
  NETTXF_DATA_RING,
  SIDE_DOMID,
  SIDE_OFFSET,
  SIDE_PLACE,
  TXRSP_ID,
  TXRSP_SHIFT,
  TXRSP_STATUS,
} from './layout.ts';
import { dropMoves, moveEither, movesUsed } from './move.kernel.ts';
import { tellMulticast } from './multicast.kernel.ts';
import {
  GATHER_PACKETS,
  GATHER_PACKETS_USED,
  GATHER_PIECES,
  PACKET_BAD,
  PACKET_BAD_COPY,
  PACKET_BAD_EMPTY,
  PACKET_BAD_FRAME,
  PACKET_BAD_FULL,
  PACKET_BAD_HEADERS,
  PACKET_BAD_STAGING,
  PACKET_BAD_TOLD,
  PACKET_COPIES,
  PACKET_COPY,
  PACKET_DATA,
  PACKET_EXTRA_TYPES,
  PACKET_EXTRAS,
  PACKET_FLAGS,
  PACKET_MOVE,
  PACKET_MOVES,
  PACKET_PIECE,
  PACKET_PIECES,
  PACKET_SHIFT,
  PACKET_SIZE,
  PIECE_ID,
  PIECE_LENGTH,
  PIECE_OFFSET,
  PIECE_PLACE,
  PIECE_REACHED,
  PIECE_SHIFT,
  VIFQ_BAD,
  VIFQ_CACHE,
  VIFQ_COPIES,
  VIFQ_COPIES_USED,
  VIFQ_CREDIT,
  VIFQ_DATA_INDEX,
  VIFQ_DOMID,
  VIFQ_EMPTY,
  VIFQ_FAILED,
  VIFQ_GATHER,
  VIFQ_GATHER_PIECES,
  VIFQ_MOVES,
  VIFQ_RATE_USEC,
  VIFQ_RECORDS,
  VIFQ_RING,
  VIFQ_SLOTS,
} from './queue-layout.ts';
import { pagesStay, reachSent, turnEpoch } from './reach.kernel.ts';
import { latch, pushResponses } from './ring.kernel.ts';
import { askOffload, countVif, keepHash, placeOffload } from './vif.kernel.ts';

/** Extra information that makes a packet a message about multicast addresses. */
const MCAST_TYPES: u32 = (1 << EXTRA_TYPE_MCAST_ADD) | (1 << EXTRA_TYPE_MCAST_DEL);

/** Writes the copy of `length` bytes at `offset` of the piece's page to `target`. */
function writeCopy(queue: u32, copy: u32, piece: u32, offset: u32, target: u32, length: u32): void {
  store<u32>(copy + COPY_SOURCE, load<u32>(piece, PIECE_PLACE), SIDE_PLACE);
  store<u16>(copy + COPY_SOURCE, <u16>load<u32>(queue, VIFQ_DOMID), SIDE_DOMID);
  store<u16>(copy + COPY_SOURCE, <u16>offset, SIDE_OFFSET);
  store<u32>(copy + COPY_TARGET, target, SIDE_PLACE);
  store<u16>(copy, <u16>length, COPY_LENGTH);
  store<u16>(copy, <u16>GNTCOPY_SOURCE_GREF, COPY_FLAGS);
}

/**
 * Copies what is reached of a packet into the empty one at `slot`, and plans the copies of the rest, from copy `used` on. Returns how
 * many copies; or, and there are none, 0 and the packet's PACKET_BAD_….
 */
function plan(queue: u32, packet: u32, slot: u32, used: u32): u32 {
  const cache = load<u32>(queue, VIFQ_CACHE);
  const first = load<u32>(slot, SLOT_BUFFER);
  const pieces = load<u32>(queue, VIFQ_GATHER) + GATHER_PIECES + (load<u32>(packet, PACKET_PIECE) << PIECE_SHIFT);
  const end = pieces + (load<u32>(packet, PACKET_PIECES) << PIECE_SHIFT);
  let copy = load<u32>(queue, VIFQ_COPIES) + (used << COPY_SHIFT);
  const start = copy;
  const byOthers = load<u32>(queue, VIFQ_MOVES) !== 0;
  const stays = byOthers && pagesStay(queue);
  let last = first;
  let have: u32 = 0;
  let position: u32 = 0;
  for (let piece = pieces; piece < end; piece += 1 << PIECE_SHIFT) {
    const length = <u32>load<u16>(piece, PIECE_LENGTH);
    const reached = reachSent(queue, piece, position);
    if (reached > 0 && load<u32>(piece, PIECE_REACHED) === 0) {
      store<u32>(packet, PACKET_BAD_STAGING, PACKET_BAD);
      return 0;
    }
    let done: u32 = 0;
    while (done < length) {
      if (have === BUFFER_FRAME_MAX) {
        last = extend(cache, slot, last);
        if (last === 0) {
          store<u32>(packet, PACKET_BAD_EMPTY, PACKET_BAD);
          return 0;
        }
        have = 0;
      }
      const target = last + BUFFER_HEADROOM + have;
      let n = min(length - done, BUFFER_FRAME_MAX - have);
      if (done < reached) {
        n = min(n, reached - done);
        const source = load<u32>(piece, PIECE_REACHED) + done;
        if (!byOthers) copyBytes(target, source, n);
        else moveEither(queue, target, source, n, stays);
      } else {
        writeCopy(queue, copy, piece, <u32>load<u16>(piece, PIECE_OFFSET) + done, target, n);
        copy += 1 << COPY_SHIFT;
      }
      have += n;
      done += n;
      if (last === first) store<u16>(slot, <u16>have, SLOT_LENGTH);
      else store<u16>(last, <u16>have, BUFFER_LENGTH);
    }
    position += length;
  }
  if (last !== first) store<u32>(first, load<u32>(packet, PACKET_SIZE), BUFFER_TOTAL);
  return (copy - start) >> COPY_SHIFT;
}

/** Breaks the ring: a slot and its frame do not say the same. */
function refuseFrame(queue: u32, packet: u32): void {
  latch(load<u32>(queue, VIFQ_RING), NETRING_BROKEN_FRAME);
  store<u32>(packet, PACKET_BAD_FRAME, PACKET_BAD);
}

/** Copies the frame that was taken last into the empty packet at `slot`, or plans that. Returns how many copies Xen is to do: none. */
function copyFrame(queue: u32, packet: u32, slot: u32): u32 {
  if (!readFrame(queue, slot, load<u32>(packet, PACKET_SIZE))) store<u32>(packet, PACKET_BAD_EMPTY, PACKET_BAD);
  return 0;
}

/**
 * Gathers up to `max` (32 at most) packets that the frontend sends, copies what is reached without Xen, and plans the copies of the
 * rest. Returns how many copies there are; `backTxEnd` follows when they are done.
 */
export function backTxBegin(queue: u32, max: u32): u32 {
  const gather = load<u32>(queue, VIFQ_GATHER);
  const cache = load<u32>(queue, VIFQ_CACHE);
  const credit = load<u32>(queue, VIFQ_RATE_USEC) === 0 ? 0 : queue + VIFQ_CREDIT;
  const packets = txGather(load<u32>(queue, VIFQ_RING), gather, max, VIFQ_GATHER_PIECES, credit);
  const slots = load<u32>(queue, VIFQ_SLOTS);
  const have = alloc(cache, slots, packets);
  const byOthers = load<u32>(queue, VIFQ_MOVES) !== 0;
  let used: u32 = 0;
  returnFrames(queue);
  turnEpoch(queue);
  for (let i: u32 = 0; i < packets; i++) {
    const packet = gather + GATHER_PACKETS + (i << PACKET_SHIFT);
    const isFramed = (load<u16>(packet, PACKET_FLAGS) & <u16>NETTXF_DATA_RING) !== 0;
    // Its frame is passed over even when the packet comes to nothing: the next one's is behind it.
    if (isFramed && takeFrame(queue) !== load<u32>(packet, PACKET_SIZE)) refuseFrame(queue, packet);
    const slot = slots + (i << SLOT_SHIFT);
    if (load<u32>(packet, PACKET_EXTRA_TYPES) & MCAST_TYPES) {
      store<u32>(packet, tellMulticast(queue, packet) ? PACKET_BAD_TOLD : PACKET_BAD_FULL, PACKET_BAD);
    }
    // Over what was told.
    if (byOthers) store<u32>(packet, load<u32>(queue, VIFQ_DATA_INDEX), PACKET_DATA);
    if (load<u32>(packet, PACKET_BAD) !== 0) {
      if (i < have) free(cache, slot, 1);
      continue;
    }
    if (i >= have) {
      store<u32>(packet, PACKET_BAD_EMPTY, PACKET_BAD);
      continue;
    }
    const moves: u32 = byOthers ? movesUsed(queue) : 0;
    const copies = isFramed ? copyFrame(queue, packet, slot) : plan(queue, packet, slot, used);
    if (load<u32>(packet, PACKET_BAD) !== 0) {
      free(cache, slot, 1);
      dropMoves(queue, moves);
    }
    store<u16>(packet, <u16>used, PACKET_COPY);
    store<u16>(packet, <u16>copies, PACKET_COPIES);
    used += copies;
    if (!byOthers) continue;
    store<u16>(packet, <u16>moves, PACKET_MOVE);
    store<u16>(packet, <u16>(movesUsed(queue) - moves), PACKET_MOVES);
  }
  turnEpoch(queue);
  store<u32>(queue, used, VIFQ_COPIES_USED);
  return used;
}

/** True when Xen did all copies of a packet. */
function isCopied(queue: u32, packet: u32): bool {
  const copies = load<u32>(queue, VIFQ_COPIES) + ((<u32>load<u16>(packet, PACKET_COPY)) << COPY_SHIFT);
  const n = <u32>load<u16>(packet, PACKET_COPIES);
  for (let i: u32 = 0; i < n; i++) if (load<i16>(copies + (i << COPY_SHIFT), COPY_STATUS) !== 0) return false;
  return true;
}

/** Counts a packet that is PACKET_BAD_…. */
function countBad(queue: u32, bad: u32): void {
  if (bad === PACKET_BAD_TOLD) return;
  countVif(queue, bad === PACKET_BAD_COPY ? VIFQ_FAILED : bad === PACKET_BAD_EMPTY ? VIFQ_EMPTY : VIFQ_BAD);
}

/**
 * Looks at what Xen has copied of a packet, and leaves with the one at `slot` what is asked for it. Returns false, and its buffers are
 * free, when it comes to nothing: that is counted.
 */
export function takeCopied(queue: u32, packet: u32, slot: u32): bool {
  const had = load<u32>(packet, PACKET_BAD);
  if (had === 0 && isCopied(queue, packet)) {
    askOffload(slot, packet, (load<u16>(packet, PACKET_FLAGS) & <u16>NETTXF_CSUM_BLANK) !== 0);
    keepHash(slot, packet);
    return true;
  }
  if (had === 0) {
    store<u32>(packet, PACKET_BAD_COPY, PACKET_BAD);
    free(load<u32>(queue, VIFQ_CACHE), slot, 1);
  }
  countBad(queue, load<u32>(packet, PACKET_BAD));
  return false;
}

/**
 * Looks at the headers of the packet at `slot`, which is copied whole, if something is asked for it. Returns false, and its buffers are
 * free, when they have no place for that: that is counted.
 */
export function takeHeaders(queue: u32, slot: u32): bool {
  if (placeOffload(slot)) return true;
  free(load<u32>(queue, VIFQ_CACHE), slot, 1);
  countBad(queue, PACKET_BAD_HEADERS);
  return false;
}

/** Writes the answers to a packet's slots, `1 << shift` bytes each, to `record`. Returns how many. */
export function answer(queue: u32, packet: u32, record: u32, shift: u32): u32 {
  const bad = load<u32>(packet, PACKET_BAD);
  const status: i16 =
    bad === 0 || bad === PACKET_BAD_TOLD
      ? 0
      : bad === PACKET_BAD_EMPTY
        ? -(<i16>NETIF_RSP_DROPPED)
        : -(<i16>NETIF_RSP_ERROR);
  const pieces = load<u32>(queue, VIFQ_GATHER) + GATHER_PIECES + (load<u32>(packet, PACKET_PIECE) << PIECE_SHIFT);
  const n = load<u32>(packet, PACKET_PIECES);
  const extras = <u32>load<u16>(packet, PACKET_EXTRAS);
  for (let i: u32 = 0; i < n + extras; i++) {
    const id: u32 = i < n ? load<u16>(pieces + (i << PIECE_SHIFT), PIECE_ID) : 0;
    const said: u32 = i < n ? <u16>status : NETIF_RSP_NULL;
    store<u32>(record + (i << shift), id | (said << ((TXRSP_STATUS - TXRSP_ID) << 3)), TXRSP_ID);
  }
  return n + extras;
}

/** Hands on at `slots` what was copied whole, and answers all that was gathered. Returns how many packets there are. */
export function backTxEnd(queue: u32, slots: u32): u32 {
  const gather = load<u32>(queue, VIFQ_GATHER);
  const packets = load<u32>(gather, GATHER_PACKETS_USED);
  const records = load<u32>(queue, VIFQ_RECORDS);
  let used: u32 = 0;
  let n: u32 = 0;
  for (let i: u32 = 0; i < packets; i++) {
    const packet = gather + GATHER_PACKETS + (i << PACKET_SHIFT);
    const slot = load<u32>(queue, VIFQ_SLOTS) + (i << SLOT_SHIFT);
    if (takeCopied(queue, packet, slot)) {
      if (takeHeaders(queue, slot)) {
        v128.store(slots + (n << SLOT_SHIFT), v128.load(slot));
        n++;
      } else store<u32>(packet, PACKET_BAD_HEADERS, PACKET_BAD);
    }
    used += answer(queue, packet, records + (used << TXRSP_SHIFT), TXRSP_SHIFT);
  }
  store<u32>(gather, 0, GATHER_PACKETS_USED);
  keepCopied(queue, load<u32>(queue, VIFQ_DATA_INDEX));
  pushResponses(load<u32>(queue, VIFQ_RING), records, used);
  return n;
}
