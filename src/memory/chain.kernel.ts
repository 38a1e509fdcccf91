import {
  BUFFER_FRAME_MAX,
  BUFFER_HEADROOM,
  BUFFER_LENGTH,
  BUFFER_NEXT,
  BUFFER_OFFSET,
  BUFFER_REFERENCES,
  BUFFER_TOTAL,
  CACHE_ALLOC_SLOW_HIGH_ORDER,
  SEGMENTS_MAX,
  SLOT_BUFFER,
  SLOT_FLAG_CHAINED,
  SLOT_FLAGS,
  SLOT_LENGTH,
  SLOT_OFFSET,
} from './layout.ts';
import { allocBuffer, free } from './pool.kernel.ts';

/** Bytes of the frame at `slot`, all buffers together. */
export function frameLength(slot: u32): u32 {
  if (load<u8>(slot, SLOT_FLAGS) & SLOT_FLAG_CHAINED) return load<u32>(load<u32>(slot, SLOT_BUFFER), BUFFER_TOTAL);
  return load<u16>(slot, SLOT_LENGTH);
}

/**
 * Copies `length` bytes at `source` into the empty packet at `slot`, with as many buffers as they need.
 * Returns 1; or 0 when the pool is exhausted or `length` is over SEGMENTS_MAX buffers: the packet is freed then.
 */
export function fill(cache: u32, slot: u32, source: u32, length: u32): u32 {
  const first = load<u32>(slot, SLOT_BUFFER);
  const head = min(length, BUFFER_FRAME_MAX);
  memory.copy(first + BUFFER_HEADROOM, source, head);
  store<u16>(slot, <u16>head, SLOT_LENGTH);
  if (head === length) return 1;

  store<u32>(first, 0, BUFFER_NEXT);
  store<u32>(first, length, BUFFER_TOTAL);
  store<u8>(slot, load<u8>(slot, SLOT_FLAGS) | <u8>SLOT_FLAG_CHAINED, SLOT_FLAGS);
  let done = head;
  let last = first;
  const fits = length <= SEGMENTS_MAX * BUFFER_FRAME_MAX;
  while (done < length) {
    const buffer = fits ? allocBuffer(cache) : 0;
    if (buffer === 0) {
      free(cache, slot, 1);
      return 0;
    }
    const n = min(length - done, BUFFER_FRAME_MAX);
    memory.copy(buffer + BUFFER_HEADROOM, source + done, n);
    store<u32>(buffer, 1, BUFFER_REFERENCES);
    store<u32>(buffer, 0, BUFFER_NEXT);
    store<u16>(buffer, <u16>BUFFER_HEADROOM, BUFFER_OFFSET);
    store<u16>(buffer, <u16>n, BUFFER_LENGTH);
    store<u32>(last, buffer, BUFFER_NEXT);
    last = buffer;
    done += n;
  }
  const chains = cache + CACHE_ALLOC_SLOW_HIGH_ORDER;
  store<u64>(chains, load<u64>(chains) + 1);
  return 1;
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
