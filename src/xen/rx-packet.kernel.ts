import { takeExtras } from './extra.kernel.ts';
import {
  NETRING_BROKEN_FRAME,
  NETRING_BROKEN_ID,
  NETRING_BROKEN_PAGE,
  NETRING_BROKEN_SHORT,
  NETRING_BROKEN_SLOTS,
  NETRING_SIZE,
  NETRING_TAKE,
  NETRXF_DATA_RING,
  NETRXF_EXTRA_INFO,
  NETRXF_MORE_DATA,
  PACKET_BYTES_MIN,
  PACKET_SLOTS_FATAL,
  RXRSP_FLAGS,
  RXRSP_ID,
  RXRSP_OFFSET,
  XEN_PAGE_BYTES,
} from './layout.ts';
import {
  PACKET_BAD,
  PACKET_BAD_SIZE,
  PACKET_BAD_STATUS,
  PACKET_EXTRAS,
  PACKET_FLAGS,
  PACKET_PIECES,
  PACKET_SIZE,
  PIECE_ID,
  PIECE_LENGTH,
  PIECE_OFFSET,
  PIECE_PLACE,
  PIECE_SHIFT,
} from './queue-layout.ts';
import { slotAt } from './ring.kernel.ts';

/**
 * Takes one response, as 16 bits of flags below its status. A response lies in its request's slot, so its id is that slot's
 * place, which is what the frontend asks under.
 */
function takeResponse(ring: u32, piece: u32): u32 {
  const from = load<u32>(ring, NETRING_TAKE);
  const slot = load<u64>(slotAt(ring, from));
  store<u32>(ring, from + 1, NETRING_TAKE);
  store<u32>(piece, from & (load<u32>(ring, NETRING_SIZE) - 1), PIECE_PLACE);
  store<u16>(piece, <u16>(slot >> ((RXRSP_OFFSET - RXRSP_ID) << 3)), PIECE_OFFSET);
  store<u16>(piece, <u16>slot, PIECE_ID);
  return <u32>(slot >> ((RXRSP_FLAGS - RXRSP_ID) << 3));
}

/** Takes the packet that begins at NETRING_TAKE, of `available` (1 or more) slots. Returns 0 or a NETRING_BROKEN_…. */
export function takeRxPacket(ring: u32, packet: u32, first: u32, available: u32, scratch: u32): u32 {
  let left = available;
  let pieces: u32 = 0;
  let size: u32 = 0;
  let bad: u32 = 0;
  let flags: u32 = NETRXF_MORE_DATA;
  let isFramed = false;
  while (flags & NETRXF_MORE_DATA) {
    if (left === 0) return NETRING_BROKEN_SHORT;
    if (pieces === PACKET_SLOTS_FATAL - 1) return NETRING_BROKEN_SLOTS;
    const piece = first + (pieces << PIECE_SHIFT);
    const word = takeResponse(ring, piece);
    const status = <i32>word >> 16;
    flags = word & 0xffff;
    left--;
    if (load<u16>(piece, PIECE_ID) !== <u16>load<u32>(piece, PIECE_PLACE)) return NETRING_BROKEN_ID;
    if (status > 0 && <u32>load<u16>(piece, PIECE_OFFSET) + <u32>status > XEN_PAGE_BYTES) return NETRING_BROKEN_PAGE;
    if (status < 0) bad = PACKET_BAD_STATUS;
    store<u16>(piece, <u16>max(status, 0), PIECE_LENGTH);
    size += max(status, 0);
    if (pieces === 0) {
      isFramed = (flags & NETRXF_DATA_RING) !== 0;
      if (isFramed && flags & NETRXF_MORE_DATA) return NETRING_BROKEN_FRAME;
      store<u16>(packet, <u16>flags, PACKET_FLAGS);
      if (flags & NETRXF_EXTRA_INFO) {
        const code = takeExtras(ring, packet, left, scratch);
        if (code !== 0) return code;
        left -= load<u16>(packet, PACKET_EXTRAS);
      }
    }
    pieces++;
  }
  store<u32>(packet, pieces, PACKET_PIECES);
  store<u32>(packet, size, PACKET_SIZE);
  // A frame says itself how long it is.
  if (bad === 0 && size < PACKET_BYTES_MIN && !isFramed) bad = PACKET_BAD_SIZE;
  store<u32>(packet, bad, PACKET_BAD);
  return 0;
}
