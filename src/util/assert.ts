/**
 * Stops the program when one of our own invariants does not hold. Never for foreign input, which is counted or refused.
 * @throws Error when `condition` is false.
 */
export function assert(condition: unknown, what: string): asserts condition {
  if (!condition) throw new Error(`invariant broken: ${what}`);
}
