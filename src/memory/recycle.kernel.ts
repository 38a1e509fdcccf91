import {
  CACHE_REFILL,
  POOL_ENTRIES,
  POOL_HEAD,
  POOL_RING_SIZE,
  POOL_RUNS,
  POOL_TAIL,
  RUN_LENGTH_BITS,
  RUN_LENGTH_MASK,
} from './layout.ts';

/**
 * The ring through which lcores hand used buffers to each other: any lcore gives, any lcore takes, in runs of up to
 * CACHE_REFILL. A giver claims places with one atomic addition, writes, and publishes the run by storing its index and
 * length at its first place. A taker copies the oldest run and then takes it with one compare-and-swap. Nobody ever
 * waits for anybody, however long a thread is away between two of these steps:
 *
 * - The ring has a place for every buffer, and each place from tail to head stands for a buffer of its own, so no
 *   place of a run is written again before the tail has passed it. A taker whose compare-and-swap succeeds therefore
 *   copied what was given; one that fails drops its copy.
 * - The index in a run word tells a run of this lap from what an earlier lap left there. So nobody clears run words: a
 *   slow taker would clear the next lap's.
 * - Indexes have 64 bits, so neither ever comes round to an old value.
 */

function runAddress(pool: u32, index: u64): u32 {
  const place = <u32>index & (load<u32>(pool, POOL_RING_SIZE) - 1);
  return load<u32>(pool, POOL_RUNS) + (place << 3);
}

/** Claims `n` places. Returns the index of the first. */
export function recycleClaim(pool: u32, n: u32): u64 {
  return atomic.add<u64>(pool, n, POOL_HEAD);
}

export function recycleWrite(pool: u32, index: u64, source: u32, n: u32): void {
  const mask = load<u32>(pool, POOL_RING_SIZE) - 1;
  const entries = load<u32>(pool, POOL_ENTRIES);
  for (let i: u32 = 0; i < n; i++) {
    store<u32>(entries + (((<u32>index + i) & mask) << 2), load<u32>(source + (i << 2)));
  }
}

export function recyclePublish(pool: u32, index: u64, n: u32): void {
  atomic.store<u64>(runAddress(pool, index), (index << RUN_LENGTH_BITS) | n);
}

/**
 * Puts `n` (1 to CACHE_REFILL) buffer addresses at `source` into the ring. Returns `n`; or 0 when they do not fit,
 * which only a buffer freed twice can bring about.
 */
export function recycleGive(pool: u32, source: u32, n: u32): u32 {
  const fill = atomic.load<u64>(pool, POOL_HEAD) - atomic.load<u64>(pool, POOL_TAIL);
  if (fill + n > load<u32>(pool, POOL_RING_SIZE)) return 0;
  const index = recycleClaim(pool, n);
  recycleWrite(pool, index, source, n);
  recyclePublish(pool, index, n);
  return n;
}

/** Index of the oldest place that nobody took. */
export function recycleTail(pool: u32): u64 {
  return atomic.load<u64>(pool, POOL_TAIL);
}

/** Length of the run published at `index`; 0 when there is none yet. */
export function recycleRun(pool: u32, index: u64): u32 {
  const run = atomic.load<u64>(runAddress(pool, index));
  const n = <u32>run & RUN_LENGTH_MASK;
  // The ring lies in memory that every slice writes to: no length may lead past the taker's buffer.
  return run >> RUN_LENGTH_BITS === index && n <= CACHE_REFILL ? n : 0;
}

export function recycleRead(pool: u32, index: u64, target: u32, n: u32): void {
  const mask = load<u32>(pool, POOL_RING_SIZE) - 1;
  const entries = load<u32>(pool, POOL_ENTRIES);
  for (let i: u32 = 0; i < n; i++) {
    store<u32>(target + (i << 2), load<u32>(entries + (((<u32>index + i) & mask) << 2)));
  }
}

/** Takes the `n` places at `index` for the caller. Returns false when another lcore was faster. */
export function recycleAdvance(pool: u32, index: u64, n: u32): bool {
  return atomic.cmpxchg<u64>(pool, index, index + n, POOL_TAIL) === index;
}

/** Takes the oldest published run to `target` (room for CACHE_REFILL addresses). Returns its length, 0 when none. */
export function recycleTake(pool: u32, target: u32): u32 {
  while (true) {
    const tail = recycleTail(pool);
    const n = recycleRun(pool, tail);
    if (n === 0) {
      // Not published yet, unless another lcore took the run between the two loads.
      if (recycleTail(pool) === tail) return 0;
      continue;
    }
    recycleRead(pool, tail, target, n);
    if (recycleAdvance(pool, tail, n)) return n;
  }
}
