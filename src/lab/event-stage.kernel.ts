import { dequeue } from '../eventdev/dequeue.kernel.ts';
import { enqueue } from '../eventdev/enqueue.kernel.ts';
import { EVENT_OP_SHIFT, EVENT_QUEUE_MASK, NEEDS_TIME, OP_FORWARD } from '../eventdev/layout.ts';
import { dequeueOne, enqueueOne } from '../eventdev/single.kernel.ts';
import { SLOT_EVENT, SLOT_FLOW } from '../memory/layout.ts';

/** Makes `n` events at `slots` forwards to the next of `stages` queues; those of the last go to the first. */
function advance(slots: u32, n: u32, stages: u32): void {
  const end = slots + (n << 4);
  for (; slots < end; slots += 16) {
    const next = (load<u16>(slots, SLOT_EVENT) & EVENT_QUEUE_MASK) + 1;
    store<u16>(slots, (next === stages ? 0 : next) | (OP_FORWARD << EVENT_OP_SHIFT), SLOT_EVENT);
  }
}

/** Counts each event in the record, 64 bytes, of its stage and flow. */
function touch(slots: u32, n: u32, records: u32, flows: u32): void {
  const end = slots + (n << 4);
  for (; slots < end; slots += 16) {
    const stage: u32 = load<u16>(slots, SLOT_EVENT) & EVENT_QUEUE_MASK;
    const record = records + ((stage * flows + load<u32>(slots, SLOT_FLOW)) << 6);
    store<u64>(record, load<u64>(record) + 1);
  }
}

/** Works on each event: a chain of `length` multiplications, each of which needs the one before. */
export function work(slots: u32, n: u32, length: u32): void {
  const end = slots + (n << 4);
  for (; slots < end; slots += 16) {
    let value = load<u64>(slots);
    // As the peer's, with the constants of Knuth's MMIX.
    for (let i: u32 = 0; i < length; i++) value = value * 6364136223846793005 + 1442695040888963407;
    store<u64>(slots, value);
  }
}

/**
 * A turn of a worker that is a kernel: one dequeue, the stage, one enqueue. With `records`, each event's is touched; with
 * `length`, it is worked on. Returns how many events it moved; NEEDS_TIME when the dequeue does; and NEEDS_TIME plus the
 * number of the events at `slots` when the enqueue does.
 */
export function hop(port: u32, slots: u32, burst: u32, stages: u32, records: u32, flows: u32, length: u32): u32 {
  const n = burst === 1 ? dequeueOne(port, slots) : dequeue(port, slots, burst);
  if (n === 0 || n === NEEDS_TIME) return n;
  if (records !== 0) touch(slots, n, records, flows);
  if (length !== 0) work(slots, n, length);
  advance(slots, n, stages);
  const sent = n === 1 ? enqueueOne(port, slots) : enqueue(port, slots, n);
  return sent === NEEDS_TIME ? NEEDS_TIME + n : n;
}

/**
 * Two atomic stages that check what atomic means. Each event takes the lock of its stage and flow, where it may find this
 * worker, whose number is `self` (from 1), but no other; its number is the one that the stage waits for; and all locks are
 * free again behind the burst. From the second stage it goes back to the first, as the event `window` numbers on. `words`
 * has, for both stages, a lock for each flow, and then the next numbers. Returns how many events broke a rule.
 */
export function atomicStages(slots: u32, n: u32, words: u32, flows: u32, window: u32, self: u32): u32 {
  const numbers = words + (flows << 3);
  const end = slots + (n << 4);
  let broken: u32 = 0;
  for (let slot = slots; slot < end; slot += 16) {
    const stage: u32 = load<u16>(slot, SLOT_EVENT) & EVENT_QUEUE_MASK;
    const at = (stage * flows + load<u32>(slot, SLOT_FLOW)) << 2;
    const holder = atomic.cmpxchg<u32>(words + at, 0, self);
    const number = load<u32>(slot);
    if ((holder !== 0 && holder !== self) || load<u32>(numbers + at) !== number) broken++;
    store<u32>(numbers + at, number + 1);
  }
  for (let slot = slots; slot < end; slot += 16) {
    const stage: u32 = load<u16>(slot, SLOT_EVENT) & EVENT_QUEUE_MASK;
    atomic.store<u32>(words + ((stage * flows + load<u32>(slot, SLOT_FLOW)) << 2), 0);
    if (stage === 1) store<u32>(slot, load<u32>(slot) + window);
    store<u16>(slot, (1 - stage) | (OP_FORWARD << EVENT_OP_SHIFT), SLOT_EVENT);
  }
  return broken;
}
