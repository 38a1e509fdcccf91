import fc from 'fast-check';
import { expect, test } from 'vitest';
import { diffPackets } from '#build/xdp/spec/packet-diff.js';

test('rows that differ are shown with marks below', () => {
  const expected = Uint8Array.from({ length: 34 }, (_, index) => index);
  const got = Uint8Array.from([...expected, 0xff]);
  got[17] = 0xee;
  expect(diffPackets(expected, got)).toEqual([
    '2 bytes differ, the first at offset 17',
    'expected 34 bytes: 06:07:08:09:0a:0b > 00:01:02:03:04:05 type 0x0c0d, 20 bytes',
    'got      35 bytes: 06:07:08:09:0a:0b > 00:01:02:03:04:05 type 0x0c0d, 21 bytes',
    '0010  expected 10 11 12 13 14 15 16 17 18 19 1a 1b 1c 1d 1e 1f',
    '      got      10 ee 12 13 14 15 16 17 18 19 1a 1b 1c 1d 1e 1f',
    '                  ^^',
    '0020  expected 20 21 --',
    '      got      20 21 ff',
    '                     ^^',
  ]);
});

test('there are lines when and only when packets differ, and not without end', () => {
  const packet = fc.uint8Array({ maxLength: 400 });
  fc.assert(
    fc.property(packet, packet, (a, b) => {
      expect(diffPackets(a, a)).toEqual([]);
      const lines = diffPackets(a, b);
      expect(lines.length > 0).toBe(Buffer.compare(a, b) !== 0);
      expect(lines.length).toBeLessThan(30);
      const marks = lines.join('').split('^^').length - 1;
      if (lines.length > 0 && !lines.at(-1)?.startsWith('and ')) expect(lines[0]).toMatch(new RegExp(`^${marks} byte`));
    }),
  );
});
