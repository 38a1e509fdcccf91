// Nobody listens at a UDP port: the packet goes back inside an ICMP message.
import { internetChecksum, pseudoHeaderSum } from '../packet/checksum.ts';
import { ICMP_UNREACHABLE, ICMPV6_UNREACHABLE } from '../packet/icmp.ts';
import { Ipv4View } from '../packet/ipv4.ts';
import { Ipv6View } from '../packet/ipv6.ts';
import { IPV4_BYTES, IPV6_BYTES, PROTOCOL_ICMP, PROTOCOL_ICMPV6 } from '../packet/layout.ts';
import { ICMP_BYTES } from '../packet/transport.ts';

/** Code of an unreachable port: RFC 792, and RFC 4443, 3.1. */
const PORT_V4 = 3;
const PORT_V6 = 4;
const TTL = 64;
/** Of the packet that caused it: the IP header and 8 bytes (RFC 792); what keeps the whole below 1,280 (RFC 4443, 3.1). */
const QUOTE_V4 = 8;
const QUOTE_V6_MAX = 1280 - IPV6_BYTES - ICMP_BYTES;

/** Puts `type` and `code` before the `quoted` bytes that were moved to `at` + 8, and the checksum. */
function writeIcmp(bytes: Uint8Array, at: number, type: number, code: number, quoted: number, sum: number): void {
  bytes.fill(0, at, at + ICMP_BYTES);
  bytes[at] = type;
  bytes[at + 1] = code;
  const checksum = internetChecksum(bytes, at, ICMP_BYTES + quoted, sum);
  bytes[at + 2] = checksum >>> 8;
  bytes[at + 3] = checksum;
}

/** Makes of the packet the message that its port is unreachable. Returns its bytes, IP header included. */
export function unreachableV4(ip: Ipv4View): number {
  const { bytes, at, source, destination } = ip;
  const quoted = Math.min(ip.headerLength + QUOTE_V4, ip.length);
  bytes.copyWithin(at + IPV4_BYTES + ICMP_BYTES, at, at + quoted);
  bytes.fill(0, at, at + IPV4_BYTES);
  const outer = Ipv4View.create(bytes, at, IPV4_BYTES, ICMP_BYTES + quoted);
  outer.ttl = TTL;
  outer.protocol = PROTOCOL_ICMP;
  outer.source = destination;
  outer.destination = source;
  outer.checksum = internetChecksum(bytes, at, IPV4_BYTES);
  writeIcmp(bytes, at + IPV4_BYTES, ICMP_UNREACHABLE, PORT_V4, quoted, 0);
  return IPV4_BYTES + ICMP_BYTES + quoted;
}

/** `unreachableV4` for IPv6. */
export function unreachableV6(ip: Ipv6View): number {
  const { bytes, at } = ip;
  const source = ip.source.slice();
  const destination = ip.destination.slice();
  const quoted = Math.min(ip.headerLength + ip.payloadLength, QUOTE_V6_MAX);
  bytes.copyWithin(at + IPV6_BYTES + ICMP_BYTES, at, at + quoted);
  bytes.fill(0, at, at + IPV6_BYTES);
  const outer = Ipv6View.create(bytes, at, ICMP_BYTES + quoted);
  outer.hopLimit = TTL;
  outer.nextHeader = PROTOCOL_ICMPV6;
  outer.source.set(destination);
  outer.destination.set(source);
  const length = ICMP_BYTES + quoted;
  const sum = pseudoHeaderSum(outer.addresses, PROTOCOL_ICMPV6, length);
  writeIcmp(bytes, at + IPV6_BYTES, ICMPV6_UNREACHABLE, PORT_V6, quoted, sum);
  return IPV6_BYTES + length;
}
