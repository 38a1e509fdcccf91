import type { PoolCore } from './core.ts';
import type { Sink } from './sinks.ts';

/** A message that waits for room. */
interface Waiter {
  readonly message: unknown;
  readonly sink: Sink;
  /** It was taken in, or refused for `reason`. */
  settle(refusal?: { readonly reason: unknown }): void;
}

/** Taken in at once: the promise of every `push` that found room. */
const TAKEN: Promise<void> = Promise.resolve();
/** Times that a caller found room by itself before the event loop gets its turn. */
const SETTLES_PER_TURN = 64;

/** The door of a pool: lets messages in while there is room, in the order in which they came. */
export class PoolIntake {
  readonly #core: PoolCore;
  readonly #waiters = new Set<Waiter>();
  readonly #watchers = new Set<() => void>();
  #settles = 0;

  constructor(core: PoolCore) {
    this.#core = core;
    core.onSettled = () => this.#settled();
  }

  /** Messages that may come in now; none while others wait. */
  get room(): number {
    return this.#waiters.size > 0 ? 0 : this.#core.room;
  }

  /** Nothing is in, and nothing waits. */
  get isIdle(): boolean {
    return this.#core.outstanding === 0 && this.#waiters.size === 0;
  }

  /** Takes `message` in; there is room. @throws as `PoolCore.takeIn`. */
  takeIn(message: unknown, sink: Sink): void {
    this.#core.takeIn(message, sink);
  }

  /** Resolves when `message` is taken in; rejects when it never will be. */
  push(message: unknown, sink: Sink, signal: AbortSignal | undefined): Promise<void> {
    if (signal?.aborted) return Promise.reject(signal.reason);
    try {
      if (this.room > 0 || this.#makesRoom()) {
        this.#core.takeIn(message, sink);
        return TAKEN;
      }
      if (this.#core.closed !== undefined) throw this.#core.closed;
    } catch (error) {
      return Promise.reject(error);
    }
    return this.#wait(message, sink, signal);
  }

  /**
   * Tells of a burst of messages that have ended: with more at once, workers would run out of messages meanwhile. Returns
   * how many.
   */
  settle(): number {
    const n = this.#core.settle(1);
    if (n > 0) this.#settled();
    return n;
  }

  /** Calls `changed` whenever messages have ended. */
  watch(changed: () => void): void {
    this.#watchers.add(changed);
  }

  unwatch(changed: () => void): void {
    this.#watchers.delete(changed);
  }

  /** Refuses what waits. */
  refuseWaiting(reason: unknown): void {
    for (const waiter of this.#waiters) waiter.settle({ reason });
    this.#waiters.clear();
    this.#settled();
  }

  /** Looks for messages that have ended: cheaper than to wait for a ring, but others want the event loop too. */
  #makesRoom(): boolean {
    if (this.#waiters.size > 0 || this.#settles >= SETTLES_PER_TURN) return false;
    if (this.#settles++ === 0) setImmediate(() => (this.#settles = 0));
    this.settle();
    return this.room > 0;
  }

  #wait(message: unknown, sink: Sink, signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const abort = (): void => {
        this.#waiters.delete(waiter);
        reject(signal?.reason);
      };
      const waiter: Waiter = {
        message,
        sink,
        settle(refusal) {
          signal?.removeEventListener('abort', abort);
          if (refusal === undefined) resolve();
          else reject(refusal.reason);
        },
      };
      signal?.addEventListener('abort', abort, { once: true });
      this.#waiters.add(waiter);
    });
  }

  #settled(): void {
    for (const waiter of this.#waiters) {
      if (this.#core.room === 0) break;
      this.#waiters.delete(waiter);
      try {
        this.#core.takeIn(waiter.message, waiter.sink);
        waiter.settle();
      } catch (reason) {
        waiter.settle({ reason });
      }
    }
    for (const changed of this.#watchers) changed();
  }
}
