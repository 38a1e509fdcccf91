/**
 * One shared linear memory, the arena, with named regions in it, and a pool of packet buffers.
 *
 * @example
 * import { createArena, createPool } from 'ringway/memory';
 *
 * const arena = createArena({ bytes: 64 << 20 });
 * const pool = createPool(arena, { buffers: 4096, caches: 1 });
 * const burst = arena.allocate('burst', 32 * 16);
 * const { poolAlloc, poolFree } = arena.kernels<PoolKernels>();
 * const n = poolAlloc(pool.caches[0], burst, 32);
 * poolFree(pool.caches[0], burst, n);
 * console.log(pool.stats().allocFast, pool.audit());
 *
 * @module
 */
export { type ErrorCode, RingwayError } from '../util/errors.ts';
export {
  type Arena,
  type ArenaHandle,
  type ArenaOptions,
  attachArena,
  createArena,
  openArena,
  type Region,
} from './arena.ts';
export { Budget } from './budget.ts';
export { createPool, type Pool, type PoolAudit, type PoolKernels, type PoolStats, poolBytes } from './pool.ts';
