// Ordered queues: one ring for each, whose places are sequence numbers. Senders claim places and write them; ports take
// runs of written ones; what became of each comes back to its place, and leaves in the order of the places.

import { SLOT_EVENT } from '../memory/layout.ts';
import { giveCredits } from './credits.kernel.ts';
import {
  BELL_PARKED,
  EVDEV_BELLS,
  EVDEV_HASH_BITS,
  EVDEV_ORDERED_RINGS,
  EVDEV_PORTS,
  EVDEV_QUEUE_ENTRIES,
  EVDEV_QUEUES,
  EVENT_QUEUE_MASK,
  EVPORT_DRAINED,
  EVPORT_HELD,
  EVPORT_HELD_HEAD,
  EVPORT_HELD_MASK,
  EVPORT_ID,
  EVPORT_LEAVING,
  EVPORT_NEXT_ORDERED,
  EVPORT_PAUSED_COUNT,
  EVQUEUE_SCHEDULE,
  EVQUEUE_SHIFT,
  FLOW_QUEUE_SHIFT,
  ORDERED_DRAIN,
  ORDERED_DRAIN_MAX,
  ORDERED_HEAD,
  ORDERED_LOCK,
  ORDERED_MASK,
  ORDERED_PLACES,
  ORDERED_TAKE,
  PLACE_DONE,
  PLACE_EVENT,
  PLACE_FREE,
  PLACE_HELD,
  PLACE_HOLDER_SHIFT,
  PLACE_READY,
  PLACE_RELEASED,
  PLACE_SHIFT,
  PLACE_STATE,
  SCHEDULE_ORDERED,
  SCHEDULE_PARALLEL,
} from './layout.ts';
import { serves } from './links.kernel.ts';
import { atomicFlow, buffer, bufferParallel, flushOutputs, isPaused, laneOf, wake } from './output.kernel.ts';
import { count } from './runs.kernel.ts';

/** Times that a port tries to take events when others are faster. */
const TRIES_MAX: u32 = 4;

/** The ring of `queue`; 0 when that is not ordered. */
function ringOf(device: u32, queue: u32): u32 {
  return load<u32>(device + (queue << 2), EVDEV_ORDERED_RINGS);
}

function placeOf(ring: u32, index: u32): u32 {
  return ring + ORDERED_PLACES + ((index & load<u32>(ring, ORDERED_MASK)) << PLACE_SHIFT);
}

/** Wakes a port that serves `queue`, if one sleeps. */
function wakeOne(device: u32, queue: u32): void {
  const ports = load<u32>(device, EVDEV_PORTS);
  for (let id: u32 = 0; id < ports; id++) {
    if (atomic.load<u32>(load<u32>(device + (id << 2), EVDEV_BELLS), BELL_PARKED) === 0) continue;
    if (!serves(device, id, queue << FLOW_QUEUE_SHIFT)) continue;
    wake(device, id);
    return;
  }
}

/** Puts a run of events into the ring of their ordered queue. Their order is that of the claims. */
export function sendOrdered(device: u32, queue: u32, slots: u32, end: u32): void {
  const ring = ringOf(device, queue);
  const n = (end - slots) >> 4;
  // Each event has a credit, and the ring a place for every credit there is: no need to look for room.
  const first = atomic.add<u32>(ring, n, ORDERED_HEAD);
  // The first of them last, and with an atomic store: who reads on from there finds the others written.
  for (let i = n - 1; i > 0; i--) {
    const place = placeOf(ring, first + i);
    assert(load<u32>(place, PLACE_STATE) === PLACE_FREE);
    v128.store(place, v128.load(slots + (i << 4)), PLACE_EVENT);
    store<u32>(place, PLACE_READY, PLACE_STATE);
  }
  const place = placeOf(ring, first);
  assert(load<u32>(place, PLACE_STATE) === PLACE_FREE);
  v128.store(place, v128.load(slots), PLACE_EVENT);
  atomic.store<u32>(place, PLACE_READY, PLACE_STATE);
  wakeOne(device, queue);
}

/** Remembers `n` events of queues that are not ordered. */
export function holdOthers(port: u32, n: u32): void {
  const held = load<u32>(port, EVPORT_HELD);
  const mask = load<u32>(port, EVPORT_HELD_MASK);
  let head = load<u32>(port, EVPORT_HELD_HEAD);
  for (; n > 0; n--) store<u32>(held + ((head++ & mask) << 2), 0);
  store<u32>(port, head, EVPORT_HELD_HEAD);
}

/** Copies `n` events, which the port has claimed, from the place of index `from` on, and remembers their places. */
function readPlaces(port: u32, ring: u32, from: u32, target: u32, n: u32): void {
  const held = load<u32>(port, EVPORT_HELD);
  const mask = load<u32>(port, EVPORT_HELD_MASK);
  const state = PLACE_HELD | (load<u32>(port, EVPORT_ID) << PLACE_HOLDER_SHIFT);
  let head = load<u32>(port, EVPORT_HELD_HEAD);
  for (let i: u32 = 0; i < n; i++) {
    const place = placeOf(ring, from + i);
    v128.store(target + (i << 4), v128.load(place, PLACE_EVENT));
    // For those who ask what the queue waits for; nobody else looks at it before it is finished.
    store<u32>(place, state, PLACE_STATE);
    store<u32>(held + ((head++ & mask) << 2), place);
  }
  store<u32>(port, head, EVPORT_HELD_HEAD);
}

/** Takes up to `limit` events of a queue to `target`. Returns how many. */
function takeFrom(port: u32, device: u32, queue: u32, target: u32, limit: u32): u32 {
  const ring = ringOf(device, queue);
  for (let tries: u32 = 0; tries < TRIES_MAX; tries++) {
    const from = atomic.load<u32>(ring, ORDERED_TAKE);
    let n: u32 = 0;
    while (n < limit && atomic.load<u32>(placeOf(ring, from + n), PLACE_STATE) === PLACE_READY) n++;
    if (n === 0) return 0;
    if (atomic.cmpxchg<u32>(ring, from, from + n, ORDERED_TAKE) !== from) continue;
    readPlaces(port, ring, from, target, n);
    // What it leaves, others may take: senders wake one port only.
    if (atomic.load<u32>(placeOf(ring, from + n), PLACE_STATE) === PLACE_READY) wakeOne(device, queue);
    return n;
  }
  return 0;
}

/** Takes up to `limit` events of the ordered queues that the port serves to `target`, of each in turn first. Returns how many. */
export function takeOrdered(port: u32, device: u32, target: u32, limit: u32): u32 {
  const queues = load<u32>(device, EVDEV_QUEUES);
  const first = load<u32>(port, EVPORT_NEXT_ORDERED);
  const id = load<u32>(port, EVPORT_ID);
  let n: u32 = 0;
  for (let i: u32 = 0; i < queues && n < limit; i++) {
    const queue = (first + i) % queues;
    if (ringOf(device, queue) === 0 || !serves(device, id, queue << FLOW_QUEUE_SHIFT)) continue;
    n += takeFrom(port, device, queue, target + (n << 4), limit - n);
  }
  store<u32>(port, first + 1 < queues ? first + 1 : 0, EVPORT_NEXT_ORDERED);
  return n;
}

/** True when a port finds an event to take. */
export function anyReady(port: u32, device: u32): bool {
  const queues = load<u32>(device, EVDEV_QUEUES);
  const id = load<u32>(port, EVPORT_ID);
  for (let queue: u32 = 0; queue < queues; queue++) {
    const ring = ringOf(device, queue);
    if (ring === 0 || !serves(device, id, queue << FLOW_QUEUE_SHIFT)) continue;
    const place = placeOf(ring, atomic.load<u32>(ring, ORDERED_TAKE));
    if (atomic.load<u32>(place, PLACE_STATE) === PLACE_READY) return true;
  }
  return false;
}

function scheduleOf(device: u32, slot: u32): u32 {
  const queue: u32 = load<u16>(slot, SLOT_EVENT) & EVENT_QUEUE_MASK;
  return load<u32>(device + EVDEV_QUEUE_ENTRIES + (queue << EVQUEUE_SHIFT), EVQUEUE_SCHEDULE);
}

/** True when the port must hold the event back, since its flow moves. */
function isHeldBack(port: u32, device: u32, slot: u32): bool {
  if (load<u32>(port, EVPORT_PAUSED_COUNT) === 0 || scheduleOf(device, slot) >= SCHEDULE_PARALLEL) return false;
  return isPaused(port, atomicFlow(slot, load<u32>(device, EVDEV_HASH_BITS)));
}

/** Sends on an event that leaves an ordered queue. */
function sendOn(port: u32, device: u32, slot: u32): void {
  const queue: u32 = load<u16>(slot, SLOT_EVENT) & EVENT_QUEUE_MASK;
  const schedule = scheduleOf(device, slot);
  if (schedule === SCHEDULE_ORDERED) sendOrdered(device, queue, slot, slot + 16);
  else if (schedule === SCHEDULE_PARALLEL) bufferParallel(port, device, queue, slot, slot + 16);
  else buffer(port, device, laneOf(device, atomicFlow(slot, load<u32>(device, EVDEV_HASH_BITS))), slot);
}

/** True when the first place of a ring is finished, and this port may send it on. */
function mayDrain(port: u32, device: u32, ring: u32): bool {
  const place = placeOf(ring, atomic.load<u32>(ring, ORDERED_DRAIN));
  const state = atomic.load<u32>(place, PLACE_STATE);
  return state === PLACE_RELEASED || (state === PLACE_DONE && !isHeldBack(port, device, place + PLACE_EVENT));
}

/**
 * Sends on what is finished, from the first place of a ring on, `left` places at most. Stops at an event whose flow this
 * port must hold back: another may send it, or this one later. The caller has the lock. Returns what is left of `left`.
 */
function drainPlaces(port: u32, device: u32, ring: u32, left: u32): u32 {
  let index = load<u32>(ring, ORDERED_DRAIN);
  let ended: u32 = 0;
  const before = left;
  for (; left > 0; left--) {
    const place = placeOf(ring, index);
    const state = atomic.load<u32>(place, PLACE_STATE);
    if (state !== PLACE_DONE && state !== PLACE_RELEASED) break;
    if (state === PLACE_DONE) {
      if (isHeldBack(port, device, place + PLACE_EVENT)) break;
      v128.store(port, v128.load(place, PLACE_EVENT), EVPORT_LEAVING);
    } else {
      ended++;
    }
    // Before its credit goes on: who gets that may claim the place.
    store<u32>(place, PLACE_FREE, PLACE_STATE);
    index++;
    if (state === PLACE_DONE) sendOn(port, device, port + EVPORT_LEAVING);
  }
  atomic.store<u32>(ring, index, ORDERED_DRAIN);
  if (ended > 0) giveCredits(port, device, ended);
  count(port + EVPORT_DRAINED, before - left);
  return left;
}

/** Sends on what is finished at the head of an ordered queue, unless another port is doing so. Never waits. */
function drain(port: u32, device: u32, queue: u32, ring: u32): void {
  let left: u32 = ORDERED_DRAIN_MAX;
  // Again after the lock was given back: who finished the first place meanwhile found it taken, and left.
  while (left > 0 && mayDrain(port, device, ring)) {
    if (atomic.cmpxchg<u32>(ring, 0, 1, ORDERED_LOCK) !== 0) return;
    left = drainPlaces(port, device, ring, left);
    // The next port with the lock sends what comes behind these.
    flushOutputs(port);
    atomic.store<u32>(ring, 0, ORDERED_LOCK);
  }
  // A port that fell asleep meanwhile, since it found the lock taken, goes on: this one may be away for long.
  if (left === 0) wakeOne(device, queue);
}

/** The same for all ordered queues. */
export function drainAll(port: u32, device: u32): void {
  const queues = load<u32>(device, EVDEV_QUEUES);
  for (let queue: u32 = 0; queue < queues; queue++) {
    const ring = ringOf(device, queue);
    if (ring !== 0) drain(port, device, queue, ring);
  }
}

/** True when a port that would sleep could send something on. */
export function anyToDrain(port: u32, device: u32): bool {
  const queues = load<u32>(device, EVDEV_QUEUES);
  for (let queue: u32 = 0; queue < queues; queue++) {
    const ring = ringOf(device, queue);
    if (ring !== 0 && mayDrain(port, device, ring) && atomic.load<u32>(ring, ORDERED_LOCK) === 0) return true;
  }
  return false;
}
