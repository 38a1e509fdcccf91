import { count, countHypercall } from '../domain.kernel.ts';
import {
  COPY_FLAGS,
  COPY_LENGTH,
  COPY_SHIFT,
  COPY_SOURCE,
  COPY_STATUS,
  COPY_TARGET,
  DOMAIN_COPIES,
  DOMAIN_COPY_BYTES,
  DOMAIN_FAILED,
  GNTCOPY_DEST_GREF,
  GNTCOPY_SOURCE_GREF,
  GNTST_BAD_COPY_ARG,
  GNTST_GENERAL_ERROR,
  GRANT_BATCH_MAX,
  SIDE_DOMID,
  SIDE_OFFSET,
  SIDE_PLACE,
  XEN_PAGE_BYTES,
} from '../layout.ts';
import {
  COPYCALL,
  COPYCALL_COUNT,
  COPYCALL_SEGMENTS,
  DEVICES_BASE,
  SEGMENT_BYTES,
  SEGMENT_FLAGS,
  SEGMENT_LENGTH,
  SEGMENT_SIDE_DOMID,
  SEGMENT_SIDE_OFFSET,
  SEGMENT_SIDE_REF,
  SEGMENT_SOURCE,
  SEGMENT_STATUS,
  SEGMENT_TARGET,
} from './layout.ts';

function leavesPage(side: u32, isGref: bool, length: u32): bool {
  return isGref && <u32>load<u16>(side, SIDE_OFFSET) + length > XEN_PAGE_BYTES;
}

function writeSide(target: u32, side: u32, isGref: bool, base: u64): void {
  if (!isGref) {
    store<u64>(target, base + <u64>load<u32>(side, SIDE_PLACE));
    return;
  }
  store<u32>(target, load<u32>(side, SIDE_PLACE), SEGMENT_SIDE_REF);
  store<u16>(target, load<u16>(side, SIDE_OFFSET), SEGMENT_SIDE_OFFSET);
  store<u16>(target, load<u16>(side, SIDE_DOMID), SEGMENT_SIDE_DOMID);
}

/**
 * Writes `n` (up to GRANT_BATCH_MAX) copies at `ops` as the segments of one call at `segments`, with the call's argument behind
 * them. One that would leave a granted page becomes one of no bytes, since for it the call would refuse all.
 */
export function segmentsWrite(devices: u32, ops: u32, n: u32, segments: u32): void {
  assert(n <= GRANT_BATCH_MAX);
  const base = load<u64>(devices, DEVICES_BASE);
  for (let i: u32 = 0; i < n; i++) {
    const op = ops + (i << COPY_SHIFT);
    const segment = segments + i * SEGMENT_BYTES;
    const flags = <u32>load<u16>(op, COPY_FLAGS);
    const length = <u32>load<u16>(op, COPY_LENGTH);
    const fromGref = (flags & GNTCOPY_SOURCE_GREF) !== 0;
    const toGref = (flags & GNTCOPY_DEST_GREF) !== 0;
    writeSide(segment + SEGMENT_SOURCE, op + COPY_SOURCE, fromGref, base);
    writeSide(segment + SEGMENT_TARGET, op + COPY_TARGET, toGref, base);
    const isBad = leavesPage(op + COPY_SOURCE, fromGref, length) || leavesPage(op + COPY_TARGET, toGref, length);
    if (isBad) {
      if (fromGref) store<u16>(segment + SEGMENT_SOURCE, 0, SEGMENT_SIDE_OFFSET);
      if (toGref) store<u16>(segment + SEGMENT_TARGET, 0, SEGMENT_SIDE_OFFSET);
    }
    store<u16>(segment, isBad ? 0 : <u16>length, SEGMENT_LENGTH);
    store<u16>(segment, <u16>flags, SEGMENT_FLAGS);
    store<i16>(segment, 0, SEGMENT_STATUS);
    store<i16>(op, isBad ? -(<i16>GNTST_BAD_COPY_ARG) : 0, COPY_STATUS);
  }
  store<u32>(segments, n, COPYCALL + COPYCALL_COUNT);
  store<u64>(segments, base + <u64>segments, COPYCALL + COPYCALL_SEGMENTS);
}

/** Takes the statuses of `n` segments over, and counts. A call that was refused (`done` 0) has copied nothing for certain. */
export function segmentsRead(devices: u32, ops: u32, n: u32, segments: u32, done: u32): void {
  let failed: u32 = 0;
  let bytes: u32 = 0;
  for (let i: u32 = 0; i < n; i++) {
    const op = ops + (i << COPY_SHIFT);
    let status = load<i16>(op, COPY_STATUS);
    if (status === 0) {
      status = done !== 0 ? load<i16>(segments + i * SEGMENT_BYTES, SEGMENT_STATUS) : -(<i16>GNTST_GENERAL_ERROR);
    }
    store<i16>(op, status, COPY_STATUS);
    if (status === 0) bytes += load<u16>(op, COPY_LENGTH);
    else failed++;
  }
  countHypercall(devices);
  count(devices, DOMAIN_COPIES, n);
  count(devices, DOMAIN_COPY_BYTES, bytes);
  count(devices, DOMAIN_FAILED, failed);
}

/** Adds `n` to a counter, and one entry into the hypervisor. */
export function deviceCount(devices: u32, counter: u32, n: u32): void {
  countHypercall(devices);
  count(devices, counter, n);
}
