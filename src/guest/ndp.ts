// Neighbor discovery (RFC 4861): what ARP is to IPv4.
import type { IcmpView } from '../packet/icmp.ts';
import type { Ipv6View } from '../packet/ipv6.ts';

/** A solicitation and an advertisement: ICMPv6 header, then the target address (4.3, 4.4). */
const TARGET_AT = 8;
const MESSAGE_BYTES = 24;
/** Option 2, target link-layer address, in units of 8 bytes (4.6.1). */
const OPTION_TARGET = 2;
const OPTION_BYTES = 8;
/** 4.4: an answer to a solicitation, and one that replaces what the asker knew. */
const SOLICITED = 0x40;
const OVERRIDE = 0x20;
/** 7.1.1: of a neighbor that is on the link. */
const HOP_LIMIT = 255;

/** True when the message is a valid solicitation (7.1.1) for `address`. */
export function isSolicited(ip: Ipv6View, icmp: IcmpView, address: Uint8Array): boolean {
  if (ip.hopLimit !== HOP_LIMIT || icmp.code !== 0 || icmp.length < MESSAGE_BYTES) return false;
  const target = icmp.at + TARGET_AT;
  return address.every((byte, i) => icmp.bytes[target + i] === byte);
}

/**
 * Makes of the solicitation for `address` the advertisement that answers it, addresses of the packet included. Returns its
 * bytes; type and checksum are the caller's to set.
 */
export function advertise(ip: Ipv6View, icmp: IcmpView, address: Uint8Array, mac: number): number {
  const { bytes, at } = icmp;
  // 7.2.4: an asker without an address of its own (it looks whether its own is taken) is answered by multicast.
  const isAnonymous = ip.source.every((byte) => byte === 0);
  ip.destination.set(ip.source.slice());
  if (isAnonymous) ip.destination.set([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
  ip.source.set(address);
  ip.hopLimit = HOP_LIMIT;
  ip.declaredLength = MESSAGE_BYTES + OPTION_BYTES;
  bytes.set([(isAnonymous ? 0 : SOLICITED) | OVERRIDE, 0, 0, 0], at + 4);
  bytes.set([OPTION_TARGET, OPTION_BYTES / 8], at + MESSAGE_BYTES);
  for (let i = 0; i < 6; i++) bytes[at + MESSAGE_BYTES + 2 + i] = Math.floor(mac / 2 ** (40 - 8 * i)) % 256;
  return MESSAGE_BYTES + OPTION_BYTES;
}
