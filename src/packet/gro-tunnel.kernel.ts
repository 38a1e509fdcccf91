// What merging looks at outside of a tunnel: `outer` are those headers, and what is merged is the TCP packet inside.
import { SLOT_LENGTH } from '../memory/layout.ts';
import { addressSum, checksum, isIpv4SumRight } from './checksum.kernel.ts';
import { areExtensionsPlain } from './extensions.kernel.ts';
import { frameAddress, headersFlags, headersL3, headersL4, headersProtocol, loadNetwork16 } from './headers.kernel.ts';
import {
  GRE_CSUM_OFFSET,
  HEADERS_IPV4,
  HELD_OUTER,
  HELD_OUTER_IDENTIFICATION,
  HELD_OUTER_L4,
  HELD_OUTER_PROTOCOL,
  HELD_OUTER_STEP,
  HELD_SEGMENTS,
  HELD_TOTAL,
  IPV4_BYTES,
  IPV6_BYTES,
  OUTER_COUNTS,
  OUTER_STAYS,
  PROTOCOL_UDP,
  UDP_BYTES,
  UDP_CSUM_OFFSET,
} from './layout.ts';
import { hasGreChecksum } from './tunnel.kernel.ts';

/** IP packets are not longer (RFC 791, 3.1). */
export const IP_MAX: u32 = 65535;

/**
 * Whether the IP packet at `ip`, of `length` bytes to the frame's end, is whole, without IPv4's options, and with no other extension
 * headers than those that each segment may have.
 */
export function isPlainIp(ip: u32, l4: u32, length: u32, isV4: bool): bool {
  if (!isV4) return loadNetwork16(ip + 4) + IPV6_BYTES === length && areExtensionsPlain(ip, l4);
  if (l4 - ip !== IPV4_BYTES || loadNetwork16(ip + 2) !== length) return false;
  // 0xffff is right where a segment would get 0.
  return load<u16>(ip, 10) !== 0xffff && isIpv4SumRight(ip);
}

/** Whether addresses are the same: those of the IP packets at `a` and `b`. */
export function hasSameAddresses(a: u32, b: u32, isV4: bool): bool {
  if (isV4) return load<u64>(a, 12) === load<u64>(b, 12);
  const source = v128.xor(v128.load(a, 8), v128.load(b, 8));
  return !v128.any_true(v128.or(source, v128.xor(v128.load(a, 24), v128.load(b, 24))));
}

/**
 * Whether what cutting copies of two IP headers, of `bytes` bytes with their extensions, is the same: all but lengths, addresses,
 * identification and checksum.
 */
export function hasSameIp(a: u32, b: u32, bytes: u32, isV4: bool): bool {
  // Version, length and TOS; fragment word, TTL and protocol.
  if (isV4) return load<u16>(a) === load<u16>(b) && load<u32>(a, 6) === load<u32>(b, 6);
  // Version, traffic class and flow label; next header and hop limit.
  if (load<u32>(a) !== load<u32>(b) || load<u16>(a, 6) !== load<u16>(b, 6)) return false;
  for (let at = IPV6_BYTES; at < bytes; at += 8) if (load<u64>(a + at) !== load<u64>(b + at)) return false;
  return true;
}

/** Whether the frames `a` and `b` came through one tunnel: tags, addresses, ports, key or network, up to the inner IP at `l3`. */
export function isSameTunnel(a: u32, b: u32, outer: u64, l3: u32): bool {
  const isV4 = (headersFlags(outer) & HEADERS_IPV4) !== 0;
  const ip = headersL3(outer);
  const protocolAt = ip + (isV4 ? 9 : 6);
  if (load<u64>(a + ip - 8) !== load<u64>(b + ip - 8) || load<u8>(a + ip) >> 4 !== load<u8>(b + ip) >> 4) return false;
  if (!hasSameAddresses(a + ip, b + ip, isV4) || load<u8>(a + protocolAt) !== load<u8>(b + protocolAt)) return false;
  let at = headersL4(outer);
  if (headersProtocol(outer) === PROTOCOL_UDP) {
    if (load<u32>(a + at) !== load<u32>(b + at)) return false;
    at += UDP_BYTES;
  } else if (hasGreChecksum(headersProtocol(outer), b + at)) {
    // All but the checksum.
    if (load<u32>(a + at) !== load<u32>(b + at)) return false;
    at += GRE_CSUM_OFFSET + 2;
  }
  for (; at < l3; at += 2) if (load<u16>(a + at) !== load<u16>(b + at)) return false;
  return true;
}

/** Whether the packet at `slot` is whole outside, too, and what cutting would give there. */
export function isPlainOuter(slot: u32, outer: u64): bool {
  const frame = frameAddress(slot);
  const length: u32 = load<u16>(slot, SLOT_LENGTH);
  const l3 = headersL3(outer);
  const l4 = headersL4(outer);
  const ip = frame + l3;
  const isV4 = (headersFlags(outer) & HEADERS_IPV4) !== 0;
  if (!isPlainIp(ip, frame + l4, length - l3, isV4)) return false;
  const upper = length - l4;
  if (hasGreChecksum(headersProtocol(outer), frame + l4)) {
    // 0xffff is right where a segment would get 0.
    return load<u16>(frame + l4, GRE_CSUM_OFFSET) !== 0xffff && checksum(frame + l4, upper, 0) === 0xffff;
  }
  if (headersProtocol(outer) !== PROTOCOL_UDP) return true;
  if (loadNetwork16(frame + l4 + 4) !== upper) return false;
  if (load<u16>(frame + l4, UDP_CSUM_OFFSET) === 0) return true;
  return checksum(frame + l4, upper, addressSum(ip, isV4, PROTOCOL_UDP) + upper) === 0xffff;
}

/** Notes the outer headers of the segment at `slot`, the first in `entry`. */
export function holdOuter(entry: u32, slot: u32, outer: u64): void {
  const l3 = headersL3(outer);
  store<u8>(entry, <u8>l3, HELD_OUTER);
  store<u8>(entry, 0, HELD_OUTER_STEP);
  store<u16>(entry, <u16>loadNetwork16(frameAddress(slot) + l3 + 4), HELD_OUTER_IDENTIFICATION);
  store<u16>(entry, <u16>headersL4(outer), HELD_OUTER_L4);
  store<u8>(entry, <u8>headersProtocol(outer), HELD_OUTER_PROTOCOL);
}

/**
 * Whether the outer headers of the segment at `slot`, the next one in its tunnel, would come out as they are. Outer
 * identifications count, or stay as they are: the second segment of a packet decides.
 */
export function isNextOuter(entry: u32, slot: u32, outer: u64, payload: u32): bool {
  const isV4 = (headersFlags(outer) & HEADERS_IPV4) !== 0;
  const l3 = headersL3(outer);
  const a = frameAddress(entry);
  const b = frameAddress(slot);
  if (load<u32>(entry, HELD_TOTAL) + payload - l3 > IP_MAX) return false;
  if (!hasSameIp(a + l3, b + l3, headersL4(outer) - l3, isV4)) return false;
  if (headersProtocol(outer) === PROTOCOL_UDP) {
    const field = headersL4(outer) + UDP_CSUM_OFFSET;
    if ((load<u16>(a + field) === 0) !== (load<u16>(b + field) === 0)) return false;
  }
  if (!isV4) return true;
  const first: u32 = load<u16>(entry, HELD_OUTER_IDENTIFICATION);
  const own = loadNetwork16(b + l3 + 4);
  const step = own === ((first + load<u32>(entry, HELD_SEGMENTS)) & 0xffff) ? OUTER_COUNTS : OUTER_STAYS;
  if (step === OUTER_STAYS && own !== first) return false;
  const known: u32 = load<u8>(entry, HELD_OUTER_STEP);
  if (known !== 0 && known !== step) return false;
  store<u8>(entry, <u8>step, HELD_OUTER_STEP);
  return true;
}

/** Sets lengths outside of the tunnel of the packet of `total` bytes in `entry`, at `frame`. */
export function finishOuter(entry: u32, frame: u32, total: u32): void {
  const l3: u32 = load<u8>(entry, HELD_OUTER);
  const l4: u32 = load<u16>(entry, HELD_OUTER_L4);
  const ip = frame + l3;
  if (load<u8>(ip) >> 4 === 4) {
    store<u16>(ip, bswap<u16>(<u16>(total - l3)), 2);
    store<u16>(ip, 0, 10);
    store<u16>(ip, bswap<u16>(<u16>(checksum(ip, IPV4_BYTES, 0) ^ 0xffff)), 10);
  } else {
    store<u16>(ip, bswap<u16>(<u16>(total - l3 - IPV6_BYTES)), 4);
  }
  // A checksum stays what it is: that there is one is all that cutting asks.
  const isUdp = <u32>load<u8>(entry, HELD_OUTER_PROTOCOL) === PROTOCOL_UDP;
  if (isUdp) store<u16>(frame + l4, bswap<u16>(<u16>(total - l4)), 4);
}
