// Packets to the frontend of a Xen device: what goes into mapped pages by the channel, answered when all before it is copied.

import { SLOT_SHIFT } from '../memory/layout.ts';
import { free } from '../memory/pool.kernel.ts';
import { publishFrames } from '../xen/data-ring.kernel.ts';
import { RXRSP_BYTES } from '../xen/layout.ts';
import { answer, isCopied } from '../xen/netback-rx.kernel.ts';
import {
  GATHER_PACKETS,
  GATHER_PACKETS_MAX,
  GATHER_PACKETS_USED,
  PACKET_DATA,
  PACKET_SHIFT,
  PACKET_SLOT,
  VIFQ_CACHE,
  VIFQ_GATHER,
  VIFQ_RECORDS,
  VIFQ_RECORDS_MAX,
  VIFQ_RING,
} from '../xen/queue-layout.ts';
import { pushResponses } from '../xen/ring.kernel.ts';
import { collectAll, enter, firstData, firstRecords, flagOf, isFirstDone, leave, noteData } from './entry.kernel.ts';
import { ASYNC_HEAD, ASYNC_NETQ, ASYNC_SLOTS, ASYNC_TRACK, FLAG_DONE } from './layout.ts';
import { endMoves, moveAll, NOTHING } from './moves.kernel.ts';
import { hold, isOpen, markLast, release, start } from './track.kernel.ts';

/**
 * Takes the `n` packets at `slots` that `backRxBegin` dealt with, whose copies by grant are done: their buffers are the queue's until
 * all of them is copied. `asyncVifSettle` answers them.
 */
export function asyncVifEnter(queue: u32, slots: u32, n: u32): void {
  const vifq = load<u32>(queue, ASYNC_NETQ);
  const gather = load<u32>(vifq, VIFQ_GATHER);
  const end = gather + GATHER_PACKETS + (load<u32>(gather, GATHER_PACKETS_USED) << PACKET_SHIFT);
  const records = load<u32>(vifq, VIFQ_RECORDS);
  const track = load<u32>(queue, ASYNC_TRACK);
  let packet = gather + GATHER_PACKETS;
  if (track !== 0) hold(track);
  const byChannel = track !== 0 && isOpen(track);
  for (let i: u32 = 0; i < n; i++) {
    const slot = slots + (i << SLOT_SHIFT);
    // One that was passed over.
    if (packet === end || load<u32>(packet, PACKET_SLOT) !== slot) {
      free(load<u32>(vifq, VIFQ_CACHE), slot, 1);
      continue;
    }
    const used = answer(vifq, packet, 0);
    const last = isCopied(vifq, packet) ? moveAll(queue, packet, byChannel) : NOTHING;
    const flag = flagOf(queue, load<u32>(queue, ASYNC_HEAD));
    if (last >= 0) markLast(track, <u32>last, flag);
    else store<u8>(flag, <u8>FLAG_DONE);
    enter(queue, slot, records, used);
    noteData(queue, load<u32>(packet, PACKET_DATA));
    packet += 1 << PACKET_SHIFT;
  }
  if (track !== 0) {
    start(track);
    release(track);
  }
  store<u32>(gather, 0, GATHER_PACKETS_USED);
  endMoves(queue);
}

/** Answers packets that are copied, in order, and frees them. Returns how many. One publication for up to 32 packets. */
export function asyncVifSettle(queue: u32): u32 {
  const vifq = load<u32>(queue, ASYNC_NETQ);
  collectAll(queue);
  const records = load<u32>(vifq, VIFQ_RECORDS);
  const slots = load<u32>(queue, ASYNC_SLOTS);
  let all: u32 = 0;
  while (isFirstDone(queue)) {
    let packets: u32 = 0;
    let used: u32 = 0;
    let index: u32 = 0;
    while (packets < GATHER_PACKETS_MAX && isFirstDone(queue) && used + firstRecords(queue) <= VIFQ_RECORDS_MAX) {
      const at = records + used * RXRSP_BYTES;
      used += firstRecords(queue);
      index = firstData(queue);
      leave(queue, slots + (packets << SLOT_SHIFT), at);
      packets++;
    }
    publishFrames(vifq, index);
    pushResponses(load<u32>(vifq, VIFQ_RING), records, used);
    free(load<u32>(vifq, VIFQ_CACHE), slots, packets);
    all += packets;
  }
  return all;
}
