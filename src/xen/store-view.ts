import type { Permissions } from './store-client.ts';
import { parentOf, StoreError } from './store-path.ts';

/** A node as it is at one moment; a change makes another. */
export interface StoreNode {
  readonly value: string;
  readonly children: readonly string[];
  readonly permissions: Permissions;
  /** Another number after each change. */
  readonly generation: number;
}

/** Where operations find nodes, and leave them: the tree itself, or what a transaction sees of it. */
export interface StoreView {
  get(path: string): StoreNode | undefined;
  set(path: string, node: Omit<StoreNode, 'generation'> | undefined): void;
  /** Nodes that a domain owns. */
  owned(domid: number): number;
}

/** What unprivileged domains may use: the defaults of xenstored. */
export interface StoreQuotas {
  /** Nodes that a domain owns. */
  readonly nodes: number;
  readonly watches: number;
  readonly transactions: number;
  /** Bytes of a node: its value, its path, its permissions. */
  readonly nodeBytes: number;
  /** Entries of a node's permissions. */
  readonly permissions: number;
}

export const DEFAULT_QUOTAS: StoreQuotas = {
  nodes: 1000,
  watches: 128,
  transactions: 10,
  nodeBytes: 2048,
  permissions: 5,
};

/** Bytes of a message at most (io/xs_wire.h: XENSTORE_PAYLOAD_MAX). */
const PAYLOAD_MAX = 4096;
/** Bytes of a stored permission, as xenstored keeps it. */
const PERMISSION_BYTES = 8;

const isPrivileged = (domid: number): boolean => domid === 0;
const nameOf = (path: string): string => path.slice(path.lastIndexOf('/') + 1);

/** True when `domid` may do `wanted` to a node with these permissions. */
export function mayAccess(permissions: Permissions, domid: number, wanted: 'r' | 'w'): boolean {
  const [owner] = permissions;
  if (isPrivileged(domid) || owner?.domid === domid) return true;
  const own = permissions.find((entry, i) => i > 0 && entry.domid === domid) ?? owner;
  return own !== undefined && (own.access === 'b' || own.access === wanted);
}

/** The operations on nodes for one domain, on what `view` shows. `changed` is told of each node that became another, or went. */
export class StoreActions {
  readonly #view: StoreView;
  readonly #domid: number;
  readonly #quotas: StoreQuotas;
  readonly #changed: (path: string) => void;

  constructor(view: StoreView, domid: number, quotas: StoreQuotas, changed: (path: string) => void) {
    this.#view = view;
    this.#domid = domid;
    this.#quotas = quotas;
    this.#changed = changed;
  }

  /** The nearest node above `path` that there is. */
  #above(path: string): { path: string; node: StoreNode } {
    for (let at = parentOf(path); ; at = parentOf(at)) {
      const node = this.#view.get(at);
      if (node !== undefined) return { path: at, node };
    }
  }

  /** A node that the domain may access so. Who may not look into what is above does not learn whether it is there. */
  #require(path: string, wanted: 'r' | 'w'): StoreNode {
    const node = this.#view.get(path);
    if (node === undefined) {
      const { permissions } = this.#above(path).node;
      throw new StoreError(mayAccess(permissions, this.#domid, 'r') ? 'ENOENT' : 'EACCES', path);
    }
    if (!mayAccess(node.permissions, this.#domid, wanted)) throw new StoreError('EACCES', path);
    return node;
  }

  read(path: string): string {
    return this.#require(path, 'r').value;
  }

  directory(path: string): readonly string[] {
    return this.#require(path, 'r').children;
  }

  permissions(path: string): Permissions {
    return this.#require(path, 'r').permissions;
  }

  #checkSize(path: string, value: string, permissions: Permissions): void {
    const bytes = Buffer.byteLength(value);
    if (bytes + path.length + 1 > PAYLOAD_MAX) throw new StoreError('E2BIG', path);
    if (isPrivileged(this.#domid)) return;
    const size = bytes + path.length + permissions.length * PERMISSION_BYTES;
    if (size > this.#quotas.nodeBytes) throw new StoreError('ENOSPC', path);
  }

  /** Makes a node and what is missing above it. */
  #create(path: string, value: string): void {
    const { path: at, node } = this.#above(path);
    if (!mayAccess(node.permissions, this.#domid, 'w')) throw new StoreError('EACCES', path);
    const missing = path.slice(at === '/' ? 1 : at.length + 1).split('/');
    const [owner, ...others] = node.permissions;
    const ownerDomid = isPrivileged(this.#domid) ? (owner?.domid ?? 0) : this.#domid;
    const permissions: Permissions = [{ domid: ownerDomid, access: owner?.access ?? 'n' }, ...others];
    this.#checkSize(path, value, permissions);
    if (!isPrivileged(this.#domid) && this.#view.owned(ownerDomid) + missing.length > this.#quotas.nodes) {
      throw new StoreError('ENOSPC', path);
    }
    let parent = at;
    let parentNode: Omit<StoreNode, 'generation'> = node;
    for (const [i, name] of missing.entries()) {
      this.#view.set(parent, { ...parentNode, children: [...parentNode.children, name].sort() });
      parent = parent === '/' ? `/${name}` : `${parent}/${name}`;
      parentNode = { value: i === missing.length - 1 ? value : '', children: [], permissions };
      this.#view.set(parent, parentNode);
    }
    this.#changed(path);
  }

  write(path: string, value: string): void {
    const node = this.#view.get(path);
    if (node === undefined) {
      this.#create(path, value);
      return;
    }
    if (!mayAccess(node.permissions, this.#domid, 'w')) throw new StoreError('EACCES', path);
    this.#checkSize(path, value, node.permissions);
    this.#view.set(path, { ...node, value });
    this.#changed(path);
  }

  mkdir(path: string): void {
    if (this.#view.get(path) === undefined) this.#create(path, '');
    else this.#require(path, 'w');
  }

  #removeTree(path: string): void {
    for (const name of this.#view.get(path)?.children ?? []) this.#removeTree(`${path}/${name}`);
    this.#view.set(path, undefined);
    this.#changed(path);
  }

  remove(path: string): void {
    if (path === '/') throw new StoreError('EINVAL', path);
    const parent = parentOf(path);
    if (this.#view.get(path) === undefined) {
      this.#require(parent, 'w');
      return;
    }
    this.#require(path, 'w');
    const above = this.#view.get(parent);
    if (above !== undefined) {
      this.#view.set(parent, { ...above, children: above.children.filter((name) => name !== nameOf(path)) });
    }
    this.#removeTree(path);
  }

  setPermissions(path: string, permissions: Permissions): void {
    const node = this.#require(path, 'r');
    const [owner] = node.permissions;
    const [next] = permissions;
    if (next === undefined) throw new StoreError('EINVAL', path);
    if (!isPrivileged(this.#domid)) {
      if (owner?.domid !== this.#domid) throw new StoreError('EACCES', path);
      if (next.domid !== owner.domid) throw new StoreError('EPERM', path);
      if (permissions.length > this.#quotas.permissions) throw new StoreError('ENOSPC', path);
    }
    this.#view.set(path, { ...node, permissions });
    this.#changed(path);
  }
}
