import fc from 'fast-check';
import { expect, test } from 'vitest';
import { TickClock } from '#build/packet/capture-time.js';
import {
  Bytes,
  block,
  concat,
  enhancedBlock,
  halves,
  interfaceBlock,
  packetBlock,
  pcapFile,
  section,
  simpleBlock,
} from './support/capture-files.ts';
import { scanAll } from './support/scan.ts';

const ETHERNET_TIMED = 3;
const u32 = fc.integer({ min: 0, max: 0xffffffff });
const frame = fc.uint8Array({ maxLength: 70 });
const step = fc.integer({ min: 1, max: 200 });
const frameOf = (length: number): Uint8Array => Uint8Array.from({ length }, (_, i) => i + 1);

test('pcap: every byte order, magic and window gives the records that were written', () => {
  const record = fc.record({ seconds: u32, fraction: fc.integer({ min: 0, max: 999_999 }), wireLength: u32, frame });
  const magics = fc.constantFrom(0xa1b2c3d4, 0xa1b23c4d, 0xa1b2cd34);
  fc.assert(
    fc.property(
      fc.boolean(),
      magics,
      fc.array(record),
      step,
      fc.integer({ min: 1, max: 7 }),
      (little, magic, list, at, max) => {
        const { records, broken } = scanAll(pcapFile(little, list, { magic, linkType: 0xf0000001 }), at, max);
        expect(broken).toBeUndefined();
        const scale = magic === 0xa1b23c4d ? 1 : 1000;
        expect(records).toEqual(
          list.map(({ seconds, fraction, wireLength, frame }) => ({
            frame: Array.from(frame),
            wireLength,
            seconds,
            nanoseconds: fraction * scale,
            interface: 0,
            flags: ETHERNET_TIMED,
            linkType: 1,
          })),
        );
      },
    ),
  );
});

test('pcap: a fraction of more than a second is carried', () => {
  const list = [{ seconds: 7, fraction: 0xffffffff, wireLength: 1, frame: frameOf(1) }];
  const { records } = scanAll(pcapFile(true, list));
  expect(records[0]).toMatchObject({ seconds: 7 + 4294, nanoseconds: 967_295_000 });
});

test('pcap: files before version 2.3 have the lengths the other way round', () => {
  const bytes = pcapFile(false, [{ seconds: 1, fraction: 2, wireLength: 60, frame: frameOf(4) }], { minor: 2 });
  bytes.set(new Bytes(false).u32(60, 4).done(), 24 + 8);
  expect(scanAll(bytes).records).toMatchObject([{ wireLength: 60, frame: [1, 2, 3, 4] }]);
});

test('pcapng: sections, interfaces and blocks of every kind, in windows of any size', () => {
  const kinds = fc.record({ kind: fc.constantFrom('enhanced', 'packet', 'simple', 'unknown'), frame, id: fc.nat(1) });
  const part = fc.record({ little: fc.boolean(), blocks: fc.array(kinds, { maxLength: 8 }) });
  fc.assert(
    fc.property(
      fc.array(part, { minLength: 1, maxLength: 4 }),
      step,
      fc.integer({ min: 1, max: 7 }),
      (parts, at, max) => {
        const expected: unknown[] = [];
        const pieces = parts.flatMap(({ little, blocks }, index) => {
          const described = [
            section(little),
            interfaceBlock(little, { resolution: 9, snap: 40 }),
            interfaceBlock(little, { linkType: 101, resolution: 0x8a }),
          ];
          return described.concat(
            blocks.map(({ kind, frame, id }) => {
              const bytes = Array.from(frame);
              const common = { interface: index * 2 + id, linkType: id === 0 ? 1 : 101, flags: id === 0 ? 3 : 2 };
              const time = id === 0 ? { seconds: 3, nanoseconds: 5 } : { seconds: 2929687, nanoseconds: 504882812 };
              if (kind === 'unknown') return block(little, 0x80000bad, frame);
              if (kind === 'simple') {
                const simple = { interface: index * 2, linkType: 1, flags: 1, seconds: 0, nanoseconds: 0 };
                expected.push({ ...simple, frame: bytes.slice(0, 40), wireLength: bytes.length });
                return simpleBlock(little, frame.subarray(0, 40), frame.length);
              }
              const wireLength = kind === 'packet' ? bytes.length : 9000;
              expected.push({ ...common, ...time, frame: bytes, wireLength });
              return kind === 'packet'
                ? packetBlock(little, id, 3_000_000_005n, frame)
                : enhancedBlock(little, id, 3_000_000_005n, frame, 9000);
            }),
          );
        });
        const { records, broken, linkTypes } = scanAll(concat(...pieces), at, max);
        expect(broken).toBeUndefined();
        expect(records).toEqual(expected);
        expect(linkTypes).toEqual(parts.flatMap(() => [1, 101]));
      },
    ),
  );
});

test('ticks of every resolution become the nanoseconds that BigInt finds', () => {
  const resolutions = [...Array(26).keys(), ...Array.from({ length: 33 }, (_, n) => 0x80 + n)];
  const ticks = fc.oneof(
    fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
    fc.constantFrom(0n, 2n ** 32n - 1n, 2n ** 64n - 1n),
  );
  const offsets = fc.bigInt({ min: -(2n ** 31n), max: 2n ** 33n });
  fc.assert(
    fc.property(fc.constantFrom(...resolutions), ticks, offsets, (resolution, value, offset) => {
      const exponent = BigInt(resolution & 0x7f);
      const perSecond = (resolution & 0x80 ? 2n : 10n) ** exponent;
      const out = new Uint32Array(8);
      new TickClock(resolution, Number(BigInt.asUintN(32, offset))).store(...halves(value), out, 0);
      expect(BigInt(out[3] ?? 0)).toBe(BigInt.asUintN(32, value / perSecond + offset));
      expect(BigInt(out[4] ?? 0)).toBe(((value % perSecond) * 1_000_000_000n) / perSecond);
    }),
    { numRuns: 5000 },
  );
});

test('an interface may shift its times by whole seconds', () => {
  const file = concat(
    section(false),
    interfaceBlock(false, { offset: -5n }),
    enhancedBlock(false, 0, 7_000_001n, frameOf(3)),
  );
  expect(scanAll(file).records).toMatchObject([{ seconds: 2, nanoseconds: 1000 }]);
});

const samples: Record<string, { file: Uint8Array; ends: number[] }> = {
  pcap: sample(
    [pcapFile(true, [])],
    [1, 2, 3].map((n) => pcapFile(true, [record(n)]).slice(24)),
  ),
  pcapng: sample(
    [section(true), interfaceBlock(true)],
    [enhancedBlock(true, 0, 1n, frameOf(5)), simpleBlock(true, frameOf(6)), packetBlock(true, 0, 2n, frameOf(7))],
  ),
};

function record(n: number): { seconds: number; fraction: number; wireLength: number; frame: Uint8Array } {
  return { seconds: n, fraction: n, wireLength: 60, frame: frameOf(n * 4) };
}

/** A file, and where each of its frames is complete. */
function sample(head: Uint8Array[], packets: Uint8Array[]): { file: Uint8Array; ends: number[] } {
  const start = concat(...head).length;
  const ends = packets.map((_, i) => start + concat(...packets.slice(0, i + 1)).length);
  return { file: concat(...head, ...packets), ends };
}

test.each(Object.entries(samples))(
  '%s cut at every byte gives the frames before the cut, then the reason',
  (_, { file, ends }) => {
    const whole = scanAll(file);
    expect(whole).toMatchObject({ broken: undefined, records: { length: 3 } });
    for (let length = 0; length < file.length; length++) {
      const expected = whole.records.slice(0, ends.filter((end) => end <= length).length);
      for (const window of [1, 50, 1000]) {
        const { records, broken } = scanAll(file.subarray(0, length), window);
        expect(records).toEqual(expected);
        if (length === 0) expect(broken?.message).toBe('at byte 0: the file is empty');
        else if (broken !== undefined) expect(broken.message).toMatch(/^at byte \d+: the file ends /);
        expect(broken === undefined).toBe(ends.includes(length) || isBoundary(file, length));
      }
    }
  },
);

/** True when the head of a file, without any frame, ends at `length`. */
function isBoundary(file: Uint8Array, length: number): boolean {
  return file[0] === 0x0a ? length === 28 || length === 60 : length === 24;
}

test.each(Object.entries(samples))(
  '%s with any byte changed never fails, and keeps what lies before it',
  (_, { file, ends }) => {
    const whole = scanAll(file);
    fc.assert(
      fc.property(fc.nat(file.length - 1), fc.nat(255), step, (at, value, window) => {
        const bytes = file.slice();
        bytes[at] = value;
        const { records } = scanAll(bytes, window);
        const before = ends.filter((end) => end <= at).length;
        expect(records.slice(0, before)).toEqual(whole.records.slice(0, before));
      }),
      { numRuns: 2000 },
    );
  },
);

const pcapHead = pcapFile(true, []);
const ngHead = concat(section(true), interfaceBlock(true));
const words = (...values: number[]): Uint8Array => new Bytes(true).u32(...values).done();

test.each<[string, Uint8Array, string]>([
  [
    'not a capture',
    Uint8Array.from([76, 105, 99, 101]),
    'at byte 0: 0x4c696365 starts neither a pcap nor a pcapng file',
  ],
  [
    'gzip',
    Uint8Array.from([0x1f, 0x8b, 8, 0]),
    'at byte 0: 0x1f8b0800 starts neither a pcap nor a pcapng file; it is compressed, use gunzip first',
  ],
  [
    'pcap version',
    new Bytes(true).u32(0xa1b2c3d4).u16(3, 1).u32(0, 0, 0, 1).done(),
    'at byte 0: pcap version 3.1 is not 2.x',
  ],
  ['long frame', concat(pcapHead, words(1, 2, 0xffffffff, 4)), 'at byte 24: captured length 4294967295 is over 262144'],
  ['cut frame', concat(pcapHead, words(1, 2, 4, 4)), 'at byte 24: the file ends early: 16 bytes are left, 20 needed'],
  [
    'byte order',
    concat(words(0x0a0d0d0a, 28, 0x11223344, 1, 0, 0, 28)),
    'at byte 0: byte-order magic 0x44332211 is not 0x1a2b3c4d',
  ],
  [
    'section length',
    concat(words(0x0a0d0d0a, 24, 0x1a2b3c4d, 1, 0, 0, 24)),
    'at byte 0: section header length 24 must be a multiple of 4 from 28',
  ],
  [
    'pcapng version',
    concat(words(0x0a0d0d0a, 28, 0x1a2b3c4d, 9, 0, 0, 28)),
    'at byte 0: pcapng version 9.0 is not 1.x',
  ],
  ['block length', concat(ngHead, words(99, 13)), 'at byte 60: block length 13 must be a multiple of 4 from 12'],
  ['block end', concat(ngHead, words(99, 12, 16)), 'at byte 68: block length 12 at its start, 16 at its end'],
  [
    'packet block end',
    concat(ngHead, words(6, 32, 0, 0, 0, 0, 0, 36)),
    'at byte 60: block length 32 at its start, 36 at its end',
  ],
  [
    'packet block length',
    concat(ngHead, words(6, 28)),
    'at byte 60: block length 28 of type 6 must be from 32 to 1048576',
  ],
  [
    'no such interface',
    concat(ngHead, words(6, 32, 1, 0, 0, 0, 0, 32)),
    'at byte 60: interface 1 is not described; the section has 1',
  ],
  [
    'no interface',
    concat(section(true), simpleBlock(true, frameOf(4))),
    'at byte 28: interface 0 is not described; the section has 0',
  ],
  [
    'frame over block',
    concat(ngHead, words(6, 32, 0, 0, 0, 1, 0, 32)),
    'at byte 60: captured length 1 does not fit a block of 32 bytes',
  ],
  [
    'resolution',
    concat(section(true), block(true, 1, words(1, 0, 9, 0))),
    'at byte 28: option 9 has 0 bytes, must have 1',
  ],
  [
    'option',
    concat(section(true), block(true, 1, words(1, 0, 0x00400005))),
    'at byte 28: option 5 of 64 bytes runs past the end of its block',
  ],
  ['cut block', concat(ngHead, words(99, 1000, 1, 2)), 'at byte 76: the file ends inside a block'],
])('%s is refused with its place', (_, file, message) => {
  for (const window of [1, 13, 5000]) expect(scanAll(file, window)).toMatchObject({ records: [], broken: { message } });
});
