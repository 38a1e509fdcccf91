/** Steps of each power of two, as a shift: 32, so a value is known to within 3.2 %. */
const STEP_BITS = 5;
const STEPS = 1 << STEP_BITS;
const BUCKETS = (32 - STEP_BITS + 1) * STEPS;

/**
 * Counts of whole numbers from 0 to 2^32 - 1 (nanoseconds, as a rule) in log-linear buckets, as HdrHistogram has them:
 * exact below 32, then each power of two in 32 equal steps. Recording costs a few ns and never allocates.
 */
export class Histogram {
  readonly #counts = new Float64Array(BUCKETS);
  #count = 0;

  /** Values recorded. */
  get count(): number {
    return this.#count;
  }

  /** Adds `value`; anything outside the range counts as its nearest end. */
  record(value: number): void {
    const whole = Math.min(Math.max(Math.round(value), 0), 2 ** 32 - 1) >>> 0;
    const exponent = 31 - Math.clz32(whole | (STEPS - 1));
    const bucket =
      whole < STEPS ? whole : (exponent - STEP_BITS + 1) * STEPS + ((whole >>> (exponent - STEP_BITS)) & (STEPS - 1));
    this.#counts[bucket] = (this.#counts[bucket] as number) + 1;
    this.#count++;
  }

  /** The least value that a share of `fraction` (0 to 1) of all is at or below, as its bucket's highest; 0 when empty. */
  quantile(fraction: number): number {
    let left = Math.ceil(this.#count * fraction);
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      left -= this.#counts[bucket] as number;
      if (left <= 0 && (this.#counts[bucket] as number) > 0) return highestOf(bucket);
    }
    return 0;
  }
}

/** The highest value that falls into `bucket`. */
function highestOf(bucket: number): number {
  if (bucket < STEPS) return bucket;
  const width = 2 ** (Math.floor(bucket / STEPS) - 1);
  return (STEPS + (bucket % STEPS) + 1) * width - 1;
}
