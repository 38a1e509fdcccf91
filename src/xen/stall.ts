/** A frontend that takes no packet for so long is not waited for any more (Linux netback's rx_drain_timeout_msecs). */
export const STALL_MS = 10_000;

/**
 * Notices that a frontend asks for no packets although there are some for it. Who sends them holds buffers meanwhile, perhaps of
 * other domains: after a while they are dropped at once, until it takes one again.
 */
export class StallWatch {
  readonly #now: () => number;
  /** Since when packets have waited. */
  #since: number | undefined;
  #stalled = false;

  /** @param now ms, from anywhere on. */
  constructor(now: () => number) {
    this.#now = now;
  }

  get stalled(): boolean {
    return this.#stalled;
  }

  /** Is told of each burst how many of its packets were dealt with. Returns true when the others are to be dropped. */
  saw(done: number): boolean {
    if (done > 0) {
      this.#stalled = false;
      this.#since = undefined;
      return false;
    }
    const now = this.#now();
    if (this.#since === undefined || now < this.#since) this.#since = now;
    if (now - this.#since >= STALL_MS) this.#stalled = true;
    return this.#stalled;
  }
}
