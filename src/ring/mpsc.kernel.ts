import { copySlotsIn, copySlotsOut } from './copy.kernel.ts';
import { MPSC_CACHED_TAIL, MPSC_HEAD, MPSC_READABLE, MPSC_RUNS, MPSC_SIZE, MPSC_TAIL } from './layout.ts';

function runAddress(ring: u32, size: u32, index: u32): u32 {
  return ring + MPSC_RUNS + ((index & (size - 1)) << 2);
}

function slotsAddress(ring: u32, size: u32): u32 {
  return ring + MPSC_RUNS + (size << 2);
}

/** Where the next run may start. */
export function pushHead(ring: u32): u32 {
  return atomic.load<u32>(ring, MPSC_HEAD);
}

/** Free places behind `head`, when `count` are wanted; more than the ring has when `head` is out of date. */
export function pushRoom(ring: u32, size: u32, head: u32, count: u32): u32 {
  const fill = head - load<u32>(ring, MPSC_CACHED_TAIL);
  if (fill + count <= size) return size - fill;
  // A cached tail may be so old that the fill looks larger than the ring: refreshed like one that looks full.
  const tail = atomic.load<u32>(ring, MPSC_TAIL);
  store<u32>(ring, tail, MPSC_CACHED_TAIL);
  return size - (head - tail);
}

/** Takes `n` places at `head` for the caller. Returns false when another producer was faster. */
export function pushTake(ring: u32, head: u32, n: u32): bool {
  return atomic.cmpxchg<u32>(ring, head, head + n, MPSC_HEAD) === head;
}

export function pushWrite(ring: u32, size: u32, index: u32, source: u32, n: u32): void {
  copySlotsIn(slotsAddress(ring, size), size, index, source, n);
}

export function pushPublish(ring: u32, size: u32, index: u32, n: u32): void {
  // The length of the run at its first place tells the consumer that the whole run is written. Producers publish
  // in any order and never wait for each other.
  atomic.store<u32>(runAddress(ring, size, index), n);
}

/** Copies up to `count` slots at `source` into the ring. Returns how many fitted. Any lcore. */
export function push(ring: u32, source: u32, count: u32): u32 {
  // Loaded once, before the first atomic: loads behind one wait for it, and the places' addresses for them.
  const size = load<u32>(ring, MPSC_SIZE);
  while (true) {
    const head = pushHead(ring);
    const room = pushRoom(ring, size, head, count);
    // Others moved both indexes past the head read above.
    if (room > size) continue;
    const n = min(count, room);
    if (n === 0) return 0;
    if (!pushTake(ring, head, n)) continue;
    pushWrite(ring, size, head, source, n);
    pushPublish(ring, size, head, n);
    return n;
  }
}

/** Returns how many of `max` slots from `tail` on the consumer, who has read all before, may read. */
export function claimFrom(ring: u32, size: u32, tail: u32, max: u32): u32 {
  let readable = load<u32>(ring, MPSC_READABLE);
  while (readable - tail < max) {
    const run = runAddress(ring, size, readable);
    const n = atomic.load<u32>(run);
    if (n === 0) break;
    // Cleared before the tail frees the place, so that the next lap starts from 0.
    store<u32>(run, 0);
    readable += n;
  }
  store<u32>(ring, readable, MPSC_READABLE);
  return min(max, readable - tail);
}

/** Returns how many of `max` slots the consumer may read. */
export function popClaim(ring: u32, size: u32, max: u32): u32 {
  return claimFrom(ring, size, load<u32>(ring, MPSC_TAIL), max);
}

export function popRead(ring: u32, size: u32, target: u32, n: u32): void {
  copySlotsOut(slotsAddress(ring, size), size, load<u32>(ring, MPSC_TAIL), target, n);
}

export function popPublish(ring: u32, n: u32): void {
  atomic.store<u32>(ring, load<u32>(ring, MPSC_TAIL) + n, MPSC_TAIL);
}

/** Copies up to `max` slots out of the ring to `target`. Returns how many there were. Consumer only. */
export function pop(ring: u32, target: u32, max: u32): u32 {
  const size = load<u32>(ring, MPSC_SIZE);
  const n = popClaim(ring, size, max);
  if (n === 0) return 0;
  popRead(ring, size, target, n);
  popPublish(ring, n);
  return n;
}
