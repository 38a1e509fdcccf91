import type { Arena } from '../memory/arena.ts';
import { isPowerOfTwo } from '../util/bits.ts';
import { RingwayError } from '../util/errors.ts';
import {
  PVIRTQ_EVENT_SUPPRESS_BYTES,
  VIRTQ_AREA_RING,
  VIRTQ_AVAIL_ENTRY_SHIFT,
  VIRTQ_DESC_SHIFT,
  VIRTQ_SIZE_MAX,
  VIRTQ_USED_ENTRY_SHIFT,
} from './layout.ts';

/** How a queue's ring is laid out: 2.6 or 2.7 of virtio 1.1. */
export type VirtqueueLayout = 'split' | 'packed';

/** Where the three parts of a ring lie: arena addresses, which driver and device share. */
export interface VirtqueueRings {
  /** The descriptor table or ring; a multiple of 16. */
  readonly descriptors: number;
  /** What the driver writes: the available ring (a multiple of 2), or its event suppression (of 4). */
  readonly driverArea: number;
  /** What the device writes: the used ring, or its event suppression; a multiple of 4. */
  readonly deviceArea: number;
}

type Part = keyof VirtqueueRings;

/** Alignments of 2.6 and 2.7.10.1. */
const ALIGNMENTS: Record<VirtqueueLayout, Record<Part, number>> = {
  split: { descriptors: 16, driverArea: 2, deviceArea: 4 },
  packed: { descriptors: 16, driverArea: 4, deviceArea: 4 },
};
const PARTS: readonly Part[] = ['descriptors', 'driverArea', 'deviceArea'];
/** The event word behind a split area. */
const EVENT_BYTES = 2;

/**
 * Bytes of each part of the ring of a queue of `size` descriptors, event words included.
 * @throws RingwayError `BAD_ARGUMENT` when the layout does not allow `size`.
 */
export function virtqueueBytes(layout: VirtqueueLayout, size: number): Record<Part, number> {
  const whole = Number.isInteger(size) && size >= 1 && size <= VIRTQ_SIZE_MAX;
  if (layout === 'split' && !(whole && isPowerOfTwo(size))) {
    throw new RingwayError(
      'BAD_ARGUMENT',
      `virtqueue: size=${size}, a split queue has a power of two from 1 to ${VIRTQ_SIZE_MAX} descriptors`,
    );
  }
  if (!whole) {
    throw new RingwayError(
      'BAD_ARGUMENT',
      `virtqueue: size=${size}, must be a whole number from 1 to ${VIRTQ_SIZE_MAX}`,
    );
  }
  const split = layout === 'split';
  return {
    descriptors: size << VIRTQ_DESC_SHIFT,
    driverArea: split ? VIRTQ_AREA_RING + (size << VIRTQ_AVAIL_ENTRY_SHIFT) + EVENT_BYTES : PVIRTQ_EVENT_SUPPRESS_BYTES,
    deviceArea: split ? VIRTQ_AREA_RING + (size << VIRTQ_USED_ENTRY_SHIFT) + EVENT_BYTES : PVIRTQ_EVENT_SUPPRESS_BYTES,
  };
}

/** The addresses of the event words at the ends of a split ring's areas. */
export function eventWords(rings: VirtqueueRings, size: number): { driver: number; device: number } {
  const bytes = virtqueueBytes('split', size);
  return {
    driver: rings.driverArea + bytes.driverArea - EVENT_BYTES,
    device: rings.deviceArea + bytes.deviceArea - EVENT_BYTES,
  };
}

/**
 * Checks where a ring lies: a peer chose it, and atomic accesses to a misaligned word would trap.
 * @throws RingwayError `BAD_ARGUMENT` for a part that is misaligned, outside the arena, or across another part.
 */
export function checkRings(
  arena: Arena,
  name: string,
  layout: VirtqueueLayout,
  size: number,
  rings: VirtqueueRings,
): void {
  const bytes = virtqueueBytes(layout, size);
  const first = arena.handle.base;
  const seen: Part[] = [];
  for (const part of PARTS) {
    const address = rings[part];
    const align = ALIGNMENTS[layout][part];
    if (address % align !== 0) {
      throw new RingwayError('BAD_ARGUMENT', `${name}: ${part}=${address}, must be a multiple of ${align} (${layout})`);
    }
    if (!Number.isSafeInteger(address) || address < first || address + bytes[part] > arena.bytes) {
      throw new RingwayError(
        'BAD_ARGUMENT',
        `${name}: ${part}=${address} with ${bytes[part]} bytes, must lie in the arena, from ${first} to ${arena.bytes}`,
      );
    }
    for (const other of seen) {
      if (address < rings[other] + bytes[other] && rings[other] < address + bytes[part]) {
        throw new RingwayError(
          'BAD_ARGUMENT',
          `${name}: ${part}=${address} with ${bytes[part]} bytes overlaps ${other}=${rings[other]} with ${bytes[other]}; give each its own bytes`,
        );
      }
    }
    seen.push(part);
  }
}
