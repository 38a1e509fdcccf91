// Header and frame of a packet in pieces, each of which lies in one buffer and in one segment: for whoever copies them, at once or
// by a channel.

import {
  BUFFER_LENGTH,
  BUFFER_NEXT,
  BUFFER_OFFSET,
  SLOT_BUFFER,
  SLOT_FLAG_CHAINED,
  SLOT_FLAGS,
  SLOT_LENGTH,
  SLOT_OFFSET,
} from '../memory/layout.ts';
import {
  NETQ_HEADER,
  NETQ_HEADER_BYTES,
  NETQ_PIECE_BUFFER,
  NETQ_PIECE_CHAINED,
  NETQ_PIECE_ROOM,
  NETQ_PIECE_SEGMENT,
  NETQ_PIECE_SOURCE,
  NETQ_PIECE_SOURCE_LEFT,
  NETQ_PIECE_TARGET,
  SEGMENT_ADDRESS,
  SEGMENT_LENGTH,
  SEGMENT_SHIFT,
} from './layout.ts';

/** Begins with the header at NETQ_HEADER and the packet at `slot`, which go into the segments from `segment` on. */
export function beginPieces(netq: u32, slot: u32, segment: u32): void {
  store<u32>(netq, netq + NETQ_HEADER, NETQ_PIECE_SOURCE);
  store<u32>(netq, load<u32>(netq, NETQ_HEADER_BYTES), NETQ_PIECE_SOURCE_LEFT);
  store<u32>(netq, 0, NETQ_PIECE_ROOM);
  store<u32>(netq, 0, NETQ_PIECE_BUFFER);
  store<u32>(netq, segment, NETQ_PIECE_SEGMENT);
  store<u32>(netq, load<u8>(slot, SLOT_FLAGS) & SLOT_FLAG_CHAINED ? 1 : 0, NETQ_PIECE_CHAINED);
}

function nextSegment(netq: u32): void {
  const segment = load<u32>(netq, NETQ_PIECE_SEGMENT);
  store<u32>(netq, load<u32>(segment, SEGMENT_ADDRESS), NETQ_PIECE_TARGET);
  store<u32>(netq, load<u32>(segment, SEGMENT_LENGTH), NETQ_PIECE_ROOM);
  store<u32>(netq, segment + (1 << SEGMENT_SHIFT), NETQ_PIECE_SEGMENT);
}

function nextBuffer(netq: u32, slot: u32): void {
  let buffer = load<u32>(netq, NETQ_PIECE_BUFFER);
  if (buffer === 0) {
    buffer = load<u32>(slot, SLOT_BUFFER);
    store<u32>(netq, buffer + load<u16>(slot, SLOT_OFFSET), NETQ_PIECE_SOURCE);
    store<u32>(netq, load<u16>(slot, SLOT_LENGTH), NETQ_PIECE_SOURCE_LEFT);
  } else {
    buffer = load<u32>(netq, NETQ_PIECE_CHAINED) !== 0 ? load<u32>(buffer, BUFFER_NEXT) : 0;
    assert(buffer !== 0);
    store<u32>(netq, buffer + load<u16>(buffer, BUFFER_OFFSET), NETQ_PIECE_SOURCE);
    store<u32>(netq, load<u16>(buffer, BUFFER_LENGTH), NETQ_PIECE_SOURCE_LEFT);
  }
  store<u32>(netq, buffer, NETQ_PIECE_BUFFER);
}

/**
 * Finds the next piece of the `left` (1 or more) bytes that there still are, and for which the segments have room: at
 * NETQ_PIECE_SOURCE and NETQ_PIECE_TARGET. Returns its bytes, which `passPiece` passes.
 */
export function findPiece(netq: u32, slot: u32, left: u32): u32 {
  while (load<u32>(netq, NETQ_PIECE_ROOM) === 0) nextSegment(netq);
  while (load<u32>(netq, NETQ_PIECE_SOURCE_LEFT) === 0) nextBuffer(netq, slot);
  return min(min(load<u32>(netq, NETQ_PIECE_SOURCE_LEFT), load<u32>(netq, NETQ_PIECE_ROOM)), left);
}

/** The piece of `n` bytes that was found is dealt with. */
export function passPiece(netq: u32, n: u32): void {
  store<u32>(netq, load<u32>(netq, NETQ_PIECE_SOURCE) + n, NETQ_PIECE_SOURCE);
  store<u32>(netq, load<u32>(netq, NETQ_PIECE_TARGET) + n, NETQ_PIECE_TARGET);
  store<u32>(netq, load<u32>(netq, NETQ_PIECE_SOURCE_LEFT) - n, NETQ_PIECE_SOURCE_LEFT);
  store<u32>(netq, load<u32>(netq, NETQ_PIECE_ROOM) - n, NETQ_PIECE_ROOM);
}
