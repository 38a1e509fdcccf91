// The channel's side: gives it copies, and says whose they were when they are done.

import { copy, rollback, submit } from '../dma/channel.kernel.ts';
import { completed, completedStatus } from '../dma/completed.kernel.ts';
import { descriptorAt } from '../dma/engine.kernel.ts';
import {
  DMA_DESC_LENGTH,
  DMA_DESC_SOURCE,
  DMA_DESC_TARGET,
  INDEX_MASK,
  VCHAN_CAPACITY,
  VCHAN_HAS_ERROR,
  VCHAN_LAST,
  VCHAN_RETURNED,
  VCHAN_SIZE,
} from '../dma/layout.ts';
import {
  FLAG_DONE,
  TRACK_CONTENDED,
  TRACK_FAILED,
  TRACK_FLAGS,
  TRACK_LOCK,
  TRACK_SHARED,
  TRACK_SPINS,
  TRACK_STATUS,
  TRACK_VCHAN,
} from './layout.ts';

/** Completions that are collected at a time. */
const COLLECT_BURST: u32 = 64;

/** Takes the channel, when it has other users. */
export function hold(track: u32): void {
  if (load<u32>(track, TRACK_SHARED) === 0) return;
  if (atomic.cmpxchg<u32>(track, 0, 1, TRACK_LOCK) === 0) return;
  let spins: u32 = 0;
  do {
    // Only looked at while it is taken: whoever has it keeps the line.
    while (atomic.load<u32>(track, TRACK_LOCK) !== 0) spins++;
  } while (atomic.cmpxchg<u32>(track, 0, 1, TRACK_LOCK) !== 0);
  store<u64>(track, load<u64>(track, TRACK_CONTENDED) + 1, TRACK_CONTENDED);
  store<u64>(track, load<u64>(track, TRACK_SPINS) + spins, TRACK_SPINS);
}

/** Gives the channel up. */
export function release(track: u32): void {
  if (load<u32>(track, TRACK_SHARED) !== 0) atomic.store<u32>(track, 0, TRACK_LOCK);
}

/** True when the channel takes copies: its engine works. */
export function isOpen(track: u32): bool {
  return load<u32>(load<u32>(track, TRACK_VCHAN), VCHAN_CAPACITY) !== 0;
}

/** Address of the word that says whose the descriptor with ring index `index` is. */
function flagAt(track: u32, index: u32): u32 {
  const size = load<u32>(load<u32>(track, TRACK_VCHAN), VCHAN_SIZE);
  return load<u32>(track, TRACK_FLAGS) + ((index & (size - 1)) << 2);
}

/** Has the channel copy. Returns the ring index, or below 0 when there is no room. The channel is held. */
export function offload(track: u32, target: u32, source: u32, length: u32): i32 {
  const index = copy(load<u32>(track, TRACK_VCHAN), target, source, length, 0);
  if (index >= 0) store<u32>(flagAt(track, <u32>index), 0);
  return index;
}

/** The copy with ring index `index` is the last of the packet whose byte is at `flag`. */
export function markLast(track: u32, index: u32, flag: u32): void {
  store<u32>(flagAt(track, index), flag);
}

/** True when nothing in the channel is older than the copy with ring index `index`: no room will come of waiting. */
export function isOldest(track: u32, index: u32): bool {
  return ((load<u32>(load<u32>(track, TRACK_VCHAN), VCHAN_RETURNED) ^ index) & INDEX_MASK) === 0;
}

/** Gives up the copies from `index` on, which were not submitted. */
export function giveUp(track: u32, index: u32): void {
  rollback(load<u32>(track, TRACK_VCHAN), index);
}

/** Hands what was enqueued to the engine. Returns how many copies. */
export function start(track: u32): u32 {
  return submit(load<u32>(track, TRACK_VCHAN));
}

/** The operation with ring index `index` is done: so is the packet whose last one it was. */
function settle(track: u32, index: u32): void {
  const flag = load<u32>(flagAt(track, index));
  if (flag === 0) return;
  // Of a queue of another thread, maybe: then what was copied is to be seen before it.
  if (load<u32>(track, TRACK_SHARED) !== 0) atomic.store<u8>(flag, <u8>FLAG_DONE);
  else store<u8>(flag, <u8>FLAG_DONE);
}

/** Does the copy that failed by the CPU. What the descriptor says is ours: the engine writes nothing of it. */
function redo(track: u32, vchan: u32, index: u32): void {
  const descriptor = descriptorAt(vchan, index);
  memory.copy(
    load<u32>(descriptor, DMA_DESC_TARGET),
    load<u32>(descriptor, DMA_DESC_SOURCE),
    load<u32>(descriptor, DMA_DESC_LENGTH),
  );
  store<u64>(track, load<u64>(track, TRACK_FAILED) + 1, TRACK_FAILED);
}

/** Collects what the engine has completed: sets the bytes of packets of whatever queues. The channel is held. */
function collect(track: u32): void {
  const vchan = load<u32>(track, TRACK_VCHAN);
  while (true) {
    const n = completed(vchan, COLLECT_BURST);
    const first = load<u32>(vchan, VCHAN_LAST) + 1 - n;
    for (let i: u32 = 0; i < n; i++) settle(track, first + i);
    if (load<u32>(vchan, VCHAN_HAS_ERROR) !== 0) {
      // One, which failed; then go on behind it.
      completedStatus(vchan, 1, track + TRACK_STATUS);
      const index = load<u32>(vchan, VCHAN_LAST);
      redo(track, vchan, index);
      settle(track, index);
    } else if (n < COLLECT_BURST) {
      return;
    }
  }
}

/** Takes the channel, collects, and gives it up. */
export function look(track: u32): void {
  hold(track);
  collect(track);
  release(track);
}
