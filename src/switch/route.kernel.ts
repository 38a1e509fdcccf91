import { frameLength } from '../memory/chain.kernel.ts';
import { SLOT_LENGTH } from '../memory/layout.ts';
import { frameAddress } from '../packet/headers.kernel.ts';
import {
  ETHERNET_BYTES,
  HOP_MAC,
  HOP_PORT,
  IPV4_BYTES,
  IPV6_BYTES,
  ROUTES_ROUTER_MAC,
  VLAN_BYTES,
} from '../packet/layout.ts';
import { lookupIpv4, lookupIpv6 } from '../packet/prefix.kernel.ts';
import { DROP_BAD_HEADER, DROP_NO_PORT, DROP_NO_ROUTE, DROP_TTL } from '../telemetry/layout.ts';
import { drop, emit, makeWritable, popTag, portEntry } from './emit.kernel.ts';
import { PATH_SWITCH, PORT_STATE, PORT_UP, SWITCH_ROUTES } from './layout.ts';

/** Ethertypes as loaded by a little-endian load. */
const ETHERTYPE_IPV4: u32 = 0x0008;
const ETHERTYPE_IPV6: u32 = 0xdd86;

/** True when the sum over an IPv4 header of `bytes` bytes, its checksum included, is right (RFC 791, RFC 1071). */
function isChecksumRight(header: u32, bytes: u32): bool {
  let sum: u32 = 0;
  for (let at: u32 = 0; at < bytes; at += 2) sum += load<u16>(header + at);
  sum = (sum & 0xffff) + (sum >>> 16);
  return ((sum + (sum >>> 16)) & 0xffff) === 0xffff;
}

/** Checks an IPv4 header against the `room` bytes that follow it and the `total` bytes of the packet (RFC 1812, 5.2.2). */
function isGoodIpv4(header: u32, room: u32, total: u32): bool {
  if (room < IPV4_BYTES) return false;
  const bytes = (<u32>load<u8>(header) & 0x0f) << 2;
  const length: u32 = bswap<u16>(load<u16>(header, 2));
  if (load<u8>(header) >>> 4 !== 4 || bytes < IPV4_BYTES || bytes > room) return false;
  return length >= bytes && length <= total && isChecksumRight(header, bytes);
}

function isGoodIpv6(header: u32, room: u32, total: u32): bool {
  if (room < IPV6_BYTES || load<u8>(header) >>> 4 !== 6) return false;
  return IPV6_BYTES + <u32>bswap<u16>(load<u16>(header, 4)) <= total;
}

/**
 * Lowers the hop limit by one, and with it an IPv4 checksum: the word falls by 0x0100, so the checksum rises. One of
 * 0xffff becomes 0, which the same header gives when it is summed anew (RFC 1624, 3).
 */
function decrementHops(header: u32, isV4: bool): void {
  if (!isV4) {
    store<u8>(header, load<u8>(header, 7) - 1, 7);
    return;
  }
  store<u8>(header, load<u8>(header, 8) - 1, 8);
  const sum = <u32>bswap<u16>(load<u16>(header, 10)) + 0x0100;
  store<u16>(header, bswap<u16>(<u16>(sum >= 0xffff ? sum + 1 : sum)), 10);
}

/**
 * Routes a packet that is addressed to the router: checks its IP header, finds its next hop, lowers its hop limit,
 * rewrites its MACs, and sends it through the next hop's port in that port's untagged VLAN.
 */
export function route(path: u32, slot: u32, from: u32, tagged: bool): void {
  const routes = load<u32>(path, PATH_SWITCH) + SWITCH_ROUTES;
  const l2 = tagged ? ETHERNET_BYTES + VLAN_BYTES : ETHERNET_BYTES;
  const first: u32 = load<u16>(slot, SLOT_LENGTH);
  const type: u32 = load<u16>(frameAddress(slot) + l2 - 2);
  const isV4 = type === ETHERTYPE_IPV4;
  let header = frameAddress(slot) + l2;
  const total = frameLength(slot) - l2;
  const isGood = isV4
    ? isGoodIpv4(header, first - l2, total)
    : type === ETHERTYPE_IPV6 && isGoodIpv6(header, first - l2, total);
  if (!isGood) {
    drop(path, slot, from, DROP_BAD_HEADER);
    return;
  }
  if (load<u8>(header + (isV4 ? 8 : 7)) <= 1) {
    drop(path, slot, from, DROP_TTL);
    return;
  }
  const hop = isV4 ? lookupIpv4(routes, header + 16) : lookupIpv6(routes, header + 24);
  if (hop === 0) {
    drop(path, slot, from, DROP_NO_ROUTE);
    return;
  }
  const port = load<u32>(hop, HOP_PORT);
  if (load<u32>(portEntry(path, port), PORT_STATE) !== PORT_UP) {
    drop(path, slot, from, DROP_NO_PORT);
    return;
  }
  if (makeWritable(path, slot) === 0) return;
  if (tagged) popTag(slot);
  const frame = frameAddress(slot);
  header = frame + ETHERNET_BYTES;
  const mac = load<u64>(hop, HOP_MAC);
  const source = load<u64>(routes, ROUTES_ROUTER_MAC);
  store<u64>(frame, mac | (source << 48));
  store<u32>(frame, <u32>(source >>> 16), 8);
  decrementHops(header, isV4);
  emit(path, slot, port);
}
