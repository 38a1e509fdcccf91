import { SLOT_LENGTH, SLOT_SHIFT } from '../memory/layout.ts';
import { homeAddress, routedHomeAddress } from './extensions.kernel.ts';
import { toeplitzWords } from './flow.kernel.ts';
import {
  extensionBytes,
  frameAddress,
  headersFlags,
  headersL3,
  headersL4,
  headersProtocol,
  isIpv6Extension,
  parseHeaders,
} from './headers.kernel.ts';
import {
  EXTENSIONS_MAX,
  HASH_REPORT_IPV4,
  HASH_REPORT_IPV6,
  HASH_REPORT_IPV6_EX,
  HASH_REPORT_NONE,
  HEADERS_IPV4,
  HEADERS_IPV6,
  HEADERS_PORTS,
  IPV6_BYTES,
  PROTOCOL_DESTINATION_OPTIONS,
  PROTOCOL_FRAGMENT,
  PROTOCOL_ROUTING,
  PROTOCOL_TCP,
  PROTOCOL_UDP,
  RSS_KEY,
  RSS_RESULT_HASH,
  RSS_RESULT_QUEUE,
  RSS_RESULT_REPORT,
  RSS_RESULT_SHIFT,
  RSS_TABLE,
  RSS_TABLE_MASK,
  RSS_TYPES,
  RSS_UNCLASSIFIED_QUEUE,
} from './layout.ts';

/** From a report on IP alone to that on TCP, and to that on UDP: in all three families. */
const REPORT_TCP: u32 = 1;
const REPORT_UDP: u32 = 2;

/** The report of `base`, a family's report on IP alone, that `types` allow; HASH_REPORT_NONE when there is none. */
function reportOf(types: u32, base: u32, headers: u64): u32 {
  const protocol = headersProtocol(headers);
  const hasPorts = (headersFlags(headers) & HEADERS_PORTS) !== 0;
  const tcp = base + REPORT_TCP;
  const udp = base + REPORT_UDP;
  if (hasPorts && protocol === PROTOCOL_TCP && types & (1 << (tcp - 1))) return tcp;
  if (hasPorts && protocol === PROTOCOL_UDP && types & (1 << (udp - 1))) return udp;
  return types & (1 << (base - 1)) ? base : HASH_REPORT_NONE;
}

/**
 * Address of the home address that an extension header of type `wanted` of the IPv6 header at `ip` has, which ends
 * before `end`; `otherwise` when there is none.
 */
function addressFromExtension(ip: u32, end: u32, wanted: u32, otherwise: u32): u32 {
  let protocol: u32 = load<u8>(ip, 6);
  let at = ip + IPV6_BYTES;
  for (let i: u32 = 0; i <= EXTENSIONS_MAX && isIpv6Extension(protocol) && at + 8 <= end; i++) {
    const next = at + extensionBytes(at, protocol);
    if (next > end) break;
    if (protocol === wanted) {
      const found = wanted === PROTOCOL_ROUTING ? routedHomeAddress(at) : homeAddress(at);
      if (found !== 0) return found;
    }
    // Behind the header of a fragment there is only what the first one has.
    if (protocol === PROTOCOL_FRAGMENT) break;
    protocol = load<u8>(at);
    at = next;
  }
  return otherwise;
}

/** Says of the packet at `slot`, at `result`, its hash, what that is of, and the queue it belongs to. */
function hashOne(slot: u32, config: u32, result: u32): void {
  const headers = parseHeaders(slot);
  const flags = headersFlags(headers);
  const frame = frameAddress(slot);
  const ip = frame + headersL3(headers);
  const types = load<u32>(config, RSS_TYPES);
  const key = config + RSS_KEY;
  let report = HASH_REPORT_NONE;
  let hash: u32 = 0;
  let words: u32 = 8;
  if (flags & HEADERS_IPV4) {
    report = reportOf(types, HASH_REPORT_IPV4, headers);
    words = 2;
    hash = toeplitzWords(0, ip + 12, words, key, 0);
  } else if (flags & HEADERS_IPV6) {
    if (isIpv6Extension(load<u8>(ip, 6))) report = reportOf(types, HASH_REPORT_IPV6_EX, headers);
    if (report === HASH_REPORT_NONE) {
      report = reportOf(types, HASH_REPORT_IPV6, headers);
      hash = toeplitzWords(0, ip + 8, words, key, 0);
    } else {
      const end = frame + load<u16>(slot, SLOT_LENGTH);
      const source = addressFromExtension(ip, end, PROTOCOL_DESTINATION_OPTIONS, ip + 8);
      const destination = addressFromExtension(ip, end, PROTOCOL_ROUTING, ip + 24);
      hash = toeplitzWords(toeplitzWords(0, source, 4, key, 0), destination, 4, key, 4);
    }
  }
  const isOfIp = report === HASH_REPORT_IPV4 || report === HASH_REPORT_IPV6 || report === HASH_REPORT_IPV6_EX;
  if (report === HASH_REPORT_NONE) {
    hash = 0;
  } else if (!isOfIp) {
    hash = toeplitzWords(hash, frame + headersL4(headers), 1, key, words);
  }
  const place = hash & load<u16>(config, RSS_TABLE_MASK);
  const queue =
    report === HASH_REPORT_NONE
      ? load<u16>(config, RSS_UNCLASSIFIED_QUEUE)
      : load<u16>(config + RSS_TABLE + (place << 1));
  store<u32>(result, hash, RSS_RESULT_HASH);
  store<u16>(result, <u16>report, RSS_RESULT_REPORT);
  store<u16>(result, queue, RSS_RESULT_QUEUE);
}

/**
 * Calculates for `count` packets at `slots` what a device with VIRTIO_NET_F_RSS and VIRTIO_NET_F_HASH_REPORT says of
 * each (virtio 1.2, 5.1.6.4.3 and 5.1.6.4.4), by the types, key and table at `config` (RSS_…). Writes 8 bytes a packet to
 * `target` (RSS_RESULT_…): a packet of no type that is set has no hash, and the unclassified queue.
 */
export function rssHash(slots: u32, count: u32, config: u32, target: u32): void {
  for (let i: u32 = 0; i < count; i++) hashOne(slots + (i << SLOT_SHIFT), config, target + (i << RSS_RESULT_SHIFT));
}
