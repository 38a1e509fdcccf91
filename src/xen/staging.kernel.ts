// Staging buffers: pages that both ends reach as long as they are connected, so that bytes are copied without a hypercall.

import {
  LENDABLE_BUFFER,
  LENDABLE_SHIFT,
  RECENT_COUNT,
  RECENT_FIRST,
  VIFQ_LEND,
  VIFQ_LEND_BYTES,
  VIFQ_LEND_COUNT,
  VIFQ_STAGE,
  VIFQ_STAGE_BYTES,
  VIFQ_STAGE_COUNT,
  VIFQ_STAGE_LENGTH,
} from './queue-layout.ts';

/**
 * Bytes, of the `length` that the slot `id` has from `position` of its packet on, that lie in its staging buffer. The rest lies in
 * the slot's page, behind the place of those bytes there.
 */
export function stagedBytes(queue: u32, id: u32, position: u32, length: u32): u32 {
  const limit = load<u32>(queue, VIFQ_STAGE_LENGTH);
  if (id >= load<u32>(queue, VIFQ_STAGE_COUNT) || position >= limit) return 0;
  return min(min(length, load<u32>(queue, VIFQ_STAGE_BYTES)), limit - position);
}

/** Address of the staging buffer `id`, of which `stagedBytes` said that it is one. */
export function stagedAt(queue: u32, id: u32): u32 {
  return load<u32>(load<u32>(queue, VIFQ_STAGE) + (id << 2));
}

/**
 * Address of the `length` bytes at `offset` of the staging buffer that is `id` among all of a queue, tx's and then rx's; 0 when
 * there is none, or they leave it.
 */
export function anyStaged(queue: u32, id: u32, offset: u32, length: u32): u32 {
  const own = load<u32>(queue, VIFQ_STAGE_COUNT);
  const isOwn = id < own;
  if (!isOwn && id - own >= load<u32>(queue, VIFQ_LEND_COUNT)) return 0;
  if (offset + length > load<u32>(queue + (isOwn ? VIFQ_STAGE_BYTES : VIFQ_LEND_BYTES))) return 0;
  return offset + (isOwn ? stagedAt(queue, id) : load<u32>(load<u32>(queue, VIFQ_LEND) + ((id - own) << 2)));
}

/** What is known of the packet in `buffer`, as LENDABLE_…; 0 when it is none of the last burst. */
export function findRecent(recent: u32, buffer: u32): u32 {
  const end = recent + RECENT_FIRST + (load<u32>(recent, RECENT_COUNT) << LENDABLE_SHIFT);
  for (let entry = recent + RECENT_FIRST; entry < end; entry += 1 << LENDABLE_SHIFT) {
    if (load<u32>(entry, LENDABLE_BUFFER) === buffer) return entry;
  }
  return 0;
}
