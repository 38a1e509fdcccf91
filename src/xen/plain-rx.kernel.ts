// Packets of the common kind to the frontend: one request and one response each, with nothing said beside. What does not change during a
// burst is read once, which a compiler may not with stores in between: one that goes so takes half of what it does otherwise.

import { copyBytes } from '../memory/copy.kernel.ts';
import {
  BUFFER_FRAME_MAX,
  BUFFER_HEADROOM,
  SLOT_BUFFER,
  SLOT_FLAG_CHAINED,
  SLOT_FLAG_OFFLOAD,
  SLOT_FLAGS,
  SLOT_LENGTH,
  SLOT_OFFSET,
  SLOT_SHIFT,
} from '../memory/layout.ts';
import {
  NETRING_GIVE,
  NETRING_SIZE,
  NETRING_SRING,
  NETRING_TAKE,
  NETRX_SHIFT,
  NETRXF_DATA_VALIDATED,
  PACKET_BYTES_MIN,
  RXRSP_FLAGS,
  RXRSP_ID,
  RXRSP_OFFSET,
  RXRSP_STATUS,
  SRING_SLOTS,
  XEN_PAGE_BYTES,
  XEN_PAGE_SHIFT,
} from './layout.ts';
import {
  LENDABLE_BUFFER,
  LENDABLE_NONE,
  LENDABLE_PLACE,
  LENDABLE_SHIFT,
  RECENT_COUNT,
  RECENT_FIRST,
  VIFQ_PAGES,
  VIFQ_RECENT,
  VIFQ_RING,
  VIFQ_STAGE,
  VIFQ_STAGE_BYTES,
  VIFQ_STAGE_COUNT,
  VIFQ_STAGE_LENGTH,
} from './queue-layout.ts';
import { publish } from './ring.kernel.ts';

/**
 * Takes up to `max` responses, which are there, as packets to the empty ones at `slots`, up to one that is not of the common kind: whole in
 * its slot's staging buffer or page, and in one buffer. That one is left to who knows all kinds. Returns how many. Frontend only.
 */
export function takePlain(queue: u32, slots: u32, max: u32): u32 {
  const ring = load<u32>(queue, VIFQ_RING);
  const responses = load<u32>(ring, NETRING_SRING) + SRING_SLOTS;
  const mask = load<u32>(ring, NETRING_SIZE) - 1;
  const from = load<u32>(ring, NETRING_TAKE);
  const pages = load<u32>(queue, VIFQ_PAGES);
  const recent = load<u32>(queue, VIFQ_RECENT);
  const stage = load<u32>(queue, VIFQ_STAGE);
  const stages = load<u32>(queue, VIFQ_STAGE_COUNT);
  const stageBytes = min(load<u32>(queue, VIFQ_STAGE_BYTES), load<u32>(queue, VIFQ_STAGE_LENGTH));
  let entry = recent + RECENT_FIRST;
  let n: u32 = 0;
  for (; n < max; n++) {
    const place = (from + n) & mask;
    const response = load<u64>(responses + (place << NETRX_SHIFT));
    const offset = <u32>(response >> ((RXRSP_OFFSET - RXRSP_ID) << 3)) & 0xffff;
    const flagsAndStatus = <u32>(response >> ((RXRSP_FLAGS - RXRSP_ID) << 3));
    // Below 0, it is more than fits.
    const length = flagsAndStatus >> 16;
    if ((<u32>response & 0xffff) !== place || flagsAndStatus & (0xffff ^ NETRXF_DATA_VALIDATED)) break;
    if (length < PACKET_BYTES_MIN || length > BUFFER_FRAME_MAX || offset + length > XEN_PAGE_BYTES) break;
    const isStaged = place < stages;
    if (isStaged && length > stageBytes) break;
    const slot = slots + (n << SLOT_SHIFT);
    const buffer = load<u32>(slot, SLOT_BUFFER);
    const source = isStaged ? load<u32>(stage + (place << 2)) : pages + (place << XEN_PAGE_SHIFT) + offset;
    copyBytes(buffer + BUFFER_HEADROOM, source, length);
    store<u16>(slot, <u16>length, SLOT_LENGTH);
    if (recent === 0) continue;
    store<u32>(entry, buffer, LENDABLE_BUFFER);
    store<u32>(entry, isStaged ? place : LENDABLE_NONE, LENDABLE_PLACE);
    entry += 1 << LENDABLE_SHIFT;
  }
  if (recent !== 0) store<u32>(recent, (entry - recent - RECENT_FIRST) >> LENDABLE_SHIFT, RECENT_COUNT);
  store<u32>(ring, from + n, NETRING_TAKE);
  return n;
}

/**
 * Sends the first of `max` packets at `slots`, for which there are requests, up to one that is not of the common kind: in one buffer, with
 * nothing left to do, and whole in the staging buffer of its request. Responses are written over requests, whose places they have.
 * Returns how many. Backend only, with all requests answered that it has taken.
 */
export function sendPlain(queue: u32, slots: u32, max: u32): u32 {
  const ring = load<u32>(queue, VIFQ_RING);
  const requests = load<u32>(ring, NETRING_SRING) + SRING_SLOTS;
  const mask = load<u32>(ring, NETRING_SIZE) - 1;
  const from = load<u32>(ring, NETRING_TAKE);
  const stage = load<u32>(queue, VIFQ_STAGE);
  const stages = load<u32>(queue, VIFQ_STAGE_COUNT);
  const stageBytes = min(load<u32>(queue, VIFQ_STAGE_BYTES), load<u32>(queue, VIFQ_STAGE_LENGTH));
  assert(from === load<u32>(ring, NETRING_GIVE));
  let n: u32 = 0;
  for (; n < max; n++) {
    const slot = slots + (n << SLOT_SHIFT);
    const place = requests + (((from + n) & mask) << NETRX_SHIFT);
    const id = <u32>load<u16>(place);
    const length = <u32>load<u16>(slot, SLOT_LENGTH);
    if (load<u8>(slot, SLOT_FLAGS) & <u8>(SLOT_FLAG_CHAINED | SLOT_FLAG_OFFLOAD) || id >= stages) break;
    if (length < PACKET_BYTES_MIN || length > stageBytes) break;
    copyBytes(load<u32>(stage + (id << 2)), load<u32>(slot, SLOT_BUFFER) + load<u16>(slot, SLOT_OFFSET), length);
    store<u64>(place, <u64>id | ((<u64>length) << ((RXRSP_STATUS - RXRSP_ID) << 3)));
  }
  store<u32>(ring, from + n, NETRING_TAKE);
  publish(ring, n);
  return n;
}
