import { EVENT_OP, readEvent, writeEvent } from 'ringway/eventdev';
import { createArena } from 'ringway/memory';
import { expect, test } from 'vitest';
import { testArena } from '../support/arena.ts';
import { eventBench, type TestEvent } from '../support/event-bench.ts';

const { NEW: OP_NEW, FORWARD: OP_FORWARD, RELEASE: OP_RELEASE } = EVENT_OP;
const ATOMIC = { schedule: 'atomic' } as const;
const fresh = (n: number, queue = 0, flow = (i: number): number => i): TestEvent[] =>
  Array.from({ length: n }, (_, id) => ({ queue, flow: flow(id), op: OP_NEW, id }));
const loan = (bench: { device: { xstats: { get(name: string): number } } }): number =>
  bench.device.xstats.get('dev_credits_on_loan');

test.each([
  [0, 0, 0],
  [1, 0, 1],
])('a directed event arrives intact: sent by port %i to port %i, behind %i flushes', (from, to, flushes) => {
  const bench = eventBench({ ports: 2, queues: [ATOMIC] }, [[to]]);
  const { arena, slots } = bench;
  arena.u32.set([0x11223344, 0x55667788], slots >>> 2);
  writeEvent(arena, slots, { queue: 0, flow: 0xfedcba98, op: OP_NEW, tag: 777 });
  expect(bench.ports[from]?.enqueue(slots, 1)).toBe(1);
  for (let i = 0; i < flushes; i++) {
    expect(bench.get(to)).toEqual([]);
    bench.flush();
  }
  expect(bench.get(to)).toHaveLength(1);
  expect([...arena.u32.subarray(slots >>> 2, (slots >>> 2) + 2)]).toEqual([0x11223344, 0x55667788]);
  expect(readEvent(arena, slots)).toEqual({ queue: 0, flow: 0xfedcba98, op: OP_NEW, tag: 777 });
});

test('1000 forwards on one credit', () => {
  const bench = eventBench({ ports: 1, queues: [ATOMIC], newEventsLimit: 1 });
  bench.put(0, fresh(1));
  for (let i = 0; i < 1000; i++) {
    bench.flush();
    expect(bench.get(0)).toHaveLength(1);
    expect(bench.put(0, [{ queue: 0, flow: i, op: OP_FORWARD }])).toBe(1);
  }
  // What it borrowed too much, it has given back.
  expect(loan(bench)).toBe(1);
  expect(bench.device.xstats.get('port_0_forward_enqueued')).toBe(1000);
});

test('bursts are split by queue: each port gets the queues it serves', () => {
  const bench = eventBench({ ports: 3, queues: [ATOMIC, ATOMIC, { schedule: 'single-link' }] }, [[0], [1], [2]]);
  bench.put(
    0,
    Array.from({ length: 30 }, (_, id) => ({ queue: id % 3, flow: id, op: OP_NEW, id })),
  );
  bench.flush();
  for (const port of [0, 1, 2]) {
    expect(bench.get(port).map(({ id }) => id)).toEqual(Array.from({ length: 10 }, (_, i) => i * 3 + port));
    expect(bench.device.xstats.get(`port_${port}_queue_${port}_dequeued`)).toBe(10);
    expect(bench.device.xstats.get(`port_0_queue_${port}_enqueued`)).toBe(10);
  }
});

test('flow pinning and spread: a flow stays at its port, flows are at all of them', () => {
  const bench = eventBench({ ports: 4, queues: [ATOMIC] });
  const seen = new Map<number, number>();
  const counts = [0, 0, 0, 0];
  for (let round = 0; round < 40; round++) {
    bench.put(
      0,
      fresh(32, 0, (i) => (round % 20) * 32 + i),
    );
    bench.flush();
    for (let port = 0; port < 4; port++) {
      for (const { flow } of bench.get(port)) {
        expect(seen.get(flow) ?? port).toBe(port);
        seen.set(flow, port);
        counts[port] = (counts[port] ?? 0) + 1;
      }
    }
  }
  expect(seen.size).toBe(640);
  for (const count of counts) expect(count).toBeGreaterThan(200);
});

test('a parallel queue spreads one flow over all ports, and leaves its flow id', () => {
  const bench = eventBench({ ports: 4, queues: [{ schedule: 'parallel' }] });
  const counts = [0, 0, 0, 0];
  for (let round = 0; round < 32; round++) {
    bench.put(
      1,
      fresh(32, 0, () => 99),
    );
    bench.flush();
    for (let port = 0; port < 4; port++) {
      const got = bench.get(port);
      expect(got.every(({ flow }) => flow === 99)).toBe(true);
      counts[port] = (counts[port] ?? 0) + got.length;
    }
  }
  expect(counts.reduce((sum, n) => sum + n, 0)).toBe(1024);
  for (const count of counts) expect(count).toBeGreaterThan(150);
});

test('order within a port is that of the enqueues, over many output buffers', () => {
  const bench = eventBench({ ports: 2, queues: [ATOMIC] }, [[1]]);
  let sent = 0;
  let got = 0;
  for (let round = 0; round < 200; round++) {
    const n = 1 + ((round * 7) % 32);
    expect(
      bench.put(
        0,
        Array.from({ length: n }, () => ({ queue: 0, flow: round, op: OP_NEW, id: sent++ })),
      ),
    ).toBe(n);
    for (const { id } of bench.get(1)) expect(id).toBe(got++);
  }
  bench.flush();
  for (let burst = bench.get(1); burst.length > 0; burst = bench.get(1))
    for (const { id } of burst) expect(id).toBe(got++);
  expect(got).toBe(sent);
});

test('in-flight counts fall only on release, without implicit release', () => {
  const ports = [{ implicitRelease: false, newEventThreshold: 256 }];
  const bench = eventBench({ ports, queues: [ATOMIC], newEventsLimit: 256 });
  let taken = 0;
  for (let n = 32; n === 32; taken += n) n = bench.put(0, fresh(32));
  expect(taken).toBe(256);
  bench.flush();
  for (let i = 0; i < 16; i++) bench.get(0);
  expect(bench.device.xstats.get('port_0_pending_releases')).toBe(256);
  expect(bench.put(0, fresh(1))).toBe(0);
  const release = { queue: 0, flow: 0, op: OP_RELEASE };
  expect(bench.put(0, [release])).toBe(1);
  expect(bench.device.xstats.get('port_0_pending_releases')).toBe(255);
  expect(bench.device.xstats.get('port_0_inflight_credits')).toBe(1);
  expect(bench.put(0, fresh(1))).toBe(1);
});

test('in-flight counts fall with the next dequeue, with implicit release', () => {
  const bench = eventBench({ ports: 1, queues: [ATOMIC] });
  for (let i = 0; i < 8; i++) bench.put(0, fresh(32));
  expect(loan(bench)).toBe(256);
  bench.flush();
  for (let i = 0; i < 8; i++) expect(bench.get(0)).toHaveLength(32);
  bench.get(0);
  expect(loan(bench)).toBe(bench.device.xstats.get('port_0_inflight_credits'));
  expect(loan(bench)).toBeLessThanOrEqual(128);
});

test('a stray release is harmless, and so is a forward of nothing: neither makes or loses credits', () => {
  const bench = eventBench({ ports: 1, queues: [ATOMIC] });
  expect(bench.put(0, [{ queue: 0, flow: 1, op: OP_RELEASE }])).toBe(1);
  expect([loan(bench), bench.device.xstats.get('port_0_inflight_credits')]).toEqual([0, 0]);
  expect(bench.put(0, [{ queue: 0, flow: 1, op: OP_FORWARD }])).toBe(1);
  expect([loan(bench), bench.device.xstats.get('port_0_inflight_credits')]).toEqual([64, 63]);
});

test('an unknown queue id is counted as dropped, and so is an unknown operation', () => {
  const bench = eventBench({ ports: 1, queues: [ATOMIC] });
  expect(bench.put(0, [...fresh(2), { queue: 9, flow: 1, op: OP_NEW }, { queue: 0, flow: 1, op: 3 }])).toBe(4);
  expect(bench.device.xstats.get('port_0_dropped')).toBe(2);
  bench.flush();
  expect(bench.get(0)).toHaveLength(2);
  // A forward to nowhere ends the event.
  expect(bench.put(0, [{ queue: 9, flow: 1, op: OP_FORWARD }])).toBe(1);
  expect(bench.device.xstats.get('port_0_dropped')).toBe(3);
  expect(bench.device.xstats.get('port_0_pending_releases')).toBe(1);
  bench.get(0);
  expect(loan(bench)).toBe(bench.device.xstats.get('port_0_inflight_credits'));
});

test('new events over a port’s threshold are refused with their whole burst, forwards pass', () => {
  const bench = eventBench({ ports: [{ newEventThreshold: 10 }, {}], queues: [ATOMIC] }, [[0]]);
  expect(bench.put(0, fresh(32))).toBe(32);
  expect(bench.put(0, fresh(1))).toBe(0);
  bench.flush();
  expect(bench.get(0)).toHaveLength(32);
  const forward = { queue: 0, flow: 1, op: OP_FORWARD };
  expect(bench.put(0, [forward, ...fresh(1)])).toBe(0);
  expect(bench.device.xstats.get('port_0_pending_releases')).toBe(32);
  expect(bench.put(0, [forward])).toBe(1);
  expect(bench.put(1, fresh(1))).toBe(1);
});

test('ports that went idle keep no credits that others wait for', () => {
  const bench = eventBench({ ports: 4, queues: [ATOMIC], newEventsLimit: 1 });
  for (const port of [0, 1, 2, 3]) bench.put(port, fresh(1));
  expect(bench.put(0, fresh(1))).toBe(0);
  bench.flush();
  for (const port of [0, 1, 2, 3, 0, 1, 2, 3]) bench.get(port);
  for (let i = 0; i < 300; i++) for (const { maintain } of bench.ports) maintain();
  expect(loan(bench)).toBe(0);
  expect(bench.put(0, fresh(1))).toBe(1);
});

test('no head-of-line blocking across flows: one whose port does not dequeue blocks no other', () => {
  const bench = eventBench({ ports: 2, queues: [ATOMIC] });
  bench.put(0, fresh(32));
  bench.flush();
  const first = bench.get(1).length;
  expect(first).toBeGreaterThan(0);
  for (let i = 0; i < 20; i++) {
    bench.put(1, fresh(32));
    bench.flush();
    // Not as many as before always: where time passes slowly, flows move to the port that has nothing to do.
    expect(bench.get(1).length).toBeGreaterThan(0);
  }
});

test('a busy loop of single events sends what is buffered after 128 operations at the latest', () => {
  const bench = eventBench({ ports: 2, queues: [ATOMIC] }, [[1]]);
  let calls = 0;
  for (bench.put(0, fresh(1)); bench.get(1).length === 0; calls++) bench.ports[0]?.maintain();
  expect(calls).toBeLessThanOrEqual(128);
  expect(calls).toBeGreaterThan(100);
  expect(bench.device.xstats.get('port_0_last_bg')).toBeGreaterThan(0);
});

test('statistics: names, values, reset, abuse of ids', () => {
  const bench = eventBench({ ports: 2, queues: [ATOMIC, ATOMIC] });
  const names = bench.device.xstats.names();
  expect(names).toHaveLength(1 + 2 * (14 + 2 * 2));
  expect(names).toContain('port_1_queue_1_dequeued');
  bench.put(0, fresh(5));
  expect(bench.device.xstats.all()).toMatchObject({ port_0_new_enqueued: 5, port_0_queue_0_enqueued: 5 });
  bench.device.xstats.reset();
  expect(bench.device.xstats.all()).toMatchObject({ port_0_new_enqueued: 0, dev_credits_on_loan: 64 });
  expect(() => bench.device.xstats.get('port_0_dequeud')).toThrow(/did you mean port_0_dequeued/);
  for (const name of ['', 'port_2_dequeued', 'port_0_queue_2_dequeued', '__proto__', 'toString']) {
    expect(() => bench.device.xstats.get(name)).toThrow(expect.objectContaining({ code: 'NOT_FOUND' }));
  }
});

test('all 32 bits of a flow id count', () => {
  const { eventdevFlowHash } = testArena().kernels<{ eventdevFlowHash(flow: number, bits: number): number }>();
  for (const bits of [13, 15]) {
    const zero = eventdevFlowHash(0, bits);
    for (let bit = 0; bit < 32; bit++) {
      const hash = eventdevFlowHash(2 ** bit, bits);
      expect(hash).not.toBe(zero);
      expect(hash).toBeLessThan(2 ** bits);
    }
  }
});

test.each([true, false])(
  'multi-hop loopback, implicit release %s: every event passes every queue, no credit is lost',
  (implicitRelease) => {
    const hops = 8;
    const port = { implicitRelease };
    const bench = eventBench({ ports: [port, port], queues: new Array(hops).fill(ATOMIC), newEventsLimit: 256 });
    let sent = 0;
    const passed = new Map<number, number>();
    while (passed.size < 200 || [...passed.values()].some((queue) => queue < hops - 1)) {
      if (sent < 200)
        sent += bench.put(
          sent & 1,
          fresh(20).map((event) => ({ ...event, id: sent + (event.id ?? 0) })),
        );
      bench.flush();
      for (const id of [0, 1]) {
        const got = bench.get(id);
        for (const { queue, id: number } of got) {
          expect(queue).toBe((passed.get(number ?? -1) ?? -1) + 1);
          passed.set(number ?? -1, queue);
        }
        const next = got.filter(({ queue }) => queue < hops - 1);
        bench.put(
          id,
          next.map((event) => ({ ...event, queue: event.queue + 1, op: OP_FORWARD })),
        );
        if (!implicitRelease) {
          const ended = got.filter(({ queue }) => queue === hops - 1);
          bench.put(
            id,
            ended.map((event) => ({ ...event, op: OP_RELEASE })),
          );
        }
      }
    }
    for (const id of [0, 1]) bench.get(id);
    const stats = bench.device.xstats.all();
    expect([stats.port_0_pending_releases, stats.port_1_pending_releases]).toEqual([0, 0]);
    expect(loan(bench)).toBe((stats.port_0_inflight_credits ?? 0) + (stats.port_1_inflight_credits ?? 0));
  },
);

test('reconfigure without credit leak: each start has all credits', () => {
  const bench = eventBench({ ports: 1, queues: [ATOMIC], newEventsLimit: 128 });
  for (let round = 0; round < 5; round++) {
    let taken = 0;
    for (let n = 32; n === 32; taken += n) n = bench.put(0, fresh(32));
    expect(taken).toBe(128);
    bench.flush();
    expect(bench.get(0)).toHaveLength(32);
    bench.device.stop();
    bench.device.start();
    expect(loan(bench)).toBe(0);
  }
});

test('events of higher priority come first, the order within a priority stays, and a stop hands out all', () => {
  const queues = [9, 3, 200, 3].map((priority) => ({ ...ATOMIC, priority }));
  const bench = eventBench({ ports: 2, queues }, [[1], [1], [1], [1]]);
  for (let round = 0; round < 3; round++) {
    for (const queue of [0, 1, 2, 3]) bench.put(0, [{ queue, flow: round, op: OP_NEW, id: round * 10 + queue }]);
  }
  bench.flush();
  expect(bench.get(1, 4).map(({ id }) => id)).toEqual([1, 3, 11, 13]);
  expect(bench.get(1, 128).map(({ id }) => id)).toEqual([21, 23, 0, 10, 20, 2, 12, 22]);
  expect(bench.device.xstats.get('port_1_pending_releases')).toBe(8);
  expect(bench.get(1)).toEqual([]);
  for (const queue of [2, 0, 1]) bench.put(0, [{ queue, flow: 7, op: OP_NEW, id: queue }]);
  bench.put(0, []);
  bench.put(0, [{ queue: 2, flow: 7, op: OP_NEW, id: 9 }]);
  const ids: number[] = [];
  bench.device.stop((slot) => ids.push(bench.arena.u32[slot >>> 2] ?? -1));
  expect(ids.toSorted()).toEqual([0, 1, 2, 9]);
});

test('64 ports with 4 priorities: the most lanes there can be', () => {
  const queues = [0, 1, 2, 3].map((priority) => ({ ...ATOMIC, priority }));
  const arena = createArena({ bytes: 512 << 20, debug: true });
  const bench = eventBench({ ports: 64, queues, newEventsLimit: 8192 }, undefined, arena);
  let got = 0;
  for (let round = 0; round < 32; round++) {
    bench.put(
      round,
      Array.from({ length: 32 }, (_, i) => ({ queue: i & 3, flow: round * 32 + i, op: OP_NEW, id: i })),
    );
  }
  bench.flush();
  for (let port = 0; port < 64; port++) got += bench.get(port).length;
  expect(got).toBe(1024);
  expect(arena.damaged()).toEqual([]);
});
