import { alignUp } from '../util/bits.ts';
import { DIRECTORY_BYTES, GUARD_BYTES } from './layout.ts';

interface Term {
  readonly name: string;
  readonly bytes: number;
  readonly why: string;
}

/**
 * The size of an arena as a sum of named terms, so that one that does not fit can say which term is how large.
 *
 * @example
 * const budget = new Budget().add('pool', poolBytes(8192), '8192 buffers').add('ring', spscRingBytes(1024), 'rx to tx');
 * const arena = createArena({ bytes: budget.bytes, budget });
 */
export class Budget {
  readonly terms: Term[] = [];

  /** Adds a term: `bytes` for one or more regions, aligned to at most `align`, and in words why they are needed. */
  add(name: string, bytes: number, why: string, align = 128): this {
    this.terms.push({ name, bytes: bytes + GUARD_BYTES + align, why });
    return this;
  }

  /** The sum, alignment and guards included, rounded up to whole pages. */
  get bytes(): number {
    return alignUp(
      this.terms.reduce((sum, term) => sum + term.bytes, 0),
      DIRECTORY_BYTES,
    );
  }

  /** One line a term, the largest first. */
  toString(): string {
    return [...this.terms]
      .sort((a, b) => b.bytes - a.bytes)
      .map(({ name, bytes, why }) => `  ${name}: ${bytes} bytes (${why})`)
      .join('\n');
  }
}
