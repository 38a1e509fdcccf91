import { createArena } from '../memory/arena.ts';
import { createPool, type PoolKernels } from '../memory/pool.ts';
import { measure } from './measure.ts';
import { type Row, rowOf } from './row.ts';

const BURST = 32;
const BUFFERS = 4096;
const UNIT = 'ns/buffer';

/**
 * The pool: a buffer allocated and freed, in bursts of 32, on one core; through the lcore's own cache, and with one
 * cache allocating and another freeing, so that every buffer passes the recycle ring. Samples are a burst of both.
 */
export async function benchPool(): Promise<Row[]> {
  const arena = createArena({ bytes: 16 << 20 });
  const { caches } = createPool(arena, { buffers: BUFFERS, caches: 2 });
  const [one, two] = caches as [number, number];
  const burst = arena.allocate('burst', BURST * 16);
  const { poolAlloc, poolFree } = arena.kernels<PoolKernels>();
  const through = (from: number, to: number): (() => void) => {
    return () => {
      poolFree(to, burst, poolAlloc(from, burst, BURST));
    };
  };
  const row = (name: string, turn: () => void): Row =>
    rowOf({ name, unit: UNIT, ...measure(BURST, turn), state: 'one core' }, null);
  return [row('pool, through the cache', through(one, one)), row('pool, through the ring', through(one, two))];
}
