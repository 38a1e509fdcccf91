import { count, countHypercall, domainRecord, liveDomain } from './domain.kernel.ts';
import { pin, pinnedFrame, unpin } from './grant.kernel.ts';
import {
  COPY_FLAGS,
  COPY_FROM,
  COPY_LENGTH,
  COPY_SHIFT,
  COPY_SOURCE,
  COPY_STATUS,
  COPY_TARGET,
  COPY_TO,
  DOMAIN_COPIES,
  DOMAIN_COPY_BYTES,
  DOMAIN_DOMID,
  DOMAIN_FAILED,
  DOMAIN_LOCAL,
  DOMAIN_LOCAL_PAGES,
  DOMAIN_MEMORY,
  GNTCOPY_DEST_GREF,
  GNTCOPY_SOURCE_GREF,
  GNTST_BAD_COPY_ARG,
  GNTST_BAD_DOMAIN,
  GNTST_BAD_PAGE,
  GNTST_OKAY,
  GRANT_BATCH_MAX,
  SIDE_DOMID,
  SIDE_OFFSET,
  SIDE_PLACE,
  VECTOR_ADDRESS,
  VECTOR_LENGTH,
  VECTOR_SHIFT,
  XEN_BASE,
  XEN_PAGE_BYTES,
  XEN_PAGE_SHIFT,
} from './layout.ts';

/** Finds one side of a copy, and pins its entry when it is a reference; its arena address goes to `found`. Returns a GNTST_…. */
function findSide(xen: u32, caller: u32, side: u32, length: u32, found: u32, isGref: bool, writes: bool): u32 {
  const place = load<u32>(side, SIDE_PLACE);
  if (!isGref) {
    const from = <u64>load<u32>(caller, DOMAIN_LOCAL);
    const end = from + ((<u64>load<u32>(caller, DOMAIN_LOCAL_PAGES)) << XEN_PAGE_SHIFT);
    if (<u64>place < from || <u64>place + <u64>length > end) return GNTST_BAD_PAGE;
    store<u32>(found, place);
    return GNTST_OKAY;
  }
  const granter = liveDomain(xen, load<u16>(side, SIDE_DOMID));
  if (granter === 0) return GNTST_BAD_DOMAIN;
  const offset = <u32>load<u16>(side, SIDE_OFFSET);
  if (offset + length > XEN_PAGE_BYTES) return GNTST_BAD_COPY_ARG;
  const status = pin(granter, place, load<u32>(caller, DOMAIN_DOMID), writes);
  if (status !== GNTST_OKAY) return status;
  store<u32>(found, load<u32>(granter, DOMAIN_MEMORY) + (pinnedFrame(granter, place) << XEN_PAGE_SHIFT) + offset);
  return GNTST_OKAY;
}

function leaveSide(xen: u32, side: u32, isGref: bool, writes: bool): void {
  if (isGref) unpin(domainRecord(xen, load<u16>(side, SIDE_DOMID)), load<u32>(side, SIDE_PLACE), writes);
}

function beginCopy(xen: u32, caller: u32, op: u32): u32 {
  const flags = <u32>load<u16>(op, COPY_FLAGS);
  const length = <u32>load<u16>(op, COPY_LENGTH);
  const hasSource = (flags & GNTCOPY_SOURCE_GREF) !== 0;
  let status = findSide(xen, caller, op + COPY_SOURCE, length, op + COPY_FROM, hasSource, false);
  if (status !== GNTST_OKAY) return status;
  status = findSide(xen, caller, op + COPY_TARGET, length, op + COPY_TO, (flags & GNTCOPY_DEST_GREF) !== 0, true);
  if (status !== GNTST_OKAY) leaveSide(xen, op + COPY_SOURCE, hasSource, false);
  return status;
}

function writeVector(vector: u32, base: u64, place: u32, length: u32): void {
  store<u64>(vector, base + <u64>place, VECTOR_ADDRESS);
  store<u64>(vector, length, VECTOR_LENGTH);
}

/**
 * Checks `n` (up to GRANT_BATCH_MAX) copies at `ops` for `caller` and pins what they name; one that fails stops none of the
 * others. What is to be copied is written to `vectors`: targets, then, GRANT_BATCH_MAX vectors on, sources. Returns how many.
 */
export function copyBegin(xen: u32, caller: u32, ops: u32, n: u32, vectors: u32): u32 {
  assert(n <= GRANT_BATCH_MAX);
  const base = load<u64>(xen, XEN_BASE);
  let failed: u32 = 0;
  let bytes: u32 = 0;
  let made: u32 = 0;
  for (let i: u32 = 0; i < n; i++) {
    const op = ops + (i << COPY_SHIFT);
    const status = beginCopy(xen, caller, op);
    store<i16>(op, -(<i16>status), COPY_STATUS);
    const length = <u32>load<u16>(op, COPY_LENGTH);
    if (status !== GNTST_OKAY) failed++;
    else if (length > 0) {
      const vector = vectors + (made << VECTOR_SHIFT);
      writeVector(vector, base, load<u32>(op, COPY_TO), length);
      writeVector(vector + (GRANT_BATCH_MAX << VECTOR_SHIFT), base, load<u32>(op, COPY_FROM), length);
      made++;
      bytes += length;
    }
  }
  countHypercall(caller);
  count(caller, DOMAIN_COPIES, n);
  count(caller, DOMAIN_COPY_BYTES, bytes);
  count(caller, DOMAIN_FAILED, failed);
  return made;
}

/** Copies what `copyBegin` found, where no system call does. */
export function copyMove(ops: u32, n: u32): void {
  for (let i: u32 = 0; i < n; i++) {
    const op = ops + (i << COPY_SHIFT);
    if (load<i16>(op, COPY_STATUS) === 0) {
      memory.copy(load<u32>(op, COPY_TO), load<u32>(op, COPY_FROM), load<u16>(op, COPY_LENGTH));
    }
  }
}

/** Gives back what `copyBegin` pinned. */
export function copyEnd(xen: u32, ops: u32, n: u32): void {
  for (let i: u32 = 0; i < n; i++) {
    const op = ops + (i << COPY_SHIFT);
    if (load<i16>(op, COPY_STATUS) !== 0) continue;
    const flags = <u32>load<u16>(op, COPY_FLAGS);
    leaveSide(xen, op + COPY_SOURCE, (flags & GNTCOPY_SOURCE_GREF) !== 0, false);
    leaveSide(xen, op + COPY_TARGET, (flags & GNTCOPY_DEST_GREF) !== 0, true);
  }
}
