// Copies into and out of mapped pages, at once or left to others, who answer the packets when they are done.

import { copyBytes } from '../memory/copy.kernel.ts';
import {
  MOVE_LENGTH,
  MOVE_SHIFT,
  MOVE_SOURCE,
  MOVE_TARGET,
  MOVES_DONE,
  MOVES_FIRST,
  MOVES_LEAST,
  MOVES_MAX,
  MOVES_USED,
  VIFQ_MOVES,
} from './queue-layout.ts';

/** Copies `n` bytes to or from a page that stays mapped as long as the queue is connected; or leaves that to others. */
export function moveBytes(queue: u32, target: u32, source: u32, n: u32): void {
  const moves = load<u32>(queue, VIFQ_MOVES);
  if (moves === 0) {
    copyBytes(target, source, n);
    return;
  }
  if (n >= load<u32>(moves, MOVES_LEAST)) {
    const used = load<u32>(moves, MOVES_USED);
    if (used < MOVES_MAX) {
      const move = moves + MOVES_FIRST + (used << MOVE_SHIFT);
      store<u32>(move, target, MOVE_TARGET);
      store<u32>(move, source, MOVE_SOURCE);
      store<u32>(move, n, MOVE_LENGTH);
      store<u32>(moves, used + 1, MOVES_USED);
      return;
    }
  }
  moveNow(queue, target, source, n);
}

/** Copies `n` bytes to or from a mapped page at once. */
export function moveNow(queue: u32, target: u32, source: u32, n: u32): void {
  const moves = load<u32>(queue, VIFQ_MOVES);
  if (moves !== 0) store<u32>(moves, load<u32>(moves, MOVES_DONE) + 1, MOVES_DONE);
  copyBytes(target, source, n);
}

/** Either, by whether the page `stays`; not to be inlined, where a burst has no moves. */
export function moveEither(queue: u32, target: u32, source: u32, n: u32, stays: bool): void {
  if (stays) moveBytes(queue, target, source, n);
  else moveNow(queue, target, source, n);
}

/** Moves of the burst so far. */
export function movesUsed(queue: u32): u32 {
  const moves = load<u32>(queue, VIFQ_MOVES);
  return moves === 0 ? 0 : load<u32>(moves, MOVES_USED);
}

/** Forgets the moves of the burst from `first` on: their packet came to nothing. */
export function dropMoves(queue: u32, first: u32): void {
  const moves = load<u32>(queue, VIFQ_MOVES);
  if (moves !== 0) store<u32>(moves, first, MOVES_USED);
}
