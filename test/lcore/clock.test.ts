import fc from 'fast-check';
import { afterEach, expect, test, vi } from 'vitest';
import { LcoreClock } from '#build/lcore/clock.js';
import { idle, ringDoorbell, sleeps } from '#build/lcore/idle.js';
import { LCORE_BYTES, LCORE_NANOSECONDS, LCORE_SECONDS } from '#build/lcore/layout.js';
import { testArena } from '../support/arena.ts';

afterEach(() => vi.restoreAllMocks());

const arena = testArena(1 << 20);
const lcore = arena.allocate('lcore', LCORE_BYTES);
const word = (offset: number): number => arena.u32[(lcore + offset) >>> 2] as number;

test('the clock is the time of day, never runs backwards and keeps its nanoseconds below a second', () => {
  const clock = new LcoreClock(arena, lcore);
  clock.refresh();
  expect(Math.abs(word(LCORE_SECONDS) - Date.now() / 1000)).toBeLessThan(600);
  const steps = fc.array(fc.double({ min: 0, max: 5000, noNaN: true }), { maxLength: 50 });
  fc.assert(
    fc.property(steps, (list) => {
      let now = 0;
      const mock = vi.spyOn(performance, 'now').mockImplementation(() => now);
      const virtual = new LcoreClock(arena, lcore);
      virtual.refresh();
      const [first, firstNs] = [word(LCORE_SECONDS), word(LCORE_NANOSECONDS)];
      for (const step of list) {
        const [seconds, nanoseconds] = [word(LCORE_SECONDS), word(LCORE_NANOSECONDS)];
        now += step;
        expect(virtual.refresh()).toBe(now * 1e6);
        expect(word(LCORE_NANOSECONDS)).toBeLessThan(1e9);
        const forward = (word(LCORE_SECONDS) - seconds) * 1e9 + word(LCORE_NANOSECONDS) - nanoseconds;
        expect(forward).toBeGreaterThanOrEqual(0);
      }
      // No drift: the sum of all steps, to the 100 ns that a Number of milliseconds keeps.
      const passed = (word(LCORE_SECONDS) - first) * 1e9 + word(LCORE_NANOSECONDS) - firstNs;
      expect(Math.abs(passed - now * 1e6)).toBeLessThan(100);
      mock.mockRestore();
    }),
  );
});

test('a doorbell is rung only for an lcore that sleeps', () => {
  const i32 = new Int32Array(new SharedArrayBuffer(8));
  ringDoorbell(i32, 0, 1);
  expect([...i32]).toEqual([0, 0]);
  i32[1] = 1;
  ringDoorbell(i32, 0, 1);
  expect([...i32]).toEqual([1, 1]);
});

test('nobody sleeps before 200 empty polls, nor when the doorbell has rung, and whoever parked is not parked after', () => {
  expect([0, 199, 200].map((empties) => sleeps('park', empties, false))).toEqual([false, false, true]);
  expect(sleeps('yield', 200, false)).toBe(true);
  expect(sleeps('spin', 1e9, true)).toBe(false);
  const i32 = new Int32Array(new SharedArrayBuffer(8));
  const wait = vi.spyOn(Atomics, 'wait');
  idle('park', i32, 0, 1, () => 1);
  expect(wait).toHaveLastReturnedWith('timed-out');
  i32[0] = 1;
  idle('park', i32, 0, 1, () => 1);
  idle('yield', i32, 0, 1, () => 1);
  expect(wait.mock.results.map(({ value }) => value)).toEqual(['timed-out', 'not-equal', 'not-equal']);
  expect(i32[1]).toBe(0);
});
