/** Letters changed, added, left out or swapped with their neighbour between `a` and `b` (optimal string alignment). */
export function editDistance(a: string, b: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let row = 1; row <= a.length; row++) {
    const current = [row];
    for (let column = 1; column <= b.length; column++) {
      const same = a[row - 1] === b[column - 1];
      let cost = Math.min(
        (last[column] ?? 0) + 1,
        (current[column - 1] ?? 0) + 1,
        (last[column - 1] ?? 0) + (same ? 0 : 1),
      );
      const swapped = row > 1 && column > 1 && a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1];
      if (swapped) cost = Math.min(cost, (beforeLast[column - 2] ?? 0) + 1);
      current.push(cost);
    }
    beforeLast = last;
    last = current;
  }
  return last[b.length] ?? 0;
}

/** Longer words are nobody's slip of the finger, and comparing them costs their product. */
const WORD_MAX = 64;

/** The name in `known` that `word` was probably meant to be: at most a third of its letters off, and at most 3. */
export function nearest(word: string, known: Iterable<string>): string | undefined {
  if (word.length > WORD_MAX) return undefined;
  const lower = word.toLowerCase();
  let best: string | undefined;
  let bestDistance = Math.min(3, Math.max(1, Math.floor((word.length + 1) / 3))) + 1;
  for (const name of known) {
    if (Math.abs(name.length - word.length) >= bestDistance) continue;
    const distance = editDistance(lower, name.toLowerCase());
    // A wholly different word of two letters is no hint.
    if (distance < bestDistance && distance < name.length) {
      best = name;
      bestDistance = distance;
    }
  }
  return best;
}

/** `did you mean "x"?` when something in `known` is near `word`, else `known: a, b, c` (at most 24 of them). */
export function suggest(word: string, known: readonly string[]): string {
  const best = nearest(word, known);
  if (best !== undefined) return `did you mean ${JSON.stringify(best)}?`;
  if (known.length === 0) return 'there are none';
  const more = known.length > 24 ? ` and ${known.length - 24} more` : '';
  return `known: ${known.slice(0, 24).join(', ')}${more}`;
}
