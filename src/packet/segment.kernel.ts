import { frameLength } from '../memory/chain.kernel.ts';
import {
  BUFFER_CSUM_OFFSET,
  BUFFER_CSUM_START,
  BUFFER_FRAME_MAX,
  BUFFER_GSO_SIZE,
  BUFFER_GSO_TYPE,
  BUFFER_HEADROOM,
  BUFFER_LENGTH,
  BUFFER_NEXT,
  BUFFER_OFFLOAD_FLAGS,
  BUFFER_OFFSET,
  BUFFER_REFERENCES,
  BUFFER_SECONDS,
  BUFFER_TOTAL,
  BUFFER_WIRE_LENGTH,
  GSO_ECN,
  GSO_NONE,
  GSO_TCPV4,
  GSO_TCPV6,
  GSO_TUNNEL,
  GSO_TUNNEL_FIXED,
  GSO_UDP_L4,
  HDR_NEEDS_CSUM,
  SEGMENTS_MAX,
  SLOT_BUFFER,
  SLOT_FLAG_CHAINED,
  SLOT_FLAG_OFFLOAD,
  SLOT_FLAG_TIMED,
  SLOT_FLAGS,
  SLOT_FLOW,
  SLOT_LENGTH,
  SLOT_SHIFT,
} from '../memory/layout.ts';
import { alloc, allocBuffer, free } from '../memory/pool.kernel.ts';
import { addressSum, checksum, copyChecksum, oddSum } from './checksum.kernel.ts';
import { areExtensionsPlain } from './extensions.kernel.ts';
import {
  frameAddress,
  headersFlags,
  headersL3,
  headersL4,
  headersProtocol,
  loadNetwork16,
  parseHeaders,
} from './headers.kernel.ts';
import {
  BAD_CHECKSUM_RANGE,
  BAD_GSO_HEADERS,
  BAD_GSO_LENGTHS,
  BAD_GSO_SIZE,
  BAD_GSO_TCP_FLAGS,
  BAD_GSO_TYPE,
  GSO_SEGMENTS_MAX,
  HEADERS_IPV4,
  IPV6_BYTES,
  PROTOCOL_TCP,
  PROTOCOL_UDP,
  SEGMENT_ADDRESS_SUM,
  SEGMENT_COUNT,
  SEGMENT_HEADER,
  SEGMENT_L3,
  SEGMENT_L4,
  SEGMENT_OUTER,
  SEGMENT_PAYLOAD,
  SEGMENT_PROTOCOL,
  SEGMENT_SIZE,
  SEGMENT_SLOTS,
  SEGMENT_SOURCE,
  SEGMENT_SOURCE_AT,
  SEGMENT_SOURCE_LEFT,
  TCP_BYTES,
  TCP_CSUM_OFFSET,
  UDP_BYTES,
  UDP_CSUM_OFFSET,
} from './layout.ts';
import { finishChecksum } from './offload.kernel.ts';
import { finishOuterHeaders, planOuter } from './segment-tunnel.kernel.ts';
import { innerHeaders } from './tunnel.kernel.ts';

/** TCP flags (RFC 9293, 3.1): FIN and PSH belong to the last segment, CWR to the first (RFC 3168, 6.1.2). */
const TCP_FIN_PSH: u32 = 0x09;
const TCP_SYN_RST_URG: u32 = 0x26;
const TCP_CWR: u32 = 0x80;

/** Checks the transport header against the request's words. Returns its bytes in `work`; 0, or why it is refused. */
function planTransport(slot: u32, work: u32): u32 {
  const buffer = load<u32>(slot, SLOT_BUFFER);
  const first: u32 = load<u16>(slot, SLOT_LENGTH);
  const l4 = load<u32>(work, SEGMENT_L4);
  const header = frameAddress(slot) + l4;
  const isTcp = load<u32>(work, SEGMENT_PROTOCOL) === PROTOCOL_TCP;
  if (l4 + (isTcp ? TCP_BYTES : UDP_BYTES) > first) return BAD_GSO_HEADERS;
  const bytes: u32 = isTcp ? (<u32>load<u8>(header, 12) >> 4) << 2 : UDP_BYTES;
  if ((isTcp && bytes < TCP_BYTES) || l4 + bytes > first || l4 + bytes > BUFFER_FRAME_MAX) return BAD_GSO_HEADERS;
  const field = isTcp ? TCP_CSUM_OFFSET : UDP_CSUM_OFFSET;
  if (load<u16>(buffer, BUFFER_CSUM_START) !== <u16>l4 || load<u16>(buffer, BUFFER_CSUM_OFFSET) !== <u16>field) {
    return BAD_CHECKSUM_RANGE;
  }
  const length = frameLength(slot);
  if (!isTcp && loadNetwork16(header + 4) !== length - l4) return BAD_GSO_LENGTHS;
  if (isTcp && load<u8>(header, 13) & TCP_SYN_RST_URG) return BAD_GSO_TCP_FLAGS;
  const payload = length - l4 - bytes;
  const size: u32 = load<u16>(buffer, BUFFER_GSO_SIZE);
  // What fits one segment is one, and so is an empty one: it still has to get its checksum.
  const count = max((payload + size - 1) / size, 1);
  if (count > GSO_SEGMENTS_MAX) return BAD_GSO_SIZE;
  store<u32>(work, count, SEGMENT_COUNT);
  store<u32>(work, l4 + bytes, SEGMENT_HEADER);
  store<u32>(work, payload, SEGMENT_PAYLOAD);
  store<u32>(work, size, SEGMENT_SIZE);
  return 0;
}

/**
 * Finds in the frame itself what its segments need, since hdr_len is a hint only (virtio 1.1, 5.1.6.2), and whether it
 * is what the request says. Returns 0, or why it is refused.
 */
function plan(slot: u32, work: u32): u32 {
  const buffer = load<u32>(slot, SLOT_BUFFER);
  const request: u32 = load<u8>(buffer, BUFFER_GSO_TYPE);
  const isTunnel = (request & GSO_TUNNEL) !== 0;
  const type = request & (GSO_ECN - 1) & ~(isTunnel ? GSO_TUNNEL_FIXED : 0);
  const isUdp = type === GSO_UDP_L4;
  if (!isUdp && type !== GSO_TCPV4 && type !== GSO_TCPV6) return BAD_GSO_TYPE;
  if (isUdp && request !== type) return BAD_GSO_TYPE;
  if (!(load<u8>(buffer, BUFFER_OFFLOAD_FLAGS) & HDR_NEEDS_CSUM)) return BAD_GSO_TYPE;
  if (load<u16>(buffer, BUFFER_GSO_SIZE) === 0) return BAD_GSO_SIZE;

  const outer = parseHeaders(slot);
  store<u32>(work, 0, SEGMENT_OUTER);
  if (isTunnel) {
    const refused = planOuter(slot, work, outer, (request & GSO_TUNNEL_FIXED) === GSO_TUNNEL_FIXED);
    if (refused !== 0) return refused;
  }
  const headers = isTunnel ? innerHeaders(slot, outer) : outer;
  const l3 = headersL3(headers);
  const l4 = headersL4(headers);
  const protocol = headersProtocol(headers);
  const isV4 = (headersFlags(headers) & HEADERS_IPV4) !== 0;
  if (l4 === 0 || protocol !== (isUdp ? PROTOCOL_UDP : PROTOCOL_TCP)) return BAD_GSO_HEADERS;
  if ((type === GSO_TCPV4 && !isV4) || (type === GSO_TCPV6 && isV4)) return BAD_GSO_HEADERS;
  const ip = frameAddress(slot) + l3;
  if (!isV4 && !areExtensionsPlain(ip, frameAddress(slot) + l4)) return BAD_GSO_HEADERS;
  const total = isV4 ? loadNetwork16(ip + 2) : loadNetwork16(ip + 4) + IPV6_BYTES;
  if (total !== frameLength(slot) - l3) return BAD_GSO_LENGTHS;
  store<u32>(work, l3, SEGMENT_L3);
  store<u32>(work, l4, SEGMENT_L4);
  store<u32>(work, protocol, SEGMENT_PROTOCOL);
  store<u32>(work, addressSum(ip, isV4, protocol), SEGMENT_ADDRESS_SUM);
  return planTransport(slot, work);
}

/** Notes that the next byte to copy is byte `skip` of the frame at `slot`. */
function seek(slot: u32, work: u32, skip: u32): void {
  let buffer = load<u32>(slot, SLOT_BUFFER);
  let at = frameAddress(slot);
  let left: u32 = load<u16>(slot, SLOT_LENGTH);
  const isChained = (load<u8>(slot, SLOT_FLAGS) & SLOT_FLAG_CHAINED) !== 0;
  for (let i: u32 = 1; i < SEGMENTS_MAX && isChained && skip >= left; i++) {
    const next = load<u32>(buffer, BUFFER_NEXT);
    if (next === 0) break;
    skip -= left;
    buffer = next;
    at = buffer + load<u16>(buffer, BUFFER_OFFSET);
    left = load<u16>(buffer, BUFFER_LENGTH);
  }
  assert(skip <= left);
  store<u32>(work, buffer, SEGMENT_SOURCE);
  store<u32>(work, at + skip, SEGMENT_SOURCE_AT);
  store<u32>(work, left - skip, SEGMENT_SOURCE_LEFT);
}

/** Copies the next `length` bytes to `target`. Returns their ones' complement sum, the first being at an even place. */
function copyNext(work: u32, target: u32, length: u32): u32 {
  let sum: u32 = 0;
  let done: u32 = 0;
  while (done < length) {
    const left = load<u32>(work, SEGMENT_SOURCE_LEFT);
    if (left === 0) {
      const buffer = load<u32>(load<u32>(work, SEGMENT_SOURCE), BUFFER_NEXT);
      // A chain is as long as its first buffer says.
      assert(buffer !== 0);
      if (buffer === 0) break;
      store<u32>(work, buffer, SEGMENT_SOURCE);
      store<u32>(work, buffer + load<u16>(buffer, BUFFER_OFFSET), SEGMENT_SOURCE_AT);
      store<u32>(work, load<u16>(buffer, BUFFER_LENGTH), SEGMENT_SOURCE_LEFT);
      continue;
    }
    const at = load<u32>(work, SEGMENT_SOURCE_AT);
    const n = min(left, length - done);
    const part = copyChecksum(target + done, at, n);
    sum += done & 1 ? oddSum(part) : part;
    store<u32>(work, at + n, SEGMENT_SOURCE_AT);
    store<u32>(work, left - n, SEGMENT_SOURCE_LEFT);
    done += n;
  }
  return sum;
}

/**
 * Puts the next `length` bytes behind the `header` bytes of the packet at `slot`, in as many buffers as they need.
 * Returns their sum, or -1 when the pool is exhausted: the packet is freed then.
 */
function fillNext(cache: u32, work: u32, slot: u32, header: u32, length: u32): i32 {
  const first = load<u32>(slot, SLOT_BUFFER);
  let done = min(length, BUFFER_FRAME_MAX - header);
  let sum = copyNext(work, first + BUFFER_HEADROOM + header, done);
  store<u16>(slot, <u16>(header + done), SLOT_LENGTH);
  if (done < length) {
    store<u32>(first, 0, BUFFER_NEXT);
    store<u32>(first, header + length, BUFFER_TOTAL);
    store<u8>(slot, load<u8>(slot, SLOT_FLAGS) | <u8>SLOT_FLAG_CHAINED, SLOT_FLAGS);
  }
  for (let last = first; done < length; ) {
    const buffer = allocBuffer(cache);
    if (buffer === 0) {
      free(cache, slot, 1);
      return -1;
    }
    const n = min(length - done, BUFFER_FRAME_MAX);
    const part = copyNext(work, buffer + BUFFER_HEADROOM, n) % 0xffff;
    sum += done & 1 ? oddSum(part) : part;
    store<u32>(buffer, 1, BUFFER_REFERENCES);
    store<u32>(buffer, 0, BUFFER_NEXT);
    store<u16>(buffer, <u16>BUFFER_HEADROOM, BUFFER_OFFSET);
    store<u16>(buffer, <u16>n, BUFFER_LENGTH);
    store<u32>(last, buffer, BUFFER_NEXT);
    last = buffer;
    done += n;
  }
  return <i32>sum;
}

/** Copies `length` (16 or more) bytes, the last ones twice when they are no whole 16. */
function copyHeader(target: u32, source: u32, length: u32): void {
  for (let at: u32 = 0; at + 16 <= length; at += 16) v128.store(target + at, v128.load(source + at));
  v128.store(target + length - 16, v128.load(source + length - 16));
}

/** Sets what differs in the headers of segment `index`, which carries `payload` bytes that sum to `sum`. */
function finishHeaders(work: u32, frame: u32, index: u32, payload: u32, sum: u32): void {
  const l4 = load<u32>(work, SEGMENT_L4);
  const ip = frame + load<u32>(work, SEGMENT_L3);
  const upper = frame + l4;
  const bytes = load<u32>(work, SEGMENT_HEADER) - l4;
  const length = bytes + payload;
  if (load<u8>(ip) >> 4 === 4) {
    const ipBytes = upper - ip;
    store<u16>(ip, bswap<u16>(<u16>(ipBytes + length)), 2);
    store<u16>(ip, bswap<u16>(<u16>(loadNetwork16(ip + 4) + index)), 4);
    store<u16>(ip, 0, 10);
    store<u16>(ip, bswap<u16>(<u16>(checksum(ip, ipBytes, 0) ^ 0xffff)), 10);
  } else {
    store<u16>(ip, bswap<u16>(<u16>(upper - ip - IPV6_BYTES + length)), 4);
  }
  const initial = load<u32>(work, SEGMENT_ADDRESS_SUM) + length + sum;
  if (load<u32>(work, SEGMENT_PROTOCOL) === PROTOCOL_UDP) {
    store<u16>(upper, bswap<u16>(<u16>length), 4);
    store<u16>(upper, 0, UDP_CSUM_OFFSET);
    const complement = checksum(upper, bytes, initial) ^ 0xffff;
    // 0 would say that there is none (RFC 768).
    store<u16>(upper, complement === 0 ? 0xffff : bswap<u16>(<u16>complement), UDP_CSUM_OFFSET);
    return;
  }
  const sequence = bswap<u32>(load<u32>(upper, 4)) + index * load<u32>(work, SEGMENT_SIZE);
  let flags: u32 = load<u8>(upper, 13);
  if (index > 0) flags &= ~TCP_CWR;
  if (index + 1 < load<u32>(work, SEGMENT_COUNT)) flags &= ~TCP_FIN_PSH;
  store<u32>(upper, bswap<u32>(sequence), 4);
  store<u8>(upper, <u8>flags, 13);
  store<u16>(upper, 0, TCP_CSUM_OFFSET);
  store<u16>(upper, bswap<u16>(<u16>(checksum(upper, bytes, initial) ^ 0xffff)), TCP_CSUM_OFFSET);
  if (load<u32>(work, SEGMENT_OUTER) !== 0) finishOuterHeaders(work, frame, index, payload, sum);
}

/** Gives the packet at `target` the flow, port, event and time of the one at `slot`; it keeps its length. */
function inherit(slot: u32, target: u32, wireLength: u32): void {
  const own = load<u8>(target, SLOT_FLAGS);
  const timed = load<u8>(slot, SLOT_FLAGS) & <u8>SLOT_FLAG_TIMED;
  store<u64>(target, load<u64>(slot, SLOT_FLOW), SLOT_FLOW);
  store<u8>(target, own | timed, SLOT_FLAGS);
  if (timed === 0) return;
  const to = load<u32>(target, SLOT_BUFFER);
  store<u64>(to, load<u64>(load<u32>(slot, SLOT_BUFFER), BUFFER_SECONDS), BUFFER_SECONDS);
  store<u32>(to, wireLength, BUFFER_WIRE_LENGTH);
}

/** Makes a copy of a packet that needs no segments, with its checksum. Returns 1, 0 without a buffer, or a refusal. */
function copyFinished(cache: u32, slot: u32, work: u32): i32 {
  const out = work + SEGMENT_SLOTS;
  const length = frameLength(slot);
  const from = load<u32>(slot, SLOT_BUFFER);
  store<u32>(work, 1, SEGMENT_COUNT);
  if (length > SEGMENTS_MAX * BUFFER_FRAME_MAX) return -(<i32>BAD_GSO_LENGTHS);
  if (alloc(cache, out, 1) === 0) return 0;
  seek(slot, work, 0);
  if (fillNext(cache, work, out, 0, length) < 0) return 0;
  inherit(slot, out, load<u32>(from, BUFFER_WIRE_LENGTH));
  if (!(load<u8>(slot, SLOT_FLAGS) & SLOT_FLAG_OFFLOAD)) return 1;
  if (!(load<u8>(from, BUFFER_OFFLOAD_FLAGS) & HDR_NEEDS_CSUM)) return 1;
  const to = load<u32>(out, SLOT_BUFFER);
  store<u16>(to, load<u16>(from, BUFFER_CSUM_START), BUFFER_CSUM_START);
  store<u16>(to, load<u16>(from, BUFFER_CSUM_OFFSET), BUFFER_CSUM_OFFSET);
  const refused = finishChecksum(out);
  if (refused === 0) return 1;
  free(cache, out, 1);
  return -(<i32>refused);
}

/**
 * Makes, of the packet at `slot`, what a wire can carry, in buffers of its own: segments `from`, `from` + 1, … of the
 * SEGMENT_COUNT that its request calls for; or one copy with its checksum, when it asks for no more. The packet itself
 * stays as it is, so it may be shared; the caller goes on where this stopped, and then frees it. `work` is the address
 * of SEGMENT_BYTES: slots of up to `max` (1 to 32) segments are at SEGMENT_SLOTS afterwards. Returns how many; 0 when
 * the pool is exhausted or there is no segment `from`; the negative of a BAD_… reason when the request is refused.
 */
export function segment(cache: u32, slot: u32, from: u32, max: u32, work: u32): i32 {
  const isPlain = !(load<u8>(slot, SLOT_FLAGS) & SLOT_FLAG_OFFLOAD);
  if (isPlain || load<u8>(load<u32>(slot, SLOT_BUFFER), BUFFER_GSO_TYPE) === <u8>GSO_NONE) {
    return from === 0 ? copyFinished(cache, slot, work) : 0;
  }
  const refused = plan(slot, work);
  if (refused !== 0) return -(<i32>refused);
  const count = load<u32>(work, SEGMENT_COUNT);
  if (from >= count) return 0;

  const header = load<u32>(work, SEGMENT_HEADER);
  const payload = load<u32>(work, SEGMENT_PAYLOAD);
  const size = load<u32>(work, SEGMENT_SIZE);
  const out = work + SEGMENT_SLOTS;
  const want = min(max, count - from);
  // Segments of several buffers get theirs one after another, or first buffers would leave none for the others.
  const step = header + size <= BUFFER_FRAME_MAX ? want : 1;
  let held: u32 = 0;
  let done: u32 = 0;
  seek(slot, work, header + from * size);
  for (; done < want; done++) {
    const target = out + (done << SLOT_SHIFT);
    // A dry pool may give some more the next time: another lcore frees meanwhile.
    if (done === held) held += alloc(cache, target, min(step, want - done));
    if (done === held) break;
    const length = min(size, payload - (from + done) * size);
    const frame = load<u32>(target, SLOT_BUFFER) + BUFFER_HEADROOM;
    copyHeader(frame, frameAddress(slot), header);
    const sum = fillNext(cache, work, target, header, length);
    if (sum < 0) break;
    finishHeaders(work, frame, from + done, length, <u32>sum);
    inherit(slot, target, header + length);
  }
  return <i32>done;
}
