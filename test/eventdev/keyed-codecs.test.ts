import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createCodec, type Shape, shapeBytes } from '#build/eventdev/pool/codec.js';
import {
  createStructCodec,
  type StructField,
  type StructFields,
  structBytes,
} from '#build/eventdev/pool/codec-struct.js';
import { hashKey } from '#build/eventdev/pool/key.js';
import { testArena } from '../support/arena.ts';
import { effort } from '../support/effort.ts';

const arena = testArena();
const AREA = 4096;
const at = arena.allocate('area', AREA);

/** Writes to the middle of an area of 0xaa, and sees that nothing else changes. */
function through(shape: Shape, value: unknown, bytes = 1024): unknown {
  const codec = createCodec(arena, at, shape, bytes, 'value');
  arena.u8.fill(0xaa, at, at + AREA);
  const from = at + 64;
  const written = codec.encode(value, from);
  expect(written).toBeLessThanOrEqual(codec.bytes);
  const around = [...arena.u8.subarray(at, from), ...arena.u8.subarray(from + codec.bytes, at + AREA)];
  expect(around.every((byte) => byte === 0xaa)).toBe(true);
  const read = codec.decode(from, written);
  arena.u8.fill(0x55, at, at + AREA);
  return read;
}

const range = (bits: number, signed: boolean) =>
  fc.integer(signed ? { min: -(2 ** (bits - 1)), max: 2 ** (bits - 1) - 1 } : { min: 0, max: 2 ** bits - 1 });
const VALUES: Record<string, fc.Arbitrary<unknown>> = {
  u8: range(8, false),
  u16: range(16, false),
  u32: range(32, false),
  i8: range(8, true),
  i16: range(16, true),
  i32: range(32, true),
  f32: fc.float(),
  f64: fc.double(),
  i64: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  u64: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  bool: fc.boolean(),
};

const fields: fc.Arbitrary<StructField> = fc.oneof(
  fc.constantFrom(...(Object.keys(VALUES) as StructField[])),
  fc.integer({ min: 1, max: 40 }).map((utf8) => ({ utf8 })),
  fc.integer({ min: 1, max: 40 }).map((bytes) => ({ bytes })),
);

function valuesOf(field: StructField): fc.Arbitrary<unknown> {
  if (typeof field === 'string') return VALUES[field] as fc.Arbitrary<unknown>;
  if ('bytes' in field) return fc.uint8Array({ maxLength: field.bytes });
  const texts = fc.oneof(fc.string({ unit: 'binary', maxLength: field.utf8 }), fc.string({ maxLength: field.utf8 }));
  return texts.filter((text) => Buffer.byteLength(text) <= field.utf8);
}

const structs = fc
  .dictionary(
    fc.string({ minLength: 1 }).filter((name) => name !== '__proto__'),
    fields,
    { minKeys: 1, maxKeys: 12 },
  )
  .map((its) => ({ ...its }));

describe('structs', () => {
  test('what is written is read, and nothing beside it is touched', () => {
    const cases = structs.chain((shape) =>
      fc.tuple(
        fc.constant(shape),
        fc.record(Object.fromEntries(Object.entries(shape).map(([k, f]) => [k, valuesOf(f)]))),
      ),
    );
    fc.assert(
      fc.property(cases, ([shape, value]) => {
        const read = through(shape, value) as object;
        expect(read).toEqual({ ...value });
        expect(Object.keys(read)).toEqual(Object.keys(shape));
        expect(Object.getPrototypeOf(read)).toBe(Object.prototype);
      }),
      { numRuns: effort(60, 500) },
    );
  });

  test.each<[StructField, unknown, string]>([
    ['u8', 256, 'a=256, must be a whole number from 0 to 255'],
    ['u8', -1, 'a=-1,'],
    ['u8', 1.5, 'a=1.5,'],
    ['u8', '1', 'a="1",'],
    ['u16', 65536, 'must be a whole number from 0 to 65535'],
    ['u32', 2 ** 32, 'must be a whole number from 0 to 4294967295'],
    ['u32', NaN, 'a=NaN,'],
    ['i8', 128, 'from -128 to 127'],
    ['i16', -32769, 'from -32768 to 32767'],
    ['i32', 2 ** 31, 'from -2147483648 to 2147483647'],
    ['f32', 3.5e38, 'a=3.5e+38, must be a number up to ±3.4e38'],
    ['f64', undefined, 'a=undefined, must be a number'],
    ['f64', 1n, 'a=1n,'],
    ['i64', 2n ** 63n, 'a bigint from -2^63 to 2^63 - 1'],
    ['i64', 5, 'a=5,'],
    ['u64', -1n, 'a=-1n, must be a bigint from 0 to 2^64 - 1'],
    ['bool', 1, 'a=1, must be true or false'],
    [{ utf8: 4 }, 'ééé', 'a="ééé", must be well-formed text of up to 4 bytes of UTF-8'],
    [{ utf8: 40 }, 'é'.repeat(40), 'up to 40 bytes'],
    [{ utf8: 9 }, 'a\ud800b', 'must be well-formed text'],
    [{ utf8: 4 }, 7, 'a=7,'],
    [{ bytes: 2 }, Uint8Array.of(1, 2, 3), 'a=1,2,3, must be a Uint8Array of up to 2 bytes'],
    [{ bytes: 2 }, [1], 'must be a Uint8Array'],
  ])('a field %o refuses %s', (field, value, reason) => {
    expect(() => through({ a: field }, { a: value })).toThrow(reason);
  });

  test.each<[unknown, string]>([
    [{ a: 'u7' }, 'value: field a is "u7", must be one of u8, i8,'],
    [{ a: { utf8: 0 } }, 'n from 1 to 65535'],
    [{ a: { utf8: 1, bytes: 2 } }, 'field a is'],
    [{ a: null }, 'field a is null'],
    [{}, 'needs a field'],
    [JSON.parse('{"__proto__": "u8"}'), 'none called __proto__'],
  ])('fields %j are refused', (shape, reason) => {
    expect(() => createStructCodec(arena, at, shape as StructFields, 'value')).toThrow(reason);
  });

  test('a value that is no object is refused, and fields that are not in the struct are left out', () => {
    expect(() => through({ a: 'u8' }, 5)).toThrow('value is 5, must be an object');
    expect(through({ a: 'u8' }, { a: 1, b: 2 })).toEqual({ a: 1 });
    expect(structBytes({ a: 'u8', b: 'f64', c: 'u16', d: 'u32' }, 'value')).toBe(16);
  });
});

describe('JSON', () => {
  test('what is written is read as JSON has it', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 3 }), (value) => {
        const json = JSON.stringify(value);
        fc.pre(Buffer.byteLength(json) <= 1024);
        expect(through('json', value)).toEqual(JSON.parse(json));
      }),
      { numRuns: effort(60, 500) },
    );
    expect(through('json', undefined)).toBe(undefined);
    expect(through('none', { a: 1 })).toBe(undefined);
  });

  test.each(['a', 'é', '€', '😀'])('a text of %s is taken to the last byte, and no longer', (character) => {
    const size = Buffer.byteLength(character);
    for (let bytes = 64; bytes < 64 + 8; bytes++) {
      for (let pad = 0; pad < 4; pad++) {
        const most = Math.floor((bytes - 2 - pad) / size);
        const fits = 'x'.repeat(pad) + character.repeat(most);
        expect(through('json', fits, bytes)).toBe(fits);
        expect(() => through('json', fits + character, bytes)).toThrow(/bytes as JSON/);
      }
    }
    expect(shapeBytes('json', 100, 'value')).toBe(100);
  });
});

describe('keys', () => {
  test('equal keys have one hash, a u32, and others spread', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.double(), fc.integer(), fc.bigInt()), (key) => {
        const hash = hashKey(key) as number;
        expect(hash >>> 0).toBe(hash);
        expect(hashKey(typeof key === 'string' ? [...key].join('') : key)).toBe(hash);
      }),
    );
    expect(hashKey(-0)).toBe(hashKey(0));
    expect([undefined, null, {}, true, Symbol.iterator].map(hashKey)).toEqual(new Array(5).fill(undefined));
    const sets: ((i: number) => unknown)[] = [
      (i) => i,
      (i) => i * 65536,
      (i) => i + 0.5,
      (i) => `account ${i}`,
      (i) => BigInt(i),
      (i) => -BigInt(i) << 64n,
    ];
    for (const keyOf of sets) {
      // As the device folds it: with 8,192 places, 8,192 keys take some 63 % of them.
      const folded = (hash: number): number => (hash ^ (hash >>> 13) ^ (hash >>> 26)) & 8191;
      const places = new Set(Array.from({ length: 8192 }, (_, i) => folded(hashKey(keyOf(i)) as number)));
      expect(places.size).toBeGreaterThan(4900);
    }
  });
});
