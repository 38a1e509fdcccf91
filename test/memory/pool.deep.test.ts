import { createArena, createPool } from 'ringway/memory';
import { createSpscRing } from 'ringway/ring';
import { expect, test } from 'vitest';
import { recycleSimulation } from '../support/pool-scenario.ts';
import { runWorkers } from '../support/workers.ts';

test('recycle ring: 1,000,000 schedules', () => {
  recycleSimulation().explore(1_000_000);
});

test.each([
  ['test', true],
  ['release', false],
])('two lcores pass on and free from one pool, %s kernels: no buffer is held twice, none is lost', async (_, debug) => {
  const arena = createArena({ bytes: 4 << 20, debug });
  const pool = createPool(arena, { buffers: 512, caches: 2 });
  const rings = ['there', 'back'].map((name) => createSpscRing(arena, { slots: 64, name }).address);
  const data = pool.caches.map((cache, lcore) => ({
    handle: arena.handle,
    cache,
    out: rings[lcore],
    into: rings[1 - lcore],
    burst: arena.allocate(`burst ${lcore}`, 32 * 16),
    held: arena.allocate(`held ${lcore}`, 128 * 16),
    rounds: 2_000_000,
    lcore,
  }));
  expect(await runWorkers('pool-stress.mjs', data)).toEqual(['done', 'done']);
  const left = rings.reduce(
    (sum, ring) => sum + ((arena.u32[ring >>> 2] ?? 0) - (arena.u32[(ring + 128) >>> 2] ?? 0)),
    0,
  );
  expect(pool.audit()).toEqual({ buffers: 512, free: 512 - left, inFlight: left });
  // How many, the scheduler decides; without any the ring would not have been tested.
  expect(pool.stats().recycleRing).toBeGreaterThan(10_000);
  expect(pool.stats().recycleRingFull).toBe(0);
  expect(arena.damaged()).toEqual([]);
});
