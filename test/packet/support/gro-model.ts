/*
 * Streams of TCP segments, and which of them may become one packet: the rules written down plainly, frame by frame, and
 * sharing nothing with what is tested.
 */
import fc from 'fast-check';
import { ACK, type BigFrame, ECE, FIN, PSH, referenceSegments, sumOf } from './big-frames.ts';

/** Bursts that a segment waits at most. */
const POLLS_MAX = 32;
/** Buffers of a packet at most. */
const BUFFERS_MAX = 147;

/** A frame on its way in, as a stack would see it. */
export interface Arrival {
  readonly frame: Uint8Array;
  /** Bytes of its first buffer, when it has several. */
  readonly cut?: number;
  readonly shared?: boolean;
}

/** Extension headers of IPv6, of 8 bytes each here, that each segment may have. */
export const EXTENSIONS: readonly number[] = [0, 43, 60];

interface Parsed {
  readonly l3: number;
  readonly l4: number;
  readonly family: 4 | 6;
  /** MAC addresses, tags, IP addresses and ports. */
  readonly flow: string;
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

/** Where the headers of a frame of these tests are; undefined when it has no TCP ports. */
function parse({ frame }: Arrival): Parsed | undefined {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.length);
  let l3 = 14;
  while (view.getUint16(l3 - 2) === 0x8100 || view.getUint16(l3 - 2) === 0x88a8) l3 += 4;
  const family = view.getUint16(l3 - 2) === 0x0800 ? 4 : 6;
  if (family === 4 && (view.getUint16(l3 + 6) & 0x3fff) !== 0) return undefined;
  let l4 = family === 4 ? l3 + 4 * (view.getUint8(l3) & 15) : l3 + 40;
  let protocol = view.getUint8(family === 4 ? l3 + 9 : l3 + 6);
  for (; family === 6 && EXTENSIONS.includes(protocol); l4 += 8) protocol = view.getUint8(l4);
  if (protocol !== 6) return undefined;
  const addresses = family === 4 ? frame.subarray(l3 + 12, l3 + 20) : frame.subarray(l3 + 8, l3 + 40);
  const flow = hex(frame.subarray(0, l3)) + hex(addresses) + hex(frame.subarray(l4, l4 + 4));
  return { l3, l4, family, flow };
}

function headerEnd(frame: Uint8Array, { l4 }: Parsed): number {
  return l4 + 4 * ((frame[l4 + 12] as number) >> 4);
}

/** Whether a frame may be part of a merged packet at all. */
function isSegment({ frame, cut, shared }: Arrival, parsed: Parsed): boolean {
  const { l3, l4, family } = parsed;
  const view = new DataView(frame.buffer, frame.byteOffset, frame.length);
  if (cut !== undefined || shared) return false;
  if (family === 4 && l4 - l3 !== 20) return false;
  const total = family === 4 ? view.getUint16(l3 + 2) : view.getUint16(l3 + 4) + 40;
  if (total !== frame.length - l3) return false;
  if (family === 4 && (sumOf(frame.subarray(l3, l4)) !== 0xffff || view.getUint16(l3 + 10) === 0xffff)) return false;
  if (((frame[l4 + 13] as number) & ~(FIN | PSH | ECE)) !== ACK || headerEnd(frame, parsed) >= frame.length)
    return false;
  const addresses = family === 4 ? frame.subarray(l3 + 12, l3 + 20) : frame.subarray(l3 + 8, l3 + 40);
  const sum = sumOf(frame.subarray(l4), sumOf(addresses, 6 + frame.length - l4));
  return sum === 0xffff && view.getUint16(l4 + 16) !== 0xffff;
}

/** Whether `next` goes on where `group` ends. */
function follows(group: readonly Arrival[], next: Arrival): boolean {
  const [first, last] = [group[0] as Arrival, group.at(-1) as Arrival];
  const parsed = parse(next) as Parsed;
  const { l3, l4, family } = parsed;
  const header = headerEnd(next.frame, parsed);
  if (headerEnd(last.frame, parsed) !== header) return false;
  const [a, b] = [last.frame, next.frame].map((frame) => new DataView(frame.buffer, frame.byteOffset)) as [
    DataView,
    DataView,
  ];
  const length = a.byteLength - header;
  if (b.getUint32(l4 + 4) !== (a.getUint32(l4 + 4) + length) % 2 ** 32) return false;
  if (family === 4 && b.getUint16(l3 + 4) !== (a.getUint16(l3 + 4) + 1) % 65536) return false;
  if (next.frame.length > first.frame.length || group.length >= BUFFERS_MAX) return false;
  const payload = group.reduce((sum, { frame }) => sum + frame.length - header, next.frame.length - header);
  if (header - l3 + payload > 65535) return false;
  // All other bytes of the headers are the same, beside lengths, checksums, FIN and PSH.
  const mask = (frame: Uint8Array): string => {
    const copy = frame.slice(0, header);
    copy.fill(0, l3 + (family === 4 ? 2 : 4), l3 + 6);
    if (family === 4) copy.fill(0, l3 + 10, l3 + 12);
    copy.fill(0, l4 + 4, l4 + 8);
    copy.fill(0, l4 + 16, l4 + 18);
    copy[l4 + 13] = (copy[l4 + 13] as number) & ~(FIN | PSH);
    return hex(copy);
  };
  return mask(last.frame) === mask(next.frame);
}

/** Whether nothing may come behind the last one of `group`. */
function isEnded(group: readonly Arrival[]): boolean {
  const last = group.at(-1) as Arrival;
  const isLast = ((last.frame[(parse(last) as Parsed).l4 + 13] as number) & (FIN | PSH)) !== 0;
  return isLast || last.frame.length < (group[0] as Arrival).frame.length;
}

/** What must come out, and after how many bursts: the groups of frames that become one packet, in order. */
export class GroModel {
  readonly #held = new Map<string, { since: number; group: Arrival[] }>();
  #poll = 0;

  burst(arrivals: readonly Arrival[], wanted: number): Arrival[][] {
    const out: Arrival[][] = [];
    const release = (flow: string): void => {
      const entry = this.#held.get(flow);
      if (entry !== undefined) out.push(entry.group);
      this.#held.delete(flow);
    };
    for (const arrival of arrivals) {
      const parsed = parse(arrival);
      if (parsed === undefined) {
        out.push([arrival]);
        continue;
      }
      const entry = this.#held.get(parsed.flow);
      const may = isSegment(arrival, parsed);
      if (entry !== undefined && may && follows(entry.group, arrival)) {
        entry.group.push(arrival);
        if (isEnded(entry.group)) release(parsed.flow);
        continue;
      }
      release(parsed.flow);
      if (may && !isEnded([arrival])) this.#held.set(parsed.flow, { since: this.#poll, group: [arrival] });
      else out.push([arrival]);
    }
    for (const [flow, { since }] of this.#held) {
      if (out.length >= wanted && this.#poll - since < POLLS_MAX - 1) break;
      release(flow);
    }
    this.#poll++;
    return out;
  }
}

/** Computes the checksums of a frame with TCP at `l4` again. */
function seal(frame: Uint8Array, { l3, l4, family }: Parsed): Uint8Array {
  const view = new DataView(frame.buffer);
  if (family === 4) {
    view.setUint16(l3 + 10, 0);
    view.setUint16(l3 + 10, 0xffff - sumOf(frame.subarray(l3, l4)));
  }
  const addresses = family === 4 ? frame.subarray(l3 + 12, l3 + 20) : frame.subarray(l3 + 8, l3 + 40);
  view.setUint16(l4 + 16, 0);
  view.setUint16(l4 + 16, 0xffff - sumOf(frame.subarray(l4), sumOf(addresses, 6 + frame.length - l4)));
  return frame;
}

/** What may be odd about a segment: `change` gets a right one and where its headers are. */
type Change = (frame: Uint8Array, at: Parsed) => Arrival;

const flip =
  (where: (at: Parsed) => number, bits: number): Change =>
  (frame, at) => {
    frame[where(at)] = (frame[where(at)] as number) ^ bits;
    return { frame: seal(frame, at) };
  };

const spoil =
  (where: (at: Parsed) => number): Change =>
  (frame, at) => {
    frame[where(at)] = (frame[where(at)] as number) ^ 1;
    return { frame };
  };

/** Sets the checksum at `field` to 0xffff, by way of two bytes that the sum covers: right, and not what a stack writes. */
function allOnes(frame: Uint8Array, at: Parsed, field: number, word: number): Arrival {
  const view = new DataView(frame.buffer);
  seal(frame, at);
  const sum = view.getUint16(field) + view.getUint16(word);
  view.setUint16(word, (sum % 65536) + Math.floor(sum / 65536));
  if (field !== at.l4 + 16) seal(frame, at);
  view.setUint16(field, 0xffff);
  return { frame };
}

/** By name. The first few leave a segment that may start a packet of its own. */
export const CHANGES: Readonly<Record<string, Change>> = {
  'another acknowledgement': flip(({ l4 }) => l4 + 11, 1),
  'another window': flip(({ l4 }) => l4 + 15, 1),
  'another urgent pointer': flip(({ l4 }) => l4 + 19, 1),
  'another TOS': flip(({ l3 }) => l3 + 1, 0x10),
  'another TTL': flip(({ l3, family }) => l3 + (family === 4 ? 8 : 7), 1),
  'another DF or flow label': flip(({ l3, family }) => l3 + (family === 4 ? 6 : 3), 0x40),
  'a reserved TCP bit': flip(({ l4 }) => l4 + 12, 1),
  FIN: flip(({ l4 }) => l4 + 13, 1),
  SYN: flip(({ l4 }) => l4 + 13, 2),
  RST: flip(({ l4 }) => l4 + 13, 4),
  URG: flip(({ l4 }) => l4 + 13, 32),
  ECE: flip(({ l4 }) => l4 + 13, 64),
  CWR: flip(({ l4 }) => l4 + 13, 128),
  'no ACK': flip(({ l4 }) => l4 + 13, 16),
  'a wrong TCP checksum': spoil(({ l4 }) => l4 + 17),
  'a wrong payload': (frame) => {
    frame[frame.length - 1] = (frame.at(-1) as number) ^ 1;
    return { frame };
  },
  'a wrong header or length': spoil(({ l3, family }) => l3 + (family === 4 ? 11 : 5)),
  padding: (frame) => ({ frame: Uint8Array.of(...frame, 0, 0) }),
  'a fragment': (frame, at) => {
    if (at.family === 4) return flip(({ l3 }) => l3 + 6, 0x20)(frame, at);
    frame[at.l3 + 6] = 17;
    return { frame };
  },
  'a checksum of 0xffff': (frame, at) => allOnes(frame, at, at.l4 + 16, at.l4 + 18),
  'several buffers': (frame) => ({ frame, cut: frame.length - 1 }),
  'others hold it': (frame) => ({ frame, shared: true }),
};

/** What a step of a flow is. */
export interface Step {
  readonly flow: number;
  /** A name of CHANGES, or of what the sender does to its stream. */
  readonly kind: string;
}

const STREAM_KINDS = ['loss', 'again', 'id', 'short', 'long', 'push', 'empty', 'options'];

/** A flow of segments of `size` bytes. */
export type FlowSpec = Pick<
  BigFrame,
  'tags' | 'family' | 'extensions' | 'options' | 'seed' | 'sequence' | 'identification' | 'size'
>;

/** The sender of a flow. */
export class Sender {
  readonly #spec: FlowSpec;
  #sequence: number;
  #identification: number;

  constructor(spec: FlowSpec) {
    this.#spec = spec;
    this.#sequence = spec.sequence;
    this.#identification = spec.identification;
  }

  next(kind: string): Arrival {
    const { size, family, options } = this.#spec;
    if (kind === 'loss') this.#sequence += size;
    if (kind === 'again') this.#sequence -= size;
    if (kind === 'id') this.#identification++;
    const payload = kind === 'short' ? size - 1 : kind === 'long' ? size + 1 : kind === 'empty' ? 0 : size;
    const spec: BigFrame = {
      ...this.#spec,
      ipWords: 0,
      protocol: 6,
      flags: kind === 'push' ? ACK | PSH : ACK,
      sequence: this.#sequence % 2 ** 32,
      identification: this.#identification % 65536,
      options: kind === 'options' ? options + 1 : options,
      payload,
      size: 65535,
    };
    this.#sequence += payload;
    this.#identification++;
    const frame = referenceSegments(spec)[0] as Uint8Array;
    const change = CHANGES[kind];
    if (change === undefined) return { frame };
    const l3 = 14 + 4 * spec.tags.length;
    return change(frame, { l3, l4: l3 + (family === 4 ? 20 : 40 + 8 * spec.extensions.length), family, flow: '' });
  }
}

const flowSpec: fc.Arbitrary<FlowSpec> = fc.record({
  tags: fc.array(fc.nat(0xffff), { maxLength: 2 }),
  family: fc.constantFrom<(4 | 6)[]>(4, 6),
  extensions: fc.array(fc.constantFrom(...EXTENSIONS), { maxLength: 2 }),
  options: fc.nat(5),
  seed: fc.nat(0xffff),
  sequence: fc.oneof(fc.integer({ min: 10_000, max: 0xffffffff }), fc.constant(0xffffff00)),
  identification: fc.oneof(fc.nat(0xffff), fc.constant(0xfffe)),
  size: fc.oneof(fc.integer({ min: 2, max: 40 }), fc.constantFrom(536, 1448)),
});

const kind = fc.oneof(
  { weight: 12, arbitrary: fc.constant('') },
  { weight: 1, arbitrary: fc.constantFrom(...STREAM_KINDS, ...Object.keys(CHANGES)) },
);

/** Up to four flows, what they send in which order, and how the receiver takes it. */
export const traffic = fc.record({
  flows: fc.uniqueArray(flowSpec, { minLength: 1, maxLength: 4, selector: ({ seed }) => seed }),
  steps: fc.array(fc.record({ flow: fc.nat(3), kind }), { minLength: 20, maxLength: 250 }),
  /** Places of a step and the next one that change places. */
  swaps: fc.array(fc.nat(248), { maxLength: 4 }),
  bursts: fc.array(fc.integer({ min: 0, max: 32 }), { minLength: 1, maxLength: 40 }),
  wanted: fc.array(fc.constantFrom(0, 0, 0, 1, 1000), { minLength: 1, maxLength: 40 }),
});
