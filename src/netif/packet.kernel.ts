import { fill, frameLength, gather, moveStart } from '../memory/chain.kernel.ts';
import { SLOT_BUFFER, SLOT_OFFSET, SLOT_SHIFT } from '../memory/layout.ts';
import { alloc, free } from '../memory/pool.kernel.ts';
import { ETHERTYPE_VLAN, OFFLOAD_ANY } from '../packet/layout.ts';
import { acceptHeader, writeOffload } from '../virtio/net-header.kernel.ts';
import {
  BLOCK_FIRST,
  BLOCK_PACKETS,
  BLOCK_STATUS,
  FRAME_DATA,
  FRAME_LEN,
  FRAME_MAC,
  FRAME_NEXT,
  FRAME_SNAPLEN,
  FRAME_STATUS,
  FRAME_VLAN_TCI,
  FRAME_VLAN_TPID,
  HEADER_LENGTH,
  PACKET_BAD,
  PACKET_BLOCK,
  PACKET_BLOCK_BYTES,
  PACKET_BLOCK_COUNT,
  PACKET_BLOCKS,
  PACKET_COPIED_MAX,
  PACKET_CUT,
  PACKET_EMPTY,
  PACKET_LEFT,
  PACKET_LONG,
  PACKET_NEXT,
  PACKET_PLACE,
  PACKET_PLACE_BYTES,
  PACKET_PLACE_COUNT,
  PACKET_PLACES,
  PACKET_REFUSED,
  SHORT_HEADER_BYTES,
  STATUS_AVAILABLE,
  STATUS_SEND_REQUEST,
  STATUS_USER,
  STATUS_VLAN_TPID_VALID,
  STATUS_VLAN_VALID,
  STATUS_WRONG_FORMAT,
} from './layout.ts';

/** Bytes of the two MAC addresses, behind which a tag stands, and of a tag. */
const ADDRESSES: u32 = 12;
const TAG: u32 = 4;

function countOne(packet: u32, counter: u32): void {
  store<u32>(packet + counter, load<u32>(packet + counter) + 1);
}

/** Gives the block that was read back to the kernel, and goes on to the next. */
function passBlock(packet: u32, block: u32): void {
  const index = load<u32>(packet, PACKET_BLOCK);
  atomic.store<u32>(block, 0, BLOCK_STATUS);
  store<u32>(packet, index + 1 === load<u32>(packet, PACKET_BLOCK_COUNT) ? 0 : index + 1, PACKET_BLOCK);
}

/** Finds the next frame. Returns its address, or 0 when none waits. */
function nextFrame(packet: u32): u32 {
  const block =
    load<u32>(packet, PACKET_BLOCKS) + load<u32>(packet, PACKET_BLOCK) * load<u32>(packet, PACKET_BLOCK_BYTES);
  if (load<u32>(packet, PACKET_LEFT) === 0) {
    if (!(atomic.load<u32>(block, BLOCK_STATUS) & STATUS_USER)) return 0;
    const count = load<u32>(block, BLOCK_PACKETS);
    if (count === 0) {
      passBlock(packet, block);
      return 0;
    }
    store<u32>(packet, count, PACKET_LEFT);
    store<u32>(packet, block + load<u32>(block, BLOCK_FIRST), PACKET_NEXT);
  }
  return load<u32>(packet, PACKET_NEXT);
}

/** The frame at `frame` is dealt with. */
function passFrame(packet: u32, frame: u32): void {
  const left = load<u32>(packet, PACKET_LEFT) - 1;
  store<u32>(packet, left, PACKET_LEFT);
  store<u32>(packet, frame + load<u32>(frame, FRAME_NEXT), PACKET_NEXT);
  if (left > 0) return;
  passBlock(
    packet,
    load<u32>(packet, PACKET_BLOCKS) + load<u32>(packet, PACKET_BLOCK) * load<u32>(packet, PACKET_BLOCK_BYTES),
  );
}

/** Puts the tag that the kernel has taken out back into the frame at `slot`. */
function insertTag(slot: u32, frame: u32, status: u32): void {
  const start = load<u32>(slot, SLOT_BUFFER) + load<u16>(slot, SLOT_OFFSET);
  const type: u32 = status & STATUS_VLAN_TPID_VALID ? load<u16>(frame, FRAME_VLAN_TPID) : ETHERTYPE_VLAN;
  const low = load<u64>(start);
  const high = load<u32>(start, 8);
  store<u64>(start - TAG, low);
  store<u32>(start - TAG, high, 8);
  store<u16>(start - TAG, bswap<u16>(<u16>type), ADDRESSES);
  store<u16>(start - TAG, bswap<u16>(<u16>load<u32>(frame, FRAME_VLAN_TCI)), ADDRESSES + 2);
  moveStart(slot, -(<i32>TAG));
}

/** Copies the frame at `frame` into the empty packet at `slot`. Returns 1, or 0 when the packet is freed. */
function copyFrame(packet: u32, cache: u32, slot: u32, frame: u32): u32 {
  const length = load<u32>(frame, FRAME_SNAPLEN);
  const data = frame + load<u16>(frame, FRAME_MAC);
  const status = load<u32>(frame, FRAME_STATUS);
  let wrong: u32 = 0;
  if (length < load<u32>(frame, FRAME_LEN)) wrong = PACKET_CUT;
  else if (acceptHeader(OFFLOAD_ANY, slot, data - SHORT_HEADER_BYTES, length) === 0) wrong = PACKET_BAD;
  if (wrong !== 0) {
    countOne(packet, wrong);
    free(cache, slot, 1);
    return 0;
  }
  if (fill(cache, slot, data, length) === 0) {
    countOne(packet, PACKET_EMPTY);
    return 0;
  }
  if (status & STATUS_VLAN_VALID) insertTag(slot, frame, status);
  return 1;
}

/** Receives up to `max` (1 to 32) packets to `slots`. Returns how many. */
export function packetReceive(packet: u32, cache: u32, slots: u32, max: u32): u32 {
  let n: u32 = 0;
  while (n < max) {
    const frame = nextFrame(packet);
    if (frame === 0) break;
    const slot = slots + (n << SLOT_SHIFT);
    if (alloc(cache, slot, 1) === 0) countOne(packet, PACKET_EMPTY);
    else n += copyFrame(packet, cache, slot, frame);
    passFrame(packet, frame);
  }
  return n;
}

/**
 * Copies the first of `count` packets at `slots` to where the kernel sends them from, and frees them. Returns how many; the
 * rest stay the caller's: all places are taken.
 */
export function packetSend(packet: u32, cache: u32, slots: u32, count: u32): u32 {
  const places = load<u32>(packet, PACKET_PLACES);
  const bytes = load<u32>(packet, PACKET_PLACE_BYTES);
  const size = load<u32>(packet, PACKET_PLACE_COUNT);
  let index = load<u32>(packet, PACKET_PLACE);
  let done: u32 = 0;
  while (done < count) {
    const place = places + index * bytes;
    const status = atomic.load<u32>(place, FRAME_STATUS);
    if (status !== STATUS_AVAILABLE && status !== STATUS_WRONG_FORMAT) break;
    // The one that was here is back.
    if (status === STATUS_WRONG_FORMAT) countOne(packet, PACKET_REFUSED);
    const slot = slots + (done << SLOT_SHIFT);
    const length = frameLength(slot);
    done++;
    if (length > bytes - FRAME_DATA - SHORT_HEADER_BYTES) {
      countOne(packet, PACKET_LONG);
      continue;
    }
    writeOffload(slot, place + FRAME_DATA);
    // What is said to be header, the kernel copies; the rest it takes as pages, which cost more than a short frame's bytes.
    store<u16>(place, length <= PACKET_COPIED_MAX ? <u16>length : 0, FRAME_DATA + HEADER_LENGTH);
    gather(slot, place + FRAME_DATA + SHORT_HEADER_BYTES, length);
    store<u32>(place, length + SHORT_HEADER_BYTES, FRAME_LEN);
    store<u32>(place, 0, FRAME_NEXT);
    atomic.store<u32>(place, STATUS_SEND_REQUEST, FRAME_STATUS);
    index = index + 1 === size ? 0 : index + 1;
  }
  store<u32>(packet, index, PACKET_PLACE);
  free(cache, slots, done);
  return done;
}

/** Frames of the ring that the kernel has not sent. */
export function packetUnsent(packet: u32): u32 {
  const places = load<u32>(packet, PACKET_PLACES);
  const size = load<u32>(packet, PACKET_PLACE_COUNT);
  let n: u32 = 0;
  for (let i: u32 = 0; i < size; i++) {
    const status = atomic.load<u32>(places + i * load<u32>(packet, PACKET_PLACE_BYTES), FRAME_STATUS);
    if (status !== STATUS_AVAILABLE && status !== STATUS_WRONG_FORMAT) n++;
  }
  return n;
}
