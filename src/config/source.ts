import { isAlias, isMap, isScalar, isSeq, LineCounter, type Node, parseDocument } from 'yaml';
import { DEPTH_MAX, refuseText, TOO_DEEP } from './guard.ts';
import { type Path, type Problems, show } from './problems.ts';

/** Where each value of a tree was written. Shaped like the tree. */
export interface Origin {
  /** `file:line:col`, or `--set path`. */
  readonly at: string;
  /** The directory that relative paths start from here. */
  readonly directory: string;
  readonly children?: ReadonlyMap<string | number, Origin>;
}

/** A YAML text as plain values. Mappings have no prototype. */
export interface Tree {
  readonly value: unknown;
  readonly origin: Origin;
}

/** Aliases count as often as they are used, so that a few lines cannot stand for billions of values. */
const VALUES_MAX = 200_000;

interface Built extends Tree {
  /** Values in it, itself included. */
  readonly size: number;
}

/** Turns the nodes of one document into plain values, and remembers where each was. */
class Walk {
  readonly #anchors = new Map<string, Built>();
  readonly #lines: LineCounter;
  readonly #where: { file: string; directory: string };
  readonly #problems: Problems;
  #total = 0;

  constructor(lines: LineCounter, where: { file: string; directory: string }, problems: Problems) {
    this.#lines = lines;
    this.#where = where;
    this.#problems = problems;
  }

  at(offset: number | undefined): string {
    const { line, col } = this.#lines.linePos(offset ?? 0);
    return `${this.#where.file}:${Math.max(1, line)}:${Math.max(1, col)}`;
  }

  get isTooLarge(): boolean {
    return this.#total > VALUES_MAX;
  }

  build(node: unknown, path: Path, at: string): Built {
    const nothing = { value: null, origin: this.#origin(at), size: 1 };
    if (++this.#total > VALUES_MAX) return nothing;
    if (path.length > DEPTH_MAX) {
      this.#problems.add(at, path.slice(0, 3), TOO_DEEP);
      return nothing;
    }
    if (isAlias(node)) return this.#alias(node.source, path, at) ?? nothing;
    const built = this.#collect(node, path, at) ?? nothing;
    const anchor = (node as (Node & { anchor?: string }) | null)?.anchor;
    // Known only from here on: an alias inside its own anchor finds nothing, so that no value contains itself.
    if (anchor !== undefined) this.#anchors.set(anchor, built);
    return built;
  }

  #origin(at: string, children?: ReadonlyMap<string | number, Origin>): Origin {
    const { directory } = this.#where;
    return children === undefined ? { at, directory } : { at, directory, children };
  }

  #alias(source: string, path: Path, at: string): Built | undefined {
    const built = this.#anchors.get(source);
    if (built === undefined) {
      this.#problems.add(at, path, `alias *${source} has no anchor &${source} before it; define it first`);
      return undefined;
    }
    this.#total += built.size;
    return { ...built, origin: { ...built.origin, at } };
  }

  #collect(node: unknown, path: Path, at: string): Built | undefined {
    if (isScalar(node)) return { value: node.value, origin: this.#origin(at), size: 1 };
    if (isSeq(node)) {
      const parts = node.items.map((item, index) =>
        this.build(item, [...path, index], this.at((item as Node | null)?.range?.[0] ?? node.range?.[0])),
      );
      const children = new Map(parts.map((part, index) => [index, part.origin] as const));
      return { value: parts.map((part) => part.value), origin: this.#origin(at, children), size: sizeOf(parts) };
    }
    if (isMap(node)) return this.#mapping(node.items, path, at);
    return undefined;
  }

  #mapping(items: readonly { key: unknown; value: unknown }[], path: Path, at: string): Built {
    const value: Record<string, unknown> = Object.create(null);
    const children = new Map<string, Origin>();
    const parts: Built[] = [];
    for (const pair of items) {
      const keyAt = this.at((pair.key as Node | null)?.range?.[0]);
      const key = this.#key(pair.key, path, keyAt);
      if (key === undefined) continue;
      if (children.has(key)) {
        const first = children.get(key)?.at ?? at;
        this.#problems.add(keyAt, [...path, key], `is given twice, first at ${first}; keep one of them`);
        continue;
      }
      const part = this.build(pair.value, [...path, key], keyAt);
      value[key] = part.value;
      children.set(key, part.origin);
      parts.push(part);
    }
    return { value, origin: this.#origin(at, children), size: sizeOf(parts) };
  }

  /** The text of a key. Numbers and the like are taken as they are printed. */
  #key(node: unknown, path: Path, at: string): string | undefined {
    const value = isScalar(node) ? node.value : node;
    if (typeof value === 'string' && value !== '__proto__') return value;
    if (typeof value === 'number' || typeof value === 'boolean') return String(value);
    const what = value === '__proto__' ? show(value) : 'a key that is no text';
    this.#problems.add(at, path, `${what} cannot be a key here; use a name`);
    return undefined;
  }
}

function sizeOf(parts: readonly Built[]): number {
  return parts.reduce((sum, part) => sum + part.size, 1);
}

/**
 * Reads a YAML text. Returns undefined when it is no YAML. What is wrong goes to `problems`; errors in single values
 * leave the others to be checked.
 * @param file what locations name.
 * @param directory where relative paths start.
 */
export function readTree(text: string, file: string, directory: string, problems: Problems): Tree | undefined {
  const refusal = refuseText(text);
  if (refusal !== undefined) {
    const line = text.slice(0, refusal.offset).split('\n').length;
    problems.add(`${file}:${line}:1`, [], refusal.message);
    return undefined;
  }
  const lines = new LineCounter();
  // Keys are compared in `Walk`: yaml does it in quadratic time.
  const options = { lineCounter: lines, uniqueKeys: false, prettyErrors: false, logLevel: 'error' } as const;
  const document = parseDocument(text, options);
  const walk = new Walk(lines, { file, directory }, problems);
  for (const error of [...document.errors, ...document.warnings]) {
    problems.add(walk.at(error.pos[0]), [], `is not YAML: ${error.message.split('\n')[0]}`);
  }
  if (document.errors.length > 0) return undefined;
  const built = walk.build(document.contents, [], walk.at(document.contents?.range?.[0]));
  if (!walk.isTooLarge) return built;
  problems.add(file, [], `has more than ${VALUES_MAX} values, aliases expanded; use fewer`);
  return undefined;
}

/** The place of the value at `path`, or of the nearest thing around it that exists. */
export function locate(origin: Origin, path: Path): Origin {
  let found = origin;
  for (const part of path) {
    const child = found.children?.get(part);
    if (child === undefined) break;
    found = child;
  }
  return found;
}

/** The value at `path`; undefined when there is none. */
export function valueAt(value: unknown, path: Path): unknown {
  let found = value;
  for (const part of path) {
    if (typeof found !== 'object' || found === null || !Object.hasOwn(found, part)) return undefined;
    found = (found as Record<string | number, unknown>)[part];
  }
  return found;
}
