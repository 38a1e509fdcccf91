import { takeExtras } from './extra.kernel.ts';
import {
  NETRING_BROKEN_FRAME,
  NETRING_BROKEN_PAGE,
  NETRING_BROKEN_SHORT,
  NETRING_BROKEN_SLOTS,
  NETRING_TAKE,
  NETTX_FLAGS,
  NETTX_GREF,
  NETTX_ID,
  NETTX_OFFSET,
  NETTX_SIZE,
  NETTXF_DATA_RING,
  NETTXF_EXTRA_INFO,
  NETTXF_MORE_DATA,
  PACKET_BYTES_MIN,
  PACKET_SLOTS_FATAL,
  PACKET_SLOTS_MAX,
  XEN_PAGE_BYTES,
} from './layout.ts';
import {
  PACKET_BAD,
  PACKET_BAD_SIZE,
  PACKET_BAD_SLOTS,
  PACKET_EXTRAS,
  PACKET_FLAGS,
  PACKET_PIECES,
  PACKET_SIZE,
  PIECE_FLAGS,
  PIECE_ID,
  PIECE_LENGTH,
  PIECE_OFFSET,
  PIECE_PLACE,
  PIECE_SHIFT,
} from './queue-layout.ts';
import { slotAt } from './ring.kernel.ts';

/** Takes one request into the piece at `piece`: each byte is read once, then taken apart. Returns its flags. */
function takeRequest(ring: u32, piece: u32): u32 {
  const from = load<u32>(ring, NETRING_TAKE);
  const slot = slotAt(ring, from);
  const front = load<u64>(slot);
  const rear = load<u32>(slot, NETTX_ID);
  store<u32>(ring, from + 1, NETRING_TAKE);
  store<u32>(piece, <u32>front, PIECE_PLACE);
  store<u16>(piece, <u16>(front >> ((NETTX_OFFSET - NETTX_GREF) << 3)), PIECE_OFFSET);
  store<u16>(piece, <u16>(rear >> ((NETTX_SIZE - NETTX_ID) << 3)), PIECE_LENGTH);
  store<u16>(piece, <u16>rear, PIECE_ID);
  const flags = <u16>(front >> ((NETTX_FLAGS - NETTX_GREF) << 3));
  store<u16>(piece, flags, PIECE_FLAGS);
  return flags;
}

function leavesPage(piece: u32): bool {
  return <u32>load<u16>(piece, PIECE_OFFSET) + <u32>load<u16>(piece, PIECE_LENGTH) > XEN_PAGE_BYTES;
}

/** Takes the packet that begins at NETRING_TAKE, of `available` (1 or more) slots. Returns 0 or a NETRING_BROKEN_…. */
export function takeTxPacket(ring: u32, packet: u32, first: u32, available: u32, scratch: u32): u32 {
  let flags = takeRequest(ring, first);
  const size = <u32>load<u16>(first, PIECE_LENGTH);
  const isFramed = (flags & NETTXF_DATA_RING) !== 0;
  if (isFramed && flags & NETTXF_MORE_DATA) return NETRING_BROKEN_FRAME;
  let left = available - 1;
  store<u16>(packet, <u16>flags, PACKET_FLAGS);
  store<u32>(packet, size, PACKET_SIZE);
  if (flags & NETTXF_EXTRA_INFO) {
    const code = takeExtras(ring, packet, left, scratch);
    if (code !== 0) return code;
    left -= load<u16>(packet, PACKET_EXTRAS);
  }
  let bad: u32 = size < PACKET_BYTES_MIN ? PACKET_BAD_SIZE : 0;
  let rest = size;
  let pieces: u32 = 1;
  while (flags & NETTXF_MORE_DATA) {
    if (left === 0) return NETRING_BROKEN_SHORT;
    // Linux netback takes that for an attack, and less for a mistake.
    if (pieces === PACKET_SLOTS_FATAL - 1) return NETRING_BROKEN_SLOTS;
    const piece = first + (pieces << PIECE_SHIFT);
    flags = takeRequest(ring, piece);
    left--;
    pieces++;
    if (leavesPage(piece)) return NETRING_BROKEN_PAGE;
    const length = <u32>load<u16>(piece, PIECE_LENGTH);
    if (length > rest) bad = PACKET_BAD_SIZE;
    else rest -= length;
  }
  if (pieces > PACKET_SLOTS_MAX) bad = PACKET_BAD_SLOTS;
  if (bad === 0) {
    store<u16>(first, <u16>rest, PIECE_LENGTH);
    if (!isFramed && leavesPage(first)) return NETRING_BROKEN_PAGE;
  }
  store<u32>(packet, pieces, PACKET_PIECES);
  store<u32>(packet, bad, PACKET_BAD);
  return 0;
}
