import { createArena } from 'ringway/memory';
import { createMpscRing, createSpscRing } from 'ringway/ring';
import { expect, test } from 'vitest';
import { mpscSimulation, spscSimulation } from '../support/ring-scenario.ts';
import { runWorkers } from '../support/workers.ts';

test('spsc: 1,000,000 schedules', () => {
  spscSimulation(undefined, 20).explore(1_000_000);
});

test('mpsc: 500,000 schedules of two producers, 500,000 of three', () => {
  mpscSimulation(undefined, 2, 10).explore(500_000);
  mpscSimulation(undefined, 3, 8).explore(500_000);
});

const SLOTS = 2_000_000;

test.each([
  ['spsc', 1, 8, 'test'],
  ['spsc', 1, 1024, 'release'],
  ['mpsc', 1, 8, 'test'],
  ['mpsc', 2, 64, 'release'],
  ['mpsc', 2, 1024, 'test'],
] as const)(
  '%s with %i producers through %i slots, on threads, %s kernels: all arrive, in order',
  async (kind, producers, size, kernels) => {
    const arena = createArena({ bytes: 1 << 20, debug: kernels === 'test' });
    const { address: ring } = (kind === 'spsc' ? createSpscRing : createMpscRing)(arena, { slots: size, name: 'ring' });
    const roles = ['consumer', ...Array.from({ length: producers }, (_, id) => id)];
    const data = roles.map((role) => {
      const burst = arena.allocate(`burst ${role}`, 32 * 16);
      return { handle: arena.handle, kind, ring, role, burst, slots: SLOTS, producers };
    });
    expect(await runWorkers('ring-stress.mjs', data)).toEqual(roles.map(() => 'done'));
    expect(arena.damaged()).toEqual([]);
  },
);
