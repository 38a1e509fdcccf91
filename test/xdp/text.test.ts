import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { type Arena, createArena } from 'ringway/memory';
import { expect, test } from 'vitest';
import * as layout from '#build/bpf/layout.js';
import { createMap } from '#build/bpf/maps/create.js';
import type { BpfMap } from '#build/bpf/maps/map.js';
import { loadObject } from '#build/bpf/object/load.js';
import type { MapDefinition } from '#build/bpf/program.js';
import { RingwayError } from '#build/util/errors.js';
import { typedCodec } from '#build/xdp/codec.js';
import { type Names, plainItem, readItem, readKey, writeEntry } from '#build/xdp/text.js';

const names: Names = {
  portOf: (name) => ({ in: 1, out: 2 })[name],
  programOf: (name, map) => {
    if (name === 'main') return 7;
    throw new RingwayError('NOT_FOUND', `map ${map.name}: no program ${name}`);
  },
};
const read = (given: unknown, size: number): unknown => readItem(given, size, 'map m: key', names);

function mapOf(definition: MapDefinition, cpus = 1, arena: Arena = createArena({ bytes: 1 << 20 })): BpfMap {
  const codec = typedCodec(definition);
  return createMap(arena, definition, { cpus, seed: 1, ...(codec === undefined ? {} : { codec }) });
}

const plain = (keyBytes: number, valueBytes: number, kind: number = layout.KIND_HASH): MapDefinition => ({
  name: 'm',
  kind,
  keyBytes,
  valueBytes,
  maxEntries: 16,
  flags: 0,
  pinned: false,
});

/** A data section of the fixture `data`, which has a struct with members of all sorts. */
function settingsMap(section = '.data'): BpfMap {
  const bytes = readFileSync(new URL('../bpf/object/fixtures/data.o', import.meta.url));
  const { maps } = loadObject(bytes, { file: 'data.o' });
  const found = maps.find(({ name }) => name === section);
  if (found?.types === undefined) throw new Error(`no ${section} among ${maps.map(({ name }) => name)}`);
  return mapOf(found);
}

test.each([
  ['5', 4, 5],
  ['-1', 4, -1],
  ['0x10', 1, 16],
  [' 7 ', 2, 7],
  ['18446744073709551615', 8, 18_446_744_073_709_551_615n],
  ['9007199254740991', 8, Number.MAX_SAFE_INTEGER],
  ['port:in', 4, 1],
  ['10.0.0.1', 4, Uint8Array.of(10, 0, 0, 1)],
  ['10.0.0.0/8', 8, Uint8Array.of(8, 0, 0, 0, 10, 0, 0, 0)],
  ['2001:db8::1', 16, Uint8Array.of(0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1)],
  ['::/0', 20, new Uint8Array(20)],
  ['02:00:00:00:00:0a', 6, Uint8Array.of(2, 0, 0, 0, 0, 10)],
  ['de ad be ef', 4, Uint8Array.of(0xde, 0xad, 0xbe, 0xef)],
  ['0xdeadbe', 3, Uint8Array.of(0xde, 0xad, 0xbe)],
  // Of four bytes it is a number, the lowest byte first.
  ['0xdeadbeef', 4, 0xdeadbeef],
])('%s of %i bytes', (given, size, expected) => {
  expect(read(given, size)).toEqual(expected);
});

test('what is no text stays as it is', () => {
  for (const given of [5, 5n, true, null, { a: 1 }, [1, 2], Uint8Array.of(1)]) expect(read(given, 4)).toBe(given);
});

test.each([
  [
    '',
    4,
    /"" is not of 4 bytes; use a number, port:NAME, an address, a prefix, or 4 hexadecimal bytes such as 00 00 00 00/,
  ],
  ['ten', 8, /"ten" is not of 8 bytes/],
  ['5', 3, /"5" is not of 3 bytes; use port:NAME/],
  ['10.0.0.1', 8, /not of 8 bytes/],
  ['10.0.0.0/8', 4, /not of 4 bytes/],
  ['10.0.0.0/33', 8, /not of 8 bytes/],
  ['de ad be', 4, /not of 4 bytes/],
  ['port:nope', 4, /port:nope: there is no port "nope"/],
])('%j of %i bytes is refused', (given, size, message) => {
  const error = (() => {
    try {
      read(given, size);
    } catch (caught) {
      return caught as RingwayError;
    }
    return undefined;
  })();
  expect(error).toMatchObject({ code: 'BAD_ARGUMENT' });
  expect(error?.message).toMatch(/^map m: key: /);
  expect(error?.message).toMatch(message);
});

test('keys and values of any bytes, as they are printed, are read back', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 1, maxLength: 24 }),
      fc.uint8Array({ minLength: 1, maxLength: 24 }),
      (key, value) => {
        const map = mapOf(plain(key.length, value.length));
        map.setBytes(key, value);
        const [[shownKey, shownValue] = []] = [...map].map((entry) => entry.map(plainItem));
        // As the command line gets it.
        const other = mapOf(plain(key.length, value.length));
        writeEntry(other, String(shownKey), String(shownValue), names);
        expect(other.getBytes(key)).toEqual(value);
        expect(map.delete(readKey(map, JSON.parse(JSON.stringify(shownKey)), names))).toBe(true);
      },
    ),
    { numRuns: 300 },
  );
});

test('values of all types, as they are printed, are read back', () => {
  // Without floating point, of which JSON has not all.
  const map = settingsMap('.rodata');
  const size = map.definition.valueBytes;
  fc.assert(
    fc.property(fc.uint8Array({ minLength: size, maxLength: size }), (bytes) => {
      map.setBytes(new Uint8Array(4), bytes);
      const shown = JSON.parse(JSON.stringify(plainItem(map.get(0))));
      const before = map.get(0);
      map.setBytes(new Uint8Array(4), new Uint8Array(size));
      writeEntry(map, '0', shown, names);
      expect(map.get(0)).toEqual(before);
    }),
    { numRuns: 300 },
  );
});

test('text in members is read as text is, by the size of the member', () => {
  const map = settingsMap();
  const write = (current: object): unknown => {
    writeEntry(map, 0, { current }, names);
    return (map.get(0) as { current: unknown }).current;
  };
  expect(write({ address: '10.0.0.1', total: '0xffffffffffffffff', name: '61 62 63 00 00 00 00 00' })).toMatchObject({
    octets: Uint8Array.of(10, 0, 0, 1),
    total: 2n ** 64n - 1n,
    name: Uint8Array.from(Buffer.from('abc\0\0\0\0\0')),
  });
  expect(write({ limits: ['1', '0x20', 3], point: { x: '5' }, address: 'port:out' })).toMatchObject({
    limits: [1, 32, 3],
    point: { x: 5, y: 0 },
    address: 2,
  });
  expect(() => write({ address: 'here' })).toThrow(/map \.data: value\.current\.address: "here" is not of 4 bytes/);
  expect(() => write({ limits: [1, 'x'] })).toThrow(/value\.current\.limits\[1\]: "x"/);
  expect(() => write({ nothing: '1' })).toThrow(/no member nothing/);
});

test('anything as a key and a value is written or refused', () => {
  const maps = [
    mapOf(plain(4, 8)),
    mapOf(plain(6, 3)),
    mapOf(plain(4, 8, layout.KIND_PERCPU_ARRAY), 2),
    mapOf(plain(4, 8, layout.KIND_DEVMAP)),
    mapOf(plain(4, 4, layout.KIND_PROG_ARRAY)),
    mapOf({ ...plain(8, 8, layout.KIND_LPM_TRIE), flags: 1 }),
    mapOf(plain(4, 4, layout.KIND_XSKMAP)),
    settingsMap(),
  ];
  const part = fc.oneof(
    fc.constantFrom('port:in', '10.0.0.1', '10.0.0.0/8', 'de ad be ef', '5', 'main', '__proto__'),
    fc.jsonValue({ maxDepth: 2 }),
    fc.record({ ifindex: fc.constantFrom('port:out', 1, null), program: fc.constantFrom('main', 'nope', 0, 7) }),
    fc.record({
      current: fc.dictionary(fc.constantFrom('limits', 'point', 'address', 'octets', 'low'), fc.jsonValue()),
    }),
  );
  fc.assert(
    fc.property(fc.constantFrom(...maps), part, part, (map, key, value) => {
      try {
        writeEntry(map, key, value, names);
      } catch (error) {
        if (!(error instanceof RingwayError)) throw error;
        expect(error.message).toContain(`map ${map.name}`);
      }
    }),
    { numRuns: 3000 },
  );
});

test('programs and ports of device and CPU maps are given by name', () => {
  const devices = mapOf(plain(4, 8, layout.KIND_DEVMAP));
  writeEntry(devices, '3', { ifindex: 'port:out', program: 'main' }, names);
  expect(devices.get(3)).toEqual({ ifindex: 2, program: 7 });
  writeEntry(devices, 3, 'port:in', names);
  expect(devices.get(3)).toEqual({ ifindex: 1, program: 0 });
  writeEntry(devices, 3, plainItem({ ifindex: 2, program: 7 }), names);
  expect(devices.get(3)).toEqual({ ifindex: 2, program: 7 });
  const cpus = mapOf(plain(4, 8, layout.KIND_CPUMAP));
  writeEntry(cpus, 0, { qsize: '192', program: 'main' }, names);
  expect(cpus.get(0)).toEqual({ qsize: 192, program: 7 });
  const calls = mapOf(plain(4, 4, layout.KIND_PROG_ARRAY));
  writeEntry(calls, 1, 'main', names);
  expect(calls.get(1)).toBe(7);
  expect(() => writeEntry(calls, 1, 'other', names)).toThrow(/no program other/);
});

test('in a map with values by CPU one value is for all, and a list is one for each', () => {
  const map = mapOf(plain(4, 8, layout.KIND_PERCPU_ARRAY), 3);
  writeEntry(map, '2', '5', names);
  expect(map.get(2)).toEqual([5n, 5n, 5n]);
  writeEntry(map, 2, ['1', 2, '3'], names);
  expect(map.get(2)).toEqual([1n, 2n, 3n]);
});

test('what is printed is JSON', () => {
  expect(plainItem({ a: 5n, b: 2n ** 60n, c: Uint8Array.of(0, 255), d: [1n, true, null], e: 'text' })).toEqual({
    a: 5,
    b: '1152921504606846976',
    c: '00 ff',
    d: [1, true, null],
    e: 'text',
  });
  expect(plainItem(mapOf(plain(4, 4)))).toBe('map m');
});
