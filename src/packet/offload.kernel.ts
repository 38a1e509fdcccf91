import { frameLength } from '../memory/chain.kernel.ts';
import {
  BUFFER_CSUM_OFFSET,
  BUFFER_CSUM_START,
  BUFFER_GSO_SIZE,
  BUFFER_GSO_TYPE,
  BUFFER_LENGTH,
  BUFFER_NEXT,
  BUFFER_OFFLOAD_FLAGS,
  BUFFER_OFFSET,
  GSO_ECN,
  GSO_NONE,
  GSO_TCPV4,
  GSO_TCPV6,
  GSO_UDP_L4,
  HDR_NEEDS_CSUM,
  SEGMENTS_MAX,
  SLOT_BUFFER,
  SLOT_FLAG_CHAINED,
  SLOT_FLAG_OFFLOAD,
  SLOT_FLAG_SHARED,
  SLOT_FLAGS,
  SLOT_LENGTH,
  SLOT_SHIFT,
} from '../memory/layout.ts';
import { checksum, oddSum } from './checksum.kernel.ts';
import { frameAddress } from './headers.kernel.ts';
import { BAD_CHECKSUM_RANGE, OFFLOAD_CSUM, OFFLOAD_ECN, OFFLOAD_UNKNOWN, UDP_CSUM_OFFSET } from './layout.ts';

/** True when the checksum's field, and what it covers, begin in the frame's first buffer. */
function isChecksumInside(slot: u32): bool {
  const buffer = load<u32>(slot, SLOT_BUFFER);
  const field = <u32>load<u16>(buffer, BUFFER_CSUM_START) + load<u16>(buffer, BUFFER_CSUM_OFFSET);
  return field + 2 <= <u32>load<u16>(slot, SLOT_LENGTH);
}

/** OFFLOAD_… bit of a gso_type without its ECN bit. */
function segmentNeed(type: u32): u32 {
  const isKnown = type === GSO_TCPV4 || type === GSO_TCPV6 || type === GSO_UDP_L4;
  return isKnown ? 1 << type : OFFLOAD_UNKNOWN;
}

/** What the packet at `slot` asks for: a mask of OFFLOAD_…, 0 when a wire can carry it as it is. */
function needsOf(slot: u32): u32 {
  if (!(load<u8>(slot, SLOT_FLAGS) & SLOT_FLAG_OFFLOAD)) return 0;
  const buffer = load<u32>(slot, SLOT_BUFFER);
  const wantsSum = (load<u8>(buffer, BUFFER_OFFLOAD_FLAGS) & HDR_NEEDS_CSUM) !== 0;
  const type: u32 = load<u8>(buffer, BUFFER_GSO_TYPE);
  if (wantsSum && !isChecksumInside(slot)) return OFFLOAD_UNKNOWN;
  if (type === GSO_NONE) return wantsSum ? OFFLOAD_CSUM : 0;
  // A type other than NONE comes with a size and a checksum to compute (virtio 1.1, 5.1.6.2.1).
  if (!wantsSum || load<u16>(buffer, BUFFER_GSO_SIZE) === 0) return OFFLOAD_UNKNOWN;
  const ecn: u32 = type & GSO_ECN ? OFFLOAD_ECN : 0;
  return OFFLOAD_CSUM | ecn | segmentNeed(type & (GSO_ECN - 1));
}

/** Ones' complement sum of the frame's bytes from `from`, which lies in the first buffer, to its end. */
function sumFrom(slot: u32, from: u32): u32 {
  let done = <u32>load<u16>(slot, SLOT_LENGTH) - from;
  let sum = checksum(frameAddress(slot) + from, done, 0);
  if (!(load<u8>(slot, SLOT_FLAGS) & SLOT_FLAG_CHAINED)) return sum;
  const length = frameLength(slot) - from;
  let buffer = load<u32>(load<u32>(slot, SLOT_BUFFER), BUFFER_NEXT);
  for (let i: u32 = 1; i < SEGMENTS_MAX && buffer !== 0 && done < length; i++) {
    const n = min(<u32>load<u16>(buffer, BUFFER_LENGTH), length - done);
    const part = checksum(buffer + load<u16>(buffer, BUFFER_OFFSET), n, 0);
    sum += done & 1 ? oddSum(part) : part;
    done += n;
    buffer = load<u32>(buffer, BUFFER_NEXT);
  }
  sum = (sum & 0xffff) + (sum >>> 16);
  return (sum & 0xffff) + (sum >>> 16);
}

/**
 * Computes the checksum that the packet at `slot`, which nobody shares, asks for: over everything from csum_start, into
 * the field csum_offset behind it, which holds the pseudo header's sum so far (virtio 1.1, 5.1.6.2). The packet then
 * asks for nothing more. Returns 0; or BAD_CHECKSUM_RANGE when the field is not in the first buffer.
 */
export function finishChecksum(slot: u32): u32 {
  if (!isChecksumInside(slot)) return BAD_CHECKSUM_RANGE;
  const buffer = load<u32>(slot, SLOT_BUFFER);
  const start: u32 = load<u16>(buffer, BUFFER_CSUM_START);
  const offset: u32 = load<u16>(buffer, BUFFER_CSUM_OFFSET);
  const sum = sumFrom(slot, start) ^ 0xffff;
  // A sum of 0 in UDP's header would say that there is none (RFC 768).
  const stored: u32 = sum === 0 && offset === UDP_CSUM_OFFSET ? 0xffff : sum;
  store<u16>(frameAddress(slot) + start + offset, bswap<u16>(<u16>stored));
  store<u8>(slot, load<u8>(slot, SLOT_FLAGS) & ~(<u8>SLOT_FLAG_OFFLOAD), SLOT_FLAGS);
  return 0;
}

/** True when the packet at `slot` asks for nothing that is not in `mask`, or not any more. */
function isReady(slot: u32, mask: u32): bool {
  const needs = needsOf(slot);
  if ((needs & mask) === needs) return true;
  if (needs !== OFFLOAD_CSUM || load<u8>(slot, SLOT_FLAGS) & SLOT_FLAG_SHARED) return false;
  return finishChecksum(slot) === 0;
}

/**
 * Makes the first of `count` packets at `slots` ready for a port whose other side does what `mask` (OFFLOAD_…) says:
 * computes checksums in place. Stops before a packet that must be cut into segments, whose bytes others hold too, or
 * whose request is refused: `segment` is for those. Returns how many are ready.
 */
export function finish(slots: u32, count: u32, mask: u32): u32 {
  let flags: u32 = 0;
  for (let i: u32 = 0; i < count; i++) flags |= load<u8>(slots + (i << SLOT_SHIFT), SLOT_FLAGS);
  if (!(flags & SLOT_FLAG_OFFLOAD)) return count;
  for (let i: u32 = 0; i < count; i++) if (!isReady(slots + (i << SLOT_SHIFT), mask)) return i;
  return count;
}
