import type { Arena } from '../memory/arena.ts';
import { addCounter, readCounter } from '../telemetry/counters.ts';
import type { WorkSnapshot } from '../telemetry/snapshot.ts';
import { WORK_DEFERRED, WORK_DONE, WORK_FULL, WORK_IN_PROGRESS } from './layout.ts';

/** Work that a send left to do: the queue's packets in flight are looked after later. */
export interface Deferred {
  /** Uses what is copied. Returns how many packets. */
  settle(): number;
  /** Packets that are still under way. */
  inFlight(): number;
  /** It has an item. The work ring's. */
  isDeferred: boolean;
}

/** Items of an lcore, as OVS has them. */
const ITEMS = 128;

/** What became of the work whose counters (WORK_BYTES) are at `address`. Any thread. */
export function readWorkCounters(arena: Arena, address: number): WorkSnapshot {
  const counter = (offset: number): number => readCounter(arena, address + offset);
  return {
    deferred: counter(WORK_DEFERRED),
    done: counter(WORK_DONE),
    inProgress: counter(WORK_IN_PROGRESS),
    full: counter(WORK_FULL),
  };
}

/**
 * The deferred work of one lcore, by the design `defer`: a send leaves an item, and the lcore goes through all of them after
 * it has received from every queue, before it quiesces, and each so many loops. An item stands for all that its queue has in
 * flight, so a queue has one at most.
 */
export class WorkRing {
  readonly #arena: Arena;
  readonly #counters: number;
  readonly #attempts: number;
  readonly #items: (Deferred | undefined)[] = new Array<Deferred | undefined>(ITEMS).fill(undefined);
  #head = 0;
  #tail = 0;

  /**
   * @param counters address of WORK_BYTES.
   * @param attempts looks at an item in one run, while its copies are not done: 1 or more.
   */
  constructor(arena: Arena, counters: number, attempts = 1) {
    this.#arena = arena;
    this.#counters = counters;
    this.#attempts = attempts;
  }

  /** Items that are not dealt with. */
  get waiting(): number {
    return this.#head - this.#tail;
  }

  #count(counter: number): void {
    addCounter(this.#arena, this.#counters + counter, 1);
  }

  /** Leaves the queue's packets in flight for later. */
  defer(queue: Deferred): void {
    this.#count(WORK_DEFERRED);
    if (queue.isDeferred) return;
    if (this.waiting === ITEMS) this.run();
    if (this.waiting === ITEMS) {
      // All engines stand still; nobody waits for them.
      this.#count(WORK_FULL);
      return;
    }
    queue.isDeferred = true;
    this.#put(queue);
  }

  #put(queue: Deferred): void {
    this.#items[this.#head % ITEMS] = queue;
    this.#head++;
  }

  /** Looks at every item; those whose copies are not done stay. Returns packets that were settled. */
  run(): number {
    let settled = 0;
    for (let n = this.waiting; n > 0; n--) {
      const queue = this.#items[this.#tail % ITEMS] as Deferred;
      this.#items[this.#tail % ITEMS] = undefined;
      this.#tail++;
      let left = this.#attempts;
      do {
        settled += queue.settle();
        left--;
        if (queue.inFlight() === 0) break;
        this.#count(WORK_IN_PROGRESS);
      } while (left > 0);
      if (queue.inFlight() > 0) {
        this.#put(queue);
      } else {
        this.#count(WORK_DONE);
        queue.isDeferred = false;
      }
    }
    return settled;
  }
}
