import { LCORE_DOORBELL, LCORE_PARKED } from '../lcore/layout.ts';
import { descriptorAt, run, sgAt } from './engine.kernel.ts';
import {
  DMA_DESC_FLAGS,
  DMA_DESC_LENGTH,
  DMA_DESC_OP,
  DMA_DESC_PATTERN,
  DMA_DESC_SOURCE,
  DMA_DESC_STATUS,
  DMA_DESC_TARGET,
  DMA_FLAG_SUBMIT,
  DMA_OP_COPY,
  DMA_OP_FILL,
  DMA_OP_SG,
  DMA_SGE_SHIFT,
  ENGINE_BURST,
  ENGINE_CPU,
  INDEX_MASK,
  OPS_FILL,
  OPS_SG,
  SG_SOURCES,
  SGES_MAX,
  STATUS_SUCCESSFUL,
  VCHAN_BELL,
  VCHAN_CAPACITY,
  VCHAN_COMPLETED,
  VCHAN_ENGINE,
  VCHAN_ENQUEUED,
  VCHAN_OPS,
  VCHAN_RETURNED,
  VCHAN_SILENT,
  VCHAN_SUBMITTED,
  VCHAN_SUBMITTED_COUNT,
} from './layout.ts';

/** What enqueueing returns when no descriptor is empty, or the device does not run. */
const FULL: i32 = -1;
/** What it returns for an operation that the engine does not do, or lists that are empty or too long. */
const REFUSED: i32 = -2;

/** Empty descriptors; when they are fewer than `wanted`, after one more look at what is completed. */
function room(vchan: u32, wanted: u32): u32 {
  const enqueued = load<u32>(vchan, VCHAN_ENQUEUED);
  const capacity = load<u32>(vchan, VCHAN_CAPACITY);
  let used = enqueued - load<u32>(vchan, VCHAN_RETURNED);
  if (used + wanted > capacity && load<u32>(vchan, VCHAN_SILENT) !== 0) {
    // Nobody collects: what is completed is empty.
    const completed = atomic.load<u32>(vchan, VCHAN_COMPLETED);
    store<u32>(vchan, completed, VCHAN_RETURNED);
    used = enqueued - completed;
  }
  return used < capacity ? capacity - used : 0;
}

/** Makes the descriptor at `descriptor`, the next empty one, pending. Returns its ring index. */
function enqueue(vchan: u32, descriptor: u32, op: u32, flags: u32): i32 {
  store<u16>(descriptor, <u16>op, DMA_DESC_OP);
  store<u16>(descriptor, <u16>flags, DMA_DESC_FLAGS);
  // Here, so that the engine need not write the line of an operation that succeeds.
  store<u32>(descriptor, STATUS_SUCCESSFUL, DMA_DESC_STATUS);
  const position = load<u32>(vchan, VCHAN_ENQUEUED);
  store<u32>(vchan, position + 1, VCHAN_ENQUEUED);
  if ((flags & DMA_FLAG_SUBMIT) !== 0) submit(vchan);
  return <i32>(position & INDEX_MASK);
}

/** The next empty descriptor. */
function nextDescriptor(vchan: u32): u32 {
  return descriptorAt(vchan, load<u32>(vchan, VCHAN_ENQUEUED));
}

/**
 * Enqueues a copy of `length` bytes. Returns its ring index, or -1 when the channel is full.
 * Where the bytes lie is checked by the engine: a fault is the operation's status.
 */
export function copy(vchan: u32, target: u32, source: u32, length: u32, flags: u32): i32 {
  if (room(vchan, 1) === 0) return FULL;
  const descriptor = nextDescriptor(vchan);
  store<u32>(descriptor, target, DMA_DESC_TARGET);
  store<u32>(descriptor, source, DMA_DESC_SOURCE);
  store<u32>(descriptor, length, DMA_DESC_LENGTH);
  return enqueue(vchan, descriptor, DMA_OP_COPY, flags);
}

/** Copies a list of `n` entries. */
function copyList(to: u32, from: u32, n: u32): void {
  for (let i: u32 = 0; i < n; i++) {
    store<u64>(to + (i << DMA_SGE_SHIFT), load<u64>(from + (i << DMA_SGE_SHIFT)));
  }
}

/**
 * Enqueues a copy from the bytes of `nSources` entries at `sources` to those of `nTargets` entries at `targets`, which are
 * as many in all; 1 to 16 entries each (address and length, u32). The lists are the caller's again at once. Returns the
 * ring index, -1 when the channel is full, -2 when a list has no or too many entries, or the engine does not do this.
 */
export function copySg(vchan: u32, targets: u32, nTargets: u32, sources: u32, nSources: u32, flags: u32): i32 {
  // One subtraction sees 0, too: it wraps.
  if (nTargets - 1 >= SGES_MAX || nSources - 1 >= SGES_MAX) return REFUSED;
  if ((load<u32>(vchan, VCHAN_OPS) & OPS_SG) === 0) return REFUSED;
  if (room(vchan, 1) === 0) return FULL;
  const lists = sgAt(vchan, load<u32>(vchan, VCHAN_ENQUEUED));
  copyList(lists, targets, nTargets);
  copyList(lists + SG_SOURCES, sources, nSources);
  const descriptor = nextDescriptor(vchan);
  store<u32>(descriptor, (nTargets << 16) | nSources, DMA_DESC_LENGTH);
  return enqueue(vchan, descriptor, DMA_OP_SG, flags);
}

/**
 * Enqueues a fill of `length` bytes with `pattern`, its lowest byte first, again and again from the target's start on.
 * Returns as `copy`; -2 when the engine does not do this.
 */
export function fill(vchan: u32, target: u32, pattern: u64, length: u32, flags: u32): i32 {
  if ((load<u32>(vchan, VCHAN_OPS) & OPS_FILL) === 0) return REFUSED;
  if (room(vchan, 1) === 0) return FULL;
  const descriptor = nextDescriptor(vchan);
  store<u32>(descriptor, target, DMA_DESC_TARGET);
  store<u32>(descriptor, length, DMA_DESC_LENGTH);
  store<u64>(descriptor, pattern, DMA_DESC_PATTERN);
  return enqueue(vchan, descriptor, DMA_OP_FILL, flags);
}

/** `fill` for TypeScript: the pattern in two words, since no u64 crosses to it cheaply. */
export function fillWords(vchan: u32, target: u32, low: u32, high: u32, length: u32, flags: u32): i32 {
  return fill(vchan, target, ((<u64>high) << 32) | low, length, flags);
}

/** Wakes the engine's lcore when it sleeps. */
function ring(bell: u32): void {
  // It says that it sleeps, then looks at what is submitted: one of the two is seen.
  if (atomic.load<u32>(bell, LCORE_PARKED) === 0) return;
  atomic.store<u32>(bell, 1, LCORE_DOORBELL);
  atomic.notify(bell + LCORE_DOORBELL, 1);
}

/** Hands all pending operations to the engine. Returns how many. */
export function submit(vchan: u32): u32 {
  const enqueued = load<u32>(vchan, VCHAN_ENQUEUED);
  const n = enqueued - load<u32>(vchan, VCHAN_SUBMITTED);
  if (n === 0) return 0;
  store<u64>(vchan, load<u64>(vchan, VCHAN_SUBMITTED_COUNT) + n, VCHAN_SUBMITTED_COUNT);
  // The one publication of the batch: it orders the descriptors before it.
  atomic.store<u32>(vchan, enqueued, VCHAN_SUBMITTED);
  if (load<u32>(vchan, VCHAN_ENGINE) === ENGINE_CPU) {
    while (run(vchan, ENGINE_BURST) !== 0) {}
    return n;
  }
  const bell = load<u32>(vchan, VCHAN_BELL);
  if (bell !== 0) ring(bell);
  return n;
}

/** Operations that can be enqueued now. */
export function burstCapacity(vchan: u32): u32 {
  return room(vchan, load<u32>(vchan, VCHAN_CAPACITY));
}

/**
 * Gives up the pending operations from the one with ring index `index` on. Returns how many; 0 when it is not pending.
 * Their indexes will be given again.
 */
export function rollback(vchan: u32, index: u32): u32 {
  const enqueued = load<u32>(vchan, VCHAN_ENQUEUED);
  const n = (enqueued - index) & INDEX_MASK;
  if (n > enqueued - load<u32>(vchan, VCHAN_SUBMITTED)) return 0;
  store<u32>(vchan, enqueued - n, VCHAN_ENQUEUED);
  return n;
}
