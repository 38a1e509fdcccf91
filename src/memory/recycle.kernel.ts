import { CACHE_REFILL, POOL_ENTRIES, POOL_HEAD, POOL_RING_SIZE, POOL_RUNS, POOL_TAIL } from './layout.ts';

/**
 * The ring through which lcores hand used buffers to each other: any lcore gives, any lcore takes, in runs of up to
 * CACHE_REFILL. A giver claims places with one compare-and-swap, writes, and publishes the run by storing its length
 * at its first place; nobody ever waits for anybody. A taker takes a whole run with one compare-and-swap.
 *
 * No place is overwritten while a slow taker still reads it: whoever holds n buffers keeps n of the pool's buffers
 * out of the ring, and the ring has a place for every buffer there is.
 */

/** Claims `n` places. Returns the index of the first. */
export function recycleClaim(pool: u32, n: u32): u32 {
  return atomic.add<u32>(pool, n, POOL_HEAD);
}

export function recycleWrite(pool: u32, index: u32, source: u32, n: u32): void {
  const mask = load<u32>(pool, POOL_RING_SIZE) - 1;
  const entries = load<u32>(pool, POOL_ENTRIES);
  for (let i: u32 = 0; i < n; i++) {
    store<u32>(entries + (((index + i) & mask) << 2), load<u32>(source + (i << 2)));
  }
}

export function recyclePublish(pool: u32, index: u32, n: u32): void {
  const mask = load<u32>(pool, POOL_RING_SIZE) - 1;
  atomic.store<u32>(load<u32>(pool, POOL_RUNS) + ((index & mask) << 2), n);
}

/**
 * Puts `n` (1 to CACHE_REFILL) buffer addresses at `source` into the ring. Returns `n`; or 0 when they do not fit,
 * which only a buffer freed twice can bring about.
 */
export function recycleGive(pool: u32, source: u32, n: u32): u32 {
  const fill = atomic.load<u32>(pool, POOL_HEAD) - atomic.load<u32>(pool, POOL_TAIL);
  if (fill + n > load<u32>(pool, POOL_RING_SIZE)) return 0;
  const index = recycleClaim(pool, n);
  recycleWrite(pool, index, source, n);
  recyclePublish(pool, index, n);
  return n;
}

/** Takes the oldest published run to `target` (room for CACHE_REFILL addresses). Returns its length, 0 when none. */
export function recycleTake(pool: u32, target: u32): u32 {
  const mask = load<u32>(pool, POOL_RING_SIZE) - 1;
  const runs = load<u32>(pool, POOL_RUNS);
  const entries = load<u32>(pool, POOL_ENTRIES);
  while (true) {
    const tail = atomic.load<u32>(pool, POOL_TAIL);
    const run = runs + ((tail & mask) << 2);
    const n = atomic.load<u32>(run);
    if (n === 0 || n > CACHE_REFILL) {
      // Not published yet, unless another lcore took the run between the two loads.
      if (atomic.load<u32>(pool, POOL_TAIL) === tail) return 0;
      continue;
    }
    if (atomic.cmpxchg<u32>(pool, tail, tail + n, POOL_TAIL) !== tail) continue;
    atomic.store<u32>(run, 0);
    for (let i: u32 = 0; i < n; i++) {
      store<u32>(target + (i << 2), load<u32>(entries + (((tail + i) & mask) << 2)));
    }
    return n;
  }
}
