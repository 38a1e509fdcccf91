import { suggest } from '../util/nearest.ts';
import { formatPath, type Path, Problems, show } from './problems.ts';
import { type Origin, readTree, type Tree } from './source.ts';

/** Values that are names of files: taken as they stand, whatever YAML would make of `#`, `:` or `1.pcap`. */
const VERBATIM = new Set(['path', 'write', 'tap', 'module', 'object', 'xdp']);

/** The keys and indexes in `ports.in.vlan.trunk[2]` or `steering.0.action`; undefined when it is no path. */
export function parsePath(text: string): Path | undefined {
  if (!/^[\w-]+(\.[\w-]+|\[\d{1,6}\])*$/.test(text)) return undefined;
  return text
    .replaceAll('[', '.')
    .replaceAll(']', '')
    .split('.')
    .map((part) => (/^\d{1,6}$/.test(part) ? Number(part) : part));
}

/** The value in `path=value`: a YAML scalar, or a list or mapping in flow style, else the text itself. */
function readValue(text: string, path: Path, origin: Origin): Tree {
  if (VERBATIM.has(String(path.at(-1)))) return { value: text, origin };
  const problems = new Problems();
  const tree = readTree(text, origin.at, origin.directory, problems);
  return { value: tree === undefined || problems.count > 0 ? text : tree.value, origin };
}

interface Assignment {
  readonly path: Path;
  readonly at: string;
  readonly value: Tree;
}

/** `tree` with the assigned value in it. Copies what it changes, since aliases share it. */
function assign(tree: Tree, { path, at, value }: Assignment, depth: number, problems: Problems): Tree {
  const key = path[depth];
  if (key === undefined) return value;
  const old = tree.value;
  const isList = Array.isArray(old);
  const isCollection = typeof old === 'object' && old !== null;
  if ((old !== undefined && old !== null && !isCollection) || (isList && typeof key !== 'number')) {
    problems.add(
      at,
      path.slice(0, depth),
      `is ${show(old)} and has no ${show(String(key))}; set the whole value instead`,
    );
    return tree;
  }
  if (isList && (key as number) >= old.length) {
    problems.add(at, path.slice(0, depth + 1), `is not there; the list has ${old.length} items`);
    return tree;
  }
  const known = isCollection && !isList ? Object.keys(old) : [];
  if (depth === 1 && path[0] === 'ports' && !known.includes(String(key))) {
    problems.add(at, path.slice(0, 2), `is not a port; ${suggest(String(key), known)}`);
    return tree;
  }
  const name = isList ? key : String(key);
  const child = isCollection && Object.hasOwn(old, name) ? (old as Record<string | number, unknown>)[name] : undefined;
  const childOrigin = tree.origin.children?.get(name) ?? { at, directory: value.origin.directory };
  const next = assign({ value: child, origin: childOrigin }, { path, at, value }, depth + 1, problems);
  const copy: Record<string | number, unknown> | unknown[] = isList
    ? [...old]
    : Object.assign(Object.create(null), isCollection ? old : {});
  (copy as Record<string | number, unknown>)[name] = next.value;
  const children = new Map<string | number, Origin>(tree.origin.children).set(name, next.origin);
  return { value: copy, origin: { ...tree.origin, children } };
}

/**
 * `tree` with each `path=value` of `set` in it, in order. What cannot be set goes to `problems`.
 * @param directory where relative paths in the values start.
 * @param said how these were given, for errors.
 */
export function applyOverrides(
  tree: Tree,
  set: readonly string[],
  directory: string,
  problems: Problems,
  said: { readonly flag: string; readonly example: string } = { flag: '--set ', example: 'ports.in.path=FILE' },
): Tree {
  let result = tree;
  for (const text of set) {
    const equals = text.indexOf('=');
    const name = equals < 0 ? text : text.slice(0, equals);
    const path = equals < 0 ? undefined : parsePath(name);
    if (path === undefined || path.includes('__proto__')) {
      problems.add(`${said.flag}${show(text)}`, [], `is not path=value; write it like ${said.example}`);
      continue;
    }
    const at = `${said.flag}${formatPath(path)}`;
    result = assign(
      result,
      { path, at, value: readValue(text.slice(equals + 1), path, { at, directory }) },
      0,
      problems,
    );
  }
  return result;
}
