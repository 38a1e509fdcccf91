import fc from 'fast-check';
import { buildFrame, type FrameRepr, type PacketKernels } from 'ringway/packet';
import { expect, test } from 'vitest';
import {
  RSS_KEY,
  RSS_RESULT_QUEUE,
  RSS_RESULT_REPORT,
  RSS_TABLE,
  RSS_TABLE_MASK,
  RSS_TYPES,
  RSS_UNCLASSIFIED_QUEUE,
} from '#build/packet/layout.js';
import { testArena } from '../support/arena.ts';
import { anyFrame, extendedFrame, hostileFrame } from './support/frames.ts';
import { headersOf, lastFrame } from './support/headers.ts';

const KEY = Buffer.from('6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b477cb2da38030f20c6a42b73bbeac01fa', 'hex');
/** VIRTIO_NET_HASH_TYPE_… (virtio 1.2, 5.1.6.4.3.1). */
const IPV4 = 1;
const TCPV4 = 2;
const UDPV4 = 4;
const IPV6 = 8;
const TCPV6 = 16;
const UDPV6 = 32;
const IP_EX = 64;
const TCP_EX = 128;
const UDP_EX = 256;
const ALL = 511;
const UNCLASSIFIED = 77;

function rssRig() {
  const arena = testArena(1 << 20);
  const { slot, put } = lastFrame(arena);
  const { packetRssHash } = arena.kernels<PacketKernels>();
  const config = arena.allocate('config', RSS_TABLE + 128 * 2);
  const target = arena.allocate('target', 8);
  arena.u8.set(KEY, config + RSS_KEY);
  arena.u16[(config + RSS_TABLE_MASK) >>> 1] = 127;
  arena.u16[(config + RSS_UNCLASSIFIED_QUEUE) >>> 1] = UNCLASSIFIED;
  for (let i = 0; i < 128; i++) arena.u16[(config + RSS_TABLE + i * 2) >>> 1] = 1000 + i;
  return (types: number, frame: Uint8Array): { hash: number; report: number; queue: number } => {
    put(frame);
    arena.u32[(config + RSS_TYPES) >>> 2] = types;
    packetRssHash(slot, 1, config, target);
    return {
      hash: arena.u32[target >>> 2] ?? 0,
      report: arena.u16[(target + RSS_RESULT_REPORT) >>> 1] ?? 0,
      queue: arena.u16[(target + RSS_RESULT_QUEUE) >>> 1] ?? 0,
    };
  };
}

const ethernet = { source: '02:00:00:00:00:01', destination: '02:00:00:00:00:02' };
const frameOf = (repr: Omit<FrameRepr, 'ethernet'>): Uint8Array => buildFrame({ ethernet, ...repr });

// "Verifying the RSS Hash Calculation" of Microsoft's RSS documentation: destination, source, hash of addresses, with ports.
test.each([
  ['161.142.100.80', 1766, '66.9.149.187', 2794, 0x323e8fc2, 0x51ccc178],
  ['65.69.140.83', 4739, '199.92.111.2', 14230, 0xd718262a, 0xc626b0ea],
  ['3ffe:2501:200:3::1', 1766, '3ffe:2501:200:1fff::7', 2794, 0x2cc18cd5, 0x40207d3d],
  ['fe80::200:f8ff:fe21:67cf', 38024, '3ffe:1900:4545:3:200:f8ff:fe21:67cf', 44251, 0x4b61e985, 0x02d1feef],
])(
  '%s:%i from %s:%i is reported by each set of types',
  (destination, destinationPort, source, sourcePort, ip, full) => {
    const hash = rssRig();
    const isV6 = source.includes(':');
    const network = isV6 ? { ipv6: { source, destination } } : { ipv4: { source, destination } };
    const tcp = frameOf({ ...network, tcp: { sourcePort, destinationPort } });
    const udp = frameOf({ ...network, vlans: [{ id: 5 }], udp: { sourcePort, destinationPort } });
    const icmp = frameOf({ ...network, icmp: { type: 8 } });
    const base = isV6 ? 4 : 1;
    const family = isV6 ? IPV6 : IPV4;
    const of = (value: number, report: number) => ({ hash: value, report, queue: 1000 + (value & 127) });
    const none = { hash: 0, report: 0, queue: UNCLASSIFIED };
    expect(hash(ALL, tcp)).toEqual(of(full, base + 1));
    expect(hash(ALL, udp)).toEqual(of(full, base + 2));
    expect(hash(ALL, icmp)).toEqual(of(ip, base));
    // Without the type of its protocol, that of its family serves; without both there is no hash.
    expect(hash(ALL & ~(TCPV4 | TCPV6), tcp)).toEqual(of(ip, base));
    expect(hash(ALL & ~(UDPV4 | UDPV6), udp)).toEqual(of(ip, base));
    expect(hash(ALL & ~(TCPV4 | TCPV6) & ~family, tcp)).toEqual(none);
    expect(hash(ALL & ~family, icmp)).toEqual(none);
    expect(hash(0, tcp)).toEqual(none);
  },
);

/** Toeplitz, bit by bit: for each set bit of the input, the 32 bits of the key from there. */
function toeplitzOf(input: Uint8Array): number {
  let hash = 0n;
  const key = BigInt(`0x${KEY.toString('hex')}`);
  for (let bit = 0; bit < input.length * 8; bit++) {
    if (((input[bit >>> 3] as number) << (bit & 7)) & 0x80) hash ^= (key >> BigInt(320 - 32 - bit)) & 0xffffffffn;
  }
  return Number(hash);
}

/** Destination options with a home address behind padding, and a routing header of type 2 with another one. */
function mobileFrame(protocol: number): { frame: Uint8Array; home: Uint8Array; care: Uint8Array } {
  const home = Uint8Array.from({ length: 16 }, (_, i) => i + 1);
  const care = Uint8Array.from({ length: 16 }, (_, i) => 200 - i);
  const options = [43, 2, 0, 1, 0, 201, 16, ...home, 0];
  const routing = [protocol, 2, 2, 1, 0, 0, 0, 0, ...care];
  const ports = [1, 2, 3, 4, ...new Array<number>(16).fill(0x50)];
  const addresses = { source: 'fd00::1', destination: 'fd00::2' };
  const payload = Uint8Array.from([...options, ...routing, ...ports]);
  return { frame: frameOf({ ipv6: { ...addresses, nextHeader: 60 }, payload }), home, care };
}

test.each([
  [6, TCP_EX, 8, TCPV6, 5],
  [17, UDP_EX, 9, UDPV6, 6],
])('protocol %i with extension headers is hashed by its home addresses', (protocol, ex, report, plain, plainReport) => {
  const hash = rssRig();
  const { frame, home, care } = mobileFrame(protocol);
  const ports = [1, 2, 3, 4];
  const homes = [...home, ...care];
  const outer = [...frame.subarray(22, 54)];
  expect(hash(ALL, frame)).toMatchObject({ hash: toeplitzOf(Uint8Array.from([...homes, ...ports])), report });
  expect(hash(ALL & ~ex, frame)).toMatchObject({ hash: toeplitzOf(Uint8Array.from(homes)), report: 7 });
  // Without any of the three types the extension headers are skipped.
  const rest = ALL & ~(IP_EX | TCP_EX | UDP_EX);
  expect(hash(rest, frame)).toMatchObject({
    hash: toeplitzOf(Uint8Array.from([...outer, ...ports])),
    report: plainReport,
  });
  expect(hash(rest & ~plain, frame)).toMatchObject({ hash: toeplitzOf(Uint8Array.from(outer)), report: 4 });
  expect(hash(rest & ~plain & ~IPV6, frame)).toEqual({ hash: 0, report: 0, queue: UNCLASSIFIED });
  // A routing header of another type names no home address.
  const changed = frame.slice();
  changed[54 + 24 + 2] = 3;
  const mixed = [...home, ...frame.subarray(38, 54), ...ports];
  expect(hash(ALL, changed)).toMatchObject({ hash: toeplitzOf(Uint8Array.from(mixed)), report });
});

test('any frame gets the hash of its addresses and ports, and nothing behind its end is read', () => {
  const hash = rssRig();
  fc.assert(
    fc.property(
      fc.oneof(hostileFrame, fc.oneof(anyFrame, extendedFrame).map(buildFrame)),
      fc.nat(511),
      (frame, types) => {
        const { l3, l4, flags, protocol } = headersOf(frame);
        const result = hash(types, frame);
        const base = flags & 1 ? 1 : flags & 2 ? 4 : 0;
        if (result.report === 0) {
          expect(result).toEqual({ hash: 0, report: 0, queue: UNCLASSIFIED });
          if (base !== 0) expect(types & (1 << (base - 1))).toBe(0);
          return;
        }
        expect(types & (1 << (result.report - 1))).toBeGreaterThan(0);
        expect(result.queue).toBe(1000 + (result.hash & 127));
        const ofPorts = result.report % 3 !== 1;
        if (ofPorts) expect([protocol, flags & 8]).toEqual([result.report % 3 === 2 ? 6 : 17, 8]);
        // Those of home addresses have a test of their own.
        if (result.report > 6) return;
        const addresses = base === 1 ? frame.subarray(l3 + 12, l3 + 20) : frame.subarray(l3 + 8, l3 + 40);
        const ports = ofPorts ? frame.subarray(l4, l4 + 4) : [];
        expect(result.hash).toBe(toeplitzOf(Uint8Array.from([...addresses, ...ports])));
      },
    ),
    { numRuns: 1500 },
  );
});
