import {
  USED_ID,
  USED_LENGTH,
  USED_SHIFT,
  VQ_AGAIN,
  VQ_BATCH,
  VQ_BROKEN,
  VQ_BROKEN_COUNT,
  VQ_F_DRIVER,
  VQ_F_EVENT_IDX,
  VQ_F_IN_ORDER,
  VQ_FEATURES,
  VQ_FREE,
  VQ_FREE_HEAD,
  VQ_GIVE,
  VQ_GIVE_WRAP,
  VQ_GIVEN,
  VQ_ID_COUNT,
  VQ_ID_LAST,
  VQ_ID_NEXT,
  VQ_ID_SHIFT,
  VQ_IDS,
  VQ_INFLIGHT,
  VQ_ORDER,
  VQ_SIZE,
  VQ_TAKE,
  VQ_TAKE_WRAP,
} from './layout.ts';

/** Address of the entry of `id`, which is below the queue's size. */
export function idEntry(queue: u32, id: u32): u32 {
  assert(id < load<u32>(queue, VQ_SIZE));
  return queue + VQ_IDS + (id << VQ_ID_SHIFT);
}

/** Breaks the queue: its peer did what `code` (VQ_BROKEN_…) says. */
export function latch(queue: u32, code: u32): void {
  store<u32>(queue, code, VQ_BROKEN);
  store<u32>(queue, load<u32>(queue, VQ_BROKEN_COUNT) + 1, VQ_BROKEN_COUNT);
}

/** True once the queue is broken. */
export function isBroken(queue: u32): bool {
  return load<u32>(queue, VQ_BROKEN) !== 0;
}

export function hasFeature(queue: u32, feature: u32): bool {
  return (load<u32>(queue, VQ_FEATURES) & feature) !== 0;
}

/** Takes back what the chain under `id`, which is out, was using. Driver only. */
export function release(queue: u32, id: u32): void {
  const entry = idEntry(queue, id);
  const count = load<u32>(entry, VQ_ID_COUNT);
  assert(count > 0);
  store<u32>(entry, 0, VQ_ID_COUNT);
  // In order, ids are taken round and round, and so come free: there is no list to put them on.
  if (!hasFeature(queue, VQ_F_IN_ORDER)) {
    store<u32>(idEntry(queue, load<u32>(entry, VQ_ID_LAST)), load<u32>(queue, VQ_FREE_HEAD), VQ_ID_NEXT);
    store<u32>(queue, id, VQ_FREE_HEAD);
  }
  store<u32>(queue, load<u32>(queue, VQ_FREE) + count, VQ_FREE);
}

/**
 * Takes back up to `max` chains that the device holds, as used with nothing written, to `target`. Returns how many there
 * were. Only while the device is stopped: after that the driver owns every buffer again. Driver only.
 */
export function detach(queue: u32, target: u32, max: u32): u32 {
  assert(hasFeature(queue, VQ_F_DRIVER));
  const size = load<u32>(queue, VQ_SIZE);
  let n: u32 = 0;
  for (let id: u32 = 0; id < size && n < max; id++) {
    if (load<u32>(idEntry(queue, id), VQ_ID_COUNT) === 0) continue;
    release(queue, id);
    store<u32>(target + (n << USED_SHIFT), id, USED_ID);
    store<u32>(target + (n << USED_SHIFT), 0, USED_LENGTH);
    n++;
  }
  return n;
}

/** This side as it is before the first buffer: nothing out, indexes 0, wrap counters 1 (2.7.1), not broken. */
export function reset(queue: u32): void {
  const size = load<u32>(queue, VQ_SIZE);
  store<u32>(queue, 0, VQ_BROKEN);
  store<u32>(queue, 0, VQ_TAKE);
  store<u32>(queue, 1, VQ_TAKE_WRAP);
  store<u32>(queue, 0, VQ_GIVE);
  store<u32>(queue, 1, VQ_GIVE_WRAP);
  store<u32>(queue, 0, VQ_GIVEN);
  store<u32>(queue, size, VQ_FREE);
  store<u32>(queue, 0, VQ_FREE_HEAD);
  store<u32>(queue, 0, VQ_ORDER);
  store<u32>(queue, 0, VQ_BATCH);
  store<u32>(queue, 0, VQ_INFLIGHT);
  store<u32>(queue, 0, VQ_AGAIN);
  for (let id: u32 = 0; id < size; id++) {
    store<u32>(idEntry(queue, id), id + 1 === size ? 0 : id + 1, VQ_ID_NEXT);
    store<u32>(idEntry(queue, id), 0, VQ_ID_COUNT);
  }
}

/** Moves place `at` of a packed ring, whose wrap counter is the word behind it, by `count` (up to the size) places. */
export function advance(queue: u32, at: u32, count: u32): void {
  const size = load<u32>(queue, VQ_SIZE);
  // Sizes need not be powers of two (2.7.10.1): compare and subtract.
  const place = load<u32>(at) + count;
  if (place < size) {
    store<u32>(at, place);
    return;
  }
  store<u32>(at, place - size);
  store<u32>(at, load<u32>(at, 4) ^ 1, 4);
}

/** Entries or places given since the last call, and forgets them. */
export function takeGiven(queue: u32): u32 {
  const given = load<u32>(queue, VQ_GIVEN);
  store<u32>(queue, 0, VQ_GIVEN);
  return given;
}

/** True when VIRTIO_F_RING_EVENT_IDX was negotiated. */
export function hasEventIdx(queue: u32): bool {
  return hasFeature(queue, VQ_F_EVENT_IDX);
}
