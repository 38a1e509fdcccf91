import type { Arena } from '../memory/arena.ts';
import { SLOT_SHIFT } from '../memory/layout.ts';
import type { PoolKernels } from '../memory/pool.ts';
import type { Ring } from '../ring/ring.ts';
import type { AsyncQueue } from './queue.ts';
import type { WorkRing } from './work-ring.ts';

/**
 * Who notices that packets are copied, and when:
 *
 * - `defer`: the lcore that sent them, by its work ring.
 * - `v3`: whoever receives from the same port.
 * - `v4`: the same, who also takes them from a ring that lcores send to: it alone touches queue and channel.
 * - `vq`: the queue itself, whose channel nobody else uses, at the next send or receive.
 */
export type Integration = 'defer' | 'v3' | 'v4' | 'vq';

/** The way from an lcore's output into a queue. */
export interface Transmit {
  /** Takes the first of `n` (1 to 32) packets at `slots`. Returns how many; the rest stay the caller's. */
  send(slots: number, n: number): number;
  /** The same port is about to be received from. */
  poll(): void;
  /** Packets that were taken and did not arrive yet. */
  inFlight(): number;
  counters(): TransmitCounters;
}

/** What the ring of `v4` did. Numbers count from the start. */
export interface TransmitCounters {
  /** Sends that found the ring full. */
  readonly ringFull: number;
  /** Packets that were dropped for that. */
  readonly dropped: number;
}

const NO_RING: TransmitCounters = { ringFull: 0, dropped: 0 };

/** Whoever receives from the port settles what was sent. */
export function v3Transmit(queue: AsyncQueue): Transmit {
  return {
    send: (slots, n) => queue.send(slots, n),
    poll() {
      queue.settle();
    },
    inFlight: () => queue.inFlight(),
    counters: () => NO_RING,
  };
}

/** The sending lcore settles it, by its work ring. */
export function deferTransmit(queue: AsyncQueue, work: WorkRing): Transmit {
  return {
    ...v3Transmit(queue),
    send(slots, n) {
      const sent = queue.send(slots, n);
      if (sent > 0) work.defer(queue);
      return sent;
    },
    poll() {},
  };
}

/** Sends settle, too. */
export function vqTransmit(queue: AsyncQueue): Transmit {
  return {
    ...v3Transmit(queue),
    send(slots, n) {
      queue.settle();
      return queue.send(slots, n);
    },
  };
}

/** What `v4` works with. */
export interface V4Options {
  readonly queue: AsyncQueue;
  /** Lcores send here; `poll` takes from it. */
  readonly ring: Ring;
  /** What happens to packets that the ring has no room for: their sender keeps them, or they are dropped. */
  readonly ringFull: 'wait' | 'drop';
  /** Address of 32 slots, which are `poll`'s, and the cache that dropped packets go to. */
  readonly slots: number;
  readonly cache: number;
}

const BURST = 32;

export function v4Transmit(arena: Arena, { queue, ring, ringFull, slots: own, cache }: V4Options): Transmit {
  const { poolFree } = arena.kernels<PoolKernels>();
  /** Packets at `own` that the queue has not taken yet. */
  let held = 0;
  let full = 0;
  let dropped = 0;
  return {
    send(slots, n) {
      const sent = ring.push(slots, n);
      if (sent === n) return n;
      full++;
      if (ringFull === 'wait') return sent;
      poolFree(cache, slots + (sent << SLOT_SHIFT), n - sent);
      dropped += n - sent;
      return n;
    },
    poll() {
      queue.settle();
      if (held === 0) held = ring.pop(own, BURST);
      if (held === 0) return;
      const sent = queue.send(own, held);
      if (sent > 0 && sent < held) arena.u8.copyWithin(own, own + (sent << SLOT_SHIFT), own + (held << SLOT_SHIFT));
      held -= sent;
    },
    inFlight: () => ring.fill() + held + queue.inFlight(),
    counters: () => ({ ringFull: full, dropped }),
  };
}
