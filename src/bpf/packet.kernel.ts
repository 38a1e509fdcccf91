import { moveStart } from '../memory/chain.kernel.ts';
import {
  BUFFER_BYTES,
  BUFFER_LENGTH,
  BUFFER_NEXT,
  BUFFER_OFFSET,
  BUFFER_TOTAL,
  BUFFER_WIRE_LENGTH,
  CACHE_RECYCLE_CACHED,
  SEGMENTS_MAX,
  SLOT_BUFFER,
  SLOT_FLAG_CHAINED,
  SLOT_FLAG_TIMED,
  SLOT_FLAGS,
  SLOT_LENGTH,
} from '../memory/layout.ts';
import { freeBuffer } from '../memory/pool.kernel.ts';
import { ETHERNET_BYTES } from '../packet/layout.ts';
import { CTX_CACHE, CTX_DATA, CTX_DATA_END, CTX_DATA_META, CTX_HARD_END, CTX_HARD_START, CTX_SLOT } from './layout.ts';
import { fail } from './maps/key.kernel.ts';
import { ERRNO_ACCES, ERRNO_FAULT, ERRNO_INVAL } from './maps/layout.ts';
import { firstBytes, packetBytes, secondBuffer, segmentAddress, segmentBytes } from './segments.kernel.ts';

/** Bytes of metadata at most: what fits a u8 and is a multiple of 4 (Linux include/net/xdp.h, xdp_metalen_invalid). */
const META_MAX: i64 = 252;
/** Linux net/core/filter.c, bpf_xdp_pointer. */
const PIECE_MAX: u32 = 0xffff;

/** bpf_xdp_adjust_head: moves data, and metadata with it. 0; -EINVAL when there is no room, or no Ethernet header is left. */
export function adjustHead(ctx: u32, _context: u32, delta: i32): i64 {
  const data = load<u32>(ctx, CTX_DATA);
  const meta = load<u32>(ctx, CTX_DATA_META);
  const metaBytes = data - meta;
  const moved = <i64>data + delta;
  if (moved < <i64>load<u32>(ctx, CTX_HARD_START) + metaBytes) return fail(ERRNO_INVAL);
  if (moved > <i64>load<u32>(ctx, CTX_DATA_END) - ETHERNET_BYTES) return fail(ERRNO_INVAL);
  memory.copy(meta + delta, meta, metaBytes);
  store<u32>(ctx, meta + delta, CTX_DATA_META);
  store<u32>(ctx, data + delta, CTX_DATA);
  const slot = load<u32>(ctx, CTX_SLOT);
  if (slot !== 0) moveStart(slot, delta);
  return 0;
}

/** bpf_xdp_adjust_meta: moves the start of metadata. 0; -EINVAL when there is no room, -EACCES on a size that is none. */
export function adjustMeta(ctx: u32, _context: u32, delta: i32): i64 {
  const data = <i64>load<u32>(ctx, CTX_DATA);
  const moved = <i64>load<u32>(ctx, CTX_DATA_META) + delta;
  if (moved < <i64>load<u32>(ctx, CTX_HARD_START) || moved > data) return fail(ERRNO_INVAL);
  if (data - moved > META_MAX || ((data - moved) & 3) !== 0) return fail(ERRNO_ACCES);
  store<u32>(ctx, <u32>moved, CTX_DATA_META);
  return 0;
}

/** Notes that the packet is `by` bytes longer, of which `first` in its first buffer. */
function grow(ctx: u32, by: i32, first: i32): void {
  store<u32>(ctx, load<u32>(ctx, CTX_DATA_END) + first, CTX_DATA_END);
  const slot = load<u32>(ctx, CTX_SLOT);
  if (slot === 0) return;
  store<u16>(slot, <u16>(load<u16>(slot, SLOT_LENGTH) + first), SLOT_LENGTH);
  const flags = load<u8>(slot, SLOT_FLAGS);
  const buffer = load<u32>(slot, SLOT_BUFFER);
  if (flags & SLOT_FLAG_CHAINED) store<u32>(buffer, load<u32>(buffer, BUFFER_TOTAL) + by, BUFFER_TOTAL);
  if (flags & SLOT_FLAG_TIMED) store<u32>(buffer, load<u32>(buffer, BUFFER_WIRE_LENGTH) + by, BUFFER_WIRE_LENGTH);
}

/** Makes the last buffer of several `by` bytes longer. */
function growLast(ctx: u32, by: u32): i64 {
  let last = secondBuffer(ctx);
  for (let i: u32 = 0; i < SEGMENTS_MAX; i++) {
    const next = load<u32>(last, BUFFER_NEXT);
    if (next === 0) break;
    last = next;
  }
  const used = <u32>load<u16>(last, BUFFER_OFFSET) + load<u16>(last, BUFFER_LENGTH);
  if (by > BUFFER_BYTES - used) return fail(ERRNO_INVAL);
  memory.fill(last + used, 0, by);
  store<u16>(last, <u16>(load<u16>(last, BUFFER_LENGTH) + by), BUFFER_LENGTH);
  grow(ctx, by, 0);
  return 0;
}

/** Gives back a buffer that only this packet had. */
function dropBuffer(cache: u32, buffer: u32): void {
  freeBuffer(cache, buffer);
  store<u64>(cache, load<u64>(cache, CACHE_RECYCLE_CACHED) + 1, CACHE_RECYCLE_CACHED);
}

/** Takes the last `by` bytes from a packet of several buffers, and gives back those that are left empty. */
function shrinkLast(ctx: u32, by: u32): i64 {
  const total = packetBytes(ctx);
  const left = total - by;
  if (by > total || left < ETHERNET_BYTES) return fail(ERRNO_INVAL);
  const slot = load<u32>(ctx, CTX_SLOT);
  const first = firstBytes(ctx);
  let place = load<u32>(slot, SLOT_BUFFER) + BUFFER_NEXT;
  let at = first;
  let buffer = load<u32>(place);
  for (let i: u32 = 0; i < SEGMENTS_MAX && buffer !== 0; i++) {
    const bytes = segmentBytes(buffer);
    const next = load<u32>(buffer, BUFFER_NEXT);
    if (at >= left) {
      store<u32>(place, 0);
      dropBuffer(load<u32>(ctx, CTX_CACHE), buffer);
    } else {
      if (at + bytes > left) store<u16>(buffer, <u16>(left - at), BUFFER_LENGTH);
      place = buffer + BUFFER_NEXT;
    }
    at += bytes;
    buffer = next;
  }
  grow(ctx, -(<i32>by), left < first ? <i32>(left - first) : 0);
  if (load<u32>(load<u32>(slot, SLOT_BUFFER), BUFFER_NEXT) === 0) {
    store<u8>(slot, load<u8>(slot, SLOT_FLAGS) & ~(<u8>SLOT_FLAG_CHAINED), SLOT_FLAGS);
  }
  return 0;
}

/**
 * bpf_xdp_adjust_tail: makes the packet longer by zeroes, or shorter. 0; -EINVAL when there is no room in its last buffer,
 * or no Ethernet header is left.
 */
export function adjustTail(ctx: u32, _context: u32, delta: i32): i64 {
  if (secondBuffer(ctx) !== 0) return delta < 0 ? shrinkLast(ctx, -delta) : growLast(ctx, delta);
  const end = load<u32>(ctx, CTX_DATA_END);
  const moved = <i64>end + delta;
  if (moved > <i64>load<u32>(ctx, CTX_HARD_END)) return fail(ERRNO_INVAL);
  if (moved < <i64>load<u32>(ctx, CTX_DATA) + ETHERNET_BYTES) return fail(ERRNO_INVAL);
  if (delta > 0) memory.fill(end, 0, delta);
  grow(ctx, delta, delta);
  return 0;
}

/** bpf_xdp_get_buff_len: bytes of the packet, all buffers together. */
export function buffLen(ctx: u32, _context: u32): i64 {
  return packetBytes(ctx);
}

/** Copies `bytes` bytes between memory and the packet from `offset` on. `write`: into the packet. */
function copyPiece(ctx: u32, offset: u32, address: u32, bytes: u32, write: bool): i64 {
  if (offset > PIECE_MAX || bytes > PIECE_MAX) return fail(ERRNO_FAULT);
  if (offset + bytes > packetBytes(ctx)) return fail(ERRNO_INVAL);
  // Nobody looks at the address then, and memory.copy traps on a wild one even so.
  if (bytes === 0) return 0;
  let start = load<u32>(ctx, CTX_DATA);
  let length = firstBytes(ctx);
  let buffer = secondBuffer(ctx);
  let at = offset;
  let done: u32 = 0;
  for (let i: u32 = 0; i < SEGMENTS_MAX; i++) {
    if (at < length) {
      const n = min(length - at, bytes - done);
      if (write) memory.copy(start + at, address + done, n);
      else memory.copy(address + done, start + at, n);
      done += n;
      at += n;
    }
    if (done === bytes || buffer === 0) break;
    at -= length;
    start = segmentAddress(buffer);
    length = segmentBytes(buffer);
    buffer = load<u32>(buffer, BUFFER_NEXT);
  }
  return 0;
}

/** bpf_xdp_load_bytes: copies from the packet. 0; -EFAULT on an offset or size over 65,535, -EINVAL behind its end. */
export function loadBytes(ctx: u32, _context: u32, offset: u32, target: u32, bytes: u32): i64 {
  return copyPiece(ctx, offset, target, bytes, false);
}

/** bpf_xdp_store_bytes: copies into the packet; errors as of `loadBytes`. */
export function storeBytes(ctx: u32, _context: u32, offset: u32, source: u32, bytes: u32): i64 {
  return copyPiece(ctx, offset, source, bytes, true);
}
