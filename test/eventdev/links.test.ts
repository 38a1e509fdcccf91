import { EVENT_OP, type Schedule } from 'ringway/eventdev';
import { expect, test } from 'vitest';
import * as layout from '#build/eventdev/layout.js';
import { type EventBench, eventBench, type TestEvent } from '../support/event-bench.ts';

const burst = (flows: number, id: number): TestEvent[] =>
  Array.from({ length: flows }, (_, flow) => ({ queue: 0, flow, op: EVENT_OP.NEW, id: id * 100 + flow }));

/** Runs all ports until every flow is where it belongs. Returns what each port got, in order. */
function settle(bench: EventBench): TestEvent[][] {
  const got: TestEvent[][] = bench.ports.map(() => []);
  for (let round = 0; round < 40_000 && bench.device.unsettledFlows() > 0; round++) {
    for (const [id, port] of bench.ports.entries()) {
      port.enqueue(0, 0);
      got[id]?.push(...bench.get(id));
    }
  }
  expect(bench.device.unsettledFlows()).toBe(0);
  return got;
}

const only = ({ arena, device }: EventBench): number =>
  arena.u32[(device.address + layout.EVDEV_QUEUE_ENTRIES + layout.EVQUEUE_ONLY) >>> 2] ?? -1;

test.each<Schedule>(['atomic', 'parallel'])(
  'a port that is unlinked while it runs hands its flows of an %s queue on',
  (schedule) => {
    const bench = eventBench({ ports: 3, queues: [{ schedule }, { schedule }] });
    const owners = (queue: number): Set<number> => {
      const tables = bench.arena.u32[(bench.device.address + layout.EVDEV_TABLES) >>> 2] as number;
      return new Set(bench.arena.u8.subarray(tables + (queue << 13), tables + ((queue + 1) << 13)));
    };
    expect(bench.device.unlink(1, 0)).toBe(true);
    const left = bench.device.unsettledFlows();
    expect(left).toBeGreaterThan(2000);
    settle(bench);
    expect([owners(0), owners(1)]).toEqual([new Set([0, 2]), new Set([0, 1, 2])]);
    expect(bench.device.xstats.get('port_1_emigrations')).toBe(left);
    bench.put(0, burst(32, 1));
    bench.flush();
    expect(bench.get(1)).toEqual([]);
  },
);

test('what waits for the port goes with its flow, in order', () => {
  const bench = eventBench({ ports: 2, queues: [{ schedule: 'atomic' }] });
  for (let id = 0; id < 3; id++) bench.put(0, burst(20, id));
  bench.device.unlink(1, 0);
  bench.put(0, burst(20, 3));
  const next = new Array(20).fill(0);
  const [kept = [], gone = []] = settle(bench);
  for (let n = 1; n > 0; ) {
    bench.flush();
    const more = bench.get(0);
    kept.push(...more);
    n = more.length;
  }
  // Some may have been read at port 1 before the request was.
  for (const { flow, id = 0 } of [...gone, ...kept]) expect(id).toBe(next[flow]++ * 100 + flow);
  expect(next).toEqual(new Array(20).fill(4));
});

test('the fast path of a queue with one port goes with the second one, and comes back without it', () => {
  const bench = eventBench({ ports: 2, queues: [{ schedule: 'atomic' }] }, [[0]]);
  expect(only(bench)).toBe(1);
  bench.device.link(1, 0);
  expect(only(bench)).toBe(0);
  expect(bench.device.unsettledFlows()).toBe(0);
  bench.device.unlink(0, 0);
  expect(only(bench)).toBe(0);
  settle(bench);
  expect(only(bench)).toBe(2);
  bench.put(0, burst(32, 0));
  bench.flush();
  expect([bench.get(0).length, bench.get(1).length]).toEqual([0, 32]);
});

test('a port that is linked again keeps what it has left', () => {
  const bench = eventBench({ ports: 2, queues: [{ schedule: 'atomic' }] });
  bench.device.unlink(1, 0);
  for (let i = 0; i < 10; i++) bench.flush();
  bench.device.link(1, 0);
  expect(bench.device.unsettledFlows()).toBe(0);
  const moved = bench.device.xstats.get('port_1_emigrations');
  for (let i = 0; i < 100; i++) bench.flush();
  expect(bench.device.xstats.get('port_1_emigrations')).toBeLessThanOrEqual(moved + 8);
});

test('a thread that sleeps on the port is woken for it', async () => {
  const bench = eventBench({ ports: 2, queues: [{ schedule: 'atomic' }] });
  const waiting = bench.ports[1]?.waitAsync(60_000);
  bench.device.unlink(1, 0);
  expect(await waiting).toBe(true);
  expect(bench.ports[1]?.waitAsync(60_000)).toBe(true);
  settle(bench);
});

test('what was unlinked while it ran is so after the next start', () => {
  const bench = eventBench({ ports: 2, queues: [{ schedule: 'atomic' }] });
  bench.device.unlink(1, 0);
  bench.device.stop();
  bench.device.start();
  expect([bench.device.links(0), bench.device.unsettledFlows(), only(bench)]).toEqual([[0], 0, 1]);
});
