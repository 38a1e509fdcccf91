import fc from 'fast-check';
import type { VirtqueueLayout } from 'ringway/virtio';
import { expect, test } from 'vitest';
import { Random } from '#build/util/random.js';
import { createNetQueue } from '#build/virtio/net-queue.js';
import { testArena } from '../support/arena.ts';
import { effort } from '../support/effort.ts';
import { compileTraced } from '../support/kernels.ts';
import { TracedArena } from '../support/traced.ts';
import { type BounceOptions, BouncePair, type Way } from './support/bounce-rig.ts';
import { DriverSide, frameOf } from './support/net-queue-rig.ts';
import { FetchWatch, inside } from './support/watch.ts';

const LAYOUTS: readonly VirtqueueLayout[] = ['split', 'packed'];
const WAYS: readonly Way[] = ['out', 'in'];
/** Frame bytes of one buffer, and so of an area that the device fills. */
const ONE = 1792;

const lengths = fc.oneof(
  fc.integer({ min: 14, max: 300 }),
  fc.constantFrom(ONE - 1, ONE, ONE + 1, 2028, 2036, 2037, 2038, 2039, 4084, 4085),
  fc.integer({ min: 14, max: 12_000 }),
);
const features = fc.record({
  layout: fc.constantFrom(...LAYOUTS),
  way: fc.constantFrom(...WAYS),
  size: fc.constantFrom(8, 16, 32),
  inOrder: fc.boolean(),
  eventIdx: fc.boolean(),
  mergeable: fc.boolean(),
  headerBytes: fc.constantFrom(10, 12, 20),
  base: fc.constantFrom(65536, 2 ** 31),
});
const steps = fc.array(
  fc.record({
    frames: fc.array(fc.record({ length: lengths, offload: fc.boolean() }), { maxLength: 8 }),
    max: fc.integer({ min: 1, max: 32 }),
  }),
  { minLength: 1, maxLength: 20 },
);

interface Step {
  readonly frames: readonly { readonly length: number; readonly offload: boolean }[];
  readonly max: number;
}

/** Moves frames. Fails when one does not come out as it went in, with what is left to do, or a buffer is missing. */
function carry(options: BounceOptions, all: readonly Step[], module?: WebAssembly.Module): void {
  // A header of 10 bytes has no place for the number of buffers.
  const mergeable = options.mergeable && options.headerBytes !== 10;
  const plain = testArena(4 << 20, options.base);
  const arena = module === undefined ? plain : new TracedArena(plain, module);
  const pair = new BouncePair({ ...options, mergeable }, plain, arena);
  const expected: string[] = [];
  const got: string[] = [];
  let seed = 0;
  for (const { frames, max } of all) {
    for (const { length, offload } of frames) {
      const frame = { bytes: frameOf(length, seed++), offload: offload && length >= 60 };
      if (pair.send(frame) === 0) continue;
      if (options.way === 'out' || mergeable || length <= ONE) expected.push(pair.print(frame));
    }
    got.push(...pair.receive(max));
  }
  for (let i = 0; i < 4 * options.size; i++) got.push(...pair.receive(32));
  expect(got).toEqual(expected);
  pair.finish();
}

test('whatever was negotiated, frames come out as they went in, with what is left to do', () => {
  fc.assert(fc.property(features, steps, carry as (options: BounceOptions, all: readonly Step[]) => void), {
    numRuns: effort(20, 150),
  });
});

const PLAIN: BounceOptions = {
  layout: 'split',
  way: 'in',
  size: 16,
  inOrder: false,
  eventIdx: false,
  mergeable: true,
  headerBytes: 12,
  base: 65536,
};

test.each(LAYOUTS)('%s: a frame that needs more areas than there are is dropped and counted', (layout) => {
  const side = new DriverSide({ layout, size: 4, bounce: true });
  expect(side.send(frameOf(4 * 2048 - 12 + 1), frameOf(60, 1), frameOf(4 * 2048 - 12, 2))).toBe(2);
  expect(side.net.drops()).toEqual({ bad: 0, long: 1, empty: 0 });
  side.device.return(...side.device.take().map((chain) => ({ chain })));
  expect(side.send(frameOf(4 * 2048 - 12, 2))).toBe(1);
  const [chain] = side.device.take();
  expect(chain?.readable.map(({ length }) => length)).toEqual([2048, 2048, 2048, 2048]);
  expect([...(chain?.bytes.subarray(12) ?? [])]).toEqual([...frameOf(4 * 2048 - 12, 2)]);
  expect(side.unused()).toBe(0);
  side.finish();
  expect(side.unused()).toBe(4);
});

test.each(LAYOUTS)(
  '%s: a driver without buffers loses whole frames, and none of their parts is taken for a frame',
  (layout) => {
    const side = new DriverSide({ layout, mergeable: true, bounce: true, left: 8 });
    const { device, net } = side;
    side.receive();
    const header = (buffers: number): number[] => [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, buffers, 0];
    const message = (buffers: number, frame: Uint8Array): Uint8Array => Uint8Array.of(...header(buffers), ...frame);
    // A part that could be a frame of its own.
    const part = message(1, frameOf(1500));
    const give = (...parts: readonly Uint8Array[]): void => {
      const chains = device.take(parts.length);
      device.return(...chains.map((chain, i) => ({ chain, bytes: parts[i] as Uint8Array })));
    };
    give(message(11, frameOf(ONE)), ...Array.from({ length: 10 }, () => part), message(1, frameOf(60)));
    const seen = [side.receive(4), side.receive(4), side.receive(4), side.receive(4)].flat();
    expect(seen.map((frame) => [...frame])).toEqual([[...frameOf(60)]]);
    expect(net.drops()).toEqual({ bad: 0, long: 0, empty: 1 });
    // The first buffer of a frame, or all of one, finds none.
    const held = Array.from({ length: 8 }, (_, i) => message(1, frameOf(60, i)));
    give(...held, message(2, frameOf(ONE)), part, message(1, frameOf(61)));
    expect(net.receive(side.slots, 32)).toBe(8);
    expect(net.drops()).toEqual({ bad: 0, long: 0, empty: 3 });
    side.free(8);
    give(message(1, frameOf(62)));
    expect(side.receive().map(({ length }) => length)).toEqual([62]);
    side.finish();
  },
);

/** Runs frames through a queue whose device writes to what is shared just before each load of it. */
function race(layout: VirtqueueLayout, way: Way, seed: number): number {
  const random = new Random(seed);
  const plain = testArena(4 << 20);
  const arena = new TracedArena(plain);
  const pair = new BouncePair({ ...PLAIN, layout, way, inOrder: random.below(2) === 0 }, plain, arena);
  const shared = [pair.window];
  const allowed = pair.driverWindows();
  const odds = 1 << random.below(9);
  let racing = false;
  pair.onDriver = (on) => {
    racing = on;
  };
  arena.onAccess((address, bytes, kind, site) => {
    if (!racing) return;
    if (!inside(allowed, address, bytes)) {
      throw new Error(`${arena.where(site)}: ${kind} of ${bytes} bytes at ${address}, which is not the driver's`);
    }
    if (!kind.endsWith('load') || !inside(shared, address, bytes) || random.below(odds) !== 0) return;
    arena.u8[address + random.below(bytes)] = random.below(2) === 0 ? random.next() : random.below(4);
  });
  let moved = 0;
  for (let step = 0; step < 200; step++) {
    const frames = Array.from({ length: random.below(4) }, (_, i) => frameOf(14 + random.below(5000), step + i));
    if (random.below(10) === 0) pair.scribble(random);
    for (const bytes of frames) pair.send({ bytes, offload: false });
    moved += pair.receive(32).length;
    if (pair.isBroken()) pair.restart();
  }
  pair.finish();
  return moved;
}

test.each(LAYOUTS.flatMap((layout) => WAYS.map((way) => [layout, way] as const)))(
  '%s, %s: a device that writes anywhere at any time makes the driver leave nothing and touch nothing else',
  (layout, way) => {
    let moved = 0;
    for (let seed = 0; seed < effort(4, 12); seed++) moved += race(layout, way, seed);
    expect(moved).toBeGreaterThan(effort(30, 200));
  },
);

test.each(LAYOUTS)('%s: nothing in an area is read twice', (layout) => {
  const plain = testArena(4 << 20);
  const arena = new TracedArena(plain);
  const pair = new BouncePair({ ...PLAIN, layout }, plain, arena);
  const watch = new FetchWatch(arena, [pair.areas]);
  for (let round = 0; round < 20; round++) {
    // Whole vectors, in whole buffers: the last vector of others overlaps the one before it.
    for (const length of [64, 256, 1008, 3584]) pair.send({ bytes: frameOf(length), offload: round % 2 === 0 });
    watch.nextCall();
    expect(pair.receive(32)).toHaveLength(round === 0 ? 0 : 4);
  }
  expect(watch.found).toEqual([]);
});

test('areas are refused where they make no sense', () => {
  const pair = new BouncePair({ ...PLAIN, size: 8 });
  const make = (queue: number, areas: number) => () =>
    createNetQueue(pair.arena, { name: 'no', queue, headerBytes: 12, mergeable: false, offloads: 0, areas });
  expect(make(pair.deviceQueue, pair.areas.address)).toThrow(/areas are for a driver/);
  expect(make(pair.driverQueue, pair.areas.address + 32)).toThrow(
    /areas=\d+ with 16384 bytes, must be a multiple of 64/,
  );
  expect(make(pair.driverQueue, pair.arena.bytes - 64)).toThrow(/lie in the arena's/);
  pair.finish();
});

test.each([
  ['areas that are not given back', 'in', '  freeAreas(netq, used);\n', ''],
  ['the last area of a long chain that is not kept', 'out', '(to << 32) | from', '(from << 32) | from'],
] as const)('%s: found', async (_, way, from, to) => {
  const file = 'virtio/net-bounce.kernel.ts';
  const module = await compileTraced({ folders: ['virtio', 'memory'], mutations: [{ file, from, to }] });
  const frames = Array.from({ length: 5 }, (_, i) => ({ length: 60 + i * 900, offload: true }));
  const all = Array.from({ length: 40 }, () => ({ frames, max: 32 }));
  carry({ ...PLAIN, way }, all);
  expect(() => carry({ ...PLAIN, way }, all, module)).toThrow();
});
