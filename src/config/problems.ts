import { RingwayError } from '../util/errors.ts';

/** Keys and indexes from the root of a configuration to a value in it. */
export type Path = readonly (string | number)[];

/** `ports.in.vlan.trunk[2]`. */
export function formatPath(path: Path): string {
  return path
    .map((part, index) => (typeof part === 'number' ? `[${part}]` : `${index === 0 ? '' : '.'}${printable(part)}`))
    .join('');
}

/** A key as it is when it is a plain word, else quoted, so that no key can forge a line of its own. */
function printable(key: string): string {
  return /^[\w-]{1,64}$/.test(key) ? key : show(key);
}

/** A value as an error shows it: text in quotes and cut, collections by their kind. */
export function show(value: unknown): string {
  if (value === null || value === undefined) return 'nothing';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object') return 'a mapping';
  if (typeof value !== 'string') return String(value);
  return JSON.stringify(value.length > 80 ? `${value.slice(0, 77)}…` : value);
}

interface Problem {
  readonly at: string;
  readonly path: Path;
  readonly message: string;
}

/** More are not printed: who has so many reads the first and starts over. */
const SHOWN_MAX = 100;

/** Collects what is wrong with a configuration, so that all of it is reported at once. */
export class Problems {
  readonly #found: Problem[] = [];

  /** Adds one: where (`file:line:col`), the path in the configuration, and what is wrong, allowed, and to be done. */
  add(at: string, path: Path, message: string): void {
    this.#found.push({ at, path, message });
  }

  get count(): number {
    return this.#found.length;
  }

  /** `BAD_CONFIG` with one line a problem, in the order of the file: `file:line:col path: message`. */
  error(): RingwayError {
    const lines = [...this.#found].sort(byPlace).map(({ at, path, message }) => {
      const shown = formatPath(path);
      // `--set ports.in.pth` is the path already.
      const where = at.endsWith(` ${shown}`) ? [at] : [at, shown];
      return `${where.filter((part) => part !== '').join(' ')}: ${message}`;
    });
    const unique = [...new Set(lines)];
    const more = unique.length - SHOWN_MAX;
    const shown = more > 0 ? [...unique.slice(0, SHOWN_MAX), `and ${more} more errors; fix these first`] : unique;
    return new RingwayError('BAD_CONFIG', shown.join('\n'));
  }
}

/** By line and column; what has none comes last, in the order it was found. */
function byPlace(a: Problem, b: Problem): number {
  const [left, right] = [a, b].map(({ at }) => /:(\d+):(\d+)$/.exec(at)?.slice(1).map(Number) ?? [Infinity, 0]);
  const [lineA = 0, columnA = 0] = left ?? [];
  const [lineB = 0, columnB = 0] = right ?? [];
  return lineA === lineB ? columnA - columnB : lineA < lineB ? -1 : 1;
}
