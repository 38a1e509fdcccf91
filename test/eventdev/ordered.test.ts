import { EVENT_OP, type EventPort } from 'ringway/eventdev';
import { expect, test } from 'vitest';
import { BASES, testArena } from '../support/arena.ts';
import { type EventBench, eventBench, type TestEvent } from '../support/event-bench.ts';

const { NEW: OP_NEW, FORWARD: OP_FORWARD, RELEASE: OP_RELEASE } = EVENT_OP;
const EXPLICIT = { implicitRelease: false };
const fresh = (n: number, from = 0): TestEvent[] =>
  Array.from({ length: n }, (_, i) => ({ queue: 0, flow: 5, op: OP_NEW, id: from + i }));
const forward = (events: readonly TestEvent[], queue = 1): TestEvent[] =>
  events.map((event) => ({ ...event, queue, op: OP_FORWARD }));
const release = (events: readonly TestEvent[]): TestEvent[] => events.map((event) => ({ ...event, op: OP_RELEASE }));
const ids = (events: readonly TestEvent[]): (number | undefined)[] => events.map(({ id }) => id);

/** Ports that serve an ordered queue 0; its events go on to queue 1, of the last port. */
function orderedBench(ports: number, implicitRelease = false, base = BASES[0]): EventBench {
  const queues = [{ schedule: 'ordered' }, { schedule: 'atomic' }] as const;
  const all = Array.from({ length: ports }, (_, id) => id);
  const options = { ports: new Array(ports).fill({ implicitRelease }), queues };
  return eventBench(options, [all, [ports - 1]], testArena(8 << 20, base));
}

const stats = ({ device }: EventBench) => device.xstats.all();

test.each(BASES)('events leave in the order in which they came, whoever had them, at %i', (base) => {
  const bench = orderedBench(3, false, base);
  bench.put(0, fresh(9));
  const parts = [bench.get(0, 3), bench.get(1, 3), bench.get(2, 3)];
  expect(parts.map(ids)).toEqual([
    [0, 1, 2],
    [3, 4, 5],
    [6, 7, 8],
  ]);
  bench.put(2, forward(parts[2] ?? []));
  bench.put(1, forward(parts[1] ?? []));
  expect(bench.get(2)).toEqual([]);
  expect(bench.device.orderedQueues()).toEqual([{ queue: 0, events: 9, waitsFor: 0 }]);
  // The first one alone lets itself out, no more.
  bench.put(0, forward((parts[0] ?? []).slice(0, 1)));
  expect(ids(bench.get(2))).toEqual([0]);
  bench.put(0, forward((parts[0] ?? []).slice(1)));
  expect(ids(bench.get(2))).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
  expect(bench.device.orderedQueues()).toEqual([{ queue: 0, events: 0, waitsFor: undefined }]);
  expect(stats(bench)).toMatchObject({ port_0_drained: 9, port_1_drained: 0, port_0_queue_1_enqueued: 3 });
});

test('a released event makes room for those behind it, and gives its credit back when it is its turn', () => {
  const bench = orderedBench(2);
  bench.put(0, fresh(4));
  const [first, second] = [bench.get(0, 2), bench.get(1, 2)];
  bench.put(1, [...release(second.slice(0, 1)), ...forward(second.slice(1))]);
  // Port 0's stock is what it borrowed too much; the credits of all four are on loan.
  const loan = (): number => (stats(bench).dev_credits_on_loan ?? 0) - (stats(bench).port_0_inflight_credits ?? 0);
  expect(loan() - (stats(bench).port_1_inflight_credits ?? 0)).toBe(4);
  bench.put(0, release(first));
  expect(loan() - (stats(bench).port_1_inflight_credits ?? 0)).toBe(1);
  expect(ids(bench.get(1))).toEqual([3]);
});

test('forwards and releases are of the held events in the order of their dequeue, ordered or not', () => {
  const bench = orderedBench(1);
  bench.put(0, [{ queue: 1, flow: 1, op: OP_NEW, id: 10 }, ...fresh(2)]);
  bench.put(0, []);
  const held = bench.get(0);
  expect(ids(held)).toEqual([10, 0, 1]);
  // The first of them is of the atomic queue: its release says nothing of the ordered one.
  bench.put(0, release(held.slice(0, 1)));
  expect(bench.device.orderedQueues()[0]).toMatchObject({ events: 2, waitsFor: 0 });
  bench.put(0, [...fresh(1, 20), ...forward(held.slice(1))]);
  expect(ids(bench.get(0))).toEqual([0, 1, 20]);
});

test('with implicit release, the next dequeue ends what is left', () => {
  const bench = orderedBench(2, true);
  bench.put(0, fresh(3));
  expect(ids(bench.get(0, 2))).toEqual([0, 1]);
  const [last] = bench.get(1);
  bench.put(1, forward([last as TestEvent]));
  expect(bench.get(1)).toEqual([]);
  bench.get(0, 0);
  expect(ids(bench.get(1))).toEqual([2]);
  bench.get(1);
  const { dev_credits_on_loan: loan, port_0_inflight_credits: a, port_1_inflight_credits: b } = stats(bench);
  expect(loan).toBe((a ?? 0) + (b ?? 0));
});

test('a forward to nowhere ends an event, strays are harmless, and bursts with no credits are refused whole', () => {
  const bench = eventBench({ ports: [EXPLICIT], queues: [{ schedule: 'ordered' }], newEventsLimit: 32 });
  bench.put(0, fresh(2));
  const held = bench.get(0);
  expect(bench.put(0, forward(held.slice(0, 1), 9))).toBe(1);
  expect(stats(bench)).toMatchObject({ port_0_dropped: 1, port_0_pending_releases: 1 });
  for (let n = 1; n > 0; ) n = bench.put(0, fresh(32, 100));
  expect(bench.put(0, [...fresh(1), ...release(held.slice(1))])).toBe(0);
  expect(stats(bench).port_0_pending_releases).toBe(1);
  expect(bench.put(0, release(held.slice(1)))).toBe(1);
  expect(bench.put(0, release(held))).toBe(2);
  expect(stats(bench).port_0_pending_releases).toBe(0);
  expect(bench.device.orderedQueues()[0]?.waitsFor).toBeUndefined();
});

test('one ordered queue after another', () => {
  const queues = [{ schedule: 'ordered' }, { schedule: 'ordered' }, { schedule: 'single-link' }] as const;
  const bench = eventBench({ ports: [EXPLICIT, EXPLICIT], queues }, [[0, 1], [0, 1], [1]]);
  bench.put(0, fresh(30));
  bench.put(0, fresh(30, 30));
  const got: (number | undefined)[] = [];
  for (let round = 0; round < 400 && got.length < 60; round++) {
    const port = round % 2;
    const held = bench.get(port, 1 + (round % 7));
    const next = held.map((event) => ({
      ...event,
      queue: event.queue + 1,
      op: event.queue === 2 ? OP_RELEASE : OP_FORWARD,
    }));
    for (const { queue, id } of held) if (queue === 2) got.push(id);
    bench.put(port, next);
    bench.flush();
  }
  expect(got).toEqual(Array.from({ length: 60 }, (_, i) => i));
});

test('stop hands out what waits and what is finished; what is held is the application’s', () => {
  const bench = orderedBench(2);
  bench.put(0, fresh(6));
  bench.get(0, 2);
  const second = bench.get(1, 2);
  bench.put(1, [...forward(second.slice(0, 1)), ...release(second.slice(1))]);
  const left: number[] = [];
  bench.device.stop((slot) => left.push(bench.arena.u32[slot >>> 2] ?? -1));
  expect(left).toEqual([2, 4, 5]);
  bench.device.start();
  expect(bench.device.orderedQueues()).toEqual([{ queue: 0, events: 0, waitsFor: undefined }]);
  bench.put(0, fresh(1, 70));
  expect(ids(bench.get(1))).toEqual([70]);
});

test('links of an ordered queue change at once', () => {
  const bench = orderedBench(3);
  bench.device.unlink(1, 0);
  expect(bench.device.unsettledFlows()).toBe(0);
  bench.put(0, fresh(4));
  expect(bench.get(1)).toEqual([]);
  bench.device.link(1, 0);
  expect(ids(bench.get(1))).toEqual([0, 1, 2, 3]);
});

test('a thread that sleeps on its port is woken for it, one at a time', async () => {
  const bench = orderedBench(3);
  const waiting = [0, 1].map((id) => (bench.ports[id] as EventPort).waitAsync(60_000));
  bench.put(2, fresh(1));
  expect(await Promise.race(waiting)).toBe(true);
  expect(ids(bench.get(0))).toEqual([0]);
  bench.put(2, fresh(1, 1));
  expect(await waiting[1]).toBe(true);
  // A port does not fall asleep over what it could send on.
  expect(ids(bench.get(1))).toEqual([1]);
});

test('it keeps its port busy, as others do', () => {
  const bench = orderedBench(2);
  bench.put(1, fresh(2));
  const [held] = [bench.get(0)];
  expect(held).toHaveLength(2);
  bench.put(0, release(held));
  expect(bench.get(0)).toEqual([]);
  expect(stats(bench)).toMatchObject({ port_0_queue_0_dequeued: 2, port_0_dequeued: 2 });
});

test('a priority is refused', () => {
  expect(() => eventBench({ ports: 1, queues: [{ schedule: 'ordered', priority: 3 }] })).toThrow(
    /queues\[0\].priority=3, must be left out/,
  );
});
