import { alignUp } from '../util/bits.ts';
import { virtqueueBytes } from './rings.ts';

/** Alignment of a legacy queue and of its used ring (virtio 1.1, 2.6.2): a page. */
export const LEGACY_QUEUE_ALIGN = 4096;

/** Where the parts of a legacy queue start, in bytes from its address, and its bytes in all (virtio 1.1, 2.6.2). */
export interface LegacyQueueLayout {
  readonly driverArea: number;
  readonly deviceArea: number;
  readonly bytes: number;
}

/**
 * Lays out a legacy queue of `size` descriptors: they, the available ring, and on the next page the used ring. The
 * event word behind the available ring fits its page; the one behind the used ring counts to the last page.
 * @throws RingwayError `BAD_ARGUMENT` when `size` is no power of two up to 32,768.
 */
export function legacyQueueLayout(size: number): LegacyQueueLayout {
  const parts = virtqueueBytes('split', size);
  const deviceArea = alignUp(parts.descriptors + parts.driverArea, LEGACY_QUEUE_ALIGN);
  return {
    driverArea: parts.descriptors,
    deviceArea,
    bytes: deviceArea + alignUp(parts.deviceArea, LEGACY_QUEUE_ALIGN),
  };
}
