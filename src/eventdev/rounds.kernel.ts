// What a port sends to itself goes through a FIFO that only its thread touches: a place in its event ring costs a
// compare-and-swap, an atomic store, and cache lines that other senders want as well. Only in devices with one level and no
// ordered queue (`hasLane`).
//
// Dequeues take both in rounds: what the FIFO had when the round began, then what the ring had. So nobody starves, and of
// two events of a flow the older comes first:
//
// - One in the FIFO, and a younger one that another port sent here since that port owns the flow's stage before this one:
//   a round that has the second in its ring part has the first in its FIFO part, or an earlier round had.
// - One in the ring, and a younger one that this port sent to itself: the flow, or its stage before, moved here in between.
//   With the message that tells of it the round is *gated*: it has all places of the ring that are claimed by then,
//   readable or not, and what the FIFO gets from then on waits for the end of it.
//
// Between senders there is no order but that of the arrival, about: one may overtake another's events within a round.

import { copySlots, copySlotsOut } from '../ring/copy.kernel.ts';
import { MPSC_HEAD, MPSC_RUNS, MPSC_SIZE, MPSC_TAIL } from '../ring/layout.ts';
import { claimFrom } from '../ring/mpsc.kernel.ts';
import {
  EVPORT_GATED,
  EVPORT_LOCAL_LANE,
  EVPORT_LOCAL_LIMIT,
  EVPORT_LOCAL_READ,
  EVPORT_LOCAL_START,
  EVPORT_LOCAL_TAIL,
  EVPORT_OUTPUT_ENDS,
  EVPORT_RING,
  EVPORT_ROUND_LOCAL,
  EVPORT_ROUND_RING,
  EVPORT_TAIL,
  LANES_MAX,
  TAIL_LAG,
} from './layout.ts';

/** Copies the `n` slots at the tail of a ring, of the level whose words are at `its`, to `target`, and moves the tail on. */
export function readSlots(its: u32, ring: u32, size: u32, tail: u32, target: u32, n: u32): void {
  const slots = ring + MPSC_RUNS + (size << 2);
  if (n === 1) v128.store(target, v128.load(slots + ((tail & (size - 1)) << 4)));
  else copySlotsOut(slots, size, tail, target, n);
  store<u32>(its, tail + n, EVPORT_TAIL);
  if (tail + n - load<u32>(ring, MPSC_TAIL) >= TAIL_LAG) atomic.store<u32>(ring, tail + n, MPSC_TAIL);
}

/** True when the port has a FIFO of its own. */
export function hasLane(port: u32): bool {
  return load<u32>(port, EVPORT_LOCAL_LANE) !== LANES_MAX;
}

/** Where the next event of the FIFO goes. */
export function localEnd(port: u32): u32 {
  return load<u32>(port + (load<u32>(port, EVPORT_LOCAL_LANE) << 2), EVPORT_OUTPUT_ENDS);
}

/** The slot of the FIFO behind `slot`. */
export function nextLocal(port: u32, slot: u32): u32 {
  return slot + 16 === load<u32>(port, EVPORT_LOCAL_LIMIT) ? load<u32>(port, EVPORT_LOCAL_START) : slot + 16;
}

/** Begins a round, of all that is readable. The one before is read. */
function beginRound(port: u32): void {
  const ring = load<u32>(port, EVPORT_RING);
  const size = load<u32>(ring, MPSC_SIZE);
  const tail = load<u32>(port, EVPORT_TAIL);
  store<u32>(port, localEnd(port), EVPORT_ROUND_LOCAL);
  store<u32>(port, tail + claimFrom(ring, size, tail, size), EVPORT_ROUND_RING);
  store<u32>(port, 0, EVPORT_GATED);
}

/** Begins a round of all that is in the FIFO, or has a place in the ring: what this port sends itself from now on is younger. */
export function gateRound(port: u32): void {
  const head = atomic.load<u32>(load<u32>(port, EVPORT_RING), MPSC_HEAD);
  store<u32>(port, localEnd(port), EVPORT_ROUND_LOCAL);
  store<u32>(port, head, EVPORT_ROUND_RING);
  store<u32>(port, head === load<u32>(port, EVPORT_TAIL) ? 0 : 1, EVPORT_GATED);
}

/** True when the FIFO may have events that are younger than some in the ring. */
export function isGated(port: u32): bool {
  return load<u32>(port, EVPORT_GATED) !== 0 && load<u32>(port, EVPORT_TAIL) !== load<u32>(port, EVPORT_ROUND_RING);
}

/** True when `gateRound` may be called: nothing in the FIFO waits for the end of a gated round. */
export function mayGate(port: u32): bool {
  return !isGated(port) || localEnd(port) === load<u32>(port, EVPORT_ROUND_LOCAL);
}

/** True when all events of the round are read. */
export function isRoundRead(port: u32): bool {
  return (
    load<u32>(port, EVPORT_LOCAL_TAIL) === load<u32>(port, EVPORT_ROUND_LOCAL) &&
    load<u32>(port, EVPORT_TAIL) === load<u32>(port, EVPORT_ROUND_RING)
  );
}

/** True when the FIFO has an event that can be read before any of the ring. */
export function hasLocal(port: u32): bool {
  const tail = load<u32>(port, EVPORT_LOCAL_TAIL);
  return tail !== load<u32>(port, EVPORT_ROUND_LOCAL) || (!isGated(port) && tail !== localEnd(port));
}

/** True when there is an event to read in the round, or in the next when it is read. */
export function hasWork(port: u32): bool {
  if (isRoundRead(port)) beginRound(port);
  if (load<u32>(port, EVPORT_LOCAL_TAIL) !== load<u32>(port, EVPORT_ROUND_LOCAL)) return true;
  const ring = load<u32>(port, EVPORT_RING);
  const tail = load<u32>(port, EVPORT_TAIL);
  const left = load<u32>(port, EVPORT_ROUND_RING) - tail;
  return claimFrom(ring, load<u32>(ring, MPSC_SIZE), tail, min(left, 1)) > 0;
}

/** Moves up to `limit` events of the round's FIFO part to `target`. Returns how many. */
function readLocal(port: u32, target: u32, limit: u32): u32 {
  const end = load<u32>(port, EVPORT_ROUND_LOCAL);
  let tail = load<u32>(port, EVPORT_LOCAL_TAIL);
  if (tail === end) return 0;
  const bound = load<u32>(port, EVPORT_LOCAL_LIMIT);
  let n = min(limit, ((end > tail ? end : bound) - tail) >> 4);
  copySlots(target, tail, n);
  tail += n << 4;
  if (tail === bound) {
    tail = load<u32>(port, EVPORT_LOCAL_START);
    const more = min(limit - n, (end - tail) >> 4);
    copySlots(target + (n << 4), tail, more);
    tail += more << 4;
    n += more;
  }
  store<u32>(port, tail, EVPORT_LOCAL_TAIL);
  store<u32>(port, load<u32>(port, EVPORT_LOCAL_READ) + n, EVPORT_LOCAL_READ);
  return n;
}

/** Moves up to `limit` events of the round's ring part to `target`; of a gated round as far as it is readable. Returns how many. */
function readRing(port: u32, target: u32, limit: u32): u32 {
  const tail = load<u32>(port, EVPORT_TAIL);
  const left = load<u32>(port, EVPORT_ROUND_RING) - tail;
  if (left === 0) return 0;
  const ring = load<u32>(port, EVPORT_RING);
  const size = load<u32>(ring, MPSC_SIZE);
  const n = claimFrom(ring, size, tail, min(limit, left));
  if (n > 0) readSlots(port, ring, size, tail, target, n);
  return n;
}

/** Moves up to `limit` events of the round to `target`. Returns how many. */
function readRound(port: u32, target: u32, limit: u32): u32 {
  const n = readLocal(port, target, limit);
  return n === limit ? n : n + readRing(port, target + (n << 4), limit - n);
}

/** Moves up to `limit` events of the round and the next one to `target`, so that bursts stay full. Returns how many. */
export function readRounds(port: u32, target: u32, limit: u32): u32 {
  const n = readRound(port, target, limit);
  if (n === limit || !isRoundRead(port)) return n;
  beginRound(port);
  return n + readRound(port, target + (n << 4), limit - n);
}
