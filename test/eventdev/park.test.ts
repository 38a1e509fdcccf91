import { attachEventPort, EVENT_OP } from 'ringway/eventdev';
import { expect, test } from 'vitest';
import * as layout from '#build/eventdev/layout.js';
import { MPSC_HEAD, MPSC_TAIL } from '#build/ring/layout.js';
import { type EventBench, eventBench } from '../support/event-bench.ts';
import { runWorkers } from '../support/workers.ts';

const ATOMIC = { schedule: 'atomic' } as const;
const event = { queue: 0, flow: 7, op: EVENT_OP.NEW, id: 42 };
const portOf = (bench: EventBench, id: number) => bench.ports[id] as NonNullable<EventBench['ports'][number]>;

test('a dequeue with a timeout takes what is there, and waits so long when nothing is', () => {
  const bench = eventBench({ ports: 1, queues: [ATOMIC] });
  bench.put(0, [event]);
  bench.flush();
  expect(portOf(bench, 0).dequeue(bench.slots, 32, 10_000)).toBe(1);
  const before = performance.now();
  expect(portOf(bench, 0).dequeue(bench.slots, 32, 30)).toBe(0);
  expect(performance.now() - before).toBeGreaterThanOrEqual(29);
});

test('what it buffers itself does not wait with it', () => {
  const bench = eventBench({ ports: 1, queues: [ATOMIC] });
  bench.put(0, [event]);
  expect(portOf(bench, 0).dequeue(bench.slots, 32, 10_000)).toBe(1);
});

test('an event wakes a thread that waits in dequeue, and one that waits beside its event loop', async () => {
  const bench = eventBench({ ports: 3, queues: [{ schedule: 'single-link' }, { schedule: 'single-link' }] }, [
    [0],
    [2],
  ]);
  const data = {
    handle: bench.arena.handle,
    address: bench.device.portAddress(0),
    slots: bench.arena.allocate('waiter', 32 * 16),
    events: 20,
  };
  const waiter = runWorkers('event-waiter.mjs', [data]);
  let came = 0;
  for (let i = 0; i < 20; i++) {
    await new Promise((resolve) => setTimeout(resolve, i % 4));
    expect(bench.put(1, [{ ...event, id: i }])).toBe(1);
    bench.flush();
    // The worker sends each on to this thread.
    while (came === i) {
      const waits = portOf(bench, 2).waitAsync(5000);
      expect(await waits).toBe(true);
      came += bench.get(2).length;
    }
  }
  expect(await waiter).toEqual([20]);
});

test('a wait beside the event loop ends by itself when nothing comes', async () => {
  const bench = eventBench({ ports: 1, queues: [ATOMIC] });
  const keepsAlive = setTimeout(() => {}, 1000);
  expect(await portOf(bench, 0).waitAsync(20)).toBe(false);
  clearTimeout(keepsAlive);
});

test('a control message wakes a port too', async () => {
  const bench = eventBench({ ports: 2, queues: [ATOMIC] });
  const { arena, device } = bench;
  const waits = portOf(bench, 1).waitAsync(5000);
  expect(waits).not.toBe(true);
  const kernels = arena.kernels<{ eventdevBeginMigration(port: number): void }>();
  const block = device.portAddress(0) >>> 2;
  arena.u32[block + (layout.EVPORT_MOVING_FLOWS >>> 2)] = 5;
  arena.u32[block + (layout.EVPORT_MOVING_TARGETS >>> 2)] = 1;
  arena.u32[block + (layout.EVPORT_MOVING_COUNT >>> 2)] = 1;
  kernels.eventdevBeginMigration(device.portAddress(0));
  expect(await waits).toBe(true);
  portOf(bench, 1).maintain();
  const control = arena.u32[(device.portAddress(0) + layout.EVPORT_CONTROL) >>> 2] as number;
  expect((arena.u32[(control + MPSC_HEAD) >>> 2] as number) - (arena.u32[(control + MPSC_TAIL) >>> 2] as number)).toBe(
    1,
  );
});

test('a port may sleep on words of its thread', async () => {
  const bench = eventBench({ ports: 2, queues: [ATOMIC] }, [[1]]);
  const bell = bench.arena.allocate('bell', 8);
  attachEventPort(bench.arena, bench.device.portAddress(1), { bell });
  const words = bench.arena.u32.subarray(bell >>> 2, (bell >>> 2) + 2);
  bench.put(0, [event]);
  bench.flush();
  expect([...words]).toEqual([0, 0]);
  words[1] = 1;
  bench.put(0, [event]);
  bench.flush();
  expect([...words]).toEqual([1, 1]);
});
