import { attachVirtqueueDevice, attachVirtqueueDriver, rawRing } from 'ringway/virtio';
import { expect, test } from 'vitest';
import { VIRTQ_DESC_F_INDIRECT, VIRTQ_DESC_F_NEXT, VQ_BROKEN_CHAIN, VQ_TABLE_SEGMENTS } from '#build/virtio/layout.js';
import { testArena } from '../support/arena.ts';
import { GUEST_OFFSET, makeRig, type Rig, type RigOptions, SLOT_BYTES } from './support/rig.ts';

const layouts = [
  ['split', 8],
  ['packed', 7],
] as const;

/** Adds a chain of two buffers, which the device takes; returns its id there. */
function send({ driver, device, adding, taken, buffers }: Rig): number {
  adding.clear();
  adding.push([{ address: buffers, length: 1 }], [{ address: buffers + SLOT_BYTES, length: 8 }]);
  expect([driver.add(adding, 1), device.take(taken, 4)]).toEqual([1, 1]);
  return taken.id(0);
}

/** Returns the chains, which the driver polls. */
function back({ driver, device, records, arena }: Rig, ids: readonly number[]): void {
  for (const [i, id] of ids.entries()) arena.u32.set([id, 8], (records >>> 2) + i * 2);
  expect([device.return(records, ids.length), driver.poll(records, 8)]).toEqual([ids.length, ids.length]);
}

/** The same ring with new sides, as after a restart of both. */
function restarted(options: RigOptions, rig: Rig): Rig {
  const next = makeRig(options);
  const bytes = rig.arena.bytes;
  for (const part of ['descriptors', 'driverArea', 'deviceArea'] as const) {
    expect(next.rings[part]).toBe(rig.rings[part]);
    next.arena.u8.set(rig.arena.u8.subarray(rig.rings[part], Math.min(bytes, rig.rings[part] + 256)), rig.rings[part]);
  }
  return next;
}

test.each(layouts)('%s: both sides go on from the base that they left off at', (layout, size) => {
  const options = { layout, size };
  const rig = makeRig(options);
  expect([rig.driver.base(), rig.device.base()]).toEqual(layout === 'split' ? [0, 0] : [0x80008000, 0x80008000]);
  for (let laps = 0; laps < 41; laps++) {
    back(rig, [send(rig)]);
    const next = restarted(options, rig);
    next.driver.start(rig.driver.base());
    next.device.start(rig.device.base());
    expect([next.driver.base(), next.device.base()]).toEqual([rig.driver.base(), rig.device.base()]);
    for (let i = 0; i < size; i++) back(next, [send(next)]);
    expect([next.driver.broken(), next.device.broken(), next.driver.free(), next.device.free()]).toEqual([
      0,
      0,
      size,
      size,
    ]);
  }
});

test('the words of a base are those of VRING_BASE', () => {
  const packed = makeRig({ layout: 'packed', size: 7 });
  const ids = [send(packed), send(packed), send(packed)];
  // Available: place 6 of the first lap. Used: place 0 of it.
  expect([packed.device.base(), packed.driver.base()]).toEqual([0x80008006, 0x80008006]);
  back(packed, ids.slice(0, 1));
  expect(packed.device.base()).toBe(0x80028006);
  ids.push(send(packed));
  expect(packed.device.base()).toBe(0x80020001);
  const split = makeRig({ layout: 'split', size: 8 });
  back(split, [send(split)]);
  send(split);
  expect([split.driver.base(), split.device.base()]).toEqual([2, 2]);
});

test.each(layouts)('%s: a device that starts with chains out has room for the others alone', (layout, size) => {
  const options = { layout, size };
  const rig = makeRig(options);
  const ids = [send(rig), send(rig)];
  const next = restarted(options, rig);
  next.device.start(rig.device.base());
  expect([next.device.base(), next.device.free()]).toEqual([rig.device.base(), rig.device.free()]);
  expect(ids).toHaveLength(2);
  // A driver cannot: nobody knows whose the chains are.
  expect(() => next.driver.start(rig.driver.base())).toThrow(/are out between available . and used 0; a driver starts/);
});

test.each([
  ['split', 65536, /base 65536 \(0x10000\): must be a whole number from 0 to 65535/],
  ['split', -1, /base -1/],
  ['split', 9, /available 9 and used 0 are not within 8 of each other/],
  ['packed', 2 ** 32, /from 0 to 4294967295/],
  ['packed', 0x80008008, /available place 8 and used place 0 must be below the size, 8/],
  ['packed', 0x80088000, /used place 8/],
  ['packed', 0x80018000, /available 0 and used 1 are not within/],
  ['packed', 0x80000001, /available 1 and used 0 are not within/],
] as const)('%s: a device does not start from %i', (layout, base, reason) => {
  expect(() => makeRig({ layout, size: 8 }).device.start(base)).toThrow(reason);
});

test.each(layouts)('%s: another thread attaches a side by its address', (layout, size) => {
  const options = { layout, size, indirect: 3, eventIdx: true };
  const rig = makeRig(options);
  const driver = attachVirtqueueDriver(rig.arena, rig.driver.address);
  const device = attachVirtqueueDevice(rig.arena, rig.device.address);
  expect([driver.rings, device.rings]).toEqual([rig.rings, rig.rings]);
  expect([driver.tables, device.chainMax]).toEqual([rig.driver.tables, rig.device.chainMax]);
  for (let i = 0; i < size * 3; i++) back({ ...rig, driver }, [send({ ...rig, device })]);
  expect([driver.base(), device.base()]).toEqual([rig.driver.base(), rig.device.base()]);
  expect(() => attachVirtqueueDriver(rig.arena, rig.device.address)).toThrow(/no driver's side of a virtqueue at \d+/);
  expect(() => attachVirtqueueDevice(rig.arena, rig.driver.address)).toThrow(/no device's side/);
  expect(() => attachVirtqueueDevice(testArena(), 4096)).toThrow(/no device's side of a virtqueue at 4096/);
});

test('NOTIFICATION_DATA: the queue, the next place and its wrap counter, or the available index', () => {
  const packed = makeRig({ layout: 'packed', size: 7 });
  expect(packed.driver.notificationData(5)).toBe(0x80000005);
  for (let i = 0; i < 4; i++) back(packed, [send(packed)]);
  expect(packed.driver.notificationData(5)).toBe(0x00010005);
  const split = makeRig({ layout: 'split', size: 8 });
  for (let i = 0; i < 40_000; i++) back(split, [send(split)]);
  expect(split.driver.notificationData(0xffff)).toBe(((40_000 << 16) | 0xffff) >>> 0);
});

test.each(layouts)('%s: one queue is reset, with chains out, and the driver zeroes its ring', (layout, size) => {
  const options = { layout, size, eventIdx: true };
  const rig = makeRig(options);
  const other = makeRig({ ...options, arena: rig.arena, name: 'other' });
  const kept = send(other);
  for (let round = 0; round < 5; round++) {
    const ids = [send(rig), send(rig), send(rig)];
    back(rig, ids.slice(0, 1));
    rig.driver.setNotify(false);
    rig.device.setNotify(false);
    rig.device.reset();
    expect([rig.driver.detach(rig.records, 8), rig.driver.detach(rig.records, 8)]).toEqual([2, 0]);
    rig.driver.reset();
    const { descriptors, driverArea, deviceArea } = rig.rings;
    for (const [address, bytes] of [
      [descriptors, size * 16],
      [driverArea, 4],
      [deviceArea, 4],
    ] as const) {
      expect(rig.arena.u8.subarray(address, address + bytes).every((byte) => byte === 0)).toBe(true);
    }
    expect([rig.driver.free(), rig.device.free()]).toEqual([size, size]);
    // Used descriptors of the time before are not taken for new ones.
    expect([rig.driver.poll(rig.records, 8), rig.device.take(rig.taken, 8)]).toEqual([0, 0]);
  }
  back(other, [kept]);
});

test.each(layouts)('%s: a table may hold more segments than the queue, up to a bound', (layout, size) => {
  const took = (entries: number, indirect = 2): [number, number] => {
    const rig = makeRig({ layout, size, indirect });
    const { rings, buffers, device, taken } = rig;
    const raw = rawRing(rig.arena, layout);
    const guest = GUEST_OFFSET + BigInt(buffers);
    for (let i = 0; i < entries; i++) {
      const flags = layout === 'split' && i + 1 < entries ? VIRTQ_DESC_F_NEXT : 0;
      raw.writeDescriptor(buffers + 1024, i, { guest, length: 4, flags, link: i + 1 });
    }
    const available = layout === 'split' ? 0 : 0x80;
    raw.writeDescriptor(rings.descriptors, 0, {
      guest: guest + 1024n,
      length: entries * 16,
      flags: VIRTQ_DESC_F_INDIRECT | available,
      link: 0,
    });
    if (layout === 'split') {
      raw.writeAvailable(rings.driverArea, 0, 0);
      raw.writeIndex(rings.driverArea, 1);
    }
    const n = device.take(taken, 1);
    return [device.broken(), n === 1 ? taken.at(0).readable.length : 0];
  };
  // A packet of 17 pages, its head and its header, which Linux puts into one table.
  expect(took(19)).toEqual([0, 19]);
  expect(took(VQ_TABLE_SEGMENTS)).toEqual([0, VQ_TABLE_SEGMENTS]);
  expect(took(VQ_TABLE_SEGMENTS + 1)).toEqual([VQ_BROKEN_CHAIN, 0]);
});
