import { alignUp, nextPowerOfTwo } from '../util/bits.ts';
import { RingwayError } from '../util/errors.ts';
import type { Arena } from './arena.ts';
import {
  BUFFER_BYTES,
  CACHE_ALLOC_EMPTY,
  CACHE_ALLOC_FAST,
  CACHE_ALLOC_REFILL,
  CACHE_ALLOC_SLOW,
  CACHE_ALLOC_SLOW_HIGH_ORDER,
  CACHE_ALLOC_WAIVE,
  CACHE_BYTES,
  CACHE_FILL,
  CACHE_POOL,
  CACHE_RECYCLE_CACHE_FULL,
  CACHE_RECYCLE_CACHED,
  CACHE_RECYCLE_RING,
  CACHE_RECYCLE_RING_FULL,
  CACHE_RELEASED_REFCNT,
  POOL_BASE,
  POOL_BYTES,
  POOL_COUNT,
  POOL_ENTRIES,
  POOL_FRESH,
  POOL_HEAD,
  POOL_RING_SIZE,
  POOL_RUNS,
  POOL_TAIL,
} from './layout.ts';

/** The pool's kernels. `cache` is the address of the calling lcore's own cache. */
export interface PoolKernels {
  poolAlloc(cache: number, slots: number, max: number): number;
  poolFree(cache: number, slots: number, count: number): void;
  poolFlush(cache: number): void;
  poolShare(slot: number, extra: number): void;
  memoryFill(cache: number, slot: number, source: number, length: number): number;
  memoryGather(slot: number, target: number, max: number): number;
  memoryFrameLength(slot: number): number;
}

/** Counters with the names and meaning of Linux's page_pool statistics (`Documentation/networking/page_pool.rst`). */
export interface PoolStats {
  /** Buffers taken from a cache: all of them, in the end. */
  readonly allocFast: number;
  /** Buffers taken that were never used before. */
  readonly allocSlow: number;
  /** Frames that took more than one buffer. */
  readonly allocSlowHighOrder: number;
  /** Times the recycle ring was found empty. */
  readonly allocEmpty: number;
  /** Buffers that a cache took from the recycle ring. */
  readonly allocRefill: number;
  /** Addresses in the recycle ring that were refused: not the start of a buffer of this pool. */
  readonly allocWaive: number;
  /** Buffers given back to a cache: all of them, at first. */
  readonly recycleCached: number;
  /** Times a cache was full. */
  readonly recycleCacheFull: number;
  /** Buffers moved from a cache to the recycle ring. */
  readonly recycleRing: number;
  /** Buffers that found the recycle ring full, and are lost: one was freed twice. */
  readonly recycleRingFull: number;
  /** Times somebody gave up a shared buffer that others still held. */
  readonly releasedRefcnt: number;
}

/** Where every buffer of the pool is. `free + inFlight` is `buffers`. */
export interface PoolAudit {
  readonly buffers: number;
  /** In caches, in the recycle ring, or never used. */
  readonly free: number;
  /** Taken and not given back: hold − release, by the counters. */
  readonly inFlight: number;
}

/** A pool of packet buffers in the arena, with a cache for each lcore. */
export interface Pool {
  /** Address of the pool. */
  readonly address: number;
  readonly buffers: number;
  /** Address of each lcore's cache: pass an lcore its own, since a cache has no lock. */
  readonly caches: readonly number[];
  stats(): PoolStats;
  /** Counts the buffers; exact only while no lcore runs. */
  audit(): PoolAudit;
}

/** Buffers of a pool at most. */
export const POOL_BUFFERS_MAX = 1 << 20;
/** Sockets of network interfaces share the buffers with the kernel, page by page. */
const PAGE_BYTES = 4096;

function poolTerms(buffers: number, caches: number): { ring: number; bytes: number } {
  const ring = nextPowerOfTwo(buffers);
  // The pool's own words, a run word (u64) and an entry (u32) per place of the recycle ring, the lcores' caches.
  return { ring, bytes: alignUp(POOL_BYTES + ring * 12, 128) + caches * CACHE_BYTES };
}

/** Bytes that a pool takes: the buffers themselves, the recycle ring, the caches. */
export function poolBytes(buffers: number, caches: number): number {
  return buffers * BUFFER_BYTES + PAGE_BYTES + poolTerms(buffers, caches).bytes;
}

/**
 * Makes a pool of `buffers` 2 KiB buffers with a cache for each of `caches` lcores.
 * Regions: `NAME.buffers` (aligned to 4 KiB) and `NAME`.
 * @throws RingwayError `BAD_ARGUMENT` when `buffers` is not from 64 to 1,048,576, `ARENA_FULL` when they do not fit.
 */
export function createPool(arena: Arena, options: { buffers: number; caches: number; name?: string }): Pool {
  const { buffers, caches, name = 'pool' } = options;
  if (!Number.isInteger(buffers) || buffers < 64 || buffers > POOL_BUFFERS_MAX) {
    throw new RingwayError('BAD_ARGUMENT', `${name}: buffers=${buffers}, must be from 64 to ${POOL_BUFFERS_MAX}`);
  }
  if (!Number.isInteger(caches) || caches < 1 || caches > 256) {
    throw new RingwayError('BAD_ARGUMENT', `${name}: caches=${caches}, must be from 1 to 256, one an lcore`);
  }
  const { ring, bytes } = poolTerms(buffers, caches);
  const address = arena.allocate(name, bytes);
  let base: number;
  try {
    base = arena.allocate(`${name}.buffers`, buffers * BUFFER_BYTES, PAGE_BYTES);
  } catch (error) {
    arena.release(name);
    throw error;
  }
  const { u32 } = arena;
  const runs = address + POOL_BYTES;
  u32[(address + POOL_BASE) >>> 2] = base;
  u32[(address + POOL_COUNT) >>> 2] = buffers;
  u32[(address + POOL_RING_SIZE) >>> 2] = ring;
  u32[(address + POOL_RUNS) >>> 2] = runs;
  u32[(address + POOL_ENTRIES) >>> 2] = runs + ring * 8;
  const firstCache = alignUp(runs + ring * 12, 128);
  const cacheAddresses = Array.from({ length: caches }, (_, lcore) => firstCache + lcore * CACHE_BYTES);
  for (const cache of cacheAddresses) u32[(cache + CACHE_POOL) >>> 2] = address;
  return {
    address,
    buffers,
    caches: cacheAddresses,
    stats: () => readStats(arena, cacheAddresses),
    audit: () => auditPool(arena, address, cacheAddresses),
  };
}

/** The u64 counter at `address`, summed over `caches`. Exact up to 2^53. */
function sum(arena: Arena, caches: readonly number[], offset: number): number {
  return caches.reduce((total, cache) => {
    const at = (cache + offset) >>> 2;
    return total + (arena.u32[at] ?? 0) + (arena.u32[at + 1] ?? 0) * 2 ** 32;
  }, 0);
}

function readStats(arena: Arena, caches: readonly number[]): PoolStats {
  return {
    allocFast: sum(arena, caches, CACHE_ALLOC_FAST),
    allocSlow: sum(arena, caches, CACHE_ALLOC_SLOW),
    allocSlowHighOrder: sum(arena, caches, CACHE_ALLOC_SLOW_HIGH_ORDER),
    allocEmpty: sum(arena, caches, CACHE_ALLOC_EMPTY),
    allocRefill: sum(arena, caches, CACHE_ALLOC_REFILL),
    allocWaive: sum(arena, caches, CACHE_ALLOC_WAIVE),
    recycleCached: sum(arena, caches, CACHE_RECYCLE_CACHED),
    recycleCacheFull: sum(arena, caches, CACHE_RECYCLE_CACHE_FULL),
    recycleRing: sum(arena, caches, CACHE_RECYCLE_RING),
    recycleRingFull: sum(arena, caches, CACHE_RECYCLE_RING_FULL),
    releasedRefcnt: sum(arena, caches, CACHE_RELEASED_REFCNT),
  };
}

function auditPool(arena: Arena, pool: number, caches: readonly number[]): PoolAudit {
  const word = (offset: number): number => arena.u32[(pool + offset) >>> 2] ?? 0;
  const buffers = word(POOL_COUNT);
  const cached = caches.reduce((total, cache) => total + (arena.u32[(cache + CACHE_FILL) >>> 2] ?? 0), 0);
  const { allocFast, recycleCached } = readStats(arena, caches);
  return {
    buffers,
    free: cached + ((word(POOL_HEAD) - word(POOL_TAIL)) >>> 0) + (buffers - word(POOL_FRESH)),
    inFlight: allocFast - recycleCached,
  };
}
