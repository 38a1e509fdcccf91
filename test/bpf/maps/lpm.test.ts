import fc from 'fast-check';
import { expect, test } from 'vitest';
import { KIND_LPM_TRIE } from '#build/bpf/layout.js';
import { BASES } from '../../support/arena.ts';
import { MapBench } from '../support/maps.ts';

const [ENOENT, EEXIST, EINVAL, ENOSPC] = [-2, -17, -22, -28];
const MAX = 12;

const same = (bytes: unknown): Uint8Array => bytes as Uint8Array;
const AS_BYTES = { decodeKey: same, encodeKey: same, decodeValue: same, encodeValue: same };

const bitOf = (data: Uint8Array, index: number): number => ((data[index >> 3] ?? 0) >> (7 - (index & 7))) & 1;

/** The first `bits` bits, in letters: the name of a prefix. */
function nameOf(data: Uint8Array, bits: number): string {
  return Array.from({ length: bits }, (_, index) => bitOf(data, index)).join('');
}

function keyOf(bits: number, data: Uint8Array): Uint8Array {
  return Uint8Array.of(...new Uint8Array(Uint32Array.of(bits).buffer), ...data);
}

/** Data near each other, so that prefixes share paths. */
const dataOf = (bytes: number): fc.Arbitrary<Uint8Array> =>
  fc.oneof(
    fc.uint8Array({ minLength: bytes, maxLength: bytes }),
    fc
      .array(fc.constantFrom(0, 1, 128, 255), { minLength: bytes, maxLength: bytes })
      .map((list) => Uint8Array.from(list)),
  );

test.each(BASES.flatMap((base) => [1, 2, 4, 5, 7, 16, 33, 256].map((bytes) => [base, bytes])))(
  'a trie finds the longest prefix of all that cover a key (regions above %i, %i bytes)',
  (base = 0, bytes = 0) => {
    const operation = fc.record({
      what: fc.constantFrom('update', 'update', 'update', 'delete', 'lookup', 'lookup', 'list'),
      bits: fc.oneof(fc.nat(bytes * 8), fc.constant(bytes * 8), fc.constant(bytes * 8 + 1)),
      data: dataOf(bytes),
      flags: fc.constantFrom(0, 0, 0, 1, 2, 3),
      value: fc.nat(255),
    });
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 60 }), (operations) => {
        const bench = new MapBench(base, 1 << 20);
        const size = { keyBytes: 4 + bytes, valueBytes: 6, maxEntries: MAX, flags: 1 };
        const map = bench.create(KIND_LPM_TRIE, size, { codec: AS_BYTES });
        const model = new Map<string, { value: Uint8Array; key: Uint8Array }>();
        const longest = (bits: number, data: Uint8Array): Uint8Array | undefined => {
          for (let length = Math.min(bits, bytes * 8); length >= 0; length--) {
            const found = model.get(nameOf(data, length));
            if (found !== undefined) return found.value;
          }
          return undefined;
        };
        for (const { what, bits, data, flags, value } of operations) {
          const key = keyOf(bits, data);
          const name = nameOf(data, Math.min(bits, bytes * 8));
          const isLong = bits > bytes * 8;
          const exists = model.has(name) && !isLong;
          if (what === 'update') {
            const content = new Uint8Array(6).fill(value);
            const expected =
              isLong || flags > 2
                ? EINVAL
                : exists
                  ? flags === 1
                    ? EEXIST
                    : 0
                  : flags === 2
                    ? ENOENT
                    : model.size === MAX
                      ? ENOSPC
                      : 0;
            expect(bench.update(map, key, content, flags)).toBe(expected);
            if (expected === 0) model.set(name, { value: content, key });
          } else if (what === 'delete') {
            expect(bench.delete(map, key)).toBe(isLong ? EINVAL : exists ? 0 : ENOENT);
            if (exists) model.delete(name);
          } else if (what === 'lookup') {
            const expected = isLong ? undefined : longest(bits, data);
            expect(bench.lookup(map, key)).toEqual(expected);
            expect(map.getBytes(key)).toEqual(expected);
          } else {
            const listed = [...map.keys()].map((each) => (each as Uint8Array).toString());
            expect(listed.sort()).toEqual([...model.values()].map((each) => each.key.toString()).sort());
          }
          expect(map.size).toBe(model.size);
        }
        map.clear();
        expect(map.size).toBe(0);
        expect(bench.arena.damaged()).toEqual([]);
      }),
      { numRuns: bytes > 64 ? 8 : 40 },
    );
  },
);

test('a full trie gives all its room back, again and again', () => {
  const bench = new MapBench();
  const map = bench.create(KIND_LPM_TRIE, { keyBytes: 8, maxEntries: 64, flags: 1 });
  for (let round = 0; round < 20; round++) {
    const keys = Array.from({ length: 64 }, (_, index) => {
      const scattered = Math.imul(index + round * 64, 0x9e3779b1) >>> 0;
      return keyOf(8 + (index % 25), Uint8Array.from([scattered >>> 24, index, scattered >>> 8, scattered]));
    });
    for (const key of keys) expect(bench.update(map, key, key.slice(4))).toBe(0);
    expect(bench.update(map, keyOf(0, new Uint8Array(4)), new Uint8Array(4))).toBe(ENOSPC);
    for (const key of keys) expect(bench.lookup(map, keyOf(32, key.slice(4)))).toEqual(key.slice(4));
    for (const key of keys) expect(bench.delete(map, key)).toBe(0);
    expect([...map.keys()]).toEqual([]);
  }
});
