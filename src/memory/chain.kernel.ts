import { copyBytes } from './copy.kernel.ts';
import {
  BUFFER_CSUM_START,
  BUFFER_FRAME_MAX,
  BUFFER_HEADER_LENGTH,
  BUFFER_HEADROOM,
  BUFFER_LENGTH,
  BUFFER_NEXT,
  BUFFER_OFFSET,
  BUFFER_REFERENCES,
  BUFFER_SECONDS,
  BUFFER_STATE,
  BUFFER_TOTAL,
  BUFFER_WIRE_LENGTH,
  CACHE_ALLOC_SLOW_HIGH_ORDER,
  SEGMENTS_MAX,
  SLOT_BUFFER,
  SLOT_FLAG_CHAINED,
  SLOT_FLAG_OFFLOAD,
  SLOT_FLAG_SHARED,
  SLOT_FLAG_TIMED,
  SLOT_FLAGS,
  SLOT_FLOW,
  SLOT_LENGTH,
  SLOT_OFFSET,
} from './layout.ts';
import { alloc, allocBuffer, free } from './pool.kernel.ts';

/** Bytes of the frame at `slot`, all buffers together. */
export function frameLength(slot: u32): u32 {
  if (load<u8>(slot, SLOT_FLAGS) & SLOT_FLAG_CHAINED) return load<u32>(load<u32>(slot, SLOT_BUFFER), BUFFER_TOTAL);
  return load<u16>(slot, SLOT_LENGTH);
}

/** The buffer behind `buffer` of the packet at `slot`, which has bytes left. */
export function nextBuffer(slot: u32, buffer: u32): u32 {
  const next: u32 = load<u8>(slot, SLOT_FLAGS) & SLOT_FLAG_CHAINED ? load<u32>(buffer, BUFFER_NEXT) : 0;
  assert(next !== 0);
  return next;
}

/** Links an empty buffer behind `buffer`, the last one of the packet at `slot`. Returns it; 0 when the pool is exhausted. */
export function extend(cache: u32, slot: u32, buffer: u32): u32 {
  const next = allocBuffer(cache);
  if (next === 0) return 0;
  store<u32>(next, 1, BUFFER_REFERENCES);
  store<u32>(next, 0, BUFFER_NEXT);
  store<u16>(next, <u16>BUFFER_HEADROOM, BUFFER_OFFSET);
  store<u16>(next, 0, BUFFER_LENGTH);
  store<u32>(buffer, next, BUFFER_NEXT);
  if (buffer === load<u32>(slot, SLOT_BUFFER)) {
    store<u8>(slot, load<u8>(slot, SLOT_FLAGS) | <u8>SLOT_FLAG_CHAINED, SLOT_FLAGS);
    const chains = cache + CACHE_ALLOC_SLOW_HIGH_ORDER;
    store<u64>(chains, load<u64>(chains) + 1);
  }
  return next;
}

/**
 * Makes the empty packet at `slot` one of `length` bytes (1 or more), which are to be written yet, with as many buffers as they
 * need. Returns 1; or 0 when the pool is exhausted or `length` is over SEGMENTS_MAX buffers: what it has so far is the
 * caller's to free.
 */
export function layOut(cache: u32, slot: u32, length: u32): u32 {
  if (length > SEGMENTS_MAX * BUFFER_FRAME_MAX) return 0;
  const first = load<u32>(slot, SLOT_BUFFER);
  let buffer = first;
  let left = length;
  while (true) {
    const n = min(left, BUFFER_FRAME_MAX);
    if (buffer === first) store<u16>(slot, <u16>n, SLOT_LENGTH);
    else store<u16>(buffer, <u16>n, BUFFER_LENGTH);
    left -= n;
    if (left === 0) break;
    buffer = extend(cache, slot, buffer);
    if (buffer === 0) return 0;
  }
  if (buffer !== first) store<u32>(first, length, BUFFER_TOTAL);
  return 1;
}

/**
 * Appends `length` bytes at `source` to the packet at `slot`, whose last buffer is `last`, with as many buffers more as
 * they need; all of its buffers start at the headroom. Returns the last buffer then; 0 when the pool is exhausted or the
 * packet would have over SEGMENTS_MAX buffers: what it has so far is the caller's to free.
 */
export function append(cache: u32, slot: u32, last: u32, source: u32, length: u32): u32 {
  const first = load<u32>(slot, SLOT_BUFFER);
  const before = frameLength(slot);
  if (before + length > SEGMENTS_MAX * BUFFER_FRAME_MAX) return 0;
  let buffer = last;
  let done: u32 = 0;
  while (true) {
    const have: u32 = buffer === first ? load<u16>(slot, SLOT_LENGTH) : load<u16>(buffer, BUFFER_LENGTH);
    const n = min(length - done, BUFFER_FRAME_MAX - have);
    copyBytes(buffer + BUFFER_HEADROOM + have, source + done, n);
    if (buffer === first) store<u16>(slot, <u16>(have + n), SLOT_LENGTH);
    else store<u16>(buffer, <u16>(have + n), BUFFER_LENGTH);
    done += n;
    if (done === length) break;
    buffer = extend(cache, slot, buffer);
    if (buffer === 0) return 0;
  }
  if (load<u8>(slot, SLOT_FLAGS) & SLOT_FLAG_CHAINED) store<u32>(first, before + length, BUFFER_TOTAL);
  return buffer;
}

/**
 * Copies `length` bytes at `source` into the empty packet at `slot`, with as many buffers as they need.
 * Returns 1; or 0 when the pool is exhausted or `length` is over SEGMENTS_MAX buffers: the packet is freed then.
 */
export function fill(cache: u32, slot: u32, source: u32, length: u32): u32 {
  if (append(cache, slot, load<u32>(slot, SLOT_BUFFER), source, length) !== 0) return 1;
  free(cache, slot, 1);
  return 0;
}

/** Appends the bytes of the packet at `source` to the empty one at `target`. Returns 0 when the pool is exhausted. */
function appendAll(cache: u32, target: u32, source: u32): u32 {
  let buffer = load<u32>(source, SLOT_BUFFER);
  let last = load<u32>(target, SLOT_BUFFER);
  last = append(cache, target, last, buffer + load<u16>(source, SLOT_OFFSET), load<u16>(source, SLOT_LENGTH));
  if (!(load<u8>(source, SLOT_FLAGS) & SLOT_FLAG_CHAINED)) return last;
  for (let i: u32 = 1; last !== 0 && i < SEGMENTS_MAX; i++) {
    buffer = load<u32>(buffer, BUFFER_NEXT);
    if (buffer === 0) break;
    last = append(cache, target, last, buffer + load<u16>(buffer, BUFFER_OFFSET), load<u16>(buffer, BUFFER_LENGTH));
  }
  return last;
}

/**
 * Makes at `target` a packet that is the same as the one at `source`, in buffers of its own, with the frame where frames
 * start. Returns 0 when the pool is exhausted.
 */
export function clone(cache: u32, source: u32, target: u32): u32 {
  if (alloc(cache, target, 1) === 0) return 0;
  if (appendAll(cache, target, source) === 0) {
    free(cache, target, 1);
    return 0;
  }
  const from = load<u32>(source, SLOT_BUFFER);
  const to = load<u32>(target, SLOT_BUFFER);
  memory.copy(to + BUFFER_SECONDS, from + BUFFER_SECONDS, BUFFER_STATE - BUFFER_SECONDS);
  const chained = load<u8>(target, SLOT_FLAGS) & <u8>SLOT_FLAG_CHAINED;
  const kept = load<u8>(source, SLOT_FLAGS) & ~(<u8>(SLOT_FLAG_CHAINED | SLOT_FLAG_SHARED));
  // Flow, port and event at once, then the flags among them.
  store<u64>(target, load<u64>(source, SLOT_FLOW), SLOT_FLOW);
  store<u8>(target, kept | chained, SLOT_FLAGS);
  return 1;
}

/** Moves the start of a writable frame by `by` bytes, and with it lengths and offsets that count from there. */
export function moveStart(slot: u32, by: i32): void {
  store<u16>(slot, <u16>(load<u16>(slot, SLOT_OFFSET) + by), SLOT_OFFSET);
  store<u16>(slot, <u16>(load<u16>(slot, SLOT_LENGTH) - by), SLOT_LENGTH);
  const flags = load<u8>(slot, SLOT_FLAGS);
  const buffer = load<u32>(slot, SLOT_BUFFER);
  if (flags & SLOT_FLAG_CHAINED) store<u32>(buffer, load<u32>(buffer, BUFFER_TOTAL) - by, BUFFER_TOTAL);
  if (flags & SLOT_FLAG_TIMED) store<u32>(buffer, load<u32>(buffer, BUFFER_WIRE_LENGTH) - by, BUFFER_WIRE_LENGTH);
  if (flags & SLOT_FLAG_OFFLOAD) {
    store<u16>(buffer, <u16>(load<u16>(buffer, BUFFER_CSUM_START) - by), BUFFER_CSUM_START);
    store<u16>(buffer, <u16>(load<u16>(buffer, BUFFER_HEADER_LENGTH) - by), BUFFER_HEADER_LENGTH);
  }
}

/** Copies at most `max` bytes of the frame at `slot` to `target`. Returns how many. */
export function gather(slot: u32, target: u32, max: u32): u32 {
  const first = load<u32>(slot, SLOT_BUFFER);
  let done = min(<u32>load<u16>(slot, SLOT_LENGTH), max);
  memory.copy(target, first + load<u16>(slot, SLOT_OFFSET), done);
  if (!(load<u8>(slot, SLOT_FLAGS) & SLOT_FLAG_CHAINED)) return done;
  let buffer = load<u32>(first, BUFFER_NEXT);
  for (let i: u32 = 1; i < SEGMENTS_MAX && buffer !== 0 && done < max; i++) {
    const n = min(<u32>load<u16>(buffer, BUFFER_LENGTH), max - done);
    memory.copy(target + done, buffer + load<u16>(buffer, BUFFER_OFFSET), n);
    done += n;
    buffer = load<u32>(buffer, BUFFER_NEXT);
  }
  return done;
}
