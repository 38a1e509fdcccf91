import { BURST_MAX, SLOT_BUFFER, SLOT_SHIFT } from '../memory/layout.ts';
import type { PoolKernels } from '../memory/pool.ts';
import type { PacketKernels } from '../packet/kernels.ts';
import { OFFLOAD_ANY, SEGMENT_COUNT, SEGMENT_SLOTS } from '../packet/layout.ts';
import { addCounter } from '../telemetry/counters.ts';
import { COUNTER_COPIES, COUNTER_DROPS, DROP_BAD_OFFLOAD, DROP_POOL_EMPTY } from '../telemetry/layout.ts';
import type { Port, PortContext } from './port.ts';

/** Segments that one call sends at most: one packet may make thousands, and other ports wait meanwhile. */
const SEGMENTS_PER_CALL = 4 * BURST_MAX;

/** What finishing takes. */
export interface OffloadPortOptions {
  /** Address of the port's counters on this lcore. */
  readonly counters: number;
  /** Address of SEGMENT_BYTES that nobody else uses during a call. */
  readonly work: number;
  /** What the port's other side finishes itself, at the moment: OFFLOAD_… */
  offloads(): number;
}

/**
 * Sends a packet as its segments. It stays the caller's until its last segment is taken, and its place in the order too;
 * segments that the port does not take are given up, and made again when the packet is offered again: nothing is held.
 */
class Segmenter {
  readonly #context: PortContext;
  readonly #port: Port;
  readonly #options: OffloadPortOptions;
  readonly #kernels: PacketKernels & PoolKernels;
  /** Buffer of the packet that was sent in part, and its next segment. */
  #buffer = 0;
  #next = 0;
  /** Segments made at once: few while the port is full, since what it does not take was made in vain. */
  #want = BURST_MAX;

  constructor(context: PortContext, port: Port, options: OffloadPortOptions) {
    this.#context = context;
    this.#port = port;
    this.#options = options;
    this.#kernels = context.arena.kernels<PacketKernels & PoolKernels>();
  }

  /** True while a packet was sent in part: it is then the first of the next call. */
  get isBusy(): boolean {
    return this.#next > 0;
  }

  /** Sends what is left of the packet at `slot`. Returns false when it must be offered again. */
  send(slot: number): boolean {
    const { arena, cache } = this.#context;
    const { work } = this.#options;
    const { packetSegment, poolFree } = this.#kernels;
    const buffer = arena.u32[(slot + SLOT_BUFFER) >>> 2] ?? 0;
    // Another one, when the packet was dropped because the port is being deleted.
    if (buffer !== this.#buffer) this.#next = 0;
    this.#buffer = buffer;
    for (let room = SEGMENTS_PER_CALL; room > 0; ) {
      const n = packetSegment(cache, slot, this.#next, this.#want, work);
      if (n <= 0) {
        // To wait for a buffer could be to wait for ever: those behind this packet may have them all.
        this.#give(slot, n === 0 ? DROP_POOL_EMPTY : DROP_BAD_OFFLOAD);
        return true;
      }
      const count = arena.u32[(work + SEGMENT_COUNT) >>> 2] ?? 0;
      const slots = work + SEGMENT_SLOTS;
      const sent = this.#port.txBurst(slots, n);
      poolFree(cache, slots + (sent << SLOT_SHIFT), n - sent);
      this.#next += sent;
      room -= n;
      const isDone = this.#next >= count;
      addCounter(arena, this.#options.counters + COUNTER_COPIES, isDone ? sent - 1 : sent);
      if (isDone) {
        this.#give(slot);
        return true;
      }
      this.#want = sent < n ? 1 : Math.min(BURST_MAX, this.#want * 2);
      if (sent < n) return false;
    }
    return false;
  }

  /** Gives up the packet at `slot`, dropped for `reason` unless all of it was sent. */
  #give(slot: number, reason?: number): void {
    const { arena, cache } = this.#context;
    this.#kernels.poolFree(cache, slot, 1);
    this.#next = 0;
    if (reason !== undefined) addCounter(arena, this.#options.counters + COUNTER_DROPS + reason * 8, 1);
  }
}

/**
 * Finishes what `port` does not: checksums in place, in copies of packets that others hold too, and segments. What
 * arrives from `port` passes as it is.
 */
export function offloadPort(context: PortContext, port: Port, options: OffloadPortOptions): Port {
  const { packetFinish } = context.arena.kernels<PacketKernels>();
  const segmenter = new Segmenter(context, port, options);
  return {
    info: () => port.info(),
    set: (name, value) => port.set?.(name, value),
    close: () => port.close(),
    rxBurst: (slots, max) => port.rxBurst(slots, max),
    txBurst(slots, count) {
      const mask = options.offloads();
      if (mask === OFFLOAD_ANY && !segmenter.isBusy) return port.txBurst(slots, count);
      let done = 0;
      while (done < count) {
        const at = slots + (done << SLOT_SHIFT);
        const ready = segmenter.isBusy ? 0 : packetFinish(at, count - done, mask);
        if (ready === 0) {
          if (!segmenter.send(at)) return done;
          done++;
          continue;
        }
        const sent = port.txBurst(at, ready);
        done += sent;
        if (sent < ready) return done;
      }
      return done;
    },
  };
}
