// Packets through the data ring. Slots of the command ring say in which order, and answer; a packet that finds no room goes by grant.

import { layOut } from '../memory/chain.kernel.ts';
import {
  BUFFER_HEADROOM,
  BUFFER_LENGTH,
  BUFFER_NEXT,
  BUFFER_OFFSET,
  SLOT_BUFFER,
  SLOT_LENGTH,
  SLOT_OFFSET,
} from '../memory/layout.ts';
import {
  DATAFRAME_ALIGN_SHIFT,
  DATAFRAME_HEADER,
  DATAFRAME_LENGTH,
  DATAFRAME_LENGTH_MAX,
  DATAHALF_CONS,
  DATAHALF_PROD,
} from './data-ring-layout.ts';
import { NETRING_BROKEN_FRAME, PACKET_BYTES_MIN } from './layout.ts';
import { moveBytes } from './move.kernel.ts';
import {
  VIFQ_CACHE,
  VIFQ_DATA,
  VIFQ_DATA_BASE,
  VIFQ_DATA_COPIED,
  VIFQ_DATA_INDEX,
  VIFQ_DATA_SIZE,
  VIFQ_FALLBACKS,
  VIFQ_RING,
} from './queue-layout.ts';
import { isBroken, latch } from './ring.kernel.ts';
import { countVif } from './vif.kernel.ts';

/** Bytes of the ring that a frame takes. */
function frameBytes(length: u32): u32 {
  const units = (DATAFRAME_HEADER + length + (1 << DATAFRAME_ALIGN_SHIFT) - 1) >> DATAFRAME_ALIGN_SHIFT;
  return units << DATAFRAME_ALIGN_SHIFT;
}

/** Bytes that the reader has left free; none, and the ring breaks, when it says that it took what was never put. */
function freeBytes(queue: u32): u32 {
  const size = load<u32>(queue, VIFQ_DATA_SIZE);
  const used = load<u32>(queue, VIFQ_DATA_INDEX) - load<u32>(load<u32>(queue, VIFQ_DATA), DATAHALF_CONS);
  if (used <= size) return size - used;
  latch(load<u32>(queue, VIFQ_RING), NETRING_BROKEN_FRAME);
  return 0;
}

/** Copies `n` bytes to what the free-running `index` stands for, round the end if need be. */
function putBytes(queue: u32, index: u32, source: u32, n: u32): void {
  const base = load<u32>(queue, VIFQ_DATA_BASE);
  const size = load<u32>(queue, VIFQ_DATA_SIZE);
  const at = index & (size - 1);
  const first = min(n, size - at);
  moveBytes(queue, base + at, source, first);
  if (first < n) moveBytes(queue, base, source + first, n - first);
}

/**
 * Puts the packet at `slot`, of `length` bytes, into the data ring as a frame, which `publishFrames` shows to the reader. Returns false
 * when there is no data ring, or no room in it.
 */
export function putFrame(queue: u32, slot: u32, length: u32): bool {
  if (load<u32>(queue, VIFQ_DATA) === 0) return false;
  const bytes = frameBytes(length);
  if (bytes > freeBytes(queue)) return false;
  const index = load<u32>(queue, VIFQ_DATA_INDEX);
  const header = load<u32>(queue, VIFQ_DATA_BASE) + (index & (load<u32>(queue, VIFQ_DATA_SIZE) - 1));
  store<u32>(header, length, DATAFRAME_LENGTH);
  let buffer = load<u32>(slot, SLOT_BUFFER);
  let source = buffer + load<u16>(slot, SLOT_OFFSET);
  let have: u32 = load<u16>(slot, SLOT_LENGTH);
  let done: u32 = 0;
  while (true) {
    const n = min(have, length - done);
    putBytes(queue, index + DATAFRAME_HEADER + done, source, n);
    done += n;
    if (done === length) break;
    buffer = load<u32>(buffer, BUFFER_NEXT);
    source = buffer + load<u16>(buffer, BUFFER_OFFSET);
    have = load<u16>(buffer, BUFFER_LENGTH);
  }
  store<u32>(queue, index + bytes, VIFQ_DATA_INDEX);
  return true;
}

/** Counts a packet that goes by grant although there is a data ring. */
export function countFallback(queue: u32): void {
  if (load<u32>(queue, VIFQ_DATA) !== 0) countVif(queue, VIFQ_FALLBACKS);
}

/**
 * Shows frames that lie before `index` to the reader. It looks for them when it sees their slots, whose publication follows and orders
 * this plain store.
 */
export function publishFrames(queue: u32, index: u32): void {
  const half = load<u32>(queue, VIFQ_DATA);
  if (half !== 0) store<u32>(half, index, DATAHALF_PROD);
}

/** Frames that lie before `index` are copied: `returnFrames` may return them. */
export function keepCopied(queue: u32, index: u32): void {
  store<u32>(queue, index, VIFQ_DATA_COPIED);
}

/**
 * Gives the writer the room of frames that were copied in earlier bursts. Called behind the burst's atomic look at the command ring,
 * which orders it behind those copies: so it needs no publication of its own.
 */
export function returnFrames(queue: u32): void {
  const half = load<u32>(queue, VIFQ_DATA);
  if (half === 0 || isBroken(load<u32>(queue, VIFQ_RING))) return;
  const index = load<u32>(queue, VIFQ_DATA_COPIED);
  if (load<u32>(half, DATAHALF_CONS) !== index) store<u32>(half, index, DATAHALF_CONS);
}

/**
 * Takes the next frame, whose bytes `readFrame` copies. Returns its length, which is read once and checked; 0, and the ring breaks, when
 * a slot announced a frame that is not there whole, or that no packet is.
 */
export function takeFrame(queue: u32): u32 {
  const ring = load<u32>(queue, VIFQ_RING);
  const half = load<u32>(queue, VIFQ_DATA);
  if (half !== 0 && !isBroken(ring)) {
    const size = load<u32>(queue, VIFQ_DATA_SIZE);
    const index = load<u32>(queue, VIFQ_DATA_INDEX);
    const there = load<u32>(half, DATAHALF_PROD) - index;
    if (there >= DATAFRAME_HEADER && there <= size) {
      const length = load<u32>(load<u32>(queue, VIFQ_DATA_BASE) + (index & (size - 1)), DATAFRAME_LENGTH);
      if (length >= PACKET_BYTES_MIN && length <= DATAFRAME_LENGTH_MAX && frameBytes(length) <= there) {
        store<u32>(queue, index + frameBytes(length), VIFQ_DATA_INDEX);
        return length;
      }
    }
  }
  latch(ring, NETRING_BROKEN_FRAME);
  return 0;
}

/** Copies `n` bytes from what the free-running `index` stands for, round the end if need be; or leaves that to others. */
function getBytes(queue: u32, target: u32, index: u32, n: u32): void {
  const base = load<u32>(queue, VIFQ_DATA_BASE);
  const size = load<u32>(queue, VIFQ_DATA_SIZE);
  const at = index & (size - 1);
  const first = min(n, size - at);
  moveBytes(queue, target, base + at, first);
  if (first < n) moveBytes(queue, target + first, base, n - first);
}

/**
 * Copies the frame of `length` bytes that was taken last into the empty packet at `slot`, or leaves that to others. Returns false when
 * buffers run out.
 */
export function readFrame(queue: u32, slot: u32, length: u32): bool {
  if (layOut(load<u32>(queue, VIFQ_CACHE), slot, length) === 0) return false;
  const end = load<u32>(queue, VIFQ_DATA_INDEX) - frameBytes(length) + DATAFRAME_HEADER + length;
  let buffer = load<u32>(slot, SLOT_BUFFER);
  let have: u32 = load<u16>(slot, SLOT_LENGTH);
  let left = length;
  while (true) {
    getBytes(queue, buffer + BUFFER_HEADROOM, end - left, have);
    left -= have;
    if (left === 0) return true;
    buffer = load<u32>(buffer, BUFFER_NEXT);
    have = load<u16>(buffer, BUFFER_LENGTH);
  }
}
