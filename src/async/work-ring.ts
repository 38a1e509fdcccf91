/** Work that a send left to do: the queue's packets in flight are looked after later. */
export interface Deferred {
  /** Uses what is copied. Returns how many packets. */
  settle(): number;
  /** Packets that are still under way. */
  inFlight(): number;
}

/** What became of work. Numbers count from the start. */
export interface WorkCounters {
  /** Sends that left work. */
  readonly deferred: number;
  /** Items that are dealt with: nothing of the queue was in flight any more. */
  readonly done: number;
  /** Looks at an item whose copies were not done. */
  readonly inProgress: number;
  /** Sends whose work found no room after all items were looked at; the queue's next send leaves it. */
  readonly full: number;
}

/** Items of an lcore, as OVS has them. */
const ITEMS = 128;

/**
 * The deferred work of one lcore, by the design `defer`: a send leaves an item, and the lcore goes through all of them after
 * it has received from every queue, before it quiesces, and each so many loops. An item stands for all that its queue has in
 * flight, so a queue has one at most.
 */
export class WorkRing {
  readonly #items: (Deferred | undefined)[] = new Array<Deferred | undefined>(ITEMS).fill(undefined);
  readonly #waiting = new Set<Deferred>();
  #head = 0;
  #tail = 0;
  #deferred = 0;
  #done = 0;
  #inProgress = 0;
  #full = 0;

  /** Items that are not dealt with. */
  get waiting(): number {
    return this.#head - this.#tail;
  }

  counters(): WorkCounters {
    return { deferred: this.#deferred, done: this.#done, inProgress: this.#inProgress, full: this.#full };
  }

  /** Leaves the queue's packets in flight for later. */
  defer(queue: Deferred): void {
    this.#deferred++;
    if (this.#waiting.has(queue)) return;
    if (this.waiting === ITEMS) this.run();
    if (this.waiting === ITEMS) {
      // All engines stand still; nobody waits for them.
      this.#full++;
      return;
    }
    this.#waiting.add(queue);
    this.#put(queue);
  }

  #put(queue: Deferred): void {
    this.#items[this.#head % ITEMS] = queue;
    this.#head++;
  }

  /** Looks at every item once; those whose copies are not done stay. Returns packets that were settled. */
  run(): number {
    let settled = 0;
    for (let n = this.waiting; n > 0; n--) {
      const queue = this.#items[this.#tail % ITEMS] as Deferred;
      this.#items[this.#tail % ITEMS] = undefined;
      this.#tail++;
      settled += queue.settle();
      if (queue.inFlight() > 0) {
        this.#inProgress++;
        this.#put(queue);
      } else {
        this.#done++;
        this.#waiting.delete(queue);
      }
    }
    return settled;
  }
}
