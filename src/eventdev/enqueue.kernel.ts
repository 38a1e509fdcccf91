import { SLOT_EVENT, SLOT_FLOW } from '../memory/layout.ts';
import { background, needsBackground } from './background.kernel.ts';
import { giveCredits, takeCredits } from './credits.kernel.ts';
import {
  BACKGROUND_OPS,
  EVDEV_HASH_BITS,
  EVDEV_ON_LOAN,
  EVDEV_QUEUE_ENTRIES,
  EVDEV_QUEUES,
  EVDEV_TABLES,
  EVENT_OP_MASK,
  EVENT_OP_SHIFT,
  EVENT_QUEUE_MASK,
  EVENT_TAG_MASK,
  EVENT_TAG_SHIFT,
  EVOUTPUT_SHIFT,
  EVPORT_DEVICE,
  EVPORT_DROPPED,
  EVPORT_ENQUEUE_DEPTH,
  EVPORT_FORWARD_ENQUEUED,
  EVPORT_NEW_ENQUEUED,
  EVPORT_NEXT_PARALLEL,
  EVPORT_OPS,
  EVPORT_OUTPUT_COUNTS,
  EVPORT_OUTPUTS,
  EVPORT_PAUSED_COUNT,
  EVPORT_PENDING,
  EVPORT_QUEUE_ENQUEUED,
  EVPORT_RELEASE_ENQUEUED,
  EVPORT_THRESHOLD,
  EVPORT_TIMED,
  EVQUEUE_ONLY,
  EVQUEUE_SCHEDULE,
  EVQUEUE_SHIFT,
  NEEDS_TIME,
  OP_FORWARD,
  OP_NEW,
  OP_RELEASE,
  OUTPUT_MAX,
  PARALLEL_FLOWS,
  SCHEDULE_PARALLEL,
} from './layout.ts';
import { buffer, bufferOrPause, flowHash, flushOutputs, sendTo } from './output.kernel.ts';
import { count, isOneRun } from './runs.kernel.ts';

/** What a run of an operation that was checked adds to a tally: `n` in the byte of new, forwarded or released events. */
function tallyOf(device: u32, event: u32, n: u32): u32 {
  const op = (event >> EVENT_OP_SHIFT) & EVENT_OP_MASK;
  if (op > OP_RELEASE) return 0;
  if ((event & EVENT_QUEUE_MASK) < load<u32>(device, EVDEV_QUEUES) || op === OP_RELEASE) return n << (op << 3);
  // Events to nowhere end here: a new one never gets a credit, a forwarded one gives its own back.
  return op === OP_NEW ? 0 : n << (OP_RELEASE << 3);
}

/** The tally of a burst: new, forwarded and released events in a byte each (128 at most). */
function tallyBurst(device: u32, slots: u32, end: u32, one: bool): u32 {
  if (one) return tallyOf(device, load<u16>(slots, SLOT_EVENT), (end - slots) >> 4);
  let tally: u32 = 0;
  for (; slots < end; slots += 16) tally += tallyOf(device, load<u16>(slots, SLOT_EVENT), 1);
  return tally;
}

/** Does what a burst's tally means for the credits. Returns false, with nothing done, when they do not suffice. */
function admit(port: u32, device: u32, tally: u32): bool {
  const fresh = tally & 255;
  const forwarded = (tally >> 8) & 255;
  const released = tally >> 16;
  const pending = load<u32>(port, EVPORT_PENDING);
  const carried = min(forwarded, pending);
  if (fresh > 0 && atomic.load<u32>(device, EVDEV_ON_LOAN) > load<u32>(port, EVPORT_THRESHOLD)) return false;
  // Forwarded events that nobody dequeued have no credit to carry on: they take one, as new ones.
  const wanted = fresh + forwarded - carried;
  if (wanted > 0 && !takeCredits(port, device, wanted)) return false;
  const finished = min(released, pending - carried);
  if (finished > 0) giveCredits(port, device, finished);
  store<u32>(port, pending - carried - finished, EVPORT_PENDING);
  if (fresh > 0) count(port + EVPORT_NEW_ENQUEUED, fresh);
  if (forwarded > 0) count(port + EVPORT_FORWARD_ENQUEUED, forwarded);
  if (released > 0) count(port + EVPORT_RELEASE_ENQUEUED, released);
  return true;
}

/** Sends a run to the only port that serves its queue. */
function bufferAll(port: u32, device: u32, to: u32, slots: u32, end: u32): void {
  const counted = port + (to << 2);
  let n = load<u32>(counted, EVPORT_OUTPUT_COUNTS);
  if (n === 0) {
    // Whole bursts of a full buffer's size need no buffer.
    while (end - slots >= OUTPUT_MAX << 4) {
      sendTo(device, to, slots, OUTPUT_MAX);
      slots += OUTPUT_MAX << 4;
    }
  }
  const output = port + EVPORT_OUTPUTS + (to << EVOUTPUT_SHIFT);
  for (; slots < end; slots += 16) {
    v128.store(output + (n << 4), v128.load(slots));
    n++;
    if (n < OUTPUT_MAX) continue;
    sendTo(device, to, output, OUTPUT_MAX);
    n = 0;
  }
  store<u32>(counted, n, EVPORT_OUTPUT_COUNTS);
}

function bufferParallel(port: u32, device: u32, table: u32, bits: u32, slots: u32, end: u32): void {
  let next = load<u32>(port, EVPORT_NEXT_PARALLEL);
  for (; slots < end; slots += 16) {
    const event: u32 = load<u16>(slots, SLOT_EVENT) & ~(EVENT_TAG_MASK << EVENT_TAG_SHIFT);
    store<u16>(slots, event | (next << EVENT_TAG_SHIFT), SLOT_EVENT);
    buffer(port, device, load<u8>(table + flowHash(next, bits)), slots);
    next = (next + 1) & (PARALLEL_FLOWS - 1);
  }
  store<u32>(port, next, EVPORT_NEXT_PARALLEL);
}

/** Sends a run of new or forwarded events of one queue on. */
function bufferRun(port: u32, device: u32, queue: u32, slots: u32, end: u32): void {
  count(port + EVPORT_QUEUE_ENQUEUED + (queue << 3), (end - slots) >> 4);
  const entry = device + EVDEV_QUEUE_ENTRIES + (queue << EVQUEUE_SHIFT);
  const only = load<u32>(entry, EVQUEUE_ONLY);
  if (only !== 0 && end - slots > 16) {
    bufferAll(port, device, only - 1, slots, end);
    return;
  }
  const bits = load<u32>(device, EVDEV_HASH_BITS);
  const table = load<u32>(device, EVDEV_TABLES) + (queue << bits);
  if (load<u32>(entry, EVQUEUE_SCHEDULE) === SCHEDULE_PARALLEL) {
    bufferParallel(port, device, table, bits, slots, end);
    return;
  }
  if (load<u32>(port, EVPORT_PAUSED_COUNT) > 0) {
    for (; slots < end; slots += 16) bufferOrPause(port, device, slots);
    return;
  }
  for (; slots < end; slots += 16) {
    buffer(port, device, load<u8>(table + flowHash(load<u32>(slots, SLOT_FLOW), bits)), slots);
  }
}

/** Sends the events of a burst on, as one run, or each on its own: mixed bursts have no runs worth looking for. */
function bufferBurst(port: u32, device: u32, slots: u32, end: u32, one: bool): void {
  const queues = load<u32>(device, EVDEV_QUEUES);
  while (slots < end) {
    const next = one ? end : slots + 16;
    const event: u32 = load<u16>(slots, SLOT_EVENT);
    const queue = event & EVENT_QUEUE_MASK;
    const op = (event >> EVENT_OP_SHIFT) & EVENT_OP_MASK;
    if (op <= OP_FORWARD && queue < queues) bufferRun(port, device, queue, slots, next);
    else if (op !== OP_RELEASE) count(port + EVPORT_DROPPED, (next - slots) >> 4);
    slots = next;
  }
}

/**
 * Takes `n` events at `slots` (EVPORT_ENQUEUE_DEPTH at most) into the device, or none of them. Returns how many, or
 * NEEDS_TIME. With `n` 0 what waits in the port's output buffers is sent. Events to parallel queues are written to.
 */
export function enqueue(port: u32, slots: u32, n: u32): u32 {
  if (needsBackground(port) && !background(port)) return NEEDS_TIME;
  store<u32>(port, 0, EVPORT_TIMED);
  const ops = load<u32>(port, EVPORT_OPS);
  if (n === 0) {
    store<u32>(port, ops + BACKGROUND_OPS, EVPORT_OPS);
    flushOutputs(port);
    return 0;
  }
  n = min(n, load<u32>(port, EVPORT_ENQUEUE_DEPTH));
  store<u32>(port, ops + n + 1, EVPORT_OPS);
  const device = load<u32>(port, EVPORT_DEVICE);
  const end = slots + (n << 4);
  const one = isOneRun(slots, end);
  if (!admit(port, device, tallyBurst(device, slots, end, one))) return 0;
  bufferBurst(port, device, slots, end, one);
  return n;
}
