// From the driver: chains are taken, copied by the channel into fresh buffers, and come out as packets in order.

import { layOut } from '../memory/chain.kernel.ts';
import { copyBytes } from '../memory/copy.kernel.ts';
import {
  BUFFER_HEADROOM,
  BUFFER_LENGTH,
  BUFFER_NEXT,
  BURST_MAX,
  SLOT_BUFFER,
  SLOT_LENGTH,
  SLOT_SHIFT,
} from '../memory/layout.ts';
import { alloc, free } from '../memory/pool.kernel.ts';
import { chainAt } from '../virtio/chain.kernel.ts';
import {
  CHAIN_ID,
  CHAIN_READABLE_BYTES,
  CHAIN_SEGMENTS,
  NET_FRAME_MAX,
  NET_FRAME_MIN,
  NETQ_BAD,
  NETQ_CACHE,
  NETQ_EMPTY,
  NETQ_HEADER,
  NETQ_HEADER_BYTES,
  NETQ_LIST,
  NETQ_QUEUE,
  NETQ_RECORDS,
  SEGMENT_ADDRESS,
  SEGMENT_LENGTH,
  SEGMENT_SHIFT,
  USED_SHIFT,
} from '../virtio/layout.ts';
import { flushReceived, receivedNothing, receiveFrame, receiveTaken } from '../virtio/net-device.kernel.ts';
import { acceptOffload, countNet } from '../virtio/net-header.kernel.ts';
import { putBack, returnAny, takeAny, writeRecord } from '../virtio/side.kernel.ts';
import { collectAll, count, enter, flagOf, isFirstDone, isIdle, leave } from './entry.kernel.ts';
import {
  ASYNC_COPIED,
  ASYNC_FULL,
  ASYNC_HEAD,
  ASYNC_NETQ,
  ASYNC_OFFLOADED,
  ASYNC_SLOTS,
  ASYNC_THRESHOLD,
  ASYNC_TRACK,
  FLAG_DONE,
} from './layout.ts';
import { giveUp, hold, isOldest, isOpen, markLast, offload, release, start } from './track.kernel.ts';

/** The CPU has copied all of it. */
const NOTHING: i32 = -1;
/** The channel had no room: nothing is enqueued. */
const NO_DESCRIPTOR: i32 = -2;
/** The frame is not taken: it is counted. */
const REFUSED: i32 = -3;

/**
 * Copies the frame of a chain, behind the header, into the packet at `slot`, which was laid out for it. Returns the ring index
 * of the channel's last copy, NOTHING, NO_DESCRIPTOR or REFUSED.
 * @param byChannel what is long enough.
 */
function gather(queue: u32, chain: u32, slot: u32, byChannel: bool): i32 {
  const netq = load<u32>(queue, ASYNC_NETQ);
  const track = load<u32>(queue, ASYNC_TRACK);
  const threshold = load<u32>(queue, ASYNC_THRESHOLD);
  const headerBytes = load<u32>(netq, NETQ_HEADER_BYTES);
  const frame = load<u32>(chain, CHAIN_READABLE_BYTES) - headerBytes;
  let segment = load<u32>(chain, CHAIN_SEGMENTS);
  let source = load<u32>(segment, SEGMENT_ADDRESS);
  let sourceLeft = load<u32>(segment, SEGMENT_LENGTH);
  let buffer = load<u32>(slot, SLOT_BUFFER);
  let target = netq + NETQ_HEADER;
  let room = headerBytes;
  let first = NOTHING;
  let last = NOTHING;
  let offloaded: u32 = 0;
  let copied: u32 = 0;
  let isFrame = false;
  let left = headerBytes + frame;
  while (true) {
    if (room === 0) {
      if (!isFrame) {
        if (acceptOffload(netq, slot, netq + NETQ_HEADER, frame) === 0) {
          countNet(netq, NETQ_BAD);
          return REFUSED;
        }
        isFrame = true;
        room = load<u16>(slot, SLOT_LENGTH);
      } else {
        buffer = load<u32>(buffer, BUFFER_NEXT);
        room = load<u16>(buffer, BUFFER_LENGTH);
      }
      target = buffer + BUFFER_HEADROOM;
    }
    // Bytes are left, so that there is a segment with some.
    while (sourceLeft === 0) {
      segment += 1 << SEGMENT_SHIFT;
      source = load<u32>(segment, SEGMENT_ADDRESS);
      sourceLeft = load<u32>(segment, SEGMENT_LENGTH);
    }
    const n = min(sourceLeft, room);
    if (byChannel && isFrame && n >= threshold) {
      const index = offload(track, target, source, n);
      if (index < 0) {
        if (first < 0) return NO_DESCRIPTOR;
        giveUp(track, <u32>first);
        // In more pieces than there are descriptors.
        return isOldest(track, <u32>first) ? gather(queue, chain, slot, false) : NO_DESCRIPTOR;
      }
      last = index;
      if (first < 0) first = index;
      offloaded++;
    } else {
      copyBytes(target, source, n);
      if (isFrame) copied++;
    }
    source += n;
    sourceLeft -= n;
    target += n;
    room -= n;
    left -= n;
    if (left === 0) break;
  }
  count(queue, offloaded, ASYNC_OFFLOADED);
  count(queue, copied, ASYNC_COPIED);
  return last;
}

/** Frames of fewer bytes, with their header, are the CPU's. */
function longFrom(queue: u32): u32 {
  const track = load<u32>(queue, ASYNC_TRACK);
  if (track === 0 || !isOpen(track)) return u32.MAX_VALUE;
  const headerBytes = load<u32>(load<u32>(queue, ASYNC_NETQ), NETQ_HEADER_BYTES);
  return headerBytes + max(NET_FRAME_MIN, load<u32>(queue, ASYNC_THRESHOLD));
}

/** Begins to copy the frame of a chain into the empty packet at `slot`. Returns as `gather`. */
function beginFrame(queue: u32, chain: u32, slot: u32): i32 {
  const netq = load<u32>(queue, ASYNC_NETQ);
  const headerBytes = load<u32>(netq, NETQ_HEADER_BYTES);
  const bytes = load<u32>(chain, CHAIN_READABLE_BYTES);
  if (bytes < longFrom(queue) || bytes > headerBytes + NET_FRAME_MAX) {
    const isTaken = receiveFrame(netq, chain, slot);
    count(queue, isTaken, ASYNC_COPIED);
    return isTaken !== 0 ? NOTHING : REFUSED;
  }
  if (layOut(load<u32>(netq, NETQ_CACHE), slot, bytes - headerBytes) === 0) {
    countNet(netq, NETQ_EMPTY);
    return REFUSED;
  }
  return gather(queue, chain, slot, true);
}

/** Takes chains and begins to copy them, into as many of the `room` packets that may be under way beside those that are. */
function begin(queue: u32, room: u32): void {
  const netq = load<u32>(queue, ASYNC_NETQ);
  const vq = load<u32>(netq, NETQ_QUEUE);
  const list = load<u32>(netq, NETQ_LIST);
  const cache = load<u32>(netq, NETQ_CACHE);
  const records = load<u32>(netq, NETQ_RECORDS);
  const slots = load<u32>(queue, ASYNC_SLOTS);
  const taken = takeAny(vq, list, min(room, BURST_MAX));
  if (taken === 0) return;
  const ready = alloc(cache, slots, taken);
  let i: u32 = 0;
  for (; i < ready; i++) {
    const chain = chainAt(list, i);
    const slot = slots + (i << SLOT_SHIFT);
    const flag = flagOf(queue, load<u32>(queue, ASYNC_HEAD));
    const last = beginFrame(queue, chain, slot);
    if (last === NO_DESCRIPTOR) {
      count(queue, 1, ASYNC_FULL);
      break;
    }
    if (last === REFUSED) {
      free(cache, slot, 1);
      store<u32>(slot, 0, SLOT_BUFFER);
    }
    if (last >= 0) markLast(load<u32>(queue, ASYNC_TRACK), <u32>last, flag);
    else store<u8>(flag, <u8>FLAG_DONE);
    writeRecord(records, 0, load<u32>(chain, CHAIN_ID), 0);
    enter(queue, slot, records, 1);
  }
  if (i < ready) free(cache, slots + (i << SLOT_SHIFT), ready - i);
  putBack(vq, list, i, taken);
}

/**
 * Gives up to `max` (1 to 32) packets that are copied to `slots`, in order. Returns how many. A chain goes back when its
 * packet comes out.
 */
export function asyncDeliver(queue: u32, slots: u32, max: u32): u32 {
  const netq = load<u32>(queue, ASYNC_NETQ);
  const records = load<u32>(netq, NETQ_RECORDS);
  collectAll(queue);
  let out: u32 = 0;
  let left: u32 = 0;
  // Refused frames have a record, too.
  while (out < max && left < BURST_MAX && isFirstDone(queue)) {
    const slot = slots + (out << SLOT_SHIFT);
    if (leave(queue, slot, records + (left << USED_SHIFT))) out++;
    left++;
  }
  returnAny(load<u32>(netq, NETQ_QUEUE), records, left);
  return out;
}

/**
 * Receives what comes before the first frame that the channel copies, as if there were none; nothing is under way. Returns
 * how many packets; or ~ of that when such a frame is next.
 */
function receiveShort(queue: u32, slots: u32, most: u32): i32 {
  const netq = load<u32>(queue, ASYNC_NETQ);
  const vq = load<u32>(netq, NETQ_QUEUE);
  const list = load<u32>(netq, NETQ_LIST);
  const taken = takeAny(vq, list, min(most, BURST_MAX));
  if (taken === 0) {
    receivedNothing(netq);
    return 0;
  }
  const long = longFrom(queue);
  let short: u32 = 0;
  while (short < taken && load<u32>(chainAt(list, short), CHAIN_READABLE_BYTES) < long) short++;
  putBack(vq, list, short, taken);
  const n = short > 0 ? receiveTaken(netq, slots, short) : 0;
  count(queue, n, ASYNC_COPIED);
  return short === taken ? <i32>n : ~(<i32>n);
}

/** Packets that are copied, in order, to `slots`; and begins to copy what the driver has sent since. Returns how many. */
export function asyncReceive(queue: u32, slots: u32, max: u32): u32 {
  const track = load<u32>(queue, ASYNC_TRACK);
  let out: u32;
  if (isIdle(queue)) {
    const n = receiveShort(queue, slots, max);
    if (n >= 0) return n;
    out = ~n;
    // What goes back later is kept where packets under way have their records.
    flushReceived(load<u32>(queue, ASYNC_NETQ));
  } else {
    out = asyncDeliver(queue, slots, max);
  }
  if (track !== 0) hold(track);
  begin(queue, max);
  if (track !== 0) {
    start(track);
    release(track);
  }
  return out;
}
