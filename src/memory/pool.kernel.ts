import {
  BUFFER_BYTES,
  BUFFER_HEADROOM,
  BUFFER_NEXT,
  BUFFER_REFERENCES,
  BUFFER_STATE,
  CACHE_ALLOC_EMPTY,
  CACHE_ALLOC_FAST,
  CACHE_ALLOC_REFILL,
  CACHE_ALLOC_SLOW,
  CACHE_ALLOC_WAIVE,
  CACHE_FILL,
  CACHE_POOL,
  CACHE_RECYCLE_CACHE_FULL,
  CACHE_RECYCLE_CACHED,
  CACHE_RECYCLE_RING,
  CACHE_RECYCLE_RING_FULL,
  CACHE_REFILL,
  CACHE_RELEASED_REFCNT,
  CACHE_SIZE,
  CACHE_STACK,
  POISON_BYTE,
  POOL_BASE,
  POOL_COUNT,
  POOL_FRESH,
  SEGMENTS_MAX,
  SLOT_BUFFER,
  SLOT_FLAG_CHAINED,
  SLOT_FLAG_SHARED,
  SLOT_FLAGS,
  SLOT_SHIFT,
  STATE_FREE,
  STATE_HELD,
} from './layout.ts';
import { recycleGive, recycleTake } from './recycle.kernel.ts';

/** Adds `n` to the u64 counter at `address` + `offset`. One writer, so a plain store will do. */
function count(address: u32, n: u32, offset: u32): void {
  store<u64>(address + offset, load<u64>(address + offset) + n);
}

/** True when `buffer` is the start of a buffer of `pool`. */
export function isBuffer(pool: u32, buffer: u32): bool {
  const distance = buffer - load<u32>(pool, POOL_BASE);
  return distance / BUFFER_BYTES < load<u32>(pool, POOL_COUNT) && distance % BUFFER_BYTES === 0;
}

/** Takes up to `CACHE_REFILL` buffers that were never used. Returns how many. */
function takeFresh(pool: u32, target: u32): u32 {
  const total = load<u32>(pool, POOL_COUNT);
  while (true) {
    const taken = atomic.load<u32>(pool, POOL_FRESH);
    const n = min(CACHE_REFILL, total - taken);
    if (n === 0) return 0;
    if (atomic.cmpxchg<u32>(pool, taken, taken + n, POOL_FRESH) !== taken) continue;
    for (let i: u32 = 0; i < n; i++) {
      const buffer = load<u32>(pool, POOL_BASE) + (taken + i) * BUFFER_BYTES;
      if (!ASC_NO_ASSERT) store<u32>(buffer, STATE_FREE, BUFFER_STATE);
      store<u32>(target + (i << 2), buffer);
    }
    return n;
  }
}

/** Fills an empty cache from the ring, or with fresh buffers. Returns its new fill; 0 when the pool is exhausted. */
function refill(cache: u32): u32 {
  const pool = load<u32>(cache, CACHE_POOL);
  const stack = cache + CACHE_STACK;
  let n = recycleTake(pool, stack);
  if (n === 0) {
    count(cache, 1, CACHE_ALLOC_EMPTY);
    n = takeFresh(pool, stack);
    count(cache, n, CACHE_ALLOC_SLOW);
  } else {
    count(cache, n, CACHE_ALLOC_REFILL);
    // The ring lies in memory that every slice writes to: an address that is no buffer is waived, not handed out.
    let kept: u32 = 0;
    for (let i: u32 = 0; i < n; i++) {
      const buffer = load<u32>(stack + (i << 2));
      if (isBuffer(pool, buffer)) store<u32>(stack + (kept++ << 2), buffer);
    }
    count(cache, n - kept, CACHE_ALLOC_WAIVE);
    n = kept;
  }
  store<u32>(cache, n, CACHE_FILL);
  return n;
}

/** Takes one buffer. Returns its address, or 0 when the pool is exhausted. */
export function allocBuffer(cache: u32): u32 {
  let fill = load<u32>(cache, CACHE_FILL);
  if (fill === 0) {
    fill = refill(cache);
    if (fill === 0) return 0;
  }
  fill--;
  store<u32>(cache, fill, CACHE_FILL);
  count(cache, 1, CACHE_ALLOC_FAST);
  const buffer = load<u32>(cache + CACHE_STACK + (fill << 2));
  if (!ASC_NO_ASSERT) hold(cache, buffer);
  return buffer;
}

/**
 * Fills `max` slots at `slots` with empty packets: a buffer, the frame's start at the headroom, everything else 0.
 * Returns how many there were buffers for (0 to `max`).
 */
export function alloc(cache: u32, slots: u32, max: u32): u32 {
  let done: u32 = 0;
  while (done < max) {
    let fill = load<u32>(cache, CACHE_FILL);
    if (fill === 0) {
      fill = refill(cache);
      if (fill === 0) break;
    }
    const n = min(fill, max - done);
    const top = cache + CACHE_STACK + (fill << 2) - 4;
    for (let i: u32 = 0; i < n; i++) {
      const slot = slots + ((done + i) << SLOT_SHIFT);
      const buffer = load<u32>(top - (i << 2));
      if (!ASC_NO_ASSERT) hold(cache, buffer);
      store<u64>(slot, ((<u64>BUFFER_HEADROOM) << 32) | buffer, SLOT_BUFFER);
      store<u64>(slot, 0, 8);
    }
    store<u32>(cache, fill - n, CACHE_FILL);
    done += n;
  }
  count(cache, done, CACHE_ALLOC_FAST);
  return done;
}

/** Debug kernels: a buffer leaves the pool. Traps when it is not a free buffer of the pool. */
function hold(cache: u32, buffer: u32): void {
  assert(isBuffer(load<u32>(cache, CACHE_POOL), buffer));
  assert(load<u32>(buffer, BUFFER_STATE) === STATE_FREE);
  store<u32>(buffer, STATE_HELD, BUFFER_STATE);
}

/** Debug kernels: a buffer comes back. Traps on a double free, and poisons it so that a late reader shows. */
function unhold(cache: u32, buffer: u32): void {
  assert(isBuffer(load<u32>(cache, CACHE_POOL), buffer));
  assert(load<u32>(buffer, BUFFER_STATE) === STATE_HELD);
  memory.fill(buffer, <u8>POISON_BYTE, BUFFER_BYTES);
  store<u32>(buffer, STATE_FREE, BUFFER_STATE);
}

/** Puts one unshared buffer back. */
export function freeBuffer(cache: u32, buffer: u32): void {
  if (!ASC_NO_ASSERT) unhold(cache, buffer);
  let fill = load<u32>(cache, CACHE_FILL);
  if (fill === CACHE_SIZE) fill = spill(cache);
  store<u32>(cache + CACHE_STACK + (fill << 2), buffer);
  store<u32>(cache, fill + 1, CACHE_FILL);
}

/** Moves the `CACHE_REFILL` coldest buffers of a full cache to the ring. Returns the cache's new fill. */
function spill(cache: u32): u32 {
  const stack = cache + CACHE_STACK;
  const given = recycleGive(load<u32>(cache, CACHE_POOL), stack, CACHE_REFILL);
  count(cache, 1, CACHE_RECYCLE_CACHE_FULL);
  count(cache, given, CACHE_RECYCLE_RING);
  count(cache, CACHE_REFILL - given, CACHE_RECYCLE_RING_FULL);
  memory.copy(stack, stack + (CACHE_REFILL << 2), (CACHE_SIZE - CACHE_REFILL) << 2);
  store<u32>(cache, CACHE_SIZE - CACHE_REFILL, CACHE_FILL);
  return CACHE_SIZE - CACHE_REFILL;
}

/** Gives up a reference to the buffer. Returns true when it was the last. */
function dropReference(buffer: u32): bool {
  // Of the only one nobody can make more, and a subtraction would wait for all stores before it.
  return atomic.load<u32>(buffer, BUFFER_REFERENCES) === 1 || atomic.sub<u32>(buffer, 1, BUFFER_REFERENCES) === 1;
}

/** Gives up a packet whose first buffer is shared, or that has several. Returns how many buffers came back. */
function freeChain(cache: u32, first: u32, flags: u32): u32 {
  let buffer = first;
  let shared = (flags & SLOT_FLAG_SHARED) !== 0;
  let chained = (flags & SLOT_FLAG_CHAINED) !== 0;
  let freed: u32 = 0;
  for (let i: u32 = 0; i < SEGMENTS_MAX; i++) {
    // Each buffer of a chain owns one reference to the next, so whoever drops the last one goes on to it.
    if (shared && !dropReference(buffer)) {
      count(cache, 1, CACHE_RELEASED_REFCNT);
      break;
    }
    const next = chained ? load<u32>(buffer, BUFFER_NEXT) : 0;
    freeBuffer(cache, buffer);
    freed++;
    if (next === 0) break;
    buffer = next;
    shared = true;
    chained = true;
  }
  return freed;
}

/** Gives up `n` packets at `slots`: their buffers, unless shared with others, are back in the pool. */
export function free(cache: u32, slots: u32, n: u32): void {
  const stack = cache + CACHE_STACK;
  // In a register: through memory each buffer would wait for the one before.
  let fill = load<u32>(cache, CACHE_FILL);
  let freed = n;
  for (let i: u32 = 0; i < n; i++) {
    const slot = slots + (i << SLOT_SHIFT);
    const flags: u32 = load<u8>(slot, SLOT_FLAGS);
    const buffer = load<u32>(slot, SLOT_BUFFER);
    if (flags & (SLOT_FLAG_SHARED | SLOT_FLAG_CHAINED)) {
      store<u32>(cache, fill, CACHE_FILL);
      freed += freeChain(cache, buffer, flags) - 1;
      fill = load<u32>(cache, CACHE_FILL);
      continue;
    }
    if (!ASC_NO_ASSERT) unhold(cache, buffer);
    if (fill === CACHE_SIZE) fill = spill(cache);
    store<u32>(stack + (fill << 2), buffer);
    fill++;
  }
  store<u32>(cache, fill, CACHE_FILL);
  count(cache, freed, CACHE_RECYCLE_CACHED);
}

/** Moves everything in the cache to the ring, for an lcore that stops. */
export function flush(cache: u32): void {
  const fill = load<u32>(cache, CACHE_FILL);
  const stack = cache + CACHE_STACK;
  let done: u32 = 0;
  while (done < fill) {
    const given = recycleGive(load<u32>(cache, CACHE_POOL), stack + (done << 2), min(CACHE_REFILL, fill - done));
    if (given === 0) break;
    done += given;
  }
  count(cache, done, CACHE_RECYCLE_RING);
  count(cache, fill - done, CACHE_RECYCLE_RING_FULL);
  store<u32>(cache, 0, CACHE_FILL);
}

/** Makes the packet at `slot` held by `extra` more owners. The caller copies the slot afterwards. */
export function share(slot: u32, extra: u32): void {
  const flags: u32 = load<u8>(slot, SLOT_FLAGS);
  const buffer = load<u32>(slot, SLOT_BUFFER);
  if (flags & SLOT_FLAG_SHARED) {
    atomic.add<u32>(buffer, extra, BUFFER_REFERENCES);
  } else {
    // Nobody else knows the buffer yet; the ring that carries the copies publishes this store with them.
    store<u32>(buffer, extra + 1, BUFFER_REFERENCES);
    store<u8>(slot, <u8>(flags | SLOT_FLAG_SHARED), SLOT_FLAGS);
  }
}
