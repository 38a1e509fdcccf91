import type { VirtqueueLayout } from 'ringway/virtio';
import { describe, expect, test } from 'vitest';
import {
  deferTransmit,
  type Integration,
  type Transmit,
  v3Transmit,
  v4Transmit,
  vqTransmit,
} from '#dist/async/transmit.js';
import { WorkRing } from '#dist/async/work-ring.js';
import { createMpscRing } from '#dist/ring/ring.js';
import { Random } from '#dist/util/random.js';
import { frameOf } from '../virtio/support/net-queue-rig.ts';
import { AsyncSide } from './support/async-rig.ts';
import { Merger, sameFrames } from './support/merger.ts';

const LAYOUTS: readonly VirtqueueLayout[] = ['split', 'packed'];
const INTEGRATIONS: readonly Integration[] = ['defer', 'v3', 'v4', 'vq'];
const CASES = INTEGRATIONS.flatMap((integration) => LAYOUTS.map((layout) => [integration, layout] as const));

/** A side whose sends go by an integration, and an lcore that looks after them. */
class TransmitSide extends AsyncSide {
  readonly work = new WorkRing();
  readonly transmit: Transmit;
  readonly #own: number;

  constructor(integration: Integration, layout: VirtqueueLayout, ringFull: 'wait' | 'drop' = 'wait') {
    super({ layout, size: 64, mergeable: true });
    this.#own = this.arena.allocate('own', 32 * 16);
    const ring = createMpscRing(this.arena, { name: 'txq', slots: 16 });
    this.transmit = {
      defer: () => deferTransmit(this.async, this.work),
      v3: () => v3Transmit(this.async),
      v4: () => v4Transmit(this.arena, { queue: this.async, ring, ringFull, slots: this.#own, cache: this.cache }),
      vq: () => vqTransmit(this.async),
    }[integration]();
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
  test('all that is taken arrives, in order', () => {
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
    const frames = Array.from({ length: 20 }, (_, i) => frameOf(60, i));
    expect(side.send(...frames)).toBe(ringFull === 'wait' ? 16 : 20);
    expect(side.transmit.counters()).toEqual({ ringFull: 1, dropped: ringFull === 'wait' ? 0 : 4 });
    expect(side.transmit.inFlight()).toBe(16);
    for (let i = 0; i < 16; i++) side.driver.send([], [200]);
    side.loop();
    side.loop();
    expect(side.driver.receive().map(({ bytes }) => [...bytes.subarray(12)])).toEqual(
      frames.slice(0, 16).map((frame) => [...frame]),
    );
    side.finish();
  }
});

test('work is looked at once a run, by queue, and the ring has an end', () => {
  const work = new WorkRing();
  const queueOf = (left: number) => ({ settle: () => (left > 0 ? 1 + 0 * left-- : 0), inFlight: () => left });
  const slow = queueOf(2);
  work.defer(slow);
  work.defer(slow);
  expect([work.run(), work.waiting]).toEqual([1, 1]);
  expect([work.run(), work.waiting]).toEqual([1, 0]);
  expect(work.counters()).toEqual({ deferred: 2, done: 1, inProgress: 1, full: 0 });
  for (let i = 0; i < 128; i++) work.defer(queueOf(i < 127 ? 1000 : 1));
  // Room is made of the one that is done.
  const late = queueOf(1000);
  work.defer(late);
  expect(work.counters()).toEqual({ deferred: 131, done: 2, inProgress: 128, full: 0 });
  work.defer(queueOf(1000));
  expect(work.counters()).toEqual({ deferred: 132, done: 2, inProgress: 256, full: 1 });
  expect(work.waiting).toBe(128);
});
