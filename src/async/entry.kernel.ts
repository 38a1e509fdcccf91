// The queue's side: packets in the order in which their chains will be used, each with a byte that says that it is copied.

import { SLOT_BUFFER } from '../memory/layout.ts';
import { USED_SHIFT } from '../virtio/layout.ts';
import {
  ASYNC_ENTRIES,
  ASYNC_FLAGS,
  ASYNC_HEAD,
  ASYNC_MASK,
  ASYNC_MOVED,
  ASYNC_OLD_TRACK,
  ASYNC_RECORD_HEAD,
  ASYNC_RECORD_TAIL,
  ASYNC_RECORDS,
  ASYNC_TAIL,
  ASYNC_TRACK,
  ENTRY_DATA,
  ENTRY_RECORDS,
  ENTRY_SHIFT,
  FLAG_DONE,
} from './layout.ts';
import { look } from './track.kernel.ts';

/** Counts `n` more in the counter of the queue. */
export function count(queue: u32, n: u32, counter: u32): void {
  store<u64>(queue + counter, load<u64>(queue + counter) + n);
}

function entryAt(queue: u32, position: u32): u32 {
  return load<u32>(queue, ASYNC_ENTRIES) + ((position & load<u32>(queue, ASYNC_MASK)) << ENTRY_SHIFT);
}

/** Address of the byte of the packet at a position. */
export function flagOf(queue: u32, position: u32): u32 {
  return load<u32>(queue, ASYNC_FLAGS) + (position & load<u32>(queue, ASYNC_MASK));
}

function recordAt(queue: u32, position: u32): u32 {
  return load<u32>(queue, ASYNC_RECORDS) + ((position & load<u32>(queue, ASYNC_MASK)) << USED_SHIFT);
}

/** Collects what engines have completed of the queue's copies, and of whatever else is in their channels. */
export function collectAll(queue: u32): void {
  const track = load<u32>(queue, ASYNC_TRACK);
  if (track !== 0) look(track);
  const old = load<u32>(queue, ASYNC_OLD_TRACK);
  if (old === 0) return;
  look(old);
  // As differences, which positions that wrapped have, too.
  const left = load<u32>(queue, ASYNC_MOVED) - load<u32>(queue, ASYNC_TAIL);
  if (<i32>left <= 0) store<u32>(queue, 0, ASYNC_OLD_TRACK);
}

/** Keeps the packet at `slot`, whose `n` used records are at `records`, until its byte is set. Never fails: chains end first. */
export function enter(queue: u32, slot: u32, records: u32, n: u32): void {
  const head = load<u32>(queue, ASYNC_HEAD);
  const entry = entryAt(queue, head);
  v128.store(entry, v128.load(slot));
  store<u32>(entry, n, ENTRY_RECORDS);
  const at = load<u32>(queue, ASYNC_RECORD_HEAD);
  for (let i: u32 = 0; i < n; i++) {
    store<u64>(recordAt(queue, at + i), load<u64>(records + (i << USED_SHIFT)));
  }
  store<u32>(queue, at + n, ASYNC_RECORD_HEAD);
  store<u32>(queue, head + 1, ASYNC_HEAD);
}

/** True when no packet is under way. */
export function isIdle(queue: u32): bool {
  return load<u32>(queue, ASYNC_TAIL) === load<u32>(queue, ASYNC_HEAD);
}

/** True when the first packet under way is copied. */
export function isFirstDone(queue: u32): bool {
  const tail = load<u32>(queue, ASYNC_TAIL);
  return tail !== load<u32>(queue, ASYNC_HEAD) && <u32>atomic.load<u8>(flagOf(queue, tail)) === FLAG_DONE;
}

/** Records of the first packet under way. */
export function firstRecords(queue: u32): u32 {
  return load<u32>(entryAt(queue, load<u32>(queue, ASYNC_TAIL)), ENTRY_RECORDS);
}

/** Notes `index` beside the packet that was entered last. */
export function noteData(queue: u32, index: u32): void {
  store<u32>(entryAt(queue, load<u32>(queue, ASYNC_HEAD) - 1), index, ENTRY_DATA);
}

/** What was noted beside the first packet under way. */
export function firstData(queue: u32): u32 {
  return load<u32>(entryAt(queue, load<u32>(queue, ASYNC_TAIL)), ENTRY_DATA);
}

/** Takes the first packet out: its slot to `slot`, its records to `records`. Returns false when it has no buffer. */
export function leave(queue: u32, slot: u32, records: u32): bool {
  const tail = load<u32>(queue, ASYNC_TAIL);
  const entry = entryAt(queue, tail);
  v128.store(slot, v128.load(entry));
  const n = load<u32>(entry, ENTRY_RECORDS);
  const at = load<u32>(queue, ASYNC_RECORD_TAIL);
  for (let i: u32 = 0; i < n; i++) {
    store<u64>(records + (i << USED_SHIFT), load<u64>(recordAt(queue, at + i)));
  }
  store<u8>(flagOf(queue, tail), 0);
  store<u32>(queue, at + n, ASYNC_RECORD_TAIL);
  store<u32>(queue, tail + 1, ASYNC_TAIL);
  return load<u32>(slot, SLOT_BUFFER) !== 0;
}
