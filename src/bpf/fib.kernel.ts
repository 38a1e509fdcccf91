import { HOP_MAC, HOP_PORT, ROUTES_ROUTER_MAC } from '../packet/layout.ts';
import { lookupIpv4, lookupIpv6 } from '../packet/prefix.kernel.ts';
import { CTX_ROUTES } from './layout.ts';
import { fail } from './maps/key.kernel.ts';
import { ERRNO_AFNOSUPPORT, ERRNO_INVAL } from './maps/layout.ts';

/** struct bpf_fib_lookup (Linux include/uapi/linux/bpf.h). */
const FIB_BYTES: u32 = 64;
const FIB_FAMILY: u32 = 0;
const FIB_IFINDEX: u32 = 8;
const FIB_METRIC: u32 = 12;
const FIB_DESTINATION: u32 = 32;
const FIB_VLAN: u32 = 48;
const FIB_SOURCE_MAC: u32 = 52;
const FIB_DESTINATION_MAC: u32 = 58;

const AF_INET: u32 = 2;
const AF_INET6: u32 = 10;

/** BPF_FIB_LOOKUP_…: there is one table and no rules, so DIRECT and OUTPUT ask for what is done anyway. */
const FLAGS_KNOWN: u32 = 1 | 2 | 4;
const FLAG_SKIP_NEIGH: u32 = 4;

/** BPF_FIB_LKUP_RET_…. */
const SUCCESS: i64 = 0;
const NOT_FORWARDED: i64 = 4;
const FORWARDING_DISABLED: i64 = 5;

/**
 * bpf_fib_lookup: where the switch's router would send a packet with the destination in the 64 bytes at `params`: fills in
 * interface (its port's number and 1), MACs and no VLAN. 0; 4 when no route covers it, 5 when there is no router; -EINVAL
 * on fewer bytes and on flags that ask for other tables, sources or marks, -EAFNOSUPPORT on other families.
 */
export function fibLookup(ctx: u32, _context: u32, params: u32, bytes: u32, flags: u32): i64 {
  if (bytes < FIB_BYTES || (flags & ~FLAGS_KNOWN) !== 0) return fail(ERRNO_INVAL);
  const family: u32 = load<u8>(params, FIB_FAMILY);
  if (family !== AF_INET && family !== AF_INET6) return fail(ERRNO_AFNOSUPPORT);
  const routes = load<u32>(ctx, CTX_ROUTES);
  if (routes === 0) return FORWARDING_DISABLED;
  const source = load<u64>(routes, ROUTES_ROUTER_MAC);
  if (source === 0) return FORWARDING_DISABLED;
  const address = params + FIB_DESTINATION;
  const hop = family === AF_INET ? lookupIpv4(routes, address) : lookupIpv6(routes, address);
  if (hop === 0) return NOT_FORWARDED;
  store<u32>(params, load<u32>(hop, HOP_PORT) + 1, FIB_IFINDEX);
  store<u32>(params, 0, FIB_METRIC);
  if (flags & FLAG_SKIP_NEIGH) return SUCCESS;
  const destination = load<u64>(hop, HOP_MAC);
  store<u32>(params, 0, FIB_VLAN);
  store<u32>(params, <u32>source, FIB_SOURCE_MAC);
  store<u16>(params, <u16>(source >> 32), FIB_SOURCE_MAC + 4);
  store<u32>(params, <u32>destination, FIB_DESTINATION_MAC);
  store<u16>(params, <u16>(destination >> 32), FIB_DESTINATION_MAC + 4);
  return SUCCESS;
}
