/** An operation that the model has taken from a ring. */
export interface Accepted {
  /** Index of its channel. */
  readonly lane: number;
  readonly position: number;
  /** Number of the operation, over all channels, from 0 in the order of acceptance. */
  readonly ordinal: number;
}

/**
 * The model's work queue: operations in the order in which they were accepted, until a unit takes them; and those that
 * are on their last way, in the order of their times, which is that in which they came there.
 */
export class WorkQueue {
  readonly #size: number;
  readonly #waiting: (Accepted | undefined)[];
  readonly #retiring: (Accepted | undefined)[];
  readonly #times: Float64Array;
  /** Free-running. */
  #head = 0;
  #tail = 0;
  #retireHead = 0;
  #retireTail = 0;

  /** @param size operations in it at once, from acceptance to retirement. */
  constructor(size: number) {
    this.#size = size;
    this.#waiting = new Array<Accepted | undefined>(size).fill(undefined);
    this.#retiring = new Array<Accepted | undefined>(size).fill(undefined);
    this.#times = new Float64Array(size);
  }

  /** True when another may be accepted: those that units work on and those that retire have their places too. */
  get hasRoom(): boolean {
    return this.#head - this.#retireTail < this.#size;
  }

  push(accepted: Accepted): void {
    this.#waiting[this.#head++ % this.#size] = accepted;
  }

  /** The next for a unit; undefined when none waits. */
  get oldest(): Accepted | undefined {
    return this.#tail === this.#head ? undefined : this.#waiting[this.#tail % this.#size];
  }

  shift(): void {
    this.#tail++;
  }

  /** `accepted`, which was shifted, retires at `ns`; later ones not before. */
  retireAt(ns: number, accepted: Accepted): void {
    this.#retiring[this.#retireHead % this.#size] = accepted;
    this.#times[this.#retireHead++ % this.#size] = ns;
  }

  /** When the next retires; Infinity when none is on its way. */
  get retireNs(): number {
    if (this.#retireTail === this.#retireHead) return Number.POSITIVE_INFINITY;
    return this.#times[this.#retireTail % this.#size] as number;
  }

  /** Takes out the next to retire. */
  retire(): Accepted {
    return this.#retiring[this.#retireTail++ % this.#size] as Accepted;
  }
}
