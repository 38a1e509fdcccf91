import { EVENT_OP } from 'ringway/eventdev';
import { expect, test } from 'vitest';
import { type EventBench, eventBench, type TestEvent } from '../support/event-bench.ts';

// Faults that DPDK's drivers/event/dsw had at some time, one test each.

const { NEW: OP_NEW, RELEASE: OP_RELEASE } = EVENT_OP;
const ATOMIC = { schedule: 'atomic' } as const;
const fresh = (n: number): TestEvent[] =>
  Array.from({ length: n }, (_, id) => ({ queue: 0, flow: id, op: OP_NEW, id }));
const loan = ({ device }: EventBench): number => device.xstats.get('dev_credits_on_loan');

test('no credit leak on oversized bursts: they are cut, and cost what is taken', () => {
  const bench = eventBench({ ports: [{ enqueueDepth: 4, dequeueDepth: 3 }], queues: [ATOMIC] });
  expect(bench.put(0, fresh(100))).toBe(4);
  bench.flush();
  expect(bench.get(0)).toHaveLength(3);
  expect(bench.get(0)).toHaveLength(1);
  bench.get(0);
  expect(loan(bench)).toBe(bench.device.xstats.get('port_0_inflight_credits'));
});

test('stop-flush skips no place where events wait', () => {
  const bench = eventBench({ ports: 2, queues: [ATOMIC], newEventsLimit: 512 });
  for (let round = 0; round < 2; round++) {
    const ids: number[] = [];
    bench.put(0, fresh(32));
    bench.flush();
    bench.put(
      1,
      fresh(20).map((event) => ({ ...event, id: 100 + (event.id ?? 0) })),
    );
    bench.device.stop((slot) => ids.push(bench.arena.u32[slot >>> 2] ?? 0));
    expect(ids.sort((a, b) => a - b)).toEqual([
      ...Array.from({ length: 32 }, (_, i) => i),
      ...Array.from({ length: 20 }, (_, i) => 100 + i),
    ]);
    bench.device.start();
    expect([loan(bench), bench.device.xstats.get('port_0_inflight_credits')]).toEqual([0, 0]);
  }
});

test('queue_enqueued does not count releases', () => {
  const bench = eventBench({ ports: 1, queues: [ATOMIC] });
  bench.put(0, [...fresh(1), { queue: 0, flow: 0, op: OP_RELEASE }]);
  expect(bench.device.xstats.all()).toMatchObject({ port_0_queue_0_enqueued: 1, port_0_release_enqueued: 1 });
});

test('linking twice counts once', () => {
  const bench = eventBench({ ports: 2, queues: [ATOMIC] }, [[0, 0, 1, 0]]);
  bench.device.stop();
  bench.device.unlink(0, 0);
  expect(bench.device.links(0)).toEqual([1]);
  bench.device.start();
  bench.put(0, fresh(32));
  bench.flush();
  expect([bench.get(0).length, bench.get(1).length]).toEqual([0, 32]);
});

test('statistics can be reset, all of them, while credits and events stay', () => {
  const bench = eventBench({ ports: 2, queues: [ATOMIC] });
  bench.put(0, fresh(20));
  bench.flush();
  for (const id of [0, 1]) bench.get(id);
  const before = bench.device.xstats.all();
  bench.device.xstats.reset();
  const after = bench.device.xstats.all();
  const kept = ['dev_credits_on_loan', 'inflight_credits', 'pending_releases', 'load', 'last_bg'];
  for (const [name, value] of Object.entries(after)) {
    expect([name, value]).toEqual([name, kept.some((end) => name.endsWith(end)) ? before[name] : 0]);
  }
  expect(loan(bench)).toBeGreaterThan(0);
});

test('start zeroes the ports’ credits with the loan', () => {
  const bench = eventBench({ ports: 2, queues: [ATOMIC], newEventsLimit: 256 });
  for (let round = 0; round < 4; round++) {
    expect([bench.put(0, fresh(1)), bench.put(1, fresh(1))]).toEqual([1, 1]);
    const { dev_credits_on_loan, port_0_inflight_credits, port_1_inflight_credits } = bench.device.xstats.all();
    expect([dev_credits_on_loan, port_0_inflight_credits, port_1_inflight_credits]).toEqual([128, 63, 63]);
    bench.device.stop();
    bench.device.start();
    expect(bench.device.xstats.all()).toMatchObject({ dev_credits_on_loan: 0, port_0_inflight_credits: 0 });
  }
});
