/*
 * Frames that ask for segmentation, and what must come of them: written from the RFCs, byte by byte, and sharing nothing
 * with what is tested.
 */
import fc from 'fast-check';

/** A frame in the terms of its headers. */
export interface BigFrame {
  /** VLAN IDs, the outer one first. */
  readonly tags: readonly number[];
  readonly family: 4 | 6;
  /** Words of IPv4 options, or IPv6 extension headers of 8 bytes each: their types. */
  readonly ipWords: number;
  readonly extensions: readonly number[];
  readonly identification: number;
  readonly protocol: 6 | 17;
  /** Words of TCP options. */
  readonly options: number;
  readonly flags: number;
  readonly sequence: number;
  readonly payload: number;
  readonly seed: number;
  /** gso_size. */
  readonly size: number;
}

export const FIN = 1;
export const SYN = 2;
export const RST = 4;
export const PSH = 8;
export const ACK = 16;
export const URG = 32;
export const ECE = 64;
export const CWR = 128;

/** Words that go with a frame: struct virtio_net_hdr. */
export interface Request {
  readonly flags: number;
  readonly type: number;
  readonly headerLength: number;
  readonly size: number;
  readonly start: number;
  readonly offset: number;
}

export interface Built {
  readonly frame: Uint8Array;
  readonly l3: number;
  readonly l4: number;
  /** Bytes of all headers. */
  readonly header: number;
  readonly request: Request;
}

/** Bytes that no two places share by rule. */
function noise(length: number, seed: number): Uint8Array {
  let state = (seed * 2654435761 + 12345) >>> 0;
  return Uint8Array.from({ length }, () => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return state >>> 16;
  });
}

/** Sum of big-endian words with the carries added back in. */
export function sumOf(bytes: Uint8Array, initial = 0): number {
  let sum = initial;
  for (let i = 0; i < bytes.length; i += 2) sum += (bytes[i] as number) * 256 + (bytes[i + 1] ?? 0);
  while (sum > 65535) sum = (sum % 65536) + Math.floor(sum / 65536);
  return sum;
}

function pseudoSum(frame: Uint8Array, l3: number, family: 4 | 6, protocol: number, length: number): number {
  const addresses = family === 4 ? frame.subarray(l3 + 12, l3 + 20) : frame.subarray(l3 + 8, l3 + 40);
  return sumOf(addresses, protocol + length);
}

/** The frame as a driver hands it over: IP header complete, the pseudo header's sum in the transport checksum. */
export function build(spec: BigFrame): Built {
  const { tags, family, protocol } = spec;
  const l3 = 14 + 4 * tags.length;
  const l4 = l3 + (family === 4 ? 20 + 4 * spec.ipWords : 40 + 8 * spec.extensions.length);
  const header = l4 + (protocol === 6 ? 20 + 4 * spec.options : 8);
  const frame = new Uint8Array(header + spec.payload);
  const view = new DataView(frame.buffer);
  const length = frame.length - l4;
  frame.set(noise(header, spec.seed));
  frame.set(noise(spec.payload, spec.seed + 1), header);
  tags.forEach((tag, i) => {
    view.setUint16(12 + 4 * i, i === 0 && tags.length === 2 ? 0x88a8 : 0x8100);
    view.setUint16(14 + 4 * i, tag);
  });
  view.setUint16(l3 - 2, family === 4 ? 0x0800 : 0x86dd);
  if (family === 4) {
    frame[l3] = 0x45 + spec.ipWords;
    view.setUint16(l3 + 2, frame.length - l3);
    view.setUint16(l3 + 4, spec.identification);
    view.setUint16(l3 + 6, 0x4000);
    frame[l3 + 9] = protocol;
    view.setUint16(l3 + 10, 0);
    view.setUint16(l3 + 10, 0xffff - sumOf(frame.subarray(l3, l4)));
  } else {
    view.setUint32(l3, 0x60000000 + (spec.seed & 0xfffff));
    view.setUint16(l3 + 4, frame.length - l3 - 40);
    const types = [...spec.extensions, protocol];
    frame[l3 + 6] = types[0] as number;
    // Each of 8 bytes: the next one's type, no more units, and options or words that say nothing.
    spec.extensions.forEach((_, i) => void frame.set([types[i + 1] as number, 0, 1, 0, 1, 0, 0, 0], l3 + 40 + 8 * i));
  }
  if (protocol === 6) {
    view.setUint32(l4 + 4, spec.sequence);
    frame[l4 + 12] = (5 + spec.options) * 16;
    frame[l4 + 13] = spec.flags;
  } else {
    view.setUint16(l4 + 4, length);
  }
  const offset = protocol === 6 ? 16 : 6;
  view.setUint16(l4 + offset, pseudoSum(frame, l3, family, protocol, length));
  const ecn = protocol === 6 && (spec.flags & CWR) !== 0 ? 128 : 0;
  const type = (protocol === 17 ? 5 : family === 4 ? 1 : 4) + ecn;
  return {
    frame,
    l3,
    l4,
    header,
    request: { flags: 1, type, headerLength: header, size: spec.size, start: l4, offset },
  };
}

/** The frames that must come of it. */
export function referenceSegments(spec: BigFrame): Uint8Array[] {
  const { frame, l3, l4, header } = build(spec);
  const count = Math.max(1, Math.ceil(spec.payload / spec.size));
  return Array.from({ length: count }, (_, i) => {
    const from = header + i * spec.size;
    const data = frame.subarray(from, Math.min(from + spec.size, frame.length));
    const out = new Uint8Array(header + data.length);
    const view = new DataView(out.buffer);
    out.set(frame.subarray(0, header));
    out.set(data, header);
    const length = out.length - l4;
    if (spec.family === 4) {
      view.setUint16(l3 + 2, out.length - l3);
      view.setUint16(l3 + 4, (spec.identification + i) % 65536);
      view.setUint16(l3 + 10, 0);
      view.setUint16(l3 + 10, 0xffff - sumOf(out.subarray(l3, l4)));
    } else {
      view.setUint16(l3 + 4, out.length - l3 - 40);
    }
    const field = l4 + (spec.protocol === 6 ? 16 : 6);
    if (spec.protocol === 6) {
      view.setUint32(l4 + 4, (spec.sequence + i * spec.size) % 2 ** 32);
      const first = i === 0 ? spec.flags : spec.flags & ~CWR;
      out[l4 + 13] = i === count - 1 ? first : first & ~(FIN | PSH);
    } else {
      view.setUint16(l4 + 4, length);
    }
    view.setUint16(field, 0);
    const sum = 0xffff - sumOf(out.subarray(l4), pseudoSum(out, l3, spec.family, spec.protocol, length));
    view.setUint16(field, sum === 0 && spec.protocol === 17 ? 0xffff : sum);
    return out;
  });
}

/** What a receiver would find wrong with the IP and transport headers of a frame of `spec`'s shape. */
export function receiverObjections(spec: BigFrame, frame: Uint8Array): string[] {
  const { l3, l4 } = build({ ...spec, payload: 0 });
  const view = new DataView(frame.buffer, frame.byteOffset, frame.length);
  const found: string[] = [];
  if (spec.family === 4) {
    if (sumOf(frame.subarray(l3, l4)) !== 0xffff) found.push('IPv4 checksum');
    if (view.getUint16(l3 + 2) !== frame.length - l3) found.push('IPv4 length');
  } else if (view.getUint16(l3 + 4) !== frame.length - l3 - 40) {
    found.push('IPv6 length');
  }
  if (spec.protocol === 17 && view.getUint16(l4 + 4) !== frame.length - l4) found.push('UDP length');
  if (spec.protocol === 17 && view.getUint16(l4 + 6) === 0) found.push('UDP checksum missing');
  const sum = sumOf(frame.subarray(l4), pseudoSum(frame, l3, spec.family, spec.protocol, frame.length - l4));
  if (sum !== 0xffff) found.push('checksum');
  return found;
}

/** IPv6 extension headers that may be repeated: hop-by-hop, routing that is done, destination options. */
const PLAIN_EXTENSIONS = [0, 43, 60];

/** Frames with headers of all kinds, and payloads up to what an IP length can say. */
export const bigFrame: fc.Arbitrary<BigFrame> = fc
  .record({
    tags: fc.array(fc.nat(0xffff), { maxLength: 2 }),
    family: fc.constantFrom<(4 | 6)[]>(4, 6),
    ipWords: fc.nat(10),
    extensions: fc.array(fc.constantFrom(...PLAIN_EXTENSIONS), { maxLength: 8 }),
    identification: fc.nat(0xffff),
    protocol: fc.constantFrom<(6 | 17)[]>(6, 17),
    options: fc.nat(10),
    flags: fc.constantFrom(ACK, ACK | PSH, ACK | PSH | FIN, ACK | CWR | ECE, ACK | CWR | PSH | FIN),
    sequence: fc.oneof(fc.nat(0xffffffff), fc.constant(0xffffff00)),
    payload: fc.oneof(fc.nat(200), fc.nat(9000), fc.integer({ min: 60_000, max: 65_535 })),
    seed: fc.nat(0xffff),
    size: fc.oneof(fc.integer({ min: 536, max: 1460 }), fc.integer({ min: 1461, max: 9000 }), fc.constant(65535)),
  })
  .chain((spec) => fc.record({ spec: fc.constant(spec), small: fc.integer({ min: 1, max: 100 }) }))
  .map(({ spec, small }) => {
    const { l3, header } = build({ ...spec, payload: 0 });
    const room = 65_535 - (header - l3) + (spec.family === 6 ? 40 : 0);
    const payload = Math.min(spec.payload, room);
    return { ...spec, payload, size: payload < 1000 ? small : spec.size };
  });
