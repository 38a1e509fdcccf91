import fc from 'fast-check';
import { Ipv4View, internetSum } from 'ringway/packet';
import { describe, expect, test } from 'vitest';
import { buildRoutes, type Route } from '#build/packet/prefix.js';
import { BASES } from '../support/arena.ts';
import { effort } from '../support/effort.ts';
import { portsOf } from '../support/switch-rig.ts';
import { stationBytes } from './support/ethernet.ts';
import { hopMac, makeRouter, packetTo, routerCase, runRouter } from './support/router-case.ts';

const PLAIN = { hops: 64, vlan: undefined, options: new Uint8Array(0), identification: 0 };
const DEFAULT4: Route = { prefix: { family: 4, bytes: new Uint8Array(4), length: 0 }, port: 1, mac: hopMac(1) };
const DEFAULT6: Route = { prefix: { family: 6, bytes: new Uint8Array(16), length: 0 }, port: 2, mac: hopMac(2) };
const TEN = Uint8Array.of(10, 0, 0, 1);
const DB8 = Uint8Array.of(0x20, 1, 0xd, 0xb8, ...new Array<number>(12).fill(1));

test.each(BASES)('packets take the longest prefix of all that cover them (regions above %i)', (base) => {
  fc.assert(
    fc.property(routerCase, (given) => {
      runRouter(given, base);
    }),
    { numRuns: 25 },
  );
});

test('the checksum after a hop is what computing it anew gives', () => {
  const rig = makeRouter([DEFAULT4]);
  // 65,536 identifications go through every sum; the fast suite takes every eighth burst of them.
  for (let first = 0; first < 65536; first += effort(256, 32)) {
    const inputs = Array.from({ length: 32 }, (_, i) => ({
      port: 0,
      bytes: packetTo(TEN, { ...PLAIN, identification: first + i }),
    }));
    for (const { bytes } of rig.forward(inputs)) {
      const view = Ipv4View.parse(bytes, 14);
      const found = view?.checksum;
      view?.fillChecksum();
      if (found !== view?.checksum) expect(found).toBe(view?.checksum);
    }
  }
  expect(rig.drops()).toEqual({});
});

describe('a packet with a malformed header', () => {
  const whole4 = packetTo(TEN, { ...PLAIN, options: new Uint8Array(8).fill(1) });
  const whole6 = packetTo(DB8, PLAIN);
  const tagged4 = packetTo(TEN, { ...PLAIN, vlan: { id: 5, priority: 0 } });

  test.each([
    ['IPv4', whole4],
    ['IPv6', whole6],
    ['IPv4 with a tag', tagged4],
  ])('is dropped wherever it is cut: %s', (_, whole) => {
    const rig = makeRouter([DEFAULT4, DEFAULT6]);
    for (let length = 14; length < whole.length; length++) {
      // What lies behind it would make it whole.
      const deliveries = rig.forward([{ port: 0, bytes: whole.slice(0, length), behind: whole.slice(length) }]);
      // Cut in its tag it has none, and a port's own untagged frames are no IP packets then either.
      expect(deliveries, `${length} bytes`).toEqual([]);
    }
    expect(rig.drops()).toEqual({ '0 bad-header': whole.length - 14 });
    expect(rig.forward([{ port: 0, bytes: whole }]).length).toBe(1);
  });

  test.each([
    ['version 5', 14, 0x55],
    ['a header of 16 bytes', 14, 0x44],
    ['a header that is longer than the packet', 14, 0x4f],
    ['a length below its header', 17, 27],
    ['a length above its bytes', 17, 200],
  ])('is dropped: IPv4 with %s', (_, at, value) => {
    const rig = makeRouter([DEFAULT4]);
    const frame = packetTo(TEN, { ...PLAIN, options: new Uint8Array(8).fill(1) });
    frame[at] = value;
    // The checksum is right, so far as there is a header to sum.
    frame.set([0, 0], 24);
    const bytes = Math.min(((frame[14] ?? 0) & 15) * 4, frame.length - 14);
    const sum = internetSum(frame, 14, bytes) ^ 0xffff;
    frame.set([sum >>> 8, sum & 255], 24);
    expect(rig.forward([{ port: 0, bytes: frame }])).toEqual([]);
    expect(rig.drops()).toEqual({ '0 bad-header': 1 });
  });

  test('is dropped with any one bit of its checksummed header turned', () => {
    const rig = makeRouter([DEFAULT4]);
    const bits = 28 * 8;
    for (let bit = 0; bit < bits; bit++) {
      const frame = whole4.slice();
      frame[14 + (bit >>> 3)] = (frame[14 + (bit >>> 3)] ?? 0) ^ (0x80 >>> (bit & 7));
      expect(rig.forward([{ port: 0, bytes: frame }]), `bit ${bit}`).toEqual([]);
    }
    expect(rig.drops()).toEqual({ '0 bad-header': bits });
  });

  test('is dropped: what is no IP packet, and IPv6 of another version or with a longer payload than there is', () => {
    const rig = makeRouter([DEFAULT4, DEFAULT6]);
    const change = (at: number, value: number): Uint8Array => {
      const frame = whole6.slice();
      frame[at] = value;
      return frame;
    };
    const frames = [change(12, 0x08), change(14, 0x45), change(18, 1), change(19, 12)];
    expect(rig.forward(frames.map((bytes) => ({ port: 0, bytes })))).toEqual([]);
    expect(rig.drops()).toEqual({ '0 bad-header': 4 });
    // Bytes behind the packet are padding.
    expect(portsOf(rig.forward([{ port: 0, bytes: change(19, 10) }]))).toEqual([2]);
  });
});

test('a priority tag on a port without a VLAN for untagged frames is taken off', () => {
  const rig = makeRouter([DEFAULT4]);
  const tagged = packetTo(TEN, { ...PLAIN, vlan: { id: 0, priority: 5 } });
  expect(rig.forward([{ port: 0, bytes: tagged }])[0]?.bytes).toEqual(
    rig.forward([{ port: 0, bytes: packetTo(TEN, PLAIN) }])[0]?.bytes,
  );
});

test('a route through a port that is gone drops the packet, as no port', () => {
  const rig = makeRouter([DEFAULT4]);
  rig.switch.removePort(1);
  expect(rig.forward([{ port: 0, bytes: packetTo(TEN, PLAIN) }])).toEqual([]);
  expect(rig.drops()).toEqual({ '0 no-port': 1 });
});

test('without routes no address is the router, not even one of zeroes', () => {
  const rig = makeRouter([]);
  buildRoutesFor(rig, new Uint8Array(6));
  const frame = packetTo(TEN, PLAIN);
  frame.fill(0, 0, 6);
  expect(portsOf(rig.forward([{ port: 0, bytes: frame }]))).toEqual([1, 2, 3, 4, 5]);
});

function buildRoutesFor(rig: ReturnType<typeof makeRouter>, mac: Uint8Array): void {
  for (const name of ['routes', 'routes.hops']) rig.arena.release(name);
  buildRoutes(rig.arena, rig.switch.routes, mac, []);
}

test('of two routes to one prefix the later one counts', () => {
  const rig = makeRouter([DEFAULT4, { ...DEFAULT4, port: 3 }]);
  expect(portsOf(rig.forward([{ port: 0, bytes: packetTo(TEN, PLAIN) }]))).toEqual([3]);
});

test('routes that do not fit are refused', () => {
  const host = (index: number): Route => {
    const bytes = new Uint8Array(16);
    new DataView(bytes.buffer).setUint32(0, index * 0x9e3779b1);
    bytes[15] = 1;
    return { prefix: { family: 6, bytes, length: 128 }, port: 1, mac: stationBytes(1) };
  };
  const hosts = (count: number): Route[] => Array.from({ length: count }, (_, index) => host(index));
  expect(() => makeRouter(hosts(1025))).toThrow(/1025 routes, at most 1024 fit/);
  expect(() => makeRouter(hosts(400))).toThrow(/need more than 4096 nodes; use fewer long ones/);
  expect(portsOf(makeRouter(hosts(200)).forward([{ port: 0, bytes: packetTo(host(7).prefix.bytes, PLAIN) }]))).toEqual([
    1,
  ]);
});
