import type * as z from 'zod';
import type { Path, Problems } from './problems.ts';
import { locate, type Tree } from './source.ts';

type Issue = z.core.$ZodIssue;

/** The issues of the alternative that was probably meant: the one that was refused for its parts, not for its kind. */
function meant(alternatives: readonly (readonly Issue[])[]): readonly Issue[] | undefined {
  return alternatives.find(
    (issues) => issues.length > 0 && issues.every(({ path, code }) => path.length > 0 || code === 'unrecognized_keys'),
  );
}

/** Adds what zod found wrong with `tree` to `problems`. `prefix`: the path of what was checked. */
export function addIssues(issues: readonly Issue[], tree: Tree, prefix: Path, problems: Problems): void {
  for (const issue of issues) {
    const inside = issue.path.map((part) => (typeof part === 'number' ? part : String(part)));
    const path = [...prefix, ...inside];
    const { at } = locate(tree.origin, path);
    if (issue.code === 'unrecognized_keys') {
      const lines = issue.message.split('\n');
      for (const [index, key] of issue.keys.entries()) {
        problems.add(locate(tree.origin, [...path, key]).at, [...path, key], lines[index] ?? issue.message);
      }
    } else if (issue.code === 'invalid_union' && meant(issue.errors) !== undefined) {
      addIssues(meant(issue.errors) ?? [], tree, path, problems);
    } else if (issue.code === 'invalid_key') {
      problems.add(at, path, issue.issues[0]?.message ?? issue.message);
    } else {
      problems.add(at, path, issue.message);
    }
  }
}
