import { expect, test } from 'vitest';
import { GRO_BYTES } from '#build/packet/layout.js';
import { groPort } from '#build/ports/gro.js';
import { type FlowSpec, Sender } from '../packet/support/gro-model.ts';
import { PortBench, ScriptedPort } from '../support/port-bench.ts';

const FLOW: FlowSpec = {
  tags: [],
  family: 4,
  extensions: [],
  options: 3,
  seed: 0,
  sequence: 9,
  identification: 7,
  size: 20,
};

function rig() {
  const bench = new PortBench();
  const inner = new ScriptedPort(bench);
  const area = bench.arena.allocate('gro', GRO_BYTES);
  const port = groPort(bench.context, inner, { counters: bench.counters, area, scratch: bench.scratch });
  return { bench, inner, port };
}

/** The next `n` segments of each of `flows` flows, in turn. */
function inTurn(flows: number, n: number): { frame: Uint8Array }[] {
  const senders = Array.from({ length: flows }, (_, seed) => new Sender({ ...FLOW, seed }));
  return Array.from({ length: n }, () => senders.map((sender) => sender.next(''))).flat();
}

test('segments wait while bursts are full, and for nothing when the port has no more', () => {
  const { bench, inner, port } = rig();
  inner.incoming.push(...inTurn(2, 35));
  const packets = bench.receive(port);
  // 35 segments of 20 bytes behind 66 of headers, of each flow.
  expect(packets.map(({ frame }) => frame.length)).toEqual([766, 766]);
  expect(bench.count().merged).toBe(68);
  expect(port.info()).toEqual({ done: false, pending: 0 });
  expect(bench.receive(port)).toEqual([]);
  expect(bench.leftovers()).toEqual([]);
});

test('a call takes four bursts at most, and gives one packet for them at least', () => {
  const { bench, inner, port } = rig();
  inner.incoming.push(...inTurn(64, 10));
  const packets = bench.receive(port);
  expect(inner.incoming).toHaveLength(640 - 128);
  expect(packets).toHaveLength(1);
  expect(port.info().pending).toBe(63);
  expect(bench.count().merged).toBe(64);
  const all = bench.receiveAll(port, 1);
  expect(packets.length + all.length + (bench.count().merged ?? 0)).toBe(640);
  expect(bench.leftovers()).toEqual([]);
});

test('what is ready goes out before more is taken', () => {
  const { bench, inner, port } = rig();
  inner.incoming.push(...inTurn(39, 1));
  expect(bench.receive(port, 10)).toHaveLength(10);
  inner.incoming.push(...inTurn(5, 1));
  expect(bench.receive(port, 30)).toHaveLength(29);
  expect(inner.incoming).toHaveLength(5);
  expect(bench.receiveAll(port, 1)).toHaveLength(5);
  expect(bench.leftovers()).toEqual([]);
});

test('what is held when the port closes is dropped and counted', () => {
  const { bench, inner, port } = rig();
  inner.incoming.push(...inTurn(64, 10));
  bench.receive(port);
  port.close();
  expect(inner.closed).toBe(1);
  expect(bench.count().drops).toEqual({ stopped: 63 });
  expect(bench.leftovers()).toEqual([]);
});
