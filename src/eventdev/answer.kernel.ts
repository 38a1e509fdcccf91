// The two calls of the data path of devices with ordered queues: the port remembers the places of the events that its
// application holds, in the order of their dequeue, and the next forward or release is of the first of them.

import { SLOT_EVENT } from '../memory/layout.ts';
import { background, needsBackground } from './background.kernel.ts';
import { giveCredits, takeCredits } from './credits.kernel.ts';
import { countDequeued } from './dequeue.kernel.ts';
import { bufferBurst } from './enqueue.kernel.ts';
import {
  BACKGROUND_OPS,
  EVDEV_LEVELS,
  EVDEV_ON_LOAN,
  EVDEV_QUEUES,
  EVENT_OP_MASK,
  EVENT_OP_SHIFT,
  EVENT_QUEUE_MASK,
  EVPORT_BUSY,
  EVPORT_DEQUEUE_DEPTH,
  EVPORT_DEVICE,
  EVPORT_DROPPED,
  EVPORT_ENQUEUE_DEPTH,
  EVPORT_FORWARD_ENQUEUED,
  EVPORT_HELD,
  EVPORT_HELD_HEAD,
  EVPORT_HELD_MASK,
  EVPORT_HELD_TAIL,
  EVPORT_IMPLICIT_RELEASE,
  EVPORT_NEW_ENQUEUED,
  EVPORT_OPS,
  EVPORT_PENDING,
  EVPORT_QUEUE_ENQUEUED,
  EVPORT_RELEASE_ENQUEUED,
  EVPORT_STATE,
  EVPORT_THRESHOLD,
  EVPORT_TIMED,
  MIGRATION_DRAINING,
  MIGRATION_FINISHING,
  MIGRATION_PAUSING,
  NEEDS_TIME,
  OP_FORWARD,
  OP_NEW,
  OP_RELEASE,
  PLACE_DONE,
  PLACE_EVENT,
  PLACE_RELEASED,
  PLACE_STATE,
} from './layout.ts';
import { claimLevels, readLevels } from './levels.kernel.ts';
import { turnBusy, turnIdle } from './load.kernel.ts';
import { stashMoving } from './move.kernel.ts';
import { anyReady, drainAll, holdOthers, takeOrdered } from './ordered.kernel.ts';
import { flushOutputs } from './output.kernel.ts';
import { count, summarise } from './runs.kernel.ts';

/** The place of the event that was held since `index`; 0 when it is of a queue that is not ordered. */
function heldAt(port: u32, index: u32): u32 {
  return load<u32>(load<u32>(port, EVPORT_HELD) + ((index & load<u32>(port, EVPORT_HELD_MASK)) << 2));
}

/** With implicit release, what is left of the last dequeue is finished now. */
function releaseHeld(port: u32, device: u32): void {
  if (load<u32>(port, EVPORT_PENDING) === 0 || load<u32>(port, EVPORT_IMPLICIT_RELEASE) === 0) return;
  const head = load<u32>(port, EVPORT_HELD_HEAD);
  let others: u32 = 0;
  for (let at = load<u32>(port, EVPORT_HELD_TAIL); at !== head; at++) {
    const place = heldAt(port, at);
    // Whoever drains the place gets the credit.
    if (place === 0) others++;
    else atomic.store<u32>(place, PLACE_RELEASED, PLACE_STATE);
  }
  store<u32>(port, head, EVPORT_HELD_TAIL);
  store<u32>(port, 0, EVPORT_PENDING);
  if (others > 0) giveCredits(port, device, others);
}

/** `dequeue` of a device with ordered queues: their events when the port has no more of its own. */
export function dequeueOrdered(port: u32, target: u32, limit: u32): u32 {
  const device = load<u32>(port, EVPORT_DEVICE);
  releaseHeld(port, device);
  if (needsBackground(port) && !background(port)) return NEEDS_TIME;
  drainAll(port, device);
  const state = load<u32>(port, EVPORT_STATE);
  const isBusy = load<u32>(port, EVPORT_BUSY) !== 0;
  const isTimed = load<u32>(port, EVPORT_TIMED) !== 0;
  limit = state === MIGRATION_FINISHING ? 0 : min(limit, load<u32>(port, EVPORT_DEQUEUE_DEPTH));
  const own = claimLevels(port, load<u32>(device, EVDEV_LEVELS), limit);
  const isWork = own > 0 || (limit > 0 && anyReady(port, device));
  if (limit > 0 && isWork !== isBusy && !isTimed) return NEEDS_TIME;
  let n: u32 = 0;
  if (own > 0) {
    readLevels(port, target, own);
    n = state === MIGRATION_PAUSING || state === MIGRATION_DRAINING ? stashMoving(port, target, own) : own;
    holdOthers(port, n);
  }
  const taken = own < limit ? takeOrdered(port, device, target + (n << 4), limit - own) : 0;
  const found = own + taken;
  // Others may have taken what was ready: without the time, what changed by that is seen by the next call.
  if (limit > 0 && isTimed && found > 0 !== isBusy) {
    if (found > 0) turnBusy(port);
    else turnIdle(port);
  }
  store<u32>(port, 0, EVPORT_TIMED);
  store<u32>(port, load<u32>(port, EVPORT_OPS) + found + 1, EVPORT_OPS);
  if (found === 0) flushOutputs(port);
  n += taken;
  if (n > 0) countDequeued(port, target, n);
  return n;
}

/** Does what a burst means for the credits and for the events that are held. Returns false, with nothing done, when credits do not suffice. */
function admitHeld(port: u32, device: u32, slots: u32, end: u32): bool {
  const queues = load<u32>(device, EVDEV_QUEUES);
  const head = load<u32>(port, EVPORT_HELD_HEAD);
  const tail = load<u32>(port, EVPORT_HELD_TAIL);
  let at = tail;
  let fresh: u32 = 0;
  let forwarded: u32 = 0;
  let released: u32 = 0;
  let strays: u32 = 0;
  let finished: u32 = 0;
  for (; slots < end; slots += 16) {
    const event: u32 = load<u16>(slots, SLOT_EVENT);
    const op = (event >> EVENT_OP_SHIFT) & EVENT_OP_MASK;
    const isSent = op <= OP_FORWARD && (event & EVENT_QUEUE_MASK) < queues;
    if (op > OP_RELEASE || (op === OP_NEW && !isSent)) continue;
    if (op === OP_NEW) {
      fresh++;
      continue;
    }
    if (isSent) forwarded++;
    else released++;
    if (at === head) {
      // Nobody dequeued it: forwarded, it takes a credit, as a new one does.
      if (isSent) strays++;
    } else {
      if (!isSent && heldAt(port, at) === 0) finished++;
      at++;
    }
  }
  if (fresh > 0 && atomic.load<u32>(device, EVDEV_ON_LOAN) > load<u32>(port, EVPORT_THRESHOLD)) return false;
  if (fresh + strays > 0 && !takeCredits(port, device, fresh + strays)) return false;
  if (finished > 0) giveCredits(port, device, finished);
  store<u32>(port, load<u32>(port, EVPORT_PENDING) - (at - tail), EVPORT_PENDING);
  count(port + EVPORT_NEW_ENQUEUED, fresh);
  count(port + EVPORT_FORWARD_ENQUEUED, forwarded);
  count(port + EVPORT_RELEASE_ENQUEUED, released);
  return true;
}

/** Puts what became of a held event of an ordered queue into its place. */
function finish(port: u32, device: u32, place: u32, slot: u32): void {
  const event: u32 = load<u16>(slot, SLOT_EVENT);
  const queue = event & EVENT_QUEUE_MASK;
  const isForward = ((event >> EVENT_OP_SHIFT) & EVENT_OP_MASK) === OP_FORWARD;
  const isSent = isForward && queue < load<u32>(device, EVDEV_QUEUES);
  if (isSent) {
    v128.store(place, v128.load(slot), PLACE_EVENT);
    count(port + EVPORT_QUEUE_ENQUEUED + (queue << 3), 1);
  } else if (isForward) {
    count(port + EVPORT_DROPPED, 1);
  }
  atomic.store<u32>(place, isSent ? PLACE_DONE : PLACE_RELEASED, PLACE_STATE);
}

/** The place that an event of a burst answers for, which is held no longer; 0 when it is none of an ordered queue. */
function placeAnswered(port: u32, slot: u32): u32 {
  const event: u32 = load<u16>(slot, SLOT_EVENT);
  const op = (event >> EVENT_OP_SHIFT) & EVENT_OP_MASK;
  const tail = load<u32>(port, EVPORT_HELD_TAIL);
  if ((op !== OP_FORWARD && op !== OP_RELEASE) || tail === load<u32>(port, EVPORT_HELD_HEAD)) return 0;
  store<u32>(port, tail + 1, EVPORT_HELD_TAIL);
  return heldAt(port, tail);
}

/** Sends the events of a burst on: answers of ordered queues to their places, what is between them as any burst. */
function sendAnswers(port: u32, device: u32, slots: u32, end: u32): void {
  let others = slots;
  for (; slots < end; slots += 16) {
    const place = placeAnswered(port, slots);
    if (place === 0) continue;
    if (others < slots) bufferBurst(port, device, others, slots, summarise(others, slots));
    finish(port, device, place, slots);
    others = slots + 16;
  }
  if (others < end) bufferBurst(port, device, others, end, summarise(others, end));
}

/** `enqueue` of a device with ordered queues: the forwards and releases are of the events held longest, in their order. */
export function enqueueOrdered(port: u32, slots: u32, n: u32): u32 {
  if (needsBackground(port) && !background(port)) return NEEDS_TIME;
  store<u32>(port, 0, EVPORT_TIMED);
  const device = load<u32>(port, EVPORT_DEVICE);
  const ops = load<u32>(port, EVPORT_OPS);
  if (n === 0) {
    store<u32>(port, ops + BACKGROUND_OPS, EVPORT_OPS);
    drainAll(port, device);
    flushOutputs(port);
    return 0;
  }
  n = min(n, load<u32>(port, EVPORT_ENQUEUE_DEPTH));
  store<u32>(port, ops + n + 1, EVPORT_OPS);
  const end = slots + (n << 4);
  const isAdmitted = admitHeld(port, device, slots, end);
  if (isAdmitted) sendAnswers(port, device, slots, end);
  drainAll(port, device);
  return isAdmitted ? n : 0;
}
