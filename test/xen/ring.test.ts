import fc from 'fast-check';
import { expect, test } from 'vitest';
import { SRING_REQ_PROD, SRING_RSP_PROD } from '#build/xen/layout.js';
import { createNetRing, netRingSlots } from '#build/xen/ring.js';
import { BASES, testArena } from '../support/arena.ts';
import { makeRingRig, RECORD_BYTES, type RingKernels } from './support/ring-rig.ts';

test('a ring has as many slots as fit, a power of two', () => {
  expect((['tx', 'rx', 'ctrl'] as const).map((kind) => netRingSlots(kind))).toEqual([256, 256, 128]);
  expect([0, 1, 2, 3, 4].map((order) => netRingSlots('tx', order))).toEqual([256, 512, 1024, 2048, 4096]);
  expect(netRingSlots('rx', 4)).toBe(4096);
});

const kinds = (['tx', 'rx', 'ctrl'] as const).flatMap((kind) => [0, 1].map((order) => [kind, order] as const));

const operation = fc.record({
  what: fc.constantFrom('push', 'take', 'answer', 'collect', 'frontCheck', 'backCheck', 'frontNotify', 'backNotify'),
  count: fc.integer({ min: 0, max: 64 }),
});

test.each(kinds)(
  '%s ring of order %i: requests and answers come whole and in order, over the end of the indexes, too',
  (kind, order) => {
    fc.assert(
      fc.property(
        fc.constantFrom(...BASES),
        fc.constantFrom(0, 2 ** 32 - 40, 2 ** 31 - 3),
        fc.array(operation, { maxLength: 200 }),
        (base, start, operations) => {
          const rig = makeRingRig(kind, { order, base });
          const { arena, front, back, frontRecords, backRecords } = rig;
          rig.startAt(start);
          const k = arena.kernels<RingKernels>();
          const { request, response } = RECORD_BYTES[kind];
          /** Numbers that went in and have not come out, on each stretch of the way. */
          const [requests, taken, responses]: [number[], number[], number[]] = [[], [], []];
          let serial = 1;
          const write = (at: number, bytes: number, values: readonly number[]): void => {
            for (const [i, value] of values.entries()) {
              for (let b = 0; b < bytes; b += 4) arena.u32[(at + i * bytes + b) >>> 2] = value + b * 2 ** 20;
            }
          };
          const read = (at: number, bytes: number, n: number): number[] =>
            Array.from({ length: n }, (_, i) => {
              const first = arena.u32[(at + i * bytes) >>> 2] ?? 0;
              for (let b = 0; b < bytes; b += 4)
                expect(arena.u32[(at + i * bytes + b) >>> 2]).toBe(first + b * 2 ** 20);
              return first;
            });
          // Both sides wait at first, and the first of each is notified.
          const waits = { front: true, back: true };
          for (const { what, count } of operations) {
            const out = requests.length + taken.length + responses.length;
            if (what === 'push') {
              const values = Array.from({ length: count }, (_, i) => serial + i);
              write(frontRecords, request, values);
              const n = k.xenRingPushRequests(front.address, frontRecords, count);
              expect(n).toBe(Math.min(count, front.slots - out));
              requests.push(...values.slice(0, n));
              serial += n;
            } else if (what === 'take') {
              const n = k.xenRingTakeRequests(back.address, backRecords, count);
              expect(read(backRecords, request, n)).toEqual(requests.slice(0, count));
              taken.push(...requests.splice(0, n));
            } else if (what === 'answer') {
              const values = taken.splice(0, count);
              write(backRecords, response, values);
              expect(k.xenRingPushResponses(back.address, backRecords, values.length)).toBe(values.length);
              responses.push(...values);
            } else if (what === 'collect') {
              const n = k.xenRingTakeResponses(front.address, frontRecords, count);
              expect(read(frontRecords, response, n)).toEqual(responses.splice(0, count));
            } else if (what === 'backCheck') {
              waits.back = requests.length === 0;
              expect(back.finalCheck()).toBe(!waits.back);
            } else if (what === 'frontCheck') {
              waits.front = responses.length === 0;
              expect(front.finalCheck()).toBe(!waits.front);
            } else if (what === 'frontNotify') {
              // Whoever waits is told of what came since; more events than that are allowed, and end the wait, too.
              if (front.needsNotify()) waits.back = false;
              else expect(waits.back && requests.length > 0, 'the backend waits, and is not told').toBe(false);
            } else if (back.needsNotify()) waits.front = false;
            else expect(waits.front && responses.length > 0, 'the frontend waits, and is not told').toBe(false);
            expect(front.outstanding()).toBe(requests.length + taken.length + responses.length);
            expect(back.outstanding()).toBe(taken.length);
          }
          expect([front.broken(), back.broken(), arena.damaged()]).toEqual([undefined, undefined, []]);
        },
      ),
      { numRuns: 60 },
    );
  },
);

test.each([
  ['beyond the ring', 257],
  ['back', -1],
  ['far away', 2 ** 31],
])('a backend latches a frontend whose requests go %s, and touches the ring no more', (_, by) => {
  const { arena, sring, back, front, backRecords, startAt } = makeRingRig('tx');
  startAt(2 ** 32 - 1);
  const k = arena.kernels<RingKernels>();
  arena.u32[(sring + SRING_REQ_PROD) >>> 2] = 2 ** 32 - 1 + by;
  expect(k.xenRingTakeRequests(back.address, backRecords, 64)).toBe(0);
  expect(back.broken()).toMatch(/index/);
  arena.u32[(sring + SRING_REQ_PROD) >>> 2] = 0;
  const before = arena.u8.slice(sring, sring + 4096);
  expect(k.xenRingTakeRequests(back.address, backRecords, 64)).toBe(0);
  expect(k.xenRingPushResponses(back.address, backRecords, 0)).toBe(0);
  expect([back.finalCheck(), back.needsNotify(), front.broken()]).toEqual([false, false, undefined]);
  expect(arena.u8.slice(sring, sring + 4096)).toEqual(before);
});

test.each([
  ['what was not asked', 3],
  ['back', -1],
])('a frontend latches a backend that answers %s', (_, by) => {
  const { arena, sring, front, frontRecords, startAt } = makeRingRig('rx');
  startAt(5);
  const k = arena.kernels<RingKernels>();
  expect(k.xenRingPushRequests(front.address, frontRecords, 2)).toBe(2);
  arena.u32[(sring + SRING_RSP_PROD) >>> 2] = 5 + by;
  expect(front.finalCheck()).toBe(false);
  expect(front.broken()).toMatch(/index/);
  expect(k.xenRingTakeResponses(front.address, frontRecords, 64)).toBe(0);
  expect(k.xenRingPushRequests(front.address, frontRecords, 1)).toBe(0);
});

test('a backend that comes back answers what waits', () => {
  const { arena, sring, front, backRecords, frontRecords } = makeRingRig('tx');
  const k = arena.kernels<RingKernels>();
  k.xenRingPushRequests(front.address, frontRecords, 5);
  const [first, second] = [1, 2].map((n) => createNetRing(arena, { name: `b${n}`, kind: 'tx', side: 'back', sring }));
  expect(k.xenRingTakeRequests(first?.address ?? 0, backRecords, 3)).toBe(3);
  k.xenRingPushResponses(first?.address ?? 0, backRecords, 2);
  expect(k.xenRingTakeRequests(second?.address ?? 0, backRecords, 64)).toBe(5);
  const third = createNetRing(arena, { name: 'b3', kind: 'tx', side: 'back', sring });
  expect(k.xenRingTakeRequests(third.address, backRecords, 64)).toBe(3);
});

test('what is no ring is refused', () => {
  const arena = testArena();
  const make = (sring: number, order: number) => () =>
    createNetRing(arena, { name: 'r', kind: 'tx', side: 'back', sring, order });
  expect(make(4096, 5)).toThrow(/order 5, must be a whole number from 0 to 4/);
  expect(make(4097, 0)).toThrow(/no 1 pages of a ring/);
  expect(make(arena.bytes - 4096, 1)).toThrow(/no 2 pages of a ring/);
});
