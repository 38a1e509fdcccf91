import { expect, test } from 'vitest';
import { GSO_TCPV4, GSO_TCPV6, GSO_UDP_L4, SLOT_FLAG_OFFLOAD } from '#build/memory/layout.js';
import {
  BAD_CHECKSUM_RANGE,
  BAD_GSO_HEADERS,
  BAD_GSO_LENGTHS,
  BAD_GSO_SIZE,
  BAD_GSO_TCP_FLAGS,
  BAD_GSO_TYPE,
  OFFLOAD_ECN,
  OFFLOAD_TSO4,
  OFFLOAD_TSO6,
  OFFLOAD_USO,
} from '#build/packet/layout.js';
import { BASES } from '../support/arena.ts';
import {
  ACK,
  type BigFrame,
  build,
  CWR,
  ECE,
  FIN,
  PSH,
  type Request,
  RST,
  receiverObjections,
  referenceSegments,
  SYN,
  URG,
} from './support/big-frames.ts';
import { checkHostile, checkSegments } from './support/offload-properties.ts';
import { OffloadRig } from './support/offload-rig.ts';

/** 64 KiB of TCP over IPv4, for segments of 1,448 bytes with timestamps. */
const TSO: BigFrame = {
  tags: [],
  family: 4,
  ipWords: 0,
  extensions: [],
  identification: 0xfffe,
  protocol: 6,
  options: 3,
  flags: ACK | PSH | FIN | CWR | ECE,
  sequence: 0xffff_f000,
  payload: 65_000,
  seed: 5,
  size: 1448,
};

test.each(BASES)('any frame becomes the segments of the reference, from any chain (base %i)', (base) => {
  checkSegments(new OffloadRig(256, base), 100);
});

test('ids and sequence numbers come round, CWR is in the first segment, FIN and PSH are in the last', () => {
  const rig = new OffloadRig();
  const { frame, l3, l4, request } = build(TSO);
  const segments = rig.segmentAll(rig.load(frame, [1792], request), 32) as Uint8Array[];
  expect(segments).toHaveLength(45);
  const views = segments.map((bytes) => new DataView(bytes.buffer));
  expect(views.slice(0, 4).map((view) => view.getUint16(l3 + 4))).toEqual([0xfffe, 0xffff, 0, 1]);
  expect(views.slice(0, 4).map((view) => view.getUint32(l4 + 4))).toEqual([0xfffff000, 0xfffff5a8, 0xfffffb50, 0xf8]);
  const flags = views.map((view) => view.getUint8(l4 + 13));
  expect(flags.at(0)).toBe(ACK | CWR | ECE);
  expect(new Set(flags.slice(1, -1))).toEqual(new Set([ACK | ECE]));
  expect(flags.at(-1)).toBe(ACK | ECE | PSH | FIN);
});

test('a UDP checksum of 0 is sent as 0xffff', () => {
  const rig = new OffloadRig();
  let zeroes = 0;
  // Two bytes of payload that bring the sum to 0xffff.
  for (const family of [4, 6] as const) {
    const spec: BigFrame = { ...TSO, family, protocol: 17, payload: 2, size: 2 };
    const { frame, l4, header, request } = build(spec);
    const [plain] = rig.segmentAll(rig.load(frame, [1792], request), 32) as Uint8Array[];
    rig.free();
    const view = new DataView(frame.buffer);
    const checksum = new DataView((plain as Uint8Array).buffer).getUint16(l4 + 6);
    const sum = view.getUint16(header) + checksum;
    view.setUint16(header, (sum % 65536) + Math.floor(sum / 65536));
    const [zero] = rig.segmentAll(rig.load(frame, [1792], request), 32) as Uint8Array[];
    rig.free();
    if (new DataView((zero as Uint8Array).buffer).getUint16(l4 + 6) === 0xffff) zeroes++;
    expect(receiverObjections(spec, zero as Uint8Array)).toEqual([]);
  }
  expect(zeroes).toBe(2);
});

const TCP6: BigFrame = { ...TSO, family: 6, payload: 5000 };
const UDP4: BigFrame = { ...TSO, protocol: 17, payload: 5000 };

/** Bytes that are put at an offset from the frame's start, its IP or its transport header. */
type Patch = readonly [from: 'frame' | 'l3' | 'l4', at: number, bytes: readonly number[]];

test.each<[string, number, BigFrame, Partial<Request>, Patch?]>([
  ['no such type', BAD_GSO_TYPE, TSO, { type: 2 }],
  ['fragments of a datagram', BAD_GSO_TYPE, UDP4, { type: 3 }],
  ['UDP with ECN', BAD_GSO_TYPE, UDP4, { type: 5 + 128 }],
  ['ECN alone', BAD_GSO_TYPE, TSO, { type: 128 }],
  ['no checksum asked for', BAD_GSO_TYPE, TSO, { flags: 2 }],
  ['size 0', BAD_GSO_SIZE, TSO, { size: 0 }],
  ['size 7 of 65,000 bytes', BAD_GSO_SIZE, TSO, { size: 7 }],
  ['IPv4 as IPv6', BAD_GSO_HEADERS, TSO, { type: 4 }],
  ['IPv6 as IPv4', BAD_GSO_HEADERS, TCP6, { type: 1 }],
  ['TCP as UDP', BAD_GSO_HEADERS, TSO, { type: 5 }],
  ['UDP as TCP', BAD_GSO_HEADERS, UDP4, { type: 1 }],
  ['a first fragment', BAD_GSO_HEADERS, TSO, {}, ['l3', 6, [0x20]]],
  ['a later fragment', BAD_GSO_HEADERS, UDP4, {}, ['l3', 7, [1]]],
  ['an IP header of 16 bytes', BAD_GSO_HEADERS, TSO, {}, ['l3', 0, [0x44]]],
  ['a TCP header of 16 bytes', BAD_GSO_HEADERS, TSO, {}, ['l4', 12, [0x40]]],
  ['no IP', BAD_GSO_HEADERS, TSO, {}, ['frame', 12, [9]]],
  ['a routing header that is not done', BAD_GSO_HEADERS, { ...TCP6, extensions: [43] }, {}, ['frame', 57, [1]]],
  ['a fragment header', BAD_GSO_HEADERS, { ...TCP6, extensions: [44] }, {}, ['frame', 56, [0, 0]]],
  ['an authentication header', BAD_GSO_HEADERS, { ...TCP6, extensions: [51] }, {}],
  [
    'a home address',
    BAD_GSO_HEADERS,
    { ...TCP6, extensions: [60, 60, 60] },
    {},
    // One header of 24 bytes in place of three.
    ['frame', 54, [6, 2, 0, 1, 0, 201, 16]],
  ],
  ['an IPv4 length of 20', BAD_GSO_LENGTHS, TSO, {}, ['l3', 2, [0, 20]]],
  ['an IPv6 length of 0', BAD_GSO_LENGTHS, TCP6, {}, ['l3', 4, [0, 0]]],
  ['a UDP length of 8', BAD_GSO_LENGTHS, UDP4, {}, ['l4', 4, [0, 8]]],
  ['csum_start elsewhere', BAD_CHECKSUM_RANGE, TSO, { start: 32 }],
  ['csum_offset elsewhere', BAD_CHECKSUM_RANGE, UDP4, { offset: 16 }],
  ['SYN', BAD_GSO_TCP_FLAGS, { ...TSO, flags: SYN | ACK }, {}],
  ['RST', BAD_GSO_TCP_FLAGS, { ...TSO, flags: RST }, {}],
  ['URG', BAD_GSO_TCP_FLAGS, { ...TSO, flags: URG | ACK }, {}],
])('%s is refused', (_, reason, spec, words, patch) => {
  const rig = new OffloadRig();
  const { frame, l3, l4, request } = build(spec);
  if (patch !== undefined) frame.set(patch[2], { frame: 0, l3, l4 }[patch[0]] + patch[1]);
  const slot = rig.load(frame, [1792], { ...request, ...words });
  expect(rig.segment(slot, 0, 32)).toBe(reason);
  expect(Buffer.compare(rig.bytesOf(slot), frame)).toBe(0);
  rig.free();
  expect(rig.leftovers()).toEqual([]);
});

test('headers that go on in the second buffer are refused', () => {
  const rig = new OffloadRig();
  const { frame, header, request } = build(TSO);
  const slot = rig.load(frame, [header - 1, 1792], request);
  expect(rig.segment(slot, 0, 32)).toBe(BAD_GSO_HEADERS);
  rig.free();
  const slot2 = rig.load(frame, [header, 1792], request);
  expect(rig.segmentAll(slot2, 32)).toEqual(referenceSegments(TSO));
});

test('a pool that runs dry gives what there is, and the rest later', () => {
  const spec: BigFrame = { ...TSO, size: 3000 };
  const expected = referenceSegments(spec);
  // 37 buffers hold the frame; of 8 more, each segment takes two.
  for (const [spare, most] of [
    [8, 4],
    [7, 3],
    [1, 0],
    [0, 0],
  ] as const) {
    const rig = new OffloadRig(64);
    const { frame, request } = build(spec);
    const others = 64 - 37 - spare;
    for (let i = 1; i <= others; i++) rig.load(Uint8Array.of(i), [1792], undefined, i);
    const slot = rig.load(frame, [1792], request);
    const got: Uint8Array[] = [];
    for (let empty = 0; got.length < expected.length && empty < 2; ) {
      const more = rig.segment(slot, got.length, 32) as Uint8Array[];
      expect(more.length).toBeLessThanOrEqual(most);
      empty = more.length === 0 ? empty + 1 : 0;
      got.push(...more);
    }
    expect(got).toEqual(most === 0 ? [] : expected);
    rig.free(1 + others);
    expect(rig.leftovers()).toEqual([]);
  }
});

test('a packet that asks for a checksum only is copied with it, and one that asks for nothing as it is', () => {
  const rig = new OffloadRig();
  const { frame, request } = build({ ...TSO, payload: 4001 });
  const words = { ...request, type: 0, size: 0 };
  const [whole] = referenceSegments({ ...TSO, payload: 4001, size: 65535 });
  for (const [asked, expected] of [
    [words, whole],
    [{ ...words, flags: 2 }, frame],
    [{ ...words, flags: 0, start: 65535 }, frame],
    [undefined, frame],
  ] as const) {
    const slot = rig.load(frame, [1999 - 22, 1001], asked);
    const [copy] = rig.segment(slot, 0, 32) as Uint8Array[];
    expect(Buffer.compare(copy as Uint8Array, expected as Uint8Array)).toBe(0);
    expect(rig.count).toBe(1);
    expect(rig.segment(slot, 1, 32)).toEqual([]);
    expect(Buffer.compare(rig.bytesOf(slot), frame)).toBe(0);
    rig.free();
  }
  const slot = rig.load(frame, [1792], { ...words, start: 65535 });
  expect(rig.segment(slot, 0, 32)).toBe(BAD_CHECKSUM_RANGE);
  rig.free();
  expect(rig.leftovers()).toEqual([]);
});

test('hostile words and frames are segmented or refused within their buffers', () => {
  checkHostile(new OffloadRig(128), 800);
});

test('a burst is made ready up to the first packet that needs segments or is shared', () => {
  const rig = new OffloadRig();
  const { frame, request } = build({ ...TSO, payload: 3000 });
  const sum = { ...request, type: 0 };
  const [whole] = referenceSegments({ ...TSO, payload: 3000, size: 65535 }) as [Uint8Array];
  const finish = (mask: number, ...requests: (Request | undefined)[]): number => {
    for (const [i, words] of requests.entries()) rig.load(frame, [1501, 333], words, i);
    return rig.kernels.packetFinish(rig.slots, requests.length, mask);
  };
  expect(finish(0, undefined, undefined)).toBe(2);
  rig.free(2);
  expect(finish(0, undefined, sum, sum, request, sum)).toBe(3);
  const isWhole = (i: number) => Buffer.compare(rig.bytesOf(rig.slots + i * 16), whole) === 0;
  expect([0, 1, 2, 3, 4].map(isWhole)).toEqual([false, true, true, false, false]);
  expect([1, 2, 3, 4].map((i) => rig.flagsOf(rig.slots + i * 16) & SLOT_FLAG_OFFLOAD)).toEqual([0, 0, 8, 8]);
  rig.free(5);
  // What the other side does itself is left to it: CSUM, TSO4 and ECN.
  expect(finish(1 + 2 + 128, sum, request, sum)).toBe(3);
  expect([0, 1, 2].map(isWhole)).toEqual([false, false, false]);
  rig.free(3);
  // ECN that it does not know; TSO without CSUM; no place for a checksum; size 0.
  expect(finish(1 + 2, sum, request)).toBe(1);
  rig.free(2);
  expect(finish(2 + 128, request)).toBe(0);
  rig.free(1);
  expect(finish(255 - 64, { ...sum, start: 1501 - 17 })).toBe(0);
  rig.free(1);
  expect(finish(255 - 64, { ...request, size: 0 })).toBe(0);
  rig.free(1);
  const slot = rig.load(frame, [1792], sum);
  rig.kernels.poolShare(slot, 1);
  expect(rig.kernels.packetFinish(slot, 1, 0)).toBe(0);
  expect(Buffer.compare(rig.bytesOf(slot), frame)).toBe(0);
  rig.free();
  rig.free();
  expect(rig.leftovers()).toEqual([]);
});

test('each type of segments has its bit in the mask of a port', () => {
  for (const [offload, gso] of [
    [OFFLOAD_TSO4, GSO_TCPV4],
    [OFFLOAD_TSO6, GSO_TCPV6],
    [OFFLOAD_USO, GSO_UDP_L4],
  ] as const) {
    expect(offload).toBe(1 << gso);
  }
  const rig = new OffloadRig();
  for (const [spec, bits] of [
    [UDP4, OFFLOAD_USO],
    [{ ...UDP4, family: 6 as const }, OFFLOAD_USO],
    [TCP6, OFFLOAD_TSO6 | OFFLOAD_ECN],
    [{ ...TSO, flags: ACK }, OFFLOAD_TSO4],
  ] as const) {
    const { frame, request } = build(spec);
    const slot = rig.load(frame, [1792], request);
    expect(rig.kernels.packetFinish(slot, 1, 255 - (bits & 127))).toBe(0);
    expect(rig.kernels.packetFinish(slot, 1, 1 + bits)).toBe(1);
    rig.free();
  }
});
