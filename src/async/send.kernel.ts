// Towards the driver: header and small frames by the CPU, the rest by the channel; used when all before it are copied.

import { frameLength } from '../memory/chain.kernel.ts';
import { copyBytes } from '../memory/copy.kernel.ts';
import { SLOT_SHIFT } from '../memory/layout.ts';
import { free } from '../memory/pool.kernel.ts';
import { chainAt } from '../virtio/chain.kernel.ts';
import {
  CHAIN_SEGMENTS,
  NETQ_CACHE,
  NETQ_CHAINS,
  NETQ_F_MRG_RXBUF,
  NETQ_FEATURES,
  NETQ_HEADER,
  NETQ_HEADER_BYTES,
  NETQ_LIST,
  NETQ_LONG,
  NETQ_PIECE_BUFFER,
  NETQ_PIECE_SOURCE,
  NETQ_PIECE_TARGET,
  NETQ_QUEUE,
  NETQ_RECORDS,
  USED_SHIFT,
} from '../virtio/layout.ts';
import { isLogged, logUsed } from '../virtio/log.kernel.ts';
import { deviceSend, putBackTaken, spread } from '../virtio/net-device.kernel.ts';
import { countNet, writeHeader } from '../virtio/net-header.kernel.ts';
import { beginPieces, findPiece, passPiece } from '../virtio/pieces.kernel.ts';
import { putBack, returnAny, takeAny } from '../virtio/side.kernel.ts';
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
 * Copies header and frame into the segments from `segment` on, which have room for the `bytes` bytes of both. Returns the
 * ring index of the channel's last copy, NOTHING or NO_DESCRIPTOR.
 * @param byChannel what is long enough.
 */
function place(queue: u32, slot: u32, segment: u32, bytes: u32, byChannel: bool): i32 {
  const netq = load<u32>(queue, ASYNC_NETQ);
  const track = load<u32>(queue, ASYNC_TRACK);
  const threshold = load<u32>(queue, ASYNC_THRESHOLD);
  let first = NOTHING;
  let last = NOTHING;
  let offloaded: u32 = 0;
  let copied: u32 = 0;
  let left = bytes;
  beginPieces(netq, slot, segment);
  while (left > 0) {
    const n = findPiece(netq, slot, left);
    const source = load<u32>(netq, NETQ_PIECE_SOURCE);
    const target = load<u32>(netq, NETQ_PIECE_TARGET);
    // The header lies where the next packet's will be.
    const isFrame = load<u32>(netq, NETQ_PIECE_BUFFER) !== 0;
    if (byChannel && isFrame && n >= threshold) {
      const index = offload(track, target, source, n);
      if (index < 0) {
        if (first < 0) return NO_DESCRIPTOR;
        giveUp(track, <u32>first);
        // In more pieces than there are descriptors.
        return isOldest(track, <u32>first) ? place(queue, slot, segment, bytes, false) : NO_DESCRIPTOR;
      }
      last = index;
      if (first < 0) first = index;
      offloaded++;
    } else {
      copyBytes(target, source, n);
      if (isFrame) copied++;
    }
    passPiece(netq, n);
    left -= n;
  }
  count(queue, offloaded, ASYNC_OFFLOADED);
  count(queue, copied, ASYNC_COPIED);
  return last;
}

/** Sends the first of `n` packets at `slots` into the `taken` chains of the list. Returns how many it dealt with. */
function sendTaken(queue: u32, slots: u32, n: u32, taken: u32): u32 {
  const netq = load<u32>(queue, ASYNC_NETQ);
  const vq = load<u32>(netq, NETQ_QUEUE);
  const list = load<u32>(netq, NETQ_LIST);
  const records = load<u32>(netq, NETQ_RECORDS);
  const track = load<u32>(queue, ASYNC_TRACK);
  // What the dirty log is told of has been written.
  const byChannel = track !== 0 && isOpen(track) && !isLogged(vq);
  let next: u32 = 0;
  let done: u32 = 0;
  while (done < n && next < taken) {
    const slot = slots + (done << SLOT_SHIFT);
    const bytes = load<u32>(netq, NETQ_HEADER_BYTES) + frameLength(slot);
    const used = spread(netq, next, taken, bytes);
    // With more chains it may fit; but for that it must be the first.
    if (used === 0 && (next > 0 || taken < NETQ_CHAINS)) break;
    if (used <= 0) {
      countNet(netq, NETQ_LONG);
      free(load<u32>(netq, NETQ_CACHE), slot, 1);
      done++;
      continue;
    }
    writeHeader(netq, slot, netq + NETQ_HEADER, used);
    // The segments of one chain lie behind those of the one before, and receive chains have writable ones alone.
    const last = place(queue, slot, load<u32>(chainAt(list, next), CHAIN_SEGMENTS), bytes, byChannel);
    if (last === NO_DESCRIPTOR) {
      count(queue, 1, ASYNC_FULL);
      break;
    }
    if (isLogged(vq)) logUsed(vq, list, next, records, used);
    const flag = flagOf(queue, load<u32>(queue, ASYNC_HEAD));
    if (last >= 0) markLast(track, <u32>last, flag);
    else store<u8>(flag, <u8>FLAG_DONE);
    enter(queue, slot, records, used);
    next += used;
    done++;
  }
  putBack(vq, list, next, taken);
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
  const vq = load<u32>(netq, NETQ_QUEUE);
  const list = load<u32>(netq, NETQ_LIST);
  const track = load<u32>(queue, ASYNC_TRACK);
  let done: u32 = 0;
  if (isIdle(queue)) {
    const short = shortOnes(queue, slots, n);
    if (short > 0) {
      done = deviceSend(netq, slots, short);
      count(queue, done, ASYNC_COPIED);
      if (done < short || short === n) return done;
    }
    putBackTaken(netq);
  }
  if (track !== 0) hold(track);
  while (done < n && !isBroken(vq)) {
    const sent = sendTaken(queue, slots + (done << SLOT_SHIFT), n - done, takeAny(vq, list, n - done));
    done += sent;
    if (sent > 0) continue;
    // A long frame may take more chains than there are packets.
    if ((load<u32>(netq, NETQ_FEATURES) & NETQ_F_MRG_RXBUF) === 0) break;
    const one = sendTaken(queue, slots + (done << SLOT_SHIFT), 1, takeAny(vq, list, NETQ_CHAINS));
    if (one === 0) break;
    done++;
  }
  if (track !== 0) {
    start(track);
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
