import { clone, frameLength } from '../memory/chain.kernel.ts';
import {
  BUFFER_BYTES,
  BUFFER_FRAME_MAX,
  BUFFER_HEADROOM,
  BUFFER_SHIFT,
  BURST_MAX,
  SLOT_BUFFER,
  SLOT_FLAG_CHAINED,
  SLOT_FLAG_SHARED,
  SLOT_FLAGS,
  SLOT_LENGTH,
  SLOT_OFFSET,
  SLOT_SHIFT,
} from '../memory/layout.ts';
import { alloc, free } from '../memory/pool.kernel.ts';
import {
  XADDRESS_SHIFT,
  XDESC_LENGTH,
  XDESC_SHIFT,
  XRING_CONSUMER,
  XRING_ENTRIES,
  XRING_INDEX,
  XRING_MASK,
  XRING_PRODUCER,
  XSK_BAD,
  XSK_BASE,
  XSK_COMPLETION,
  XSK_COUNT,
  XSK_EMPTY,
  XSK_FILL,
  XSK_LONG,
  XSK_OWNED,
  XSK_RX,
  XSK_SLOTS,
  XSK_TX,
} from './layout.ts';

function countOne(xsk: u32, counter: u32): void {
  store<u32>(xsk + counter, load<u32>(xsk + counter) + 1);
}

/** Entries that the kernel has put into a ring and that were not read. */
function waiting(ring: u32): u32 {
  return atomic.load<u32>(load<u32>(ring, XRING_PRODUCER)) - load<u32>(ring, XRING_INDEX);
}

/** Entries that fit a ring which the kernel reads. */
function room(ring: u32): u32 {
  const used = load<u32>(ring, XRING_INDEX) - atomic.load<u32>(load<u32>(ring, XRING_CONSUMER));
  return load<u32>(ring, XRING_MASK) + 1 - used;
}

/** Tells the kernel how far a ring was read, or written. */
function publish(ring: u32, word: u32, index: u32): void {
  store<u32>(ring, index, XRING_INDEX);
  atomic.store<u32>(load<u32>(ring + word), index);
}

/** Takes the buffer of an address that comes from the kernel. Returns it, or 0 when the kernel did not have it. */
function take(xsk: u32, address: u64): u32 {
  const index = <u32>(address >> BUFFER_SHIFT);
  const owned = load<u32>(xsk, XSK_OWNED) + index;
  if (address >> BUFFER_SHIFT >= load<u32>(xsk, XSK_COUNT) || load<u8>(owned) !== 1) {
    countOne(xsk, XSK_BAD);
    return 0;
  }
  store<u8>(owned, 0);
  return load<u32>(xsk, XSK_BASE) + (index << BUFFER_SHIFT);
}

/** The kernel has the buffer from now on. Returns its address there. */
function give(xsk: u32, buffer: u32): u32 {
  const address = buffer - load<u32>(xsk, XSK_BASE);
  store<u8>(load<u32>(xsk, XSK_OWNED) + (address >> BUFFER_SHIFT), 1);
  return address;
}

/** Frees the buffer, which no packet is in. */
function drop(cache: u32, slot: u32, buffer: u32): void {
  store<u64>(slot, buffer, SLOT_BUFFER);
  store<u64>(slot, 0, 8);
  free(cache, slot, 1);
}

/** Gives the kernel buffers to receive into: as many as the fill ring takes, up to a burst. */
export function xskFill(xsk: u32, cache: u32): u32 {
  const ring = xsk + XSK_FILL;
  const slots = xsk + XSK_SLOTS;
  const n = alloc(cache, slots, min(room(ring), BURST_MAX));
  if (n === 0) return 0;
  const mask = load<u32>(ring, XRING_MASK);
  const entries = load<u32>(ring, XRING_ENTRIES);
  const index = load<u32>(ring, XRING_INDEX);
  for (let i: u32 = 0; i < n; i++) {
    const address = give(xsk, load<u32>(slots + (i << SLOT_SHIFT), SLOT_BUFFER));
    store<u64>(entries + (((index + i) & mask) << XADDRESS_SHIFT), address);
  }
  publish(ring, XRING_PRODUCER, index + n);
  return n;
}

/** Receives up to `max` (1 to 32) packets to `slots`, where the kernel has written them. Returns how many. */
export function xskReceive(xsk: u32, cache: u32, slots: u32, max: u32): u32 {
  const ring = xsk + XSK_RX;
  const count = min(waiting(ring), max);
  const mask = load<u32>(ring, XRING_MASK);
  const entries = load<u32>(ring, XRING_ENTRIES);
  const index = load<u32>(ring, XRING_INDEX);
  let n: u32 = 0;
  for (let i: u32 = 0; i < count; i++) {
    const entry = entries + (((index + i) & mask) << XDESC_SHIFT);
    const address = load<u64>(entry);
    const length = load<u32>(entry, XDESC_LENGTH);
    const offset = <u32>address & (BUFFER_BYTES - 1);
    const buffer = take(xsk, address);
    if (buffer === 0) continue;
    if (offset < BUFFER_HEADROOM || offset + length > BUFFER_BYTES) {
      countOne(xsk, XSK_BAD);
      drop(cache, xsk + XSK_SLOTS, buffer);
      continue;
    }
    const slot = slots + (n++ << SLOT_SHIFT);
    store<u64>(slot, ((<u64>length) << 48) | ((<u64>offset) << 32) | buffer, SLOT_BUFFER);
    store<u64>(slot, 0, 8);
  }
  if (count > 0) publish(ring, XRING_CONSUMER, index + count);
  if (room(xsk + XSK_FILL) >= BURST_MAX) xskFill(xsk, cache);
  return n;
}

/** Takes back the buffers of packets that were sent. */
function complete(xsk: u32, cache: u32): void {
  const ring = xsk + XSK_COMPLETION;
  const count = waiting(ring);
  if (count === 0) return;
  const mask = load<u32>(ring, XRING_MASK);
  const entries = load<u32>(ring, XRING_ENTRIES);
  const index = load<u32>(ring, XRING_INDEX);
  for (let i: u32 = 0; i < count; i++) {
    const buffer = take(xsk, load<u64>(entries + (((index + i) & mask) << XADDRESS_SHIFT)));
    if (buffer !== 0) drop(cache, xsk + XSK_SLOTS, buffer);
  }
  publish(ring, XRING_CONSUMER, index + count);
}

/**
 * Makes the packet at `slot` one that the kernel may have: one buffer, which nobody else holds. Returns 1, or 0 when it cannot
 * be sent, and is freed.
 */
function makeOwn(xsk: u32, cache: u32, slot: u32): u32 {
  if (!(load<u8>(slot, SLOT_FLAGS) & (SLOT_FLAG_CHAINED | SLOT_FLAG_SHARED))) return 1;
  const copy = xsk + XSK_SLOTS;
  let wrong: u32 = 0;
  if (frameLength(slot) > BUFFER_FRAME_MAX) wrong = XSK_LONG;
  else if (clone(cache, slot, copy) === 0) wrong = XSK_EMPTY;
  free(cache, slot, 1);
  if (wrong !== 0) {
    countOne(xsk, wrong);
    return 0;
  }
  v128.store(slot, v128.load(copy));
  return 1;
}

/**
 * Sends the first of `count` packets at `slots`; their buffers are the kernel's until they are sent. Returns how many; the
 * rest stay the caller's: the ring is full.
 */
export function xskSend(xsk: u32, cache: u32, slots: u32, count: u32): u32 {
  complete(xsk, cache);
  const ring = xsk + XSK_TX;
  const limit = min(room(ring), count);
  const mask = load<u32>(ring, XRING_MASK);
  const entries = load<u32>(ring, XRING_ENTRIES);
  let index = load<u32>(ring, XRING_INDEX);
  for (let i: u32 = 0; i < limit; i++) {
    const slot = slots + (i << SLOT_SHIFT);
    if (makeOwn(xsk, cache, slot) === 0) continue;
    const entry = entries + ((index++ & mask) << XDESC_SHIFT);
    const address = give(xsk, load<u32>(slot, SLOT_BUFFER)) + load<u16>(slot, SLOT_OFFSET);
    store<u64>(entry, address);
    // And options, which are 0.
    store<u64>(entry, load<u16>(slot, SLOT_LENGTH), XDESC_LENGTH);
  }
  if (limit > 0) publish(ring, XRING_PRODUCER, index);
  return limit;
}

/** Packets in the ring that the kernel has not looked at. */
export function xskUnsent(xsk: u32): u32 {
  const ring = xsk + XSK_TX;
  return load<u32>(ring, XRING_INDEX) - atomic.load<u32>(load<u32>(ring, XRING_CONSUMER));
}

/** Frees every buffer that the kernel has, which has closed the socket. */
export function xskReclaim(xsk: u32, cache: u32): void {
  const count = load<u32>(xsk, XSK_COUNT);
  const owned = load<u32>(xsk, XSK_OWNED);
  for (let i: u32 = 0; i < count; i++) {
    if (load<u8>(owned + i) !== 1) continue;
    store<u8>(owned + i, 0);
    drop(cache, xsk + XSK_SLOTS, load<u32>(xsk, XSK_BASE) + (i << BUFFER_SHIFT));
  }
}
