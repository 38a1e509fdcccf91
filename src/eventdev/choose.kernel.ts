import { SLOT_EVENT } from '../memory/layout.ts';
import { MPSC_RUNS, MPSC_SIZE } from '../ring/layout.ts';
import {
  BELL_PARKED,
  EVDEV_BELLS,
  EVDEV_BLOCKS,
  EVDEV_HASH_BITS,
  EVDEV_LEVELS,
  EVDEV_PORTS,
  EVDEV_QUEUE_ENTRIES,
  EVDEV_STRATEGY,
  EVENT_QUEUE_MASK,
  EVENT_TAG_SHIFT,
  EVPORT_DEVICE,
  EVPORT_ID,
  EVPORT_IMMIGRATION_LOAD,
  EVPORT_LOAD,
  EVPORT_LOADS,
  EVPORT_LOCAL_LIMIT,
  EVPORT_LOCAL_READ,
  EVPORT_LOCAL_SAMPLE_START,
  EVPORT_LOCAL_START,
  EVPORT_LOCAL_TAIL,
  EVPORT_MOVING_COUNT,
  EVPORT_MOVING_FLOWS,
  EVPORT_MOVING_TARGETS,
  EVPORT_NEXT_LOAD,
  EVPORT_NEXT_MIGRATION,
  EVPORT_NOW,
  EVPORT_PAUSED_EVENTS,
  EVPORT_RANDOM,
  EVPORT_RING,
  EVPORT_SAMPLE_COUNTS,
  EVPORT_SAMPLE_FLOWS,
  EVPORT_SAMPLE_START,
  EVPORT_STATE,
  EVPORT_STEADY_LOAD,
  EVPORT_STEADY_LOADS,
  EVPORT_TAIL,
  EVQUEUE_SCHEDULE,
  EVQUEUE_SHIFT,
  FLOW_QUEUE_SHIFT,
  FLOWS_PER_MIGRATION,
  LOAD_INTERVAL_NS,
  LOAD_MAX,
  MIGRATION_IDLE,
  MIGRATION_INTERVAL_NS,
  REBALANCE_MIN,
  SAMPLE_EVENTS,
  SCHEDULE_PARALLEL,
  SOURCE_LOAD_MIN,
  STEADY_SHIFT,
  STRATEGY_SINGLE_FLOW,
  TARGET_LOAD_MAX,
} from './layout.ts';
import { serves } from './links.kernel.ts';
import { beginMigration } from './move.kernel.ts';
import { atomicFlow, findFlow, flowHash, ownerOf } from './output.kernel.ts';
import { hasLane } from './rounds.kernel.ts';

/** Half to one and a half of the interval, so that ports do not all think at once and choose the same target. */
function nextInterval(port: u32): u32 {
  // xorshift32 (Marsaglia, "Xorshift RNGs", 2003).
  let x = load<u32>(port, EVPORT_RANDOM);
  x ^= x << 13;
  x ^= x >> 17;
  x ^= x << 5;
  store<u32>(port, x, EVPORT_RANDOM);
  return MIGRATION_INTERVAL_NS / 2 + (x % MIGRATION_INTERVAL_NS);
}

/** Load periods that a port has slept for, as the others see it: its estimates would have come down meanwhile. */
function periodsAsleep(device: u32, id: u32, port: u32, now: u64): u32 {
  const due = load<u64>(port, EVPORT_NEXT_LOAD);
  if (now <= due || atomic.load<u32>(load<u32>(device + (id << 2), EVDEV_BELLS), BELL_PARKED) === 0) return 0;
  return <u32>min<u64>((now - due) / LOAD_INTERVAL_NS, 31 << STEADY_SHIFT);
}

/**
 * Reads the loads of all ports, with those of flows on their way to them (none are written down with single flows).
 * Returns false when none could take more.
 */
export function readLoads(port: u32, device: u32): bool {
  const ports = load<u32>(device, EVDEV_PORTS);
  const now = load<u64>(port, EVPORT_NOW);
  let anyBelow = false;
  for (let i: u32 = 0; i < ports; i++) {
    const other = load<u32>(device + (i << 2), EVDEV_BLOCKS);
    const asleep = periodsAsleep(device, i, other, now);
    const own = atomic.load<u32>(other, EVPORT_LOAD) >> min(asleep, 31);
    const all = own + atomic.load<u32>(other, EVPORT_IMMIGRATION_LOAD);
    const its = min(all, LOAD_MAX);
    if (its < TARGET_LOAD_MAX) anyBelow = true;
    store<u32>(port + EVPORT_LOADS + (i << 2), its);
    const steady = atomic.load<u32>(other, EVPORT_STEADY_LOAD) >> (asleep >> STEADY_SHIFT);
    store<u32>(port + EVPORT_STEADY_LOADS + (i << 2), steady);
  }
  return anyBelow;
}

/** Counts the event at `slot` for its flow, in the list of `n` flows of the sample. Returns how many there are. */
function addToSample(port: u32, device: u32, slot: u32, n: u32): u32 {
  const bits = load<u32>(device, EVDEV_HASH_BITS);
  const flows = port + EVPORT_SAMPLE_FLOWS;
  const counts = port + EVPORT_SAMPLE_COUNTS;
  const event: u32 = load<u16>(slot, SLOT_EVENT);
  const queue = event & EVENT_QUEUE_MASK;
  const schedule = load<u32>(device + EVDEV_QUEUE_ENTRIES + (queue << EVQUEUE_SHIFT), EVQUEUE_SCHEDULE);
  const flow =
    schedule === SCHEDULE_PARALLEL
      ? (queue << FLOW_QUEUE_SHIFT) | flowHash(event >> EVENT_TAG_SHIFT, bits)
      : atomicFlow(slot, bits);
  const at = findFlow(flows, n, flow);
  if (at === n) {
    store<u32>(flows + (n << 2), flow);
    store<u32>(counts + (n << 2), 0);
    n++;
  }
  store<u32>(counts + (at << 2), load<u32>(counts + (at << 2)) + 1);
  return n;
}

/** Adds the last `take` events dequeued of a level to the sample of `n` flows. Returns how many there are. */
function readLevel(port: u32, device: u32, level: u32, take: u32, n: u32): u32 {
  const ring = load<u32>(port + (level << 2), EVPORT_RING);
  const size = load<u32>(ring, MPSC_SIZE);
  const slots = ring + MPSC_RUNS + (size << 2);
  const tail = load<u32>(port + (level << 2), EVPORT_TAIL);
  for (let i: u32 = 1; i <= take; i++) n = addToSample(port, device, slots + (((tail - i) & (size - 1)) << 4), n);
  return n;
}

/** The same of the port's FIFO. */
function readLocalSample(port: u32, device: u32, take: u32, n: u32): u32 {
  const start = load<u32>(port, EVPORT_LOCAL_START);
  let slot = load<u32>(port, EVPORT_LOCAL_TAIL);
  for (; take > 0; take--) {
    slot = (slot === start ? load<u32>(port, EVPORT_LOCAL_LIMIT) : slot) - 16;
    n = addToSample(port, device, slot, n);
  }
  return n;
}

/** Events of a level dequeued since the sample began. */
function sampled(port: u32, level: u32): u32 {
  return load<u32>(port + (level << 2), EVPORT_TAIL) - load<u32>(port + (level << 2), EVPORT_SAMPLE_START);
}

/** The same of the FIFO; 0 without one. */
function sampledLocal(port: u32): u32 {
  return hasLane(port) ? load<u32>(port, EVPORT_LOCAL_READ) - load<u32>(port, EVPORT_LOCAL_SAMPLE_START) : 0;
}

/** The same of all levels and the FIFO. */
function sampledInAll(port: u32, device: u32): u32 {
  const levels = load<u32>(device, EVDEV_LEVELS);
  let all = sampledLocal(port);
  for (let level: u32 = 0; level < levels; level++) all += sampled(port, level);
  return all;
}

/**
 * Lists the flows of SAMPLE_EVENTS events dequeued (a few less with several sources), and how many each had. They are the
 * last ones of each level and of the FIFO, as many as the share of each was since the sample began: still in the ring,
 * behind its tail, since a ring has that many places more than there are credits, and senders find credits, not places.
 * Returns how many flows.
 */
function readSample(port: u32, device: u32): u32 {
  const levels = load<u32>(device, EVDEV_LEVELS);
  const all: u64 = sampledInAll(port, device);
  let n = readLocalSample(port, device, <u32>((<u64>sampledLocal(port) * SAMPLE_EVENTS) / all), 0);
  for (let level: u32 = 0; level < levels; level++) {
    n = readLevel(port, device, level, <u32>((<u64>sampled(port, level) * SAMPLE_EVENTS) / all), n);
  }
  return n;
}

/** The port other than `self` that serves `flow` and has the lowest load; PORTS when none does. */
export function lightestTarget(port: u32, device: u32, self: u32, flow: u32): u32 {
  const ports = load<u32>(device, EVDEV_PORTS);
  let best = ports;
  let lowest: u32 = LOAD_MAX + 1;
  for (let i: u32 = 0; i < ports; i++) {
    const its = load<u32>(port + EVPORT_LOADS + (i << 2));
    if (i === self || its >= lowest || !serves(device, i, flow)) continue;
    best = i;
    lowest = its;
  }
  return best;
}

/**
 * True when port `to` has had clearly less to do than this one for a while, too: loads of single periods differ by chance,
 * and moving flows for that would go on for ever. The driver of 2018 did not look at it.
 */
function isSteadilyLighter(port: u32, self: u32, to: u32): bool {
  const loads = port + EVPORT_STEADY_LOADS;
  return load<u32>(loads + (self << 2)) >= load<u32>(loads + (to << 2)) + REBALANCE_MIN;
}

/**
 * Chooses one more flow, of `flows` in the sample, to move: what leaves its target with the lowest load, or the smallest
 * flow when they move singly. Returns false when no more should be chosen.
 */
function chooseOne(port: u32, device: u32, flows: u32): bool {
  const self = load<u32>(port, EVPORT_ID);
  const loads = port + EVPORT_LOADS;
  const source = load<u32>(loads + (self << 2));
  if (source < SOURCE_LOAD_MIN) return false;
  const single = load<u32>(device, EVDEV_STRATEGY) === STRATEGY_SINGLE_FLOW;
  const moving = load<u32>(port, EVPORT_MOVING_COUNT);
  let best: u32 = LOAD_MAX + 1;
  let bestLoad: u32 = 0;
  let bestFlow: u32 = 0;
  let bestTarget: u32 = 0;
  let bestShare: u32 = 0;
  for (let i: u32 = 0; i < flows; i++) {
    const flow = load<u32>(port + EVPORT_SAMPLE_FLOWS + (i << 2));
    if (findFlow(port + EVPORT_MOVING_FLOWS, moving, flow) < moving) continue;
    // What came before a move may still be in the sample.
    if (ownerOf(device, flow) !== self) continue;
    const to = lightestTarget(port, device, self, flow);
    if (to === load<u32>(device, EVDEV_PORTS)) continue;
    if (!single && !isSteadilyLighter(port, self, to)) continue;
    const target = load<u32>(loads + (to << 2));
    const share = (source * load<u32>(port + EVPORT_SAMPLE_COUNTS + (i << 2))) / SAMPLE_EVENTS;
    const after = target + share;
    const cost = single ? share : after;
    if (target > TARGET_LOAD_MAX || source < target + REBALANCE_MIN || after > source || cost >= best) continue;
    best = cost;
    bestLoad = after;
    bestFlow = flow;
    bestTarget = to;
    bestShare = share;
  }
  if (best > LOAD_MAX) return false;
  store<u32>(loads + (self << 2), source - bestShare);
  store<u32>(loads + (bestTarget << 2), bestLoad);
  store<u32>(port + EVPORT_MOVING_FLOWS + (moving << 2), bestFlow);
  store<u32>(port + EVPORT_MOVING_TARGETS + (moving << 2), bestTarget);
  store<u32>(port, moving + 1, EVPORT_MOVING_COUNT);
  if (single) return false;
  atomic.add<u32>(load<u32>(device + (bestTarget << 2), EVDEV_BLOCKS), bestShare, EVPORT_IMMIGRATION_LOAD);
  return true;
}

/** Begins to move flows when it is time to, and when there are flows and ports that it would help. */
export function considerMigration(port: u32): void {
  const now = load<u64>(port, EVPORT_NOW);
  if (now < load<u64>(port, EVPORT_NEXT_MIGRATION)) return;
  const device = load<u32>(port, EVPORT_DEVICE);
  if (load<u32>(device, EVDEV_PORTS) === 1 || sampledInAll(port, device) < SAMPLE_EVENTS) return;
  if (load<u32>(port, EVPORT_PAUSED_EVENTS) > 0) return;
  store<u64>(port, now + nextInterval(port), EVPORT_NEXT_MIGRATION);
  if (load<u32>(port, EVPORT_STATE) !== MIGRATION_IDLE) return;
  if (load<u32>(port, EVPORT_LOAD) < SOURCE_LOAD_MIN || !readLoads(port, device)) return;
  const flows = readSample(port, device);
  // A port's only flow would take its load along.
  if (flows < 2) return;
  for (let i: u32 = 0; i < FLOWS_PER_MIGRATION; i++) if (!chooseOne(port, device, flows)) break;
  if (load<u32>(port, EVPORT_MOVING_COUNT) > 0) beginMigration(port);
}
