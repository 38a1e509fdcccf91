import fc from 'fast-check';
import { buildFrame, type FrameRepr, Ipv6View, type PacketKernels } from 'ringway/packet';
import { expect, test } from 'vitest';
import { testArena } from '../support/arena.ts';
import { effort } from '../support/effort.ts';
import { anyFrame, extendedFrame, hostileFrame } from './support/frames.ts';
import { headersOf, lastFrame } from './support/headers.ts';

const BURST = 32;

test('headers are found in any frame, and nothing behind its end is read', () => {
  const arena = testArena(1 << 20);
  const last = lastFrame(arena);
  const key = arena.allocate('key', 40);
  fc.assert(
    fc.property(hostileFrame, (frame) => {
      last.put(frame);
      expect(last.headers()).toEqual(headersOf(frame));
      expect(last.flow()).toBeGreaterThan(0);
      last.toeplitz(key);
    }),
    { numRuns: effort(300, 3000) },
  );
});

test('every cut of every kind of frame is read within its bounds', () => {
  const last = lastFrame(testArena(1 << 20));
  fc.assert(
    fc.property(fc.oneof(anyFrame, extendedFrame), (repr) => {
      const frame = buildFrame(repr);
      for (let length = 0; length <= Math.min(frame.length, 160); length++) {
        last.put(frame.subarray(0, length));
        expect(last.headers()).toEqual(headersOf(frame.subarray(0, length)));
        last.flow();
      }
    }),
    { numRuns: effort(15, 60) },
  );
});

const ethernet = { source: '02:00:00:00:00:01', destination: '02:00:00:00:00:02' };
const ipv4 = { source: '10.0.0.1', destination: '10.0.0.2' };
const udp = { sourcePort: 1000, destinationPort: 2000 };
const frameOf = (repr: Omit<FrameRepr, 'ethernet'>): Uint8Array => buildFrame({ ethernet, ...repr });

test('the flow hash depends on the five parts of a flow, and on nothing else', () => {
  const last = lastFrame(testArena(1 << 20));
  const flow = (frame: Uint8Array): number => {
    last.put(frame);
    return last.flow();
  };
  const base = flow(frameOf({ ipv4, udp }));
  const same: Omit<FrameRepr, 'ethernet'>[] = [
    { ipv4: { ...ipv4, ttl: 3, dscp: 4, identification: 5 }, udp, payload: new Uint8Array(900).fill(7) },
    { ipv4: { ...ipv4, options: new Uint8Array(8) }, udp },
    { ipv4, udp, vlans: [{ id: 5 }] },
    { ipv4, udp, vlans: [{ id: 5 }, { id: 6 }] },
  ];
  for (const repr of same) expect(flow(frameOf(repr))).toBe(base);
  const other: Omit<FrameRepr, 'ethernet'>[] = [
    { ipv4: { source: '10.0.0.2', destination: '10.0.0.1' }, udp },
    { ipv4: { ...ipv4, source: '10.0.0.3' }, udp },
    { ipv4, udp: { sourcePort: 2000, destinationPort: 1000 } },
    { ipv4, udp: { ...udp, sourcePort: 1001 } },
    { ipv4, tcp: udp },
    { ipv4: { ...ipv4, moreFragments: true }, udp },
  ];
  const hashes = other.map((repr) => flow(frameOf(repr)));
  expect(new Set([base, ...hashes]).size).toBe(other.length + 1);
  // All pieces of a packet have one hash.
  const pieces = [0, 8, 1480].map((fragmentOffset) =>
    flow(
      frameOf({
        ipv4: { ...ipv4, protocol: 17, moreFragments: true, fragmentOffset },
        payload: new Uint8Array(30).fill(fragmentOffset),
      }),
    ),
  );
  expect(new Set(pieces).size).toBe(1);
});

test.each<[string, (n: number) => Omit<FrameRepr, 'ethernet'>]>([
  ['ports', (n) => ({ ipv4, udp: { sourcePort: n, destinationPort: 53 } })],
  ['IPv4 hosts', (n) => ({ ipv4: { ...ipv4, source: `10.1.${n >>> 8}.${n & 255}` }, udp })],
  ['IPv4 pairs', (n) => ({ ipv4: { source: `10.0.0.${n & 63}`, destination: `10.9.9.${n >>> 6}` }, udp })],
  [
    'IPv6 pairs',
    (n) => ({
      ipv6: { source: `fd00::${(n & 63).toString(16)}`, destination: `fd01::${(n >>> 6).toString(16)}` },
      udp,
    }),
  ],
])('flow hashes of neighbouring %s spread over few and many buckets alike', (_, make) => {
  const last = lastFrame(testArena(1 << 20));
  const flows = 4096;
  const hashes = Array.from({ length: flows }, (_, n) => {
    last.put(frameOf(make(n)));
    return last.flow();
  });
  expect(new Set(hashes).size).toBeGreaterThan(flows - 8);
  for (const [buckets, shift] of [
    [4, 0],
    [64, 0],
    [4, 30],
    [64, 26],
  ] as const) {
    const counts = new Array<number>(buckets).fill(0);
    for (const hash of hashes) {
      const bucket = (hash >>> shift) % buckets;
      counts[bucket] = (counts[bucket] ?? 0) + 1;
    }
    const expected = flows / buckets;
    const chi = counts.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
    // Mean of the distribution is buckets - 1, its variance twice that: six deviations are never seen by chance.
    expect(chi).toBeLessThan(buckets - 1 + 6 * Math.sqrt(2 * (buckets - 1)) + 6);
  }
});

const MICROSOFT_KEY = '6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b477cb2da38030f20c6a42b73bbeac01fa';

// "Verifying the RSS Hash Calculation" of Microsoft's RSS documentation: destination, source, hash of addresses, with ports.
test.each([
  ['161.142.100.80', 1766, '66.9.149.187', 2794, 0x323e8fc2, 0x51ccc178],
  ['65.69.140.83', 4739, '199.92.111.2', 14230, 0xd718262a, 0xc626b0ea],
  ['12.22.207.184', 38024, '24.19.198.95', 12898, 0xd2d0a5de, 0x5c2b394a],
  ['209.142.163.6', 2217, '38.27.205.30', 48228, 0x82989176, 0xafc7327f],
  ['202.188.127.2', 1303, '153.39.163.191', 44251, 0x5d1809c5, 0x10e828a2],
  ['3ffe:2501:200:3::1', 1766, '3ffe:2501:200:1fff::7', 2794, 0x2cc18cd5, 0x40207d3d],
  ['ff02::1', 4739, '3ffe:501:8::260:97ff:fe40:efab', 14230, 0x0f0c461c, 0xdde51bbf],
  ['fe80::200:f8ff:fe21:67cf', 38024, '3ffe:1900:4545:3:200:f8ff:fe21:67cf', 44251, 0x4b61e985, 0x02d1feef],
])('Toeplitz: %s:%i from %s:%i', (destination, destinationPort, source, sourcePort, addresses, ports) => {
  const arena = testArena(1 << 20);
  const last = lastFrame(arena);
  const key = arena.allocate('key', 40);
  arena.u8.set(Buffer.from(MICROSOFT_KEY, 'hex'), key);
  const ip = source.includes(':') ? { ipv6: { source, destination } } : { ipv4: { source, destination } };
  last.put(frameOf({ ...ip, icmp: { type: 8 } }));
  expect(last.toeplitz(key)).toBe(addresses);
  last.put(frameOf({ ...ip, tcp: { sourcePort, destinationPort } }));
  expect(last.toeplitz(key)).toBe(ports);
});

test.each([8, 9])('of %i extension headers, eight are walked, by kernel and view alike', (count) => {
  const last = lastFrame(testArena(1 << 20));
  const chain = Array.from({ length: count }, (_, i) => [i === count - 1 ? 17 : 60, 0, 0, 0, 0, 0, 0, 0]).flat();
  const addresses = { source: 'fd00::1', destination: 'fd00::2' };
  const frame = frameOf({ ipv6: { ...addresses, nextHeader: 60 }, payload: Uint8Array.from([...chain, 0, 1, 0, 2]) });
  last.put(frame);
  const found = Ipv6View.parse(frame, 14)?.upperLayer();
  expect(found?.at).toBe(count === 8 ? 54 + 64 : undefined);
  expect(last.headers()).toMatchObject({ l4: found?.at ?? 0, flags: count === 8 ? 2 + 8 : 2 });
});

test('a burst is hashed packet by packet', () => {
  const arena = testArena(1 << 20);
  const { packetFlowHash } = arena.kernels<PacketKernels>();
  const last = lastFrame(arena);
  const slots = arena.allocate('slots', BURST * 16);
  const frames = arena.allocate('frames', BURST * 2048);
  const expected = Array.from({ length: BURST }, (_, n) => {
    const frame = frameOf({ ipv4, udp: { sourcePort: n, destinationPort: n } });
    arena.u8.set(frame, frames + n * 2048 + 256);
    arena.u32.set([frames + n * 2048, 256 + frame.length * 65536, 0, 0], (slots + n * 16) >>> 2);
    last.put(frame);
    return last.flow();
  });
  packetFlowHash(slots, BURST);
  expect(expected.map((_, n) => arena.u32[(slots + n * 16 + 8) >>> 2])).toEqual(expected);
});
