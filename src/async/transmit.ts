import type { Arena } from '../memory/arena.ts';
import { BURST_MAX, SLOT_SHIFT } from '../memory/layout.ts';
import { attachMpscRing, type Ring } from '../ring/ring.ts';
import { addCounter } from '../telemetry/counters.ts';
import { ASYNC_DROPPED, ASYNC_HELD, ASYNC_RING, ASYNC_RING_FULL } from './layout.ts';
import type { CopyQueue } from './queue.ts';
import type { Deferred, WorkRing } from './work-ring.ts';

/**
 * Who notices that packets are copied, and when:
 *
 * - `defer`: the lcore that sent them, by its work ring.
 * - `v3`: whoever receives from the same port.
 * - `v4`: the same, who also takes them from a ring that lcores send to: it alone touches queue and channel.
 * - `vq`: the queue itself, at its next send, or when the same port is received from.
 */
export type Integration = 'defer' | 'v3' | 'v4' | 'vq';

/** What becomes of packets that the ring of `v4` has no room for: their sender keeps them, or they are dropped. */
export type RingFull = 'wait' | 'drop';

/** What a way into a queue is made of. */
export interface TransmitOptions {
  /** Address of what the queue keeps (`createAsyncQueue`, which sends). */
  readonly address: number;
  readonly queue: CopyQueue;
  readonly integration: Integration;
  readonly ringFull: RingFull;
  /** Deferred work of the lcore that sends. */
  readonly work: WorkRing;
  /** Frees and counts packets that `ringFull` drops. */
  readonly drop: (slots: number, n: number) => void;
}

/** The way from an lcore's output into a queue. */
export class Transmit implements Deferred {
  readonly #arena: Arena;
  readonly #address: number;
  readonly #queue: CopyQueue;
  readonly #work: WorkRing;
  readonly #ringFull: RingFull;
  readonly #drop: TransmitOptions['drop'];
  readonly #ring: Ring;
  /** Address of slots with packets of the ring that the queue has not taken yet, and how many. */
  readonly #held: number;
  #heldCount = 0;
  /** It is or was v4, and what the ring held then may not be gone. */
  #usesRing = false;
  #integration: Integration;
  isDeferred = false;

  constructor(arena: Arena, options: TransmitOptions) {
    const { address, queue, integration, ringFull, work, drop } = options;
    const word = (offset: number): number => arena.u32[(address + offset) >>> 2] ?? 0;
    this.#arena = arena;
    this.#address = address;
    this.#queue = queue;
    this.#work = work;
    this.#ringFull = ringFull;
    this.#drop = drop;
    this.#ring = attachMpscRing(arena, word(ASYNC_RING));
    this.#held = word(ASYNC_HELD);
    this.#integration = integration;
    this.#usesRing = integration === 'v4' || this.#ring.fill() > 0;
  }

  /** Goes on by another integration. What the ring holds goes first. */
  set integration(integration: Integration) {
    this.#integration = integration;
    if (integration === 'v4') this.#usesRing = true;
    if (integration === 'defer' && this.inFlight() > 0) this.#work.defer(this);
  }

  /** Takes the first of `n` (1 to 32) packets at `slots`. Returns how many; the rest stay the caller's. */
  send(slots: number, n: number): number {
    const queue = this.#queue;
    if (this.#integration === 'v4') return this.#push(slots, n);
    if (this.#integration === 'vq' && queue.inFlight() > 0) queue.settle();
    // Of the time when it was v4.
    const isEmpty = !this.#usesRing || this.#pass();
    if (isEmpty) this.#usesRing = false;
    const sent = isEmpty ? queue.send(slots, n) : 0;
    if (this.#integration === 'defer' && this.inFlight() > 0) this.#work.defer(this);
    return sent;
  }

  /** The same port is about to be received from. */
  poll(): void {
    if (this.#integration !== 'defer') this.settle();
  }

  /** Uses what is copied, and sends what waits in the ring. Returns how many packets were used. */
  settle(): number {
    const queue = this.#queue;
    const settled = queue.inFlight() > 0 ? queue.settle() : 0;
    if (this.#waiting() > 0) this.#pass();
    return settled;
  }

  /** Packets that were taken and did not arrive yet. */
  inFlight(): number {
    return this.#waiting() + this.#queue.inFlight();
  }

  /**
   * Gives up the packets in the ring that the queue does not take.
   * @param free gives their buffers back.
   */
  abandon(free: (slots: number, n: number) => void): number {
    let n = 0;
    while (!(this.#waiting() === 0 || this.#pass())) {
      free(this.#held, this.#heldCount);
      n += this.#heldCount;
      this.#heldCount = 0;
    }
    return n;
  }

  /** Packets that the queue has not taken from the ring. */
  #waiting(): number {
    return !this.#usesRing ? 0 : this.#heldCount + this.#ring.fill();
  }

  #push(slots: number, n: number): number {
    const sent = this.#ring.push(slots, n);
    if (sent === n) return n;
    addCounter(this.#arena, this.#address + ASYNC_RING_FULL, 1);
    if (this.#ringFull === 'wait') return sent;
    addCounter(this.#arena, this.#address + ASYNC_DROPPED, n - sent);
    this.#drop(slots + (sent << SLOT_SHIFT), n - sent);
    return n;
  }

  /** Has the queue take from the ring, as much as it can. True when nothing is left there. */
  #pass(): boolean {
    const queue = this.#queue;
    do {
      if (this.#heldCount === 0) this.#heldCount = this.#ring.pop(this.#held, BURST_MAX);
      if (this.#heldCount === 0) return true;
      const sent = queue.send(this.#held, this.#heldCount);
      const left = this.#heldCount - sent;
      if (sent > 0 && left > 0) {
        const from = this.#held + (sent << SLOT_SHIFT);
        this.#arena.u8.copyWithin(this.#held, from, from + (left << SLOT_SHIFT));
      }
      this.#heldCount = left;
      if (left > 0) return false;
    } while (this.#ring.fill() > 0);
    return true;
  }
}
