import { count, countHypercall, domainRecord, liveDomain, lock, unlock } from './domain.kernel.ts';
import { pin, pinnedFrame, unpin } from './grant.kernel.ts';
import {
  DOMAIN_AREA,
  DOMAIN_AREA_OWNERS,
  DOMAIN_AREA_PAGES,
  DOMAIN_DOMID,
  DOMAIN_FAILED,
  DOMAIN_FILE,
  DOMAIN_LOCK,
  DOMAIN_MAPS,
  DOMAIN_MAPTRACK,
  DOMAIN_MAPTRACK_COUNT,
  DOMAIN_MAPTRACK_FREE,
  DOMAIN_MEMORY,
  DOMAIN_TLB_FLUSHES,
  DOMAIN_UNMAPS,
  GNTMAP_READONLY,
  GNTST_BAD_DOMAIN,
  GNTST_BAD_HANDLE,
  GNTST_BAD_VIRT_ADDR,
  GNTST_GENERAL_ERROR,
  GNTST_NO_SPACE,
  GNTST_OKAY,
  MAP_ADDRESS,
  MAP_DOMID,
  MAP_FILE,
  MAP_FLAGS,
  MAP_FRAME,
  MAP_HANDLE,
  MAP_REF,
  MAP_SHIFT,
  MAP_STATUS,
  MAP_TARGET,
  MAPTRACK_DOMID,
  MAPTRACK_F_LEAVING,
  MAPTRACK_F_MAPPED,
  MAPTRACK_FLAGS,
  MAPTRACK_NEXT,
  MAPTRACK_REF,
  MAPTRACK_SHIFT,
  MAPTRACK_STATE,
  MAPTRACK_TARGET,
  UNMAP_BATCH,
  XEN_PAGE_SHIFT,
} from './layout.ts';

function trackOf(caller: u32, handle: u32): u32 {
  return load<u32>(caller, DOMAIN_MAPTRACK) + (handle << MAPTRACK_SHIFT);
}

/** Where the map area says who has the page `target`, one of its own. */
function ownerOf(caller: u32, target: u32): u32 {
  const page = (target - load<u32>(caller, DOMAIN_AREA)) >> XEN_PAGE_SHIFT;
  return load<u32>(caller, DOMAIN_AREA_OWNERS) + (page << 2);
}

function isInArea(caller: u32, target: u32): bool {
  const offset = target - load<u32>(caller, DOMAIN_AREA);
  return (
    offset >> XEN_PAGE_SHIFT < load<u32>(caller, DOMAIN_AREA_PAGES) && (offset & ((1 << XEN_PAGE_SHIFT) - 1)) === 0
  );
}

/** Takes a handle and the page; the handle goes into the operation. Returns a GNTST_…. */
function takeHandle(caller: u32, op: u32): u32 {
  const target = load<u32>(op, MAP_TARGET);
  if (!isInArea(caller, target)) return GNTST_BAD_VIRT_ADDR;
  lock(caller + DOMAIN_LOCK);
  const next = load<u32>(caller, DOMAIN_MAPTRACK_FREE);
  const owner = ownerOf(caller, target);
  const status = load<u32>(owner) !== 0 ? GNTST_BAD_VIRT_ADDR : next === 0 ? GNTST_NO_SPACE : GNTST_OKAY;
  if (status === GNTST_OKAY) {
    store<u32>(caller, load<u32>(trackOf(caller, next - 1), MAPTRACK_NEXT), DOMAIN_MAPTRACK_FREE);
    store<u32>(owner, next);
    store<u32>(op, next - 1, MAP_HANDLE);
  }
  unlock(caller + DOMAIN_LOCK);
  return status;
}

function freeHandle(caller: u32, handle: u32, target: u32): void {
  const track = trackOf(caller, handle);
  lock(caller + DOMAIN_LOCK);
  store<u32>(track, 0, MAPTRACK_STATE);
  store<u32>(track, load<u32>(caller, DOMAIN_MAPTRACK_FREE), MAPTRACK_NEXT);
  store<u32>(caller, handle + 1, DOMAIN_MAPTRACK_FREE);
  store<u32>(ownerOf(caller, target), 0);
  unlock(caller + DOMAIN_LOCK);
}

function beginMap(xen: u32, caller: u32, op: u32): u32 {
  const granter = liveDomain(xen, load<u16>(op, MAP_DOMID));
  if (granter === 0) return GNTST_BAD_DOMAIN;
  const taken = takeHandle(caller, op);
  if (taken !== GNTST_OKAY) return taken;
  const target = load<u32>(op, MAP_TARGET);
  const handle = load<u32>(op, MAP_HANDLE);
  const ref = load<u32>(op, MAP_REF);
  const flags = <u32>load<u16>(op, MAP_FLAGS);
  const status = pin(granter, ref, load<u32>(caller, DOMAIN_DOMID), (flags & GNTMAP_READONLY) === 0);
  if (status !== GNTST_OKAY) {
    freeHandle(caller, handle, target);
    return status;
  }
  const track = trackOf(caller, handle);
  store<u32>(track, ref, MAPTRACK_REF);
  store<u32>(track, load<u16>(op, MAP_DOMID), MAPTRACK_DOMID);
  store<u32>(track, flags, MAPTRACK_FLAGS);
  store<u32>(track, target, MAPTRACK_TARGET);
  store<u32>(track, MAPTRACK_F_MAPPED, MAPTRACK_STATE);
  const frame = pinnedFrame(granter, ref);
  store<u32>(op, frame, MAP_FRAME);
  store<u32>(op, load<u32>(granter, DOMAIN_FILE), MAP_FILE);
  store<u32>(op, load<u32>(granter, DOMAIN_MEMORY) + (frame << XEN_PAGE_SHIFT), MAP_ADDRESS);
  return GNTST_OKAY;
}

/**
 * Checks `n` maps at `ops` for `caller`, pins what they name and takes a handle for each; whoever calls puts the pages at their
 * targets afterwards, where that can be. Returns how many are to be.
 */
export function mapBegin(xen: u32, caller: u32, ops: u32, n: u32): u32 {
  let failed: u32 = 0;
  for (let i: u32 = 0; i < n; i++) {
    const op = ops + (i << MAP_SHIFT);
    const status = beginMap(xen, caller, op);
    store<i16>(op, -(<i16>status), MAP_STATUS);
    if (status !== GNTST_OKAY) failed++;
  }
  countHypercall(caller);
  count(caller, DOMAIN_MAPS, n - failed);
  count(caller, DOMAIN_FAILED, failed);
  return n - failed;
}

/** Takes a map back that `mapBegin` allowed and the system refused. */
export function mapUndo(xen: u32, caller: u32, op: u32): void {
  const track = trackOf(caller, load<u32>(op, MAP_HANDLE));
  const granter = domainRecord(xen, load<u32>(track, MAPTRACK_DOMID));
  unpin(granter, load<u32>(track, MAPTRACK_REF), (load<u32>(track, MAPTRACK_FLAGS) & GNTMAP_READONLY) === 0);
  freeHandle(caller, load<u32>(op, MAP_HANDLE), load<u32>(op, MAP_TARGET));
  store<i16>(op, -(<i16>GNTST_GENERAL_ERROR), MAP_STATUS);
  count(caller, DOMAIN_FAILED, 1);
}

function beginUnmap(caller: u32, op: u32): u32 {
  const handle = load<u32>(op, MAP_HANDLE);
  if (handle >= load<u32>(caller, DOMAIN_MAPTRACK_COUNT)) return GNTST_BAD_HANDLE;
  const track = trackOf(caller, handle);
  const seen = atomic.cmpxchg<u32>(track, MAPTRACK_F_MAPPED, MAPTRACK_F_LEAVING, MAPTRACK_STATE);
  if (seen !== MAPTRACK_F_MAPPED) return GNTST_BAD_HANDLE;
  store<u32>(op, load<u32>(track, MAPTRACK_TARGET), MAP_TARGET);
  return GNTST_OKAY;
}

/**
 * Checks the handles of `n` unmaps at `ops`, and says in each what page it is at; whoever calls takes the pages away before
 * `unmapEnd`. Returns how many there are.
 */
export function unmapBegin(caller: u32, ops: u32, n: u32): u32 {
  let failed: u32 = 0;
  for (let i: u32 = 0; i < n; i++) {
    const op = ops + (i << MAP_SHIFT);
    const status = beginUnmap(caller, op);
    store<i16>(op, -(<i16>status), MAP_STATUS);
    if (status !== GNTST_OKAY) failed++;
  }
  countHypercall(caller);
  count(caller, DOMAIN_UNMAPS, n - failed);
  count(caller, DOMAIN_FAILED, failed);
  return n - failed;
}

/** Gives back what the unmaps held, once no page of theirs can be reached any more. */
export function unmapEnd(xen: u32, caller: u32, ops: u32, n: u32): void {
  for (let i: u32 = 0; i < n; i++) {
    const op = ops + (i << MAP_SHIFT);
    if (load<i16>(op, MAP_STATUS) !== 0) continue;
    const track = trackOf(caller, load<u32>(op, MAP_HANDLE));
    const granter = domainRecord(xen, load<u32>(track, MAPTRACK_DOMID));
    unpin(granter, load<u32>(track, MAPTRACK_REF), (load<u32>(track, MAPTRACK_FLAGS) & GNTMAP_READONLY) === 0);
    freeHandle(caller, load<u32>(op, MAP_HANDLE), load<u32>(op, MAP_TARGET));
  }
  count(caller, DOMAIN_TLB_FLUSHES, (n + UNMAP_BATCH - 1) / UNMAP_BATCH);
}
