import { BURST_MAX } from '../memory/layout.ts';
import type { PoolKernels } from '../memory/pool.ts';
import type { PacketKernels } from '../packet/kernels.ts';
import { GRO_HELD, GRO_MERGED, GRO_READY, GRO_TAKEN } from '../packet/layout.ts';
import { addCounter } from '../telemetry/counters.ts';
import { COUNTER_DROPS, COUNTER_MERGED, DROP_STOPPED } from '../telemetry/layout.ts';
import type { Port, PortContext } from './port.ts';

/** Bursts that one call takes at most while all of it waits: other ports wait meanwhile. */
const BURSTS_PER_CALL = 4;
/** More packets than can wait. */
const ALL = 0xffff;

/** What merging takes. */
export interface GroPortOptions {
  /** Address of the port's counters on this lcore. */
  readonly counters: number;
  /** Address of GRO_BYTES (`packet/layout.ts`) of this queue's own, zeroes. */
  readonly area: number;
  /** Room for a burst of slots, for `close`. */
  readonly scratch: number;
}

/**
 * Merges consecutive TCP segments that arrive from `port`. They wait for more while bursts are full, and for GRO_POLLS_MAX
 * of those at most; once the port gives less, it has no more, and nothing waits. So a call gives nothing only when
 * nothing is held. What is sent passes.
 */
export function groPort(context: PortContext, port: Port, { counters, area, scratch }: GroPortOptions): Port {
  const { arena, cache } = context;
  const { packetGro, packetGroTake, poolFree } = arena.kernels<PacketKernels & PoolKernels>();
  const word = (offset: number): number => arena.u32[(area + offset) >>> 2] ?? 0;
  const ready = (): number => word(GRO_READY) - word(GRO_TAKEN);

  return {
    info() {
      const info = port.info();
      const held = word(GRO_HELD) + ready();
      return { ...info, pending: (info.pending ?? 0) + held, done: info.done && held === 0 };
    },
    set: (name, value) => port.set?.(name, value),
    close() {
      for (let n = -1; n !== 0; ) {
        if (ready() === 0) packetGro(area, scratch, 0, ALL);
        n = packetGroTake(area, scratch, BURST_MAX);
        poolFree(cache, scratch, n);
        addCounter(arena, counters + COUNTER_DROPS + DROP_STOPPED * 8, n);
      }
      port.close();
    },
    rxBurst(slots, max) {
      for (let bursts = 1; ready() === 0; bursts++) {
        const n = port.rxBurst(slots, max);
        if (n === 0 && word(GRO_HELD) === 0) return 0;
        const some = bursts < BURSTS_PER_CALL ? 0 : 1;
        packetGro(area, slots, n, n < max ? ALL : some);
        const merged = word(GRO_MERGED);
        if (merged > 0) addCounter(arena, counters + COUNTER_MERGED, merged);
      }
      return packetGroTake(area, slots, max);
    },
    txBurst: (slots, count) => port.txBurst(slots, count),
  };
}
