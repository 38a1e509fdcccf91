import { EVENT_OP, type EventKernels, writeEvent } from 'ringway/eventdev';
import { expect, test } from 'vitest';
import * as layout from '#build/eventdev/layout.js';
import { MPSC_HEAD, MPSC_SIZE } from '#build/ring/layout.js';
import { type EventBench, eventBench, type TestEvent } from '../support/event-bench.ts';

interface Steps {
  eventdevBeginMigration(port: number): void;
  eventdevFlowHash(flow: number, bits: number): number;
  eventdevHeld(port: number, slots: number, n: number): number;
  ringMpscPushTake(ring: number, head: number, n: number): number;
  ringMpscPushWrite(ring: number, size: number, index: number, source: number, n: number): void;
  ringMpscPushPublish(ring: number, size: number, index: number, n: number): void;
}

const ATOMIC = { schedule: 'atomic' } as const;
const one = (flow: number, id: number): TestEvent => ({ queue: 0, flow, op: EVENT_OP.NEW, id });

/** What the words of a bench's ports are read and written with. */
function words(bench: EventBench) {
  const { arena, device } = bench;
  const at = (port: number, offset: number): number => (device.portAddress(port) + offset) >>> 2;
  const steps = arena.kernels<Steps>();
  const set = (port: number, offset: number, value: number): void => {
    arena.u32[at(port, offset)] = value;
  };
  return {
    get: (port: number, offset: number): number => arena.u32[at(port, offset)] ?? 0,
    set,
    steps,
    owner: (flow: number): number => {
      const tables = arena.u32[(device.address + layout.EVDEV_TABLES) >>> 2] as number;
      return arena.u8[tables + steps.eventdevFlowHash(flow, device.flowHashBits)] as number;
    },
    /** Begins to move `flow` of queue 0 from its owner to `to`. */
    move(flow: number, from: number, to: number): void {
      set(from, layout.EVPORT_MOVING_FLOWS, steps.eventdevFlowHash(flow, 13));
      set(from, layout.EVPORT_MOVING_TARGETS, to);
      set(from, layout.EVPORT_MOVING_COUNT, 1);
      steps.eventdevBeginMigration(device.portAddress(from));
    },
  };
}

/** A flow that port 0 owns. */
function flowOfPort0(bench: EventBench): number {
  let flow = 0;
  while (words(bench).owner(flow) !== 0) flow++;
  return flow;
}

test('a flow moves with what waits in the ring, in a stash and at other ports, in order', () => {
  const bench = eventBench({ ports: 3, queues: [ATOMIC] });
  const { move, get, owner } = words(bench);
  const flow = flowOfPort0(bench);
  bench.put(2, [one(flow, 0), one(flow, 1)]);
  bench.put(2, []);
  bench.put(2, [one(flow, 2)]);
  move(flow, 0, 1);
  // Port 2 has sent what it buffered, and keeps what comes now.
  bench.put(2, [one(flow, 3)]);
  expect(get(2, layout.EVPORT_PAUSED_EVENTS)).toBe(1);
  expect(bench.get(0)).toEqual([]);
  expect(get(0, layout.EVPORT_STASHED)).toBe(3);
  const got: number[] = [];
  for (let i = 0; i < 10; i++) {
    bench.flush();
    for (const { id } of bench.get(1)) got.push(id ?? -1);
    expect(bench.get(0)).toEqual([]);
    expect(bench.get(2)).toEqual([]);
  }
  expect(got).toEqual([0, 1, 2, 3]);
  expect(owner(flow)).toBe(1);
  expect(bench.device.xstats.all()).toMatchObject({
    port_0_emigrations: 1,
    port_1_immigrations: 1,
    port_2_immigrations: 0,
  });
  expect(bench.device.xstats.get('port_0_migration_latency')).toBeGreaterThan(0);
});

test('time that waits for the application to finish is not idle, and takes nothing on', () => {
  const bench = eventBench({ ports: [{ implicitRelease: false }, {}], queues: [ATOMIC] });
  const { move, get, owner } = words(bench);
  const flow = flowOfPort0(bench);
  bench.put(1, [one(flow, 0)]);
  bench.put(1, []);
  expect(bench.get(0)).toHaveLength(1);
  move(flow, 0, 1);
  bench.put(1, [one(flow, 1)]);
  for (let i = 0; i < 50; i++) {
    bench.flush();
    expect([...bench.get(0), ...bench.get(1)]).toEqual([]);
  }
  expect(get(0, layout.EVPORT_STATE)).toBe(layout.MIGRATION_FINISHING);
  expect(get(0, layout.EVPORT_BUSY)).toBe(1);
  bench.put(0, [{ queue: 0, flow, op: EVENT_OP.RELEASE }]);
  const got: TestEvent[] = [];
  for (let i = 0; i < 10; i++) {
    bench.flush();
    got.push(...bench.get(1));
  }
  expect(got.map(({ id }) => id)).toEqual([1]);
  expect(owner(flow)).toBe(1);
});

test('an application that says which events it holds keeps their flows, and the others move', () => {
  const bench = eventBench({ ports: [{ implicitRelease: false }, {}], queues: [ATOMIC] });
  const { get, set, owner, steps } = words(bench);
  const { arena, device, slots } = bench;
  const mine = Array.from({ length: 200 }, (_, flow) => flow).filter((flow) => owner(flow) === 0);
  const [kept, moved, also] = mine as [number, number, number];
  bench.put(1, [one(kept, 0), one(moved, 1), one(also, 2)]);
  bench.put(1, []);
  expect(bench.get(0)).toHaveLength(3);
  const begin = (flows: readonly number[]): void => {
    for (const [i, flow] of flows.entries()) {
      set(0, layout.EVPORT_MOVING_FLOWS + i * 4, steps.eventdevFlowHash(flow, 13));
      set(0, layout.EVPORT_MOVING_TARGETS + i * 4, 1);
    }
    set(0, layout.EVPORT_MOVING_COUNT, flows.length);
    steps.eventdevBeginMigration(device.portAddress(0));
  };
  const say = (flows: readonly number[]): number => {
    for (const [i, flow] of flows.entries()) writeEvent(arena, slots + i * 16, one(flow, 0));
    return steps.eventdevHeld(device.portAddress(0), slots, flows.length);
  };
  expect(say([kept])).toBe(0);
  begin([kept]);
  expect([get(0, layout.EVPORT_STATE), say([kept, moved, also])]).toEqual([layout.MIGRATION_FINISHING, 1]);
  expect([get(0, layout.EVPORT_STATE), get(0, layout.EVPORT_MOVING_COUNT)]).toEqual([layout.MIGRATION_IDLE, 0]);
  bench.put(0, [{ queue: 0, flow: moved, op: EVENT_OP.RELEASE }]);
  begin([kept, moved, also]);
  expect([say([kept, also]), get(0, layout.EVPORT_MOVING_COUNT)]).toEqual([1, 1]);
  bench.put(1, [one(moved, 3), one(kept, 4)]);
  const got: (number | undefined)[][] = [[], []];
  for (let i = 0; i < 10; i++) {
    bench.flush();
    for (const port of [0, 1]) got[port]?.push(...bench.get(port).map(({ id }) => id));
  }
  expect(got).toEqual([[4], [3]]);
  expect([owner(kept), owner(moved), owner(also)]).toEqual([0, 1, 0]);
  expect(get(0, layout.EVPORT_PENDING)).toBe(3);
});

test('it waits for a sender that stands still in front of others in the ring', () => {
  const bench = eventBench({ ports: 2, queues: [ATOMIC] });
  const { move, get, owner, steps } = words(bench);
  const { arena, slots } = bench;
  const flow = flowOfPort0(bench);
  const ring = get(0, layout.EVPORT_RING);
  const size = arena.u32[(ring + MPSC_SIZE) >>> 2] as number;
  const head = arena.u32[(ring + MPSC_HEAD) >>> 2] as number;
  // Some thread claims a place, and is descheduled.
  steps.ringMpscPushTake(ring, head, 1);
  bench.put(1, [one(flow, 5)]);
  bench.put(1, []);
  move(flow, 0, 1);
  for (let i = 0; i < 20; i++) {
    bench.flush();
    expect([...bench.get(0), ...bench.get(1)]).toEqual([]);
  }
  expect([get(0, layout.EVPORT_STATE), owner(flow)]).toEqual([layout.MIGRATION_DRAINING, 0]);
  bench.arena.u32[slots >>> 2] = 4;
  steps.ringMpscPushWrite(ring, size, head, slots, 1);
  steps.ringMpscPushPublish(ring, size, head, 1);
  const got: (number | undefined)[] = [];
  for (let i = 0; i < 10; i++) {
    bench.flush();
    got.push(...bench.get(1).map(({ id }) => id));
  }
  expect(owner(flow)).toBe(1);
  expect(got).toEqual([4, 5]);
});

test('no reordering when events are paused as flows begin to move: the move ends at once', () => {
  const bench = eventBench({ ports: 2, queues: [ATOMIC] });
  const { move, get, set } = words(bench);
  set(0, layout.EVPORT_PAUSED_EVENTS, 1);
  move(flowOfPort0(bench), 0, 1);
  expect([get(0, layout.EVPORT_STATE), get(0, layout.EVPORT_MOVING_COUNT), get(0, layout.EVPORT_PAUSED_COUNT)]).toEqual(
    [layout.MIGRATION_IDLE, 0, 0],
  );
});

test('stop in the middle of it hands out what is stashed and what is paused', () => {
  const bench = eventBench({ ports: 3, queues: [ATOMIC] });
  const { move, get } = words(bench);
  const flow = flowOfPort0(bench);
  bench.put(2, [one(flow, 0)]);
  bench.put(2, []);
  move(flow, 0, 1);
  bench.put(2, [one(flow, 1)]);
  bench.get(0);
  expect([get(0, layout.EVPORT_STASHED), get(2, layout.EVPORT_PAUSED_EVENTS)]).toEqual([1, 1]);
  const ids: number[] = [];
  bench.device.stop((slot) => ids.push(bench.arena.u32[slot >>> 2] ?? -1));
  expect(ids).toEqual([0, 1]);
  bench.device.start();
  for (const offset of [layout.EVPORT_STATE, layout.EVPORT_STASHED, layout.EVPORT_PAUSED_COUNT]) {
    expect([0, 1, 2].map((port) => get(port, offset))).toEqual([0, 0, 0]);
  }
});

/** Keeps port 0 busy with events of `flows`, every other one to the last queue, in a time that the test tells. Returns what each port got. */
function keepBusy(bench: EventBench, flows: readonly number[], rounds: number, seen: () => void = () => {}): number[] {
  const counts = bench.ports.map(() => 0);
  const { arena, device, slots } = bench;
  const { eventdevDequeue, eventdevDequeueLevels, eventdevEnqueue } = arena.kernels<EventKernels>();
  const dequeue = device.capabilities.queuePriorities ? eventdevDequeueLevels : eventdevDequeue;
  let now = 0;
  const timed = (port: number, kernel: () => number): number => {
    for (let n = kernel(); ; n = kernel()) {
      if (n !== layout.NEEDS_TIME) return n;
      arena.u32[(port + layout.EVPORT_NOW) >>> 2] = now;
      arena.u32[(port + layout.EVPORT_TIMED) >>> 2] = 1;
    }
  };
  for (let round = 0; round < rounds; round++) {
    now += 20_000;
    bench.put(
      0,
      flows.slice(0, 16).map((flow, id) => ({ ...one(flow, id), queue: id % device.queues })),
    );
    for (const id of bench.ports.keys()) {
      const port = device.portAddress(id);
      if (id === 0) timed(port, () => eventdevEnqueue(port, slots, 0));
      // The last dequeue finds none at the others, and some at port 0: it stays busy.
      const n = timed(port, () => dequeue(port, slots, id === 0 ? 8 : 32));
      if (id !== 0 && n > 0) timed(port, () => dequeue(port, slots, 32));
      counts[id] = (counts[id] ?? 0) + n;
      seen();
    }
  }
  return counts;
}

test.each(['atomic', 'parallel'] as const)(
  'a busy port moves flows of an %s queue to idle ones by itself',
  (schedule) => {
    const bench = eventBench({ ports: 3, queues: [{ schedule }], newEventsLimit: 4096 });
    const { owner } = words(bench);
    const flows: number[] = [];
    for (let flow = 0; flows.length < 16; flow++) if (owner(flow) === 0) flows.push(flow);
    keepBusy(bench, flows, 500);
    const { xstats } = bench.device;
    expect(xstats.get('port_0_emigrations')).toBeGreaterThan(2);
    if (schedule === 'atomic') {
      expect(xstats.get('port_1_immigrations') + xstats.get('port_2_immigrations')).toBe(
        xstats.get('port_0_emigrations'),
      );
      expect(new Set(flows.map(owner)).size).toBeGreaterThan(1);
    }
  },
);

test.each(['flow-group', 'single-flow'] as const)(
  '%s: how many flows move at a time, and what others see',
  (migration) => {
    const bench = eventBench({ ports: 3, queues: [ATOMIC], migration, flowHashBits: 15 });
    const { owner, get } = words(bench);
    const flows: number[] = [];
    for (let flow = 0; flows.length < 6; flow++) if (owner(flow) === 0) flows.push(flow);
    // The largest flows come first in the table of those seen, the smallest last.
    const weighted = flows.flatMap((flow, i) => new Array(i === 5 ? 1 : 3).fill(flow) as number[]);
    const moved: number[] = [];
    let most = 0;
    let announced = 0;
    keepBusy(bench, weighted, 400, () => {
      most = Math.max(most, get(0, layout.EVPORT_MOVING_COUNT));
      for (const port of [1, 2]) announced = Math.max(announced, get(port, layout.EVPORT_IMMIGRATION_LOAD));
      for (const flow of flows) if (owner(flow) !== 0 && !moved.includes(flow)) moved.push(flow);
    });
    expect(bench.device.xstats.get('port_0_emigrations')).toBeGreaterThan(0);
    if (migration === 'single-flow') expect([moved[0], most, announced]).toEqual([flows[5], 1, 0]);
    else expect([most > 1, announced > 0]).toEqual([true, true]);
  },
);

test('a port with one flow keeps it, and so does one that no other port can relieve', () => {
  const single = eventBench({ ports: 2, queues: [ATOMIC] });
  keepBusy(single, new Array(16).fill(flowOfPort0(single)), 500);
  expect(single.device.xstats.get('port_0_load')).toBeGreaterThan(90);
  expect(single.device.xstats.get('port_0_emigrations')).toBe(0);
  const alone = eventBench({ ports: 2, queues: [ATOMIC] }, [[0]]);
  keepBusy(
    alone,
    Array.from({ length: 16 }, (_, flow) => flow),
    500,
  );
  expect(alone.device.xstats.get('port_0_load')).toBeGreaterThan(90);
  expect(alone.device.xstats.get('port_0_emigrations')).toBe(0);
});

test('the sample has events of each priority: flows of both move', () => {
  const queues = [
    { ...ATOMIC, priority: 1 },
    { ...ATOMIC, priority: 0 },
  ];
  const bench = eventBench({ ports: 2, queues });
  const { arena, device } = bench;
  const tables = arena.u32[(device.address + layout.EVDEV_TABLES) >>> 2] as number;
  const at = (queue: number, flow: number): number => tables + (queue << 13) + flow;
  const flows = Array.from({ length: 16 }, (_, flow) => flow);
  // Lanes 0 and 1 are the ports of the higher level, that of queue 1.
  for (const flow of flows) {
    arena.u8[at(0, flow)] = 2;
    arena.u8[at(1, flow)] = 0;
  }
  keepBusy(bench, flows, 500);
  const moved = (queue: number, lane: number) => flows.filter((flow) => arena.u8[at(queue, flow)] === lane).length;
  expect([moved(0, 3) > 0, moved(1, 1) > 0]).toEqual([true, true]);
  expect(device.xstats.get('port_0_emigrations')).toBe(device.xstats.get('port_1_immigrations'));
});
