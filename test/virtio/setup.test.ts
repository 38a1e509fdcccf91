import fc from 'fast-check';
import { createRegionTable, createVirtqueueDevice, createVirtqueueDriver, virtqueueBytes } from 'ringway/virtio';
import { expect, test } from 'vitest';
import { BASES, testArena } from '../support/arena.ts';
import { makeRig } from './support/rig.ts';

test('parts have the sizes of 2.6 and 2.7.10.1', () => {
  expect(virtqueueBytes('split', 256)).toEqual({ descriptors: 4096, driverArea: 518, deviceArea: 2054 });
  expect(virtqueueBytes('packed', 100)).toEqual({ descriptors: 1600, driverArea: 4, deviceArea: 4 });
});

test.each([
  ['split', 0, /size=0, a split queue has a power of two from 1 to 32768/],
  ['split', 3, /size=3, a split queue has a power of two/],
  ['split', 65536, /size=65536/],
  ['packed', 0, /size=0, must be a whole number from 1 to 32768/],
  ['packed', 32769, /size=32769/],
  ['packed', 1.5, /size=1.5/],
] as const)('%s with %d descriptors is refused', (layout, size, reason) => {
  expect(() => virtqueueBytes(layout, size)).toThrow(reason);
});

const good = { descriptors: 0x40000, driverArea: 0x50000, deviceArea: 0x60000 };

test.each([
  ['split', { descriptors: 0x40008 }, /descriptors=262152, must be a multiple of 16 \(split\)/],
  ['split', { driverArea: 0x50001 }, /driverArea=327681, must be a multiple of 2/],
  ['split', { deviceArea: 0x60002 }, /deviceArea=393218, must be a multiple of 4/],
  ['packed', { driverArea: 0x50002 }, /driverArea=327682, must be a multiple of 4 \(packed\)/],
  ['split', { driverArea: 0x40010 }, /driverArea=262160 with 22 bytes overlaps descriptors=262144 with 128/],
  ['packed', { deviceArea: 0x50000 }, /deviceArea=327680 with 4 bytes overlaps driverArea/],
  ['split', { deviceArea: 2 ** 32 - 4 }, /deviceArea=4294967292 with 70 bytes, must lie in the arena/],
  ['packed', { descriptors: 0 }, /descriptors=0 with 128 bytes, must lie in the arena/],
  ['packed', { descriptors: Number.NaN }, /descriptors=NaN/],
] as const)('%s: a ring at %j is refused', (layout, change, reason) => {
  const arena = testArena();
  const options = { name: 'q', layout, size: 8, rings: { ...good, ...change } };
  expect(() => createVirtqueueDriver(arena, options)).toThrow(reason);
  const regions = createRegionTable(arena, 'regions');
  expect(() => createVirtqueueDevice(arena, { ...options, regions })).toThrow(reason);
});

test('tables and lists that do not fit the queue are refused', () => {
  const { device, adding } = makeRig({ layout: 'packed', size: 200 });
  expect(() => device.take(adding, 1)).toThrow(/a list of 128 segments, needs 200/);
  expect(() => makeRig({ layout: 'split', size: 4, indirect: 5 })).toThrow(/indirect=5, must be a whole number from 2/);
});

test.each(BASES)('base %i: an address translates when all its bytes lie in one region, and only then', (base) => {
  const arena = testArena(1 << 20, base);
  const table = createRegionTable(arena, 'regions');
  const memory = arena.allocate('memory', 8192);
  const top = (1n << 64n) - 4096n;
  const regions = [
    { guest: 0n, bytes: 4096, address: memory },
    // The next by guest address, but not in the arena: a buffer across both is in neither.
    { guest: 4096n, bytes: 1024, address: memory + 6144 },
    { guest: top, bytes: 2048, address: memory + 4096 },
    { guest: top + 2048n, bytes: 2048, address: memory },
  ];
  table.set(regions);
  const near = fc.constantFrom(0n, 4095n, 4096n, 5119n, 5120n, top - 1n, top, top + 2047n, top + 4095n, 1n << 32n);
  const length = fc.oneof(fc.nat(5000), fc.constantFrom(0, 1, 2 ** 31, 2 ** 32 - 1));
  fc.assert(
    fc.property(near, fc.nat(64), length, (start, more, bytes) => {
      const guest = BigInt.asUintN(64, start + BigInt(more));
      const region = regions.find((r) => guest >= r.guest && guest + BigInt(bytes) <= r.guest + BigInt(r.bytes));
      expect(table.translate(guest, bytes)).toBe(region ? region.address + Number(guest - region.guest) : 0);
    }),
    { numRuns: 2000 },
  );
  table.set([]);
  expect(table.translate(0n, 1)).toBe(0);
});

test('regions that cannot be are refused', () => {
  const arena = testArena();
  const table = createRegionTable(arena, 'regions');
  const fits = { guest: 0n, bytes: 4096, address: 0x40000 };
  expect(() => table.set(Array.from({ length: 33 }, () => fits))).toThrow(/33 regions, at most 32/);
  expect(() => table.set([{ ...fits, bytes: 0 }])).toThrow(/needs 1 byte or more/);
  expect(() => table.set([{ ...fits, guest: (1n << 64n) - 4095n }])).toThrow(/end at 2\^64/);
  expect(() => table.set([{ ...fits, address: arena.bytes - 4095 }])).toThrow(/must lie in the arena/);
});
