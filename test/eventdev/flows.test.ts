import { FlowWatch } from 'ringway/eventdev';
import { expect, test } from 'vitest';
import { EVDEV_TABLES } from '#build/eventdev/layout.js';
import { eventBench } from '../support/event-bench.ts';

test('who owns the flows is counted, and moves are found by comparing', () => {
  const { arena, device } = eventBench(
    { ports: 3, queues: [{ schedule: 'atomic' }, { schedule: 'single-link' }, { schedule: 'parallel' }] },
    [[0, 1], [2], [0, 1, 2]],
  );
  const watch = new FlowWatch(arena, device.address);
  const tables = arena.u32[(device.address + EVDEV_TABLES) >>> 2] ?? 0;
  const owner = (queue: number, hash: number): number => arena.u8[tables + (queue << 13) + hash] as number;
  const owned = (queue: number): number[] => [0, 1, 2].map((port) => watch.owned(queue, port));
  const total = (queue: number): number => owned(queue).reduce((sum, count) => sum + count, 0);
  expect([total(0), total(1), total(2)]).toEqual([8192, 0, 8192]);
  expect(owned(0)[2]).toBe(0);
  expect(Math.min(...owned(2))).toBeGreaterThan(2500);

  watch.look(1000);
  expect(watch.moves).toEqual([]);
  const from = owner(2, 77);
  const to = (from + 1) % 3;
  const before = owned(2);
  arena.u8[tables + (2 << 13) + 77] = to;
  watch.look(2000);
  watch.look(3000);
  expect(watch.moves).toEqual([{ atMs: 2000, queue: 2, hash: 77, from, to }]);
  const after = [...before];
  after[from] = (after[from] as number) - 1;
  after[to] = (after[to] as number) + 1;
  expect(owned(2)).toEqual(after);

  for (let hash = 100; hash < 200; hash++) arena.u8[tables + hash] = 1 - owner(0, hash);
  watch.look(4000);
  expect(watch.moves).toHaveLength(64);
  expect(watch.moves.at(-1)).toMatchObject({ atMs: 4000, queue: 0, hash: 199 });
});

test('with several priorities, owners are ports all the same', () => {
  const queues = [0, 128].map((priority) => ({ schedule: 'atomic', priority }) as const);
  const { arena, device } = eventBench({ ports: 2, queues });
  const watch = new FlowWatch(arena, device.address);
  for (const queue of [0, 1]) expect(watch.owned(queue, 0) + watch.owned(queue, 1)).toBe(8192);
});
