import {
  HOP_SHIFT,
  ROUTE_LEAF,
  ROUTE_NODE_SHIFT,
  ROUTES_HOPS,
  ROUTES_NODES,
  ROUTES_ROOT4,
  ROUTES_ROOT6,
} from './layout.ts';

/** The next hop from `node` on for the address of `bytes` bytes at `address`: its address, or 0. */
function walk(routes: u32, root: u32, address: u32, bytes: u32): u32 {
  const nodes = load<u32>(routes, ROUTES_NODES);
  let node = root;
  for (let i: u32 = 0; i < bytes && node !== 0; i++) {
    const next = load<u32>(nodes + (node << ROUTE_NODE_SHIFT) + ((<u32>load<u8>(address + i)) << 2));
    if (next & ROUTE_LEAF) return load<u32>(routes, ROUTES_HOPS) + ((next ^ ROUTE_LEAF) << HOP_SHIFT);
    node = next;
  }
  return 0;
}

/**
 * The longest prefix of the table at `routes` that covers the IPv4 address at `address`: its next hop's address, or 0. At
 * most one load a byte.
 */
export function lookupIpv4(routes: u32, address: u32): u32 {
  return walk(routes, load<u32>(routes, ROUTES_ROOT4), address, 4);
}

/** As `lookupIpv4`, of an IPv6 address. */
export function lookupIpv6(routes: u32, address: u32): u32 {
  return walk(routes, load<u32>(routes, ROUTES_ROOT6), address, 16);
}
