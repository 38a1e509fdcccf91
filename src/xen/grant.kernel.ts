import { lock, unlock } from './domain.kernel.ts';
import {
  ACTIVE_DOMID,
  ACTIVE_FRAME,
  ACTIVE_LOCK,
  ACTIVE_PINS_MAX,
  ACTIVE_READERS,
  ACTIVE_SHIFT,
  ACTIVE_WRITERS,
  DOMAIN_ACTIVE,
  DOMAIN_FRAMES,
  DOMAIN_GRANT_COUNT,
  DOMAIN_GRANTS,
  DOMAIN_PINS,
  GNTST_BAD_GNTREF,
  GNTST_BAD_PAGE,
  GNTST_GENERAL_ERROR,
  GNTST_OKAY,
  GRANT_DOMID,
  GRANT_FLAGS,
  GRANT_FRAME,
  GRANT_SHIFT,
  GTF_PERMIT_ACCESS,
  GTF_READING,
  GTF_READONLY,
  GTF_TYPE_MASK,
  GTF_WRITING,
} from './layout.ts';

/** Times that an entry may change under Xen before it is given up as unstable (grant_table.c, _set_status_v1). */
const TRIES: u32 = 5;

function activeOf(domain: u32, ref: u32): u32 {
  return load<u32>(domain, DOMAIN_ACTIVE) + (ref << ACTIVE_SHIFT);
}

function entryOf(domain: u32, ref: u32): u32 {
  return load<u32>(domain, DOMAIN_GRANTS) + (ref << GRANT_SHIFT);
}

/** Says in the shared entry that Xen uses it. Flags and domid are one word, so that neither changes under the other. */
function markUsed(entry: u32, grantee: u32, writes: bool): u32 {
  let word = atomic.load<u32>(entry);
  for (let i: u32 = 0; i < TRIES; i++) {
    if ((word & GTF_TYPE_MASK) !== GTF_PERMIT_ACCESS || word >> 16 !== grantee) return GNTST_GENERAL_ERROR;
    if (writes && word & GTF_READONLY) return GNTST_GENERAL_ERROR;
    const seen = atomic.cmpxchg<u32>(entry, word, word | GTF_READING | (writes ? GTF_WRITING : 0));
    if (seen === word) return GNTST_OKAY;
    word = seen;
  }
  return GNTST_GENERAL_ERROR;
}

function clearUsed(entry: u32, flags: u32): void {
  atomic.and<u16>(entry, <u16>(0xffff ^ flags), GRANT_FLAGS);
}

function pinLocked(domain: u32, active: u32, entry: u32, grantee: u32, writes: bool): u32 {
  const readers = load<u32>(active, ACTIVE_READERS);
  const writers = load<u32>(active, ACTIVE_WRITERS);
  const isFirst = readers + writers === 0;
  if (!isFirst && load<u32>(active, ACTIVE_DOMID) !== grantee) return GNTST_GENERAL_ERROR;
  if (readers + writers === ACTIVE_PINS_MAX) return GNTST_GENERAL_ERROR;
  if (isFirst || (writes && writers === 0)) {
    const status = markUsed(entry, grantee, writes);
    if (status !== GNTST_OKAY) return status;
  }
  if (isFirst) {
    // Kept while the entry is in use: the granter may write another frame, and pins of one entry have one frame.
    const frame = atomic.load<u32>(entry, GRANT_FRAME);
    if (frame >= load<u32>(domain, DOMAIN_FRAMES)) {
      clearUsed(entry, GTF_READING | GTF_WRITING);
      return GNTST_BAD_PAGE;
    }
    store<u32>(active, grantee, ACTIVE_DOMID);
    store<u32>(active, frame, ACTIVE_FRAME);
  }
  if (writes) store<u32>(active, writers + 1, ACTIVE_WRITERS);
  else store<u32>(active, readers + 1, ACTIVE_READERS);
  atomic.add<u32>(domain, 1, DOMAIN_PINS);
  return GNTST_OKAY;
}

/** Takes entry `ref` of `domain` for the domain `grantee`, to read or to write too. Returns a GNTST_…. */
export function pin(domain: u32, ref: u32, grantee: u32, writes: bool): u32 {
  if (ref >= load<u32>(domain, DOMAIN_GRANT_COUNT)) return GNTST_BAD_GNTREF;
  const active = activeOf(domain, ref);
  lock(active + ACTIVE_LOCK);
  const status = pinLocked(domain, active, entryOf(domain, ref), grantee, writes);
  unlock(active + ACTIVE_LOCK);
  return status;
}

/** The frame of an entry that is pinned. */
export function pinnedFrame(domain: u32, ref: u32): u32 {
  return load<u32>(activeOf(domain, ref), ACTIVE_FRAME);
}

/** Gives a pin back. With the last one that writes, and with the last one, the flags go. */
export function unpin(domain: u32, ref: u32, writes: bool): void {
  const active = activeOf(domain, ref);
  const entry = entryOf(domain, ref);
  lock(active + ACTIVE_LOCK);
  const counter = active + (writes ? ACTIVE_WRITERS : ACTIVE_READERS);
  assert(load<u32>(counter) > 0);
  store<u32>(counter, load<u32>(counter) - 1);
  const writers = load<u32>(active, ACTIVE_WRITERS);
  if (writes && writers === 0) clearUsed(entry, GTF_WRITING);
  if (writers + load<u32>(active, ACTIVE_READERS) === 0) clearUsed(entry, GTF_READING);
  unlock(active + ACTIVE_LOCK);
  atomic.sub<u32>(domain, 1, DOMAIN_PINS);
}

/** Lets the domain `domid` use `frame` by entry `ref` of the table at `grants`, which nobody uses. `flags`: GTF_READONLY or 0. */
export function grantAccess(grants: u32, ref: u32, domid: u32, frame: u32, flags: u32): void {
  const entry = grants + (ref << GRANT_SHIFT);
  store<u16>(entry, <u16>domid, GRANT_DOMID);
  store<u32>(entry, frame, GRANT_FRAME);
  // Last, since Xen may look at any time; the atomic store orders the others before it.
  atomic.store<u16>(entry, <u16>(flags | GTF_PERMIT_ACCESS), GRANT_FLAGS);
}

/** Ends what `grantAccess` began. Returns 0 while Xen still uses the entry, which then stays as it is, else 1. */
export function endAccess(grants: u32, ref: u32): u32 {
  const entry = grants + (ref << GRANT_SHIFT);
  let flags = atomic.load<u16>(entry, GRANT_FLAGS);
  while (!(flags & <u16>(GTF_READING | GTF_WRITING))) {
    // Xen may begin to use it between the look and the write.
    const seen = atomic.cmpxchg<u16>(entry, flags, 0, GRANT_FLAGS);
    if (seen === flags) return 1;
    flags = seen;
  }
  return 0;
}
