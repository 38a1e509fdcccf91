import type { Arena } from '../memory/arena.ts';
import {
  CTX_BYTES,
  CTX_CACHE,
  CTX_CLOCK,
  CTX_CPU,
  CTX_EGRESS_IFINDEX,
  CTX_INGRESS_IFINDEX,
  CTX_LOG,
  CTX_RANDOM,
  CTX_RANGE_COUNT,
  CTX_RANGES,
  CTX_ROUTES,
  CTX_RX_QUEUE_INDEX,
  RANGE_SHIFT,
} from './layout.ts';
import type { BpfMap } from './maps/map.ts';

/** What the programs of a thread find in their context, beside the packet. */
export interface ContextOptions {
  /** Number of the lcore, which programs take for the CPU. */
  readonly cpu: number;
  /** Address of the time: u32 seconds, u32 nanoseconds since 1970. */
  readonly clock: number;
  /** Seed of get_prandom_u32: a u32. */
  readonly seed: number;
  /** The lcore's buffer cache, for packets in several buffers; 0 when there is none. */
  readonly cache?: number;
  /** Route table that fib_lookup asks; 0: there is none. */
  readonly routes?: number;
  /** The ring of what trace_printk says; 0: nobody listens. */
  readonly log?: number;
}

/** Fills in the words of the CTX_BYTES at `address`, which are zero, for programs of one thread. */
export function initContext(arena: Arena, address: number, options: ContextOptions): void {
  const { cpu, clock, seed, cache = 0, routes = 0, log = 0 } = options;
  const set = (offset: number, value: number): void => {
    arena.u32[(address + offset) >>> 2] = value;
  };
  set(CTX_CPU, cpu);
  set(CTX_CLOCK, clock);
  set(CTX_CACHE, cache);
  set(CTX_ROUTES, routes);
  set(CTX_LOG, log);
  // An odd upper half is never 0; the golden ratio spreads near seeds (splitmix, Steele 2014).
  set(CTX_RANDOM, Math.imul(seed ^ (cpu << 16), 0x9e3779b9));
  set(CTX_RANDOM + 4, Math.imul(seed + cpu, 0x85ebca6b) | 1);
}

/** Says where the packets of the next run come from. */
export function setIngress(arena: Arena, context: number, ifindex: number, rxQueue: number, egressIfindex = 0): void {
  arena.u32[(context + CTX_INGRESS_IFINDEX) >>> 2] = ifindex;
  arena.u32[(context + CTX_RX_QUEUE_INDEX) >>> 2] = rxQueue;
  arena.u32[(context + CTX_EGRESS_IFINDEX) >>> 2] = egressIfindex;
}

/** Says what memory the next run may reach: `count` RANGE_… entries at `address`. */
export function setRanges(arena: Arena, context: number, address: number, count: number): void {
  arena.u32[(context + CTX_RANGES) >>> 2] = address;
  arena.u32[(context + CTX_RANGE_COUNT) >>> 2] = count;
}

/** What a program finds that runs alone, without a packet. */
export interface AloneOptions {
  /** Name of its region: `context` by default. */
  readonly name?: string;
  /** Maps whose values a checked program may reach. */
  readonly maps?: readonly BpfMap[];
  /** Number of the CPU: 0 by default. */
  readonly cpu?: number;
  /** Of get_prandom_u32: a u32, 1 by default. */
  readonly seed?: number;
  /** The time, which stands still: nanoseconds, one second by default. */
  readonly nowNs?: number | bigint;
}

const NS_PER_SECOND = 1_000_000_000n;

/**
 * Makes a context for a program that runs alone: what compiled code and the interpreter run over. It has no packet.
 * Returns its address.
 * @throws RingwayError `ARENA_FULL`; `BAD_ARGUMENT` when there is a region of that name.
 */
export function createContext(arena: Arena, options: AloneOptions = {}): number {
  const { name = 'context', maps = [], cpu = 0, seed = 1, nowNs = NS_PER_SECOND } = options;
  const ranges = maps.flatMap((map) => map.ranges());
  const address = arena.allocate(name, CTX_BYTES);
  const clock = arena.allocate(`${name} clock`, 8);
  const table = arena.allocate(`${name} ranges`, Math.max(1, ranges.length) << RANGE_SHIFT);
  const now = BigInt(nowNs);
  arena.u32.set([Number(now / NS_PER_SECOND), Number(now % NS_PER_SECOND)], clock >>> 2);
  for (const [index, range] of ranges.entries()) {
    const at = (table + (index << RANGE_SHIFT)) >>> 2;
    arena.u32.set([range.address, range.bytes, range.writable ? 1 : 0, range.map], at);
  }
  initContext(arena, address, { cpu, clock, seed });
  setRanges(arena, address, table, ranges.length);
  return address;
}
