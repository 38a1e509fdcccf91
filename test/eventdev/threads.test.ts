import { test } from 'vitest';
import { runStress } from './support/stress.ts';

test.each([2, 3])('atomic_queue on %i threads: a lock per stage and flow, flows moved all the time', async (ports) => {
  await runStress({ ports, events: 100_000, ordered: false, seconds: 20 });
});

test.each([2, 3])('an ordered stage before an atomic one, on %i threads: the order of each flow', async (ports) => {
  await runStress({ ports, events: 40_000, ordered: true, seconds: 20 });
});
