// Packets that say which one they are, of all lengths, with other bytes in each: what becomes of them can be checked.

import { append, frameLength } from '../memory/chain.kernel.ts';
import {
  BUFFER_LENGTH,
  BUFFER_NEXT,
  BUFFER_OFFSET,
  SLOT_BUFFER,
  SLOT_FLAG_CHAINED,
  SLOT_FLAGS,
  SLOT_LENGTH,
  SLOT_OFFSET,
  SLOT_SHIFT,
} from '../memory/layout.ts';
import { alloc, free } from '../memory/pool.kernel.ts';
import { NUMBERED_LENGTH_MIN, NUMBERED_LENGTHS, NUMBERED_STARTS } from './layout.ts';

const NUMBER_BYTES: u32 = 4;

/** Bytes of packet `number`: neighbours differ by 37. */
function lengthOf(number: u32): u32 {
  return NUMBERED_LENGTH_MIN + ((number * 37) % NUMBERED_LENGTHS);
}

/**
 * Makes up to `max` packets, from number `first` on, at `slots`: the number, and a stretch of `pattern` (NUMBERED_PATTERN
 * bytes). Returns how many; fewer when the pool is exhausted.
 */
export function numberedMake(cache: u32, slots: u32, max: u32, first: u32, pattern: u32): u32 {
  const n = alloc(cache, slots, max);
  for (let i: u32 = 0; i < n; i++) {
    const slot = slots + (i << SLOT_SHIFT);
    const number = first + i;
    const head = load<u32>(slot, SLOT_BUFFER);
    if (append(cache, slot, head, pattern + (number % NUMBERED_STARTS), lengthOf(number)) === 0) {
      free(cache, slot, n - i);
      return i;
    }
    store<u32>(head + load<u16>(slot, SLOT_OFFSET), number);
  }
  return n;
}

/** Whether the `n` bytes at `a` and `b` are the same. */
function equal(a: u32, b: u32, n: u32): bool {
  let i: u32 = 0;
  // Lines that are fetched beside each other.
  for (; i + 64 <= n; i += 64) {
    const first = v128.xor(v128.load(a + i), v128.load(b + i));
    const second = v128.xor(v128.load(a + i, 16), v128.load(b + i, 16));
    const third = v128.xor(v128.load(a + i, 32), v128.load(b + i, 32));
    const fourth = v128.xor(v128.load(a + i, 48), v128.load(b + i, 48));
    if (v128.any_true(v128.or(v128.or(first, second), v128.or(third, fourth)))) return false;
  }
  for (; i + 16 <= n; i += 16) if (v128.any_true(v128.xor(v128.load(a + i), v128.load(b + i)))) return false;
  for (; i < n; i++) if (load<u8>(a + i) !== load<u8>(b + i)) return false;
  return true;
}

/** Whether the packet at `slot` is packet `number`, every byte of it. */
function isNumber(slot: u32, number: u32, pattern: u32): bool {
  if (frameLength(slot) !== lengthOf(number)) return false;
  const first = load<u32>(slot, SLOT_BUFFER);
  const at = first + load<u16>(slot, SLOT_OFFSET);
  const length: u32 = load<u16>(slot, SLOT_LENGTH);
  if (length < NUMBER_BYTES || load<u32>(at) !== number) return false;
  let expected = pattern + (number % NUMBERED_STARTS) + NUMBER_BYTES;
  if (!equal(at + NUMBER_BYTES, expected, length - NUMBER_BYTES)) return false;
  expected += length - NUMBER_BYTES;
  let buffer: u32 = load<u8>(slot, SLOT_FLAGS) & SLOT_FLAG_CHAINED ? load<u32>(first, BUFFER_NEXT) : 0;
  while (buffer !== 0) {
    const n: u32 = load<u16>(buffer, BUFFER_LENGTH);
    if (!equal(buffer + load<u16>(buffer, BUFFER_OFFSET), expected, n)) return false;
    expected += n;
    buffer = load<u32>(buffer, BUFFER_NEXT);
  }
  return true;
}

/** Of the `n` packets at `slots`, how many are whole and in order from number `first` on, before one that is not. */
export function numberedCheck(slots: u32, n: u32, first: u32, pattern: u32): u32 {
  for (let i: u32 = 0; i < n; i++) if (!isNumber(slots + (i << SLOT_SHIFT), first + i, pattern)) return i;
  return n;
}
