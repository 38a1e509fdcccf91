import { expect, test } from 'vitest';
import {
  KIND_ARRAY,
  KIND_ARRAY_OF_MAPS,
  KIND_DEVMAP,
  KIND_HASH,
  KIND_HASH_OF_MAPS,
  KIND_LPM_TRIE,
  KIND_LRU_PERCPU_HASH,
  KIND_PERCPU_ARRAY,
  KIND_PERF_EVENT_ARRAY,
  KIND_PROG_ARRAY,
  KIND_RINGBUF,
} from '#build/bpf/layout.js';
import { loadObject } from '#build/bpf/object/load.js';
import type { MapDefinition } from '#build/bpf/program.js';
import { fixture, fixtureBytes } from './objects.ts';

const mapsOf = (name: string): Map<string, MapDefinition> => new Map(fixture(name).maps.map((map) => [map.name, map]));

/** Numbers of a map: kind, bytes of key and value, entries, flags. */
const numbers = (map: MapDefinition | undefined): number[] =>
  map === undefined ? [] : [map.kind, map.keyBytes, map.valueBytes, map.maxEntries, map.flags];

test('definitions of .maps have all their numbers', () => {
  const maps = mapsOf('maps');
  expect(numbers(maps.get('flows'))).toEqual([KIND_LRU_PERCPU_HASH, 16, 16, 1000, 2]);
  expect(numbers(maps.get('totals'))).toEqual([KIND_PERCPU_ARRAY, 4, 16, 5, 0]);
  expect(numbers(maps.get('prefixes'))).toEqual([KIND_LPM_TRIE, 8, 4, 64, 1]);
  expect(numbers(maps.get('events'))).toEqual([KIND_RINGBUF, 0, 0, 4096, 0]);
  expect(numbers(maps.get('samples'))).toEqual([KIND_PERF_EVENT_ARRAY, 4, 4, 0, 0]);
  expect(numbers(maps.get('devices'))).toEqual([KIND_DEVMAP, 4, 8, 8, 0]);
  expect([...maps.values()].filter(({ pinned }) => pinned).map(({ name }) => name)).toEqual(['flows']);
});

test('maps know the types of their keys and values', () => {
  const types = mapsOf('maps').get('flows')?.types;
  expect(types?.btf.describe(types.key)).toBe('struct flow');
  expect(types?.btf.describe(types.value)).toBe('struct counters');
  expect(mapsOf('maps').get('totals')?.types).toBeUndefined();
});

test('maps of maps and of programs know what they hold', () => {
  const maps = mapsOf('nested');
  const outer = maps.get('outer');
  expect(numbers(outer)).toEqual([KIND_ARRAY_OF_MAPS, 4, 4, 8, 0]);
  expect(numbers(outer?.inner)).toEqual([KIND_ARRAY, 4, 8, 4, 0]);
  expect(outer?.initialValues).toEqual([
    { key: 0, name: 'first' },
    { key: 2, name: 'third' },
  ]);
  const tenants = maps.get('tenants');
  expect(numbers(tenants)).toEqual([KIND_HASH_OF_MAPS, 4, 4, 8, 0]);
  expect(numbers(tenants?.inner)).toEqual([KIND_HASH, 4, 4, 16, 0]);
  expect(tenants?.initialValues).toBeUndefined();
  const jumps = maps.get('jumps');
  expect(numbers(jumps)).toEqual([KIND_PROG_ARRAY, 4, 4, 4, 0]);
  expect(jumps?.inner).toBeUndefined();
  expect(jumps?.initialValues).toEqual([
    { key: 1, name: 'drop' },
    { key: 3, name: 'leave' },
  ]);
});

test('legacy definitions are read, longer ones when the rest is 0', () => {
  const maps = mapsOf('legacy');
  expect(numbers(maps.get('old_array'))).toEqual([KIND_ARRAY, 4, 8, 256, 0]);
  expect(numbers(maps.get('old_hash'))).toEqual([KIND_HASH, 6, 4, 512, 1]);
});

test('a legacy definition with more than its five fields is refused', () => {
  const bytes = fixtureBytes('legacy');
  const { parts } = loadObject(bytes);
  const section = parts.elf.section('maps');
  const start = (section?.bytes.byteOffset ?? 0) + 20 + 24;
  bytes[start] = 1;
  expect(() => loadObject(bytes)).toThrow(/map old_hash of section maps has 36 bytes at 20.*what follows must be 0/);
});

test('sections of variables are arrays of one value', () => {
  const maps = mapsOf('data');
  expect([...maps.keys()].sort()).toEqual(['.bss', '.data', '.data.special', '.rodata']);
  expect(numbers(maps.get('.rodata'))).toEqual([KIND_ARRAY, 4, maps.get('.rodata')?.initial?.length, 1, 128]);
  expect(numbers(maps.get('.bss'))).toEqual([KIND_ARRAY, 4, 24, 1, 0]);
  expect(maps.get('.bss')?.initial).toEqual(new Uint8Array(24));
  expect(maps.get('.data.special')?.initial).toEqual(Uint8Array.of(99, 0, 0, 0));
  const { btf, value } = maps.get('.data.special')?.types ?? {};
  expect(btf?.type(value ?? 0)).toMatchObject({ kind: 'datasec', name: '.data.special', bytes: 4 });
});

test('global variables have the places that the linker gave them', () => {
  const { btf, value } = mapsOf('data').get('.rodata')?.types ?? {};
  const section = btf?.type(value ?? 0);
  const places =
    section?.kind === 'datasec' ? section.variables.map((each) => [btf?.type(each.type).name, each.offset]) : [];
  expect(Object.fromEntries(places)).toEqual({ settings: 0, threshold: 72 });
});
