import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type Assignable, assign } from '#build/async/assign.js';

const queue = (serial: number, lcore: number, engine = -1): Assignable => ({ serial, lcore, engine });

test('by lcore each has the engine of its number, and the CPU copies for the rest', () => {
  const queues = [queue(0, 2), queue(1, 0), queue(2, 1), queue(3, 0)];
  expect(assign('lcore', queues, [true, true])).toEqual([-1, 0, 1, 0]);
  expect(assign('lcore', queues, [false, true])).toEqual([-1, -1, 1, -1]);
});

test('by vring each is dealt one in turn and keeps it, whoever goes', () => {
  const queues = [queue(0, 0), queue(1, 0), queue(2, 1), queue(3, 1)];
  expect(assign('vring', queues, [true, true])).toEqual([0, 1, 0, 1]);
  expect(assign('vring', queues.slice(1), [true, true])).toEqual([1, 0, 1]);
  expect(assign('vring', queues, [true, false])).toEqual([0, -1, 0, -1]);
});

test('dynamic by lcore, all queues of an lcore have one engine', () => {
  const queues = [queue(0, 0), queue(1, 1), queue(2, 0), queue(3, 2)];
  expect(assign('dynamic-lcore', queues, [true, true])).toEqual([0, 1, 0, 0]);
  expect(assign('dynamic-lcore', queues, [false, false])).toEqual([-1, -1, -1, -1]);
});

const users = (engines: readonly number[], count: number): number[] =>
  Array.from({ length: count }, (_, index) => engines.filter((engine) => engine === index).length);

test('dynamic, engines that work have as many users as each other or one more, and no more move than must', () => {
  const engine = fc.integer({ min: -1, max: 3 });
  fc.assert(
    fc.property(
      fc.array(engine, { maxLength: 20 }),
      fc.array(fc.boolean(), { minLength: 1, maxLength: 4 }),
      (now, works) => {
        const queues = now.map((current, serial) => queue(serial, serial, current));
        const after = assign('dynamic-vring', queues, works);
        expect(assign('dynamic-lcore', queues, works)).toHaveLength(now.length);
        const working = [...works.keys()].filter((index) => works[index]);
        if (working.length === 0) {
          expect(after).toEqual(now.map(() => -1));
          return;
        }
        expect(after.every((index) => works[index])).toBe(true);
        const loads = working.map((index) => users(after, works.length)[index] as number);
        expect(Math.max(...loads) - Math.min(...loads)).toBeLessThanOrEqual(1);
        // Whoever had an engine that works left it only when it had more than its share.
        const before = users(now, works.length);
        const share = Math.floor(now.length / working.length);
        for (const index of working) {
          const stayed = now.filter((current, i) => current === index && after[i] === index).length;
          expect(stayed).toBeGreaterThanOrEqual(Math.min(before[index] as number, share));
        }
        // Once even, it stays as it is.
        expect(
          assign(
            'dynamic-vring',
            after.map((current, serial) => queue(serial, serial, current)),
            works,
          ),
        ).toEqual(after);
      },
    ),
  );
});
