import { createArena } from 'ringway/memory';
import type { VirtqueueLayout } from 'ringway/virtio';
import { describe, expect, test } from 'vitest';
import { WORK_BYTES } from '#build/async/layout.js';
import { readAsyncCounters } from '#build/async/queue.js';
import { type Integration, Transmit } from '#build/async/transmit.js';
import { readWorkCounters, WorkRing } from '#build/async/work-ring.js';
import { Random } from '#build/util/random.js';
import { frameOf } from '../virtio/support/net-queue-rig.ts';
import { AsyncSide } from './support/async-rig.ts';
import { Merger, sameFrames } from './support/merger.ts';

const LAYOUTS: readonly VirtqueueLayout[] = ['split', 'packed'];
const INTEGRATIONS: readonly Integration[] = ['defer', 'v3', 'v4', 'vq'];
const CASES = INTEGRATIONS.flatMap((integration) => LAYOUTS.map((layout) => [integration, layout] as const));

/** A side whose sends go by an integration, and an lcore that looks after them. */
class TransmitSide extends AsyncSide {
  readonly work: WorkRing;
  readonly transmit: Transmit;

  constructor(integration: Integration, layout: VirtqueueLayout, ringFull: 'wait' | 'drop' = 'wait') {
    super({ layout, size: 64, mergeable: true });
    const { arena, address, async: queue } = this;
    this.work = new WorkRing(arena, arena.allocate('work', WORK_BYTES));
    const drop = (slots: number, n: number): void => this.kernels.poolFree(this.cache, slots, n);
    this.transmit = new Transmit(arena, { address, queue, integration, ringFull, work: this.work, drop });
  }

  /** Sends frames; what is not taken is freed. Returns how many were taken. */
  override send(...frames: readonly Uint8Array[]): number {
    const n = this.fill(...frames);
    const sent = this.transmit.send(this.slots, n);
    this.free(n - sent, sent);
    return sent;
  }

  /** One loop of the lcore: it receives from the port, then goes through its work. */
  loop(): void {
    this.transmit.poll();
    this.work.run();
  }
}

describe.each(CASES)('%s, %s', (integration, layout) => {
  test.each([
    ['all that is taken arrives, in order', () => {}],
    [
      'so it does when the integration changes meanwhile',
      (side: TransmitSide, random: Random) => {
        if (random.below(10) === 0) side.transmit.integration = INTEGRATIONS[random.below(4)] as Integration;
      },
    ],
  ])('%s', (_, change) => {
    const side = new TransmitSide(integration, layout);
    const random = new Random(7);
    const merger = new Merger({ layout, mergeable: true });
    const sent: Uint8Array[] = [];
    const turn = (): void => {
      for (let i = random.below(4); i > 0; i--) side.driver.send([], [1000 + random.below(3000)]);
      if (random.below(8) === 0) side.fail();
      else side.run(random.below(4));
      side.loop();
      for (const { bytes } of side.driver.receive()) merger.take(bytes);
    };
    for (let step = 0; step < 400; step++) {
      change(side, random);
      const frames = Array.from({ length: random.below(4) }, () => frameOf(14 + random.below(4000), random.below(256)));
      if (frames.length > 0) sent.push(...frames.slice(0, side.send(...frames)));
      turn();
    }
    for (let i = 0; i < 4000 && merger.frames.length < sent.length; i++) turn();
    expect(sent.length).toBeGreaterThan(200);
    sameFrames(merger.frames, sent);
    expect(side.transmit.inFlight()).toBe(0);
    side.loop();
    expect(side.work.waiting).toBe(0);
    side.finish();
  });
});

test.each(LAYOUTS)('v4, %s: a ring that is full has its sender wait, or drops', (layout) => {
  for (const ringFull of ['wait', 'drop'] as const) {
    const side = new TransmitSide('v4', layout, ringFull);
    const frames = Array.from({ length: 30 }, (_, i) => frameOf(60, i));
    for (let i = 0; i < 4; i++) expect(side.send(...frames)).toBe(30);
    expect(side.send(...frames)).toBe(ringFull === 'wait' ? 8 : 30);
    expect(readAsyncCounters(side.arena, side.address)).toMatchObject({
      ringFull: 1,
      dropped: ringFull === 'wait' ? 0 : 22,
    });
    expect(side.transmit.inFlight()).toBe(128);
    const got: number[][] = [];
    while (side.transmit.inFlight() > 0) {
      for (let i = 0; i < 16; i++) side.driver.send([], [200]);
      side.loop();
      got.push(...side.driver.receive().map(({ bytes }) => [...bytes.subarray(12)]));
    }
    expect(got).toEqual(Array.from({ length: 128 }, (_, i) => [...(frames[i % 30] as Uint8Array)]));
    side.finish();
  }
});

test('work is looked at once a run, by queue, and the ring has an end', () => {
  const arena = createArena({ bytes: 1 << 20 });
  const counters = arena.allocate('work', WORK_BYTES);
  const work = new WorkRing(arena, counters);
  const queueOf = (left: number) => ({
    settle: () => (left > 0 ? 1 + 0 * left-- : 0),
    inFlight: () => left,
    isDeferred: false,
  });
  const slow = queueOf(2);
  work.defer(slow);
  work.defer(slow);
  expect([work.run(), work.waiting]).toEqual([1, 1]);
  expect([work.run(), work.waiting]).toEqual([1, 0]);
  expect(readWorkCounters(arena, counters)).toEqual({ deferred: 2, done: 1, inProgress: 1, full: 0 });
  for (let i = 0; i < 128; i++) work.defer(queueOf(i < 127 ? 1000 : 1));
  // Room is made of the one that is done.
  const late = queueOf(1000);
  work.defer(late);
  expect(readWorkCounters(arena, counters)).toEqual({ deferred: 131, done: 2, inProgress: 128, full: 0 });
  work.defer(queueOf(1000));
  expect(readWorkCounters(arena, counters)).toEqual({ deferred: 132, done: 2, inProgress: 256, full: 1 });
  expect(work.waiting).toBe(128);
});
