import type { Arena } from '../../memory/arena.ts';
import {
  BYTERING_BYTES,
  BYTERING_DATA,
  BYTERING_HEAD,
  BYTERING_LOST,
  BYTERING_LOST_SEEN,
  BYTERING_SIZE,
  BYTERING_TAIL,
} from './layout.ts';

/** Writes the words of an empty ring of `size` bytes, a power of two from 64, at `address`; its data follow them. */
export function writeByteRing(arena: Arena, address: number, size: number): void {
  arena.u32[(address + BYTERING_SIZE) >>> 2] = size;
  arena.u32[(address + BYTERING_DATA) >>> 2] = address + BYTERING_BYTES;
}

/** Copies `length` bytes out of a ring's data, from `at` on, with what wrapped. */
function copyOut(arena: Arena, data: number, size: number, at: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  const first = Math.min(length, size - at);
  bytes.set(arena.u8.subarray(data + at, data + at + first));
  bytes.set(arena.u8.subarray(data, data + length - first), first);
  return bytes;
}

/**
 * Reads up to `limit` records, the oldest first. Each is out of the ring before `onRecord` has it. A length that the ring
 * cannot hold ends what is there. Returns how many records found no room since the last call.
 */
export function readByteRing(
  arena: Arena,
  ring: number,
  onRecord: (bytes: Uint8Array) => void,
  limit: number = Number.POSITIVE_INFINITY,
): number {
  const { u32 } = arena;
  const word = (offset: number): number => Atomics.load(u32, (ring + offset) >>> 2);
  const [size, data] = [word(BYTERING_SIZE), word(BYTERING_DATA)];
  const head = word(BYTERING_HEAD);
  let tail = word(BYTERING_TAIL);
  for (let done = 0; done < limit; done++) {
    const fill = (head - tail) >>> 0;
    if (fill === 0) break;
    // size is a power of two below 2^31.
    const at = tail & (size - 1);
    const length = u32[(data + at) >>> 2] ?? 0;
    const taken = Math.ceil((length + 4) / 8) * 8;
    const isWhole = fill <= size && taken <= fill;
    const bytes = isWhole ? copyOut(arena, data, size, (at + 4) & (size - 1), length) : undefined;
    tail = isWhole ? (tail + taken) >>> 0 : head;
    Atomics.store(u32, (ring + BYTERING_TAIL) >>> 2, tail);
    if (bytes !== undefined) onRecord(bytes);
  }
  const lost = word(BYTERING_LOST);
  const more = (lost - word(BYTERING_LOST_SEEN)) >>> 0;
  u32[(ring + BYTERING_LOST_SEEN) >>> 2] = lost;
  return more;
}
