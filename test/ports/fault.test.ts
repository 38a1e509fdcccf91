import fc from 'fast-check';
import { expect, test } from 'vitest';
import { countedPort } from '#build/ports/counted.js';
import { type FaultSettings, faultyPort } from '#build/ports/fault.js';
import type { Port } from '#build/ports/port.js';
import { setRequest } from '../packet/support/offload-rig.ts';
import { effort } from '../support/effort.ts';
import { PortBench, ScriptedPort, type Sent } from '../support/port-bench.ts';

const NONE: FaultSettings = { loss: 0, duplicate: 0, reorder: 0, corrupt: 0, delay: 0, seed: 1 };

function faulty(settings: Partial<FaultSettings>) {
  const bench = new PortBench();
  const inner = new ScriptedPort(bench);
  const { counters, scratch } = bench;
  const counted = countedPort(bench.arena, inner, 0, counters);
  const port = faultyPort(bench.context, counted, { counters, scratch, settings: { ...NONE, ...settings } });
  return { bench, inner, port };
}

/** Frames that carry their number, 64 bytes each. */
function numbered(from: number, n: number): Sent[] {
  return Array.from({ length: n }, (_, i) => {
    const frame = new Uint8Array(64);
    new DataView(frame.buffer).setUint32(0, from + i);
    return { frame };
  });
}

const numberOf = ({ frame }: Sent): number => Buffer.from(frame).readUInt32BE(0);

/** Passes `total` numbered packets through `port` in bursts, `stepNs` apart. Returns what came out. */
function pass(
  parts: ReturnType<typeof faulty>,
  direction: 'rx' | 'tx',
  total: number,
  burst = 32,
  stepNs = 1000,
): Sent[] {
  const { bench, inner, port } = parts;
  const out: Sent[] = [];
  let now = 0;
  for (let i = 0; i < total; i += burst) {
    now += stepNs;
    bench.setTime(now);
    const packets = numbered(i, Math.min(burst, total - i));
    if (direction === 'rx') inner.incoming.push(...packets);
    else expect(bench.send(port, packets)).toBe(packets.length);
    out.push(...bench.receive(port));
  }
  bench.setTime(now + 2e9);
  for (let i = 0; i < 300; i++) out.push(...bench.receive(port));
  expect(port.info().pending).toBe(0);
  return direction === 'rx' ? out : inner.outgoing;
}

const TOTAL = 20_000;
/** Five standard deviations of what a fault of probability `p` does to so many packets. */
const bound = (p: number): number => 5 * Math.sqrt(TOTAL * p * (1 - p));

test.each(['rx', 'tx'] as const)(
  '%s: loss and duplicates come as often as they should, and are counted',
  (direction) => {
    const parts = faulty({ loss: 0.1, duplicate: 0.05 });
    const out = pass(parts, direction, TOTAL);
    const { rxPackets, txPackets, copies, drops } = parts.bench.count();
    const lost = drops.fault ?? 0;
    expect(Math.abs(lost - TOTAL * 0.1)).toBeLessThan(bound(0.1));
    expect(Math.abs(copies - (TOTAL - lost) * 0.05)).toBeLessThan(bound(0.05));
    expect(out.length).toBe(TOTAL - lost + copies);
    expect(new Set(out.map(numberOf)).size).toBe(TOTAL - lost);
    expect(direction === 'rx' ? rxPackets : txPackets).toBe(direction === 'rx' ? TOTAL : out.length);
    expect(parts.bench.leftovers()).toEqual([]);
  },
);

test('corruption flips one bit of a frame, as often as it should', () => {
  const parts = faulty({ corrupt: 0.02 });
  const out = pass(parts, 'rx', TOTAL);
  let flipped = 0;
  for (const [i, { frame }] of out.entries()) {
    const expected = numbered(i, 1)[0]?.frame as Uint8Array;
    const bits = frame.reduce(
      (sum, byte, at) => sum + (byte ^ (expected[at] ?? 0)).toString(2).replaceAll('0', '').length,
      0,
    );
    if (bits > 1) throw new Error(`${bits} bits of frame ${i} flipped`);
    flipped += bits;
  }
  expect(Math.abs(flipped - TOTAL * 0.02)).toBeLessThan(bound(0.02));
  expect(parts.bench.leftovers()).toEqual([]);
});

test('corruption spares what still asks for a checksum, which would hide it', () => {
  const { bench, inner, port } = faulty({ corrupt: 1 });
  const frame = new Uint8Array(64).fill(7);
  const slots = bench.arena.allocate('asking', 512);
  bench.make(slots, [{ frame }, { frame }]);
  setRequest(bench.arena, slots, { flags: 1, type: 0, headerLength: 0, size: 0, start: 34, offset: 16 });
  port.txBurst(slots, 2);
  expect(inner.outgoing.map((packet) => Buffer.compare(packet.frame, frame) === 0)).toEqual([true, false]);
  expect(bench.leftovers()).toEqual([]);
});

test('corruption spares a buffer that others hold too', () => {
  const { bench, inner, port } = faulty({ corrupt: 1 });
  const frame = new Uint8Array(64).fill(0x55);
  for (let i = 0; i < 100; i++) expect(bench.sendShared(port, frame)).toEqual(frame);
  expect(inner.outgoing.every((packet) => Buffer.compare(packet.frame, frame) === 0)).toBe(true);
  bench.send(port, [{ frame }]);
  expect(inner.outgoing.at(-1)?.frame).not.toEqual(frame);
  expect(bench.leftovers()).toEqual([]);
});

test.each([
  ['rx', 1],
  ['rx', 32],
  ['tx', 1],
  ['tx', 7],
] as const)('%s in bursts of %i: a packet that is reordered is overtaken by up to eight', (direction, burst) => {
  const parts = faulty({ reorder: 0.05 });
  const out = pass(parts, direction, 5000, burst).map(numberOf);
  expect([...out].sort((a, b) => a - b)).toEqual(Array.from({ length: 5000 }, (_, i) => i));
  const overtaken = out.filter((number, at) => out.slice(at - Math.min(at, 8), at).some((before) => before > number));
  const n = overtaken.length;
  // Those that wait together, or behind the last packet, keep their order.
  expect(n).toBeGreaterThan(5000 * 0.035);
  expect(n).toBeLessThan(5000 * 0.065);
  for (const [at, number] of out.entries()) expect(Math.abs(at - number)).toBeLessThanOrEqual(24);
  expect(parts.bench.leftovers()).toEqual([]);
});

test('the last packet does not wait for ever to be overtaken', () => {
  const { bench, inner, port } = faulty({ reorder: 1 });
  inner.incoming.push(...numbered(0, 1));
  expect(bench.receive(port)).toEqual([]);
  bench.setTime(900_000);
  expect(bench.receive(port)).toEqual([]);
  bench.setTime(1_100_000);
  expect(bench.receive(port)).toHaveLength(1);
});

test.each(['rx', 'tx'] as const)('%s: a delay holds each packet for its time, in virtual time', (direction) => {
  const { bench, inner, port } = faulty({ delay: 0.01 });
  const seen: number[] = [];
  for (let ms = 0; ms <= 30; ms++) {
    bench.setTime(ms * 1e6);
    if (ms <= 10) {
      if (direction === 'rx') inner.incoming.push(...numbered(ms, 1));
      else bench.send(port, numbered(ms, 1));
    }
    const before = inner.outgoing.length;
    const got = bench.receive(port).length;
    const n = direction === 'rx' ? got : inner.outgoing.length - before;
    if (ms <= 10 && direction === 'tx') seen.push(...inner.outgoing.slice(seen.length).map(() => ms));
    else for (let i = 0; i < n; i++) seen.push(ms);
  }
  expect(seen).toHaveLength(11);
  // The clock is read in seconds since 1970, which keep some 200 ns.
  for (const [i, ms] of seen.entries()) expect(Math.abs(ms - (i + 10))).toBeLessThanOrEqual(1);
});

test('without faults a burst passes as it is, and faults can be turned on and off while it runs', () => {
  const { bench, inner, port } = faulty({});
  inner.incoming.push(...numbered(0, 3));
  expect(bench.receive(port).map(numberOf)).toEqual([0, 1, 2]);
  port.set?.('fault', { loss: 1 });
  inner.incoming.push(...numbered(3, 2));
  expect(bench.receive(port)).toEqual([]);
  port.set?.('fault', { loss: 0, delay: 1 });
  inner.incoming.push(...numbered(5, 2));
  expect(bench.receive(port)).toEqual([]);
  expect(port.info()).toEqual({ done: false, pending: 2 });
  port.set?.('fault', { delay: 0 });
  bench.setTime(2e9);
  inner.incoming.push(...numbered(7, 2));
  expect(bench.receive(port).map(numberOf)).toEqual([5, 6, 7, 8]);
  expect(bench.count().drops).toEqual({ fault: 2 });
});

test('a source that is done is not, as long as the line holds some of its packets', () => {
  const bench = new PortBench();
  const inner = Object.assign(new ScriptedPort(bench), { info: () => ({ done: true }) });
  const { counters, scratch } = bench;
  const port = faultyPort(bench.context, inner, { counters, scratch, settings: { ...NONE, delay: 1 } });
  inner.incoming.push(...numbered(0, 1));
  bench.receive(port);
  expect(port.info()).toEqual({ done: false, pending: 1 });
  bench.setTime(2e9);
  bench.receive(port);
  expect(port.info()).toEqual({ done: true, pending: 0 });
});

test('the same seed makes the same faults', () => {
  const run = (seed: number): number[] =>
    pass(faulty({ loss: 0.1, duplicate: 0.1, reorder: 0.1, seed }), 'rx', 2000).map(numberOf);
  expect(run(3)).toEqual(run(3));
  expect(run(3)).not.toEqual(run(4));
});

const probability = fc.constantFrom(0, 0, 0.01, 0.3, 1);
const operation = fc.oneof(
  fc.record({
    kind: fc.constant('rx' as const),
    n: fc.integer({ min: 0, max: 40 }),
    max: fc.integer({ min: 1, max: 32 }),
  }),
  fc.record({ kind: fc.constant('tx' as const), n: fc.integer({ min: 1, max: 32 }) }),
  fc.record({ kind: fc.constant('room' as const), n: fc.nat(32) }),
  fc.record({ kind: fc.constant('wait' as const), ns: fc.nat(20_000_000) }),
);

test('whatever happens, what came in went out, was counted as dropped, or is back in the pool', () => {
  const settings = fc.record({
    loss: probability,
    duplicate: probability,
    reorder: probability,
    corrupt: probability,
    delay: fc.constantFrom(0, 0.001, 0.05),
    seed: fc.nat(),
  });
  fc.assert(
    fc.property(settings, fc.array(operation, { maxLength: 60 }), (chosen, operations) => {
      const parts = faulty(chosen);
      const { bench, inner } = parts;
      const port: Port = parts.port;
      let [now, received, sent] = [0, 0, 0];
      for (const step of operations) {
        if (step.kind === 'rx') {
          inner.incoming.push(...numbered(0, step.n));
          received += bench.receive(port, step.max).length;
        } else if (step.kind === 'tx') sent += bench.send(port, numbered(0, step.n));
        else if (step.kind === 'room') inner.room = step.n;
        else now += step.ns;
        bench.setTime(now);
      }
      port.close();
      expect(inner.closed).toBe(1);
      const { rxPackets, txPackets, copies, drops } = bench.count();
      const dropped = (drops.fault ?? 0) + (drops.stopped ?? 0);
      expect(txPackets).toBe(inner.outgoing.length);
      expect(rxPackets + sent + copies).toBe(received + txPackets + dropped);
      expect(bench.leftovers()).toEqual([]);
    }),
    { numRuns: effort(30, 100) },
  );
});
