import { EVENT_OP } from 'ringway/eventdev';
import { expect, test } from 'vitest';
import * as layout from '#build/eventdev/layout.js';
import { MPSC_HEAD, MPSC_SIZE } from '#build/ring/layout.js';
import { type EventBench, eventBench, type TestEvent } from '../support/event-bench.ts';

// What a port sends to itself.

const ATOMIC = { schedule: 'atomic' } as const;
const one = (flow: number, id: number): TestEvent => ({ queue: 0, flow, op: EVENT_OP.NEW, id });
const some = (n: number, first: number): TestEvent[] => Array.from({ length: n }, (_, i) => one(0, first + i));
const ids = (events: readonly TestEvent[]): (number | undefined)[] => events.map(({ id }) => id);

interface Steps {
  eventdevBeginMigration(port: number): void;
  eventdevFlowHash(flow: number, bits: number): number;
  ringMpscPushTake(ring: number, head: number, n: number): number;
  ringMpscPushWrite(ring: number, size: number, index: number, source: number, n: number): void;
  ringMpscPushPublish(ring: number, size: number, index: number, n: number): void;
}

const wordOf = ({ arena, device }: EventBench, port: number, offset: number): number =>
  arena.u32[(device.portAddress(port) + offset) >>> 2] as number;

/** Places of a port's ring that were ever claimed. */
function claimed(bench: EventBench, port: number): number {
  return bench.arena.u32[(wordOf(bench, port, layout.EVPORT_RING) + MPSC_HEAD) >>> 2] as number;
}

/** The first flow from `from` on that `port` owns. */
function flowOf({ arena, device }: EventBench, port: number, from = 0): number {
  const tables = arena.u32[(device.address + layout.EVDEV_TABLES) >>> 2] as number;
  const { eventdevFlowHash } = arena.kernels<Steps>();
  let flow = from;
  while (arena.u8[tables + eventdevFlowHash(flow, 13)] !== port) flow++;
  return flow;
}

/** Begins to move `flow` from its owner to `to`. */
function move({ arena, device }: EventBench, flow: number, from: number, to: number): void {
  const { eventdevFlowHash, eventdevBeginMigration } = arena.kernels<Steps>();
  const word = device.portAddress(from) >>> 2;
  arena.u32[word + (layout.EVPORT_MOVING_FLOWS >>> 2)] = eventdevFlowHash(flow, 13);
  arena.u32[word + (layout.EVPORT_MOVING_TARGETS >>> 2)] = to;
  arena.u32[word + (layout.EVPORT_MOVING_COUNT >>> 2)] = 1;
  eventdevBeginMigration(device.portAddress(from));
}

/** Some thread claims a place in a port's ring, and loses its CPU. Returns what it does when it goes on: it sends `event`. */
function stall(bench: EventBench, port: number, event: number): () => void {
  const { arena, slots } = bench;
  const steps = arena.kernels<Steps>();
  const ring = wordOf(bench, port, layout.EVPORT_RING);
  const size = arena.u32[(ring + MPSC_SIZE) >>> 2] as number;
  const head = claimed(bench, port);
  steps.ringMpscPushTake(ring, head, 1);
  return () => {
    arena.u32.set([event, 0, 0, 0], slots >>> 2);
    steps.ringMpscPushWrite(ring, size, head, slots, 1);
    steps.ringMpscPushPublish(ring, size, head, 1);
  };
}

test('it needs no flush and no place in the ring, in any bursts, round and round', () => {
  const bench = eventBench({ ports: [{ dequeueDepth: 128, enqueueDepth: 128 }, {}], queues: [ATOMIC] }, [[0]]);
  let [sent, got] = [0, 0];
  for (let i = 0; got < 20_000; i++) {
    sent += bench.put(0, some(1 + ((i * 37) % 100), sent));
    for (const { id } of bench.get(0, 1 + ((i * 53) % 128))) expect(id).toBe(got++);
  }
  expect(claimed(bench, 0)).toBe(0);
  expect(bench.arena.damaged()).toEqual([]);
});

test('there is room for all credits, wherever it begins, and a stop hands out what is left', () => {
  const bench = eventBench({ ports: 1, queues: [ATOMIC], newEventsLimit: 512 });
  for (const used of [0, 100, 300, 511]) {
    for (let n = 0; n < used; n++) {
      bench.put(0, some(1, 0));
      expect(bench.get(0, 1)).toHaveLength(1);
    }
    bench.get(0);
    let sent = 0;
    for (const size of [32, 1]) for (let n = size; n > 0; sent += n) n = bench.put(0, some(size, sent));
    // What a port borrows too much, others could use.
    expect(sent).toBeGreaterThan(512 - layout.CREDITS_MIN);
    expect(ids(bench.get(0))).toEqual(ids(some(32, 0)));
    const left: number[] = [];
    bench.device.stop((slot) => left.push(bench.arena.u32[slot >>> 2] as number));
    expect(left).toEqual(ids(some(sent - 32, 32)));
    bench.device.start();
    expect(bench.get(0)).toEqual([]);
  }
});

test.each([1, 8, 32])('neither it nor the ring starves, with dequeues of %i', (burst) => {
  const bench = eventBench({ ports: 2, queues: [ATOMIC] }, [[0]]);
  const seen = { own: 0, others: 0 };
  bench.put(0, some(64, 0));
  for (let i = 0; i < 1000; i++) {
    bench.put(0, some(burst, 0));
    bench.put(1, some(burst, 1000));
    for (const { id = 0 } of bench.get(0, burst)) seen[id < 1000 ? 'own' : 'others']++;
    // What nobody could read goes, or credits would run out.
    if (i % 50 === 0) for (let n = 1; n > 0; ) n = bench.get(0).length;
  }
  expect(seen.own).toBeGreaterThan(250 * burst);
  expect(seen.others).toBeGreaterThan(250 * burst);
});

test('a flow moves with what its port sent to itself, which comes before the ring’s', () => {
  const bench = eventBench({ ports: 3, queues: [ATOMIC] });
  const flow = flowOf(bench, 0);
  const other = flowOf(bench, 0, flow + 1);
  bench.put(0, [one(flow, 0), one(other, 10), one(flow, 1), one(other, 11)]);
  bench.put(2, [one(flow, 2), one(other, 12)]);
  move(bench, flow, 0, 1);
  const got: (number | undefined)[][] = [[], [], []];
  for (let i = 0; i < 10; i++) {
    for (const port of [0, 1, 2]) bench.ports[port]?.maintain();
    bench.flush();
  }
  for (const port of [0, 1, 2]) got[port]?.push(...ids(bench.get(port)));
  expect(got).toEqual([[10, 11, 12], [0, 1, 2], []]);
});

test('what came with a flow is read before what its new port sends to itself, though another sender hides it', async () => {
  const bench = eventBench({ ports: 3, queues: [ATOMIC] });
  const { device, ports } = bench;
  const flow = flowOf(bench, 0);
  const next = flowOf(bench, 0, flow + 1);
  bench.put(2, [one(flow, 0)]);
  bench.put(2, []);
  const goOn = stall(bench, 1, 99);
  bench.put(1, [one(flowOf(bench, 1), 50)]);
  move(bench, flow, 0, 1);
  for (let i = 0; i < 10; i++) for (const port of ports) port.maintain();
  expect(device.migrations()).toEqual([]);
  bench.put(1, [one(flow, 1)]);
  // What was there before is free to go; the rest waits for the sender.
  expect(ids(bench.get(1))).toEqual([50]);
  expect(bench.get(1)).toEqual([]);
  // The second one that comes waits, and the thread finds that there is something to do.
  move(bench, next, 0, 1);
  for (let i = 0; i < 10; i++) for (const port of ports) port.maintain();
  expect(device.migrations()).toMatchObject([{ port: 0, state: 'unpausing', waitsFor: [1] }]);
  expect(bench.get(1)).toEqual([]);
  goOn();
  expect(ids(bench.get(1))).toEqual([99, 0, 1]);
  for (let i = 0; i < 10; i++) for (const port of ports) port.maintain();
  expect(device.migrations()).toEqual([]);
  expect(device.xstats.get('port_1_immigrations')).toBe(2);
});

test('without events of its own, a port learns of more flows while some that came are hidden', () => {
  const bench = eventBench({ ports: 2, queues: [ATOMIC] });
  const goOn = stall(bench, 1, 99);
  let flow = -1;
  for (let moved = 0; moved < 3; moved++) {
    flow = flowOf(bench, 0, flow + 1);
    bench.put(0, [one(flow, moved)]);
    move(bench, flow, 0, 1);
    for (let i = 0; i < 10; i++) for (const port of bench.ports) port.maintain();
    expect(bench.device.migrations()).toEqual([]);
  }
  bench.put(1, [one(flow, 3)]);
  expect(bench.get(1)).toEqual([]);
  goOn();
  expect(ids(bench.get(1))).toEqual([99, 0, 1, 2, 3]);
});

test('a thread may sleep on a port whose events wait for a sender, who wakes it', async () => {
  const bench = eventBench({ ports: 2, queues: [ATOMIC] });
  const flow = flowOf(bench, 0);
  const goOn = stall(bench, 1, 99);
  move(bench, flow, 0, 1);
  for (let i = 0; i < 10; i++) for (const port of bench.ports) port.maintain();
  bench.put(1, [one(flow, 0)]);
  for (let i = 0; i < 300; i++) bench.ports[1]?.maintain();
  expect(bench.get(1)).toEqual([]);
  const waits = bench.ports[1]?.waitAsync(5000);
  expect(waits).not.toBe(true);
  goOn();
  bench.put(0, [one(flow, 1)]);
  bench.put(0, []);
  expect(await waits).toBe(true);
  expect(ids(bench.get(1))).toEqual([99, 0, 1]);
});

test('devices with priorities, or an ordered queue, send all events through rings', () => {
  for (const queues of [
    [ATOMIC, { ...ATOMIC, priority: 1 }],
    [ATOMIC, { schedule: 'ordered' as const }],
  ]) {
    const bench = eventBench({ ports: 1, queues });
    bench.put(0, some(3, 0));
    bench.flush();
    expect(claimed(bench, 0) + (bench.device.capabilities.queuePriorities ? 3 : 0)).toBe(3);
    expect(bench.get(0)).toHaveLength(3);
  }
});
