import type { Chain } from 'ringway/virtio';
import { virtqueueBytes } from 'ringway/virtio';
import { expect } from 'vitest';
import type { Random } from '#dist/util/random.js';
import { BURST, GUEST_OFFSET, makeRig, type Rig, type RigOptions, SLOT_BYTES, SLOTS } from './rig.ts';

/** A word that leads somewhere: to the buffers, past their end, or nowhere. */
function word(random: Random, rig: Rig): number {
  const buffer = rig.buffers + random.below(SLOTS * SLOT_BYTES + 64);
  const high = Number(GUEST_OFFSET >> 32n);
  const choices = [random.next(), random.below(16), buffer, high, 0xffffffff, random.below(8) << 16];
  // Flags of a packed descriptor that is available, used, or both.
  return choices[random.below(choices.length)] ?? (0x80 | (random.below(2) << 15)) << 16;
}

/** Writes a few words, bytes or half words anywhere into the ring or the tables. */
function scribble(rig: Rig, options: RigOptions, random: Random): void {
  const bytes = virtqueueBytes(options.layout, options.size);
  const areas: [number, number][] = [
    [rig.rings.descriptors, bytes.descriptors],
    [rig.rings.driverArea, bytes.driverArea],
    [rig.rings.deviceArea, bytes.deviceArea],
  ];
  if (rig.driver.tables !== undefined) areas.push([rig.driver.tables.address, rig.driver.tables.bytes]);
  for (let left = 1 + random.below(4); left > 0; left--) {
    const [address, length] = areas[random.below(areas.length)] as [number, number];
    const at = address + random.below(length);
    const value = word(random, rig);
    if (random.below(3) === 0) rig.arena.u8[at] = value;
    else if (random.below(2) === 0 && at + 2 - (at % 2) <= address + length) rig.arena.u16[at >>> 1] = value;
    else if ((at & ~3) + 4 <= address + length) rig.arena.u32[at >>> 2] = value;
  }
}

/** Fails when a chain leads outside the memory that the device may reach, or is longer than the queue. */
function checkChain(rig: Rig, size: number, chain: Chain): void {
  const reachable = [{ address: rig.buffers, bytes: SLOTS * SLOT_BYTES }];
  if (rig.driver.tables !== undefined) reachable.push(rig.driver.tables);
  const segments = [...chain.readable, ...chain.writable];
  expect(segments.length).toBeLessThanOrEqual(size);
  for (const { address, length } of segments) {
    const inside = reachable.some(
      (region) => address >= region.address && address + length <= region.address + region.bytes,
    );
    if (!inside) throw new Error(`segment ${address} of ${length} bytes is outside the regions`);
  }
}

/** Both sides work while somebody writes into what they share. Returns how often either broke. */
export function runHostile(options: RigOptions, random: Random, steps: number): number {
  const rig = makeRig(options);
  const { driver, device, adding, taken, records, arena } = rig;
  const { u32 } = arena;
  // Ids by owner, each in one of them only: what the driver gave, and what the device took.
  const given = new Set<number>();
  const held = new Set<number>();
  const limit = Math.min(options.size, 4);

  function add(): void {
    adding.clear();
    for (let c = 0; c < 3; c++) {
      const segments = Array.from({ length: 1 + random.below(limit) }, () => ({
        address: rig.buffers + random.below(SLOTS) * SLOT_BYTES,
        length: SLOT_BYTES,
      }));
      const split = random.below(segments.length + 1);
      adding.push(segments.slice(0, split), segments.slice(split));
    }
    const n = driver.add(adding, 3);
    for (let i = 0; i < n; i++) {
      expect(given.has(adding.id(i))).toBe(false);
      given.add(adding.id(i));
    }
  }

  function take(): void {
    const n = device.take(taken, BURST);
    for (let i = 0; i < n; i++) {
      const chain = taken.at(i);
      checkChain(rig, options.size, chain);
      expect(held.has(chain.id)).toBe(false);
      held.add(chain.id);
    }
  }

  function complete(): void {
    const ids = [...held].slice(0, 1 + random.below(4));
    for (const [i, id] of ids.entries()) u32.set([id, 0], (records >>> 2) + i * 2);
    const n = device.return(records, ids.length);
    expect(n).toBe(device.broken() === 0 ? ids.length : 0);
    for (const id of ids.slice(0, n)) held.delete(id);
  }

  function reclaim(n: number): void {
    for (let i = 0; i < n; i++) {
      if (!given.delete(u32[(records >>> 2) + i * 2] as number))
        throw new Error('the driver got what it had not given');
    }
  }

  function restart(): void {
    for (let n = driver.detach(records, BURST); n > 0; n = driver.detach(records, BURST)) reclaim(n);
    expect([given.size, driver.free()]).toEqual([0, options.size]);
    held.clear();
    const bytes = virtqueueBytes(options.layout, options.size);
    for (const [part, address] of Object.entries(rig.rings) as [keyof typeof bytes, number][]) {
      arena.u8.fill(0, address, address + bytes[part]);
    }
    driver.reset();
    device.reset();
    expect([driver.free(), device.free(), driver.broken(), device.broken()]).toEqual([
      options.size,
      options.size,
      0,
      0,
    ]);
  }

  const notify = (): void => {
    for (const side of [driver, device]) {
      side.needsNotify();
      side.setNotify(random.below(2) === 0);
    }
  };
  for (let step = 0; step < steps; step++) {
    if (random.below(4) === 0) scribble(rig, options, random);
    [add, take, complete, () => reclaim(driver.poll(records, BURST)), notify][random.below(5)]?.();
    if ((driver.broken() !== 0 || device.broken() !== 0) && random.below(8) === 0) restart();
  }
  restart();
  expect(rig.damaged()).toEqual([]);
  return driver.brokenCount() + device.brokenCount();
}
