import fc from 'fast-check';
import { expect, test } from 'vitest';
import { VIFQ_BYTES, VIFQ_CREDIT } from '#build/xen/queue-layout.js';
import { creditMeter, parseRate, setRate } from '#build/xen/rate.js';
import { testArena } from '../support/arena.ts';
import { connect, disconnect, pass } from './support/exchange.ts';
import { frameOf, makeVif, type Served, settle } from './support/vif-rig.ts';

const RATE = '/local/domain/0/backend/vif/1/0/rate';

test.each([
  [undefined, { bytes: 0, usec: 0 }],
  ['65536,50000', { bytes: 65_536, usec: 50_000 }],
  ['0,1', { bytes: 0, usec: 1 }],
  ['99999999999,99999999999', { bytes: 2 ** 31 - 1, usec: 2 ** 32 - 1 }],
])('a rate of %s is read', (text, rate) => {
  expect(parseRate('rate', text)).toEqual(rate);
});

test.each(['', '1', '1,', ',1', '-1,1', '1,1,1', '1, 1', '1e3,1', '1,1\0'])('%j is no rate', (text) => {
  expect(() => parseRate('BACK/rate', text)).toThrow(/BACK\/rate: .*must be BYTES,MICROSECONDS/);
});

/** A direction that takes packets as far as it has credit, at a time that is set. */
function makeMeter(bytes: number, usec: number) {
  const arena = testArena(1 << 20);
  const queue = arena.allocate('queue', VIFQ_BYTES);
  const clock = { ms: 1000 };
  setRate(arena, queue, { bytes, usec });
  const meter = creditMeter(arena, queue, () => clock.ms);
  const word = (queue + VIFQ_CREDIT) >>> 2;
  return {
    arena,
    queue,
    clock,
    meter,
    /** Takes packets of `size`, as long as there is credit. Returns how many, `most` at most. */
    take(size: number, most = 1000): number {
      meter();
      let n = 0;
      for (; n < most && (arena.i32[word] ?? 0) > 0; n++) arena.i32[word] = (arena.i32[word] ?? 0) - size;
      return n;
    },
  };
}

test('whatever is sent and however often it is looked at, the rate is kept, and is used', () => {
  const step = fc.record({ size: fc.integer({ min: 1000, max: 65_535 }), ms: fc.integer({ min: 1, max: 40 }) });
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 100_000 }),
      fc.integer({ min: 100, max: 100_000 }),
      fc.array(step, { minLength: 100, maxLength: 100 }),
      (bytes, usec, steps) => {
        const { clock, take } = makeMeter(bytes, usec);
        let sent = 0;
        for (const { size, ms } of steps) {
          sent += take(size) * size;
          clock.ms += ms;
        }
        const windows = Math.floor(((clock.ms - 1000) * 1000) / usec);
        // What it begins with, and one packet beyond.
        expect(sent).toBeLessThanOrEqual((windows + 1) * bytes + 65_535);
        // It is looked at often enough for what may be saved up, and always with something to send: no window is lost but the last ones.
        const isOften = (40_000 / usec + 1) * bytes <= 131_072;
        if (isOften) expect(sent).toBeGreaterThanOrEqual((windows - 1 - Math.ceil(40_000 / usec)) * bytes);
      },
    ),
    { numRuns: 200 },
  );
});

test('what a packet takes beyond its credit is taken off the next windows', () => {
  const { clock, take, meter } = makeMeter(1000, 10_000);
  expect(take(60_000)).toBe(1);
  // 59,000 bytes are owed: 60 windows.
  for (let i = 0; i < 59; i++) {
    clock.ms += 10;
    expect(take(60_000)).toBe(0);
  }
  expect(meter()).toBe(10);
  clock.ms += 10;
  expect(take(60_000)).toBe(1);
});

test('a rest saves nothing up, and a clock that goes back stops nothing', () => {
  const { clock, take, meter } = makeMeter(1000, 10_000);
  const rest = (ms: number): void => {
    for (let i = 0; i < ms; i += 5) {
      clock.ms += 5;
      meter();
    }
  };
  rest(1000);
  expect(take(100)).toBe(10);
  // All of it is used up; then a window's comes once.
  rest(60_000);
  expect(take(100)).toBe(10);
  expect(meter()).toBe(10);
  clock.ms -= 50_000;
  expect(meter()).toBe(10);
  clock.ms += 10;
  expect(take(100)).toBe(10);
});

test('what the tools write is kept to at once, on each queue, and what is no rate limits nothing', async () => {
  const clock = { ms: 0 };
  const rig = await makeVif({ mode: 'plain', queues: { front: 2, back: 2 }, now: () => clock.ms });
  await connect(rig);
  const { store } = rig.driver.hypervisor;
  const { netfront, netback } = rig;
  /** Frames of 1,000 bytes that get through in 100 looks, 10 ms from one to the next: so much a second. */
  const through = (queue: number): number => {
    const [front, back] = [netfront.queues[queue], netback.queues[queue]] as [Served, Served];
    let n = 0;
    for (let i = 0; i < 100; i++) {
      rig.make(Array.from({ length: 32 }, (_, j) => frameOf(j, 1000)));
      const sent = front.send(rig.burst, 32);
      rig.free(sent, 32 - sent);
      n += rig.receive(back).length;
      clock.ms += 10;
    }
    // The rest of it.
    for (let i = 0; i < 1000 && rig.receive(back).length + back.waits() > 0; i++) clock.ms += 100;
    rig.receive(front);
    return n;
  };
  expect(through(0)).toBe(3200);
  await store.write(RATE, '50000,50000');
  await settle();
  for (const queue of [0, 1]) expect(Math.abs(through(queue) - 1000)).toBeLessThanOrEqual(60);
  await store.write(RATE, '5000,50000');
  await settle();
  expect(Math.abs(through(0) - 100)).toBeLessThanOrEqual(10);
  expect(netback.error).toBeUndefined();
  await store.write(RATE, 'much');
  await settle();
  expect(String(netback.error)).toMatch(/"much", must be BYTES,MICROSECONDS; nothing is limited/);
  expect(through(0)).toBe(3200);
  await store.write(RATE, '0,50000');
  await settle();
  expect(through(0)).toBeLessThan(2);
  await store.remove(RATE);
  await settle();
  expect(through(1)).toBe(3200);
  // What leads to the frontend is not limited.
  await store.write(RATE, '1,1000000');
  await settle();
  expect(pass(rig, netback.queues[0] as Served, netfront.queues[0] as Served, [frameOf(1, 60), frameOf(2, 9000)])).toBe(
    2,
  );
  await disconnect(rig);
});
