import { SLOT_BUFFER, SLOT_LENGTH, SLOT_OFFSET } from '../memory/layout.ts';
import {
  ETHERNET_BYTES,
  ETHERTYPE_IPV4,
  ETHERTYPE_IPV6,
  ETHERTYPE_QINQ,
  ETHERTYPE_VLAN,
  EXTENSIONS_MAX,
  HEADERS_FLAGS_SHIFT,
  HEADERS_FRAGMENT,
  HEADERS_IPV4,
  HEADERS_IPV6,
  HEADERS_L3_SHIFT,
  HEADERS_L4_SHIFT,
  HEADERS_PORTS,
  HEADERS_PROTOCOL_SHIFT,
  HEADERS_QINQ,
  HEADERS_VLAN,
  IPV4_BYTES,
  IPV6_BYTES,
  PROTOCOL_AUTHENTICATION,
  PROTOCOL_DESTINATION_OPTIONS,
  PROTOCOL_FRAGMENT,
  PROTOCOL_HIP,
  PROTOCOL_HOP_BY_HOP,
  PROTOCOL_MOBILITY,
  PROTOCOL_ROUTING,
  PROTOCOL_SCTP,
  PROTOCOL_SHIM6,
  PROTOCOL_TCP,
  PROTOCOL_UDP,
  VLAN_BYTES,
} from './layout.ts';

/** The u16 at `address`, which the network sent with its upper byte first. */
export function loadNetwork16(address: u32): u32 {
  return bswap<u16>(load<u16>(address));
}

/** Address of the first byte of the frame at `slot`. */
export function frameAddress(slot: u32): u32 {
  return load<u32>(slot, SLOT_BUFFER) + load<u16>(slot, SLOT_OFFSET);
}

/** Of what `parseHeaders` returns, the EtherType behind the tags. */
export function headersType(headers: u64): u32 {
  return <u32>headers & 0xffff;
}

/** Offset of the network header. */
export function headersL3(headers: u64): u32 {
  return (<u32>headers >> HEADERS_L3_SHIFT) & 0xff;
}

/** IP protocol, behind the extension headers of IPv6. */
export function headersProtocol(headers: u64): u32 {
  return <u32>headers >> HEADERS_PROTOCOL_SHIFT;
}

/** Offset of the transport header, 0 when there is none to look into. */
export function headersL4(headers: u64): u32 {
  return <u32>(headers >> HEADERS_L4_SHIFT) & 0xffff;
}

/** HEADERS_… flags. */
export function headersFlags(headers: u64): u32 {
  return <u32>(headers >> HEADERS_FLAGS_SHIFT);
}

function pack(type: u32, l3: u32, protocol: u32, l4: u32, flags: u32): u64 {
  const low = type | (l3 << HEADERS_L3_SHIFT) | (protocol << HEADERS_PROTOCOL_SHIFT);
  const high = l4 | (flags << (HEADERS_FLAGS_SHIFT - 32));
  return <u64>low | ((<u64>high) << HEADERS_L4_SHIFT);
}

/** Packs the headers of an IP packet that is no fragment, whose upper layer starts at `l4`. */
function packUpper(length: u32, type: u32, l3: u32, protocol: u32, l4: u32, flags: u32): u64 {
  const ported = protocol === PROTOCOL_TCP || protocol === PROTOCOL_UDP || protocol === PROTOCOL_SCTP;
  return pack(type, l3, protocol, l4, ported && l4 + 4 <= length ? flags | HEADERS_PORTS : flags);
}

function parseIpv4(frame: u32, length: u32, l3: u32, flags: u32): u64 {
  const header = frame + l3;
  if (l3 + IPV4_BYTES > length) return pack(ETHERTYPE_IPV4, l3, 0, 0, flags);
  const first: u32 = load<u8>(header);
  const bytes = (first & 15) << 2;
  if (first >> 4 !== 4 || bytes < IPV4_BYTES || l3 + bytes > length) return pack(ETHERTYPE_IPV4, l3, 0, 0, flags);
  const protocol: u32 = load<u8>(header, 9);
  // More Fragments, or an offset (RFC 791, 3.1); the other two bits say nothing of the kind.
  if (loadNetwork16(header + 6) & 0x3fff) {
    return pack(ETHERTYPE_IPV4, l3, protocol, 0, flags | HEADERS_IPV4 | HEADERS_FRAGMENT);
  }
  return packUpper(length, ETHERTYPE_IPV4, l3, protocol, l3 + bytes, flags | HEADERS_IPV4);
}

/** Bytes of the extension header of type `protocol` at `header`, of which 8 must be there. */
export function extensionBytes(header: u32, protocol: u32): u32 {
  const units: u32 = load<u8>(header, 1);
  if (protocol === PROTOCOL_FRAGMENT) return 8;
  // The Authentication Header counts in units of 4 bytes, without the first 8 (RFC 4302, 2.2).
  return protocol === PROTOCOL_AUTHENTICATION ? (units + 2) << 2 : (units + 1) << 3;
}

/** True for the headers that may stand between IPv6's own and the upper layer's. */
export function isIpv6Extension(protocol: u32): bool {
  return protocol === PROTOCOL_FRAGMENT || protocol === PROTOCOL_AUTHENTICATION || isExtension(protocol);
}

/** True for extension headers whose second byte is their length in units of 8 bytes without the first 8. */
function isExtension(protocol: u32): bool {
  return (
    protocol === PROTOCOL_HOP_BY_HOP ||
    protocol === PROTOCOL_ROUTING ||
    protocol === PROTOCOL_DESTINATION_OPTIONS ||
    protocol === PROTOCOL_MOBILITY ||
    protocol === PROTOCOL_HIP ||
    protocol === PROTOCOL_SHIM6
  );
}

function parseIpv6(frame: u32, length: u32, l3: u32, flags: u32): u64 {
  if (l3 + IPV6_BYTES > length || load<u8>(frame + l3) >> 4 !== 6) return pack(ETHERTYPE_IPV6, l3, 0, 0, flags);
  const known = flags | HEADERS_IPV6;
  let protocol: u32 = load<u8>(frame + l3, 6);
  let at = l3 + IPV6_BYTES;
  for (let i: u32 = 0; i <= EXTENSIONS_MAX; i++) {
    if (!isIpv6Extension(protocol)) return packUpper(length, ETHERTYPE_IPV6, l3, protocol, at, known);
    if (at + 8 > length) break;
    const header = frame + at;
    const next: u32 = load<u8>(header);
    // Offset or M flag (RFC 8200, 4.5); with neither it is a whole packet all the same (RFC 6946).
    if (protocol === PROTOCOL_FRAGMENT && loadNetwork16(header + 2) & 0xfff9) {
      return pack(ETHERTYPE_IPV6, l3, next, 0, known | HEADERS_FRAGMENT);
    }
    at += extensionBytes(header, protocol);
    protocol = next;
    if (at > length) break;
  }
  return pack(ETHERTYPE_IPV6, l3, protocol, 0, known);
}

/** Packs the headers of what is behind `l3`, an offset in the frame of up to 255, of EtherType `type`. */
export function parseNetwork(frame: u32, length: u32, l3: u32, type: u32): u64 {
  if (type === ETHERTYPE_IPV4) return parseIpv4(frame, length, l3, 0);
  return type === ETHERTYPE_IPV6 ? parseIpv6(frame, length, l3, 0) : pack(type, l3, 0, 0, 0);
}

/** Packs the headers of what is behind an Ethernet header that ends at `l3`, and at most two VLAN tags. */
export function parseEthernet(frame: u32, length: u32, l3: u32): u64 {
  let type = loadNetwork16(frame + l3 - 2);
  if (type === ETHERTYPE_IPV4) return parseIpv4(frame, length, l3, 0);
  let flags: u32 = 0;
  for (let tags: u32 = 0; tags < 2; tags++) {
    if ((type !== ETHERTYPE_VLAN && type !== ETHERTYPE_QINQ) || l3 + VLAN_BYTES > length) break;
    type = loadNetwork16(frame + l3 + 2);
    l3 += VLAN_BYTES;
    flags = tags === 0 ? HEADERS_VLAN : HEADERS_QINQ;
  }
  if (type === ETHERTYPE_IPV4) return parseIpv4(frame, length, l3, flags);
  if (type === ETHERTYPE_IPV6) return parseIpv6(frame, length, l3, flags);
  return pack(type, l3, 0, 0, flags);
}

/**
 * Finds the headers of the packet at `slot`: HEADERS_… of `layout.ts`. Only the frame's bytes in its first buffer are
 * read, whatever its length fields say. A header that is cut or malformed ends the walk: its flag is missing then,
 * and L4 is 0. L3 lies behind at most two VLAN tags; a frame of less than 14 bytes gives 0.
 */
export function parseHeaders(slot: u32): u64 {
  const length: u32 = load<u16>(slot, SLOT_LENGTH);
  return length < ETHERNET_BYTES ? 0 : parseEthernet(frameAddress(slot), length, ETHERNET_BYTES);
}

/** `parseHeaders` for TypeScript: stores the u64 at `target`, since a BigInt would cost more than the call. */
export function headers(slot: u32, target: u32): void {
  store<u64>(target, parseHeaders(slot));
}
