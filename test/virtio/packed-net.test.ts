import fc from 'fast-check';
import { test } from 'vitest';
import { effort } from '../support/effort.ts';
import { LENGTHS, type Packet, runAdd, runReceive, runSend } from './support/packed-net.ts';

const RUNS = effort(25, 1500);
const STEPS_MAX = 12;

const length = fc.constantFrom(...LENGTHS);
/** What both sides agreed on. Split rings take the next power of two. */
const agreed = fc.record({
  size: fc.constantFrom(1, 3, 7, 33, 50, 64),
  inOrder: fc.boolean(),
  headerBytes: fc.constantFrom(10 as const, 12 as const, 20 as const),
  tables: fc.boolean(),
  guestOffset: fc.constantFrom(0n, 0x12_3456_0000_0000n),
  regions: fc.constantFrom(1, 8),
});
type Agreed = typeof agreed extends fc.Arbitrary<infer T> ? T : never;

/** The same on either ring: both are held against the same lists. */
function onBoth(rig: Agreed, run: (options: Parameters<typeof runReceive>[0]) => void): void {
  const { size, tables, ...rest } = rig;
  const options = { ...rest, ...(tables && size >= 2 ? { indirect: Math.min(size, 4) } : {}) };
  run({ ...options, layout: 'packed', size });
  run({ ...options, layout: 'split', size: 2 ** Math.ceil(Math.log2(size)) });
}

/** How a chain is cut: mostly not. Header and frame; within either; into more pieces than a table has entries. */
const lengths = fc.oneof(
  { weight: 12, arbitrary: fc.constant([]) },
  { weight: 1, arbitrary: fc.constantFrom([12], [5], [20], [1, 2, 3, 4]) },
);
const received = fc.array(
  fc.record({
    chains: fc.array(fc.record({ length, lengths }), { maxLength: 32 }),
    max: fc.integer({ min: 1, max: 32 }),
  }),
  { maxLength: STEPS_MAX },
);

test('frames of a burst arrive in order with their bytes, and each chain comes back once', () => {
  fc.assert(
    fc.property(agreed, received, (rig, steps) => onBoth(rig, (options) => runReceive(options, steps))),
    { numRuns: RUNS },
  );
});

const special = fc.oneof(
  length.chain((bytes) =>
    fc.constantFrom<Packet['kind']>('offload', 'shared', 'low').map((kind): Packet => ({ kind, length: bytes })),
  ),
  fc.constantFrom<Packet>({ kind: 'chained', length: 1793 }, { kind: 'chained', length: 4000 }),
);
const packets = fc.array(
  fc.oneof(
    { weight: 12, arbitrary: length.map((bytes): Packet => ({ kind: 'plain', length: bytes })) },
    { weight: 1, arbitrary: special },
  ),
  { minLength: 1, maxLength: 32 },
);
const room = fc.oneof(
  { weight: 12, arbitrary: fc.constant([4096]) },
  { weight: 1, arbitrary: fc.constantFrom([4096, 20], [4096, 20, 20, 20, 20]) },
);
/** Merged buffers need not hold a frame each. */
const smallRoom = fc.oneof(room, fc.constantFrom([600], [1526], [30, 30], [12, 2000]));
const given = (each: fc.Arbitrary<readonly number[]>) =>
  fc.array(fc.record({ rooms: fc.array(each, { maxLength: 40 }), packets }), { maxLength: STEPS_MAX });

test('what a device sends is in its chains, in order, behind a header that is its own', () => {
  fc.assert(
    fc.property(agreed, given(room), (rig, steps) => onBoth(rig, (options) => runSend(options, steps))),
    { numRuns: RUNS },
  );
});

test('a device that merges buffers says of each frame how many it takes', () => {
  fc.assert(
    fc.property(agreed, given(smallRoom), ({ headerBytes, ...rig }, steps) => {
      // A legacy header without num_buffers cannot say it.
      const merges = { headerBytes: headerBytes === 10 ? 12 : headerBytes, mergeable: true } as const;
      onBoth({ ...rig, headerBytes: merges.headerBytes }, (options) => runSend({ ...options, ...merges }, steps));
    }),
    { numRuns: RUNS },
  );
});

const added = fc.array(
  fc.record({
    packets,
    take: fc.integer({ min: 0, max: 32 }),
    give: fc.integer({ min: 0, max: 32 }),
    from: fc.nat(31),
  }),
  { maxLength: STEPS_MAX },
);

test('what a driver sends is in its chains, in order, and is freed once', () => {
  fc.assert(
    fc.property(agreed, added, (rig, steps) => onBoth(rig, (options) => runAdd(options, steps))),
    { numRuns: RUNS },
  );
});
