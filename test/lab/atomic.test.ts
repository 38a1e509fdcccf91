import { EVENT_OP, writeEvent } from 'ringway/eventdev';
import { expect, test } from 'vitest';
import { checkAtomic } from '#build/lab/atomic-bench.js';
import { twoCpus } from '#build/lab/two-cores.js';
import { testArena } from '../support/arena.ts';

const FLOWS = 4;
const WINDOW = 8;

test('a stage that checks finds an event out of order, and one whose flow is elsewhere', () => {
  const arena = testArena();
  const { labAtomicStages } = arena.kernels<{
    labAtomicStages(slots: number, n: number, words: number, flows: number, window: number, self: number): number;
  }>();
  const slots = arena.allocate('slots', 2 * 16);
  const words = arena.allocate('words', 4 * FLOWS * 4);
  const check = (...events: readonly { flow: number; number: number; queue: number }[]): number => {
    for (const [i, { flow, number, queue }] of events.entries()) {
      arena.u32[(slots + i * 16) >>> 2] = number;
      writeEvent(arena, slots + i * 16, { flow, queue, op: EVENT_OP.NEW });
    }
    return labAtomicStages(slots, events.length, words, FLOWS, WINDOW, 1);
  };
  const event = { flow: 3, number: 0, queue: 0 };
  // Two of one flow in one burst are at one worker.
  expect(check(event, { ...event, number: 1 })).toBe(0);
  expect(check({ ...event, number: 3 })).toBe(1);
  expect(check({ ...event, number: 4 })).toBe(0);
  arena.u32[(words >>> 2) + 3] = 2;
  expect(check({ ...event, number: 5 })).toBe(1);
  // The second stage has locks and numbers of its own, and makes a later event of each.
  expect(check({ ...event, queue: 1 })).toBe(0);
  expect(arena.u32[slots >>> 2]).toBe(WINDOW);
});

test.skipIf(typeof twoCpus() === 'string')(
  'atomic_queue: ten million events through two atomic stages on two cores, flows moved all the time',
  async () => {
    const { events, moved } = await checkAtomic(10);
    expect(events).toBeGreaterThanOrEqual(10_000_000);
    expect(moved).toBeGreaterThan(1000);
  },
  60_000,
);
