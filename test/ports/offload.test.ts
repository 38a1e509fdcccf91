import fc from 'fast-check';
import { expect, test } from 'vitest';
import { BUFFER_FRAME_MAX } from '#build/memory/layout.js';
import { OFFLOAD_ANY } from '#build/packet/layout.js';
import { countedPort } from '#build/ports/counted.js';
import { offloadPort } from '#build/ports/offload.js';
import type { Port } from '#build/ports/port.js';
import { tracedPort } from '#build/ports/tracer.js';
import { ACK, type BigFrame, build, PSH, type Request, referenceSegments } from '../packet/support/big-frames.ts';
import { setRequest } from '../packet/support/offload-rig.ts';
import { PortBench, ScriptedPort } from '../support/port-bench.ts';

const TCP: BigFrame = {
  tags: [],
  family: 4,
  ipWords: 0,
  extensions: [],
  identification: 7,
  protocol: 6,
  options: 3,
  flags: ACK | PSH,
  sequence: 1000,
  payload: 20_000,
  seed: 5,
  size: 1448,
};

/** What is offered: a frame, what it asks for, and whether others hold it too. */
interface Offer {
  readonly frame: Uint8Array;
  readonly request?: Request;
  readonly shared?: boolean;
  /** What must leave; nothing when it is refused. */
  readonly expected: readonly Uint8Array[];
}

function rig(buffers = 1024) {
  const bench = new PortBench(buffers);
  const inner = new ScriptedPort(bench);
  const state = { mask: 0 };
  const counted = countedPort(bench.arena, inner, 0, bench.counters);
  const options = { counters: bench.counters, work: bench.work, offloads: () => state.mask };
  const port = offloadPort(bench.context, counted, options);
  const slots = bench.arena.allocate('offers', 512);
  const held = bench.arena.allocate('held', 512);
  let holding = 0;
  return {
    bench,
    inner,
    port,
    slots,
    state,
    /** Makes packets at `slots`, and holds the shared ones a second time. */
    make(offers: readonly Offer[]): void {
      bench.make(slots, offers);
      for (const [i, { request, shared }] of offers.entries()) {
        const slot = slots + i * 16;
        if (request !== undefined) setRequest(bench.arena, slot, request);
        if (!shared) continue;
        bench.kernels.poolShare(slot, 1);
        bench.arena.u8.copyWithin(held + holding++ * 16, slot, slot + 16);
      }
    },
    /** The bytes that the other owners see; they are given up. */
    heldFrames(): Uint8Array[] {
      const frames = Array.from({ length: holding }, (_, i) => bench.read(held + i * 16).frame);
      bench.kernels.poolFree(bench.context.cache, held, holding);
      holding = 0;
      return frames;
    },
    /** Offers `n` packets again and again, with the room that each call has, until all are taken. */
    offerAll(n: number, rooms: readonly number[]): void {
      let done = 0;
      for (let call = 0; done < n; call++) {
        if (call > 5000) throw new Error('the port does not get on');
        inner.room = call < rooms.length ? (rooms[call] ?? 0) : 32;
        done += port.txBurst(slots + done * 16, n - done);
      }
    },
  };
}

const plain: Offer = { frame: new Uint8Array(60).fill(1), expected: [new Uint8Array(60).fill(1)] };
const tso = (spec: BigFrame, shared = false): Offer => {
  const { frame, request } = build(spec);
  return { frame, request, shared, expected: referenceSegments(spec) };
};
const csum = (spec: BigFrame, shared = false): Offer => {
  const { frame, request } = build(spec);
  const expected = referenceSegments({ ...spec, size: 65_535 });
  return { frame, request: { ...request, type: 0, size: 0 }, shared, expected };
};
const bad = (shared = false): Offer => {
  const { frame, request } = build(TCP);
  return { frame, request: { ...request, size: 0 }, shared, expected: [] };
};

/** As text, since comparing arrays byte by byte takes its time. */
const textOf = (frame: Uint8Array): string => Buffer.from(frame).toString('base64');
const sent = (inner: ScriptedPort): string[] => inner.outgoing.map(({ frame }) => textOf(frame));
const expectedOf = (offers: readonly Offer[]): string[] => offers.flatMap(({ expected }) => expected.map(textOf));

test('whatever room the port has, complete frames leave in order, and the counts are exact', () => {
  const offer = fc.oneof(
    fc.constant(plain),
    fc.boolean().map((shared) => bad(shared)),
    fc
      .record({
        payload: fc.nat(6000),
        size: fc.integer({ min: 100, max: 3000 }),
        family: fc.constantFrom<(4 | 6)[]>(4, 6),
        protocol: fc.constantFrom<(6 | 17)[]>(6, 17),
        shared: fc.boolean(),
        sum: fc.boolean(),
      })
      .map(({ shared, sum, ...more }) => (sum ? csum({ ...TCP, ...more }, shared) : tso({ ...TCP, ...more }, shared))),
  );
  const { bench, inner, make, offerAll, heldFrames } = rig();
  fc.assert(
    fc.property(
      fc.array(offer, { minLength: 1, maxLength: 12 }),
      fc.array(fc.nat(5), { maxLength: 20 }),
      (offers, rooms) => {
        const before = bench.count();
        inner.outgoing.length = 0;
        make(offers);
        offerAll(offers.length, rooms);
        const expected = expectedOf(offers);
        expect(sent(inner)).toEqual(expected);
        // What others hold is as it was.
        expect(heldFrames().map(textOf)).toEqual(
          offers.filter(({ shared }) => shared).map(({ frame }) => textOf(frame)),
        );
        const after = bench.count();
        const refused = offers.filter((each) => each.expected.length === 0).length;
        expect(after.txPackets - before.txPackets).toBe(expected.length);
        expect((after.drops['bad-offload'] ?? 0) - (before.drops['bad-offload'] ?? 0)).toBe(refused);
        // Offered + copied = sent + dropped.
        expect(offers.length + after.copies - before.copies).toBe(expected.length + refused);
        expect(bench.leftovers()).toEqual([]);
      },
    ),
    { numRuns: 150 },
  );
});

test('a port gets what it does itself as it is, and the rest finished; a change takes effect at the next packet', () => {
  const { bench, inner, port, slots, make, offerAll, state } = rig();
  const whole = tso(TCP);
  const pass = (mask: number, offer: Offer): string[] => {
    inner.outgoing.length = 0;
    state.mask = mask;
    make([offer]);
    offerAll(1, []);
    return sent(inner);
  };
  expect(pass(1 + 2, whole)).toEqual([textOf(whole.frame)]);
  expect(pass(1 + 16, whole)).toEqual(expectedOf([whole]));
  const sum = csum(TCP);
  expect(pass(1, sum)).toEqual([textOf(sum.frame)]);
  expect(pass(254 - 64, sum)).toEqual(expectedOf([sum]));
  expect(pass(OFFLOAD_ANY, bad())).toEqual([textOf(bad().frame)]);
  expect(pass(255 - 64, bad())).toEqual([]);

  // A packet that was sent in part goes on in segments, whatever the port could do by now.
  inner.outgoing.length = 0;
  state.mask = 0;
  make([whole]);
  inner.room = 3;
  expect(port.txBurst(slots, 1)).toBe(0);
  state.mask = OFFLOAD_ANY;
  offerAll(1, [2]);
  expect(sent(inner)).toEqual(expectedOf([whole]));
  expect(bench.leftovers()).toEqual([]);
});

test('a packet that was dropped in part does not cut off the next one', () => {
  const { bench, inner, port, slots, make, offerAll } = rig();
  const first = tso(TCP);
  make([first]);
  inner.room = 3;
  expect(port.txBurst(slots, 1)).toBe(0);
  bench.kernels.poolFree(bench.context.cache, slots, 1);
  inner.outgoing.length = 0;
  const other = tso({ ...TCP, seed: 9 });
  make([plain, other]);
  bench.arena.u8.copyWithin(slots, slots + 16, slots + 32);
  offerAll(1, []);
  expect(sent(inner)).toEqual(expectedOf([other]));
});

test('one call sends 128 segments at most, and a full port is asked with one segment at a time', () => {
  const { inner, port, slots, make } = rig();
  const many = tso({ ...TCP, size: 20 });
  make([many]);
  expect(port.txBurst(slots, 1)).toBe(0);
  expect(inner.outgoing).toHaveLength(128);
  const asked: number[] = [];
  const take = inner.txBurst.bind(inner);
  inner.txBurst = (at, count) => {
    asked.push(count);
    return take(at, count);
  };
  for (const room of [20, 0, 0, 32]) {
    inner.room = room;
    port.txBurst(slots, 1);
  }
  expect(asked.slice(0, 8)).toEqual([32, 1, 1, 1, 2, 4, 8, 16]);
});

test('without a free buffer the packet is dropped, counted once, and its buffers are free for those behind', () => {
  const { bench, inner, port, slots, make } = rig(64);
  const big = tso({ ...TCP, payload: 65_000, size: 1000 });
  make([big]);
  // All others are taken.
  const filler = bench.arena.allocate('filler', 64 * 16);
  const taken = bench.kernels.poolAlloc(bench.context.cache, filler, 64);
  expect(taken).toBe(64 - Math.ceil(big.frame.length / BUFFER_FRAME_MAX));
  expect(port.txBurst(slots, 1)).toBe(1);
  expect(bench.count()).toMatchObject({ txPackets: 0, copies: 0, drops: { 'pool-empty': 1 } });
  const small = tso({ ...TCP, payload: 3000 });
  make([small]);
  expect(port.txBurst(slots, 1)).toBe(1);
  expect(sent(inner)).toEqual(expectedOf([small]));
  expect(bench.count()).toMatchObject({ txPackets: 3, copies: 2 });
  bench.kernels.poolFree(bench.context.cache, filler, taken);
  expect(bench.leftovers()).toEqual([]);
});

test('everything else goes through', () => {
  const { bench, inner, port } = rig();
  inner.incoming.push({ frame: plain.frame });
  expect(bench.receive(port)).toHaveLength(1);
  expect(port.info()).toEqual({ done: false });
  const settings: unknown[] = [];
  (inner as Port).set = (name, value) => void settings.push([name, value]);
  port.set?.('speed', 3);
  expect(settings).toEqual([['speed', 3]]);
  port.close();
  expect(inner.closed).toBe(1);
});

test.each([
  [{ flags: 1, type: 1, size: 1448 }, 'gso tcpv4 1448, csum 34+16'],
  [{ flags: 1, type: 4 + 128, size: 99 }, 'gso tcpv6 ecn 99, csum 34+16'],
  [{ flags: 3, type: 5, size: 0 }, 'gso udp 0, csum 34+16, csum checked'],
  [{ flags: 0, type: 3, size: 8 }, 'gso udp fragments 8'],
  [{ flags: 0, type: 9, size: 8 }, 'gso type 9 8'],
  [{ flags: 0, type: 0, size: 8 }, 'asks for nothing'],
])('a traced packet says what it asks for: %o', (words, text) => {
  const { bench, inner, slots, make } = rig();
  const lines: string[] = [];
  const { port, trace } = tracedPort(bench.arena, inner, (line) => lines.push(line));
  trace(true);
  make([{ ...plain, request: { ...words, start: 34, offset: 16, headerLength: 0 } }, plain]);
  port.txBurst(slots, 2);
  expect(lines).toHaveLength(2);
  expect(lines[0]?.endsWith(` (${text})`)).toBe(true);
  expect(lines[1]).not.toContain('(');
});
