import { expect, test } from 'vitest';
import {
  MPSC_HEAD,
  MPSC_READABLE,
  MPSC_RUNS,
  MPSC_TAIL,
  SPSC_CACHED_TAIL,
  SPSC_HEAD,
  SPSC_SLOTS,
} from '#build/ring/layout.js';
import { expectFound, explorePlanted } from '../support/planted.ts';
import {
  type Bench,
  type MpscSteps,
  mpscSimulation,
  SIM_SLOTS,
  type SpscSteps,
  spscSimulation,
} from '../support/ring-scenario.ts';

test('spsc: nothing is lost, doubled, early or out of order in 10,000 schedules', () => {
  expect(spscSimulation().explore(10_000)).toBeGreaterThan(10_000 * 12);
});

test('mpsc: runs stay together, each producer in order, in 10,000 schedules', () => {
  expect(mpscSimulation().explore(10_000)).toBeGreaterThan(10_000 * 18);
});

/** Wrong versions of one step each, the schedules within which each must be found, and as what. */
const SPSC_FAULTS: [string, number, RegExp, (bench: Bench, real: SpscSteps) => Partial<SpscSteps>][] = [
  [
    'the head is published before the slots are written',
    200,
    /read \d+ after/,
    ({ arena, ring, get }, real) => {
      let source = 0;
      return {
        ringSpscPushWrite(address, from, n) {
          source = from;
          real.ringSpscPushPublish(address, n);
        },
        ringSpscPushPublish(_, n) {
          for (let i = 0; i < n; i++) {
            const place = (get(SPSC_HEAD) - n + i) >>> 0;
            const slot = ring + SPSC_SLOTS + (place % SIM_SLOTS) * 16;
            arena.u8.copyWithin(slot, source + i * 16, source + i * 16 + 16);
          }
        },
      };
    },
  ],
  [
    'a full ring is taken for one that the consumer emptied meanwhile',
    200,
    /instead of/,
    ({ get, set }, real) => ({
      ringSpscPushClaim(ring, count) {
        if (real.ringSpscPushClaim(ring, count) === 0) set(SPSC_CACHED_TAIL, get(SPSC_HEAD));
        return real.ringSpscPushClaim(ring, count);
      },
    }),
  ],
  [
    'the tail is published before the slots are read',
    2000,
    /instead of/,
    (_, real) => {
      let taken = 0;
      return {
        ringSpscPopClaim(ring, max) {
          taken = real.ringSpscPopClaim(ring, max);
          if (taken > 0) real.ringSpscPopPublish(ring, taken);
          return taken;
        },
        ringSpscPopRead(ring, target, n) {
          real.ringSpscPopPublish(ring, -n);
          real.ringSpscPopRead(ring, target, n);
          real.ringSpscPopPublish(ring, n);
        },
        ringSpscPopPublish() {},
      };
    },
  ],
];

const MPSC_FAULTS: [string, number, RegExp, (bench: Bench, real: MpscSteps) => Partial<MpscSteps>][] = [
  [
    'a run is published before it is written',
    200,
    /not published/,
    (_, real) => {
      const later = new Map<number, [number, number]>();
      return {
        ringMpscPushWrite(ring, size, index, source, n) {
          later.set(index, [source, n]);
          real.ringMpscPushPublish(ring, size, index, n);
        },
        ringMpscPushPublish(ring, size, index) {
          const [source, n] = later.get(index) ?? [0, 0];
          real.ringMpscPushWrite(ring, size, index, source, n);
        },
      };
    },
  ],
  [
    'the head is bumped by a load and a store',
    200,
    /not published/,
    ({ set }) => ({
      ringMpscPushTake(_, head, n) {
        set(MPSC_HEAD, head + n);
        return true;
      },
    }),
  ],
  [
    'the run word is cleared after the tail has freed its place',
    2000,
    /no end/,
    ({ get, set }, real) => {
      let cleared: number[] = [];
      const clear = (): void => {
        for (const offset of cleared) set(offset, 0);
        cleared = [];
      };
      return {
        ringMpscPopClaim(ring, size, max) {
          clear();
          const before = get(MPSC_READABLE);
          const words = Array.from({ length: SIM_SLOTS }, (_, place) => get(MPSC_RUNS + place * 4));
          const n = real.ringMpscPopClaim(ring, size, max);
          for (let at = before; at !== get(MPSC_READABLE); ) {
            const offset = MPSC_RUNS + (at % SIM_SLOTS) * 4;
            const run = words[at % SIM_SLOTS] ?? 0;
            set(offset, run);
            cleared.push(offset);
            at = (at + run) >>> 0;
          }
          return n;
        },
      };
    },
  ],
];

test.each(SPSC_FAULTS)('spsc: it is found when %s', (_, budget, reason, fault) => {
  expectFound(explorePlanted(spscSimulation(fault), budget), reason);
});

test.each(MPSC_FAULTS)('mpsc: it is found when %s', (_, budget, reason, fault) => {
  expectFound(explorePlanted(mpscSimulation(fault), budget), reason);
});

test('mpsc: it is found when the run word is left as it is, in every schedule of more than one lap', () => {
  const fault = ({ get, set }: Bench): Partial<MpscSteps> => ({
    ringMpscPopClaim(_ring, _size, max) {
      const tail = get(MPSC_TAIL);
      let readable = get(MPSC_READABLE);
      while ((readable - tail) >>> 0 < max) {
        const n = get(MPSC_RUNS + (readable % SIM_SLOTS) * 4);
        if (n === 0) break;
        readable = (readable + n) >>> 0;
      }
      set(MPSC_READABLE, readable);
      return Math.min(max, (readable - tail) >>> 0);
    },
  });
  expect(explorePlanted(mpscSimulation(fault), 20).failed).toBe(20);
});
