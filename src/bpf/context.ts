import type { Arena } from '../memory/arena.ts';
import {
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
} from './layout.ts';

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
