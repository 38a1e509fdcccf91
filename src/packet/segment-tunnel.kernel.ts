// What cutting does outside of a tunnel (`tunnel.kernel.ts`).
import { frameLength } from '../memory/chain.kernel.ts';
import { SLOT_LENGTH } from '../memory/layout.ts';
import { addressSum, checksum } from './checksum.kernel.ts';
import { areExtensionsPlain } from './extensions.kernel.ts';
import { frameAddress, headersFlags, headersL3, headersL4, headersProtocol, loadNetwork16 } from './headers.kernel.ts';
import {
  BAD_GSO_HEADERS,
  BAD_GSO_LENGTHS,
  GRE_CSUM_OFFSET,
  HEADERS_IPV4,
  IPV4_BYTES,
  IPV6_BYTES,
  PROTOCOL_UDP,
  SEGMENT_HEADER,
  SEGMENT_OUTER,
  SEGMENT_OUTER_L4,
  SEGMENT_OUTER_PROTOCOL,
  SEGMENT_OUTER_STEP,
  UDP_BYTES,
  UDP_CSUM_OFFSET,
} from './layout.ts';
import { hasGreChecksum } from './tunnel.kernel.ts';

/** Notes where the headers `outer` are, whose IP is a plain one, and whether lengths say what the frame's does. 0, or why not. */
export function planOuter(slot: u32, work: u32, outer: u64, isFixed: bool): u32 {
  const l3 = headersL3(outer);
  const l4 = headersL4(outer);
  const frame = frameAddress(slot);
  const ip = frame + l3;
  const isV4 = (headersFlags(outer) & HEADERS_IPV4) !== 0;
  const length = frameLength(slot);
  if (l4 === 0 || (isV4 ? l4 !== l3 + IPV4_BYTES : !areExtensionsPlain(ip, frame + l4))) return BAD_GSO_HEADERS;
  const total = isV4 ? loadNetwork16(ip + 2) : loadNetwork16(ip + 4) + IPV6_BYTES;
  if (total !== length - l3) return BAD_GSO_LENGTHS;
  if (headersProtocol(outer) === PROTOCOL_UDP) {
    if (l4 + UDP_BYTES > <u32>load<u16>(slot, SLOT_LENGTH)) return BAD_GSO_HEADERS;
    if (loadNetwork16(frame + l4 + 4) !== length - l4) return BAD_GSO_LENGTHS;
  }
  store<u32>(work, l3, SEGMENT_OUTER);
  store<u32>(work, l4, SEGMENT_OUTER_L4);
  store<u32>(work, headersProtocol(outer), SEGMENT_OUTER_PROTOCOL);
  store<u32>(work, isFixed ? 0 : 1, SEGMENT_OUTER_STEP);
  return 0;
}

/** Sets what differs outside of the tunnel of segment `index`, whose payload of `payload` bytes sums to `sum`; the rest is done. */
export function finishOuterHeaders(work: u32, frame: u32, index: u32, payload: u32, sum: u32): void {
  const l3 = load<u32>(work, SEGMENT_OUTER);
  const header = load<u32>(work, SEGMENT_HEADER);
  const l4 = load<u32>(work, SEGMENT_OUTER_L4);
  const ip = frame + l3;
  const isV4 = load<u8>(ip) >> 4 === 4;
  const length = header + payload - l4;
  if (isV4) {
    const identification = loadNetwork16(ip + 4) + index * load<u32>(work, SEGMENT_OUTER_STEP);
    store<u16>(ip, bswap<u16>(<u16>(IPV4_BYTES + length)), 2);
    store<u16>(ip, bswap<u16>(<u16>identification), 4);
    store<u16>(ip, 0, 10);
    store<u16>(ip, bswap<u16>(<u16>(checksum(ip, IPV4_BYTES, 0) ^ 0xffff)), 10);
  } else {
    store<u16>(ip, bswap<u16>(<u16>(l4 - l3 - IPV6_BYTES + length)), 4);
  }
  const protocol = load<u32>(work, SEGMENT_OUTER_PROTOCOL);
  const upper = frame + l4;
  if (hasGreChecksum(protocol, upper)) {
    store<u16>(upper, 0, GRE_CSUM_OFFSET);
    store<u16>(upper, bswap<u16>(<u16>(checksum(upper, header - l4, sum) ^ 0xffff)), GRE_CSUM_OFFSET);
  }
  if (protocol !== PROTOCOL_UDP) return;
  store<u16>(upper, bswap<u16>(<u16>length), 4);
  if (load<u16>(upper, UDP_CSUM_OFFSET) === 0) return;
  store<u16>(upper, 0, UDP_CSUM_OFFSET);
  const complement = checksum(upper, header - l4, addressSum(ip, isV4, PROTOCOL_UDP) + length + sum) ^ 0xffff;
  // 0 would say that there is none (RFC 768).
  store<u16>(upper, complement === 0 ? 0xffff : bswap<u16>(<u16>complement), UDP_CSUM_OFFSET);
}
