import { append, frameLength } from '../memory/chain.kernel.ts';
import { copyFrame } from '../memory/copy.kernel.ts';
import {
  BUFFER_FRAME_MAX,
  BUFFER_HEADROOM,
  BURST_MAX,
  SLOT_BUFFER,
  SLOT_FLAG_CHAINED,
  SLOT_FLAG_OFFLOAD,
  SLOT_FLAGS,
  SLOT_LENGTH,
  SLOT_OFFSET,
  SLOT_SHIFT,
} from '../memory/layout.ts';
import { alloc, free } from '../memory/pool.kernel.ts';
import { putBackTaken, roomOf, spread, takeAhead, takeFor } from './ahead.kernel.ts';
import { chainAt } from './chain.kernel.ts';
import {
  CHAIN_ID,
  CHAIN_READABLE,
  CHAIN_READABLE_BYTES,
  CHAIN_SEGMENTS,
  CHAIN_WRITABLE,
  NET_FRAME_MAX,
  NET_FRAME_MIN,
  NETQ_BAD,
  NETQ_CACHE,
  NETQ_EMPTY,
  NETQ_EMPTY_POLLS,
  NETQ_F_MRG_RXBUF,
  NETQ_FEATURES,
  NETQ_HEADER,
  NETQ_HEADER_BYTES,
  NETQ_LIST,
  NETQ_LONG,
  NETQ_NEXT,
  NETQ_PENDING,
  NETQ_QUEUE,
  NETQ_RECORDS,
  SEGMENT_ADDRESS,
  SEGMENT_LENGTH,
  SEGMENT_SHIFT,
  USED_SHIFT,
  VQ_F_PACKED,
} from './layout.ts';
import { acceptOffload, countNet, renewHeader } from './net-header.kernel.ts';
import { receivePacked, sendPacked } from './packed-net.kernel.ts';
import { scatter } from './scatter.kernel.ts';
import { returnAny, returnWritten, takeAny, writeRecord } from './side.kernel.ts';
import { hasFeature, isBroken } from './state.kernel.ts';

// ---------------------------------------------------------------- what the driver sends

/** Copies a frame out of a chain of one segment, as most are. Returns 1, or 0 when it is refused. */
function copySimple(netq: u32, segment: u32, slot: u32): u32 {
  const headerBytes = load<u32>(netq, NETQ_HEADER_BYTES);
  const header = load<u32>(segment, SEGMENT_ADDRESS);
  const frame = load<u32>(segment, SEGMENT_LENGTH) - headerBytes;
  copyFrame(load<u32>(slot, SLOT_BUFFER) + BUFFER_HEADROOM, header + headerBytes, frame);
  store<u16>(slot, <u16>frame, SLOT_LENGTH);
  return acceptOffload(netq, slot, header, frame);
}

/** Copies a frame out of a chain of any form. Returns 1, or 0 when it is refused or no buffer is left. */
function copyAny(netq: u32, chain: u32, slot: u32): u32 {
  const cache = load<u32>(netq, NETQ_CACHE);
  const headerBytes = load<u32>(netq, NETQ_HEADER_BYTES);
  const segments = load<u32>(chain, CHAIN_READABLE);
  let last = load<u32>(slot, SLOT_BUFFER);
  let left = headerBytes;
  for (let i: u32 = 0; i < segments; i++) {
    const segment = load<u32>(chain, CHAIN_SEGMENTS) + (i << SEGMENT_SHIFT);
    let address = load<u32>(segment, SEGMENT_ADDRESS);
    let length = load<u32>(segment, SEGMENT_LENGTH);
    if (left > 0) {
      // 2.6.4: the header may end anywhere.
      const n = min(left, length);
      memory.copy(netq + NETQ_HEADER + headerBytes - left, address, n);
      address += n;
      length -= n;
      left -= n;
    }
    if (length > 0) last = append(cache, slot, last, address, length);
    if (last === 0) {
      countNet(netq, NETQ_EMPTY);
      return 0;
    }
  }
  const ok = acceptOffload(netq, slot, netq + NETQ_HEADER, load<u32>(chain, CHAIN_READABLE_BYTES) - headerBytes);
  if (ok === 0) countNet(netq, NETQ_BAD);
  return ok;
}

/** Copies the frame of a chain into the empty packet at `slot`. Returns 1; or 0, with the packet empty again or freed. */
export function receiveFrame(netq: u32, chain: u32, slot: u32): u32 {
  const bytes = load<u32>(chain, CHAIN_READABLE_BYTES);
  const headerBytes = load<u32>(netq, NETQ_HEADER_BYTES);
  // The longest first: `bytes` may be anything below 2^32.
  if (bytes > headerBytes + NET_FRAME_MAX || bytes < headerBytes + NET_FRAME_MIN) {
    countNet(netq, NETQ_BAD);
    return 0;
  }
  // One readable segment and no writable one, in a single load.
  if (load<u64>(chain, CHAIN_READABLE) === 1 && bytes <= headerBytes + BUFFER_FRAME_MAX) {
    if (copySimple(netq, load<u32>(chain, CHAIN_SEGMENTS), slot) !== 0) return 1;
    countNet(netq, NETQ_BAD);
    return 0;
  }
  return copyAny(netq, chain, slot);
}

/** Records that are returned at once, and polls that find nothing before fewer are. */
const RETURN_AT: u32 = 32;
const IDLE_POLLS: u32 = 8;

/** Returns what was received: all bytes of it are copied. */
export function flushReceived(netq: u32): void {
  returnAny(load<u32>(netq, NETQ_QUEUE), load<u32>(netq, NETQ_RECORDS), load<u32>(netq, NETQ_PENDING));
  store<u32>(netq, 0, NETQ_PENDING);
  store<u32>(netq, 0, NETQ_EMPTY_POLLS);
}

/** A poll found nothing: soon the driver should have back what it may be waiting for. */
export function receivedNothing(netq: u32): void {
  if (load<u32>(netq, NETQ_PENDING) === 0) return;
  const polls = load<u32>(netq, NETQ_EMPTY_POLLS) + 1;
  store<u32>(netq, polls, NETQ_EMPTY_POLLS);
  if (polls === IDLE_POLLS) flushReceived(netq);
}

/** Receives from the first `taken` chains of the list. Returns in how many packets, at `slots`. */
export function receiveTaken(netq: u32, slots: u32, taken: u32): u32 {
  const list = load<u32>(netq, NETQ_LIST);
  const cache = load<u32>(netq, NETQ_CACHE);
  const pending = load<u32>(netq, NETQ_PENDING);
  const records = load<u32>(netq, NETQ_RECORDS) + (pending << USED_SHIFT);
  const ready = alloc(cache, slots, taken);
  let n: u32 = 0;
  for (let i: u32 = 0; i < taken; i++) {
    const chain = chainAt(list, i);
    writeRecord(records, i, load<u32>(chain, CHAIN_ID), 0);
    const slot = slots + (n << SLOT_SHIFT);
    if (n === ready) {
      countNet(netq, NETQ_EMPTY);
    } else if (receiveFrame(netq, chain, slot) !== 0) {
      n++;
    } else {
      // Whatever it holds now: it goes back whole, so that there is a buffer for the next.
      free(cache, slot, 1);
      const again = alloc(cache, slot, 1);
      assert(again === 1);
    }
  }
  if (ready > n) free(cache, slots + (n << SLOT_SHIFT), ready - n);
  store<u32>(netq, pending + taken, NETQ_PENDING);
  if (pending + taken >= RETURN_AT) flushReceived(netq);
  return n;
}

/**
 * Takes up to `max` (1 to 32) frames that the driver sends, as packets to `slots`. Returns how many. Chains go back by
 * the burst, or when the queue is idle: where the driver is writing, the device had better not write too. Device only.
 */
export function deviceReceive(netq: u32, slots: u32, max: u32): u32 {
  if (hasFeature(load<u32>(netq, NETQ_QUEUE), VQ_F_PACKED)) {
    const n = receivePacked(netq, slots, min(max, BURST_MAX));
    if (load<u32>(netq, NETQ_PENDING) >= RETURN_AT) flushReceived(netq);
    if (n > 0) return n;
  }
  const taken = takeAny(load<u32>(netq, NETQ_QUEUE), load<u32>(netq, NETQ_LIST), min(max, BURST_MAX));
  if (taken > 0) return receiveTaken(netq, slots, taken);
  receivedNothing(netq);
  return 0;
}

// ---------------------------------------------------------------- what the driver receives

/** Writes header and frame into one chain with room for them. */
function sendSimple(netq: u32, slot: u32, chain: u32): void {
  const headerBytes = load<u32>(netq, NETQ_HEADER_BYTES);
  const frame = frameLength(slot);
  const flags: u32 = load<u8>(slot, SLOT_FLAGS);
  if (load<u32>(chain, CHAIN_WRITABLE) !== 1 || flags & (SLOT_FLAG_CHAINED | SLOT_FLAG_OFFLOAD)) {
    scatter(netq, slot, load<u32>(chain, CHAIN_SEGMENTS), 1, headerBytes + frame);
    return;
  }
  const target = load<u32>(load<u32>(chain, CHAIN_SEGMENTS), SEGMENT_ADDRESS);
  renewHeader(netq, slot, target);
  copyFrame(target + headerBytes, load<u32>(slot, SLOT_BUFFER) + load<u16>(slot, SLOT_OFFSET), frame);
}

/**
 * Sends packets that fit one chain each, until one does not, or the chains end. Returns how many are dealt with. Those
 * that no chain can hold are dropped.
 */
function sendBurst(netq: u32, slots: u32, count: u32): u32 {
  const list = load<u32>(netq, NETQ_LIST);
  const records = load<u32>(netq, NETQ_RECORDS);
  const headerBytes = load<u32>(netq, NETQ_HEADER_BYTES);
  const merges = (load<u32>(netq, NETQ_FEATURES) & NETQ_F_MRG_RXBUF) !== 0;
  const taken = takeAhead(netq);
  const first = load<u32>(netq, NETQ_NEXT);
  const most = min(count, taken - first);
  let n: u32 = 0;
  for (; n < most; n++) {
    const chain = chainAt(list, first + n);
    const bytes = headerBytes + frameLength(slots + (n << SLOT_SHIFT));
    if (roomOf(chain) < bytes) break;
    writeRecord(records, n, load<u32>(chain, CHAIN_ID), bytes);
  }
  // Apart from what leads to it, so that stores to lines that the driver has follow each other closely.
  for (let i: u32 = 0; i < n; i++) sendSimple(netq, slots + (i << SLOT_SHIFT), chainAt(list, first + i));
  store<u32>(netq, first + n, NETQ_NEXT);
  returnWritten(load<u32>(netq, NETQ_QUEUE), list, first, records, n);
  if (n > 0 || first === taken || merges) return n;
  countNet(netq, NETQ_LONG);
  return 1;
}

/**
 * Sends packets in as many chains each as they take (5.1.6.4), until those that were taken ahead end. Returns how many are
 * dealt with, 0 when there are too few chains yet. Drops what no chains hold.
 */
function sendMerged(netq: u32, slots: u32, count: u32): u32 {
  const list = load<u32>(netq, NETQ_LIST);
  const records = load<u32>(netq, NETQ_RECORDS);
  const headerBytes = load<u32>(netq, NETQ_HEADER_BYTES);
  let chains = takeFor(netq, headerBytes + frameLength(slots));
  if (chains === 0) return 0;
  if (chains < 0) {
    countNet(netq, NETQ_LONG);
    return 1;
  }
  const first = load<u32>(netq, NETQ_NEXT);
  let used: u32 = 0;
  let n: u32 = 0;
  do {
    const slot = slots + (n << SLOT_SHIFT);
    // The segments of one chain lie behind those of the one before, and receive chains have writable ones alone.
    const segment = load<u32>(chainAt(list, first + used), CHAIN_SEGMENTS);
    scatter(netq, slot, segment, chains, headerBytes + frameLength(slot));
    used += chains;
    n++;
    if (n === count) break;
    const bytes = headerBytes + frameLength(slot + (1 << SLOT_SHIFT));
    chains = spread(netq, records + (used << USED_SHIFT), first + used, bytes);
  } while (chains > 0);
  store<u32>(netq, first + used, NETQ_NEXT);
  returnWritten(load<u32>(netq, NETQ_QUEUE), list, first, records, used);
  return n;
}

/**
 * Sends the first of `count` (1 to 32) packets at `slots` to the driver, and frees them. Returns how many; the rest stay
 * the caller's: the driver has given too few buffers. Device only.
 */
export function deviceSend(netq: u32, slots: u32, count: u32): u32 {
  const queue = load<u32>(netq, NETQ_QUEUE);
  const isPacked = hasFeature(queue, VQ_F_PACKED);
  const merges = (load<u32>(netq, NETQ_FEATURES) & NETQ_F_MRG_RXBUF) !== 0;
  let done: u32 = 0;
  while (done < count && !isBroken(queue)) {
    const next = slots + (done << SLOT_SHIFT);
    let n = isPacked ? sendPacked(netq, next, count - done) : 0;
    if (n === 0) n = sendBurst(netq, next, count - done);
    if (n === 0 && merges) n = sendMerged(netq, next, count - done);
    if (n === 0) break;
    done += n;
  }
  free(load<u32>(netq, NETQ_CACHE), slots, done);
  return done;
}

/**
 * Gives back what the queue holds back: chains that were received from, and those that were taken ahead to send to. Call
 * it before the queue is stopped. Device only.
 */
export function deviceFlush(netq: u32): void {
  flushReceived(netq);
  putBackTaken(netq);
}
