import { DOMAIN_ALIVE, DOMAIN_HYPERCALLS, XEN_DOMAINS, XEN_DOMAINS_MAX } from './layout.ts';

/** Record of the domain `domid`, also of one that was destroyed and is still mapped; 0 when there is none. */
export function domainRecord(xen: u32, domid: u32): u32 {
  return domid < XEN_DOMAINS_MAX ? atomic.load<u32>(xen + (domid << 2), XEN_DOMAINS) : 0;
}

/** Record of the domain `domid`; 0 when there is none, or none any more. */
export function liveDomain(xen: u32, domid: u32): u32 {
  const record = domainRecord(xen, domid);
  return record !== 0 && atomic.load<u32>(record, DOMAIN_ALIVE) !== 0 ? record : 0;
}

/** Waits for the lock at `word`. Whoever has it holds it for a few accesses, and stops for nothing. */
export function lock(word: u32): void {
  while (atomic.cmpxchg<u32>(word, 0, 1) !== 0) {}
}

export function unlock(word: u32): void {
  atomic.store<u32>(word, 0);
}

/** Adds to a counter of `domain`, which several threads may do. */
export function count(domain: u32, counter: u32, n: u32): void {
  if (n > 0) atomic.add<u64>(domain + counter, n);
}

/** Counts one entry into the hypervisor. */
export function countHypercall(domain: u32): void {
  atomic.add<u64>(domain, 1, DOMAIN_HYPERCALLS);
}
