import { SLOT_EVENT, SLOT_FLOW } from '../memory/layout.ts';
import { background, needsBackground } from './background.kernel.ts';
import { giveCredits, takeCredits } from './credits.kernel.ts';
import {
  BACKGROUND_OPS,
  EVDEV_ALL_DIRECT,
  EVDEV_DIRECT,
  EVDEV_HASH_BITS,
  EVDEV_ON_LOAN,
  EVDEV_ONES,
  EVDEV_QUEUE_ENTRIES,
  EVDEV_QUEUES,
  EVDEV_TABLES,
  EVENT_OP_MASK,
  EVENT_OP_SHIFT,
  EVENT_QUEUE_MASK,
  EVENT_RUN_MASK,
  EVOUTPUT_MASK,
  EVPORT_DEVICE,
  EVPORT_DROPPED,
  EVPORT_ENQUEUE_DEPTH,
  EVPORT_FORWARD_ENQUEUED,
  EVPORT_LOCAL_LANE,
  EVPORT_NEW_ENQUEUED,
  EVPORT_OPS,
  EVPORT_OUTPUT_ENDS,
  EVPORT_OWNERS,
  EVPORT_PAUSED_COUNT,
  EVPORT_PENDING,
  EVPORT_QUEUE_ENQUEUED,
  EVPORT_RELEASE_ENQUEUED,
  EVPORT_SCRATCH,
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
  OWNER_NONE,
  SCHEDULE_ORDERED,
  SCHEDULE_PARALLEL,
} from './layout.ts';
import { sendOrdered } from './ordered.kernel.ts';
import {
  buffer,
  bufferOrPause,
  bufferOwned,
  bufferParallel,
  flowHash,
  flushOutputs,
  sendOutput,
  sendTo,
} from './output.kernel.ts';
import { addCounts, count, isOneRun, summarise } from './runs.kernel.ts';

/** What a run of an operation that was checked adds to a tally: `n` in the byte of new, forwarded or released events. */
function tallyOf(device: u32, event: u32, n: u32): u32 {
  const op = (event >> EVENT_OP_SHIFT) & EVENT_OP_MASK;
  if (op > OP_RELEASE) return 0;
  if ((event & EVENT_QUEUE_MASK) < load<u32>(device, EVDEV_QUEUES) || op === OP_RELEASE) return n << (op << 3);
  // Events to nowhere end here: a new one never gets a credit, a forwarded one gives its own back.
  return op === OP_NEW ? 0 : n << (OP_RELEASE << 3);
}

/** The tally of a burst: new, forwarded and released events in a byte each (128 at most). */
function tallyBurst(device: u32, slots: u32, end: u32, summary: u32): u32 {
  const n = (end - slots) >> 4;
  if (isOneRun(summary)) return tallyOf(device, load<u16>(slots, SLOT_EVENT), n);
  const any = summary >> 16;
  const forward = OP_FORWARD << EVENT_OP_SHIFT;
  const ops = EVENT_OP_MASK << EVENT_OP_SHIFT;
  // Most bursts of several queues: only forwards, and to queues that there are.
  if (
    (any & ops) === forward &&
    (summary & ops) === forward &&
    (any & EVENT_QUEUE_MASK) < load<u32>(device, EVDEV_QUEUES)
  ) {
    return n << (OP_FORWARD << 3);
  }
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

/** Sends a run to lane `to`, of the only port that serves its queue. */
function bufferAll(port: u32, device: u32, to: u32, slots: u32, end: u32): void {
  const isBuffered = (load<u32>(port + (to << 2), EVPORT_OUTPUT_ENDS) & EVOUTPUT_MASK) !== 0;
  if (!isBuffered && to !== load<u32>(port, EVPORT_LOCAL_LANE)) {
    // Whole bursts of a full buffer's size need no buffer.
    while (end - slots >= OUTPUT_MAX << 4) {
      sendTo(device, to, slots, OUTPUT_MAX);
      slots += OUTPUT_MAX << 4;
    }
  }
  let at = load<u32>(port + (to << 2), EVPORT_OUTPUT_ENDS);
  for (; slots < end; slots += 16) {
    v128.store(at, v128.load(slots));
    at += 16;
    if ((at & EVOUTPUT_MASK) !== 0) continue;
    sendOutput(port, device, to, at);
    at = load<u32>(port + (to << 2), EVPORT_OUTPUT_ENDS);
  }
  store<u32>(port + (to << 2), at, EVPORT_OUTPUT_ENDS);
}

/** The lane of an event's flow; OWNER_NONE when its queue or operation wants something else. */
function findOwner(direct: u64, tables: u32, bits: u32, slot: u32): u32 {
  const event: u32 = load<u16>(slot, SLOT_EVENT);
  if (((direct >> (event & EVENT_RUN_MASK)) & 1) === 0) return OWNER_NONE;
  return load<u8>(tables + ((event & EVENT_QUEUE_MASK) << bits) + flowHash(load<u32>(slot, SLOT_FLOW), bits));
}

/**
 * The same for four events at a time, all of which have one: a byte each to EVPORT_OWNERS, and how many go to each queue
 * to EVPORT_SCRATCH. Apart from sending them: a loop without calls keeps its values in registers.
 */
function findOwners(port: u32, device: u32, slots: u32, end: u32): void {
  const bits = load<u32>(device, EVDEV_HASH_BITS);
  const tables = load<u32>(device, EVDEV_TABLES);
  const ones = device + EVDEV_ONES;
  const mask = i32x4.splat((1 << bits) - 1);
  const queueMask = i32x4.splat(EVENT_QUEUE_MASK);
  let counts = i8x16.splat(0);
  for (let owner = port; slots < end; slots += 64) {
    const a = v128.load(slots);
    const b = v128.load(slots, 16);
    const c = v128.load(slots, 32);
    const d = v128.load(slots, 48);
    const ab = v128.shuffle<i32>(a, b, 2, 6, 3, 7);
    const cd = v128.shuffle<i32>(c, d, 2, 6, 3, 7);
    const flows = v128.shuffle<i32>(ab, cd, 0, 1, 4, 5);
    const events = i32x4.shr_u(v128.shuffle<i32>(ab, cd, 2, 3, 6, 7), 16);
    // As `flowHash`.
    const folded = v128.xor(v128.xor(flows, i32x4.shr_u(flows, 13)), i32x4.shr_u(flows, 26));
    const queues = v128.and(events, queueMask);
    const entries = v128.or(v128.and(folded, mask), i32x4.shl(queues, bits));
    const first: u32 = i32x4.extract_lane(entries, 0);
    const second: u32 = i32x4.extract_lane(entries, 1);
    const third: u32 = i32x4.extract_lane(entries, 2);
    const fourth: u32 = i32x4.extract_lane(entries, 3);
    store<u8>(owner, load<u8>(tables + first), EVPORT_OWNERS);
    store<u8>(owner, load<u8>(tables + second), EVPORT_OWNERS + 1);
    store<u8>(owner, load<u8>(tables + third), EVPORT_OWNERS + 2);
    store<u8>(owner, load<u8>(tables + fourth), EVPORT_OWNERS + 3);
    counts = i8x16.add(counts, v128.load(ones + ((first >> bits) << 4)));
    counts = i8x16.add(counts, v128.load(ones + ((second >> bits) << 4)));
    counts = i8x16.add(counts, v128.load(ones + ((third >> bits) << 4)));
    counts = i8x16.add(counts, v128.load(ones + ((fourth >> bits) << 4)));
    owner += 4;
  }
  v128.store(port, counts, EVPORT_SCRATCH);
}

/** Sends events on to the owners of their flows, none of which is paused; those of queues without owners one by one. */
function bufferDirect(port: u32, device: u32, slots: u32, end: u32, summary: u32): void {
  const any = summary >> 16;
  const ops = (any >> EVENT_OP_SHIFT) & EVENT_OP_MASK;
  if (
    load<u32>(device, EVDEV_ALL_DIRECT) !== 0 &&
    ops <= OP_FORWARD &&
    (any & EVENT_QUEUE_MASK) < load<u32>(device, EVDEV_QUEUES)
  ) {
    const fours = slots + ((end - slots) & ~63);
    findOwners(port, device, slots, fours);
    addCounts(port + EVPORT_QUEUE_ENQUEUED, device, port + EVPORT_SCRATCH);
    bufferOwned(port, device, slots, (fours - slots) >> 4);
    slots = fours;
  }
  const direct = load<u64>(device, EVDEV_DIRECT);
  const bits = load<u32>(device, EVDEV_HASH_BITS);
  const tables = load<u32>(device, EVDEV_TABLES);
  for (; slots < end; slots += 16) {
    const to = findOwner(direct, tables, bits, slots);
    if (to === OWNER_NONE) {
      bufferOne(port, device, slots);
    } else {
      count(port + EVPORT_QUEUE_ENQUEUED + ((load<u16>(slots, SLOT_EVENT) & EVENT_QUEUE_MASK) << 3), 1);
      buffer(port, device, to, slots);
    }
  }
}

/** Sends a run of new or forwarded events of one queue on. */
function bufferRun(port: u32, device: u32, slots: u32, end: u32, summary: u32): void {
  const queue = summary & EVENT_QUEUE_MASK;
  const entry = device + EVDEV_QUEUE_ENTRIES + (queue << EVQUEUE_SHIFT);
  const only = load<u32>(entry, EVQUEUE_ONLY);
  const schedule = load<u32>(entry, EVQUEUE_SCHEDULE);
  if (only === 0 && schedule < SCHEDULE_PARALLEL && load<u32>(port, EVPORT_PAUSED_COUNT) === 0) {
    bufferDirect(port, device, slots, end, summary);
    return;
  }
  count(port + EVPORT_QUEUE_ENQUEUED + (queue << 3), (end - slots) >> 4);
  if (schedule === SCHEDULE_ORDERED) sendOrdered(device, queue, slots, end);
  else if (only !== 0) bufferAll(port, device, only - 1, slots, end);
  else if (schedule === SCHEDULE_PARALLEL) bufferParallel(port, device, queue, slots, end);
  else for (; slots < end; slots += 16) bufferOrPause(port, device, slots);
}

/** Sends a run of equal queue and operation on, whatever that is. */
function bufferAny(port: u32, device: u32, slots: u32, end: u32, summary: u32): void {
  const op = (summary >> EVENT_OP_SHIFT) & EVENT_OP_MASK;
  const isSent = op <= OP_FORWARD && (summary & EVENT_QUEUE_MASK) < load<u32>(device, EVDEV_QUEUES);
  if (isSent) bufferRun(port, device, slots, end, summary);
  else if (op !== OP_RELEASE) count(port + EVPORT_DROPPED, (end - slots) >> 4);
}

/** The same for one event. */
function bufferOne(port: u32, device: u32, slot: u32): void {
  bufferAny(port, device, slot, slot + 16, summarise(slot, slot + 16));
}

/** Sends the events of a burst on. */
export function bufferBurst(port: u32, device: u32, slots: u32, end: u32, summary: u32): void {
  if (isOneRun(summary)) bufferAny(port, device, slots, end, summary);
  else if (load<u32>(port, EVPORT_PAUSED_COUNT) === 0) bufferDirect(port, device, slots, end, summary);
  else for (; slots < end; slots += 16) bufferOne(port, device, slots);
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
  const summary = summarise(slots, end);
  if (!admit(port, device, tallyBurst(device, slots, end, summary))) return 0;
  bufferBurst(port, device, slots, end, summary);
  return n;
}
