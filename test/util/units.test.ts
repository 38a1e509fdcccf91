import { isIPv4, isIPv6 } from 'node:net';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { formatAddress, formatMac, formatPrefix, parseMac, parsePrefix } from '#dist/util/addresses.js';
import { editDistance, nearest, suggest } from '#dist/util/nearest.js';
import { parseBytes, parseDuration, parseProbability, parseRate } from '#dist/util/units.js';

test('sizes, times, rates and probabilities with their units', () => {
  expect(['2MiB', '512KiB', '1GB', '64', 64, '1.5 kB'].map(parseBytes)).toEqual([
    2 << 20,
    512 << 10,
    1e9,
    64,
    64,
    1500,
  ]);
  expect(['10s', '250ms', '5m', '1h', '20us', 0.5].map(parseDuration)).toEqual([10, 0.25, 300, 3600, 20e-6, 0.5]);
  expect(['1Mpps', '500kpps', '100pps', 7].map(parseRate)).toEqual([1e6, 5e5, 100, 7]);
  expect(['1%', '0.1%', 0.5, '1', '100%'].map(parseProbability)).toEqual([0.01, 0.001, 0.5, 1, 1]);
});

test.each(['', 'quick', '1 2', '-1s', '1e3', '0x10', '10sec', '1constructor', 'NaN', '1.s', '9'.repeat(400)])(
  'no unit understands %j',
  (text) => {
    for (const parse of [parseBytes, parseDuration, parseRate, parseProbability]) expect(parse(text)).toBeUndefined();
  },
);

test('half a byte is no size, and more than all is no probability', () => {
  expect([parseBytes('1.5'), parseProbability('101%'), parseProbability(1.01)]).toEqual([
    undefined,
    undefined,
    undefined,
  ]);
});

test('an IPv4 or IPv6 address is what Node takes for one, and printing it keeps its value', () => {
  const group = fc.integer({ min: 0, max: 0xffff }).map((value) => (value % 3 === 0 ? '0' : value.toString(16)));
  const ipv6 = fc
    .array(group, { minLength: 1, maxLength: 9 })
    .chain((groups) =>
      fc
        .integer({ min: -1, max: groups.length })
        .map((at) => (at < 0 ? groups.join(':') : `${groups.slice(0, at).join(':')}::${groups.slice(at).join(':')}`)),
    );
  const ipv4 = fc
    .array(fc.integer({ min: 0, max: 300 }), { minLength: 3, maxLength: 5 })
    .map((bytes) => bytes.join('.'));
  const mixed = fc.tuple(ipv6, ipv4).map(([left, right]) => `${left}:${right}`);
  fc.assert(
    fc.property(fc.oneof(ipv6, ipv4, mixed), (text) => {
      const parsed = parsePrefix(text);
      expect(parsed !== undefined).toBe(isIPv4(text) || isIPv6(text));
      if (parsed === undefined) return;
      const again = parsePrefix(formatAddress(parsed.bytes));
      expect(again).toEqual(parsed);
      const canonical = new URL(`http://${parsed.family === 6 ? `[${text}]` : text}`).hostname;
      expect(formatAddress(parsed.bytes)).toBe(canonical.replace(/^\[|\]$/g, ''));
    }),
    { numRuns: 2000 },
  );
});

test('a prefix loses the bits behind its length', () => {
  const shown = ['10.1.2.3/8', '10.1.2.3/31', '0.0.0.0/0', '2001:db8:ffff::1/33', '::1', '255.255.255.255/1'].map(
    (text) => formatPrefix(parsePrefix(text) ?? { family: 4, bytes: new Uint8Array(4), length: -1 }),
  );
  expect(shown).toEqual(['10.0.0.0/8', '10.1.2.2/31', '0.0.0.0/0', '2001:db8:8000::/33', '::1/128', '128.0.0.0/1']);
  expect(
    ['10.0.0.0/33', '10.0.0.0/', '10.0.0.0/8/8', '1.2.3', '::/129', '1::2::3', '01.2.3.4', ''].map(parsePrefix),
  ).toEqual(new Array(8).fill(undefined));
});

test('MAC addresses', () => {
  const bytes = parseMac('02:00:5E:10:00:fF');
  expect(formatMac(bytes ?? new Uint8Array())).toBe('02:00:5e:10:00:ff');
  expect(['02:00:5e:10:00', '02:00:5e:10:00:0g', '02005e1000ff', ''].map(parseMac)).toEqual(
    new Array(4).fill(undefined),
  );
});

test('the nearest name', () => {
  expect(editDistance('speed', 'sepeed')).toBe(1);
  expect(editDistance('ab', 'ba')).toBe(1);
  expect(editDistance('', 'abc')).toBe(3);
  expect(nearest('speeed', ['speed', 'seed'])).toBe('speed');
  expect(nearest('Pth', ['path', 'port'])).toBe('path');
  expect(nearest('xyzzy', ['path', 'port'])).toBeUndefined();
  expect(suggest('zz', ['path', 'port'])).toBe('known: path, port');
  expect(suggest('x'.repeat(100_000), ['path'])).toBe('known: path');
});
