import { suggest } from '../util/nearest.ts';
import { type Path, type Problems, show } from './problems.ts';
import { locate, type Tree, valueAt } from './source.ts';

function keysAt(tree: Tree, path: Path): string[] {
  const value = valueAt(tree.value, path);
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? Object.keys(value) : [];
}

function indexesAt(tree: Tree, path: Path): number[] {
  const value = valueAt(tree.value, path);
  return Array.isArray(value) ? [...value.keys()] : [];
}

function countLcores(tree: Tree): number {
  const value = valueAt(tree.value, ['lcores']);
  if (Array.isArray(value)) return value.length;
  return typeof value === 'number' ? value : 1;
}

/** A frontend names a port that is a backend, and has no other frontend. */
function checkBackend(tree: Tree, problems: Problems, name: string, port: (path: Path) => void): void {
  const path: Path = ['ports', name, 'backend'];
  const backend = valueAt(tree.value, path);
  port(path);
  if (typeof backend !== 'string' || !keysAt(tree, ['ports']).includes(backend)) return;
  const refuse = (what: string): void => problems.add(locate(tree.origin, path).at, path, `${show(backend)} ${what}`);
  if (valueAt(tree.value, ['ports', backend, 'type']) !== 'xen-netback') {
    refuse('is no xen-netback port; name one, or make it one');
    return;
  }
  if (valueAt(tree.value, ['ports', backend, 'xen']) === 'system') {
    refuse('serves a domain of the system, and no port; name another, or leave its xen out');
    return;
  }
  const first = keysAt(tree, ['ports']).find((other) => valueAt(tree.value, ['ports', other, 'backend']) === backend);
  if (first !== name)
    refuse(`is the backend of ${first} already, and takes one frontend; add another xen-netback port`);
}

/**
 * Checks the names of ports and the indexes of lcores that parts of a configuration give for other parts. Reads the
 * values as they were written, so that these errors are found together with those of the schema.
 */
export function checkReferences(tree: Tree, problems: Problems): void {
  const ports = keysAt(tree, ['ports']);
  const lcores = countLcores(tree);
  const port = (path: Path): void => {
    const name = valueAt(tree.value, path);
    if (typeof name !== 'string' || ports.includes(name)) return;
    problems.add(locate(tree.origin, path).at, path, `${show(name)} is not a port; ${suggest(name, ports)}`);
  };
  const lcore = (path: Path): void => {
    const index = valueAt(tree.value, path);
    if (typeof index !== 'number' || index < lcores || index > 63) return;
    const allowed = lcores === 1 ? 'there is only lcore 0' : `use 0 to ${lcores - 1}`;
    problems.add(locate(tree.origin, path).at, path, `${index} is not an lcore; ${allowed}, or raise lcores`);
  };
  for (const name of ports) {
    lcore(['ports', name, 'lcore']);
    if (valueAt(tree.value, ['ports', name, 'type']) === 'xen-netfront') checkBackend(tree, problems, name, port);
  }
  for (const index of indexesAt(tree, ['switch', 'static'])) port(['switch', 'static', index, 'port']);
  for (const index of indexesAt(tree, ['switch', 'routes'])) port(['switch', 'routes', index, 'port']);
  for (const index of indexesAt(tree, ['switch', 'mirrors'])) {
    port(['switch', 'mirrors', index, 'from']);
    port(['switch', 'mirrors', index, 'to']);
  }
  for (const index of indexesAt(tree, ['steering'])) {
    port(['steering', index, 'match', 'in-port']);
    port(['steering', index, 'action', 'port']);
    lcore(['steering', index, 'action', 'lcore']);
  }
}
