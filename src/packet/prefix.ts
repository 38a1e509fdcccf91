import type { Arena } from '../memory/arena.ts';
import type { Prefix } from '../util/addresses.ts';
import { RingwayError } from '../util/errors.ts';
import {
  HOP_MAC,
  HOP_PORT,
  HOP_SHIFT,
  ROUTE_LEAF,
  ROUTE_NODE_SHIFT,
  ROUTES_HOPS,
  ROUTES_NODES,
  ROUTES_ROOT4,
  ROUTES_ROOT6,
  ROUTES_ROUTER_MAC,
} from './layout.ts';

/** A route: packets to `prefix` leave through `port` to the MAC `mac`. */
export interface Route {
  readonly prefix: Prefix;
  readonly port: number;
  /** Six bytes. */
  readonly mac: Uint8Array;
}

/** Nodes of 1 KiB: a 128-bit prefix takes 16 at most, and neighbours share most of theirs. */
const NODES_MAX = 4096;
const HOPS_MAX = 1024;
/** Bytes of the arena that the nodes and hops of a route table take; pages of nodes that no route needs are never touched. */
export const ROUTE_NODES_BYTES = (NODES_MAX << ROUTE_NODE_SHIFT) + (HOPS_MAX << HOP_SHIFT) + 512;

/**
 * Writes a route table for the router that answers to `routerMac`, before the lcores start.
 * @param table address of its words (`layout.ts`, ROUTES_BYTES), zeroed.
 * @throws RingwayError `BAD_ARGUMENT` when there are more than 1,024 routes or they need more than 4,096 nodes.
 */
export function buildRoutes(arena: Arena, table: number, routerMac: Uint8Array, routes: readonly Route[]): void {
  if (routes.length > HOPS_MAX) {
    throw new RingwayError('BAD_ARGUMENT', `routes: ${routes.length} routes, at most ${HOPS_MAX} fit`);
  }
  const { u8, u32 } = arena;
  const nodes = arena.allocate('routes', NODES_MAX << ROUTE_NODE_SHIFT);
  const hops = arena.allocate('routes.hops', HOPS_MAX << HOP_SHIFT);
  // Node 0 stands for none, 1 is the root of IPv4, 2 that of IPv6.
  let used = 3;
  const entryOf = (node: number, byte: number): number => ((nodes + (node << ROUTE_NODE_SHIFT)) >>> 2) + byte;

  /** The child of `node` for `byte`; made when it is missing, with the shorter prefix that covered it pushed down. */
  const childOf = (node: number, byte: number): number => {
    const entry = entryOf(node, byte);
    const old = u32[entry] ?? 0;
    if (old !== 0 && (old & ROUTE_LEAF) === 0) return old;
    if (used === NODES_MAX) {
      throw new RingwayError(
        'BAD_ARGUMENT',
        `routes: the prefixes need more than ${NODES_MAX} nodes; use fewer long ones`,
      );
    }
    const child = used++;
    u32.fill(old, entryOf(child, 0), entryOf(child, 256));
    u32[entry] = child;
    return child;
  };

  // Shortest first, so that a longer prefix overwrites what it covers.
  const byLength = [...routes.entries()].sort(([, a], [, b]) => a.prefix.length - b.prefix.length);
  for (const [hop, { prefix, port, mac }] of byLength) {
    u32[(hops + (hop << HOP_SHIFT) + HOP_PORT) >>> 2] = port;
    u8.set(mac, hops + (hop << HOP_SHIFT) + HOP_MAC);
    let node = prefix.family === 4 ? 1 : 2;
    let depth = 0;
    for (; (depth + 1) * 8 < prefix.length; depth++) node = childOf(node, prefix.bytes[depth] ?? 0);
    const first = prefix.bytes[depth] ?? 0;
    const covered = 2 ** (8 - (prefix.length - depth * 8));
    for (let byte = first; byte < first + covered; byte++) u32[entryOf(node, byte)] = ROUTE_LEAF | hop;
  }
  const set = (offset: number, value: number): void => {
    u32[(table + offset) >>> 2] = value;
  };
  set(ROUTES_NODES, nodes);
  set(ROUTES_HOPS, hops);
  set(ROUTES_ROOT4, 1);
  set(ROUTES_ROOT6, 2);
  u8.set(routerMac, table + ROUTES_ROUTER_MAC);
}
