// Towards the driver: header and small frames by the CPU, the rest by the channel; used when all before it are copied.

import { frameLength, nextBuffer } from '../memory/chain.kernel.ts';
import { copyBytes } from '../memory/copy.kernel.ts';
import { BUFFER_LENGTH, BUFFER_OFFSET, SLOT_BUFFER, SLOT_LENGTH, SLOT_OFFSET, SLOT_SHIFT } from '../memory/layout.ts';
import { free } from '../memory/pool.kernel.ts';
import { takeFor } from '../virtio/ahead.kernel.ts';
import { chainAt } from '../virtio/chain.kernel.ts';
import {
  CHAIN_SEGMENTS,
  NETQ_CACHE,
  NETQ_CHAINS,
  NETQ_HEADER,
  NETQ_HEADER_BYTES,
  NETQ_LIST,
  NETQ_LONG,
  NETQ_NEXT,
  NETQ_QUEUE,
  NETQ_RECORDS,
  SEGMENT_ADDRESS,
  SEGMENT_LENGTH,
  SEGMENT_SHIFT,
  USED_SHIFT,
} from '../virtio/layout.ts';
import { isLogged, logUsed } from '../virtio/log.kernel.ts';
import { deviceSend } from '../virtio/net-device.kernel.ts';
import { countNet, writeHeader } from '../virtio/net-header.kernel.ts';
import { returnAny } from '../virtio/side.kernel.ts';
import { isBroken } from '../virtio/state.kernel.ts';
import { collectAll, count, enter, firstRecords, flagOf, isFirstDone, isIdle, leave } from './entry.kernel.ts';
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

/** The CPU did all of it. */
const NOTHING: i32 = -1;
/** The channel had no room: nothing is enqueued. */
const NO_DESCRIPTOR: i32 = -2;

/**
 * Writes the header of the packet at `slot` and copies its frame into the segments from `segment` on, of `used` chains, which
 * have room for the `bytes` bytes of both. Returns the ring index of the channel's last copy, NOTHING or NO_DESCRIPTOR.
 * @param threshold shorter pieces are the CPU's.
 */
function place(queue: u32, slot: u32, segment: u32, used: u32, bytes: u32, threshold: u32): i32 {
  const netq = load<u32>(queue, ASYNC_NETQ);
  const track = load<u32>(queue, ASYNC_TRACK);
  const headerBytes = load<u32>(netq, NETQ_HEADER_BYTES);
  let target = load<u32>(segment, SEGMENT_ADDRESS);
  let room = load<u32>(segment, SEGMENT_LENGTH);
  let at = segment + (1 << SEGMENT_SHIFT);
  let left = bytes;
  let source = netq + NETQ_HEADER;
  let sourceLeft: u32 = 0;
  if (room < headerBytes) {
    // 2.6.4: it may be cut anywhere. It lies where the next packet's will be, so the CPU copies it.
    writeHeader(netq, slot, source, used);
    sourceLeft = headerBytes;
  } else {
    writeHeader(netq, slot, target, used);
    target += headerBytes;
    room -= headerBytes;
    left -= headerBytes;
  }
  let buffer: u32 = 0;
  let copied: u32 = 0;
  let first = NOTHING;
  let last = NOTHING;
  while (left > 0) {
    while (room === 0) {
      target = load<u32>(at, SEGMENT_ADDRESS);
      room = load<u32>(at, SEGMENT_LENGTH);
      at += 1 << SEGMENT_SHIFT;
    }
    while (sourceLeft === 0) {
      if (buffer === 0) {
        buffer = load<u32>(slot, SLOT_BUFFER);
        source = buffer + load<u16>(slot, SLOT_OFFSET);
        sourceLeft = load<u16>(slot, SLOT_LENGTH);
      } else {
        buffer = nextBuffer(slot, buffer);
        source = buffer + load<u16>(buffer, BUFFER_OFFSET);
        sourceLeft = load<u16>(buffer, BUFFER_LENGTH);
      }
    }
    const n = min(min(sourceLeft, room), left);
    if (buffer !== 0 && n >= threshold) {
      const index = offload(track, target, source, n);
      if (index < 0) {
        if (first < 0) return NO_DESCRIPTOR;
        giveUp(track, <u32>first);
        // In more pieces than there are descriptors.
        const alone = isOldest(track, <u32>first);
        return alone ? place(queue, slot, segment, used, bytes, u32.MAX_VALUE) : NO_DESCRIPTOR;
      }
      last = index;
      if (first < 0) first = index;
    } else {
      copyBytes(target, source, n);
      if (buffer !== 0) copied++;
    }
    source += n;
    sourceLeft -= n;
    target += n;
    room -= n;
    left -= n;
  }
  if (copied > 0) count(queue, copied, ASYNC_COPIED);
  return last;
}

/** Sends the first of `n` packets at `slots`. Returns how many it dealt with: the driver, or the channel, has too little room. */
function sendTaken(queue: u32, slots: u32, n: u32): u32 {
  const netq = load<u32>(queue, ASYNC_NETQ);
  const vq = load<u32>(netq, NETQ_QUEUE);
  const list = load<u32>(netq, NETQ_LIST);
  const records = load<u32>(netq, NETQ_RECORDS);
  const headerBytes = load<u32>(netq, NETQ_HEADER_BYTES);
  const track = load<u32>(queue, ASYNC_TRACK);
  const isWatched = isLogged(vq);
  // What the dirty log is told of has been written.
  const byChannel = track !== 0 && isOpen(track) && !isWatched;
  const threshold = byChannel ? load<u32>(queue, ASYNC_THRESHOLD) : u32.MAX_VALUE;
  let done: u32 = 0;
  for (; done < n; done++) {
    const slot = slots + (done << SLOT_SHIFT);
    const bytes = headerBytes + frameLength(slot);
    const used = takeFor(netq, bytes);
    if (used === 0) break;
    if (used < 0) {
      countNet(netq, NETQ_LONG);
      free(load<u32>(netq, NETQ_CACHE), slot, 1);
      continue;
    }
    const next = load<u32>(netq, NETQ_NEXT);
    // The segments of one chain lie behind those of the one before, and receive chains have writable ones alone.
    const last = place(queue, slot, load<u32>(chainAt(list, next), CHAIN_SEGMENTS), used, bytes, threshold);
    if (last === NO_DESCRIPTOR) {
      count(queue, 1, ASYNC_FULL);
      break;
    }
    if (isWatched) logUsed(vq, list, next, records, used);
    const flag = flagOf(queue, load<u32>(queue, ASYNC_HEAD));
    if (last >= 0) markLast(track, <u32>last, flag);
    else store<u8>(flag, <u8>FLAG_DONE);
    enter(queue, slot, records, used);
    store<u32>(netq, next + used, NETQ_NEXT);
  }
  return done;
}

/** Of the `n` packets at `slots`, how many come before the first of which the channel copies anything. */
function shortOnes(queue: u32, slots: u32, n: u32): u32 {
  const track = load<u32>(queue, ASYNC_TRACK);
  if (track === 0 || !isOpen(track) || isLogged(load<u32>(load<u32>(queue, ASYNC_NETQ), NETQ_QUEUE))) return n;
  const threshold = load<u32>(queue, ASYNC_THRESHOLD);
  let i: u32 = 0;
  while (i < n && frameLength(slots + (i << SLOT_SHIFT)) < threshold) i++;
  return i;
}

/**
 * Sends the first of `n` (1 to 32) packets at `slots` to the driver: their buffers are the queue's until they are copied.
 * Returns how many; the rest stay the caller's. `asyncSettle` uses the chains; but what the CPU copies while nothing is
 * under way is sent as if there were no channel, and is not kept.
 */
export function asyncSend(queue: u32, slots: u32, n: u32): u32 {
  const netq = load<u32>(queue, ASYNC_NETQ);
  const track = load<u32>(queue, ASYNC_TRACK);
  let done: u32 = 0;
  if (isIdle(queue)) {
    const short = shortOnes(queue, slots, n);
    if (short > 0) {
      done = deviceSend(netq, slots, short);
      count(queue, done, ASYNC_COPIED);
      if (done < short || short === n) return done;
    }
  }
  if (track !== 0) hold(track);
  if (!isBroken(load<u32>(netq, NETQ_QUEUE))) done += sendTaken(queue, slots + (done << SLOT_SHIFT), n - done);
  if (track !== 0) {
    count(queue, start(track), ASYNC_OFFLOADED);
    release(track);
  }
  return done;
}

/**
 * Uses the chains of packets that are copied, in order, and frees those. Returns how many. One publication for up to 64
 * chains.
 */
export function asyncSettle(queue: u32): u32 {
  const netq = load<u32>(queue, ASYNC_NETQ);
  collectAll(queue);
  const records = load<u32>(netq, NETQ_RECORDS);
  const slots = load<u32>(queue, ASYNC_SLOTS);
  let all: u32 = 0;
  while (isFirstDone(queue)) {
    let packets: u32 = 0;
    let used: u32 = 0;
    while (isFirstDone(queue) && used + firstRecords(queue) <= NETQ_CHAINS) {
      const at = records + (used << USED_SHIFT);
      used += firstRecords(queue);
      // A frame that was refused has a chain and no buffer.
      if (leave(queue, slots + (packets << SLOT_SHIFT), at)) packets++;
    }
    returnAny(load<u32>(netq, NETQ_QUEUE), records, used);
    free(load<u32>(netq, NETQ_CACHE), slots, packets);
    all += packets;
  }
  return all;
}
