import { expect, test } from 'vitest';
import { WORK_BYTES } from '#build/async/layout.js';
import { readWorkCounters, WorkRing } from '#build/async/work-ring.js';
import { testArena } from '../support/arena.ts';

/** Work that is done after so many looks. */
const doneAfter = (looks: number) => ({
  settle: () => (looks-- === 1 ? 1 : 0),
  inFlight: () => Math.max(0, looks),
  isDeferred: false,
});

function ringOf(attempts: number) {
  const arena = testArena(1 << 16);
  const address = arena.allocate('work', WORK_BYTES);
  return { ring: new WorkRing(arena, address, attempts), counters: () => readWorkCounters(arena, address) };
}

test.each([
  [1, [0, 0, 1]],
  [2, [0, 1]],
  [4, [1]],
])('work that takes three looks, of which a run has %i, is done in the last of the runs %o', (attempts, settled) => {
  const { ring, counters } = ringOf(attempts);
  ring.defer(doneAfter(3));
  expect(settled.map(() => ring.run())).toEqual(settled);
  expect(ring.waiting).toBe(0);
  expect(counters()).toEqual({ deferred: 1, done: 1, inProgress: 2, full: 0 });
});

test('a queue has one item at most, and a full ring leaves no more', () => {
  const { ring, counters } = ringOf(1);
  const queues = Array.from({ length: 130 }, () => doneAfter(1000));
  for (const queue of queues) ring.defer(queue);
  expect(ring.waiting).toBe(128);
  ring.defer(queues[0] as (typeof queues)[number]);
  expect(ring.waiting).toBe(128);
  expect(counters()).toMatchObject({ deferred: 131, done: 0, full: 2 });
});
