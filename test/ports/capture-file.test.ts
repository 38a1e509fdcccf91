import { closeSync, mkdirSync, openSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import fc from 'fast-check';
import { readCapture } from 'ringway/packet';
import { afterAll, expect, test } from 'vitest';
import { type CaptureConfig, capturePort } from '#build/ports/capture.js';
import type { CaptureFileShare } from '#build/ports/capture-file.js';
import { PortBench, type Sent, START_SECONDS, testFolder } from '../support/port-bench.ts';

const folder = testFolder();
afterAll(folder.rm);

const BASE: CaptureConfig = { name: 'out', speed: 'full', loop: 1, format: 'pcap' };

/** Opens a capture to record to; `fd` takes the place of its descriptor. */
function record(write: string, { fd, ...config }: Partial<CaptureConfig> & { fd?: number } = {}) {
  const bench = new PortBench();
  const share = bench.create(capturePort, { ...BASE, write, ...config });
  const { file } = share.data as { file: CaptureFileShare };
  const data = fd === undefined ? share.data : { file: { ...file, fd } };
  return {
    bench,
    share,
    port: bench.attach(capturePort, { ...share, data }),
    release: () => {
      capturePort.release?.(bench.setup(), share.data);
      return [...bench.leftovers(), ...folder.open()];
    },
  };
}

const packet = fc.record(
  {
    frame: fc.oneof(
      fc.uint8Array({ minLength: 1, maxLength: 200 }),
      fc.integer({ min: 1, max: 20_000 }).map((length) => new Uint8Array(length).fill(length)),
    ),
    time: fc.record({
      seconds: fc.integer({ min: 0, max: 0xffffffff }),
      nanoseconds: fc.nat(999_999_999),
      wireLength: fc.integer({ min: 0, max: 100_000 }),
    }),
  },
  { requiredKeys: ['frame'] },
);

test.each(['pcap', 'pcapng'] as const)(
  '%s: what is sent is read again, with its own times or the clock’s',
  (format) => {
    const path = folder.path(`round.${format}`);
    fc.assert(
      fc.property(fc.array(fc.array(packet, { minLength: 1, maxLength: 32 }), { maxLength: 4 }), (bursts) => {
        const { bench, port, release } = record(path, { format });
        for (const [i, burst] of bursts.entries()) {
          bench.setTime(i * 1_500_000_001);
          expect(bench.send(port, burst as Sent[])).toBe(burst.length);
        }
        port.close();
        const expected = bursts.flatMap((burst, i) =>
          burst.map(({ frame, time }) => ({
            frame: Buffer.from(frame).toString('latin1'),
            ...(time ?? {
              seconds: START_SECONDS + Math.floor((i * 1_500_000_001) / 1e9),
              nanoseconds: (i * 1_500_000_001) % 1e9,
            }),
            wireLength: Math.max(frame.length, time?.wireLength ?? 0),
          })),
        );
        const got = Array.from(readCapture(path), ({ frame, seconds, nanoseconds, wireLength }) => ({
          frame: Buffer.from(frame).toString('latin1'),
          seconds,
          nanoseconds,
          wireLength,
        }));
        expect(got).toEqual(expected);
        expect(release()).toEqual([]);
      }),
      { numRuns: 30 },
    );
  },
);

test('more than the stage holds is written in pieces, whole records each', () => {
  const path = folder.path('pieces.pcap');
  const { bench, port, release } = record(path);
  for (let i = 0; i < 40; i++) bench.send(port, [{ frame: new Uint8Array(100_000).fill(i) }]);
  expect(Array.from(readCapture(path), ({ frame }) => frame[0])).toEqual(Array.from({ length: 30 }, (_, i) => i));
  port.close();
  expect(Array.from(readCapture(path), ({ frame }) => frame[0])).toEqual(Array.from({ length: 40 }, (_, i) => i));
  expect(release()).toEqual([]);
});

test('a full disk loses what was gathered and all that comes later, counts it, and says so', () => {
  const path = folder.path('full.pcap');
  const fd = openSync('/dev/full', 'w');
  const { bench, port, release } = record(path, { fd });
  bench.send(port, [{ frame: new Uint8Array(60) }, { frame: new Uint8Array(60) }]);
  expect(port.info()).toEqual({ done: false });
  for (let i = 0; i < 11; i++) bench.send(port, [{ frame: new Uint8Array(100_000) }]);
  expect(bench.lost).toEqual({ 'tx-error': 13 });
  expect(bench.send(port, [{ frame: new Uint8Array(60) }])).toBe(1);
  expect(bench.lost).toEqual({ 'tx-error': 14 });
  expect(port.info()).toEqual({
    done: false,
    fault: `${path}: write failed: ENOSPC: no space left on device, write; 14 packets behind byte 24 are lost`,
  });
  port.close();
  expect(bench.lost).toEqual({ 'tx-error': 14 });
  closeSync(fd);
  expect(release()).toEqual([]);
  expect(statSync(path).size).toBe(24);
});

test('an output that vanishes is a fault, and the port goes on taking packets', () => {
  const path = folder.path('vanishes.pcapng');
  const { bench, port, release } = record(path, { format: 'pcapng', fd: 1_000_000 });
  bench.send(port, [{ frame: new Uint8Array(60) }]);
  port.close();
  expect(bench.lost).toEqual({ 'tx-error': 1 });
  expect(port.info().fault).toMatch(/vanishes\.pcapng: write failed: EBADF: .*; 1 packets behind byte 60 are lost/);
  expect(release()).toEqual([]);
});

test('missing folders are made, and a file that is there is replaced', () => {
  const path = folder.path('a/b/c.pcap');
  for (const n of [3, 1]) {
    const { bench, port, release } = record(path);
    bench.send(
      port,
      Array.from({ length: n }, () => ({ frame: new Uint8Array(60) })),
    );
    port.close();
    expect(release()).toEqual([]);
    expect([...readCapture(path)]).toHaveLength(n);
  }
  expect(readFileSync(path).length).toBe(24 + 76);
});

test('what cannot be written is refused by name', () => {
  const bench = new PortBench();
  const before = bench.arena.regions();
  mkdirSync(folder.path('taken'));
  writeFileSync(folder.path('file'), '');
  for (const [write, reason] of [
    [folder.path('taken'), /^ports\.out\.write: .*taken cannot be written: EISDIR/],
    ['/dev/full', /^ports\.out\.write: \/dev\/full cannot be written: ENOSPC/],
    [folder.path('file/x.pcap'), /^ports\.out\.write: .*file\/x\.pcap cannot be written: (ENOTDIR|EEXIST)/],
  ] as const) {
    expect(() => bench.create(capturePort, { ...BASE, write })).toThrow(reason);
  }
  expect(bench.arena.regions()).toEqual(before);
  expect(folder.open()).toEqual([]);
});

test('a capture without a file to record to takes everything and drops it', () => {
  const bench = new PortBench();
  const port = bench.attach(capturePort, { data: {}, rxQueues: 0, pausable: true, finite: false });
  expect(bench.send(port, [{ frame: new Uint8Array(60) }])).toBe(1);
  expect(bench.receive(port)).toEqual([]);
  expect(port.info()).toEqual({ done: false });
  port.close();
  expect(bench.leftovers()).toEqual([]);
});
