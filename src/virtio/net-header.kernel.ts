import {
  BUFFER_OFFLOAD_FLAGS,
  GSO_ECN,
  HDR_DATA_VALID,
  HDR_NEEDS_CSUM,
  SLOT_BUFFER,
  SLOT_EVENT,
  SLOT_FLAG_OFFLOAD,
  SLOT_FLAGS,
  SLOT_FLOW,
} from '../memory/layout.ts';
import { OFFLOAD_CSUM, OFFLOAD_ECN } from '../packet/layout.ts';
import {
  NET_HDR_CSUM_OFFSET,
  NET_HDR_FLAGS,
  NET_HDR_HASH_VALUE,
  NET_HDR_NUM_BUFFERS,
  NETQ_HEADER_BYTES,
  NETQ_OFFLOADS,
} from './layout.ts';

/** Counts one more in the counter of the net queue. */
export function countNet(netq: u32, counter: u32): void {
  store<u32>(netq + counter, load<u32>(netq + counter) + 1);
}

/** True when a frame of `length` bytes may ask for what its header says, which was copied to these two words. */
function isAllowed(offloads: u32, words: u64, csumOffset: u32, length: u32): bool {
  const gso = (<u32>words >> 8) & 0xff;
  const needsCsum = (<u32>words & HDR_NEEDS_CSUM) !== 0;
  // 5.1.6.2.1: only what was negotiated, and csum_start and csum_offset lie in the frame.
  if (needsCsum && !(offloads & OFFLOAD_CSUM)) return false;
  if (needsCsum && <u32>(words >> 48) + csumOffset + 2 > length) return false;
  if (gso === 0) return true;
  const kind = gso & ~GSO_ECN;
  if (kind === 0 || kind > 5 || !((offloads >> kind) & 1)) return false;
  if (gso & GSO_ECN && !(offloads & OFFLOAD_ECN)) return false;
  // 5.1.6.2.1: a segment's checksum is always left to do, and it has a size.
  return needsCsum && ((words >> 32) & 0xffff) !== 0;
}

/**
 * Reads the header at `header`, which the peer may be writing, and puts what it asks for into the packet at `slot`, of
 * `length` bytes. Returns 1, or 0 when it asks for something that is not among `offloads`. Not read when there are none.
 */
export function acceptHeader(offloads: u32, slot: u32, header: u32, length: u32): u32 {
  // Then there is nothing that it could ask for (5.1.6.2.1), and its cache line, a second one for the frame, stays away.
  if (offloads === 0) return 1;
  // Copied once: flags, gso_type, hdr_len, gso_size and csum_start; then csum_offset.
  const words = load<u64>(header, NET_HDR_FLAGS) & ~(<u64>0xfc);
  if ((words & 0xffff) === 0) return 1;
  const csumOffset = <u32>load<u16>(header, NET_HDR_CSUM_OFFSET);
  if (!isAllowed(offloads, words, csumOffset, length)) return 0;
  // The data is valid, and nothing is left to do: a slot without offloads says the same.
  if ((words & 0xffff) === HDR_DATA_VALID) return 1;
  const kept = load<u32>(slot, SLOT_BUFFER) + BUFFER_OFFLOAD_FLAGS;
  store<u64>(kept, words);
  store<u16>(kept, <u16>csumOffset, NET_HDR_CSUM_OFFSET);
  store<u8>(slot, load<u8>(slot, SLOT_FLAGS) | <u8>SLOT_FLAG_OFFLOAD, SLOT_FLAGS);
  return 1;
}

/** As `acceptHeader`, with the offloads that the net queue's sides agreed on. */
export function acceptOffload(netq: u32, slot: u32, header: u32, length: u32): u32 {
  return acceptHeader(load<u32>(netq, NETQ_OFFLOADS), slot, header, length);
}

/** Writes what the packet at `slot` asks for to `target`: the ten bytes that every header begins with. */
export function writeOffload(slot: u32, target: u32): void {
  let words: u64 = 0;
  let rest: u16 = 0;
  if (load<u8>(slot, SLOT_FLAGS) & SLOT_FLAG_OFFLOAD) {
    const kept = load<u32>(slot, SLOT_BUFFER) + BUFFER_OFFLOAD_FLAGS;
    words = load<u64>(kept);
    rest = load<u16>(kept, NET_HDR_CSUM_OFFSET);
  }
  store<u64>(target, words, NET_HDR_FLAGS);
  store<u16>(target, rest, NET_HDR_CSUM_OFFSET);
}

/** Writes the header of the packet at `slot`, whose frame takes `buffers` chains, to `target`. */
export function writeHeader(netq: u32, slot: u32, target: u32, buffers: u32): void {
  const bytes = load<u32>(netq, NETQ_HEADER_BYTES);
  writeOffload(slot, target);
  // Legacy without MRG_RXBUF: num_buffers is not there (5.1.6.1).
  if (bytes === 10) return;
  store<u16>(target, <u16>buffers, NET_HDR_NUM_BUFFERS);
  // hash_value, hash_report and padding (5.1.6.4.3 of 1.2), which `steer` left in the slot.
  if (bytes === 20) {
    store<u64>(target, ((<u64>load<u16>(slot, SLOT_EVENT)) << 32) | load<u32>(slot, SLOT_FLOW), NET_HDR_HASH_VALUE);
  }
}

/**
 * Writes the header of a packet without offloads, which one chain holds, to `target` in the driver's memory. Where the last
 * frame left the same, as most do, nothing is written: the cache line stays with both sides.
 */
export function renewHeader(netq: u32, slot: u32, target: u32): void {
  const isSame = load<u64>(target) === 0 && load<u32>(target, NET_HDR_CSUM_OFFSET) === 1 << 16;
  if (!isSame || load<u32>(netq, NETQ_HEADER_BYTES) !== 12) writeHeader(netq, slot, target, 1);
}
