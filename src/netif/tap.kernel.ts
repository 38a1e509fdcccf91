import { fill } from '../memory/chain.kernel.ts';
import {
  BUFFER_DATA_MIN,
  BUFFER_FRAME_MAX,
  BUFFER_HEADROOM,
  BUFFER_LENGTH,
  BUFFER_NEXT,
  BUFFER_OFFSET,
  SEGMENTS_MAX,
  SLOT_BUFFER,
  SLOT_FLAG_CHAINED,
  SLOT_FLAG_SHARED,
  SLOT_FLAGS,
  SLOT_LENGTH,
  SLOT_OFFSET,
  SLOT_SHIFT,
} from '../memory/layout.ts';
import { alloc, free } from '../memory/pool.kernel.ts';
import { acceptHeader, writeOffload } from '../virtio/net-header.kernel.ts';
import {
  TAP_BAD,
  TAP_EMPTY,
  TAP_FRAME_MAX,
  TAP_HEADER,
  TAP_HEADER_BYTES,
  TAP_LONG,
  TAP_OFFLOADS,
  TAP_PIECE,
  TAP_PIECE_BYTES,
  TAP_VECTORS,
  VECTOR_BYTES,
  VECTOR_SHIFT,
} from './layout.ts';

/** Bytes of a frame with its header that a buffer takes. */
const BUFFER_PART: u32 = TAP_HEADER_BYTES + BUFFER_FRAME_MAX;

/** Writes a struct iovec. `base` is where the memory starts in the process. */
function vector(at: u32, base: u64, address: u32, bytes: u32): void {
  store<u64>(at, base + address);
  store<u64>(at, bytes, VECTOR_BYTES);
}

/** Two words, as JavaScript passes a u64. */
function join(low: u32, high: u32): u64 {
  return ((<u64>high) << 32) | low;
}

/**
 * Takes `max` (1 to 32) empty packets to `slots`, and makes two vectors for each at TAP_VECTORS: header and frame where a buffer
 * has them, and what is longer behind the place for a long frame. Returns how many there are.
 */
export function tapPrepare(tap: u32, cache: u32, slots: u32, max: u32, low: u32, high: u32): u32 {
  const n = alloc(cache, slots, max);
  const base = join(low, high);
  for (let i: u32 = 0; i < n; i++) {
    const at = tap + TAP_VECTORS + (i << (VECTOR_SHIFT + 1));
    const buffer = load<u32>(slots + (i << SLOT_SHIFT), SLOT_BUFFER);
    vector(at, base, buffer + BUFFER_HEADROOM - TAP_HEADER_BYTES, BUFFER_PART);
    vector(at + (1 << VECTOR_SHIFT), base, tap + TAP_LONG + BUFFER_PART, TAP_FRAME_MAX - BUFFER_FRAME_MAX);
  }
  return n;
}

/**
 * The empty packet at `slot` received `bytes` bytes, header included, by its vectors. Returns 1, or 0 when it is dropped and
 * freed.
 */
export function tapReceived(tap: u32, cache: u32, slot: u32, bytes: u32): u32 {
  const buffer = load<u32>(slot, SLOT_BUFFER);
  const header = buffer + BUFFER_HEADROOM - TAP_HEADER_BYTES;
  const length = bytes - TAP_HEADER_BYTES;
  if (bytes < TAP_HEADER_BYTES || acceptHeader(load<u32>(tap, TAP_OFFLOADS), slot, header, length) === 0) {
    store<u32>(tap, load<u32>(tap, TAP_BAD) + 1, TAP_BAD);
    free(cache, slot, 1);
    return 0;
  }
  if (bytes <= BUFFER_PART) {
    store<u16>(slot, <u16>length, SLOT_LENGTH);
    return 1;
  }
  // One piece, from which it is copied into as many buffers as it takes, the one that it has among them.
  const frame = tap + TAP_LONG + TAP_HEADER_BYTES;
  memory.copy(frame, buffer + BUFFER_HEADROOM, BUFFER_FRAME_MAX);
  if (fill(cache, slot, frame, length) !== 0) return 1;
  store<u32>(tap, load<u32>(tap, TAP_EMPTY) + 1, TAP_EMPTY);
  return 0;
}

/** Writes the header of the packet at `slot`. */
function writeHeader(slot: u32, header: u32): void {
  writeOffload(slot, header);
  store<u16>(header, 0, TAP_HEADER_BYTES - 2);
}

/**
 * Writes the header of the packet at `slot`. Returns 0 when it fits in front of the frame, and TAP_PIECE tells of both; or how many
 * vectors there are at TAP_VECTORS of header and buffers.
 */
export function tapGather(tap: u32, slot: u32, low: u32, high: u32): u32 {
  const base = join(low, high);
  let buffer = load<u32>(slot, SLOT_BUFFER);
  let at = tap + TAP_VECTORS;
  const flags = load<u8>(slot, SLOT_FLAGS);
  const offset: u32 = load<u16>(slot, SLOT_OFFSET);
  const length: u32 = load<u16>(slot, SLOT_LENGTH);
  if (!(flags & (SLOT_FLAG_CHAINED | SLOT_FLAG_SHARED)) && offset >= BUFFER_DATA_MIN + TAP_HEADER_BYTES) {
    // Nobody else has the buffer, so the header may be written there: write(2) has a shorter way than writev(2).
    const header = buffer + offset - TAP_HEADER_BYTES;
    writeHeader(slot, header);
    store<u32>(tap, header, TAP_PIECE);
    store<u32>(tap, TAP_HEADER_BYTES + length, TAP_PIECE_BYTES);
    return 0;
  }
  writeHeader(slot, tap + TAP_HEADER);
  vector(at, base, tap + TAP_HEADER, TAP_HEADER_BYTES);
  at += 1 << VECTOR_SHIFT;
  vector(at, base, buffer + offset, length);
  if (!(flags & SLOT_FLAG_CHAINED)) return 2;
  for (let n: u32 = 2; n <= SEGMENTS_MAX; n++) {
    buffer = load<u32>(buffer, BUFFER_NEXT);
    if (buffer === 0) return n;
    at += 1 << VECTOR_SHIFT;
    vector(at, base, buffer + load<u16>(buffer, BUFFER_OFFSET), load<u16>(buffer, BUFFER_LENGTH));
  }
  return SEGMENTS_MAX + 1;
}
