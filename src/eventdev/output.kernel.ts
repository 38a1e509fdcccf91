import { SLOT_EVENT, SLOT_FLOW } from '../memory/layout.ts';
import { push } from '../ring/mpsc.kernel.ts';
import {
  BELL_PARKED,
  BELL_RUNG,
  EVDEV_BELLS,
  EVDEV_HASH_BITS,
  EVDEV_LANES,
  EVDEV_QUEUE_ENTRIES,
  EVDEV_RINGS,
  EVDEV_TABLES,
  EVENT_QUEUE_MASK,
  EVENT_TAG_MASK,
  EVENT_TAG_SHIFT,
  EVOUTPUT_MASK,
  EVOUTPUT_SHIFT,
  EVPORT_DEVICE,
  EVPORT_LOCAL_LANE,
  EVPORT_LOCAL_LIMIT,
  EVPORT_LOCAL_START,
  EVPORT_NEXT_PARALLEL,
  EVPORT_OUTPUT_ENDS,
  EVPORT_OUTPUTS,
  EVPORT_OWNERS,
  EVPORT_PAUSED,
  EVPORT_PAUSED_COUNT,
  EVPORT_PAUSED_EVENTS,
  EVPORT_PAUSED_FLOWS,
  EVQUEUE_LANE,
  EVQUEUE_SHIFT,
  FLOW_QUEUE_SHIFT,
  PARALLEL_FLOWS,
} from './layout.ts';

/** The flow id, all 32 bits of it, folded to `bits` bits (13 or more; shifts by constants are faster). */
export function flowHash(flow: u32, bits: u32): u32 {
  return (flow ^ (flow >> 13) ^ (flow >> 26)) & ((1 << bits) - 1);
}

/** The flow, as lists have it, of an event of an atomic queue. */
export function atomicFlow(slot: u32, bits: u32): u32 {
  const queue = load<u16>(slot, SLOT_EVENT) & EVENT_QUEUE_MASK;
  return (queue << FLOW_QUEUE_SHIFT) | flowHash(load<u32>(slot, SLOT_FLOW), bits);
}

/** Where `flow` is in a list, or `count` when it is not. */
export function findFlow(list: u32, count: u32, flow: u32): u32 {
  for (let i: u32 = 0; i < count; i++) if (load<u32>(list + (i << 2)) === flow) return i;
  return count;
}

/** Wakes the thread of the port of lane `to` when it sleeps. What it is to find is published. */
export function wake(device: u32, to: u32): void {
  const bell = load<u32>(device + (to << 2), EVDEV_BELLS);
  if (atomic.load<u32>(bell, BELL_PARKED) === 0) return;
  atomic.store<u32>(bell, 1, BELL_RUNG);
  atomic.notify(bell + BELL_RUNG, -1);
}

/** Puts `count` slots into the event ring of lane `to`. */
export function sendTo(device: u32, to: u32, slots: u32, count: u32): void {
  const sent = push(load<u32>(device + (to << 2), EVDEV_RINGS), slots, count);
  // Each event has a credit, and each ring has a place for every credit there is.
  assert(sent === count);
  wake(device, to);
}

/**
 * Sends the output buffer of lane `to`, which ends at `end`; it has events, and is empty then. The port's own lane needs no
 * more than that its FIFO begins anew at its end: what is in it is readable.
 */
export function sendOutput(port: u32, device: u32, to: u32, end: u32): void {
  if (to === load<u32>(port, EVPORT_LOCAL_LANE)) {
    const isLimit = end === load<u32>(port, EVPORT_LOCAL_LIMIT);
    store<u32>(port + (to << 2), isLimit ? load<u32>(port, EVPORT_LOCAL_START) : end, EVPORT_OUTPUT_ENDS);
    return;
  }
  const output = port + EVPORT_OUTPUTS + (to << EVOUTPUT_SHIFT);
  sendTo(device, to, output, (end - output) >> 4);
  store<u32>(port + (to << 2), output, EVPORT_OUTPUT_ENDS);
}

/** Adds an event to the output buffer of lane `to`, and sends that when it is full. */
export function buffer(port: u32, device: u32, to: u32, slot: u32): void {
  const at = load<u32>(port + (to << 2), EVPORT_OUTPUT_ENDS);
  v128.store(at, v128.load(slot));
  store<u32>(port + (to << 2), at + 16, EVPORT_OUTPUT_ENDS);
  if (((at + 16) & EVOUTPUT_MASK) === 0) sendOutput(port, device, to, at + 16);
}

/** Sends events of a parallel queue on, each to the owner of the next pseudo-flow. */
export function bufferParallel(port: u32, device: u32, queue: u32, slots: u32, end: u32): void {
  const bits = load<u32>(device, EVDEV_HASH_BITS);
  const table = load<u32>(device, EVDEV_TABLES) + (queue << bits);
  let next = load<u32>(port, EVPORT_NEXT_PARALLEL);
  for (; slots < end; slots += 16) {
    const event: u32 = load<u16>(slots, SLOT_EVENT) & ~(EVENT_TAG_MASK << EVENT_TAG_SHIFT);
    store<u16>(slots, event | (next << EVENT_TAG_SHIFT), SLOT_EVENT);
    buffer(port, device, load<u8>(table + flowHash(next, bits)), slots);
    next = (next + 1) & (PARALLEL_FLOWS - 1);
  }
  store<u32>(port, next, EVPORT_NEXT_PARALLEL);
}

/** Adds `n` events to the output buffers of the lanes in EVPORT_OWNERS, as `buffer` does. None of them is OWNER_NONE. */
export function bufferOwned(port: u32, device: u32, slots: u32, n: u32): void {
  const end = slots + (n << 4);
  for (let owner = port; slots < end; slots += 16) {
    const to: u32 = load<u8>(owner, EVPORT_OWNERS);
    const at = load<u32>(port + (to << 2), EVPORT_OUTPUT_ENDS);
    v128.store(at, v128.load(slots));
    store<u32>(port + (to << 2), at + 16, EVPORT_OUTPUT_ENDS);
    if (((at + 16) & EVOUTPUT_MASK) === 0) sendOutput(port, device, to, at + 16);
    owner++;
  }
}

/** Sends what waits in the output buffers. */
export function flushOutputs(port: u32): void {
  const device = load<u32>(port, EVPORT_DEVICE);
  const lanes = load<u32>(device, EVDEV_LANES);
  const own = load<u32>(port, EVPORT_LOCAL_LANE);
  for (let to: u32 = 0; to < lanes; to++) {
    const end = load<u32>(port + (to << 2), EVPORT_OUTPUT_ENDS);
    if ((end & EVOUTPUT_MASK) !== 0 && to !== own) sendOutput(port, device, to, end);
  }
}

/** The lane of port 0, of the level that the queue of `flow` has. */
export function firstLane(device: u32, flow: u32): u32 {
  return load<u32>(device + EVDEV_QUEUE_ENTRIES + ((flow >> FLOW_QUEUE_SHIFT) << EVQUEUE_SHIFT), EVQUEUE_LANE);
}

/** The lane of `flow`. */
export function laneOf(device: u32, flow: u32): u32 {
  const bits = load<u32>(device, EVDEV_HASH_BITS);
  const table = load<u32>(device, EVDEV_TABLES) + ((flow >> FLOW_QUEUE_SHIFT) << bits);
  return load<u8>(table + (flow & ((1 << bits) - 1)));
}

/** The port that owns `flow`. */
export function ownerOf(device: u32, flow: u32): u32 {
  return laneOf(device, flow) - firstLane(device, flow);
}

/** True when the port must hold events of `flow` back. */
export function isPaused(port: u32, flow: u32): bool {
  const count = load<u32>(port, EVPORT_PAUSED_COUNT);
  return findFlow(port + EVPORT_PAUSED_FLOWS, count, flow) < count;
}

/** Sends an event of an atomic queue on, or keeps it while its flow is paused. */
export function bufferOrPause(port: u32, device: u32, slot: u32): void {
  const flow = atomicFlow(slot, load<u32>(device, EVDEV_HASH_BITS));
  if (!isPaused(port, flow)) {
    buffer(port, device, laneOf(device, flow), slot);
    return;
  }
  const held = load<u32>(port, EVPORT_PAUSED_EVENTS);
  v128.store(load<u32>(port, EVPORT_PAUSED) + (held << 4), v128.load(slot));
  store<u32>(port, held + 1, EVPORT_PAUSED_EVENTS);
}

/** Sends on, in their order, the kept events whose flows are no longer paused. */
export function releasePaused(port: u32): void {
  const device = load<u32>(port, EVPORT_DEVICE);
  const bits = load<u32>(device, EVDEV_HASH_BITS);
  const held = load<u32>(port, EVPORT_PAUSED_EVENTS);
  const events = load<u32>(port, EVPORT_PAUSED);
  let kept: u32 = 0;
  for (let i: u32 = 0; i < held; i++) {
    const slot = events + (i << 4);
    const flow = atomicFlow(slot, bits);
    if (isPaused(port, flow)) {
      v128.store(events + (kept << 4), v128.load(slot));
      kept++;
    } else {
      buffer(port, device, laneOf(device, flow), slot);
    }
  }
  store<u32>(port, kept, EVPORT_PAUSED_EVENTS);
}
