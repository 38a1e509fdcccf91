import type { Arena } from '../memory/arena.ts';
import { DROPS } from './drops.ts';
import {
  COUNTER_COPIES,
  COUNTER_DROPS,
  COUNTER_FLOODED,
  COUNTER_MERGED,
  COUNTER_RX_BYTES,
  COUNTER_RX_PACKETS,
  COUNTER_SHIFT,
  COUNTER_TX_BYTES,
  COUNTER_TX_PACKETS,
  PORTS_MAX,
} from './layout.ts';

/** Bytes of all ports' counters on one lcore. */
export const LCORE_COUNTERS_BYTES = PORTS_MAX << COUNTER_SHIFT;

/** Address of the counters of port `port` in the block of one lcore. */
export function portCounters(block: number, port: number): number {
  return block + (port << COUNTER_SHIFT);
}

/**
 * The u64 counter at `address`, exact up to 2^53. Its writer may be half way through a carry: the upper half is read
 * again until both readings agree.
 */
export function readCounter(arena: Arena, address: number): number {
  const at = address >>> 2;
  for (;;) {
    const high = Atomics.load(arena.u32, at + 1);
    const low = Atomics.load(arena.u32, at);
    if (Atomics.load(arena.u32, at + 1) === high) return high * 2 ** 32 + low;
  }
}

/** Adds `n` (-2^32 to 2^32) to the u64 counter at `address`, for code that is its only writer. */
export function addCounter(arena: Arena, address: number, n: number): void {
  const at = address >>> 2;
  const sum = (arena.u32[at] ?? 0) + n;
  arena.u32[at] = sum;
  if (sum >= 2 ** 32) arena.u32[at + 1] = (arena.u32[at + 1] ?? 0) + 1;
  else if (sum < 0) arena.u32[at + 1] = (arena.u32[at + 1] ?? 0) - 1;
}

/** One port's counters, summed over lcores. */
export interface PortCounters {
  rxPackets: number;
  rxBytes: number;
  txPackets: number;
  txBytes: number;
  /** Packets that came to be by flooding, mirroring, segmentation or injected duplication. */
  copies: number;
  /** Packets that became part of others: GRO. Missing when there are none. */
  merged?: number;
  flooded: number;
  /** Only reasons that occurred. */
  drops: Record<string, number>;
}

/** Sums the counters of port `port` over the `blocks` of all lcores. */
export function readPortCounters(arena: Arena, blocks: readonly number[], port: number): PortCounters {
  const sum = (offset: number): number =>
    blocks.reduce((total, block) => total + readCounter(arena, portCounters(block, port) + offset), 0);
  const drops: Record<string, number> = {};
  for (const [reason, { name }] of DROPS) {
    const dropped = sum(COUNTER_DROPS + reason * 8);
    if (dropped > 0) drops[name] = dropped;
  }
  const merged = sum(COUNTER_MERGED);
  return {
    rxPackets: sum(COUNTER_RX_PACKETS),
    rxBytes: sum(COUNTER_RX_BYTES),
    txPackets: sum(COUNTER_TX_PACKETS),
    txBytes: sum(COUNTER_TX_BYTES),
    copies: sum(COUNTER_COPIES),
    ...(merged === 0 ? {} : { merged }),
    flooded: sum(COUNTER_FLOODED),
    drops,
  };
}

/** What went through a dataplane in all: received + copied = sent + dropped + merged, once nothing is in flight. */
export interface Totals {
  readonly received: number;
  readonly copied: number;
  readonly sent: number;
  readonly dropped: number;
  /** Missing when there are none. */
  readonly merged?: number;
}

/** Adds up the counters of several ports. */
export function addUp(ports: readonly PortCounters[]): Totals {
  const sum = (read: (port: PortCounters) => number): number => ports.reduce((total, port) => total + read(port), 0);
  const merged = sum((port) => port.merged ?? 0);
  return {
    received: sum((port) => port.rxPackets),
    copied: sum((port) => port.copies),
    sent: sum((port) => port.txPackets),
    dropped: sum((port) => Object.values(port.drops).reduce((total, count) => total + count, 0)),
    ...(merged === 0 ? {} : { merged }),
  };
}

/** What `now` counts beyond `before`, an earlier reading of the same counters. */
export function countersSince(now: PortCounters, before: PortCounters): PortCounters {
  const drops: Record<string, number> = {};
  for (const [reason, count] of Object.entries(now.drops)) {
    const more = count - (before.drops[reason] ?? 0);
    if (more > 0) drops[reason] = more;
  }
  const merged = (now.merged ?? 0) - (before.merged ?? 0);
  return {
    rxPackets: now.rxPackets - before.rxPackets,
    rxBytes: now.rxBytes - before.rxBytes,
    txPackets: now.txPackets - before.txPackets,
    txBytes: now.txBytes - before.txBytes,
    copies: now.copies - before.copies,
    ...(merged === 0 ? {} : { merged }),
    flooded: now.flooded - before.flooded,
    drops,
  };
}
