import fc from 'fast-check';
import type { VirtqueueLayout } from 'ringway/virtio';
import { expect, test } from 'vitest';
import { readAsyncCounters } from '#build/async/queue.js';
import { shutVchan } from '#build/dma/vchan.js';
import { Random } from '#build/util/random.js';
import { effort } from '../support/effort.ts';
import { frameOf, NO_DROPS } from '../virtio/support/net-queue-rig.ts';
import { type AsyncRigOptions, AsyncSide } from './support/async-rig.ts';
import { Merger, sameFrames } from './support/merger.ts';

const LAYOUTS: readonly VirtqueueLayout[] = ['split', 'packed'];
const FORMS: readonly Partial<AsyncRigOptions>[] = [
  {},
  { threshold: 0 },
  { mergeable: true },
  { mergeable: true, indirect: 4, eventIdx: true, threshold: 1000 },
  { mergeable: true, inOrder: true, descriptors: 32, threshold: 0 },
  { inOrder: true, headerBytes: 20 },
  { byCpu: true, mergeable: true },
];
const CASES = LAYOUTS.flatMap((layout) => FORMS.map((form) => [{ layout, size: 64, ...form }] as const));
/** The engine goes on by so many copies, or fails at one. */
function engineStep(side: AsyncSide, random: Random): void {
  if (random.below(8) === 0) side.fail();
  else side.run(1 + random.below(random.below(4) === 0 ? 32 : 3));
}

/** Random frames to the driver, with the engine anywhere in between. */
function sendSome(options: AsyncRigOptions, random: Random, steps: number): number {
  const side = new AsyncSide(options);
  const { driver } = side;
  const merger = new Merger(options);
  const sent: Uint8Array[] = [];
  const longest = options.mergeable === true ? 6000 : 1900;
  const steady = (): void => {
    for (const { bytes } of driver.receive()) merger.take(bytes);
  };
  for (let step = 0; step < steps; step++) {
    for (let i = random.below(4); i > 0; i--) driver.send([], [2000 + random.below(2000)]);
    const frames = Array.from({ length: random.below(5) }, () =>
      frameOf(14 + random.below(longest), random.below(256)),
    );
    if (frames.length > 0) sent.push(...frames.slice(0, side.send(...frames)));
    for (let i = random.below(3); i > 0; i--) engineStep(side, random);
    side.async.settle();
    steady();
    // What has arrived so far is what was sent first.
    sameFrames(merger.frames, sent.slice(0, merger.frames.length));
  }
  for (let i = 0; i < 400 && side.async.inFlight() > 0; i++) {
    side.run(32);
    side.async.settle();
    steady();
  }
  steady();
  expect(side.async.inFlight()).toBe(0);
  sameFrames(merger.frames, sent);
  expect(side.broken()).toBe(0);
  expect(side.net.drops()).toEqual(NO_DROPS);
  side.finish();
  return sent.length;
}

test.each(CASES)('%j: what is sent arrives whole and in order, whenever the engine copies', (options) => {
  let all = 0;
  fc.assert(
    fc.property(fc.integer({ min: 0 }), (seed) => {
      all += sendSome(options, new Random(seed), 60);
    }),
    { numRuns: effort(2, 6) },
  );
  expect(all).toBeGreaterThan(effort(60, 200));
});

/** Random frames from the driver. */
function receiveSome(options: AsyncRigOptions, random: Random, steps: number): number {
  const side = new AsyncSide(options);
  const { driver } = side;
  const sent: Uint8Array[] = [];
  const got: Uint8Array[] = [];
  const header = new Uint8Array(options.headerBytes ?? 12);
  for (let step = 0; step < steps; step++) {
    for (let i = random.below(5); i > 0; i--) {
      const frame = frameOf(14 + random.below(3900), random.below(256));
      const whole = Uint8Array.from([...header, ...frame]);
      const cut = random.below(3) === 0 ? 1 + random.below(40) : whole.length;
      const pieces = cut === whole.length ? [whole] : [whole.subarray(0, cut), whole.subarray(cut)];
      if (driver.send(pieces) !== undefined) sent.push(frame);
    }
    got.push(...side.receive(1 + random.below(32)));
    for (let i = random.below(3); i > 0; i--) engineStep(side, random);
    driver.receive();
    sameFrames(got, sent.slice(0, got.length));
  }
  for (let i = 0; i < 400 && (side.async.inFlight() > 0 || got.length < sent.length); i++) {
    side.run(32);
    got.push(...side.receive());
  }
  sameFrames(got, sent);
  expect(side.broken()).toBe(0);
  side.finish();
  return sent.length;
}

test.each(CASES)('%j: what the driver sends comes out whole and in order', (options) => {
  let all = 0;
  fc.assert(
    fc.property(fc.integer({ min: 0 }), (seed) => {
      all += receiveSome(options, new Random(seed), 60);
    }),
    { numRuns: effort(2, 6) },
  );
  expect(all).toBeGreaterThan(effort(60, 200));
});

test.each(LAYOUTS)('%s: a frame in more pieces than the channel has descriptors is copied by the CPU', (layout) => {
  const options: AsyncRigOptions = { layout, size: 64, threshold: 0, descriptors: 32 };
  const side = new AsyncSide(options);
  const pieces = 40;
  const frame = frameOf(pieces * 20 - 12, 1);
  side.driver.send(
    [],
    Array.from({ length: pieces }, () => 20),
  );
  expect([side.send(frame), side.async.settle()]).toEqual([1, 1]);
  sameFrames(
    side.driver.receive().map(({ bytes }) => bytes.slice(12)),
    [frame],
  );
  const whole = Uint8Array.from([...new Uint8Array(12), ...frame]);
  side.driver.send(Array.from({ length: pieces }, (_, i) => whole.subarray(i * 20, (i + 1) * 20)));
  expect(side.receive()).toEqual([]);
  sameFrames(side.receive(), [frame]);
  expect(readAsyncCounters(side.arena, side.address)).toMatchObject({ offloaded: 0, full: 0 });
  side.finish();
});

test.each(LAYOUTS)('%s: what the CPU copies while nothing is under way is not kept, in either direction', (layout) => {
  const side = new AsyncSide({ layout, size: 64 });
  const [short, long] = [frameOf(60, 1), frameOf(900, 2)];
  const arrived = (): Uint8Array[] => side.driver.receive().map(({ bytes }) => bytes.slice(12));
  const whole = (frame: Uint8Array): Uint8Array => Uint8Array.from([...new Uint8Array(12), ...frame]);
  for (let i = 0; i < 5; i++) side.driver.send([], [2000]);
  expect(side.send(short, short, long, short)).toBe(4);
  // The one behind the long one has to wait for it.
  sameFrames(arrived(), [short, short]);
  expect(side.async.inFlight()).toBe(2);
  side.run(32);
  side.async.settle();
  sameFrames(arrived(), [long, short]);
  expect(side.send(short)).toBe(1);
  sameFrames(arrived(), [short]);

  for (const frame of [short, short, long, short]) side.driver.send([whole(frame)]);
  sameFrames(side.receive(), [short, short]);
  sameFrames(side.receive(), []);
  side.run(32);
  sameFrames(side.receive(), [long, short]);
  side.driver.send([whole(short)]);
  sameFrames(side.receive(), [short]);
  expect(readAsyncCounters(side.arena, side.address)).toMatchObject({ offloaded: 2, copied: 8 });
  side.finish();
});

test.each(LAYOUTS)('%s: a received frame of several buffers is copied by the channel', (layout) => {
  const side = new AsyncSide({ layout, size: 64 });
  const frame = frameOf(3900, 1);
  side.driver.send([Uint8Array.from([...new Uint8Array(12), ...frame])]);
  expect(side.receive()).toEqual([]);
  expect(side.run(32)).toBe(3);
  sameFrames(side.receive(), [frame]);
  side.finish();
});

test.each(LAYOUTS)('%s: what an engine that hangs was given is aborted, and then copied by the CPU', (layout) => {
  const side = new AsyncSide({ layout, size: 64 });
  for (let i = 0; i < 4; i++) side.driver.send([], [2000]);
  const frames = [frameOf(500, 1), frameOf(60, 2), frameOf(600, 3), frameOf(700, 4)];
  expect(side.send(...frames.slice(0, 3))).toBe(3);
  side.run(1);
  // The two first are settled; the third's copy is not done.
  expect([side.async.settle(), side.async.inFlight()]).toEqual([2, 1]);
  expect(side.driver.receive()).toHaveLength(2);
  // Its thread has ended, and nothing more is given to it.
  shutVchan(side.arena, side.vchan);
  expect(side.abort()).toBe(1);
  expect(side.send(...frames.slice(3))).toBe(1);
  expect([side.async.settle(), side.async.inFlight()]).toEqual([2, 0]);
  sameFrames(
    side.driver.receive().map(({ bytes }) => bytes.slice(12)),
    frames.slice(2),
  );
  const { offloaded, copied } = readAsyncCounters(side.arena, side.address);
  expect([offloaded, copied, side.track.counters().failed]).toEqual([2, 2, 1]);
  side.finish();
});

test.each(LAYOUTS)('%s: frames that are being received when a queue ends are dropped, refused ones too', (layout) => {
  const side = new AsyncSide({ layout, size: 64 });
  const header = new Uint8Array(12);
  side.driver.send([Uint8Array.from([...header, ...frameOf(500, 1)])]);
  side.driver.send([Uint8Array.from([...header, 1, 2, 3])]);
  side.driver.send([Uint8Array.from([...header, ...frameOf(600, 2)])]);
  expect(side.receive()).toEqual([]);
  expect(side.async.inFlight()).toBe(3);
  side.run(2);
  expect([side.async.settle(), side.async.inFlight()]).toEqual([2, 0]);
  expect(side.driver.receive()).toHaveLength(3);
  expect(side.net.drops().bad).toBe(1);
  side.finish();
});
