import { count, countHypercall, liveDomain } from './domain.kernel.ts';
import {
  DOMAIN_EVENTS,
  DOMAIN_MASK,
  DOMAIN_PENDING,
  DOMAIN_PORT_COUNT,
  DOMAIN_PORTS,
  DOMAIN_UPCALL,
  PORT_INTERDOMAIN,
  PORT_REMOTE_DOMID,
  PORT_REMOTE_PORT,
  PORT_SHIFT,
  PORT_STATE,
  PORT_UNBOUND,
  SEND_BAD_PORT,
  SEND_DONE,
  SEND_UPCALL,
} from './layout.ts';

/** Sleepers that an upcall wakes: all of them. */
const EVERYBODY: i32 = 0x7fffffff;

function wordOf(bits: u32, port: u32): u32 {
  return bits + ((port >> 5) << 2);
}

function upcall(domain: u32): u32 {
  atomic.store<u32>(domain, 1, DOMAIN_UPCALL);
  atomic.notify(domain + DOMAIN_UPCALL, EVERYBODY);
  return SEND_UPCALL;
}

/** Makes `port` of `domain` pending. Returns SEND_UPCALL when the domain is to look, else SEND_DONE. */
export function setPending(domain: u32, port: u32): u32 {
  const bit: u32 = 1 << (port & 31);
  if (atomic.or<u32>(wordOf(load<u32>(domain, DOMAIN_PENDING), port), bit) & bit) return SEND_DONE;
  if (atomic.load<u32>(wordOf(load<u32>(domain, DOMAIN_MASK), port)) & bit) return SEND_DONE;
  return upcall(domain);
}

/** Sends an event through `port` of `caller`. Returns SEND_…. */
export function send(xen: u32, caller: u32, port: u32): u32 {
  countHypercall(caller);
  if (port >= load<u32>(caller, DOMAIN_PORT_COUNT)) return SEND_BAD_PORT;
  const entry = load<u32>(caller, DOMAIN_PORTS) + (port << PORT_SHIFT);
  const state = atomic.load<u32>(entry, PORT_STATE);
  // Nobody is at the other end, yet or any more: it is lost, silently.
  if (state === PORT_UNBOUND) return SEND_DONE;
  if (state !== PORT_INTERDOMAIN) return SEND_BAD_PORT;
  count(caller, DOMAIN_EVENTS, 1);
  const remote = liveDomain(xen, load<u32>(entry, PORT_REMOTE_DOMID));
  return remote === 0 ? SEND_DONE : setPending(remote, load<u32>(entry, PORT_REMOTE_PORT));
}

/** Masks `port` of `domain`: it may become pending, and nobody is called. */
export function mask(domain: u32, port: u32): void {
  atomic.or<u32>(wordOf(load<u32>(domain, DOMAIN_MASK), port), 1 << (port & 31));
}

/** Ends that. Returns SEND_UPCALL when it has become pending meanwhile, else SEND_DONE. */
export function unmask(domain: u32, port: u32): u32 {
  const bit: u32 = 1 << (port & 31);
  const seen = atomic.and<u32>(wordOf(load<u32>(domain, DOMAIN_MASK), port), 0xffffffff ^ bit);
  if (!(seen & bit)) return SEND_DONE;
  return atomic.load<u32>(wordOf(load<u32>(domain, DOMAIN_PENDING), port)) & bit ? upcall(domain) : SEND_DONE;
}

/** Takes the pending bit of `port`, unless it is masked. Returns 1 when it was set. */
export function takePending(domain: u32, port: u32): u32 {
  const bit: u32 = 1 << (port & 31);
  if (atomic.load<u32>(wordOf(load<u32>(domain, DOMAIN_MASK), port)) & bit) return 0;
  const word = wordOf(load<u32>(domain, DOMAIN_PENDING), port);
  // A look before the exchange: polling an idle port costs no locked access.
  if (!(atomic.load<u32>(word) & bit)) return 0;
  return atomic.and<u32>(word, 0xffffffff ^ bit) & bit ? 1 : 0;
}
