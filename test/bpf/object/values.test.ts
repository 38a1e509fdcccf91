import fc from 'fast-check';
import { expect, test } from 'vitest';
import { withData, withVariables } from '#build/bpf/object/data.js';
import { linkProgram } from '#build/bpf/object/load.js';
import { type BtfValue, decodeValue, encodeValue } from '#build/bpf/object/values.js';
import { fixture } from './objects.ts';

const object = fixture('data');
const btf = object.btf as NonNullable<typeof object.btf>;
const settings = btf.find('settings', 'struct')?.id ?? 0;

const ZERO = {
  version: 0,
  enabled: false,
  delta: 0,
  limits: [0, 0, 0],
  mode: 0,
  total: 0n,
  balance: 0n,
  low: 0,
  wide: 0,
  small: 0,
  address: 0,
  octets: new Uint8Array(4),
  point: { x: 0, y: 0 },
  name: new Uint8Array(8),
  cookie: 0n,
};

test('a struct of everything is read as an object', () => {
  const bytes = object.maps.find(({ name }) => name === '.rodata')?.initial ?? new Uint8Array();
  expect(decodeValue(btf, settings, bytes)).toEqual({ ...ZERO, version: 3, limits: [1, 2, 3], mode: 7 });
});

test('a section is read as an object of its variables', () => {
  const { initial, types } = object.maps.find(({ name }) => name === '.data') ?? {};
  const value = decodeValue(btf, types?.value ?? 0, initial ?? new Uint8Array());
  expect(value).toMatchObject({ current: { ...ZERO, total: 5n }, steps: -1n, ratio: 0.5 });
});

test('members left out are 0, and bits of one word are apart', () => {
  const bytes = encodeValue(btf, settings, { low: 5, wide: 0x2aaaa, small: -3, address: 0x01020304, mode: -2 });
  expect(decodeValue(btf, settings, bytes)).toEqual({
    ...ZERO,
    low: 5,
    wide: 0x2aaaa,
    small: -3,
    address: 0x01020304,
    octets: Uint8Array.of(4, 3, 2, 1),
    mode: -2,
  });
});

test('of a union the last member given counts', () => {
  const octets = new Uint8Array(4).fill(255);
  expect(decodeValue(btf, settings, encodeValue(btf, settings, { octets, address: 5 }))).toMatchObject({ address: 5 });
  const bytes = encodeValue(btf, settings, { address: 5, octets });
  expect(decodeValue(btf, settings, bytes)).toMatchObject({ address: 0xffffffff });
});

const u32 = fc.integer({ min: 0, max: 2 ** 32 - 1 });
const anySettings = fc.record({
  version: fc.integer({ min: 0, max: 255 }),
  enabled: fc.boolean(),
  delta: fc.integer({ min: -(2 ** 15), max: 2 ** 15 - 1 }),
  limits: fc.array(u32, { minLength: 3, maxLength: 3 }),
  mode: fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
  total: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  balance: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  low: fc.integer({ min: 0, max: 7 }),
  wide: fc.integer({ min: 0, max: 2 ** 18 - 1 }),
  small: fc.integer({ min: -16, max: 15 }),
  address: u32,
  point: fc.record({ x: fc.integer({ min: 0, max: 65535 }), y: fc.integer({ min: 0, max: 65535 }) }),
  name: fc.uint8Array({ minLength: 8, maxLength: 8 }),
  cookie: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
});

test('what is written is read again', () => {
  fc.assert(
    fc.property(anySettings, (value) => {
      const bytes = encodeValue(btf, settings, value);
      expect(decodeValue(btf, settings, bytes)).toMatchObject(value);
    }),
  );
});

test('any bytes that are read can be written again', () => {
  const size = btf.size(settings);
  fc.assert(
    fc.property(fc.uint8Array({ minLength: size, maxLength: size }), (bytes) => {
      const value = decodeValue(btf, settings, bytes);
      expect(decodeValue(btf, settings, encodeValue(btf, settings, value))).toEqual(value);
    }),
  );
});

test('bytes behind the value are left alone, and a Buffer is copied', () => {
  const buffer = Buffer.alloc(btf.size(settings) + 10, 1);
  const { name } = decodeValue(btf, settings, buffer) as { name: Uint8Array };
  buffer.fill(2);
  expect(name).toEqual(new Uint8Array(8).fill(1));
});

test.each<[BtfValue, RegExp]>([
  [{ version: 256 }, /^struct settings\.version: 256 is no unsigned char\. It takes 0 to 255\.$/],
  [{ version: 1.5 }, /1\.5 is no unsigned char/],
  [{ low: 8 }, /struct settings\.low: 8 is no unsigned int:3\. It takes 0 to 7\./],
  [{ small: -17 }, /It takes -16 to 15/],
  [{ enabled: 2 }, /enabled: 2 is no _Bool\. It takes 0 to 1/],
  [{ total: -1n }, /total: -1n is no .* It takes 0 to 18446744073709551615/],
  [{ limits: [1, 2, 3, 4] }, /limits: 4 elements are given\. It takes 3 of __u32/],
  [{ limits: 3 }, /limits: 3 is no array/],
  [{ limits: [0, -1] }, /limits\[1\]: -1 is no/],
  [{ name: Uint8Array.of(1, 2) }, /name: 2 bytes are given\. char\[8\] has 8\./],
  [{ point: { z: 1 } }, /point: struct \(anonymous struct\) has no member z\. It has x, y\./],
  [{ point: 5 }, /point: 5 is no struct .*takes an object, or its bytes/],
  [7, /^struct settings: 7 is no struct settings\. It takes an object, or its bytes\.$/],
])('%o is refused with what is allowed', (value, message) => {
  expect(() => encodeValue(btf, settings, value)).toThrow(expect.objectContaining({ code: 'BAD_ARGUMENT' }));
  expect(() => encodeValue(btf, settings, value)).toThrow(message);
});

test('too few bytes, and types without values, are refused', () => {
  expect(() => decodeValue(btf, settings, new Uint8Array(10))).toThrow(/struct settings has 72 bytes at 0.*has 10\./);
  expect(() => decodeValue(btf, btf.find('vary', 'func')?.id ?? 0, new Uint8Array(10))).toThrow(/has no size/);
});

test('variables are set by name, in whichever section they are', () => {
  const changed = withVariables(object, {
    settings: { version: 9, enabled: true },
    threshold: 77,
    packets: 5n,
    special: 1,
  });
  const values = Object.assign(
    {},
    ...changed.maps.map(({ types, initial }) => decodeValue(btf, types?.value ?? 0, initial ?? new Uint8Array())),
  );
  expect(values).toMatchObject({
    settings: { ...ZERO, version: 9, enabled: true },
    threshold: 77,
    packets: 5n,
    special: 1,
  });
  const before = object.maps.find(({ name }) => name === '.rodata')?.initial;
  expect(before?.[0]).toBe(3);
  const rodata = linkProgram(changed, 'vary').maps.find(({ name }) => name === '.rodata');
  expect(rodata?.initial?.[0]).toBe(9);
});

test('a section is set by its bytes, from the start', () => {
  const changed = withData(object, '.data.special', Uint8Array.of(1, 2));
  expect(changed.maps.find(({ name }) => name === '.data.special')?.initial).toEqual(Uint8Array.of(1, 2, 0, 0));
  expect(object.maps.find(({ name }) => name === '.data.special')?.initial).toEqual(Uint8Array.of(99, 0, 0, 0));
});

test('what is not there cannot be set', () => {
  expect(() => withVariables(object, { absent: 1 })).toThrow(
    /data\.o: it has no variable absent\. It has settings, threshold/,
  );
  expect(() => withVariables(object, { threshold: 2 ** 32 })).toThrow(/threshold: 4294967296 is no/);
  expect(() => withVariables(fixture('legacy'), { x: 1 })).toThrow(/none with a type \(compile with -g\)/);
  expect(() => withData(object, '.data.other', new Uint8Array(1))).toThrow(
    /no data section \.data\.other\. It has \.rodata/,
  );
  expect(() => withData(object, '.data.special', new Uint8Array(5))).toThrow(/5 bytes are given .* It has 4\./);
});
