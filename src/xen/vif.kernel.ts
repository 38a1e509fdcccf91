import {
  BUFFER_CSUM_OFFSET,
  BUFFER_CSUM_START,
  BUFFER_GSO_SIZE,
  BUFFER_GSO_TYPE,
  BUFFER_HEADER_LENGTH,
  BUFFER_OFFLOAD_FLAGS,
  GSO_NONE,
  GSO_TCPV4,
  GSO_TCPV6,
  HDR_NEEDS_CSUM,
  SLOT_BUFFER,
  SLOT_FLAG_OFFLOAD,
  SLOT_FLAGS,
  SLOT_FLOW,
  SLOT_LENGTH,
} from '../memory/layout.ts';
import { frameAddress, headersFlags, headersL4, headersProtocol, parseHeaders } from '../packet/headers.kernel.ts';
import { HEADERS_IPV4, HEADERS_IPV6, HEADERS_PORTS, PROTOCOL_TCP, PROTOCOL_UDP } from '../packet/layout.ts';
import { CTRL_HASH_TOEPLITZ } from './control-layout.ts';
import {
  EXTRA_TYPE_GSO,
  EXTRA_TYPE_HASH,
  GSOINFO_SIZE,
  GSOINFO_TYPE,
  GSOINFO_TYPE_TCPV4,
  GSOINFO_TYPE_TCPV6,
  PACKET_SLOTS_MAX,
  XEN_PAGE_BYTES,
  XEN_PAGE_SHIFT,
} from './layout.ts';
import {
  PACKET_EXTRA_TYPES,
  PACKET_GSO_SIZE,
  PACKET_GSO_TYPE,
  PACKET_HASH_ALGORITHM,
  PACKET_HASH_VALUE,
  VIFQ_F_CSUM,
  VIFQ_F_GSO_TCPV4,
  VIFQ_F_GSO_TCPV6,
  VIFQ_F_SG,
  VIFQ_FEATURES,
} from './queue-layout.ts';

/** Where TCP and UDP have their checksum (RFC 9293, RFC 768). */
const TCP_CSUM: u32 = 16;
const UDP_CSUM: u32 = 6;

/** Counts one more in the counter of the queue. */
export function countVif(queue: u32, counter: u32): void {
  store<u32>(queue + counter, load<u32>(queue + counter) + 1);
}

/** GSOINFO_TYPE_… that a packet's extra information asks for; 0 without. */
function askedType(packet: u32): u32 {
  return load<u32>(packet, PACKET_EXTRA_TYPES) & (1 << EXTRA_TYPE_GSO) ? load<u16>(packet, PACKET_GSO_TYPE) : 0;
}

function writeOffload(slot: u32, packet: u32): void {
  const gso = askedType(packet);
  const buffer = load<u32>(slot, SLOT_BUFFER);
  store<u8>(buffer, <u8>HDR_NEEDS_CSUM, BUFFER_OFFLOAD_FLAGS);
  store<u8>(buffer, <u8>(gso === 0 ? GSO_NONE : gso === GSOINFO_TYPE_TCPV4 ? GSO_TCPV4 : GSO_TCPV6), BUFFER_GSO_TYPE);
  store<u16>(buffer, gso === 0 ? 0 : load<u16>(packet, PACKET_GSO_SIZE), BUFFER_GSO_SIZE);
  store<u8>(slot, load<u8>(slot, SLOT_FLAGS) | <u8>SLOT_FLAG_OFFLOAD, SLOT_FLAGS);
}

/**
 * Puts what a packet's flags and extra information ask for into the packet at `slot`, whose bytes may come later: a checksum, segments.
 * The peer says only that they are to be done; where, `placeOffload` finds out. Small enough to be inlined, as that is.
 */
export function askOffload(slot: u32, packet: u32, csumBlank: bool): void {
  if (csumBlank || askedType(packet) !== 0) writeOffload(slot, packet);
}

function findOffload(slot: u32): bool {
  const headers = parseHeaders(slot);
  const flags = headersFlags(headers);
  const protocol = headersProtocol(headers);
  const l4 = headersL4(headers);
  if (!(flags & HEADERS_PORTS) || (protocol !== PROTOCOL_TCP && protocol !== PROTOCOL_UDP)) return false;
  const field = protocol === PROTOCOL_TCP ? TCP_CSUM : UDP_CSUM;
  if (l4 + field + 2 > load<u16>(slot, SLOT_LENGTH)) return false;
  const buffer = load<u32>(slot, SLOT_BUFFER);
  const gso = <u32>load<u8>(buffer, BUFFER_GSO_TYPE);
  const family = gso === GSO_TCPV4 ? HEADERS_IPV4 : HEADERS_IPV6;
  if (gso !== GSO_NONE && (protocol !== PROTOCOL_TCP || !(flags & family))) return false;
  const tcpBytes: u32 = gso === GSO_NONE ? 0 : (load<u8>(frameAddress(slot) + l4, 12) >> 4) << 2;
  store<u16>(buffer, <u16>(gso === GSO_NONE ? 0 : l4 + tcpBytes), BUFFER_HEADER_LENGTH);
  store<u16>(buffer, <u16>l4, BUFFER_CSUM_START);
  store<u16>(buffer, <u16>field, BUFFER_CSUM_OFFSET);
  return true;
}

/**
 * Finds where what was asked for is to be done in the packet at `slot`, which is copied whole: the headers say it. Returns false when
 * they have no place for it.
 */
export function placeOffload(slot: u32): bool {
  return (load<u8>(slot, SLOT_FLAGS) & SLOT_FLAG_OFFLOAD) === 0 || findOffload(slot);
}

/** Both at once, of a packet that is copied whole. Returns as `placeOffload`. */
export function acceptOffload(slot: u32, packet: u32, csumBlank: bool): bool {
  askOffload(slot, packet, csumBlank);
  return placeOffload(slot);
}

/** Keeps the hash that the peer says a packet has in the new packet at `slot`: it only says which packets are alike. */
export function keepHash(slot: u32, packet: u32): void {
  if (!(load<u32>(packet, PACKET_EXTRA_TYPES) & (1 << EXTRA_TYPE_HASH))) return;
  if (load<u8>(packet, PACKET_HASH_ALGORITHM) !== <u8>CTRL_HASH_TOEPLITZ) return;
  store<u32>(slot, load<u32>(packet, PACKET_HASH_VALUE), SLOT_FLOW);
}

/** True when the packet at `slot` leaves its checksum to be done. */
export function needsChecksum(slot: u32): bool {
  if (!(load<u8>(slot, SLOT_FLAGS) & SLOT_FLAG_OFFLOAD)) return false;
  return (load<u8>(load<u32>(slot, SLOT_BUFFER), BUFFER_OFFLOAD_FLAGS) & HDR_NEEDS_CSUM) !== 0;
}

/** GSOINFO_TYPE_… of the packet at `slot`; 0 when it is not to be cut into segments. */
export function segmentType(slot: u32): u32 {
  if (!(load<u8>(slot, SLOT_FLAGS) & SLOT_FLAG_OFFLOAD)) return 0;
  const type = <u32>load<u8>(load<u32>(slot, SLOT_BUFFER), BUFFER_GSO_TYPE) & 0x7f;
  return type === GSO_TCPV4 ? GSOINFO_TYPE_TCPV4 : type === GSO_TCPV6 ? GSOINFO_TYPE_TCPV6 : 0;
}

/** Pages that `length` bytes of the packet at `slot` take, `headroom` bytes from the first one's start; 0 when the peer takes no such packet. */
export function pagesFor(queue: u32, slot: u32, length: u32, headroom: u32): u32 {
  const features = load<u32>(queue, VIFQ_FEATURES);
  const pages = (headroom + length + XEN_PAGE_BYTES - 1) >> XEN_PAGE_SHIFT;
  const segments = segmentType(slot);
  if (!(features & VIFQ_F_CSUM) && needsChecksum(slot)) return 0;
  if (length > 0xffff || pages > PACKET_SLOTS_MAX || (pages > 1 && !(features & VIFQ_F_SG))) return 0;
  if (segments === GSOINFO_TYPE_TCPV4 && !(features & VIFQ_F_GSO_TCPV4)) return 0;
  if (segments === GSOINFO_TYPE_TCPV6 && !(features & VIFQ_F_GSO_TCPV6)) return 0;
  return pages;
}

/** Writes the extra information that says how the packet at `slot` is to be cut. */
export function writeSegments(extra: u32, slot: u32): void {
  // Type in the lowest byte; nothing follows, so that no flag is set.
  store<u64>(extra, EXTRA_TYPE_GSO);
  store<u16>(extra, load<u16>(load<u32>(slot, SLOT_BUFFER), BUFFER_GSO_SIZE), GSOINFO_SIZE);
  store<u8>(extra, <u8>segmentType(slot), GSOINFO_TYPE);
}
