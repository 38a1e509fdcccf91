import fc from 'fast-check';
import { createVirtqueueDevice, rawRing } from 'ringway/virtio';
import { expect, test } from 'vitest';
import { Random } from '#build/util/random.js';
import { VIRTQ_DESC_F_NEXT, VQ_GIVE } from '#build/virtio/layout.js';
import { findPlace } from '#build/virtio/resume.js';
import { effort } from '../support/effort.ts';
import { makeRig, type Rig, type RigOptions, SLOT_BYTES } from './support/rig.ts';

const FRESH = 0x80008000;
const usedHalf = (rig: Rig): number => rig.device.base() >>> 16;

interface Life {
  readonly size: number;
  readonly segments: number;
  readonly indirect: number;
  readonly inOrder: boolean;
  /** Chains come back in any order. */
  readonly shuffled: boolean;
}

/**
 * A queue that was used at random until its device was killed, perhaps before it published a burst: `after` is the place
 * behind that, and `first` the id of its first chain. `serials` has the chains that are out by their ids, numbered as they
 * were added.
 */
function live(life: Life, random: Random) {
  const { size, segments, indirect, inOrder, shuffled } = life;
  const options: RigOptions = { layout: 'packed', size, inOrder, indirect };
  const rig = makeRig(options);
  const { driver, device, adding, taken, records, buffers, arena } = rig;
  const { virtioPackedWriteUsed } = arena.kernels<{
    virtioPackedWriteUsed(queue: number, used: number, n: number): void;
  }>();
  const held: { id: number; room: number }[] = [];
  const serials = new Map<number, number>();
  let serial = 0;
  const prepare = (): number => {
    const n = Math.min(held.length, 1 + random.below(4));
    for (let i = 0; i < n; i++) {
      const [chain] = held.splice(shuffled ? random.below(held.length) : 0, 1) as [(typeof held)[number]];
      arena.u32.set([chain.id, random.below(chain.room + 1)], (records >>> 2) + i * 2);
    }
    return n;
  };
  const add = (): void => {
    adding.clear();
    const count = 1 + random.below(Math.min(size, segments));
    const all = Array.from({ length: count }, (_, i) => ({
      address: buffers + i * SLOT_BYTES,
      length: 1 + ((serial + i) % 64),
    }));
    const split = random.below(count + 1);
    adding.push(all.slice(0, split), all.slice(split));
    if (driver.add(adding, 1) === 1) serials.set(adding.id(0), serial++);
  };
  const take = (): void => {
    const n = device.take(taken, 1 + random.below(4));
    for (let i = 0; i < n; i++) {
      const { id, writable } = taken.at(i);
      held.push({ id, room: writable.reduce((sum, { length }) => sum + length, 0) });
    }
  };
  const giveBack = (): void => {
    device.return(records, prepare());
  };
  const poll = (): void => {
    const n = driver.poll(records, 1 + random.below(4));
    for (let i = 0; i < n; i++) serials.delete(arena.u32[(records >>> 2) + i * 2] as number);
  };
  for (let left = random.below(20 + size * 8); left > 0; left--) [add, take, giveBack, poll, add][random.below(5)]?.();
  let [after, first] = [usedHalf(rig), 0];
  if (random.below(4) === 0) {
    const before = device.base();
    const n = prepare();
    first = arena.u32[records >>> 2] as number;
    if (n > 0) virtioPackedWriteUsed(device.address, records, n);
    after = usedHalf(rig);
    // It moved on in its own state, and nobody saw it.
    arena.u32.set([(before >>> 16) & 0x7fff, before >>> 31], (device.address + VQ_GIVE) >>> 2);
  }
  return { rig, options, serials, after, first };
}

const life = (shape: Partial<Record<keyof Life, fc.Arbitrary<unknown>>> = {}): fc.Arbitrary<Life> =>
  fc.record({
    size: fc.integer({ min: 1, max: 9 }),
    segments: fc.integer({ min: 1, max: 4 }),
    indirect: fc.constant(0),
    inOrder: fc.boolean(),
    shuffled: fc.constant(false),
    ...shape,
  }) as fc.Arbitrary<Life>;

test('whatever a queue was used for, the place that is found is the right one', () => {
  let [found, missed] = [0, 0];
  const shapes = fc.oneof(
    life(),
    life({ segments: fc.constant(1), inOrder: fc.constant(false), shuffled: fc.constant(true) }),
    life({ size: fc.integer({ min: 3, max: 9 }), indirect: fc.constant(3) }),
  );
  fc.assert(
    fc.property(shapes, fc.integer({ min: 0 }), (shape, seed) => {
      const { rig, after, first } = live(shape, new Random(seed));
      const place = findPlace(rig.arena, rig.device.address);
      if (place === undefined) return;
      found++;
      if (place.missed.length === 0) {
        expect(place.place).toBe(usedHalf(rig));
        return;
      }
      missed++;
      expect(place.place).toBe(after);
      // Chains that come back in any order do not lie where they are returned.
      if (!shape.shuffled) expect(place.missed).toEqual([{ place: usedHalf(rig) & 0x7fff, id: first }]);
    }),
    { numRuns: effort(400, 1500) },
  );
  expect(found).toBeGreaterThan(effort(200, 400));
  expect(missed).toBeGreaterThan(effort(5, 20));
});

test('a device in order with chains of one descriptor takes all again that was not returned, nothing else', () => {
  let [places, runs] = [0, 0];
  fc.assert(
    fc.property(
      life({ size: fc.integer({ min: 4, max: 40 }), segments: fc.constant(1) }),
      fc.integer({ min: 0 }),
      (shape, seed) => {
        const { rig, options, serials } = live(shape, new Random(seed));
        runs++;
        const { arena, driver, rings, regions, records, taken } = rig;
        const found = findPlace(arena, rig.device.address);
        if (found === undefined) return;
        places++;
        const next = createVirtqueueDevice(arena, { ...options, name: 'next', rings, regions });
        next.start(FRESH);
        expect(next.base()).toBe((found.place | (found.place << 16)) >>> 0);
        // What was returned and not polled yet, and what was passed over.
        for (let n = driver.poll(records, 32); n > 0; n = driver.poll(records, 32)) {
          for (let i = 0; i < n; i++) serials.delete(arena.u32[(records >>> 2) + i * 2] as number);
        }
        const left = [...serials.values()].sort((a, b) => a - b);
        for (const serial of left) {
          expect(next.take(taken, 1)).toBe(1);
          expect(serials.get(taken.id(0))).toBe(serial);
          arena.u32.set([taken.id(0), 0], records >>> 2);
          expect([next.return(records, 1), driver.poll(records, 2)]).toEqual([1, 1]);
        }
        expect([next.take(taken, 1), driver.free(), driver.broken(), next.broken()]).toEqual([0, shape.size, 0, 0]);
      },
    ),
    { numRuns: effort(100, 300) },
  );
  expect(places / runs).toBeGreaterThan(0.35);
});

/** Adds chains of one buffer, which the device takes, and returns some. */
function turn({ driver, device, adding, taken, records, buffers, arena }: Rig, add: number, back: number): void {
  for (let i = 0; i < add; i++) {
    adding.clear();
    adding.push([{ address: buffers, length: 1 }], []);
    driver.add(adding, 1);
  }
  for (let i = 0; i < back; i++) {
    device.take(taken, 1);
    arena.u32.set([taken.id(0), 0], records >>> 2);
    device.return(records, 1);
  }
}

test.each([
  ['a fresh ring', 0, 0, 0x8000],
  ['all available', 7, 0, 0x8000],
  ['all used', 7, 7, 0x0000],
  ['some used', 7, 3, 0x8003],
  ['some used of few in the first lap', 5, 3, 0x8003],
  ['none used of few in the first lap', 5, 0, 0x8000],
] as const)('%s', (_, add, back, place) => {
  const rig = makeRig({ layout: 'packed', size: 7 });
  turn(rig, add, back);
  expect(findPlace(rig.arena, rig.device.address)).toEqual({ place, missed: [] });
});

// A device that kept up with its driver, and died before the driver went on: drivers give the id that was freed last.
test.each([1, 2])('the id of the last chain that was returned, of %d descriptors, is given again', (segments) => {
  const rig = makeRig({ layout: 'packed', size: 7 });
  const { driver, device, adding, taken, records, buffers, arena } = rig;
  const ids = [1, segments].map((count, turn) => {
    adding.clear();
    const all = Array.from({ length: count }, () => ({ address: buffers, length: 1 }));
    adding.push(turn === 0 ? all : [], turn === 0 ? [] : all);
    driver.add(adding, 1);
    device.take(taken, 1);
    arena.u32.set([taken.id(0), 0], records >>> 2);
    device.return(records, 1);
    driver.poll(records, 1);
    return adding.id(0);
  });
  const again = Array.from({ length: 6 - segments }, () => {
    adding.clear();
    adding.push([{ address: buffers, length: 1 }], []);
    return driver.add(adding, 1) === 1 ? adding.id(0) : undefined;
  });
  expect(again[0]).toBe(ids[1]);
  expect(findPlace(arena, device.address)).toEqual({ place: 0x8000 + 1 + segments, missed: [] });
});

test('the base of DPDK, whose upper half is zero, has nothing out', () => {
  const rig = makeRig({ layout: 'packed', size: 7 });
  rig.device.start(0x8000);
  expect([rig.device.base(), rig.device.free()]).toEqual([FRESH, 7]);
  rig.device.start(0x8004);
  // The ring is fresh: it says where the device is.
  expect(rig.device.base()).toBe(FRESH);
  expect(() => rig.device.start(0x0004)).not.toThrow();
});

test('a base that says that something is out is taken as it is', () => {
  const rig = makeRig({ layout: 'packed', size: 7 });
  turn(rig, 5, 3);
  rig.device.start(0x80028004);
  expect(rig.device.base()).toBe(0x80028004);
});

test('a ring that nobody could have written says nothing, and the base stands', () => {
  const rig = makeRig({ layout: 'packed', size: 7 });
  const raw = rawRing(rig.arena, 'packed');
  const write = (flags: readonly number[], link = 0): unknown => {
    for (const [place, each] of flags.entries()) {
      raw.writeDescriptor(rig.rings.descriptors, place, { guest: 1n, length: 1, flags: each, link: link || place });
    }
    return findPlace(rig.arena, rig.device.address);
  };
  const [A, U] = [0x80, 0x8000];
  expect(write([A, A, A, A, A, A, A])).toEqual({ place: 0x8000, missed: [] });
  expect(write([A, U, A, U, A, U, A])).toBeUndefined();
  expect(write([A, A, A | U, A, A, A, A])).toBeUndefined();
  expect(write([A, A, A, A, A, A, A | VIRTQ_DESC_F_NEXT])).toBeUndefined();
  expect(write([A, A, A, A, A, A, A], 3)).toBeUndefined();
  expect(write([A, A, A, A, A, A, A], 9)).toBeUndefined();
  rig.device.start(0x80058005);
  expect(rig.device.base()).toBe(0x80058005);
});

// As QEMU does while there is no device: it drops what is available at the place that it remembers.
test('chains that somebody passed over are lost, and the driver goes on', () => {
  const rig = makeRig({ layout: 'packed', size: 7 });
  const { arena, driver, device, rings, records, taken } = rig;
  const raw = rawRing(arena, 'packed');
  turn(rig, 5, 3);
  driver.poll(records, 7);
  turn(rig, 4, 0);
  // The places 3 to 6 and 0 to 1 are available, in two laps; 0 is dropped.
  const { link } = raw.readDescriptor(rings.descriptors, 0);
  raw.writeDescriptor(rings.descriptors, 0, { guest: 1n, length: 0, flags: 0, link });
  device.reset();
  device.start(FRESH);
  expect(usedHalf(rig)).toBe(0x0001);
  expect(driver.poll(records, 9)).toBe(5);
  expect(device.take(taken, 9)).toBe(1);
  arena.u32.set([taken.id(0), 0], records >>> 2);
  device.return(records, 1);
  expect([driver.poll(records, 9), driver.free(), driver.broken(), device.broken()]).toEqual([1, 7, 0, 0]);
});
