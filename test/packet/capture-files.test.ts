import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { type CapturedFrame, CaptureWriter, linkTypeName, readCapture } from 'ringway/packet';
import { afterAll, expect, test } from 'vitest';
import { pcapFile } from './support/capture-files.ts';

const folder = mkdtempSync(join(tmpdir(), 'ringway-'));
afterAll(() => rmSync(folder, { recursive: true }));

const written = fc.record({
  frame: fc.uint8Array({ maxLength: 300 }),
  seconds: fc.integer({ min: 0, max: 0xffffffff }),
  nanoseconds: fc.integer({ min: 0, max: 999_999_999 }),
  wireLength: fc.integer({ min: 300, max: 0xffffffff }),
  interface: fc.nat(2),
});

/** Reads until the capture ends or breaks. */
function readAll(capture: string | Uint8Array): { frames: CapturedFrame[]; error: unknown } {
  const frames: CapturedFrame[] = [];
  try {
    for (const frame of readCapture(capture)) frames.push(frame);
  } catch (error) {
    return { frames, error };
  }
  return { frames, error: undefined };
}

test('pcapng: what is written is read again', () => {
  const linkTypes = [1, 101, 113];
  fc.assert(
    fc.property(fc.array(written), (list) => {
      const path = join(folder, 'a.pcapng');
      const writer = new CaptureWriter(path, { format: 'pcapng', linkTypes });
      for (const { frame, ...time } of list) writer.write(frame, time);
      writer.close();
      const expected = list.map((entry) => ({ ...entry, linkType: linkTypes[entry.interface] }));
      expect(readAll(path)).toEqual({ frames: expected, error: undefined });
    }),
  );
});

test('pcap: what is written is read again, to the precision of the file', () => {
  fc.assert(
    fc.property(fc.array(written), fc.boolean(), (list, micro) => {
      const pieces: Uint8Array[] = [];
      const writer = new CaptureWriter((bytes) => pieces.push(bytes.slice()), {
        precision: micro ? 'microseconds' : 'nanoseconds',
      });
      for (const { frame, ...time } of list) writer.write(frame, { ...time, interface: 0 });
      writer.close();
      const expected = list.map((entry) => ({
        ...entry,
        nanoseconds: micro ? Math.floor(entry.nanoseconds / 1000) * 1000 : entry.nanoseconds,
        interface: 0,
        linkType: 1,
      }));
      expect(readAll(Buffer.concat(pieces))).toEqual({ frames: expected, error: undefined });
    }),
  );
});

test('a file longer than the window is read across its seams', () => {
  const path = join(folder, 'long.pcap');
  const writer = new CaptureWriter(path);
  const sizes = Array.from({ length: 40 }, (_, i) => (i % 5 === 0 ? 262_144 : (i * 7919) % 60_000));
  for (const [i, size] of sizes.entries()) writer.write(new Uint8Array(size).fill(i), { seconds: i, nanoseconds: i });
  writer.close();
  const { frames, error } = readAll(path);
  expect(error).toBeUndefined();
  expect(frames.map(({ frame }) => frame.length)).toEqual(sizes);
  expect(frames.every(({ frame }, i) => frame.every((byte) => byte === i))).toBe(true);
});

test('a broken capture gives its frames, then an error that names the file and the place', () => {
  const file = pcapFile(true, [{ seconds: 1, fraction: 2, wireLength: 3, frame: Uint8Array.of(1, 2, 3) }]);
  const { frames, error } = readAll(Buffer.concat([file, Buffer.alloc(5)]));
  expect(frames).toHaveLength(1);
  expect(error).toMatchObject({
    code: 'BAD_CAPTURE',
    message: 'capture: at byte 43: the file ends early: 5 bytes are left, 16 needed',
  });
  expect(readAll(join(folder, 'none.pcap')).error).toMatchObject({
    code: 'SYSTEM',
    message: expect.stringMatching(/ENOENT/),
  });
  expect(readAll(folder).error).toMatchObject({ code: 'SYSTEM' });
});

test('the writer refuses what a file cannot hold', () => {
  const sink = (): void => {};
  expect(() => new CaptureWriter(sink, { linkTypes: [1, 1] })).toThrow(/one interface, not 2; use pcapng/);
  expect(() => new CaptureWriter(sink, { linkTypes: [65536] })).toThrow(/65536, must be from 0 to 65535/);
  expect(() => new CaptureWriter(sink, { format: 'pcapng', precision: 'microseconds' })).toThrow(
    /always .*nanoseconds/,
  );
  expect(() => new CaptureWriter(join(folder, 'no/such/folder'))).toThrow(/cannot be created/);
  const writer = new CaptureWriter(sink);
  expect(() => writer.write(new Uint8Array(262_145), { seconds: 0, nanoseconds: 0 })).toThrow(/over 262144/);
  expect(() => writer.write(new Uint8Array(1), { seconds: -1, nanoseconds: 0 })).toThrow(/out of range/);
  expect(() => writer.write(new Uint8Array(1), { seconds: 0, nanoseconds: 1e9 })).toThrow(/out of range/);
  expect(() => writer.write(new Uint8Array(1), { seconds: 0, nanoseconds: 0, interface: 1 })).toThrow(
    /interface 1 of 1/,
  );
});

test('link types have names', () => {
  expect([1, 101, 9999].map(linkTypeName)).toEqual(['LINKTYPE_ETHERNET (1)', 'LINKTYPE_RAW (101)', 'link type 9999']);
});
