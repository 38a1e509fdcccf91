import { isIPv4, isIPv6 } from 'node:net';
import fc from 'fast-check';
import * as packet from 'ringway/packet';
import { expect, test } from 'vitest';
import {
  formatIpv4,
  formatIpv6,
  formatMac,
  formatPrefix,
  parseCoveringPrefix,
  parseIpv4,
  parseIpv6,
  parseMac,
  parseMacBytes,
  parsePrefix,
} from '#build/util/addresses.js';

const u32 = fc.integer({ min: 0, max: 0xffffffff });
const sparse = fc
  .array(fc.constantFrom(0, 0, 0, 1, 255), { minLength: 16, maxLength: 16 })
  .map((bytes) => Uint8Array.from(bytes));

test('what is formatted parses to the same address', () => {
  fc.assert(
    fc.property(fc.nat(2 ** 48 - 1), u32, sparse, (mac, ipv4, ipv6) => {
      expect(parseMac(formatMac(mac))).toBe(mac);
      expect(parseIpv4(formatIpv4(ipv4))).toBe(ipv4);
      expect(parseIpv6(formatIpv6(ipv6))).toEqual(ipv6);
    }),
    { numRuns: 1000 },
  );
});

test('text is an address exactly when Node says so', () => {
  const piece = fc.constantFrom(':', '::', '0', 'db8', 'FFFF', '12345', '1.2.3.4', '.', '255', '256', 'g', '01');
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
      const text = pieces.join('');
      expect(parseIpv6(text) !== undefined, text).toBe(isIPv6(text));
      expect(parseIpv4(text) !== undefined, text).toBe(isIPv4(text));
      expect(parseCoveringPrefix(text) !== undefined, text).toBe(isIPv4(text) || isIPv6(text));
    }),
    { numRuns: 5000 },
  );
});

test('addresses are written as a URL writes them, but for those that map IPv4', () => {
  fc.assert(
    fc.property(sparse, u32, (bytes, ipv4) => {
      const text = formatIpv6(bytes);
      fc.pre(!text.includes('.'));
      expect(`[${text}]`).toBe(new URL(`http://[${text}]`).hostname);
      expect(formatIpv4(ipv4)).toBe(new URL(`http://${ipv4}`).hostname);
    }),
    { numRuns: 5000 },
  );
});

// RFC 5952, 4 and 5.
test.each([
  ['2001:0DB8:0:0:0:0:2:1', '2001:db8::2:1'],
  ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
  ['2001:0:0:1:0:0:0:1', '2001:0:0:1::1'],
  ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
  ['0:0:0:0:0:0:0:0', '::'],
  ['0:0:0:0:0:0:0:1', '::1'],
  ['1:0:0:0:0:0:0:0', '1::'],
  ['::ffff:c000:0201', '::ffff:192.0.2.1'],
])('%s is written %s', (text, canonical) => {
  expect(formatIpv6(parseIpv6(text) ?? new Uint8Array(0))).toBe(canonical);
});

test('MAC addresses have six pairs of digits, with the same sign between them', () => {
  expect(parseMac('02:00:5E:10:00:fF')).toBe(0x02005e1000ff);
  expect(parseMac('FF-00-5e-10-00-01')).toBe(0xff005e100001);
  expect(parseMacBytes('ff:00:5e:10:00:01')).toEqual(Uint8Array.of(0xff, 0, 0x5e, 0x10, 0, 1));
  for (const text of [
    '',
    '02:00:00:00:00',
    '02:00-00:00-00:01',
    '02005e1000ff',
    '2:0:0:0:0:1',
    '02:00:00:00:00:01:02',
    '0g:00:00:00:00:01',
    '02:00:00:00:00:01\n',
  ]) {
    expect(parseMac(text), text).toBeUndefined();
    expect(parseMacBytes(text), text).toBeUndefined();
  }
});

test('prefixes', () => {
  for (const text of [
    '0.0.0.0/0',
    '10.0.0.0/8',
    '10.128.0.0/9',
    '10.0.0.1/32',
    '::/0',
    '2001:db8::/32',
    'fe80::1/128',
  ]) {
    expect(formatPrefix(parsePrefix(text) ?? { family: 4, bytes: new Uint8Array(0), length: 0 })).toBe(text);
  }
  expect(parsePrefix('192.0.2.128/25')).toEqual({ family: 4, bytes: Uint8Array.of(192, 0, 2, 128), length: 25 });
  for (const text of [
    '10.0.0.0',
    '10.0.0.0/33',
    '::/129',
    '10.0.0.1/8',
    '10.128.0.0/8',
    '10.0.0.0/08',
    '10.0.0.0/-1',
    '10.0.0.0/',
    '10.0.0.0/8/8',
    '/8',
    '2001:db8::1/64',
  ]) {
    expect(parsePrefix(text), text).toBeUndefined();
  }
});

test('a covering prefix is the address without the bits behind its length', () => {
  const shown = ['10.1.2.3/8', '10.1.2.3/31', '0.0.0.0/0', '2001:db8:ffff::1/33', '::1', '255.255.255.255/1'].map(
    (text) => formatPrefix(parseCoveringPrefix(text) ?? { family: 4, bytes: new Uint8Array(4), length: -1 }),
  );
  expect(shown).toEqual(['10.0.0.0/8', '10.1.2.2/31', '0.0.0.0/0', '2001:db8:8000::/33', '::1/128', '128.0.0.0/1']);
  for (const text of ['10.0.0.0/33', '10.0.0.0/', '10.0.0.0/8/8', '1.2.3', '::/129', '1::2::3', '01.2.3.4', '']) {
    expect(parseCoveringPrefix(text), text).toBeUndefined();
  }
});

test('what the package exports are these functions', () => {
  expect(packet).toMatchObject({
    formatIpv4,
    formatIpv6,
    formatMac,
    formatPrefix,
    parseIpv4,
    parseIpv6,
    parseMac,
    parsePrefix,
  });
});
