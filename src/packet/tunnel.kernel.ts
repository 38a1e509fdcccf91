import { SLOT_LENGTH } from '../memory/layout.ts';
import {
  frameAddress,
  headersFlags,
  headersL4,
  headersProtocol,
  loadNetwork16,
  parseEthernet,
  parseNetwork,
} from './headers.kernel.ts';
import {
  ETHERNET_BYTES,
  ETHERTYPE_IPV4,
  ETHERTYPE_IPV6,
  HEADERS_PORTS,
  PROTOCOL_GRE,
  PROTOCOL_IPIP,
  PROTOCOL_IPV6,
  PROTOCOL_TCP,
  PROTOCOL_UDP,
} from './layout.ts';

/** UDP's header and VXLAN's behind it (RFC 7348, 5), and the port that IANA gave it. */
const VXLAN_BYTES: u32 = 16;
const VXLAN_PORT: u32 = 4789;
/** Flags of VXLAN: that there is a network identifier, and nothing else. */
const VXLAN_FLAGS: u8 = 8;
/**
 * Of GRE: its header without more, the flags that there are a checksum (RFC 2784, 2.1) and a key (RFC 2890, 2), 4 bytes each, and Ethernet
 * as what it carries (RFC 7637, 3.2).
 */
const GRE_BYTES: u32 = 4;
const GRE_CSUM: u32 = 0x8000;
const GRE_KEY: u32 = 0x2000;
const GRE_ETHERNET: u32 = 0x6558;
/** Farther in the frame than any tunnel of ours begins: offsets of network headers have 8 bits. */
const L3_MAX: u32 = 160;

/** Whether the header at `header`, of IP protocol `protocol`, is one of GRE with a checksum. */
export function hasGreChecksum(protocol: u32, header: u32): bool {
  return protocol === PROTOCOL_GRE && (loadNetwork16(header) & GRE_CSUM) !== 0;
}

/**
 * The headers of the TCP packet in a tunnel, of which `outer` are those outside, as `parseHeaders` packs them: VXLAN, GRE with
 * checksum and key or without, or IP in IP. 0 when there is none, or the tunnel has something else, such as GRE's sequence numbers.
 */
export function innerHeaders(slot: u32, outer: u64): u64 {
  const l4 = headersL4(outer);
  if (l4 === 0 || l4 > L3_MAX) return 0;
  const length: u32 = load<u16>(slot, SLOT_LENGTH);
  const frame = frameAddress(slot);
  const header = frame + l4;
  const protocol = headersProtocol(outer);
  let at = l4;
  let type = protocol === PROTOCOL_IPV6 ? ETHERTYPE_IPV6 : ETHERTYPE_IPV4;
  let isEthernet = false;
  if (protocol === PROTOCOL_GRE) {
    if (l4 + GRE_BYTES > length) return 0;
    const flags = loadNetwork16(header);
    if (flags & ~(GRE_CSUM | GRE_KEY)) return 0;
    type = loadNetwork16(header + 2);
    at += GRE_BYTES + (popcnt<u32>(flags) << 2);
    isEthernet = type === GRE_ETHERNET;
  } else if (protocol === PROTOCOL_UDP) {
    at += VXLAN_BYTES;
    if (at > length || loadNetwork16(header + 2) !== VXLAN_PORT || load<u8>(header, 8) !== VXLAN_FLAGS) return 0;
    isEthernet = true;
  } else if (protocol !== PROTOCOL_IPIP && protocol !== PROTOCOL_IPV6) return 0;
  if (isEthernet) at += ETHERNET_BYTES;
  if (at > length) return 0;
  const inner = isEthernet ? parseEthernet(frame, length, at) : parseNetwork(frame, length, at, type);
  return headersProtocol(inner) === PROTOCOL_TCP && headersFlags(inner) & HEADERS_PORTS ? inner : 0;
}
