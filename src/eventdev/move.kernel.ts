import { MPSC_HEAD, MPSC_READABLE, MPSC_RUNS, MPSC_SIZE, MPSC_TAIL } from '../ring/layout.ts';
import { claimFrom, popClaim, popPublish, popRead, push } from '../ring/mpsc.kernel.ts';
import {
  CONTROL_CONFIRM,
  CONTROL_PAUSE,
  CONTROL_PORT,
  CONTROL_TYPE,
  CONTROL_UNPAUSE,
  EVDEV_BLOCKS,
  EVDEV_CONTROLS,
  EVDEV_CREDITS,
  EVDEV_HASH_BITS,
  EVDEV_LEVELS,
  EVDEV_PORTS,
  EVDEV_QUEUE_ENTRIES,
  EVDEV_TABLES,
  EVPORT_CONTROL,
  EVPORT_DEVICE,
  EVPORT_DRAIN_TO,
  EVPORT_EMIGRATION_NS,
  EVPORT_EMIGRATIONS,
  EVPORT_EVACUATION,
  EVPORT_ID,
  EVPORT_IMMIGRATIONS,
  EVPORT_LOCAL_LANE,
  EVPORT_LOCAL_TAIL,
  EVPORT_MESSAGE,
  EVPORT_MIGRATION_START,
  EVPORT_MOVING_COUNT,
  EVPORT_MOVING_FLOWS,
  EVPORT_MOVING_TARGETS,
  EVPORT_NOW,
  EVPORT_OUTPUT_ENDS,
  EVPORT_PAUSED_COUNT,
  EVPORT_PAUSED_EVENTS,
  EVPORT_PAUSED_FLOWS,
  EVPORT_PENDING,
  EVPORT_RECEIVED,
  EVPORT_RING,
  EVPORT_ROUND_LOCAL,
  EVPORT_ROUND_RING,
  EVPORT_SAMPLE_START,
  EVPORT_STASH,
  EVPORT_STASHED,
  EVPORT_STATE,
  EVPORT_TAIL,
  EVPORT_WAITS,
  EVQUEUE_SCHEDULE,
  EVQUEUE_SHIFT,
  FLOW_HASH_MASK,
  FLOW_QUEUE_SHIFT,
  MIGRATION_DRAINING,
  MIGRATION_FINISHING,
  MIGRATION_IDLE,
  MIGRATION_PAUSING,
  MIGRATION_UNPAUSING,
  SCHEDULE_PARALLEL,
} from './layout.ts';

import { serves } from './links.kernel.ts';
import { atomicFlow, findFlow, firstLane, flushOutputs, releasePaused, sendTo, wake } from './output.kernel.ts';
import { gateRound, hasLane, isGated, localEnd, mayGate, nextLocal } from './rounds.kernel.ts';
import { count } from './runs.kernel.ts';

function tell(port: u32, to: u32, type: u32): void {
  const message = port + EVPORT_MESSAGE;
  store<u32>(message, type, CONTROL_TYPE);
  store<u32>(message, load<u32>(port, EVPORT_ID), CONTROL_PORT);
  const device = load<u32>(port, EVPORT_DEVICE);
  const sent = push(load<u32>(device + (to << 2), EVDEV_CONTROLS), message, 1);
  // A port has one request and one confirmation at most on their way to each other one; the ring holds four of each.
  assert(sent === 1);
  wake(device, to);
}

/** The word of EVPORT_WAITS that has the bit of port `id`. */
function waitsWord(port: u32, id: u32): u32 {
  return port + EVPORT_WAITS + ((id >> 5) << 2);
}

function tellAll(port: u32, type: u32): void {
  const ports = load<u32>(load<u32>(port, EVPORT_DEVICE), EVDEV_PORTS);
  const self = load<u32>(port, EVPORT_ID);
  for (let to: u32 = 0; to < ports; to++) {
    if (to === self) continue;
    // Who has not confirmed yet, not only how many: a port that nobody attends to is to be named.
    const word = waitsWord(port, to);
    atomic.store<u32>(word, load<u32>(word) | (1 << (to & 31)));
    tell(port, to, type);
  }
}

/** Holds back the flows that port `from` moves, which may be this one. */
function pauseFlows(port: u32, from: u32): void {
  const n = load<u32>(from, EVPORT_MOVING_COUNT);
  let paused = load<u32>(port, EVPORT_PAUSED_COUNT);
  for (let i: u32 = 0; i < n; i++) {
    const flow = load<u32>(from + EVPORT_MOVING_FLOWS + (i << 2));
    store<u32>(port + EVPORT_PAUSED_FLOWS + (paused << 2), flow);
    paused++;
  }
  store<u32>(port, paused, EVPORT_PAUSED_COUNT);
}

/** Holds them back no longer, unless another port moves them on already: then they are in the list twice. */
function unpauseFlows(port: u32, from: u32): void {
  const n = load<u32>(from, EVPORT_MOVING_COUNT);
  const list = port + EVPORT_PAUSED_FLOWS;
  let paused = load<u32>(port, EVPORT_PAUSED_COUNT);
  for (let i: u32 = 0; i < n; i++) {
    const at = findFlow(list, paused, load<u32>(from + EVPORT_MOVING_FLOWS + (i << 2)));
    assert(at < paused);
    paused--;
    store<u32>(list + (at << 2), load<u32>(list + (paused << 2)));
  }
  store<u32>(port, paused, EVPORT_PAUSED_COUNT);
}

/** Makes `to` the owner of `flow`. */
function writeTable(port: u32, flow: u32, to: u32): void {
  const device = load<u32>(port, EVPORT_DEVICE);
  const table = load<u32>(device, EVDEV_TABLES) + ((flow >> FLOW_QUEUE_SHIFT) << load<u32>(device, EVDEV_HASH_BITS));
  store<u8>(table + (flow & FLOW_HASH_MASK), firstLane(device, flow) + to);
}

function countMoved(port: u32, flows: u32): void {
  count(port + EVPORT_EMIGRATIONS, flows);
  const passed = load<u64>(port, EVPORT_NOW) - load<u64>(port, EVPORT_MIGRATION_START);
  store<u64>(port, load<u64>(port, EVPORT_EMIGRATION_NS) + passed * flows, EVPORT_EMIGRATION_NS);
}

/** Nothing moves any more, and the sample of before says nothing about what is left. */
export function endMigration(port: u32): void {
  store<u32>(port, 0, EVPORT_MOVING_COUNT);
  // Atomic: who sees the state sees the table.
  atomic.store<u32>(port, MIGRATION_IDLE, EVPORT_STATE);
  v128.store(port, v128.load(port, EVPORT_TAIL), EVPORT_SAMPLE_START);
}

/**
 * Leaves in the list what the protocol has to move. Flows stay whose targets serve their queue no longer; those of parallel
 * queues, whose events have no order, move now: a new owner is all it takes.
 */
function sortOut(port: u32): void {
  const device = load<u32>(port, EVPORT_DEVICE);
  const flows = port + EVPORT_MOVING_FLOWS;
  const targets = port + EVPORT_MOVING_TARGETS;
  const n = load<u32>(port, EVPORT_MOVING_COUNT);
  let left: u32 = 0;
  let moved: u32 = 0;
  for (let i: u32 = 0; i < n; i++) {
    const flow = load<u32>(flows + (i << 2));
    const to = load<u32>(targets + (i << 2));
    const queue = flow >> FLOW_QUEUE_SHIFT;
    if (!serves(device, to, flow)) continue;
    if (load<u32>(device + EVDEV_QUEUE_ENTRIES + (queue << EVQUEUE_SHIFT), EVQUEUE_SCHEDULE) === SCHEDULE_PARALLEL) {
      writeTable(port, flow, to);
      moved++;
    } else {
      store<u32>(flows + (left << 2), flow);
      store<u32>(targets + (left << 2), to);
      left++;
    }
  }
  store<u32>(port, left, EVPORT_MOVING_COUNT);
  if (moved > 0) countMoved(port, moved);
}

/** Begins to move the EVPORT_MOVING_COUNT flows of EVPORT_MOVING_FLOWS. The port is idle in the protocol. */
export function beginMigration(port: u32): void {
  store<u64>(port, load<u64>(port, EVPORT_NOW), EVPORT_MIGRATION_START);
  // Before the links are read once more: who unlinks a target sees that flows are on their way there, or is seen here.
  atomic.store<u32>(port, MIGRATION_FINISHING, EVPORT_STATE);
  sortOut(port);
  if (load<u32>(port, EVPORT_MOVING_COUNT) === 0) {
    endMigration(port);
    return;
  }
  if (load<u32>(port, EVPORT_PENDING) === 0) pauseEverywhere(port);
}

/** The application holds no event of the flows: asks everybody to hold them back. */
export function pauseEverywhere(port: u32): void {
  // Events that the flows brought about may be among those held back here: the new owner's would overtake them. Waiting
  // for their release could last for ever, with two ports waiting for each other.
  if (load<u32>(port, EVPORT_PAUSED_EVENTS) > 0) {
    endMigration(port);
    return;
  }
  flushOutputs(port);
  pauseFlows(port, port);
  store<u32>(port, MIGRATION_PAUSING, EVPORT_STATE);
  tellAll(port, CONTROL_PAUSE);
}

function isMoving(port: u32, slot: u32, bits: u32): bool {
  const n = load<u32>(port, EVPORT_MOVING_COUNT);
  return findFlow(port + EVPORT_MOVING_FLOWS, n, atomicFlow(slot, bits)) < n;
}

/** Takes events of moving flows out of `n` that were dequeued, and keeps them. Returns how many are left. */
export function stashMoving(port: u32, slots: u32, n: u32): u32 {
  const bits = load<u32>(load<u32>(port, EVPORT_DEVICE), EVDEV_HASH_BITS);
  const stash = load<u32>(port, EVPORT_STASH);
  let stashed = load<u32>(port, EVPORT_STASHED);
  let left: u32 = 0;
  for (let i: u32 = 0; i < n; i++) {
    const slot = slots + (i << 4);
    if (isMoving(port, slot, bits)) {
      v128.store(stash + (stashed << 4), v128.load(slot));
      stashed++;
    } else {
      v128.store(slots + (left << 4), v128.load(slot));
      left++;
    }
  }
  store<u32>(port, stashed, EVPORT_STASHED);
  return left;
}

/** Takes the events of moving flows out of the port's FIFO, closing the gaps towards its tail, and puts them behind those stashed. */
function takeLocal(port: u32, device: u32): void {
  const bits = load<u32>(device, EVDEV_HASH_BITS);
  const stash = load<u32>(port, EVPORT_STASH);
  const end = localEnd(port);
  const round = load<u32>(port, EVPORT_ROUND_LOCAL);
  let stashed = load<u32>(port, EVPORT_STASHED);
  let to = load<u32>(port, EVPORT_LOCAL_TAIL);
  for (let from = to; from !== end; from = nextLocal(port, from)) {
    if (from === round) store<u32>(port, to, EVPORT_ROUND_LOCAL);
    if (isMoving(port, from, bits)) {
      v128.store(stash + (stashed << 4), v128.load(from));
      stashed++;
    } else {
      if (to !== from) v128.store(to, v128.load(from));
      to = nextLocal(port, to);
    }
  }
  if (round === end) store<u32>(port, to, EVPORT_ROUND_LOCAL);
  store<u32>(port, stashed, EVPORT_STASHED);
  store<u32>(port + (load<u32>(port, EVPORT_LOCAL_LANE) << 2), to, EVPORT_OUTPUT_ENDS);
}

/**
 * Takes the events of moving flows out of the ring of a level, from its newest readable slot to its tail, closing the gaps
 * towards the head, and puts them before `taken`. Returns where they begin there.
 */
function takeMoving(port: u32, device: u32, level: u32, taken: u32): u32 {
  const its = port + (level << 2);
  const ring = load<u32>(its, EVPORT_RING);
  const bits = load<u32>(device, EVDEV_HASH_BITS);
  const size = load<u32>(ring, MPSC_SIZE);
  const slots = ring + MPSC_RUNS + (size << 2);
  const tail = load<u32>(its, EVPORT_TAIL);
  const round = load<u32>(port, EVPORT_ROUND_RING);
  let from = load<u32>(ring, MPSC_READABLE);
  let to = from;
  while (from !== tail) {
    // What is left of the round stays in it: began it anew, those who move flows all the time would read the FIFO alone.
    if (from === round) store<u32>(port, to, EVPORT_ROUND_RING);
    from--;
    const slot = slots + ((from & (size - 1)) << 4);
    if (isMoving(port, slot, bits)) {
      taken -= 16;
      v128.store(taken, v128.load(slot));
    } else {
      to--;
      if (to !== from) v128.store(slots + ((to & (size - 1)) << 4), v128.load(slot));
    }
  }
  if (from === round) store<u32>(port, to, EVPORT_ROUND_RING);
  store<u32>(its, to, EVPORT_TAIL);
  atomic.store<u32>(ring, to, MPSC_TAIL);
  return taken;
}

/** Sends kept events to the new owners of their flows. */
function forwardMoving(port: u32, device: u32, slots: u32, end: u32): void {
  const bits = load<u32>(device, EVDEV_HASH_BITS);
  const n = load<u32>(port, EVPORT_MOVING_COUNT);
  for (; slots < end; slots += 16) {
    const flow = atomicFlow(slots, bits);
    const at = findFlow(port + EVPORT_MOVING_FLOWS, n, flow);
    sendTo(device, firstLane(device, flow) + load<u32>(port + EVPORT_MOVING_TARGETS + (at << 2)), slots, 1);
  }
}

/** True when all that was sent to a level's ring before EVPORT_DRAIN_TO was written is readable. */
function isDrained(port: u32, level: u32): bool {
  const its = port + (level << 2);
  const ring = load<u32>(its, EVPORT_RING);
  const size = load<u32>(ring, MPSC_SIZE);
  claimFrom(ring, size, load<u32>(its, EVPORT_TAIL), size);
  // A sender that stands still between claiming places and publishing them hides what others put behind it.
  return <i32>(load<u32>(ring, MPSC_READABLE) - load<u32>(its, EVPORT_DRAIN_TO)) >= 0;
}

/** Everybody holds the flows back: moves them, once all that came before is readable. */
export function tryMove(port: u32): void {
  // Those in the ring could be older than those in the FIFO.
  if (isGated(port)) return;
  const device = load<u32>(port, EVPORT_DEVICE);
  const levels = load<u32>(device, EVDEV_LEVELS);
  for (let level: u32 = 0; level < levels; level++) if (!isDrained(port, level)) return;
  const n = load<u32>(port, EVPORT_MOVING_COUNT);
  for (let i: u32 = 0; i < n; i++) {
    writeTable(
      port,
      load<u32>(port + EVPORT_MOVING_FLOWS + (i << 2)),
      load<u32>(port + EVPORT_MOVING_TARGETS + (i << 2)),
    );
  }
  // Those stashed by dequeues are older than those still in the FIFO, and these than those in the ring.
  if (hasLane(port)) takeLocal(port, device);
  const stash = load<u32>(port, EVPORT_STASH);
  const end = stash + (load<u32>(device, EVDEV_CREDITS) << 4);
  let taken = end;
  // All events of a flow are of one level, so that those of several may follow each other.
  for (let level: u32 = 0; level < levels; level++) taken = takeMoving(port, device, level, taken);
  forwardMoving(port, device, stash, stash + (load<u32>(port, EVPORT_STASHED) << 4));
  forwardMoving(port, device, taken, end);
  store<u32>(port, 0, EVPORT_STASHED);
  unpauseFlows(port, port);
  releasePaused(port);
  flushOutputs(port);
  store<u32>(port, MIGRATION_UNPAUSING, EVPORT_STATE);
  tellAll(port, CONTROL_UNPAUSE);
}

/** Port `from` has confirmed the last request: goes on when nobody else is missing. */
function confirmed(port: u32, from: u32): void {
  const word = waitsWord(port, from);
  atomic.store<u32>(word, load<u32>(word) & ~(1 << (from & 31)));
  if (load<u64>(port, EVPORT_WAITS) !== 0) return;
  if (load<u32>(port, EVPORT_STATE) === MIGRATION_PAUSING) {
    // This port's own events of the flows left its output buffers when it paused them.
    const levels = load<u32>(load<u32>(port, EVPORT_DEVICE), EVDEV_LEVELS);
    for (let level: u32 = 0; level < levels; level++) {
      const its = port + (level << 2);
      store<u32>(its, atomic.load<u32>(load<u32>(its, EVPORT_RING), MPSC_HEAD), EVPORT_DRAIN_TO);
    }
    store<u32>(port, MIGRATION_DRAINING, EVPORT_STATE);
  } else {
    assert(load<u32>(port, EVPORT_STATE) === MIGRATION_UNPAUSING);
    countMoved(port, load<u32>(port, EVPORT_MOVING_COUNT));
    endMigration(port);
  }
}

/** How many flows port `from` has moved here. */
function countComing(port: u32, from: u32): u32 {
  const self = load<u32>(port, EVPORT_ID);
  const moving = load<u32>(from, EVPORT_MOVING_COUNT);
  let n: u32 = 0;
  for (let i: u32 = 0; i < moving; i++) {
    if (load<u32>(from + EVPORT_MOVING_TARGETS + (i << 2)) === self) n++;
  }
  return n;
}

/** Handles the next message, if there is one. */
export function handleControl(port: u32): void {
  const control = load<u32>(port, EVPORT_CONTROL);
  const size = load<u32>(control, MPSC_SIZE);
  const message = port + EVPORT_RECEIVED;
  if (popClaim(control, size, 1) === 0) return;
  popRead(control, size, message, 1);
  const type = load<u32>(message, CONTROL_TYPE);
  const origin = load<u32>(message, CONTROL_PORT);
  const from = load<u32>(load<u32>(port, EVPORT_DEVICE) + (origin << 2), EVDEV_BLOCKS);
  const coming: u32 = type === CONTROL_UNPAUSE ? countComing(port, from) : 0;
  // It waits until the FIFO's events that the last such message holds back may be read: it would let them pass.
  if (coming > 0 && hasLane(port) && !mayGate(port)) return;
  popPublish(control, 1);
  if (type === CONTROL_CONFIRM) {
    confirmed(port, origin);
    return;
  }
  if (type === CONTROL_PAUSE) {
    // Events of the flows may wait in the output buffers: their owner must have them before the confirmation.
    flushOutputs(port);
    pauseFlows(port, from);
  } else {
    unpauseFlows(port, from);
    if (coming > 0) {
      count(port + EVPORT_IMMIGRATIONS, coming);
      // They may be of a queue that this port serves no longer: they set out before that.
      atomic.store<u32>(port, 1, EVPORT_EVACUATION);
      // What came with them is in the ring, and older than what is released here.
      if (hasLane(port)) gateRound(port);
    }
    releasePaused(port);
  }
  // Last: the origin writes its list of flows again once it has all confirmations.
  tell(port, origin, CONTROL_CONFIRM);
}
