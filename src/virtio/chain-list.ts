import type { Arena } from '../memory/arena.ts';
import { RingwayError } from '../util/errors.ts';
import {
  CHAIN_ID,
  CHAIN_READABLE,
  CHAIN_READABLE_BYTES,
  CHAIN_SEGMENTS,
  CHAIN_SHIFT,
  CHAIN_WRITABLE,
  CHAIN_WRITABLE_BYTES,
  LIST_CHAINS,
  LIST_FIRST,
  LIST_SEGMENTS,
  LIST_SEGMENTS_ADDRESS,
  LIST_SEGMENTS_USED,
  SEGMENT_ADDRESS,
  SEGMENT_LENGTH,
  SEGMENT_SHIFT,
} from './layout.ts';

/** A stretch of the arena. */
export interface Segment {
  readonly address: number;
  readonly length: number;
}

/** A chain of buffers: what the device reads, then what it writes. */
export interface Chain {
  /** The queue's name for it, until the driver polls it. */
  readonly id: number;
  readonly readable: readonly Segment[];
  readonly writable: readonly Segment[];
}

/** Chains in the arena: what a device takes into and a driver adds from. */
export interface ChainList {
  /** Address in the arena. */
  readonly address: number;
  readonly chains: number;
  readonly segments: number;
  /** Empties the list, for `push`. */
  clear(): void;
  /** Appends a chain to add. Returns false when the list has no room for it. */
  push(readable: readonly Segment[], writable: readonly Segment[]): boolean;
  /** Chain `index`, as the device took it or the driver added it. */
  at(index: number): Chain;
  /** The id of chain `index` alone. */
  id(index: number): number;
}

/**
 * Makes a list of up to `chains` chains with `segments` segments in all. A device's list needs as many segments as its
 * queue has descriptors, since one chain may have so many.
 * @throws RingwayError `BAD_ARGUMENT` when a count is not from 1 to 65536, `ARENA_FULL` when it does not fit.
 */
export function createChainList(arena: Arena, options: { name: string; chains: number; segments: number }): ChainList {
  const { name, chains, segments } = options;
  for (const [key, value] of Object.entries({ chains, segments })) {
    if (!Number.isInteger(value) || value < 1 || value > 65536) {
      throw new RingwayError('BAD_ARGUMENT', `${name}: ${key}=${value}, must be a whole number from 1 to 65536`);
    }
  }
  const { u32 } = arena;
  const address = arena.allocate(name, LIST_FIRST + (chains << CHAIN_SHIFT) + (segments << SEGMENT_SHIFT));
  const base = address + LIST_FIRST + (chains << CHAIN_SHIFT);
  const get = (at: number): number => u32[at >>> 2] ?? 0;
  const chainAt = (index: number): number => address + LIST_FIRST + (index << CHAIN_SHIFT);
  u32[(address + LIST_CHAINS) >>> 2] = chains;
  u32[(address + LIST_SEGMENTS) >>> 2] = segments;
  u32[(address + LIST_SEGMENTS_ADDRESS) >>> 2] = base;
  let pushed = 0;

  const bytesOf = (list: readonly Segment[]): number => list.reduce((sum, { length }) => sum + length, 0);
  const read = (at: number, count: number): Segment[] =>
    Array.from({ length: count }, (_, i) => {
      const segment = at + (i << SEGMENT_SHIFT);
      return { address: get(segment + SEGMENT_ADDRESS), length: get(segment + SEGMENT_LENGTH) };
    });

  return {
    address,
    chains,
    segments,
    clear() {
      pushed = 0;
      u32[(address + LIST_SEGMENTS_USED) >>> 2] = 0;
    },
    push(readable, writable) {
      const used = get(address + LIST_SEGMENTS_USED);
      const all = [...readable, ...writable];
      if (pushed === chains || used + all.length > segments) return false;
      const chain = chainAt(pushed++);
      const first = base + (used << SEGMENT_SHIFT);
      u32[(chain + CHAIN_SEGMENTS) >>> 2] = first;
      u32[(chain + CHAIN_READABLE) >>> 2] = readable.length;
      u32[(chain + CHAIN_WRITABLE) >>> 2] = writable.length;
      u32[(chain + CHAIN_READABLE_BYTES) >>> 2] = bytesOf(readable);
      u32[(chain + CHAIN_WRITABLE_BYTES) >>> 2] = bytesOf(writable);
      for (const [i, segment] of all.entries()) {
        u32[(first + (i << SEGMENT_SHIFT) + SEGMENT_ADDRESS) >>> 2] = segment.address;
        u32[(first + (i << SEGMENT_SHIFT) + SEGMENT_LENGTH) >>> 2] = segment.length;
      }
      u32[(address + LIST_SEGMENTS_USED) >>> 2] = used + all.length;
      return true;
    },
    at(index) {
      const chain = chainAt(index);
      const first = get(chain + CHAIN_SEGMENTS);
      const readables = get(chain + CHAIN_READABLE);
      return {
        id: get(chain + CHAIN_ID),
        readable: read(first, readables),
        writable: read(first + (readables << SEGMENT_SHIFT), get(chain + CHAIN_WRITABLE)),
      };
    },
    id: (index) => get(chainAt(index) + CHAIN_ID),
  };
}
