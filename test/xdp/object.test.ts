import { readFileSync } from 'node:fs';
import { type Arena, createArena } from 'ringway/memory';
import { expect, test } from 'vitest';
import { createMap } from '#build/bpf/maps/create.js';
import type { BpfMap } from '#build/bpf/maps/map.js';
import { loadObject } from '#build/bpf/object/load.js';
import type { BpfObject } from '#build/bpf/object/object.js';
import { LoadedObject, type LoadOptions, objectBytes } from '#build/xdp/object.js';
import { writeObject } from './support/object.ts';

const fixture = (name: string): BpfObject =>
  loadObject(readFileSync(new URL(`../bpf/object/fixtures/${name}.o`, import.meta.url)), { file: `${name}.o` });

/** Objects in one arena, with numbers for their programs and maps that they share. */
class Ground {
  readonly arena: Arena = createArena({ bytes: 8 << 20, debug: true });
  readonly pinned = new Map<string, BpfMap>();
  last = 0;
  #objects = 0;

  load(object: BpfObject, options: Partial<LoadOptions> = {}): LoadedObject {
    return new LoadedObject(this.arena, object, {
      prefix: `object ${++this.#objects}`,
      cpus: 1,
      seed: 1,
      trusted: false,
      pinned: this.pinned,
      nextNumber: () => ++this.last,
      ...options,
    });
  }

  /** Addresses that the object's programs may reach, with the map that each belongs to. */
  ranges(object: LoadedObject): { address: number; bytes: number; map: number }[] {
    const [{ wire } = { wire: undefined }] = [...object.programs.values()];
    if (wire === undefined) throw new Error('no program');
    return Array.from({ length: wire.rangeCount }, (_, index) => {
      const at = (wire.ranges + index * 16) >>> 2;
      const [address = 0, bytes = 0, , map = 0] = this.arena.u32.subarray(at, at + 4);
      return { address, bytes, map };
    });
  }

  reaches(object: LoadedObject, map: BpfMap | undefined): boolean {
    return this.ranges(object).some((range) => range.map === map?.address && range.bytes > 0);
  }
}

test('an object takes no more of an arena than it says, and gives all back', () => {
  for (const name of ['maps', 'nested', 'data', 'calls', 'verdicts', 'sections', 'legacy', 'dispatcher']) {
    const object = fixture(name);
    const ground = new Ground();
    const before = ground.arena.regions().map((region) => region.name);
    const loaded = ground.load(object);
    const own = ground.arena.regions().filter((region) => !before.includes(region.name));
    const taken = own.reduce((sum, { bytes }) => sum + bytes + 64, 0);
    expect(taken, name).toBeLessThanOrEqual(objectBytes(object, 1));
    loaded.release();
    const left = ground.arena.regions().map((region) => region.name);
    // Maps that are pinned by name stay.
    expect(left.length - before.filter((one) => left.includes(one)).length, name).toBeLessThanOrEqual(
      ground.pinned.size + 1,
    );
    expect(ground.arena.damaged()).toEqual([]);
  }
});

test('maps that are pinned by name are shared by objects, and outlive them', () => {
  const ground = new Ground();
  const [one, two] = [ground.load(fixture('maps')), ground.load(fixture('maps'))];
  expect(one.maps.get('flows')).toBe(two.maps.get('flows'));
  expect(one.maps.get('totals')).not.toBe(two.maps.get('totals'));
  expect([...ground.pinned.keys()]).toEqual(['flows']);
  for (const object of [one, two]) expect(ground.reaches(object, ground.pinned.get('flows'))).toBe(true);
  expect(ground.reaches(one, two.maps.get('totals'))).toBe(false);
  const flows = one.maps.get('flows') as BpfMap;
  expect([one.owns(flows), one.owns(one.maps.get('totals') as BpfMap)]).toEqual([false, true]);
  flows.setBytes(new Uint8Array(flows.definition.keyBytes), new Uint8Array(flows.valueBytes));
  one.release();
  two.release();
  expect(ground.pinned.get('flows')?.size).toBe(1);
  expect(ground.load(fixture('maps')).maps.get('flows')?.size).toBe(1);
});

test('a pinned map of another size or kind is refused, and nothing is left', () => {
  const ground = new Ground();
  ground.load(fixture('maps')).release();
  const object = fixture('maps');
  const other: BpfObject = {
    ...object,
    maps: object.maps.map((map) => (map.name === 'flows' ? { ...map, maxEntries: 5 } : map)),
  };
  const before = ground.arena.regions().length;
  expect(() => ground.load(other)).toThrow(
    'maps.o: map flows is pinned by name, and the one that is there has another kind or size',
  );
  expect(ground.arena.regions()).toHaveLength(before);
});

test('maps and programs that a map holds from the start are there', () => {
  const ground = new Ground();
  const nested = ground.load(fixture('nested'));
  const { outer, first, third, jumps, tenants } = Object.fromEntries(nested.maps);
  expect([...(outer ?? [])]).toEqual([
    [0, first],
    [2, third],
  ]);
  expect([...(jumps ?? [])]).toEqual([
    [1, nested.program('drop').wire.number],
    [3, nested.program('leave').wire.number],
  ]);
  expect([...(tenants ?? [])]).toEqual([]);
});

test('programs reach the maps that maps of maps hold, from when they are told', () => {
  const ground = new Ground();
  const nested = ground.load(fixture('nested'));
  const definition = nested.maps.get('tenants')?.definition.inner;
  if (definition === undefined) throw new Error('no inner map');
  const tenant = createMap(ground.arena, definition, { cpus: 1, seed: 1 });
  nested.maps.get('tenants')?.set(7, tenant);
  expect(ground.reaches(nested, tenant)).toBe(false);
  nested.updateRanges();
  expect(ground.reaches(nested, tenant)).toBe(true);
  nested.maps.get('tenants')?.delete(7);
  nested.updateRanges();
  expect(ground.reaches(nested, tenant)).toBe(false);
  // The table is full of the last one, so that its length never changes.
  const ranges = ground.ranges(nested);
  expect(ranges.at(-1)).toEqual(ranges.at(-2));
});

test('more maps than programs can be told of are refused', () => {
  const ground = new Ground();
  const nested = ground.load(fixture('nested'));
  const definition = nested.maps.get('tenants')?.definition.inner;
  if (definition === undefined) throw new Error('no inner map');
  const { tenants } = Object.fromEntries(nested.maps);
  const wide = createMap(ground.arena, { ...(tenants as BpfMap).definition, maxEntries: 400 }, { cpus: 1, seed: 1 });
  nested.maps.set('wide', wide);
  for (let key = 0; key < 300; key++) {
    wide.set(key, createMap(ground.arena, { ...definition, maxEntries: 1 }, { name: `t${key}`, cpus: 1, seed: 1 }));
  }
  expect(() => nested.updateRanges()).toThrow(/nested\.o: \d+ maps, at most 256 can be reached/);
});

test('a program that cannot run is refused when somebody wants it, and the others run', () => {
  const ground = new Ground();
  const externs = ground.load(fixture('externs'));
  expect([...externs.programs.keys()].length + externs.refused.size).toBeGreaterThan(1);
  for (const [name, error] of externs.refused) {
    expect(error).toMatchObject({ name: 'RingwayError', message: expect.stringMatching(/externs\.o|externs\.c/) });
    expect(() => externs.program(name)).toThrow(error);
  }
  const bad = ground.load(loadObject(writeObject('main', 'mov %r0, %r1\ncall 26\nexit'), { file: 'bad.o' }));
  expect([...bad.programs.keys()]).toEqual([]);
  expect(() => bad.program()).toThrow(/skb_load_bytes/);
  expect(() => bad.program('other')).toThrow('bad.o: no program "other"; there are: main');
});

test('a map of programs that holds one that cannot run is refused, and nothing is left', () => {
  const ground = new Ground();
  const object = fixture('nested');
  const broken: BpfObject = {
    ...object,
    maps: object.maps.map((map) =>
      map.name === 'jumps' ? { ...map, initialValues: [{ key: 0, name: 'absent' }] } : map,
    ),
  };
  ground.load(object).release();
  const before = ground.arena.regions().length;
  expect(() => ground.load(broken)).toThrow('nested.o: no program "absent"');
  expect(ground.arena.regions()).toHaveLength(before);
});

test('numbers of programs for maps are of the type that the map takes', () => {
  const ground = new Ground();
  const object = ground.load(fixture('verdicts'));
  const of = (map: string, program: string): number => object.programFor(object.maps.get(map) as BpfMap, program);
  expect(of('calls', 'one')).toBe(object.program('one').wire.number);
  expect(of('devices', 'at_device')).toBe(object.program('at_device').wire.number);
  expect(of('devices_hash', 'at_device_frags')).toBe(object.program('at_device_frags').wire.number);
  expect(of('cpus', 'at_cpu')).toBe(object.program('at_cpu').wire.number);
  expect(() => of('calls', 'at_cpu')).toThrow(expect.objectContaining({ code: 'BAD_ARGUMENT' }));
  expect(() => of('devices', 'one')).toThrow(/one is in section xdp; a DEVMAP takes programs of section xdp\/devmap/);
  expect(() => of('cpus', 'nope')).toThrow(expect.objectContaining({ code: 'NOT_FOUND' }));
});
