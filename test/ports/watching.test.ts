import { readCapture } from 'ringway/packet';
import { afterEach, expect, test, vi } from 'vitest';
import { capturePort } from '#build/ports/capture.js';
import { type CaptureFileShare, createCaptureFile, releaseCaptureFile } from '#build/ports/capture-file.js';
import { countedPort } from '#build/ports/counted.js';
import { nullPort } from '#build/ports/null.js';
import { tappedPort } from '#build/ports/tap.js';
import { tracedPort } from '#build/ports/tracer.js';
import { PortBench, ScriptedPort, type Sent, testFolder } from '../support/port-bench.ts';

let folder = testFolder();
afterEach(() => {
  vi.restoreAllMocks();
  folder.rm();
  folder = testFolder();
});

const frames = (from: number, n: number, length = 60): Sent[] =>
  Array.from({ length: n }, (_, i) => ({ frame: new Uint8Array(length).fill(from + i) }));
const firsts = (path: string): (number | undefined)[] => Array.from(readCapture(path), ({ frame }) => frame[0]);

function tapped(change: (share: CaptureFileShare) => CaptureFileShare = (share) => share) {
  const bench = new PortBench();
  const inner = new ScriptedPort(bench);
  const share = createCaptureFile(bench.setup(), 'ports.in.tap', folder.path('tap.pcap'), 'pcap');
  const port = tappedPort(bench.context, inner, change(share), bench.work);
  return {
    bench,
    inner,
    port,
    close(): unknown[] {
      port.close();
      releaseCaptureFile(bench.setup(), share);
      return [...bench.leftovers(), ...folder.open()];
    },
  };
}

test('a tap records what passed, both ways and in order, and not what the port refused', () => {
  const { bench, inner, port, close } = tapped();
  inner.incoming.push(...frames(1, 3), ...frames(4, 1, 5000));
  expect(bench.receive(port)).toHaveLength(4);
  expect(bench.send(port, frames(10, 3))).toBe(3);
  inner.room = 0;
  expect(bench.send(port, frames(20, 3))).toBe(0);
  inner.room = 1;
  expect(bench.send(port, frames(30, 2))).toBe(2);
  expect(inner.closed).toBe(0);
  expect(close()).toEqual([]);
  expect(inner.closed).toBe(1);
  expect(firsts(folder.path('tap.pcap'))).toEqual([1, 2, 3, 4, 10, 11, 12, 30, 31]);
  expect(inner.outgoing.map(({ frame }) => frame[0])).toEqual([10, 11, 12, 30, 31]);
});

test('a tap goes on over the end of its stage', () => {
  const { bench, inner, port, close } = tapped();
  for (let i = 0; i < 12; i++) {
    expect(bench.send(port, frames(i, 1, 200_000))).toBe(1);
    inner.room = i % 2;
    expect(bench.send(port, frames(100 + i, 1, 200_000))).toBe(i % 2);
    inner.room = 32;
  }
  expect(close()).toEqual([]);
  const expected = Array.from({ length: 12 }, (_, i) => (i % 2 === 0 ? [i] : [i, 100 + i])).flat();
  expect(firsts(folder.path('tap.pcap'))).toEqual(expected);
});

test('a tap that cannot write loses its records, not the port’s packets', () => {
  const { bench, inner, port, close } = tapped((share) => ({ ...share, fd: 1_000_000 }));
  inner.incoming.push(...frames(1, 8, 200_000));
  expect(bench.receive(port)).toHaveLength(8);
  expect(bench.send(port, frames(1, 2))).toBe(2);
  expect(inner.outgoing).toHaveLength(2);
  expect(bench.lost).toEqual({});
  expect(port.info()).toMatchObject({ done: false, fault: expect.stringMatching(/tap\.pcap: write failed: EBADF/) });
  expect(close()).toEqual([]);
});

test('a tracer gives a line for each packet while it is told to, with the whole frame’s bytes', () => {
  const bench = new PortBench();
  const inner = new ScriptedPort(bench);
  const lines: string[] = [];
  const { port, trace } = tracedPort(bench.arena, inner, (line) => lines.push(line));
  inner.incoming.push(...frames(1, 1));
  bench.receive(port);
  expect(lines).toEqual([]);
  trace(true);
  inner.incoming.push(...frames(1, 1), ...frames(2, 1, 9000));
  bench.receive(port);
  bench.send(port, frames(3, 1, 70));
  expect(lines.map((line) => line.split(' ').slice(0, 3).join(' '))).toEqual([
    'rx 60 bytes',
    'rx 9000 bytes',
    'tx 70 bytes',
  ]);
  trace(false);
  bench.send(port, frames(3, 1));
  expect(lines).toHaveLength(3);
  port.close();
  expect(inner.closed).toBe(1);
  expect(bench.leftovers()).toEqual([]);
});

test('a tracer gives 1,000 lines a second, and says how many it left out', () => {
  let now = 5_000;
  vi.spyOn(performance, 'now').mockImplementation(() => now);
  const bench = new PortBench();
  const inner = new ScriptedPort(bench);
  const lines: string[] = [];
  const { port, trace } = tracedPort(bench.arena, inner, (line) => lines.push(line));
  trace(true);
  for (let i = 0; i < 40; i++) bench.send(port, frames(i, 30));
  expect(lines).toHaveLength(1000);
  now += 1000;
  bench.send(port, frames(1, 2));
  expect(lines.slice(1000)).toEqual([
    '(200 packets not shown: over 1000 a second)',
    expect.stringMatching(/^tx 60/),
    expect.stringMatching(/^tx 60/),
  ]);
});

test('packets and bytes are counted as the port took them', () => {
  const bench = new PortBench();
  const inner = new ScriptedPort(bench);
  const port = countedPort(bench.arena, inner, 7, bench.counters);
  inner.incoming.push(...frames(1, 2), ...frames(3, 1, 9000));
  bench.receive(port);
  inner.room = 2;
  expect(bench.send(port, [...frames(1, 1), ...frames(2, 1, 5000), ...frames(3, 1, 3000)])).toBe(2);
  expect(bench.count()).toMatchObject({ rxPackets: 3, rxBytes: 9120, txPackets: 2, txBytes: 5060, drops: {} });
  expect(bench.leftovers()).toEqual([]);
});

test('a null port takes everything and gives nothing', () => {
  const bench = new PortBench();
  const share = bench.create(nullPort, undefined);
  expect(share).toMatchObject({ rxQueues: 0, finite: false });
  const port = bench.attach(nullPort, share);
  expect(bench.send(port, [...frames(1, 31), ...frames(1, 1, 9000)])).toBe(32);
  expect(bench.receive(port)).toEqual([]);
  expect(port.info()).toEqual({ done: false });
  port.close();
  expect(bench.leftovers()).toEqual([]);
});

test('what a port says it takes of the arena is enough', () => {
  const bench = new PortBench();
  const config = { name: 'x', speed: 'full', loop: 1, format: 'pcap', write: folder.path('x.pcap') } as const;
  const before = bench.arena.regions().reduce((sum, { bytes }) => sum + bytes, 0);
  const share = bench.create(capturePort, config);
  const after = bench.arena.regions().reduce((sum, { bytes }) => sum + bytes, 0);
  expect(after - before).toBeLessThanOrEqual(capturePort.bytes(config));
  capturePort.release?.(bench.setup(), share.data);
});
