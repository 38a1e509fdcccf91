/** An entry of an alias table: keep it when a u32 drawn at random is below `threshold`, else take entry `other`. */
export interface AliasEntry {
  readonly threshold: number;
  readonly other: number;
}

/**
 * The alias table for `weights` (Vose, "A linear algorithm for generating random numbers with a given distribution",
 * 1991): a draw costs one index and one comparison, whatever the distribution.
 * @param weights not negative, not all 0.
 */
export function aliasTable(weights: readonly number[]): AliasEntry[] {
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const scaled = weights.map((weight) => (weight * weights.length) / total);
  const threshold = new Array<number>(weights.length).fill(0xffffffff);
  const other = weights.map((_, index) => index);
  const small = [...scaled.keys()].filter((index) => (scaled[index] ?? 0) < 1);
  const large = [...scaled.keys()].filter((index) => (scaled[index] ?? 0) >= 1);
  while (small.length > 0 && large.length > 0) {
    const under = small.pop() ?? 0;
    const over = large.at(-1) ?? 0;
    const share = scaled[under] ?? 0;
    threshold[under] = Math.min(0xffffffff, Math.floor(share * 2 ** 32));
    other[under] = over;
    scaled[over] = (scaled[over] ?? 0) + share - 1;
    if ((scaled[over] ?? 0) < 1) {
      large.pop();
      small.push(over);
    }
  }
  return weights.map((_, index) => ({ threshold: threshold[index] ?? 0, other: other[index] ?? 0 }));
}

/** Weights of a Zipf distribution over `n` items: the k-th most frequent weighs 1 / k^exponent. 0 is uniform. */
export function zipfWeights(n: number, exponent: number): number[] {
  return Array.from({ length: n }, (_, index) => (index + 1) ** -exponent);
}
