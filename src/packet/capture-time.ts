import { RECORD_NANOSECONDS, RECORD_SECONDS } from './layout.ts';

const SECONDS_WORD = RECORD_SECONDS >>> 2;
const NANOSECONDS_WORD = RECORD_NANOSECONDS >>> 2;

/** Set in an if_tsresol byte whose other bits are a power of two (draft-ietf-opsawg-pcapng, 4.2). */
const POWER_OF_TWO = 0x80;
/** 5^9: n ticks of 2^-k s are n · 10^9 / 2^k ns, that is n · 5^9 · 2^(9-k), exact in a double up to k = 32. */
const FIVE_TO_THE_NINTH = 1953125;
const FINEST_BINARY = 32;
const FINEST_DECIMAL = 9;
/** A remainder below this times 2^16 plus 16 bits is exact in a double. */
const DECIMAL_STEP = 10;

/**
 * Turns the 64-bit ticks of a pcapng interface into seconds and nanoseconds. The ticks come as two u32 halves and all
 * arithmetic is on integers below 2^53, since BigInt costs as much as the rest of a record.
 *
 * Resolutions finer than a nanosecond are cut to nanoseconds; those finer than 2^-32 s are cut to 2^-32 s before.
 */
export class TickClock {
  readonly #ticksPerSecond: number;
  /** Nanoseconds of a tick, as a product of an integer and a power of two so that each step is exact. */
  readonly #multiplier: number;
  readonly #scale: number;
  readonly #offset: number;
  /** Divisors that bring ticks finer than we keep to the finest that we keep. */
  readonly #coarsen: readonly number[];

  /**
   * @param resolution the value of if_tsresol: ticks are 10^-resolution s, or 2^-(resolution - 128) s from 128 on.
   * @param offset the value of if_tsoffset: seconds to add, modulo 2^32.
   */
  constructor(resolution: number, offset: number) {
    const exponent = resolution & ~POWER_OF_TWO;
    const binary = (resolution & POWER_OF_TWO) !== 0;
    const kept = Math.min(exponent, binary ? FINEST_BINARY : FINEST_DECIMAL);
    this.#ticksPerSecond = (binary ? 2 : 10) ** kept;
    this.#multiplier = binary ? FIVE_TO_THE_NINTH : 10 ** (FINEST_DECIMAL - kept);
    this.#scale = binary ? 2 ** (FINEST_DECIMAL - kept) : 1;
    this.#offset = offset >>> 0;
    const steps: number[] = [];
    const most = binary ? FINEST_BINARY : DECIMAL_STEP;
    for (let left = exponent - kept; left > 0; left -= most) steps.push((binary ? 2 : 10) ** Math.min(left, most));
    this.#coarsen = steps;
  }

  /** Writes the time of `high` · 2^32 + `low` ticks into the capture record that starts at word `at`. */
  store(high: number, low: number, records: Uint32Array, at: number): void {
    let upper = high;
    let lower = low;
    for (const divisor of this.#coarsen) {
      const top = Math.floor(upper / divisor);
      const middle = (upper - top * divisor) * 65536 + (lower >>> 16);
      const first = Math.floor(middle / divisor);
      lower = first * 65536 + Math.floor(((middle - first * divisor) * 65536 + (lower & 0xffff)) / divisor);
      upper = top;
    }
    // Long division by 16 bits at a time: a remainder is below 2^32, so with 16 bits behind it below 2^48.
    const divisor = this.#ticksPerSecond;
    const middle = (upper - Math.floor(upper / divisor) * divisor) * 65536 + (lower >>> 16);
    const first = Math.floor(middle / divisor);
    const bottom = (middle - first * divisor) * 65536 + (lower & 0xffff);
    const second = Math.floor(bottom / divisor);
    records[at + SECONDS_WORD] = first * 65536 + second + this.#offset;
    records[at + NANOSECONDS_WORD] = Math.floor((bottom - second * divisor) * this.#multiplier * this.#scale);
  }
}
