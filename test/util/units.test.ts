import { expect, test } from 'vitest';
import { editDistance, nearest, suggest } from '#build/util/nearest.js';
import { parseBytes, parseDuration, parseProbability, parseRate } from '#build/util/units.js';

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
