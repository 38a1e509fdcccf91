import { fill, frameLength, gather } from '../memory/chain.kernel.ts';
import {
  BUFFER_NANOSECONDS,
  BUFFER_SECONDS,
  BUFFER_WIRE_LENGTH,
  SLOT_BUFFER,
  SLOT_FLAG_TIMED,
  SLOT_FLAGS,
  SLOT_SHIFT,
} from '../memory/layout.ts';
import { alloc, free } from '../memory/pool.kernel.ts';
import {
  BLOCK_ENHANCED,
  ENHANCED_BYTES,
  ENHANCED_CAPTURED,
  ENHANCED_DATA,
  ENHANCED_INTERFACE,
  ENHANCED_TIME_HIGH,
  ENHANCED_TIME_LOW,
  ENHANCED_TOTAL,
  ENHANCED_WIRE,
  PCAP_RECORD_BYTES,
  PCAP_RECORD_CAPTURED,
  PCAP_RECORD_FRACTION,
  PCAP_RECORD_SECONDS,
  PCAP_RECORD_WIRE,
  RECORD_FLAG_TIMED,
  RECORD_FLAGS,
  RECORD_LENGTH,
  RECORD_NANOSECONDS,
  RECORD_OFFSET,
  RECORD_SECONDS,
  RECORD_SHIFT,
  RECORD_WIRE_LENGTH,
} from './layout.ts';

/**
 * Makes packets of `count` capture records: buffers from the pool, the frames copied from `windowBase` +
 * RECORD_OFFSET, times and wire lengths set. Slots are written from `slots` on. Returns how many: fewer when the pool is exhausted.
 */
export function captureLoad(cache: u32, records: u32, count: u32, windowBase: u32, slots: u32): u32 {
  const n = alloc(cache, slots, count);
  for (let i: u32 = 0; i < n; i++) {
    const record = records + (i << RECORD_SHIFT);
    const slot = slots + (i << SLOT_SHIFT);
    const length = load<u32>(record, RECORD_LENGTH);
    if (fill(cache, slot, windowBase + load<u32>(record, RECORD_OFFSET), length) === 0) {
      // `fill` gave up this packet's buffers; those behind it hold nothing yet.
      free(cache, slot + (1 << SLOT_SHIFT), n - i - 1);
      return i;
    }
    if (load<u32>(record, RECORD_FLAGS) & RECORD_FLAG_TIMED) {
      const buffer = load<u32>(slot, SLOT_BUFFER);
      store<u32>(buffer, load<u32>(record, RECORD_SECONDS), BUFFER_SECONDS);
      store<u32>(buffer, load<u32>(record, RECORD_NANOSECONDS), BUFFER_NANOSECONDS);
      store<u32>(buffer, load<u32>(record, RECORD_WIRE_LENGTH), BUFFER_WIRE_LENGTH);
      store<u8>(slot, load<u8>(slot, SLOT_FLAGS) | <u8>SLOT_FLAG_TIMED, SLOT_FLAGS);
    }
  }
  return n;
}

/**
 * Writes packets as little-endian pcap records into `room` bytes at `target`, each whole or not at all. A packet with
 * a time of its own keeps it; others get `seconds` and `nanoseconds`. Returns how many were written; the bytes they
 * take are stored at `usedAt`. The packets stay the caller's.
 */
export function pcapAppend(
  slots: u32,
  count: u32,
  target: u32,
  room: u32,
  seconds: u32,
  nanoseconds: u32,
  usedAt: u32,
): u32 {
  let used: u32 = 0;
  let i: u32 = 0;
  for (; i < count; i++) {
    const slot = slots + (i << SLOT_SHIFT);
    const left = room - used;
    if (left < PCAP_RECORD_BYTES || left - PCAP_RECORD_BYTES < frameLength(slot)) break;
    const record = target + used;
    const length = gather(slot, record + PCAP_RECORD_BYTES, left - PCAP_RECORD_BYTES);
    store<u32>(record, length, PCAP_RECORD_CAPTURED);
    if (load<u8>(slot, SLOT_FLAGS) & SLOT_FLAG_TIMED) {
      const buffer = load<u32>(slot, SLOT_BUFFER);
      store<u32>(record, load<u32>(buffer, BUFFER_SECONDS), PCAP_RECORD_SECONDS);
      store<u32>(record, load<u32>(buffer, BUFFER_NANOSECONDS), PCAP_RECORD_FRACTION);
      // A frame that grew on its way is longer than it was on the wire, which readers take for damage.
      store<u32>(record, max(length, load<u32>(buffer, BUFFER_WIRE_LENGTH)), PCAP_RECORD_WIRE);
    } else {
      store<u32>(record, seconds, PCAP_RECORD_SECONDS);
      store<u32>(record, nanoseconds, PCAP_RECORD_FRACTION);
      store<u32>(record, length, PCAP_RECORD_WIRE);
    }
    used += PCAP_RECORD_BYTES + length;
  }
  store<u32>(usedAt, used);
  return i;
}

/**
 * As `pcapAppend`, as Enhanced Packet Blocks of interface 0, whose times are in nanoseconds (pcapng draft, 4.3).
 */
export function pcapngAppend(
  slots: u32,
  count: u32,
  target: u32,
  room: u32,
  seconds: u32,
  nanoseconds: u32,
  usedAt: u32,
): u32 {
  let used: u32 = 0;
  let i: u32 = 0;
  for (; i < count; i++) {
    const slot = slots + (i << SLOT_SHIFT);
    const length = frameLength(slot);
    const padded = (length + 3) & ~3;
    if (room - used < ENHANCED_BYTES || room - used - ENHANCED_BYTES < padded) break;
    const block = target + used;
    const buffer = load<u32>(slot, SLOT_BUFFER);
    const timed = (load<u8>(slot, SLOT_FLAGS) & SLOT_FLAG_TIMED) !== 0;
    const time = timed
      ? <u64>load<u32>(buffer, BUFFER_SECONDS) * 1000000000 + load<u32>(buffer, BUFFER_NANOSECONDS)
      : <u64>seconds * 1000000000 + nanoseconds;
    store<u32>(block, BLOCK_ENHANCED);
    store<u32>(block, ENHANCED_BYTES + padded, ENHANCED_TOTAL);
    store<u32>(block, 0, ENHANCED_INTERFACE);
    store<u32>(block, <u32>(time >>> 32), ENHANCED_TIME_HIGH);
    store<u32>(block, <u32>time, ENHANCED_TIME_LOW);
    store<u32>(block, length, ENHANCED_CAPTURED);
    store<u32>(block, timed ? max(length, load<u32>(buffer, BUFFER_WIRE_LENGTH)) : length, ENHANCED_WIRE);
    // Zeroes for the padding first; the frame covers what is its own.
    if (padded > 0) store<u32>(block + ENHANCED_DATA + padded - 4, 0);
    gather(slot, block + ENHANCED_DATA, length);
    store<u32>(block + ENHANCED_DATA + padded, ENHANCED_BYTES + padded);
    used += ENHANCED_BYTES + padded;
  }
  store<u32>(usedAt, used);
  return i;
}
