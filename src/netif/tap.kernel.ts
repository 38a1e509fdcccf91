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
  COMPLETION_RESULT,
  COMPLETION_SHIFT,
  REQUEST_ADDRESS,
  REQUEST_LENGTH,
  REQUEST_NOWAIT,
  REQUEST_OWN,
  REQUEST_SHIFT,
  REQUEST_SILENT,
  REQUEST_WRITE,
  REQUEST_WRITEV,
  TAP_BAD,
  TAP_COMPLETIONS,
  TAP_CQ_HEAD,
  TAP_CQ_TAIL,
  TAP_EMPTY,
  TAP_ERRNO,
  TAP_FD,
  TAP_FRAME_MAX,
  TAP_HEADER_BYTES,
  TAP_HEADER_SHIFT,
  TAP_HEADERS,
  TAP_LONG,
  TAP_NEXT,
  TAP_OFFLOADS,
  TAP_REFUSED,
  TAP_REQUEST,
  TAP_REQUESTS,
  TAP_SQ_HEAD,
  TAP_SQ_TAIL,
  TAP_VECTOR_COUNT,
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

/** Writes a request of the ring: `operation` over `length` bytes, or vectors, at `address`. */
function writeRequest(tap: u32, request: u32, base: u64, operation: u32, address: u32, length: u32): void {
  store<u64>(request, ((<u64>load<u32>(tap, TAP_FD)) << 32) | operation | (REQUEST_SILENT << 8));
  store<u64>(request, base + address, REQUEST_ADDRESS);
  store<u64>(request, ((<u64>REQUEST_NOWAIT) << 32) | length, REQUEST_LENGTH);
  store<u64>(request, address, REQUEST_OWN);
}

/** Writes vectors of the header at `header` and all buffers of the packet at `slot`. Returns how many; 0: more than `room`. */
function gather(slot: u32, header: u32, at: u32, room: u32, base: u64): u32 {
  if (room < 2) return 0;
  let buffer = load<u32>(slot, SLOT_BUFFER);
  vector(at, base, header, TAP_HEADER_BYTES);
  vector(at + (1 << VECTOR_SHIFT), base, buffer + load<u16>(slot, SLOT_OFFSET), load<u16>(slot, SLOT_LENGTH));
  let n: u32 = 2;
  if (!(load<u8>(slot, SLOT_FLAGS) & SLOT_FLAG_CHAINED)) return n;
  for (; n <= SEGMENTS_MAX; n++) {
    buffer = load<u32>(buffer, BUFFER_NEXT);
    if (buffer === 0) return n;
    if (n === room) return 0;
    vector(at + (n << VECTOR_SHIFT), base, buffer + load<u16>(buffer, BUFFER_OFFSET), load<u16>(buffer, BUFFER_LENGTH));
  }
  return n;
}

/**
 * Writes requests to send the first of `count` packets at `slots`, headers included, and shows them to the ring if there is one.
 * Returns how many: at most TAP_REQUESTS, and as many as there are vectors for; at least one.
 */
export function tapGather(tap: u32, slots: u32, count: u32, low: u32, high: u32): u32 {
  const base = join(low, high);
  const next = load<u32>(tap, TAP_NEXT);
  const limit = min(count, TAP_REQUESTS);
  let vectors: u32 = 0;
  let n: u32 = 0;
  for (; n < limit; n++) {
    const slot = slots + (n << SLOT_SHIFT);
    const request = load<u32>(tap, TAP_REQUEST) + (((next + n) & (TAP_REQUESTS - 1)) << REQUEST_SHIFT);
    const offset: u32 = load<u16>(slot, SLOT_OFFSET);
    const isOwn = !(load<u8>(slot, SLOT_FLAGS) & (SLOT_FLAG_CHAINED | SLOT_FLAG_SHARED));
    if (isOwn && offset >= BUFFER_DATA_MIN + TAP_HEADER_BYTES) {
      // Nobody else has the buffer, so the header may be written there: one piece has a shorter way than vectors.
      const header = load<u32>(slot, SLOT_BUFFER) + offset - TAP_HEADER_BYTES;
      writeHeader(slot, header);
      writeRequest(tap, request, base, REQUEST_WRITE, header, TAP_HEADER_BYTES + load<u16>(slot, SLOT_LENGTH));
      continue;
    }
    const header = tap + TAP_HEADERS + (n << TAP_HEADER_SHIFT);
    const at = tap + TAP_VECTORS + (vectors << VECTOR_SHIFT);
    const used = gather(slot, header, at, TAP_VECTOR_COUNT - vectors, base);
    if (used === 0) break;
    writeHeader(slot, header);
    writeRequest(tap, request, base, REQUEST_WRITEV, at, used);
    vectors += used;
  }
  const tail = load<u32>(tap, TAP_SQ_TAIL);
  if (tail !== 0) atomic.store<u32>(tail, next + n);
  return n;
}

/**
 * What became of the requests of `tapGather`, now that the ring was told of them. Returns how many it took; the others are taken
 * back. Those that failed are counted.
 */
export function tapSent(tap: u32): u32 {
  const head = atomic.load<u32>(load<u32>(tap, TAP_SQ_HEAD));
  const taken = head - load<u32>(tap, TAP_NEXT);
  store<u32>(tap, head, TAP_NEXT);
  atomic.store<u32>(load<u32>(tap, TAP_SQ_TAIL), head);
  const end = atomic.load<u32>(load<u32>(tap, TAP_CQ_TAIL));
  let at = load<u32>(load<u32>(tap, TAP_CQ_HEAD));
  if (at === end) return taken;
  for (; at !== end; at++) {
    const completion = load<u32>(tap, TAP_COMPLETIONS) + ((at & (2 * TAP_REQUESTS - 1)) << COMPLETION_SHIFT);
    store<u32>(tap, -load<i32>(completion, COMPLETION_RESULT), TAP_ERRNO);
    store<u32>(tap, load<u32>(tap, TAP_REFUSED) + 1, TAP_REFUSED);
  }
  atomic.store<u32>(load<u32>(tap, TAP_CQ_HEAD), at);
  return taken;
}
