import { mkdirSync, truncateSync, writeFileSync } from 'node:fs';
import { RingwayError } from 'ringway/memory';
import { type CapturedFrame, CaptureWriter, type CaptureWriterOptions, readCapture } from 'ringway/packet';
import { afterAll, expect, test } from 'vitest';
import { type CaptureConfig, capturePort } from '#build/ports/capture.js';
import type { Port } from '#build/ports/port.js';
import { concat, enhancedBlock, interfaceBlock, pcapFile, section } from '../packet/support/capture-files.ts';
import { type Packet, PortBench, testFolder } from '../support/port-bench.ts';

const folder = testFolder();
afterAll(folder.rm);

const BASE: CaptureConfig = { name: 'in', speed: 'full', loop: 1, format: 'pcap' };

/** Opens a replay of `path`. `close` gives everything back and returns what is left over. */
function replay(path: string, config: Partial<CaptureConfig> = {}, bench = new PortBench()) {
  const share = bench.create(capturePort, { ...BASE, path, ...config });
  const port = bench.attach(capturePort, share);
  return {
    bench,
    share,
    port,
    close(): unknown[] {
      port.close();
      capturePort.release?.(bench.setup(), share.data);
      return [...bench.leftovers(), ...folder.open(), ...bench.arena.regions().filter(({ name }) => /port/.test(name))];
    },
  };
}

function write(name: string, frames: readonly Partial<CapturedFrame>[], options: CaptureWriterOptions = {}): string {
  const writer = new CaptureWriter(folder.path(name), options);
  for (const { frame = new Uint8Array(60), ...time } of frames)
    writer.write(frame, { seconds: 0, nanoseconds: 0, ...time });
  writer.close();
  return folder.path(name);
}

/** Where the last region ends. */
function topOf({ arena }: PortBench): number {
  return arena.regions().reduce((top, { address, bytes }) => Math.max(top, address + bytes), 0);
}

const frame = (length: number, fill: number): Uint8Array => new Uint8Array(length).fill(fill);

function asCaptured({ frame, time }: Packet) {
  return { frame, ...time };
}

/** Times in virtual nanoseconds at which `port` gave each packet, looked at every `stepNs`. */
function arrivals(bench: PortBench, port: Port, stepNs: number, untilNs: number): number[] {
  const at: number[] = [];
  for (let now = 0; now <= untilNs; now += stepNs) {
    bench.setTime(now);
    for (const _ of bench.receiveAll(port, 1)) at.push(now);
  }
  return at;
}

test('a file larger than the window comes out byte for byte, frames of 256 KiB and their times included', () => {
  const sizes = Array.from({ length: 60 }, (_, i) => (i % 6 === 0 ? 262_144 : 14 + ((i * 7919) % 9000)));
  for (const format of ['pcap', 'pcapng'] as const) {
    const frames = sizes.map((size, i) => ({
      frame: frame(size, i),
      seconds: 5 + i,
      nanoseconds: i * 1001,
      wireLength: size + i,
    }));
    const path = write(`long.${format}`, frames, { format });
    const { bench, port, close } = replay(path);
    const got = bench.receiveAll(port).map(asCaptured);
    // Compared as buffers: element by element takes seconds.
    expect(got.map((packet, i) => Buffer.compare(packet.frame, frames[i]?.frame ?? new Uint8Array()))).toEqual(
      sizes.map(() => 0),
    );
    expect(got.map(({ frame: _, ...time }) => time)).toEqual(frames.map(({ frame: _, ...time }) => time));
    expect(port.info()).toEqual({ done: true, progress: 1 });
    expect(close()).toEqual([]);
  }
});

test('many small records go across the seams of what is read at once', () => {
  const frames = Array.from({ length: 30_000 }, (_, i) => ({
    frame: frame(60 + (i % 23), i),
    seconds: i,
    nanoseconds: 0,
  }));
  const { bench, port, close } = replay(write('many.pcap', frames));
  let next = 0;
  for (let burst = bench.receive(port); burst.length > 0; burst = bench.receive(port)) {
    for (const packet of burst) {
      const expected = frames[next++];
      if (packet.frame.length !== expected?.frame.length || packet.frame[0] !== expected.frame[0]) {
        throw new Error(`frame ${next - 1} differs`);
      }
    }
  }
  expect(next).toBe(30_000);
  expect(close()).toEqual([]);
});

test('a replay loops, forever with a limit, and ends at a limit', () => {
  const path = write(
    'three.pcap',
    [1, 2, 3].map((i) => ({ frame: frame(60, i) })),
  );
  const fills = (config: Partial<CaptureConfig>) => {
    const { bench, port, share, close } = replay(path, config);
    const got = bench.receiveAll(port).map((packet) => packet.frame[0]);
    expect(port.info()).toEqual({ done: true, progress: 1 });
    expect(share.finite).toBe(true);
    expect(close()).toEqual([]);
    return got;
  };
  expect(fills({ loop: 2 })).toEqual([1, 2, 3, 1, 2, 3]);
  expect(fills({ limit: 2 })).toEqual([1, 2]);
  expect(fills({ loop: 0, limit: 7 })).toEqual([1, 2, 3, 1, 2, 3, 1]);
  expect(fills({ loop: 3, limit: 100 })).toHaveLength(9);
});

test('a replay without an end is never done', () => {
  const { bench, port, share, close } = replay(write('one.pcap', [{}]), { loop: 0 });
  for (let i = 0; i < 500; i++) expect(bench.receive(port)).toHaveLength(1);
  expect(port.info()).toEqual({ done: false });
  expect(share.finite).toBe(false);
  expect(close()).toEqual([]);
});

test.each([
  ['recorded', 1],
  [4, 4],
  [0.5, 0.5],
] as const)('at speed %s packets come when their times say', (speed, factor) => {
  const offsets = [0, 0, 0.25, 1, 1, 3];
  const times = offsets.map((at) => ({ seconds: 100 + Math.floor(at), nanoseconds: (at % 1) * 1e9 }));
  const { bench, port, close } = replay(write('timed.pcap', times), { speed });
  const step = 0.125e9;
  const expected = offsets.map((at) => Math.ceil((at * 1e9) / factor / step) * step);
  expect(arrivals(bench, port, step, 8e9)).toEqual(expected);
  expect(close()).toEqual([]);
});

test('each pass of a loop is timed anew, a time that runs backwards is due at once, and the speed can be changed', () => {
  const path = write('back.pcap', [{ seconds: 10 }, { seconds: 12 }, { seconds: 11 }]);
  const { bench, port, close } = replay(path, { speed: 'recorded', loop: 2 });
  expect(arrivals(bench, port, 1e9, 6e9)).toEqual([0, 2e9, 2e9, 2e9, 4e9, 4e9]);
  expect(close()).toEqual([]);
  const changed = replay(path, { speed: 'recorded', loop: 0 });
  expect(changed.bench.receive(changed.port)).toHaveLength(1);
  changed.port.set?.('speed', 'full');
  expect(changed.bench.receive(changed.port)).toHaveLength(2);
  expect(() => changed.port.set?.('rate', 1)).toThrow(/rate cannot be changed while it runs/);
  expect(changed.close()).toEqual([]);
});

test('of several link types only Ethernet frames come out, the others are refused and counted', () => {
  const parts = [section(true), interfaceBlock(true, { linkType: 101 }), interfaceBlock(true)];
  for (let i = 0; i < 600; i++) parts.push(enhancedBlock(true, i % 3 === 1 ? 1 : 0, BigInt(i), frame(60, i)));
  const path = folder.path('mixed.pcapng');
  writeFileSync(path, concat(...parts));
  const { bench, port, close } = replay(path, { loop: 2 });
  expect(bench.receiveAll(port, 30)).toHaveLength(400);
  expect(bench.refused).toEqual({ 'link-type': 800 });
  expect(port.info()).toEqual({ done: true, progress: 1 });
  expect(close()).toEqual([]);
});

test('an interface for Ethernet may be described behind frames of another', () => {
  const path = folder.path('late.pcapng');
  const raw = [section(true), interfaceBlock(true, { linkType: 101 }), enhancedBlock(true, 0, 1n, frame(60, 1))];
  writeFileSync(path, concat(...raw, interfaceBlock(true), enhancedBlock(true, 1, 2n, frame(60, 2))));
  const { bench, port, close } = replay(path);
  expect(bench.receiveAll(port).map((packet) => packet.frame[0])).toEqual([2]);
  expect(close()).toEqual([]);
});

test('a file broken anywhere gives what precedes the break, and says where and why', () => {
  const whole = pcapFile(
    true,
    [20, 0, 60].map((size, i) => ({ seconds: i, fraction: 0, wireLength: size, frame: frame(size, i + 1) })),
  );
  const ng = concat(
    section(true),
    interfaceBlock(true),
    ...[20, 60].map((size, i) => enhancedBlock(true, 0, BigInt(i), frame(size, i + 1))),
  );
  const path = folder.path('cut');
  const bench = new PortBench();
  for (const file of [whole, ng]) {
    for (let cut = 0; cut < file.length; cut++) {
      writeFileSync(path, file.subarray(0, cut));
      const frames: Uint8Array[] = [];
      let broken: string | undefined;
      try {
        for (const { frame } of readCapture(path)) frames.push(frame);
      } catch (error) {
        broken = (error as Error).message;
      }
      let opened: ReturnType<typeof replay>;
      try {
        opened = replay(path, {}, bench);
      } catch (error) {
        // So little of it is there that it is refused at once.
        expect(frames).toEqual([]);
        expect(error).toMatchObject({ code: 'BAD_CAPTURE', message: `ports.in.path: ${broken}` });
        continue;
      }
      const { port, close } = opened;
      expect(bench.receiveAll(port).map((packet) => packet.frame)).toEqual(frames);
      expect(port.info()).toEqual({ done: true, progress: 1, ...(broken === undefined ? {} : { fault: broken }) });
      if (broken !== undefined) expect(broken).toMatch(/cut: at byte \d+: /);
      expect(close()).toEqual([]);
    }
  }
  expect(folder.open()).toEqual([]);
}, 30_000);

test('a break is met once, however often the file was to be replayed', () => {
  const path = folder.path('garbled.pcap');
  const file = pcapFile(
    true,
    [1, 2].map((i) => ({ seconds: i, fraction: 0, wireLength: 60, frame: frame(60, i) })),
  );
  // The length of the second record.
  file.fill(0xff, 24 + 76 + 8, 24 + 76 + 12);
  writeFileSync(path, file);
  const { bench, port, close } = replay(path, { loop: 0 });
  expect(bench.receiveAll(port)).toHaveLength(1);
  expect(port.info()).toMatchObject({ done: true, fault: expect.stringMatching(/garbled\.pcap: at byte 100: /) });
  expect(close()).toEqual([]);
});

test('a capture without frames is done at once', () => {
  const { bench, port, close } = replay(write('none.pcap', []), { loop: 0 });
  expect(bench.receiveAll(port)).toEqual([]);
  expect(port.info()).toMatchObject({ done: true });
  expect(close()).toEqual([]);
});

test('a file that shrinks while it is replayed ends where it ends now', () => {
  const path = write(
    'shrinks.pcap',
    Array.from({ length: 40 }, (_, i) => ({ frame: frame(60_000, i) })),
  );
  const { bench, port, close } = replay(path);
  expect(bench.receive(port, 4)).toHaveLength(4);
  truncateSync(path, 24 + 60_016 * 30 + 100);
  expect(bench.receiveAll(port)).toHaveLength(26);
  expect(port.info()).toMatchObject({
    done: true,
    fault: expect.stringMatching(/at byte 1800504: the file ends early/),
  });
  expect(close()).toEqual([]);
});

test('what cannot be replayed is refused by name, and nothing stays open or allocated', () => {
  const bench = new PortBench();
  mkdirSync(folder.path('folder.pcap'));
  writeFileSync(folder.path('empty.pcap'), '');
  writeFileSync(folder.path('text.pcap'), 'no capture at all');
  writeFileSync(folder.path('zipped.pcap'), Uint8Array.of(0x1f, 0x8b, 8, 0));
  write('raw.pcap', [{}], { linkTypes: [101] });
  const cases: [string, string, RegExp][] = [
    ['missing.pcap', 'SYSTEM', /cannot be read: ENOENT/],
    ['folder.pcap', 'SYSTEM', /cannot be read: EISDIR/],
    ['empty.pcap', 'BAD_CAPTURE', /at byte 0: the file is empty/],
    ['text.pcap', 'BAD_CAPTURE', /starts neither a pcap nor a pcapng file/],
    ['zipped.pcap', 'BAD_CAPTURE', /it is compressed, use gunzip first/],
    ['raw.pcap', 'BAD_CAPTURE', /LINKTYPE_RAW \(101\); only Ethernet frames can be replayed/],
  ];
  const before = bench.arena.regions();
  for (const [name, code, reason] of cases) {
    let refusal: unknown;
    try {
      bench.create(capturePort, { ...BASE, path: folder.path(name) });
    } catch (error) {
      refusal = error;
    }
    expect(refusal).toBeInstanceOf(RingwayError);
    expect(refusal).toMatchObject({ code, message: expect.stringMatching(reason) });
    expect((refusal as Error).message).toContain(`ports.in.path: ${folder.path(name)}`);
  }
  expect(bench.arena.regions()).toEqual(before);
  expect(folder.open()).toEqual([]);
});

test('an arena that is full, or an output that cannot be made, leaves nothing behind', () => {
  const path = write('fine.pcap', [{}]);
  mkdirSync(folder.path('folder'));
  const bench = new PortBench();
  const regions = bench.arena.regions();
  const both = { ...BASE, path, write: folder.path('folder') };
  expect(() => bench.create(capturePort, both)).toThrow(/ports\.in\.write: .*EISDIR/);
  expect(() => bench.create(capturePort, { ...BASE, write: '/dev/full' })).toThrow(/ports\.in\.write: .*ENOSPC/);
  expect(bench.arena.regions()).toEqual(regions);
  // Room for one of the two.
  bench.arena.allocate('all but two megabytes', bench.arena.bytes - topOf(bench) - (2 << 20));
  const full = bench.arena.regions();
  expect(() => bench.create(capturePort, { ...BASE, path })).toThrow(/port in replay needs .* finds no gap/);
  const small = bench.create(capturePort, { ...BASE, write: folder.path('w.pcap') });
  expect(() => capturePort.create(bench.setup('port b'), { ...BASE, write: folder.path('v.pcap') })).toThrow(
    /port b write needs .* finds no gap/,
  );
  capturePort.release?.(bench.setup(), small.data);
  expect(bench.arena.regions()).toEqual(full);
  expect(folder.open()).toEqual([]);
});

test('a pool that is empty makes the replay wait, and loses nothing', () => {
  const sizes = [60, 9000, 200_000, 60];
  const path = write(
    'waits.pcap',
    sizes.map((size, i) => ({ frame: frame(size, i) })),
  );
  const bench = new PortBench(128);
  const hold = bench.arena.allocate('hold', 128 * 16);
  const { cache } = bench.context;
  const held = bench.kernels.poolAlloc(cache, hold, 126);
  const { port, close } = replay(path, {}, bench);
  expect(bench.receive(port).map((packet) => packet.frame.length)).toEqual([60]);
  expect(bench.receive(port)).toEqual([]);
  bench.kernels.poolFree(cache, hold, held);
  expect(bench.receiveAll(port).map((packet) => packet.frame.length)).toEqual(sizes.slice(1));
  expect(close()).toEqual([]);
});
