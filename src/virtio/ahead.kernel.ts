// Chains that a device takes ahead, a burst of them, to send to; and which of them a packet takes.

import { BURST_MAX } from '../memory/layout.ts';
import { chainAt } from './chain.kernel.ts';
import {
  CHAIN_ID,
  CHAIN_READABLE,
  CHAIN_WRITABLE_BYTES,
  NETQ_CHAINS,
  NETQ_F_MRG_RXBUF,
  NETQ_FEATURES,
  NETQ_HEADER_BYTES,
  NETQ_LIST,
  NETQ_NEXT,
  NETQ_QUEUE,
  NETQ_RECORDS,
  NETQ_TAKEN,
} from './layout.ts';
import { putBack, takeAny, writeRecord } from './side.kernel.ts';
import { isBroken } from './state.kernel.ts';

/** Bytes that the chain has room for; 0 when it has readable ones too, which receive chains have not (5.1.6.3). */
export function roomOf(chain: u32): u32 {
  return load<u32>(chain, CHAIN_READABLE) === 0 ? load<u32>(chain, CHAIN_WRITABLE_BYTES) : 0;
}

/** Gives up the chains that were taken ahead. */
export function putBackTaken(netq: u32): void {
  const list = load<u32>(netq, NETQ_LIST);
  putBack(load<u32>(netq, NETQ_QUEUE), list, load<u32>(netq, NETQ_NEXT), load<u32>(netq, NETQ_TAKEN));
  store<u64>(netq, 0, NETQ_TAKEN);
}

/** Takes up to `max` chains, in place of those that were taken ahead and are used up. Returns how many. */
function takeAfresh(netq: u32, max: u32): u32 {
  const queue = load<u32>(netq, NETQ_QUEUE);
  store<u32>(netq, takeAny(queue, load<u32>(netq, NETQ_LIST), max), NETQ_TAKEN);
  store<u32>(netq, 0, NETQ_NEXT);
  // Those before the break could not be given back any more: what went into them would be lost.
  if (isBroken(queue)) putBackTaken(netq);
  return load<u32>(netq, NETQ_TAKEN);
}

/** Sees to it that a chain is there to be used. Returns the list's chains; NETQ_NEXT is less when there is one. */
export function takeAhead(netq: u32): u32 {
  const taken = load<u32>(netq, NETQ_TAKEN);
  if (load<u32>(netq, NETQ_NEXT) < taken) return taken;
  // A whole burst, however few packets there are: what is read now is not read while the device writes beside it.
  return takeAfresh(netq, BURST_MAX);
}

/** What `spread` and `takeFor` return for chains that no frame fits. */
const NO_ROOM: i32 = -1;

/**
 * Writes the records of the chains from `next` on that `bytes` bytes take to `records`. Returns how many; 0 when those that
 * were taken are too few, NO_ROOM when one has too little room for any frame.
 */
export function spread(netq: u32, records: u32, next: u32, bytes: u32): i32 {
  const list = load<u32>(netq, NETQ_LIST);
  const taken = load<u32>(netq, NETQ_TAKEN);
  const merges = (load<u32>(netq, NETQ_FEATURES) & NETQ_F_MRG_RXBUF) !== 0;
  const header = load<u32>(netq, NETQ_HEADER_BYTES);
  let left = bytes;
  for (let i = next; i < taken; i++) {
    const chain = chainAt(list, i);
    const room = roomOf(chain);
    // The header is not cut (5.1.6.3.1: a buffer is at least as long).
    if (room < header || (!merges && room < left)) return NO_ROOM;
    const n = min(left, room);
    writeRecord(records, i - next, load<u32>(chain, CHAIN_ID), n);
    left -= n;
    if (left === 0) return i - next + 1;
  }
  return 0;
}

/**
 * Sees to it that the chains are there that a packet takes which is `bytes` bytes with its header (5.1.6.4): of those that
 * were taken ahead, or else of as many as there are. Returns how many, from NETQ_NEXT on, and writes their records; 0 when there
 * are too few yet, NO_ROOM when NETQ_CHAINS chains do not hold it.
 */
export function takeFor(netq: u32, bytes: u32): i32 {
  const records = load<u32>(netq, NETQ_RECORDS);
  let used = spread(netq, records, load<u32>(netq, NETQ_NEXT), bytes);
  if (used !== 0) return used;
  putBackTaken(netq);
  const taken = takeAfresh(netq, NETQ_CHAINS);
  used = spread(netq, records, 0, bytes);
  return used === 0 && taken === NETQ_CHAINS ? NO_ROOM : used;
}
