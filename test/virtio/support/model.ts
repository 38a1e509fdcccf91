import type { Segment } from 'ringway/virtio';
import { expect } from 'vitest';
import type { Random } from '#build/util/random.js';
import { BURST, makeRig, type Rig, type RigOptions, SLOT_BYTES, SLOTS } from './rig.ts';

interface Sent {
  readonly serial: number;
  readonly id: number;
  readonly readable: readonly Segment[];
  readonly writable: readonly Segment[];
  readonly slots: readonly number[];
  readonly cost: number;
  written: number;
}

/** The byte that chain `serial` carries at its `at`th byte, to the device; and back, which is another. */
const payload = (serial: number, at: number, back: boolean): number => (serial * 31 + at * 7 + (back ? 128 : 0)) & 255;

/**
 * Random adds, takes, completions (in any order, unless IN_ORDER) and polls, against lists of what should be where. `hold`
 * keeps the first chain with the device until the end, however often the ring goes round.
 */
export function runModel(
  options: RigOptions,
  random: Random,
  steps: number,
  hold = false,
  rig: Rig = makeRig(options),
): number {
  const { arena, driver, device, adding, taken, records } = rig;
  const { u8, u32 } = arena;
  const { size, indirect = 0, inOrder = false } = options;
  const freeSlots = Array.from({ length: SLOTS }, (_, slot) => slot);
  const available: Sent[] = [];
  const atDevice: Sent[] = [];
  const used: Sent[] = [];
  let free = size;
  let serial = 0;
  let polled = 0;

  const bytesOf = (segments: readonly Segment[]): number => segments.reduce((sum, { length }) => sum + length, 0);
  function fill(segments: readonly Segment[], owner: number, back: boolean, limit: number): void {
    let at = 0;
    for (const { address, length } of segments) {
      for (let i = 0; i < length && at < limit; i++) u8[address + i] = payload(owner, at++, back);
    }
  }
  function check(segments: readonly Segment[], owner: number, back: boolean, limit: number): void {
    let at = 0;
    for (const { address, length } of segments) {
      for (let i = 0; i < length && at < limit; i++, at++) {
        if (u8[address + i] !== payload(owner, at, back)) throw new Error(`byte ${at} of chain ${owner} is wrong`);
      }
    }
  }

  function add(): void {
    adding.clear();
    const drafts: Omit<Sent, 'id'>[] = [];
    let room = free;
    let fits = 0;
    const count = 1 + random.below(4);
    for (let c = 0; c < count; c++) {
      const segments = 1 + random.below(Math.min(size, 4));
      if (freeSlots.length < segments) break;
      const slots = freeSlots.splice(0, segments);
      const all = slots.map((slot) => ({
        address: rig.buffers + slot * SLOT_BYTES,
        length: 1 + random.below(SLOT_BYTES),
      }));
      const split = random.below(segments + 1);
      const draft = {
        serial: serial + c,
        readable: all.slice(0, split),
        writable: all.slice(split),
        slots,
        cost: segments > 1 && segments <= indirect ? 1 : segments,
        written: 0,
      };
      expect(adding.push(draft.readable, draft.writable)).toBe(true);
      fill(draft.readable, draft.serial, false, Number.POSITIVE_INFINITY);
      if (fits === c && draft.cost <= room) {
        room -= draft.cost;
        fits++;
      }
      drafts.push(draft);
    }
    expect(driver.add(adding, drafts.length)).toBe(fits);
    for (const [index, draft] of drafts.entries()) {
      if (index < fits) available.push({ ...draft, id: adding.id(index) });
      else freeSlots.push(...draft.slots);
    }
    serial += count;
    free = room;
  }

  function take(): void {
    const want = 1 + random.below(6);
    const n = device.take(taken, want);
    let segments = 0;
    let expected = 0;
    for (const sent of available.slice(0, want)) {
      segments += sent.readable.length + sent.writable.length;
      if (segments > taken.segments) break;
      expected++;
    }
    expect(n).toBe(expected);
    for (let i = 0; i < n; i++) {
      const sent = available.shift() as Sent;
      expect(taken.at(i)).toEqual({ id: sent.id, readable: sent.readable, writable: sent.writable });
      check(sent.readable, sent.serial, false, Number.POSITIVE_INFINITY);
      atDevice.push(sent);
    }
  }

  function complete(all: boolean): void {
    const kept = hold && !all ? 1 : 0;
    const n = Math.min(atDevice.length - kept, 1 + random.below(5));
    if (n <= 0) return;
    for (let i = 0; i < n; i++) {
      const at = inOrder ? kept : kept + random.below(atDevice.length - kept);
      const [sent] = atDevice.splice(at, 1) as [Sent];
      // Full ones often: in order, a batch of these has one used element.
      const room = bytesOf(sent.writable);
      sent.written = random.below(2) === 0 ? room : random.below(room + 1);
      fill(sent.writable, sent.serial, true, sent.written);
      u32.set([sent.id, sent.written], (records >>> 2) + i * 2);
      used.push(sent);
    }
    expect(device.return(records, n)).toBe(n);
  }

  function poll(): void {
    const n = driver.poll(records, 1 + random.below(6));
    expect(n > 0).toBe(used.length > 0);
    for (let i = 0; i < n; i++) {
      const sent = used.shift() as Sent;
      expect([...u32.subarray((records >>> 2) + i * 2, (records >>> 2) + i * 2 + 2)]).toEqual([sent.id, sent.written]);
      check(sent.writable, sent.serial, true, sent.written);
      freeSlots.push(...sent.slots);
      free += sent.cost;
      polled++;
    }
  }

  for (let step = 0; step < steps; step++) {
    [add, take, () => complete(false), poll][random.below(4)]?.();
    expect(driver.free()).toBe(free);
  }
  // What is left comes back in the end.
  while (available.length + atDevice.length + used.length > 0) {
    take();
    complete(true);
    poll();
  }
  expect([driver.free(), device.free(), driver.broken(), device.broken()]).toEqual([size, size, 0, 0]);
  expect(driver.poll(records, BURST) + device.take(taken, BURST)).toBe(0);
  expect(rig.damaged()).toEqual([]);
  return polled;
}
