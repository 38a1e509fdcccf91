import {
  BUFFER_CSUM_OFFSET,
  BUFFER_CSUM_START,
  BUFFER_GSO_SIZE,
  BUFFER_GSO_TYPE,
  BUFFER_HEADER_LENGTH,
  BUFFER_LENGTH,
  BUFFER_NEXT,
  BUFFER_OFFLOAD_FLAGS,
  BUFFER_OFFSET,
  BUFFER_REFERENCES,
  BUFFER_TOTAL,
  BUFFER_WIRE_LENGTH,
  GSO_TCPV4,
  GSO_TCPV6,
  GSO_TUNNEL,
  GSO_TUNNEL_FIXED,
  HDR_NEEDS_CSUM,
  SEGMENTS_MAX,
  SLOT_BUFFER,
  SLOT_FLAG_CHAINED,
  SLOT_FLAG_OFFLOAD,
  SLOT_FLAG_TIMED,
  SLOT_FLAGS,
  SLOT_LENGTH,
  SLOT_OFFSET,
  SLOT_SHIFT,
} from '../memory/layout.ts';
import { addressSum, checksum } from './checksum.kernel.ts';
import { flowOf } from './flow.kernel.ts';
import {
  finishOuter,
  hasSameAddresses,
  hasSameIp,
  holdOuter,
  IP_MAX,
  isNextOuter,
  isPlainIp,
  isPlainOuter,
  isSameTunnel,
} from './gro-tunnel.kernel.ts';
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
  GRO_BUCKET_MASK,
  GRO_BUCKET_SHIFT,
  GRO_ENTRIES,
  GRO_ENTRY_SHIFT,
  GRO_HELD,
  GRO_MERGED,
  GRO_NEWEST,
  GRO_OLDEST,
  GRO_POLL,
  GRO_POLLS_MAX,
  GRO_READY,
  GRO_SLOTS,
  GRO_TABLE,
  GRO_TAKEN,
  GRO_WAYS,
  HEADERS_IPV4,
  HEADERS_PORTS,
  HELD_HEADER,
  HELD_IDENTIFICATION,
  HELD_L3,
  HELD_L4,
  HELD_LAST,
  HELD_NEWER,
  HELD_OLDER,
  HELD_OUTER,
  HELD_OUTER_STEP,
  HELD_SEGMENTS,
  HELD_SEQUENCE,
  HELD_SINCE,
  HELD_SIZE,
  HELD_TOTAL,
  IPV4_BYTES,
  IPV6_BYTES,
  OUTER_STAYS,
  PROTOCOL_TCP,
  TCP_BYTES,
  TCP_CSUM_OFFSET,
} from './layout.ts';
import { innerHeaders } from './tunnel.kernel.ts';

/** The TCP flag that segments in the middle of a stream have, and one that they may all have (RFC 9293, 3.1). */
const TCP_ACK: u32 = 0x10;
const TCP_ECE: u32 = 0x40;
/** FIN and PSH: cutting gives them to the last segment. */
const TCP_LAST: u32 = 0x09;

/** Moves the slot at `slot` behind those that are done. */
function pass(area: u32, slot: u32): void {
  const ready = load<u32>(area, GRO_READY);
  v128.store(area + GRO_SLOTS + (ready << SLOT_SHIFT), v128.load(slot));
  store<u32>(area, ready + 1, GRO_READY);
}

/**
 * Bytes of payload, when the packet at `slot` is a segment that may be merged: plain, whole, with right checksums, ACK and
 * no others than ECE, FIN and PSH set. 0 when it is not.
 */
function payloadOf(slot: u32, headers: u64, outer: u64): u32 {
  const flags: u32 = load<u8>(slot, SLOT_FLAGS);
  const length: u32 = load<u16>(slot, SLOT_LENGTH);
  // Chained, shared and unfinished ones stay as they are.
  if (flags & ~SLOT_FLAG_TIMED) return 0;
  if (flags !== 0 && load<u32>(load<u32>(slot, SLOT_BUFFER), BUFFER_WIRE_LENGTH) !== length) return 0;
  const frame = frameAddress(slot);
  const l4 = headersL4(headers);
  const ip = frame + headersL3(headers);
  const tcp = frame + l4;
  if (l4 + TCP_BYTES > length) return 0;
  const bytes: u32 = (<u32>load<u8>(tcp, 12) >> 4) << 2;
  if (bytes < TCP_BYTES || l4 + bytes >= length) return 0;
  if ((<u32>load<u8>(tcp, 13) & ~(TCP_LAST | TCP_ECE)) !== TCP_ACK) return 0;
  const isV4 = (headersFlags(headers) & HEADERS_IPV4) !== 0;
  if (!isPlainIp(ip, tcp, frame + length - ip, isV4)) return 0;
  if (load<u16>(tcp, TCP_CSUM_OFFSET) === 0xffff) return 0;
  const upper = length - l4;
  if (checksum(tcp, upper, addressSum(ip, isV4, PROTOCOL_TCP) + upper) !== 0xffff) return 0;
  return outer === 0 || isPlainOuter(slot, outer) ? upper - bytes : 0;
}

/** Whether the packets at `entry` and `slot` are of one flow: MAC addresses, VLANs, tunnel, IP addresses and ports. */
function isSameFlow(entry: u32, slot: u32, headers: u64, outer: u64): bool {
  const l3 = headersL3(headers);
  if (load<u16>(entry, HELD_L3) !== <u16>l3 || load<u8>(entry, HELD_OUTER) !== <u8>headersL3(outer)) return false;
  const a = frameAddress(entry);
  const b = frameAddress(slot);
  // 14, 18 or 22 bytes, some of them twice; in a tunnel there is more than that.
  if (load<u64>(a) !== load<u64>(b) || load<u64>(a, 6) !== load<u64>(b, 6)) return false;
  const ipA = a + l3;
  const ipB = b + l3;
  if (load<u32>(a + load<u16>(entry, HELD_L4)) !== load<u32>(b + headersL4(headers))) return false;
  if (!hasSameAddresses(ipA, ipB, (headersFlags(headers) & HEADERS_IPV4) !== 0)) return false;
  return outer === 0 ? load<u64>(ipA - 8) === load<u64>(ipB - 8) : isSameTunnel(a, b, outer, l3);
}

/** The entry of the flow of the packet at `slot`, 0 when none of it waits. */
function find(area: u32, hash: u32, slot: u32, headers: u64, outer: u64): u32 {
  const bucket = (hash & GRO_BUCKET_MASK) << GRO_BUCKET_SHIFT;
  const tags = v128.load(area + GRO_TABLE + bucket);
  let candidates = <u32>i32x4.bitmask(i32x4.eq(tags, i32x4.splat(hash)));
  while (candidates !== 0) {
    const index = (bucket >> 2) + ctz<u32>(candidates);
    const entry = area + GRO_ENTRIES + (index << GRO_ENTRY_SHIFT);
    if (isSameFlow(entry, slot, headers, outer)) return entry;
    candidates &= candidates - 1;
  }
  return 0;
}

/** Whether the options of two TCP headers of `bytes` bytes are the same. */
function hasSameOptions(a: u32, b: u32, bytes: u32): bool {
  for (let at = TCP_BYTES; at < bytes; at += 4) if (load<u32>(a + at) !== load<u32>(b + at)) return false;
  return true;
}

/**
 * Whether the segment at `slot`, of the flow of `entry`, is the next one, and would come out as it is when the two are cut
 * again: what cutting copies is the same, and what it counts has gone on by one segment.
 */
function isNext(entry: u32, slot: u32, headers: u64, payload: u32): bool {
  const l3 = headersL3(headers);
  const l4 = headersL4(headers);
  const a = frameAddress(entry);
  const b = frameAddress(slot);
  const tcpA = a + l4;
  const tcpB = b + l4;
  const header = <u32>load<u16>(slot, SLOT_LENGTH) - payload;
  if (bswap<u32>(load<u32>(tcpB, 4)) !== load<u32>(entry, HELD_SEQUENCE)) return false;
  if (payload > <u32>load<u16>(entry, HELD_SIZE) || header !== <u32>load<u16>(entry, HELD_HEADER)) return false;
  if (load<u32>(entry, HELD_TOTAL) + payload - l3 > IP_MAX || load<u32>(entry, HELD_SEGMENTS) >= SEGMENTS_MAX)
    return false;
  if (load<u8>(entry, SLOT_FLAGS) !== load<u8>(slot, SLOT_FLAGS)) return false;
  const ipA = a + l3;
  const ipB = b + l3;
  const isV4 = (headersFlags(headers) & HEADERS_IPV4) !== 0;
  if (!hasSameIp(ipA, ipB, l4 - l3, isV4)) return false;
  if (isV4 && loadNetwork16(ipB + 4) !== load<u32>(entry, HELD_IDENTIFICATION)) return false;
  // Acknowledgement, header length and flags; window and urgent pointer.
  if (load<u32>(tcpA, 8) !== load<u32>(tcpB, 8)) return false;
  if ((load<u16>(tcpA, 12) ^ load<u16>(tcpB, 12)) & <u16>~(TCP_LAST << 8)) return false;
  if (load<u16>(tcpA, 14) !== load<u16>(tcpB, 14) || load<u16>(tcpA, 18) !== load<u16>(tcpB, 18)) return false;
  return hasSameOptions(tcpA, tcpB, header - l4);
}

/** Sets what is outside of the tunnel of the packet in `entry`. Returns the bits of its request; 0 without a tunnel. */
function finishTunnel(entry: u32, frame: u32, total: u32): u32 {
  if (load<u8>(entry, HELD_OUTER) === 0) return 0;
  finishOuter(entry, frame, total);
  return load<u8>(entry, HELD_OUTER_STEP) === <u8>OUTER_STAYS ? GSO_TUNNEL_FIXED : GSO_TUNNEL;
}

/** Makes the segments of `entry` one packet that asks to be cut: lengths, checksums as far as they are asked for, words. */
function finish(entry: u32): void {
  const buffer = load<u32>(entry, SLOT_BUFFER);
  const frame = frameAddress(entry);
  const l3: u32 = load<u16>(entry, HELD_L3);
  const l4: u32 = load<u16>(entry, HELD_L4);
  const total = load<u32>(entry, HELD_TOTAL);
  const ip = frame + l3;
  const isV4 = load<u8>(ip) >> 4 === 4;
  if (isV4) {
    store<u16>(ip, bswap<u16>(<u16>(total - l3)), 2);
    store<u16>(ip, 0, 10);
    store<u16>(ip, bswap<u16>(<u16>(checksum(ip, IPV4_BYTES, 0) ^ 0xffff)), 10);
  } else {
    store<u16>(ip, bswap<u16>(<u16>(total - l3 - IPV6_BYTES)), 4);
  }
  // The carries are added back in by what sums nothing more.
  const pseudo = checksum(0, 0, addressSum(ip, isV4, PROTOCOL_TCP) + total - l4);
  store<u16>(frame + l4, bswap<u16>(<u16>pseudo), TCP_CSUM_OFFSET);
  store<u32>(buffer, total, BUFFER_TOTAL);
  store<u8>(buffer, <u8>HDR_NEEDS_CSUM, BUFFER_OFFLOAD_FLAGS);
  const type = (isV4 ? GSO_TCPV4 : GSO_TCPV6) | finishTunnel(entry, frame, total);
  store<u8>(buffer, <u8>type, BUFFER_GSO_TYPE);
  store<u16>(buffer, load<u16>(entry, HELD_HEADER), BUFFER_HEADER_LENGTH);
  store<u16>(buffer, load<u16>(entry, HELD_SIZE), BUFFER_GSO_SIZE);
  store<u16>(buffer, <u16>l4, BUFFER_CSUM_START);
  store<u16>(buffer, <u16>TCP_CSUM_OFFSET, BUFFER_CSUM_OFFSET);
  const flags = load<u8>(entry, SLOT_FLAGS);
  if (flags & SLOT_FLAG_TIMED) store<u32>(buffer, total, BUFFER_WIRE_LENGTH);
  store<u8>(entry, flags | <u8>(SLOT_FLAG_CHAINED | SLOT_FLAG_OFFLOAD), SLOT_FLAGS);
}

/** Moves what waits in `entry` behind what is done, as one packet; the entry is free then. */
function release(area: u32, entry: u32): void {
  const older = load<u32>(entry, HELD_OLDER);
  const newer = load<u32>(entry, HELD_NEWER);
  if (older === 0) store<u32>(area, newer, GRO_OLDEST);
  else store<u32>(older, newer, HELD_NEWER);
  if (newer === 0) store<u32>(area, older, GRO_NEWEST);
  else store<u32>(newer, older, HELD_OLDER);
  const index = (entry - area - GRO_ENTRIES) >> GRO_ENTRY_SHIFT;
  store<u32>(area + GRO_TABLE + (index << 2), 0);
  store<u32>(area, load<u32>(area, GRO_HELD) - 1, GRO_HELD);
  if (load<u32>(entry, HELD_SEGMENTS) > 1) finish(entry);
  pass(area, entry);
}

/** A free entry of the bucket of `hash`, which gets that tag; when there is none, the flow that waits longest gives way. */
function claim(area: u32, hash: u32): u32 {
  const bucket = (hash & GRO_BUCKET_MASK) << GRO_BUCKET_SHIFT;
  const tags = area + GRO_TABLE + bucket;
  const entries = area + GRO_ENTRIES + ((bucket >> 2) << GRO_ENTRY_SHIFT);
  let way: u32 = 0;
  let oldest: u32 = 0;
  for (let i: u32 = 0; i < GRO_WAYS; i++) {
    if (load<u32>(tags + (i << 2)) === 0) {
      store<u32>(tags + (i << 2), hash);
      return entries + (i << GRO_ENTRY_SHIFT);
    }
    const age = load<u32>(area, GRO_POLL) - load<u32>(entries + (i << GRO_ENTRY_SHIFT), HELD_SINCE);
    if (age > oldest) {
      oldest = age;
      way = i;
    }
  }
  const entry = entries + (way << GRO_ENTRY_SHIFT);
  release(area, entry);
  store<u32>(tags + (way << 2), hash);
  return entry;
}

/** Lets the segment at `slot`, the first of its flow, wait for the next ones. */
function hold(area: u32, hash: u32, slot: u32, headers: u64, outer: u64, payload: u32): void {
  const entry = claim(area, hash);
  const frame = frameAddress(slot);
  const length: u32 = load<u16>(slot, SLOT_LENGTH);
  const l3 = headersL3(headers);
  const l4 = headersL4(headers);
  v128.store(entry, v128.load(slot));
  store<u32>(entry, load<u32>(slot, SLOT_BUFFER), HELD_LAST);
  store<u32>(entry, bswap<u32>(load<u32>(frame + l4, 4)) + payload, HELD_SEQUENCE);
  store<u32>(entry, (loadNetwork16(frame + l3 + 4) + 1) & 0xffff, HELD_IDENTIFICATION);
  store<u16>(entry, <u16>l3, HELD_L3);
  store<u16>(entry, <u16>l4, HELD_L4);
  store<u16>(entry, <u16>(length - payload), HELD_HEADER);
  store<u16>(entry, <u16>payload, HELD_SIZE);
  store<u32>(entry, length, HELD_TOTAL);
  store<u32>(entry, 1, HELD_SEGMENTS);
  store<u32>(entry, load<u32>(area, GRO_POLL), HELD_SINCE);
  if (outer === 0) store<u32>(entry, 0, HELD_OUTER);
  else holdOuter(entry, slot, outer);
  const newest = load<u32>(area, GRO_NEWEST);
  store<u32>(entry, newest, HELD_OLDER);
  store<u32>(entry, 0, HELD_NEWER);
  if (newest === 0) store<u32>(area, entry, GRO_OLDEST);
  else store<u32>(newest, entry, HELD_NEWER);
  store<u32>(area, entry, GRO_NEWEST);
  store<u32>(area, load<u32>(area, GRO_HELD) + 1, GRO_HELD);
}

/** Links the payload of the segment at `slot` behind what waits in `entry`. The last one of a packet ends it. */
function merge(area: u32, entry: u32, slot: u32, headers: u64, payload: u32): void {
  const l4 = headersL4(headers);
  const buffer = load<u32>(slot, SLOT_BUFFER);
  const header: u32 = load<u16>(entry, HELD_HEADER);
  store<u32>(buffer, 1, BUFFER_REFERENCES);
  store<u32>(buffer, 0, BUFFER_NEXT);
  store<u16>(buffer, <u16>(load<u16>(slot, SLOT_OFFSET) + header), BUFFER_OFFSET);
  store<u16>(buffer, <u16>payload, BUFFER_LENGTH);
  store<u32>(load<u32>(entry, HELD_LAST), buffer, BUFFER_NEXT);
  store<u32>(entry, buffer, HELD_LAST);
  store<u32>(entry, load<u32>(entry, HELD_SEQUENCE) + payload, HELD_SEQUENCE);
  store<u32>(entry, (load<u32>(entry, HELD_IDENTIFICATION) + 1) & 0xffff, HELD_IDENTIFICATION);
  store<u32>(entry, load<u32>(entry, HELD_TOTAL) + payload, HELD_TOTAL);
  store<u32>(entry, load<u32>(entry, HELD_SEGMENTS) + 1, HELD_SEGMENTS);
  store<u32>(area, load<u32>(area, GRO_MERGED) + 1, GRO_MERGED);
  // Flags that the last segment may have: cutting puts them there again.
  const flags = load<u8>(frameAddress(slot) + l4, 13);
  store<u8>(frameAddress(entry) + l4, flags, 13);
  if (flags & <u8>TCP_LAST || payload < <u32>load<u16>(entry, HELD_SIZE)) release(area, entry);
}

/** The hash of a flow in a tunnel: those of one tunnel are not to meet. */
function tunnelHash(slot: u32, inner: u64): u32 {
  const ports = load<u32>(frameAddress(slot) + headersL4(inner)) * 0x9e3779b1;
  return max(flowOf(slot) ^ ports ^ (ports >> 16), 1);
}

/** Merges the segment at `slot`, lets it wait, or passes it on behind what waits of its flow. `outer`: 0 without a tunnel. */
function receiveTcp(area: u32, slot: u32, hash: u32, headers: u64, outer: u64): void {
  const entry = find(area, hash, slot, headers, outer);
  const payload = payloadOf(slot, headers, outer);
  if (entry !== 0) {
    const isFollowing = payload !== 0 && isNext(entry, slot, headers, payload);
    if (isFollowing && (outer === 0 || isNextOuter(entry, slot, outer, payload))) {
      merge(area, entry, slot, headers, payload);
      return;
    }
    release(area, entry);
  }
  const isLast = payload === 0 || load<u8>(frameAddress(slot) + headersL4(headers), 13) & <u8>TCP_LAST;
  if (isLast) pass(area, slot);
  else hold(area, hash, slot, headers, outer, payload);
}

function receive(area: u32, slot: u32): void {
  const headers = parseHeaders(slot);
  if (headersProtocol(headers) === PROTOCOL_TCP && headersFlags(headers) & HEADERS_PORTS) {
    receiveTcp(area, slot, flowOf(slot), headers, 0);
    return;
  }
  const inner = innerHeaders(slot, headers);
  if (inner === 0) pass(area, slot);
  else receiveTcp(area, slot, tunnelHash(slot, inner), inner, headers);
}

/**
 * Merges TCP segments among `count` (0 to 32) packets at `slots` and those that came before, as Linux's GRO does
 * (net/core/gro.c), those in a tunnel (`tunnel.kernel.ts`) too: consecutive ones of a flow become one chained packet that asks for segmentation, which gives the same
 * frames again. Payload is not copied. Everything else passes, in the order of its flow; fragments are of none. A segment
 * waits for GRO_POLLS_MAX calls at most. `wanted`: releases what waits, oldest first, until so many packets are ready or
 * none waits. `area` is the address of GRO_BYTES, zeroes at first, of which `groTake` has taken all. Returns how many
 * packets are ready; GRO_MERGED are gone into others.
 */
export function gro(area: u32, slots: u32, count: u32, wanted: u32): u32 {
  assert(load<u32>(area, GRO_READY) === load<u32>(area, GRO_TAKEN));
  store<u32>(area, 0, GRO_READY);
  store<u32>(area, 0, GRO_TAKEN);
  store<u32>(area, 0, GRO_MERGED);
  const poll = load<u32>(area, GRO_POLL) + 1;
  store<u32>(area, poll, GRO_POLL);
  for (let i: u32 = 0; i < count; i++) receive(area, slots + (i << SLOT_SHIFT));
  while (true) {
    const oldest = load<u32>(area, GRO_OLDEST);
    if (oldest === 0) break;
    const isOld = poll - load<u32>(oldest, HELD_SINCE) >= GRO_POLLS_MAX - 1;
    if (!isOld && load<u32>(area, GRO_READY) >= wanted) break;
    release(area, oldest);
  }
  return load<u32>(area, GRO_READY);
}

/** Moves up to `max` packets that are ready to `slots`, in order. Returns how many. */
export function groTake(area: u32, slots: u32, max: u32): u32 {
  const taken = load<u32>(area, GRO_TAKEN);
  const n = min(max, load<u32>(area, GRO_READY) - taken);
  const from = area + GRO_SLOTS + (taken << SLOT_SHIFT);
  for (let i: u32 = 0; i < n; i++) v128.store(slots + (i << SLOT_SHIFT), v128.load(from + (i << SLOT_SHIFT)));
  store<u32>(area, taken + n, GRO_TAKEN);
  return n;
}
