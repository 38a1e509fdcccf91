import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  BUFFER_CSUM_OFFSET,
  BUFFER_CSUM_START,
  BUFFER_FRAME_MAX,
  BUFFER_HEADER_LENGTH,
  BUFFER_OFFLOAD_FLAGS,
  BUFFER_SECONDS,
  BUFFER_WIRE_LENGTH,
  SLOT_EVENT,
  SLOT_FLAG_OFFLOAD,
  SLOT_FLAG_TIMED,
  SLOT_FLAGS,
  SLOT_FLOW,
} from '#build/memory/layout.js';
import { OUTPUT_SIZE, OUTPUT_SLOTS, PATH_OUTPUTS } from '#build/switch/layout.js';
import type { SwitchPort } from '#build/switch/switch.js';
import { EVERYTHING, isChained, isShared, portsOf, SwitchRig } from '../support/switch-rig.ts';
import { BROADCAST, ethernet } from './support/ethernet.ts';

const access = (vlan: number): SwitchPort => ({ learn: true, vlan: { access: vlan } });
const FOUR = [EVERYTHING, EVERYTHING, EVERYTHING, EVERYTHING];

/** Buffers that are taken, by the pool's own counters. */
function inFlight(rig: SwitchRig): number {
  return rig.pool.audit().inFlight;
}

/** Runs the switch and says how many buffers its outputs hold. */
function buffersHeldBy(rig: SwitchRig, count: number): number {
  rig.kernels.switchForward(rig.switch.paths[0] ?? 0, rig.burst, count, 1);
  return inFlight(rig);
}

describe('a flooded frame', () => {
  test('is one buffer, however many ports it goes to', () => {
    const rig = new SwitchRig({ ports: new Array(20).fill(EVERYTHING) });
    rig.load({ port: 3, bytes: ethernet(1, BROADCAST) });
    expect(buffersHeldBy(rig, 1)).toBe(1);
    const deliveries = rig.take();
    expect(portsOf(deliveries)).toEqual([...Array(20).keys()].filter((port) => port !== 3));
    expect(deliveries.every(isShared)).toBe(true);
    expect(rig.counters(3)).toMatchObject({ flooded: 1, copies: 18 });
    rig.expectNothingHeld();
  });

  test('is copied once when some ports want a tag and others do not', () => {
    const rig = new SwitchRig({ ports: [access(5), access(5), EVERYTHING, EVERYTHING, access(5), access(6)] });
    rig.load({ port: 0, bytes: ethernet(1, BROADCAST) });
    expect(buffersHeldBy(rig, 1)).toBe(2);
    const deliveries = rig.take();
    expect(deliveries.map(({ to, bytes }) => [to, bytes])).toEqual([
      [1, ethernet(1, BROADCAST)],
      [2, ethernet(1, BROADCAST, 5)],
      [3, ethernet(1, BROADCAST, 5)],
      [4, ethernet(1, BROADCAST)],
    ]);
    rig.expectNothingHeld();
  });

  test('is not copied when all ports want the other form', () => {
    const rig = new SwitchRig({ ports: [access(5), EVERYTHING, EVERYTHING] });
    rig.load({ port: 0, bytes: ethernet(1, BROADCAST) });
    expect(buffersHeldBy(rig, 1)).toBe(1);
    rig.take();
    rig.expectNothingHeld();
  });

  test('is not flagged as shared when it goes to one port', () => {
    const rig = new SwitchRig({ ports: [EVERYTHING, EVERYTHING] });
    expect(rig.forward([{ port: 0, bytes: ethernet(1, BROADCAST) }]).map(isShared)).toEqual([false]);
  });
});

describe('mirrors', () => {
  test('of what enters get even what is dropped, as it came', () => {
    const rig = new SwitchRig({ ports: [access(5), access(5), access(7), EVERYTHING] });
    rig.switch.addMirror(0, 2, 'rx');
    rig.switch.addMirror(0, 3, 'rx');
    const runt = Uint8Array.of(1, 2, 3);
    const foreign = ethernet(1, 2, 9);
    const deliveries = rig.forward([
      { port: 0, bytes: runt },
      { port: 0, bytes: foreign },
      { port: 0, bytes: new Uint8Array(0) },
    ]);
    expect(deliveries.map(({ to, bytes }) => [to, bytes])).toEqual(
      [2, 3].flatMap((to) => [runt, foreign, new Uint8Array(0)].map((bytes) => [to, bytes])),
    );
    expect(rig.drops()).toEqual({ '0 runt': 2, '0 vlan': 1 });
  });

  test('of what leaves get it in the form in which it leaves', () => {
    const rig = new SwitchRig({ ports: [access(5), EVERYTHING, access(5), access(9)] });
    rig.switch.addMirror(1, 3, 'tx');
    rig.switch.addMirror(2, 3, 'tx');
    const deliveries = rig.forward([{ port: 0, bytes: ethernet(1, BROADCAST) }]);
    expect(deliveries.filter(({ to }) => to === 3).map(({ bytes }) => bytes.length)).toEqual([64, 60]);
    expect(rig.counters(0).copies).toBe(3);
  });

  test('of a port are four at most in each direction', () => {
    const rig = new SwitchRig({ ports: new Array(6).fill(EVERYTHING) });
    for (const to of [1, 2, 3, 4]) rig.switch.addMirror(0, to, 'rx');
    expect(() => rig.switch.addMirror(0, 5, 'rx')).toThrow(/port 0 has 4 rx mirrors already, no more fit/);
    expect(portsOf(rig.forward([{ port: 0, bytes: Uint8Array.of(1) }]))).toEqual([1, 2, 3, 4]);
  });
});

describe('the storm limit', () => {
  /** A window is 2^26 ns, some 67 ms. */
  const PER_WINDOW = 3;
  const PER_SECOND = 45;

  test('lets so many flooded frames in from its port in a window of time, and known ones always', () => {
    const rig = new SwitchRig({ ports: FOUR });
    rig.switch.setStorm(0, PER_SECOND);
    const flood = (port: number, count: number): number =>
      rig.forward(Array.from({ length: count }, () => ({ port, bytes: ethernet(port + 1, BROADCAST) }))).length / 3;
    expect(flood(0, 10)).toBe(PER_WINDOW);
    expect(flood(1, 10)).toBe(10);
    expect(rig.drops()).toEqual({ '0 storm': 10 - PER_WINDOW });
    expect(portsOf(rig.forward([{ port: 0, bytes: ethernet(1, 2) }]))).toEqual([1]);
    rig.setTime(1_700_000_000, 2 ** 26);
    expect(flood(0, 10)).toBe(PER_WINDOW);
    expect(flood(0, 1)).toBe(0);
    rig.switch.setStorm(0, undefined);
    expect(flood(0, 20)).toBe(20);
  });

  test('is at least one frame a window, and holds over a second', () => {
    const rig = new SwitchRig({ ports: FOUR });
    for (const [limit, least, most] of [
      [1, 14, 16],
      // 67 in a window, of which 16 may lie in a second in part.
      [1000, 1000, 16 * 67],
    ] as const) {
      rig.switch.setStorm(0, limit);
      let passed = 0;
      for (let step = 0; step < 200; step++) {
        rig.setTime(1_700_000_010 + limit, step * 5_000_000);
        passed += rig.forward(new Array(16).fill({ port: 0, bytes: ethernet(1, BROADCAST) })).length / 3;
      }
      expect(passed).toBeGreaterThanOrEqual(least);
      expect(passed).toBeLessThanOrEqual(most);
    }
  });
});

describe('when there is no room', () => {
  test('a full output drops what comes last, on the account of its port', () => {
    const rig = new SwitchRig({ ports: [EVERYTHING, EVERYTHING, EVERYTHING], buffers: 400 });
    rig.switch.addMirror(1, 2, 'tx');
    rig.forward([{ port: 1, bytes: ethernet(2, BROADCAST) }]);
    const before = { ...rig.counters(0) };
    // Each is in the output once; its mirror gets as many.
    for (let burst = 0; burst < 5; burst++) {
      for (let i = 0; i < 32; i++) rig.load({ port: 0, bytes: ethernet(1, 2, undefined, 46 + burst * 32 + i) }, i);
      rig.kernels.switchForward(rig.switch.paths[0] ?? 0, rig.burst, 32, 1);
    }
    const deliveries = rig.take();
    expect(portsOf(deliveries)).toEqual([...Array(OUTPUT_SIZE).fill(1), ...Array(OUTPUT_SIZE).fill(2)]);
    expect(deliveries.slice(0, OUTPUT_SIZE).map(({ bytes }) => bytes.length)).toEqual(
      Array.from({ length: OUTPUT_SIZE }, (_, index) => 60 + index),
    );
    expect(rig.drops()).toEqual({ '1 tx-full': 160 - OUTPUT_SIZE, '2 tx-full': 160 - OUTPUT_SIZE });
    expect(rig.counters(0).copies - before.copies).toBe(160);
    rig.expectNothingHeld();
  });

  test('an exhausted pool costs the ports that need a copy, and no buffer is lost', () => {
    const ports = [access(5), access(5), EVERYTHING, { learn: true, vlan: { trunk: [5] } }, access(5)];
    fc.assert(
      fc.property(
        fc.nat(5),
        fc.constantFrom(100, 1700, 4000),
        fc.boolean(),
        fc.nat(4),
        (left, length, shared, port) => {
          const rig = new SwitchRig({ ports, buffers: 64 });
          const tagged = port === 2 || port === 3;
          const bytes = ethernet(1, BROADCAST, tagged ? 5 : undefined, length);
          const slot = rig.load({ port, bytes });
          const held = shared ? rig.share(slot) : undefined;
          // Somebody else has all but a few buffers.
          const others = rig.arena.allocate('others', 64 * 16);
          const taken = rig.kernels.poolAlloc(rig.cache(), others, 64 - inFlight(rig) - left);
          const deliveries = rig.run(1);
          const copies = Math.ceil(bytes.length / BUFFER_FRAME_MAX);
          const asItCame = tagged ? 1 : 2;
          expect(deliveries.length).toBe(left >= copies ? 4 : asItCame);
          expect(rig.drops()).toEqual(left >= copies ? {} : { [`${port} pool-empty`]: 4 - asItCame });
          if (held !== undefined) expect(rig.bytesOf(held)).toEqual(bytes);
          rig.release();
          rig.kernels.poolFree(rig.cache(), others, taken);
          rig.expectNothingHeld();
        },
      ),
      { numRuns: 40 },
    );
  });

  test('an exhausted pool drops a shared packet that must change', () => {
    const rig = new SwitchRig({ ports: [access(5), EVERYTHING, EVERYTHING], buffers: 64 });
    const slot = rig.load({ port: 0, bytes: ethernet(1, BROADCAST) });
    rig.share(slot);
    const others = rig.arena.allocate('others', 64 * 16);
    const taken = rig.kernels.poolAlloc(rig.cache(), others, 63);
    expect(rig.run(1)).toEqual([]);
    expect(rig.drops()).toEqual({ '0 pool-empty': 2 });
    rig.release();
    rig.kernels.poolFree(rig.cache(), others, taken);
    rig.expectNothingHeld();
  });
});

describe('a frame of many buffers', () => {
  test.each([1760, 1775, 1778, 1779, 1792, 3600, 9000, 65_535, 262_100])(
    'of %i bytes of payload gains and loses tags, shared or not',
    (length) => {
      const rig = new SwitchRig({ ports: [access(5), EVERYTHING, access(5)], buffers: 600 });
      const untagged = ethernet(1, BROADCAST, undefined, length);
      const tagged = ethernet(1, BROADCAST, 5, length);
      for (const shared of [false, true]) {
        for (const [port, bytes] of [
          [0, untagged],
          [1, tagged],
        ] as const) {
          const slot = rig.load({ port, bytes });
          const held = shared ? rig.share(slot) : undefined;
          const deliveries = rig.run(1);
          expect(
            deliveries.map(({ to, bytes: out }) => [to, Buffer.compare(out, to === 1 ? tagged : untagged)]),
          ).toEqual([0, 1, 2].filter((to) => to !== port).map((to) => [to, 0]));
          // Shared by tag form: a chained copy is a chain of its own.
          if (bytes.length > BUFFER_FRAME_MAX) expect(deliveries.every(isChained)).toBe(true);
          if (held !== undefined) expect(Buffer.compare(rig.bytesOf(held), bytes)).toBe(0);
          rig.release();
          rig.expectNothingHeld();
        }
      }
    },
  );
});

describe('what a packet says beside its bytes', () => {
  const OFFLOAD_NEEDS_CHECKSUM = 1;

  /** Sends one frame with a time, an offload request, a flow and an event from port 0; returns what leaves port 1. */
  function sent(ports: SwitchPort[], bytes: Uint8Array, shared: boolean): Record<string, number> {
    const rig = new SwitchRig({ ports });
    const { arena } = rig;
    const slot = rig.load({ port: 0, bytes });
    const buffer = arena.u32[slot >>> 2] ?? 0;
    arena.u32[(slot + SLOT_FLOW) >>> 2] = 0xcafe;
    arena.u16[(slot + SLOT_EVENT) >>> 1] = 0x1234;
    arena.u8[slot + SLOT_FLAGS] = SLOT_FLAG_TIMED | SLOT_FLAG_OFFLOAD;
    arena.u32[(buffer + BUFFER_SECONDS) >>> 2] = 1234;
    arena.u32[(buffer + BUFFER_WIRE_LENGTH) >>> 2] = 9000;
    arena.u8[buffer + BUFFER_OFFLOAD_FLAGS] = OFFLOAD_NEEDS_CHECKSUM;
    arena.u16[(buffer + BUFFER_HEADER_LENGTH) >>> 1] = 54;
    arena.u16[(buffer + BUFFER_CSUM_START) >>> 1] = 34;
    arena.u16[(buffer + BUFFER_CSUM_OFFSET) >>> 1] = 16;
    if (shared) rig.share(slot);
    rig.kernels.switchForward(rig.switch.paths[0] ?? 0, rig.burst, 1, 1);
    const outputs = arena.u32[((rig.switch.paths[0] ?? 0) + PATH_OUTPUTS) >>> 2] ?? 0;
    const out = outputs + OUTPUT_SLOTS + (OUTPUT_SLOTS + OUTPUT_SIZE * 16);
    const at = arena.u32[out >>> 2] ?? 0;
    return {
      flow: arena.u32[(out + SLOT_FLOW) >>> 2] ?? 0,
      event: arena.u16[(out + SLOT_EVENT) >>> 1] ?? 0,
      flags: (arena.u8[out + SLOT_FLAGS] ?? 0) & (SLOT_FLAG_TIMED | SLOT_FLAG_OFFLOAD),
      seconds: arena.u32[(at + BUFFER_SECONDS) >>> 2] ?? 0,
      wireLength: arena.u32[(at + BUFFER_WIRE_LENGTH) >>> 2] ?? 0,
      headerLength: arena.u16[(at + BUFFER_HEADER_LENGTH) >>> 1] ?? 0,
      checksumStart: arena.u16[(at + BUFFER_CSUM_START) >>> 1] ?? 0,
      checksumOffset: arena.u16[(at + BUFFER_CSUM_OFFSET) >>> 1] ?? 0,
    };
  }

  const same = {
    flow: 0xcafe,
    event: 0x1234,
    flags: SLOT_FLAG_TIMED | SLOT_FLAG_OFFLOAD,
    seconds: 1234,
    wireLength: 9000,
    headerLength: 54,
    checksumStart: 34,
    checksumOffset: 16,
  };

  test.each([false, true])('goes along, and counts from where the frame then starts (shared: %s)', (shared) => {
    expect(sent([EVERYTHING, EVERYTHING], ethernet(1, BROADCAST), shared)).toEqual(same);
    const tagged = { ...same, wireLength: 9004, headerLength: 58, checksumStart: 38 };
    expect(sent([access(5), EVERYTHING], ethernet(1, BROADCAST), shared)).toEqual(tagged);
    const untagged = { ...same, wireLength: 8996, headerLength: 50, checksumStart: 30 };
    expect(sent([EVERYTHING, access(5)], ethernet(1, BROADCAST, 5), shared)).toEqual(untagged);
  });
});

test('a frame to a reserved address is forwarded when told so', () => {
  const rig = new SwitchRig({ ports: FOUR, forwardReserved: true });
  const frame = ethernet(1, '01:80:c2:00:00:0e');
  expect(portsOf(rig.forward([{ port: 0, bytes: frame }]))).toEqual([1, 2, 3]);
  rig.switch.setForwardReserved(false);
  expect(rig.forward([{ port: 0, bytes: frame }])).toEqual([]);
  expect(rig.drops()).toEqual({ '0 reserved': 1 });
});

test('a switch takes as many bytes as it says, and no region is written past its end', () => {
  for (const [ports, lcores] of [
    [1, 1],
    [255, 3],
  ] as const) {
    const rig = new SwitchRig({ ports: new Array(ports).fill(EVERYTHING), lcores, buffers: 300, macs: 5000 });
    for (let lcore = 0; lcore < lcores; lcore++) {
      const deliveries = rig.forward([{ port: ports - 1, bytes: ethernet(1, BROADCAST) }], lcore);
      expect(portsOf(deliveries)).toEqual([...Array(ports - 1).keys()]);
    }
  }
});
