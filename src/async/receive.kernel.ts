// From the driver: chains are taken, copied by the channel into fresh buffers, and come out as packets in order.

import {
  BUFFER_FRAME_MAX,
  BUFFER_HEADROOM,
  BURST_MAX,
  SLOT_BUFFER,
  SLOT_LENGTH,
  SLOT_SHIFT,
} from '../memory/layout.ts';
import { alloc, free } from '../memory/pool.kernel.ts';
import { chainAt } from '../virtio/chain.kernel.ts';
import {
  CHAIN_ID,
  CHAIN_READABLE,
  CHAIN_READABLE_BYTES,
  CHAIN_SEGMENTS,
  NET_FRAME_MIN,
  NETQ_BAD,
  NETQ_CACHE,
  NETQ_HEADER_BYTES,
  NETQ_LIST,
  NETQ_QUEUE,
  NETQ_RECORDS,
  SEGMENT_ADDRESS,
  USED_SHIFT,
} from '../virtio/layout.ts';
import { receiveFrame, writeRecord } from '../virtio/net-device.kernel.ts';
import { acceptOffload, countNet } from '../virtio/net-header.kernel.ts';
import { putBack, returnAny, takeAny } from '../virtio/side.kernel.ts';
import { collectAll, count, enter, flagOf, isFirstDone, leave } from './entry.kernel.ts';
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
import { hold, isOpen, markLast, offload, release, start } from './track.kernel.ts';

/** The CPU has to copy this one. */
const BY_CPU: i32 = -3;

/** Has the channel copy the frame of a chain of one segment into the empty packet at `slot`. Returns its ring index or below 0. */
function offloadSimple(queue: u32, chain: u32, slot: u32): i32 {
  const netq = load<u32>(queue, ASYNC_NETQ);
  const track = load<u32>(queue, ASYNC_TRACK);
  const headerBytes = load<u32>(netq, NETQ_HEADER_BYTES);
  const bytes = load<u32>(chain, CHAIN_READABLE_BYTES);
  const frame = bytes - headerBytes;
  // One readable segment and no writable one, in a single load.
  const simple = load<u64>(chain, CHAIN_READABLE) === 1 && bytes >= headerBytes + NET_FRAME_MIN;
  if (track === 0 || !isOpen(track) || !simple || frame > BUFFER_FRAME_MAX || frame < load<u32>(queue, ASYNC_THRESHOLD))
    return BY_CPU;
  const header = load<u32>(load<u32>(chain, CHAIN_SEGMENTS), SEGMENT_ADDRESS);
  const index = offload(track, load<u32>(slot, SLOT_BUFFER) + BUFFER_HEADROOM, header + headerBytes, frame);
  if (index >= 0) store<u16>(slot, <u16>frame, SLOT_LENGTH);
  return index;
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
    const headerBytes = load<u32>(netq, NETQ_HEADER_BYTES);
    const index = offloadSimple(queue, chain, slot);
    if (index >= 0) {
      const header = load<u32>(load<u32>(chain, CHAIN_SEGMENTS), SEGMENT_ADDRESS);
      // What is under way is dropped when it arrives: the channel may be writing into its buffer.
      if (acceptOffload(netq, slot, header, load<u32>(chain, CHAIN_READABLE_BYTES) - headerBytes) === 0) {
        countNet(netq, NETQ_BAD);
        store<u16>(slot, 0, SLOT_LENGTH);
      }
      markLast(load<u32>(queue, ASYNC_TRACK), <u32>index, flag);
      count(queue, ASYNC_OFFLOADED);
    } else if (index !== BY_CPU) {
      count(queue, ASYNC_FULL);
      break;
    } else {
      if (receiveFrame(netq, chain, slot) === 0) {
        free(cache, slot, 1);
        store<u32>(slot, 0, SLOT_BUFFER);
      }
      store<u8>(flag, <u8>FLAG_DONE);
      count(queue, ASYNC_COPIED);
    }
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
    if (leave(queue, slot, records + (left << USED_SHIFT))) {
      if (load<u16>(slot, SLOT_LENGTH) !== 0) out++;
      else free(load<u32>(netq, NETQ_CACHE), slot, 1);
    }
    left++;
  }
  returnAny(load<u32>(netq, NETQ_QUEUE), records, left);
  return out;
}

/** `asyncDeliver`, and begins to copy what the driver has sent since. */
export function asyncReceive(queue: u32, slots: u32, max: u32): u32 {
  const out = asyncDeliver(queue, slots, max);
  const track = load<u32>(queue, ASYNC_TRACK);
  if (track !== 0) hold(track);
  begin(queue, max);
  if (track !== 0) {
    start(track);
    release(track);
  }
  return out;
}
