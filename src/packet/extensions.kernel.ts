import { extensionBytes } from './headers.kernel.ts';
import {
  IPV6_BYTES,
  OPTION_HOME_ADDRESS,
  OPTION_PAD1,
  PROTOCOL_DESTINATION_OPTIONS,
  PROTOCOL_HOP_BY_HOP,
  PROTOCOL_ROUTING,
  ROUTING_TYPE_2,
} from './layout.ts';

/** Address of the home address among the destination options at `header`, which are whole; 0 when it is not there. */
export function homeAddress(header: u32): u32 {
  const end = header + extensionBytes(header, PROTOCOL_DESTINATION_OPTIONS);
  let at = header + 2;
  while (at + 2 <= end) {
    const type: u32 = load<u8>(at);
    if (type === OPTION_PAD1) {
      at++;
      continue;
    }
    const length: u32 = load<u8>(at, 1);
    if (type === OPTION_HOME_ADDRESS && length === 16 && at + 18 <= end) return at + 2;
    at += 2 + length;
  }
  return 0;
}

/** Address of the home address in the routing header at `header`, which is whole; 0 when it is of another type. */
export function routedHomeAddress(header: u32): u32 {
  const isType2 = load<u8>(header, 2) === <u8>ROUTING_TYPE_2 && extensionBytes(header, PROTOCOL_ROUTING) === 24;
  return isType2 ? header + 8 : 0;
}

/**
 * True when the extension headers between the IPv6 header at `ip` and `end`, whole ones, may be repeated in each segment
 * of a packet, and leave the pseudo header's addresses what they are: hop-by-hop and destination options without a
 * home address (RFC 6275, 6.3), and a routing header that has no more to say (RFC 8200, 8.1).
 */
export function areExtensionsPlain(ip: u32, end: u32): bool {
  let protocol: u32 = load<u8>(ip, 6);
  let at = ip + IPV6_BYTES;
  while (at < end) {
    if (protocol === PROTOCOL_ROUTING) {
      if (load<u8>(at, 3) !== 0) return false;
    } else if (protocol === PROTOCOL_DESTINATION_OPTIONS) {
      if (homeAddress(at) !== 0) return false;
    } else if (protocol !== PROTOCOL_HOP_BY_HOP) {
      return false;
    }
    const header = at;
    at += extensionBytes(header, protocol);
    protocol = load<u8>(header);
  }
  return true;
}
