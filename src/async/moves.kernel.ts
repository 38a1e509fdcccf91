// Copies into and out of mapped pages of a Xen device that were planned as moves: by the channel, or by the CPU.

import { copyBytes } from '../memory/copy.kernel.ts';
import {
  MOVE_LENGTH,
  MOVE_SHIFT,
  MOVE_SOURCE,
  MOVE_TARGET,
  MOVES_DONE,
  MOVES_FIRST,
  MOVES_USED,
  PACKET_MOVE,
  PACKET_MOVES,
  VIFQ_MOVES,
} from '../xen/queue-layout.ts';
import { count } from './entry.kernel.ts';
import { ASYNC_COPIED, ASYNC_FULL, ASYNC_NETQ, ASYNC_OFFLOADED, ASYNC_TRACK } from './layout.ts';
import { offload } from './track.kernel.ts';

/** The CPU did all of it. */
export const NOTHING: i32 = -1;

/**
 * Has the moves of a packet done: by the channel, as far as it has room, and else by the CPU, since the packet's slots are taken.
 * Returns the ring index of the channel's last copy, or NOTHING.
 */
export function moveAll(queue: u32, packet: u32, byChannel: bool): i32 {
  const track = load<u32>(queue, ASYNC_TRACK);
  const moves = load<u32>(load<u32>(queue, ASYNC_NETQ), VIFQ_MOVES);
  const n = <u32>load<u16>(packet, PACKET_MOVES);
  let move = moves + MOVES_FIRST + ((<u32>load<u16>(packet, PACKET_MOVE)) << MOVE_SHIFT);
  let last = NOTHING;
  let offloaded: u32 = 0;
  let isFull: bool = false;
  for (let i: u32 = 0; i < n; i++) {
    const target = load<u32>(move, MOVE_TARGET);
    const source = load<u32>(move, MOVE_SOURCE);
    const length = load<u32>(move, MOVE_LENGTH);
    const index = byChannel && !isFull ? offload(track, target, source, length) : NOTHING;
    if (index >= 0) {
      last = index;
      offloaded++;
    } else {
      isFull = byChannel;
      copyBytes(target, source, length);
    }
    move += 1 << MOVE_SHIFT;
  }
  count(queue, offloaded, ASYNC_OFFLOADED);
  count(queue, n - offloaded, ASYNC_COPIED);
  if (isFull) count(queue, 1, ASYNC_FULL);
  return last;
}

/** Ends a burst: its moves are done or in the channel. */
export function endMoves(queue: u32): void {
  const moves = load<u32>(load<u32>(queue, ASYNC_NETQ), VIFQ_MOVES);
  count(queue, load<u32>(moves, MOVES_DONE), ASYNC_COPIED);
  store<u32>(moves, 0, MOVES_USED);
  store<u32>(moves, 0, MOVES_DONE);
}
