import { copySlotsIn, copySlotsOut } from './copy.kernel.ts';
import { SPSC_CACHED_HEAD, SPSC_CACHED_TAIL, SPSC_HEAD, SPSC_SIZE, SPSC_SLOTS, SPSC_TAIL } from './layout.ts';

/** Returns how many of `count` slots the producer may fill. */
export function pushClaim(ring: u32, count: u32): u32 {
  const size = load<u32>(ring, SPSC_SIZE);
  const head = load<u32>(ring, SPSC_HEAD);
  let free = size - (head - load<u32>(ring, SPSC_CACHED_TAIL));
  if (free < count) {
    const tail = atomic.load<u32>(ring, SPSC_TAIL);
    store<u32>(ring, tail, SPSC_CACHED_TAIL);
    free = size - (head - tail);
  }
  return min(count, free);
}

export function pushWrite(ring: u32, source: u32, n: u32): void {
  copySlotsIn(ring + SPSC_SLOTS, load<u32>(ring, SPSC_SIZE), load<u32>(ring, SPSC_HEAD), source, n);
}

export function pushPublish(ring: u32, n: u32): void {
  // The one publication of the burst. It orders the slot writes before it; a plain store would not, off x86.
  atomic.store<u32>(ring, load<u32>(ring, SPSC_HEAD) + n, SPSC_HEAD);
}

/** Copies up to `count` slots at `source` into the ring. Returns how many fitted. Producer only. */
export function push(ring: u32, source: u32, count: u32): u32 {
  const n = pushClaim(ring, count);
  if (n === 0) return 0;
  pushWrite(ring, source, n);
  pushPublish(ring, n);
  return n;
}

/** Returns how many of `max` slots the consumer may read. */
export function popClaim(ring: u32, max: u32): u32 {
  const tail = load<u32>(ring, SPSC_TAIL);
  let fill = load<u32>(ring, SPSC_CACHED_HEAD) - tail;
  if (fill < max) {
    const head = atomic.load<u32>(ring, SPSC_HEAD);
    store<u32>(ring, head, SPSC_CACHED_HEAD);
    fill = head - tail;
  }
  return min(max, fill);
}

export function popRead(ring: u32, target: u32, n: u32): void {
  copySlotsOut(ring + SPSC_SLOTS, load<u32>(ring, SPSC_SIZE), load<u32>(ring, SPSC_TAIL), target, n);
}

export function popPublish(ring: u32, n: u32): void {
  atomic.store<u32>(ring, load<u32>(ring, SPSC_TAIL) + n, SPSC_TAIL);
}

/** Copies up to `max` slots out of the ring to `target`. Returns how many there were. Consumer only. */
export function pop(ring: u32, target: u32, max: u32): u32 {
  const n = popClaim(ring, max);
  if (n === 0) return 0;
  popRead(ring, target, n);
  popPublish(ring, n);
  return n;
}
