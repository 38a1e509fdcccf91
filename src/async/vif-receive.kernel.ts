// Packets from the frontend of a Xen device: what lies in mapped pages by the channel, answered when it and all before it is copied.

import { SLOT_BUFFER, SLOT_SHIFT } from '../memory/layout.ts';
import { free } from '../memory/pool.kernel.ts';
import { USED_SHIFT } from '../virtio/layout.ts';
import { keepCopied } from '../xen/data-ring.kernel.ts';
import { NETIF_RSP_ERROR, NETIF_RSP_NULL, TXRSP_ID, TXRSP_SHIFT, TXRSP_STATUS } from '../xen/layout.ts';
import { movesUsed } from '../xen/move.kernel.ts';
import { answer, backTxEnd, takeCopied, takeHeaders } from '../xen/netback-tx.kernel.ts';
import {
  GATHER_PACKETS,
  GATHER_PACKETS_MAX,
  GATHER_PACKETS_USED,
  PACKET_DATA,
  PACKET_SHIFT,
  VIFQ_CACHE,
  VIFQ_GATHER,
  VIFQ_RECORDS,
  VIFQ_RECORDS_MAX,
  VIFQ_RING,
  VIFQ_SLOTS,
} from '../xen/queue-layout.ts';
import { pushResponses } from '../xen/ring.kernel.ts';
import {
  collectAll,
  enter,
  firstData,
  firstRecords,
  flagOf,
  isFirstDone,
  isIdle,
  leave,
  noteData,
} from './entry.kernel.ts';
import { ASYNC_HEAD, ASYNC_NETQ, ASYNC_SLOTS, ASYNC_TRACK, FLAG_DONE } from './layout.ts';
import { endMoves, moveAll, NOTHING } from './moves.kernel.ts';
import { hold, isOpen, markLast, release, start } from './track.kernel.ts';

/** Begins to copy the packets that `backTxBegin` gathered; their answers are kept beside them. The channel is held. */
function begin(queue: u32, byChannel: bool): void {
  const vifq = load<u32>(queue, ASYNC_NETQ);
  const gather = load<u32>(vifq, VIFQ_GATHER);
  const records = load<u32>(vifq, VIFQ_RECORDS);
  const packets = load<u32>(gather, GATHER_PACKETS_USED);
  for (let i: u32 = 0; i < packets; i++) {
    const packet = gather + GATHER_PACKETS + (i << PACKET_SHIFT);
    const slot = load<u32>(vifq, VIFQ_SLOTS) + (i << SLOT_SHIFT);
    const flag = flagOf(queue, load<u32>(queue, ASYNC_HEAD));
    let last = NOTHING;
    if (takeCopied(vifq, packet, slot)) last = moveAll(queue, packet, byChannel);
    else store<u32>(slot, 0, SLOT_BUFFER);
    if (last >= 0) markLast(load<u32>(queue, ASYNC_TRACK), <u32>last, flag);
    else store<u8>(flag, <u8>FLAG_DONE);
    enter(queue, slot, records, answer(vifq, packet, records, USED_SHIFT));
    noteData(queue, load<u32>(packet, PACKET_DATA));
  }
  store<u32>(gather, 0, GATHER_PACKETS_USED);
}

/** Puts the `n` answers at `records`, which are as far apart as used records, one behind the other; as errors, if they are to be. */
function closeUp(records: u32, n: u32, isBad: bool): void {
  const error = (<u32>(<u16>-(<i16>NETIF_RSP_ERROR))) << ((TXRSP_STATUS - TXRSP_ID) << 3);
  for (let i: u32 = 0; i < n; i++) {
    let record = load<u32>(records + (i << USED_SHIFT));
    // Extra information has no status.
    if (isBad && record >> ((TXRSP_STATUS - TXRSP_ID) << 3) !== NETIF_RSP_NULL) record = (record & 0xffff) | error;
    store<u32>(records + (i << TXRSP_SHIFT), record);
  }
}

/**
 * Gives up to `max` (1 to 32) packets that are copied to `slots`, in order, and answers their requests. Returns how many. What their
 * headers have no place for is found out here: the bytes are there now.
 */
function deliver(queue: u32, slots: u32, max: u32): u32 {
  const vifq = load<u32>(queue, ASYNC_NETQ);
  const records = load<u32>(vifq, VIFQ_RECORDS);
  let out: u32 = 0;
  let used: u32 = 0;
  while (out < max && isFirstDone(queue) && used + firstRecords(queue) <= VIFQ_RECORDS_MAX) {
    const slot = slots + (out << SLOT_SHIFT);
    const at = records + (used << TXRSP_SHIFT);
    const n = firstRecords(queue);
    keepCopied(vifq, firstData(queue));
    const isPacket = leave(queue, slot, at);
    const isGood = isPacket && takeHeaders(vifq, slot);
    closeUp(at, n, isPacket && !isGood);
    if (isGood) out++;
    used += n;
  }
  pushResponses(load<u32>(vifq, VIFQ_RING), records, used);
  return out;
}

/**
 * Goes on with what `backTxBegin` gathered, whose copies by grant are done: gives up to `max` (1 to 32) packets that are copied to
 * `slots`, in order. Returns how many.
 */
export function asyncVifReceive(queue: u32, slots: u32, max: u32): u32 {
  const vifq = load<u32>(queue, ASYNC_NETQ);
  const track = load<u32>(queue, ASYNC_TRACK);
  const byChannel = track !== 0 && isOpen(track);
  // Nothing is under way, and nothing will be: as if there were no channel.
  if (isIdle(queue) && (!byChannel || movesUsed(vifq) === 0)) {
    const gather = load<u32>(vifq, VIFQ_GATHER);
    const packets = load<u32>(gather, GATHER_PACKETS_USED);
    for (let i: u32 = 0; i < packets; i++) moveAll(queue, gather + GATHER_PACKETS + (i << PACKET_SHIFT), false);
    endMoves(queue);
    return backTxEnd(vifq, slots);
  }
  collectAll(queue);
  if (track !== 0) hold(track);
  begin(queue, byChannel);
  if (track !== 0) {
    start(track);
    release(track);
  }
  endMoves(queue);
  return deliver(queue, slots, max);
}

/** Answers packets that are copied, in order, and drops them. Returns how many. */
export function asyncVifDrop(queue: u32): u32 {
  const slots = load<u32>(queue, ASYNC_SLOTS);
  const cache = load<u32>(load<u32>(queue, ASYNC_NETQ), VIFQ_CACHE);
  collectAll(queue);
  let all: u32 = 0;
  while (isFirstDone(queue)) {
    const n = deliver(queue, slots, GATHER_PACKETS_MAX);
    free(cache, slots, n);
    all += n;
  }
  return all;
}
