import { frameLength } from '../memory/chain.kernel.ts';
import {
  BUFFER_LENGTH,
  BUFFER_NEXT,
  BUFFER_OFFSET,
  SLOT_BUFFER,
  SLOT_EVENT,
  SLOT_FLOW,
  SLOT_LENGTH,
  SLOT_OFFSET,
  SLOT_SHIFT,
} from '../memory/layout.ts';
import { free } from '../memory/pool.kernel.ts';
import {
  HASH_REPORT_IPV4,
  HASH_REPORT_IPV6,
  HASH_REPORT_TCPV4,
  HASH_REPORT_TCPV6,
  RSS_TYPES,
} from '../packet/layout.ts';
import { CTRL_HASH_TOEPLITZ, VIFHASH_ALGORITHM, VIFHASH_RSS } from './control-layout.ts';
import { countFallback, publishFrames, putFrame } from './data-ring.kernel.ts';
import {
  COPY_FLAGS,
  COPY_LENGTH,
  COPY_SHIFT,
  COPY_SOURCE,
  COPY_STATUS,
  COPY_TARGET,
  EXTRA_BYTES,
  EXTRA_F_MORE,
  EXTRA_FLAGS,
  EXTRA_TYPE,
  EXTRA_TYPE_HASH,
  EXTRA_TYPE_XDP,
  GNTCOPY_DEST_GREF,
  GRANT_BATCH_MAX,
  HASHINFO_ALGORITHM,
  HASHINFO_TYPE,
  HASHINFO_VALUE,
  NETIF_RSP_ERROR,
  NETRING_TAKE,
  NETRX_GREF,
  NETRX_ID,
  NETRXF_CSUM_BLANK,
  NETRXF_DATA_RING,
  NETRXF_DATA_VALIDATED,
  NETRXF_EXTRA_INFO,
  NETRXF_MORE_DATA,
  RXRSP_BYTES,
  RXRSP_FLAGS,
  RXRSP_ID,
  RXRSP_OFFSET,
  RXRSP_STATUS,
  SIDE_DOMID,
  SIDE_OFFSET,
  SIDE_PLACE,
  XDPINFO_HEADROOM,
  XEN_PAGE_BYTES,
} from './layout.ts';
import { moveEither, movesUsed } from './move.kernel.ts';
import { wantsMulticast } from './multicast.kernel.ts';
import { sendPlain } from './plain-rx.kernel.ts';
import {
  GATHER_PACKETS,
  GATHER_PACKETS_USED,
  GATHER_PIECES,
  PACKET_COPIES,
  PACKET_COPY,
  PACKET_DATA,
  PACKET_EXTRAS,
  PACKET_FLAGS,
  PACKET_MOVE,
  PACKET_MOVES,
  PACKET_PIECE,
  PACKET_PIECES,
  PACKET_SHIFT,
  PACKET_SLOT,
  PIECE_ID,
  PIECE_LENGTH,
  PIECE_OFFSET,
  PIECE_PLACE,
  PIECE_REACHED,
  PIECE_SHIFT,
  SENTPACKET_EXTRA,
  SENTPACKET_EXTRA_MAX,
  VIFQ_CACHE,
  VIFQ_COPIES,
  VIFQ_COPIES_USED,
  VIFQ_DATA,
  VIFQ_DATA_INDEX,
  VIFQ_DOMID,
  VIFQ_FAILED,
  VIFQ_FILTERED,
  VIFQ_GATHER,
  VIFQ_HASH,
  VIFQ_HEADROOM,
  VIFQ_LONG,
  VIFQ_MCAST,
  VIFQ_MOVES,
  VIFQ_PACKET_COPIES,
  VIFQ_RECORDS,
  VIFQ_RING,
} from './queue-layout.ts';
import { pagesStay, reachAsked, turnEpoch } from './reach.kernel.ts';
import { pushResponses, slotAt, unconsumed } from './ring.kernel.ts';
import { countVif, needsChecksum, pagesFor, segmentType, writeSegments } from './vif.kernel.ts';

/** Takes the next request: its reference and its id, copied once. */
function takeRequest(queue: u32, piece: u32): void {
  const ring = load<u32>(queue, VIFQ_RING);
  const from = load<u32>(ring, NETRING_TAKE);
  const slot = load<u64>(slotAt(ring, from));
  store<u32>(ring, from + 1, NETRING_TAKE);
  store<u32>(piece, <u32>(slot >> ((NETRX_GREF - NETRX_ID) << 3)), PIECE_PLACE);
  store<u16>(piece, <u16>slot, PIECE_ID);
  // The length lies behind it.
  store<u32>(piece, 0, PIECE_OFFSET);
}

/** HASHINFO_TYPE of what was hashed, HASH_REPORT_…: bits of the control ring's types, by number. */
function hashType(report: u32): u32 {
  return report === HASH_REPORT_IPV4 ? 0 : report === HASH_REPORT_TCPV4 ? 1 : report === HASH_REPORT_IPV6 ? 2 : 3;
}

/** True when the frontend has set how packets are hashed, so that each that has a hash says so. */
function tellsHashes(queue: u32): bool {
  const hash = load<u32>(queue, VIFQ_HASH);
  if (hash === 0) return false;
  return load<u32>(hash, VIFHASH_ALGORITHM) === CTRL_HASH_TOEPLITZ && load<u32>(hash + VIFHASH_RSS, RSS_TYPES) !== 0;
}

/** True when `vifSteer` has left a hash of a type that the frontend knows with the packet at `slot`. */
function hasHash(slot: u32): bool {
  const report = <u32>load<u16>(slot, SLOT_EVENT);
  const isOfIp = report === HASH_REPORT_IPV4 || report === HASH_REPORT_IPV6;
  return isOfIp || report === HASH_REPORT_TCPV4 || report === HASH_REPORT_TCPV6;
}

/**
 * Writes the extra information of the packet at `slot` to `extras`: segments, the bytes before it (`headroom`, unless 0), its hash if
 * `hashes`. Returns how many.
 */
function writeExtras(extras: u32, slot: u32, headroom: u32, hashes: bool): u32 {
  let at = extras;
  if (segmentType(slot) !== 0) {
    writeSegments(at, slot);
    at += EXTRA_BYTES;
  }
  if (headroom !== 0) {
    store<u64>(at, EXTRA_TYPE_XDP);
    store<u16>(at, <u16>headroom, XDPINFO_HEADROOM);
    at += EXTRA_BYTES;
  }
  if (hashes && hasHash(slot)) {
    store<u8>(at, <u8>EXTRA_TYPE_HASH, EXTRA_TYPE);
    store<u8>(at, 0, EXTRA_FLAGS);
    store<u8>(at, <u8>hashType(load<u16>(slot, SLOT_EVENT)), HASHINFO_TYPE);
    store<u8>(at, <u8>CTRL_HASH_TOEPLITZ, HASHINFO_ALGORITHM);
    store<u32>(at, load<u32>(slot, SLOT_FLOW), HASHINFO_VALUE);
    at += EXTRA_BYTES;
  }
  const n = (at - extras) / EXTRA_BYTES;
  for (let i: u32 = 1; i < n; i++) store<u8>(extras + (i - 1) * EXTRA_BYTES, <u8>EXTRA_F_MORE, EXTRA_FLAGS);
  assert(n <= SENTPACKET_EXTRA_MAX);
  return n;
}

/** Writes the copy of `length` bytes at `source` to `offset` of the piece's page. */
function writeCopy(queue: u32, copy: u32, piece: u32, offset: u32, source: u32, length: u32): void {
  store<u32>(copy + COPY_SOURCE, source, SIDE_PLACE);
  store<u32>(copy + COPY_TARGET, load<u32>(piece, PIECE_PLACE), SIDE_PLACE);
  store<u16>(copy + COPY_TARGET, <u16>load<u32>(queue, VIFQ_DOMID), SIDE_DOMID);
  store<u16>(copy + COPY_TARGET, <u16>offset, SIDE_OFFSET);
  store<u16>(copy, <u16>length, COPY_LENGTH);
  store<u16>(copy, <u16>GNTCOPY_DEST_GREF, COPY_FLAGS);
}

/**
 * Copies the packet at `slot` to the pieces at `pieces`, `headroom` bytes behind the first one's start, as far as they are reached, and
 * plans the copies of the rest, from copy `used` on. Returns how many.
 */
function plan(queue: u32, slot: u32, pieces: u32, used: u32, headroom: u32): u32 {
  let copy = load<u32>(queue, VIFQ_COPIES) + (used << COPY_SHIFT);
  const start = copy;
  let buffer = load<u32>(slot, SLOT_BUFFER);
  let source = buffer + load<u16>(slot, SLOT_OFFSET);
  let have: u32 = load<u16>(slot, SLOT_LENGTH);
  const total = frameLength(slot);
  const stays = pagesStay(queue);
  let position: u32 = 0;
  for (let piece = pieces; position < total; piece += 1 << PIECE_SHIFT) {
    const offset = position === 0 ? headroom : 0;
    const length = min(total - position, XEN_PAGE_BYTES - offset);
    const reached = reachAsked(queue, piece, position, length, offset);
    store<u16>(piece, <u16>length, PIECE_LENGTH);
    store<u16>(piece, <u16>offset, PIECE_OFFSET);
    let done: u32 = 0;
    while (done < length) {
      while (have === 0) {
        buffer = load<u32>(buffer, BUFFER_NEXT);
        source = buffer + load<u16>(buffer, BUFFER_OFFSET);
        have = load<u16>(buffer, BUFFER_LENGTH);
      }
      let n = min(have, length - done);
      if (done < reached) {
        n = min(n, reached - done);
        const target = load<u32>(piece, PIECE_REACHED) + done;
        moveEither(queue, target, source, n, stays);
      } else {
        writeCopy(queue, copy, piece, offset + done, source, n);
        copy += 1 << COPY_SHIFT;
      }
      source += n;
      have -= n;
      done += n;
    }
    position += length;
  }
  return (copy - start) >> COPY_SHIFT;
}

/**
 * Plans the copies of the first of `count` (up to 32) packets at `slots` to the frontend's pages, as far as it asked for them; one
 * that it cannot take at all is counted and passed over. Returns how many packets are dealt with; `backRxEnd` follows when the
 * copies are done.
 */
export function backRxBegin(queue: u32, slots: u32, count: u32): u32 {
  const gather = load<u32>(queue, VIFQ_GATHER);
  let available = unconsumed(load<u32>(queue, VIFQ_RING));
  let used: u32 = 0;
  let packets: u32 = 0;
  let taken: u32 = 0;
  const hashes = tellsHashes(queue);
  // Read once: it may change.
  const headroom = load<u32>(queue, VIFQ_HEADROOM);
  const tellsMore = hashes || headroom !== 0;
  const filters = load<u32>(queue, VIFQ_MCAST) !== 0;
  // Answers of packets whose copies others do come later, in order.
  const byOthers = load<u32>(queue, VIFQ_MOVES) !== 0;
  const isPlain = !tellsMore && !filters && !byOthers && load<u32>(queue, VIFQ_DATA) === 0;
  let done: u32 = isPlain ? sendPlain(queue, slots, min(available, count)) : 0;
  available -= done;
  turnEpoch(queue);
  for (; done < count; done++) {
    const slot = slots + (done << SLOT_SHIFT);
    const length = frameLength(slot);
    if (filters && !wantsMulticast(queue, slot)) {
      countVif(queue, VIFQ_FILTERED);
      continue;
    }
    let pages = pagesFor(queue, slot, length, headroom);
    if (pages === 0) {
      countVif(queue, VIFQ_LONG);
      continue;
    }
    const packet = gather + GATHER_PACKETS + (packets << PACKET_SHIFT);
    const hasExtras = tellsMore || segmentType(slot) !== 0;
    const extras: u32 = hasExtras ? writeExtras(packet + SENTPACKET_EXTRA, slot, headroom, hashes) : 0;
    const moves = movesUsed(queue);
    const isFramed = available > extras && putFrame(queue, slot, length);
    if (isFramed) pages = 1;
    else if (available < pages + extras || used + VIFQ_PACKET_COPIES > GRANT_BATCH_MAX) break;
    else countFallback(queue);
    const pieces = gather + GATHER_PIECES + (taken << PIECE_SHIFT);
    // Extra information answers the requests behind the first. Their pages stay empty, and the next request takes the piece.
    takeRequest(queue, pieces);
    for (let i: u32 = 0; i < extras; i++) takeRequest(queue, pieces + (1 << PIECE_SHIFT));
    for (let i: u32 = 1; i < pages; i++) takeRequest(queue, pieces + (i << PIECE_SHIFT));
    const copies = isFramed ? 0 : plan(queue, slot, pieces, used, headroom);
    store<u32>(packet, taken, PACKET_PIECE);
    store<u32>(packet, pages, PACKET_PIECES);
    const sum = needsChecksum(slot) ? NETRXF_CSUM_BLANK | NETRXF_DATA_VALIDATED : 0;
    store<u16>(packet, <u16>(sum | (isFramed ? NETRXF_DATA_RING : 0)), PACKET_FLAGS);
    store<u16>(packet, <u16>extras, PACKET_EXTRAS);
    store<u16>(packet, <u16>used, PACKET_COPY);
    store<u16>(packet, <u16>copies, PACKET_COPIES);
    store<u32>(packet, slot, PACKET_SLOT);
    store<u32>(packet, load<u32>(queue, VIFQ_DATA_INDEX), PACKET_DATA);
    store<u16>(packet, <u16>moves, PACKET_MOVE);
    store<u16>(packet, <u16>(movesUsed(queue) - moves), PACKET_MOVES);
    used += copies;
    taken += pages;
    available -= pages + extras;
    packets++;
  }
  turnEpoch(queue);
  store<u32>(gather, packets, GATHER_PACKETS_USED);
  store<u32>(queue, used, VIFQ_COPIES_USED);
  return done;
}

/** True when Xen did all copies of a packet. */
export function isCopied(queue: u32, packet: u32): bool {
  const copies = load<u32>(queue, VIFQ_COPIES) + ((<u32>load<u16>(packet, PACKET_COPY)) << COPY_SHIFT);
  const n = <u32>load<u16>(packet, PACKET_COPIES);
  for (let i: u32 = 0; i < n; i++) if (load<i16>(copies + (i << COPY_SHIFT), COPY_STATUS) !== 0) return false;
  return true;
}

/** Writes the answers for a packet from record `used` on, in the order of their requests. Returns how many. */
export function answer(queue: u32, packet: u32, used: u32): u32 {
  const ok = isCopied(queue, packet);
  if (!ok) countVif(queue, VIFQ_FAILED);
  const pages = load<u32>(packet, PACKET_PIECES);
  const pieces = load<u32>(queue, VIFQ_GATHER) + GATHER_PIECES + (load<u32>(packet, PACKET_PIECE) << PIECE_SHIFT);
  let record = load<u32>(queue, VIFQ_RECORDS) + used * RXRSP_BYTES;
  const extras = <u32>load<u16>(packet, PACKET_EXTRAS);
  for (let i: u32 = 0; i < pages; i++) {
    const piece = pieces + (i << PIECE_SHIFT);
    let flags = i + 1 < pages ? NETRXF_MORE_DATA : 0;
    if (i === 0) flags |= load<u16>(packet, PACKET_FLAGS) | (extras === 0 ? 0 : NETRXF_EXTRA_INFO);
    const status: u32 = ok ? load<u16>(piece, PIECE_LENGTH) : <u16>-(<i16>NETIF_RSP_ERROR);
    // In one store, since it is read as one.
    const front =
      load<u16>(piece, PIECE_ID) | ((<u32>load<u16>(piece, PIECE_OFFSET)) << ((RXRSP_OFFSET - RXRSP_ID) << 3));
    const rear = <u64>flags | ((<u64>status) << ((RXRSP_STATUS - RXRSP_FLAGS) << 3));
    store<u64>(record, <u64>front | (rear << ((RXRSP_FLAGS - RXRSP_ID) << 3)));
    record += RXRSP_BYTES;
    for (let j: u32 = 0; i === 0 && j < extras; j++) {
      store<u64>(record, load<u64>(packet + j * EXTRA_BYTES, SENTPACKET_EXTRA));
      record += RXRSP_BYTES;
    }
  }
  return pages + extras;
}

/** Answers the requests that were used, and frees the `count` packets at `slots` that `backRxBegin` dealt with. */
export function backRxEnd(queue: u32, slots: u32, count: u32): void {
  const gather = load<u32>(queue, VIFQ_GATHER);
  const packets = load<u32>(gather, GATHER_PACKETS_USED);
  let records: u32 = 0;
  for (let i: u32 = 0; i < packets; i++) {
    records += answer(queue, gather + GATHER_PACKETS + (i << PACKET_SHIFT), records);
  }
  store<u32>(gather, 0, GATHER_PACKETS_USED);
  publishFrames(queue, load<u32>(queue, VIFQ_DATA_INDEX));
  pushResponses(load<u32>(queue, VIFQ_RING), load<u32>(queue, VIFQ_RECORDS), records);
  free(load<u32>(queue, VIFQ_CACHE), slots, count);
}
