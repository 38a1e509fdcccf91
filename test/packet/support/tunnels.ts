/*
 * Frames in tunnels, written from the RFCs, byte by byte, and sharing nothing with what is tested.
 */
import { sumOf } from './big-frames.ts';

/** What is outside of a frame of `gro-model.ts`, whose Ethernet header and tags go where the tunnel takes them. */
export interface Tunnel {
  readonly kind: 'vxlan' | 'gre' | 'gre-key' | 'gre-ethernet' | 'gre-sum' | 'gre-sum-key-ethernet' | 'ip';
  readonly family: 4 | 6;
  /** How outer identifications go on. */
  readonly step: 0 | 1;
  /** VXLAN has a checksum of UDP's. */
  readonly hasSum: boolean;
  /** IPv6 has a destination option outside, the limit of tunnels in tunnels (RFC 2473, 4.1.1). */
  readonly hasLimit: boolean;
  /** Of the key, the network or the ports. */
  readonly number: number;
}

export const KINDS: readonly Tunnel['kind'][] = [
  'vxlan',
  'gre',
  'gre-key',
  'gre-ethernet',
  'gre-sum',
  'gre-sum-key-ethernet',
  'ip',
];

/** What is carried is a frame, not an IP packet. */
export const carriesEthernet = ({ kind }: Tunnel): boolean => kind === 'vxlan' || kind.endsWith('ethernet');

/** A packet that goes out. */
interface Parts {
  readonly frame: Uint8Array;
  /** Where the outer IP header is, the header behind it, and what is carried. */
  readonly l3: number;
  readonly l4: number;
  readonly inner: number;
  /** IP's, of that header. */
  readonly protocol: number;
}

function tunnelHeader({ kind, number }: Tunnel, type: number): Uint8Array {
  if (kind === 'ip') return new Uint8Array();
  const hasKey = kind.includes('key');
  const hasSum = kind.includes('sum');
  const bytes = new Uint8Array(kind === 'vxlan' ? 16 : 4 + (hasSum ? 4 : 0) + (hasKey ? 4 : 0));
  const view = new DataView(bytes.buffer);
  if (kind === 'vxlan') {
    view.setUint16(0, 49152 + (number & 0xff));
    view.setUint16(2, 4789);
    view.setUint8(8, 8);
    view.setUint32(12, number << 8);
    return bytes;
  }
  view.setUint16(0, (hasSum ? 0x8000 : 0) + (hasKey ? 0x2000 : 0));
  view.setUint16(2, kind.endsWith('ethernet') ? 0x6558 : type);
  if (hasKey) view.setUint32(bytes.length - 4, number);
  return bytes;
}

/** Lengths and checksums outside. */
export function sealOuter({ frame, l3, l4, protocol }: Parts, hasSum: boolean): Uint8Array {
  const view = new DataView(frame.buffer);
  const isV4 = l4 - l3 === 20;
  if (isV4) {
    view.setUint16(l3 + 2, frame.length - l3);
    view.setUint16(l3 + 10, 0);
    view.setUint16(l3 + 10, 0xffff - sumOf(frame.subarray(l3, l4)));
  } else view.setUint16(l3 + 4, frame.length - l3 - 40);
  if (protocol === 47 && ((frame[l4] as number) & 0x80) !== 0) {
    view.setUint16(l4 + 4, 0);
    view.setUint16(l4 + 4, 0xffff - sumOf(frame.subarray(l4)));
  }
  if (protocol !== 17) return frame;
  view.setUint16(l4 + 4, frame.length - l4);
  view.setUint16(l4 + 6, 0);
  if (!hasSum) return frame;
  const addresses = isV4 ? frame.subarray(l3 + 12, l3 + 20) : frame.subarray(l3 + 8, l3 + 40);
  const sum = 0xffff - sumOf(frame.subarray(l4), sumOf(addresses, 17 + frame.length - l4));
  view.setUint16(l4 + 6, sum === 0 ? 0xffff : sum);
  return frame;
}

/** `plain`, a frame, as packet number `index` of a tunnel: one without tags, where the tunnel carries IP packets. */
export function wrap(plain: Uint8Array, tunnel: Tunnel, index: number): Parts {
  const type = ((plain[12] as number) << 8) | (plain[13] as number);
  const carried = carriesEthernet(tunnel) ? plain : plain.subarray(14);
  const header = tunnelHeader(tunnel, type);
  const l3 = 14;
  const hasLimit = tunnel.family === 6 && tunnel.hasLimit;
  const l4 = l3 + (tunnel.family === 4 ? 20 : hasLimit ? 48 : 40);
  const inner = l4 + header.length;
  const frame = new Uint8Array(inner + carried.length);
  const view = new DataView(frame.buffer);
  frame.set([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2]);
  view.setUint16(12, tunnel.family === 4 ? 0x0800 : 0x86dd);
  const protocol = tunnel.kind === 'vxlan' ? 17 : tunnel.kind !== 'ip' ? 47 : type === 0x0800 ? 4 : 41;
  if (tunnel.family === 4) {
    frame[l3] = 0x45;
    view.setUint16(l3 + 4, (65530 + tunnel.number + index * tunnel.step) % 65536);
    frame.set([64, protocol], l3 + 8);
    frame.set([10, 0, 0, 1, 10, 0, 0, 2], l3 + 12);
  } else {
    view.setUint32(l3, 0x60012345);
    frame.set([hasLimit ? 60 : protocol, 64], l3 + 6);
    for (let at = l3 + 8; at < l3 + 40; at++) frame[at] = at * 3;
    if (hasLimit) frame.set([protocol, 0, 4, 1, 4, 1, 1, 0], l3 + 40);
  }
  frame.set(header, l4);
  frame.set(carried, inner);
  const parts = { frame, l3, l4, inner, protocol };
  sealOuter(parts, tunnel.hasSum);
  return parts;
}

/** What may be odd outside of a packet: `null` when the family has no such thing. */
type Change = (parts: Parts, tunnel: Tunnel) => Uint8Array | null;

const flip =
  (where: (parts: Parts) => number, bits: number, seals = true): Change =>
  (parts, { hasSum }) => {
    const at = where(parts);
    parts.frame[at] = (parts.frame[at] as number) ^ bits;
    return seals ? sealOuter(parts, hasSum) : parts.frame;
  };

const isV4 = ({ l3, l4 }: Parts): boolean => l4 - l3 === 20;

/** By name: each begins a packet of its own, and so does what comes behind it. */
export const OUTER_CHANGES: Readonly<Record<string, Change>> = {
  'another TTL': flip((parts) => parts.l3 + (isV4(parts) ? 8 : 7), 1),
  'another TOS or flow label': flip((parts) => parts.l3 + (isV4(parts) ? 1 : 3), 0x20),
  DF: (parts, tunnel) => (isV4(parts) ? flip(({ l3 }) => l3 + 6, 0x40)(parts, tunnel) : null),
  'a wrong IP checksum or length': flip((parts) => parts.l3 + (isV4(parts) ? 11 : 5), 1, false),
  'another identification': (parts, tunnel) => (isV4(parts) ? flip(({ l3 }) => l3 + 4, 0x40)(parts, tunnel) : null),
  'a checksum, or none': (parts, tunnel) => (tunnel.kind === 'vxlan' ? sealOuter(parts, !tunnel.hasSum) : null),
  'a wrong UDP checksum': (parts, tunnel) =>
    tunnel.kind === 'vxlan' && tunnel.hasSum ? flip(({ l4 }) => l4 + 7, 1, false)(parts, tunnel) : null,
  'a wrong UDP length': (parts, tunnel) =>
    tunnel.kind === 'vxlan' ? flip(({ l4 }) => l4 + 5, 1, false)(parts, tunnel) : null,
  'a wrong GRE checksum': (parts, tunnel) =>
    tunnel.kind.includes('sum') ? flip(({ l4 }) => l4 + 5, 1, false)(parts, tunnel) : null,
  'another limit': (parts, tunnel) =>
    tunnel.family === 6 && tunnel.hasLimit ? flip(({ l3 }) => l3 + 44, 1)(parts, tunnel) : null,
  padding: ({ frame }) => Uint8Array.of(...frame, 0, 0),
};
/** By name: a packet of another flow, which leaves that of others alone. */
export const OTHER_FLOWS: Readonly<Record<string, Change>> = {
  'a fragment': (parts, tunnel) => (isV4(parts) ? flip(({ l3 }) => l3 + 6, 0x20)(parts, tunnel) : null),
  'another address': flip(({ l3 }) => l3 + 15, 1),
  'another key, network or port': (parts, tunnel) => {
    if (tunnel.kind === 'vxlan') return flip(({ l4 }) => l4 + 14, 1)(parts, tunnel);
    if (!tunnel.kind.includes('key')) return null;
    return flip(({ l4 }) => l4 + (tunnel.kind === 'gre-key' ? 7 : 11), 1)(parts, tunnel);
  },
  "GRE's checksum flag": (parts, tunnel) =>
    tunnel.kind.startsWith('gre') ? flip(({ l4 }) => l4, 0x80)(parts, tunnel) : null,
  'another port than VXLAN has': (parts, tunnel) =>
    tunnel.kind === 'vxlan' ? flip(({ l4 }) => l4 + 3, 1)(parts, tunnel) : null,
};
