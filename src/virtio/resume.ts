import type { Arena } from '../memory/arena.ts';
import {
  VIRTQ_DESC_F_AVAIL,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_USED,
  VIRTQ_DESC_LEN,
  VIRTQ_DESC_SHIFT,
  VIRTQ_DESC_WORD,
  VQ_DESCRIPTORS,
  VQ_F_IN_ORDER,
  VQ_FEATURES,
  VQ_SIZE,
} from './layout.ts';

const flagsOf = (word: number): number => word >>> 16;
const idOf = (word: number): number => word & 0xffff;
const availBit = (word: number): number => (flagsOf(word) & VIRTQ_DESC_F_AVAIL ? 1 : 0);
const usedBit = (word: number): number => (flagsOf(word) & VIRTQ_DESC_F_USED ? 1 : 0);
/** How often a ring is looked at that its driver may be writing to. */
const LOOKS = 8;

/** 2.7.1: the device wrote it last. A descriptor that nobody has written yet looks the same. */
const isUsed = (word: number): boolean => availBit(word) === usedBit(word);

/** Where a device goes on. */
export interface Place {
  /** The place, and its wrap counter in bit 15. */
  readonly place: number;
  /** Places of chains that are behind it, and that nobody returned: their driver waits for them, the first first. */
  readonly missed: readonly { readonly place: number; readonly id: number }[];
}

/**
 * Where the device of the packed queue whose state is at `queue` has to return the next chain, as the ring tells.
 * For a device that lost its state, returned chains in the order in which it took
 * them, and is to take again all that it had not returned. Undefined when the ring allows several places, or none.
 *
 * All that a driver wrote in a lap has the lap's AVAIL bit (2.7.1), and a device leaves that bit as it is. So AVAIL changes
 * once, at the driver's next place P, and from P on, round to P, descriptors lie in the order in which the driver wrote them:
 *
 *     P ─▶ used … used │ available … available ─▶ P        the device's place is at the bar
 *
 * Chains of several descriptors may hide it, since a used descriptor overwrites the first of its chain alone:
 *
 * - Behind a used descriptor lies the rest of its chain when our device marked it with NEXT, which drivers ignore there. One
 *   of IN_ORDER stands for several chains and has no mark: its rest has the chain's id where NEXT ends (2.7.6), so it is not
 *   there when no chain behind the bar has the id of the used descriptor.
 * - Others between used ones were not returned, and those behind them were: the first of a burst that was not published, or
 *   what QEMU found available at a place that it remembers from before, and dropped, while there was no device. A driver
 *   waits at the first of them.
 * - An available one at P with used ones behind it is such a one, or what is left of a chain. Nothing tells which.
 * - When all are available, the first may be the rest of a chain whose beginning was overwritten. Its id was freed last,
 *   and drivers give the id that was freed last to the next chain, as Linux does; so it is there twice, or nothing is used. A
 *   driver of IN_ORDER goes round through its ids.
 */
export function findPlace(arena: Arena, queue: number): Place | undefined {
  // A driver that is just writing a burst may hide it too: not for long.
  for (let left = LOOKS; left > 0; left--) {
    const place = look(arena, queue);
    if (place !== undefined) return place;
  }
  return undefined;
}

/** How many descriptors the chain at `at` has, up to the end of `words`; and its id. */
function chainAt(words: readonly number[], at: number): { readonly count: number; readonly id: number } {
  let count = 1;
  while (at + count < words.length && flagsOf(words[at + count - 1] ?? 0) & VIRTQ_DESC_F_NEXT) count++;
  return { count, id: idOf(words[at + count - 1] ?? 0) };
}

/** How many of the descriptors, the first written first, are before the bar, and which of their chains were not returned. */
function countReturned(written: readonly number[]) {
  const missed: { at: number; id: number }[] = [];
  const end = written.findLastIndex(isUsed);
  if (end < 0) return { returned: 0, missed };
  let at = 0;
  while (at <= end) {
    const { count, id } = chainAt(written, at);
    if (!isUsed(written[at] ?? 0)) missed.push({ at, id });
    at += count;
  }
  return { returned: at, missed };
}

/** One pass over the descriptors. */
function look(arena: Arena, queue: number): Place | undefined {
  const { u32 } = arena;
  const get = (at: number): number => Atomics.load(u32, at >>> 2);
  const size = get(queue + VQ_SIZE);
  const isInOrder = (get(queue + VQ_FEATURES) & VQ_F_IN_ORDER) !== 0;
  const descriptor = (place: number): number => get(queue + VQ_DESCRIPTORS) + (place << VIRTQ_DESC_SHIFT);
  const words = Array.from({ length: size }, (_, place) => get(descriptor(place) + VIRTQ_DESC_WORD));
  const lap = availBit(words[0] ?? 0);
  const change = words.findIndex((word) => availBit(word) !== lap);
  if (change > 0 && words.slice(change).some((word) => availBit(word) === lap)) return undefined;
  const [next, wrap] = change > 0 ? [change, lap] : [0, lap ^ 1];
  const written = [...words.slice(next), ...words.slice(0, next)];
  const { returned, missed } = countReturned(written);
  if (missed.length > 0 && (isInOrder || missed[0]?.at === 0)) return undefined;
  const available = written.slice(returned);
  if (available.some(isUsed) || flagsOf(available.at(-1) ?? 0) & VIRTQ_DESC_F_NEXT) return undefined;
  const ids = available.filter((word) => !(flagsOf(word) & VIRTQ_DESC_F_NEXT)).map(idOf);
  if (new Set(ids).size < ids.length || ids.some((id) => id >= size)) return undefined;
  const at = next + returned;
  if (isInOrder) {
    if (returned === 0) return undefined;
    if (ids.includes(idOf(written[returned - 1] ?? 0))) {
      // Zeroes are the end of a ring in its first lap, and no used descriptor: that has its chain's address.
      const last = descriptor((at - 1) % size);
      if ([0, 4, 8, 12].some((offset) => get(last + offset) !== 0)) return undefined;
    }
  }
  return {
    place: at < size ? at | ((wrap ^ 1) << 15) : (at - size) | (wrap << 15),
    missed: missed.map(({ at: behind, id }) => ({ place: (next + behind) % size, id })),
  };
}

/** Returns chains that were missed, with nothing written into them: they are lost, and their driver goes on. */
export function returnMissed(arena: Arena, queue: number, missed: Place['missed']): void {
  const { u32 } = arena;
  // The driver waits at the first, so it sees none before that.
  for (const { place, id } of [...missed].reverse()) {
    const descriptor = (u32[(queue + VQ_DESCRIPTORS) >>> 2] ?? 0) + (place << VIRTQ_DESC_SHIFT);
    const word = (descriptor + VIRTQ_DESC_WORD) >>> 2;
    const flags = availBit(Atomics.load(u32, word)) * (VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED);
    const rest = flagsOf(Atomics.load(u32, word)) & VIRTQ_DESC_F_NEXT;
    u32[(descriptor + VIRTQ_DESC_LEN) >>> 2] = 0;
    Atomics.store(u32, word, id | ((flags | rest) << 16));
  }
}
