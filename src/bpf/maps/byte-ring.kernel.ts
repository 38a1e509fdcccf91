import { BYTERING_DATA, BYTERING_HEAD, BYTERING_LOST, BYTERING_SIZE, BYTERING_TAIL, NONE } from './layout.ts';

/** Bytes that a record of `length` bytes takes: at most 2^31. */
function takenBy(length: u32): u32 {
  return (length + 4 + 7) & ~7;
}

/**
 * Begins a record of `length` bytes. Returns where its bytes go, as a position for `putBytes`; NONE, and one more is lost,
 * when there is no room.
 */
export function beginRecord(ring: u32, length: u32): u32 {
  const size = load<u32>(ring, BYTERING_SIZE);
  const head = load<u32>(ring, BYTERING_HEAD);
  const room = size - (head - atomic.load<u32>(ring, BYTERING_TAIL));
  if (length > size || takenBy(length) > room) {
    store<u32>(ring, load<u32>(ring, BYTERING_LOST) + 1, BYTERING_LOST);
    return NONE;
  }
  // The length is at a multiple of 8, so it never wraps.
  store<u32>(load<u32>(ring, BYTERING_DATA) + (head & (size - 1)), length);
  return (head + 4) & (size - 1);
}

/** Copies `bytes` bytes at `source` to a position of the record. Returns the position behind them. */
export function putBytes(ring: u32, position: u32, source: u32, bytes: u32): u32 {
  // Of no bytes the address may be anything, and memory.copy traps on a wild one even so.
  if (bytes === 0) return position;
  const size = load<u32>(ring, BYTERING_SIZE);
  const data = load<u32>(ring, BYTERING_DATA);
  const first = min(bytes, size - position);
  memory.copy(data + position, source, first);
  if (first !== bytes) memory.copy(data, source + first, bytes - first);
  return (position + bytes) & (size - 1);
}

/** Writes one number to a position of the record. */
export function putWord(ring: u32, position: u32, word: u32): u32 {
  // Records begin at multiples of 8 and words of theirs at multiples of 4.
  store<u32>(load<u32>(ring, BYTERING_DATA) + position, word);
  return (position + 4) & (load<u32>(ring, BYTERING_SIZE) - 1);
}

/** Gives the record of `length` bytes to the reader. */
export function endRecord(ring: u32, length: u32): void {
  atomic.store<u32>(ring, load<u32>(ring, BYTERING_HEAD) + takenBy(length), BYTERING_HEAD);
}
