import { formatIpv4, formatIpv6 } from 'ringway/packet';
import type { Match } from '#build/switch/steering.js';
import { parsePrefix } from '#build/util/addresses.js';
import { type Headers, headersOf } from '../../packet/support/headers.ts';
import { masked, sameBits } from './packets.ts';

const IPV4 = 1;
const IPV6 = 2;
const PORTS = 8;
const TAGS = 16 | 32;
const PROTOCOLS: Record<string, number> = { tcp: 6, udp: 17, sctp: 132 };
/** `192.0.2.1/24` and the like: where source and destination lie in the IP header. */
const ADDRESSES = { 4: { src: 12, dst: 16, bytes: 4 }, 6: { src: 8, dst: 24, bytes: 16 } };

const u16 = (frame: Uint8Array, at: number): number => (frame[at] ?? 0) * 256 + (frame[at + 1] ?? 0);
const macText = (frame: Uint8Array, at: number): string =>
  Array.from({ length: 6 }, (_, index) => (frame[at + index] ?? 0).toString(16).padStart(2, '0')).join(':');

function isFlow(type: NonNullable<Match['flowType']>, { flags, protocol }: Headers): boolean {
  if (type === 'ether') return true;
  if ((flags & (type.endsWith('4') ? IPV4 : IPV6)) === 0) return false;
  const wanted = PROTOCOLS[type.slice(0, -1)];
  return wanted === undefined || wanted === protocol;
}

function isInPrefix(text: string, which: 'src' | 'dst', frame: Uint8Array, { flags, l3 }: Headers): boolean {
  const prefix = parsePrefix(text);
  if (prefix === undefined || (flags & (prefix.family === 4 ? IPV4 : IPV6)) === 0) return false;
  const where = ADDRESSES[prefix.family];
  const at = l3 + where[which];
  return sameBits(frame.subarray(at, at + where.bytes), prefix.bytes, prefix.length);
}

/** True when a frame of at least 14 bytes is what `match` says, told by its bytes alone. */
export function isMatch(match: Match, frame: Uint8Array): boolean {
  const headers = headersOf(frame);
  const { flags, l3, l4, protocol, type } = headers;
  const port = (at: number, wanted: number | undefined): boolean =>
    wanted === undefined || ((flags & PORTS) !== 0 && u16(frame, at) === wanted);
  return (
    (match.flowType === undefined || isFlow(match.flowType, headers)) &&
    (match.dstMac === undefined || match.dstMac === macText(frame, 0)) &&
    (match.srcMac === undefined || match.srcMac === macText(frame, 6)) &&
    (match.etherType === undefined || match.etherType === type) &&
    (match.vlan === undefined || match.vlan === ((flags & TAGS) === 0 ? 0 : u16(frame, 14) & 0xfff)) &&
    (match.srcIp === undefined || isInPrefix(match.srcIp, 'src', frame, headers)) &&
    (match.dstIp === undefined || isInPrefix(match.dstIp, 'dst', frame, headers)) &&
    (match.protocol === undefined || ((flags & (IPV4 | IPV6)) !== 0 && match.protocol === protocol)) &&
    port(l4, match.srcPort) &&
    port(l4 + 2, match.dstPort) &&
    (match.u32 ?? []).every(({ value, mask, at }) => {
      if (l3 + at + 4 > frame.length) return false;
      const word = u16(frame, l3 + at) * 65536 + u16(frame, l3 + at + 2);
      return (word & mask) >>> 0 === value;
    })
  );
}

/** A match of every key that the bytes of `frame`, whole or not, give a value for; prefixes are `bits` long at most. */
export function everyKeyOf(frame: Uint8Array, bits: number, u32At: number): Match {
  const { type, l3, protocol, l4 } = headersOf(frame);
  const address = (at: number): string => {
    const whole = Uint8Array.from({ length: type === 0x0800 ? 4 : 16 }, (_, index) => frame[l3 + at + index] ?? 0);
    const length = Math.min(bits, whole.length * 8);
    const bytes = masked(whole, length);
    const text = bytes.length === 4 ? formatIpv4(new DataView(bytes.buffer).getUint32(0)) : formatIpv6(bytes);
    return `${text}/${length}`;
  };
  const { src, dst } = ADDRESSES[type === 0x0800 ? 4 : 6];
  const version = type === 0x86dd ? '6' : '4';
  const flow = Object.entries(PROTOCOLS).find(([, number]) => number === protocol)?.[0] ?? 'ip';
  const flowType = `${flow === 'sctp' && version === '6' ? 'ip' : flow}${version}` as NonNullable<Match['flowType']>;
  const mask = 0xff00fff0;
  const word = (u16(frame, l3 + u32At) * 65536 + u16(frame, l3 + u32At + 2)) & mask;
  return {
    flowType,
    dstMac: macText(frame, 0),
    srcMac: macText(frame, 6),
    etherType: type,
    vlan: u16(frame, 12) === type ? 0 : u16(frame, 14) & 0xfff,
    srcIp: address(src),
    dstIp: address(dst),
    protocol,
    srcPort: u16(frame, l4),
    dstPort: u16(frame, l4 + 2),
    u32: [{ value: word >>> 0, mask, at: u32At }],
  };
}
