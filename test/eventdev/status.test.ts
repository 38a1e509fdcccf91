import { attachEventPort, EVENT_OP } from 'ringway/eventdev';
import { expect, test, vi } from 'vitest';
import * as layout from '#build/eventdev/layout.js';
import { type EventBench, eventBench } from '../support/event-bench.ts';

const ATOMIC = { schedule: 'atomic' } as const;

/** Lets time pass for the clocks of ports and device. */
function laterBy(ms: number, check: () => void): void {
  const now = performance.now.bind(performance);
  const spy = vi.spyOn(performance, 'now').mockImplementation(() => now() + ms);
  check();
  spy.mockRestore();
}

/** Begins to move flow 0 of queue 0 from the port that owns it. Returns that port. */
function moveFlow0(bench: EventBench): number {
  const { arena, device } = bench;
  const tables = arena.u32[(device.address + layout.EVDEV_TABLES) >>> 2] as number;
  const from = arena.u8[tables] as number;
  const word = (offset: number): number => (device.portAddress(from) + offset) >>> 2;
  arena.u32[word(layout.EVPORT_MOVING_FLOWS)] = 0;
  arena.u32[word(layout.EVPORT_MOVING_TARGETS)] = (from + 1) % device.ports;
  arena.u32[word(layout.EVPORT_MOVING_COUNT)] = 1;
  const now = (performance.timeOrigin + performance.now()) * 1e6;
  const epoch = (arena.u32[(device.address + layout.EVDEV_EPOCH) >>> 2] as number) * 1e9;
  new BigUint64Array(arena.handle.memory.buffer)[(device.portAddress(from) + layout.EVPORT_NOW) / 8] = BigInt(
    Math.floor(now - epoch),
  );
  arena.kernels<{ eventdevBeginMigration(port: number): void }>().eventdevBeginMigration(device.portAddress(from));
  return from;
}

test('a port that its thread leaves alone is named, with for how long', () => {
  const bench = eventBench({ ports: 3, queues: [ATOMIC] });
  expect(bench.device.unattended()).toEqual([]);
  laterBy(5000, () => {
    for (let i = 0; i < 130; i++) bench.ports[1]?.maintain();
    const named = bench.device.unattended();
    expect(named.map(({ port }) => port)).toEqual([0, 2]);
    for (const { sinceMs } of named) expect(Math.abs(sinceMs - 5000)).toBeLessThan(900);
    expect(bench.device.unattended(60_000)).toEqual([]);
  });
  laterBy(70_000, () => {
    const named = bench.device.unattended(66_000).map(({ port }) => port);
    expect(named).toEqual([0, 2]);
    expect(bench.device.unattended(60_000)).toHaveLength(3);
    bench.device.stop();
    expect(bench.device.unattended()).toEqual([]);
  });
});

test('a port that nobody ever attached to is not unattended', () => {
  const bench = eventBench({ ports: 2, queues: [ATOMIC] });
  bench.device.stop();
  bench.device.start();
  attachEventPort(bench.arena, bench.device.portAddress(1));
  laterBy(2000, () => {
    expect(bench.device.unattended().map(({ port }) => port)).toEqual([1]);
  });
});

test('a port whose thread sleeps on it is not unattended, nor just after it woke', async () => {
  const bench = eventBench({ ports: 2, queues: [ATOMIC] }, [[0]]);
  const waiting = bench.ports[0]?.waitAsync(60_000);
  laterBy(3000, () => {
    expect(bench.device.unattended().map(({ port }) => port)).toEqual([1]);
  });
  bench.put(1, [{ queue: 0, flow: 0, op: EVENT_OP.NEW, id: 1 }]);
  bench.put(1, []);
  expect(await waiting).toBe(true);
  laterBy(3000, () => {
    expect(bench.get(0)).toHaveLength(1);
    expect(bench.device.unattended().map(({ port }) => port)).toEqual([1]);
  });
});

test('a migration says what it waits for, port by port', () => {
  const bench = eventBench({ ports: 4, queues: [ATOMIC] });
  expect(bench.device.migrations()).toEqual([]);
  const from = moveFlow0(bench);
  const others = [0, 1, 2, 3].filter((id) => id !== from);
  const status = () => bench.device.migrations().map(({ forMs, ...rest }) => rest);
  expect(status()).toEqual([{ port: from, state: 'pausing', flows: 1, waitsFor: others }]);
  laterBy(3000, () => expect(bench.device.migrations()[0]?.forMs).toBeGreaterThanOrEqual(3000));
  expect(bench.device.migrations()[0]?.forMs).toBeLessThan(1000);
  // The last of them never answers: it is the one that is left.
  const silent = others.at(-1) as number;
  for (let round = 0; round < 20; round++) {
    for (const [id, port] of bench.ports.entries()) if (id !== silent) port.maintain();
  }
  expect(status()).toEqual([{ port: from, state: 'pausing', flows: 1, waitsFor: [silent] }]);
  laterBy(1500, () => {
    for (let i = 0; i < 300; i++) for (const [id, port] of bench.ports.entries()) if (id !== silent) port.maintain();
    expect(bench.device.unattended().map(({ port }) => port)).toEqual([silent]);
  });
  bench.ports[silent]?.maintain();
  for (let round = 0; round < 20; round++) {
    for (const [id, port] of bench.ports.entries()) if (id !== silent) port.maintain();
  }
  expect(status()).toEqual([{ port: from, state: 'unpausing', flows: 1, waitsFor: [silent] }]);
  for (let round = 0; round < 20; round++) for (const port of bench.ports) port.maintain();
  expect(status()).toEqual([]);
});

test('one that waits for its own application names its own port', () => {
  const bench = eventBench({ ports: 2, queues: [ATOMIC] });
  for (let id = 0; id < 8; id++) bench.put(0, [{ queue: 0, flow: 0, op: EVENT_OP.NEW, id }]);
  bench.flush();
  for (const id of [0, 1]) bench.get(id);
  const from = moveFlow0(bench);
  expect(bench.device.migrations()).toMatchObject([{ port: from, state: 'finishing', waitsFor: [from] }]);
});
