import { expect, test } from 'vitest';
import { Random } from '#build/util/random.js';
import { makeRig, type Rig } from './support/rig.ts';

const layouts = [
  ['split', 8],
  ['packed', 7],
] as const;

/** Adds `n` chains of one buffer. */
function add({ driver, adding, buffers }: Rig, n: number): void {
  adding.clear();
  for (let i = 0; i < n; i++) adding.push([{ address: buffers, length: 1 }], []);
  expect(driver.add(adding, n)).toBe(n);
}

/** Takes `n` chains and returns them. */
function serve({ device, taken, records, arena }: Rig, n: number): void {
  expect(device.take(taken, n)).toBe(n);
  for (let i = 0; i < n; i++) arena.u32.set([taken.id(i), 0], (records >>> 2) + i * 2);
  expect(device.return(records, n)).toBe(n);
}

test.each(layouts)('%s without EVENT_IDX: each burst notifies, until the peer asks for none', (layout, size) => {
  const rig = makeRig({ layout, size });
  const { driver, device } = rig;
  add(rig, 2);
  expect([driver.needsNotify(), driver.needsNotify()]).toEqual([true, false]);
  device.setNotify(false);
  add(rig, 1);
  expect(driver.needsNotify()).toBe(false);
  // What came while none were asked for is reported by asking again.
  expect(device.setNotify(true)).toBe(true);
  driver.setNotify(false);
  serve(rig, 3);
  expect([device.needsNotify(), driver.setNotify(true), device.setNotify(true)]).toEqual([false, true, false]);
});

test.each(layouts)('%s with EVENT_IDX: one notification for each time that the peer asked', (layout, size) => {
  const rig = makeRig({ layout, size, eventIdx: true });
  const { driver, device, records } = rig;
  const random = new Random(7);
  for (let round = 0; round < 2000; round++) {
    const asked = random.below(2) === 0;
    expect(device.setNotify(asked)).toBe(false);
    expect(driver.setNotify(asked)).toBe(false);
    const n = 1 + random.below(3);
    add(rig, n);
    expect(driver.needsNotify()).toBe(asked);
    // The entry that the device named has passed: no more until it asks again.
    add(rig, 1);
    expect(driver.needsNotify()).toBe(false);
    serve(rig, n + 1);
    expect(device.needsNotify()).toBe(asked);
    expect(driver.poll(records, 8)).toBe(n + 1);
  }
});
