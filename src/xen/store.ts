import type { Permissions, StoreOperations, StoreTransaction, Unwatch, XenStore } from './store-client.ts';
import { absolutePath, isWithin, parentOf, StoreError } from './store-path.ts';
import {
  DEFAULT_QUOTAS,
  mayAccess,
  StoreActions,
  type StoreNode,
  type StoreQuotas,
  type StoreView,
} from './store-view.ts';

interface Watch {
  readonly domid: number;
  /** Absolute, or a special name. */
  readonly path: string;
  readonly token: string;
  /** The form of a path that its owner used: what to cut off the absolute one. */
  readonly prefix: string;
  readonly onChange: (path: string, token: string) => void;
}

const SPECIAL = ['@introduceDomain', '@releaseDomain'] as const;
type Special = (typeof SPECIAL)[number];

/** All nodes. A generation is never used twice, so that a node that went and came back is another. */
class Tree implements StoreView {
  readonly #nodes = new Map<string, StoreNode>();
  readonly #owned = new Map<number, number>();
  /** Transactions that are open: they go on seeing what was there when they began. */
  readonly open = new Set<Overlay>();
  #generation = 0;

  get(path: string): StoreNode | undefined {
    return this.#nodes.get(path);
  }

  set(path: string, node: Omit<StoreNode, 'generation'> | undefined): void {
    const old = this.#nodes.get(path);
    for (const overlay of this.open) overlay.keep(path, old);
    this.#count(old, -1);
    if (node === undefined) {
      this.#nodes.delete(path);
      return;
    }
    this.#nodes.set(path, { ...node, generation: ++this.#generation });
    this.#count(node as StoreNode, 1);
  }

  owned(domid: number): number {
    return this.#owned.get(domid) ?? 0;
  }

  #count(node: StoreNode | undefined, difference: number): void {
    const owner = node?.permissions[0]?.domid;
    if (owner !== undefined) this.#owned.set(owner, this.owned(owner) + difference);
  }
}

/** What a transaction sees: the tree as it was when it began, with its own changes over it. */
class Overlay implements StoreView {
  readonly #tree: Tree;
  /** Nodes that others have changed since, as they were. */
  readonly #kept = new Map<string, StoreNode | undefined>();
  readonly #touched = new Set<string>();
  readonly #after = new Map<string, Omit<StoreNode, 'generation'> | undefined>();
  /** Paths of nodes that became others, or went. */
  readonly changes: string[] = [];

  constructor(tree: Tree) {
    this.#tree = tree;
    tree.open.add(this);
  }

  keep(path: string, node: StoreNode | undefined): void {
    if (!this.#kept.has(path)) this.#kept.set(path, node);
  }

  #before(path: string): StoreNode | undefined {
    return this.#kept.has(path) ? this.#kept.get(path) : this.#tree.get(path);
  }

  get(path: string): StoreNode | undefined {
    this.#touched.add(path);
    if (!this.#after.has(path)) return this.#before(path);
    const own = this.#after.get(path);
    return own === undefined ? undefined : { ...own, generation: 0 };
  }

  set(path: string, node: Omit<StoreNode, 'generation'> | undefined): void {
    this.#touched.add(path);
    this.#after.set(path, node);
  }

  /** As it would be after a commit. */
  owned(domid: number): number {
    let count = this.#tree.owned(domid);
    for (const [path, node] of this.#after) {
      if (this.#tree.get(path)?.permissions[0]?.domid === domid) count--;
      if (node?.permissions[0]?.domid === domid) count++;
    }
    return count;
  }

  /** False when others have changed something that it read or wrote. */
  get isCurrent(): boolean {
    return [...this.#touched].every((path) => this.#before(path)?.generation === this.#tree.get(path)?.generation);
  }

  apply(): void {
    for (const [path, node] of this.#after) this.#tree.set(path, node);
  }
}

/** A xenstore in this process: the tree, watches and transactions of all domains. */
export class Store {
  readonly #tree = new Tree();
  readonly #quotas: StoreQuotas;
  readonly #watches = new Set<Watch>();
  readonly #transactions = new Map<number, Set<Overlay>>();
  readonly #connected = new Set<number>();

  constructor(quotas: Partial<StoreQuotas> = {}) {
    this.#quotas = { ...DEFAULT_QUOTAS, ...quotas };
    this.#tree.set('/', { value: '', children: [], permissions: [{ domid: 0, access: 'r' }] });
  }

  /** A domain begins: it gets its home, and a connection. */
  introduce(domid: number): XenStore {
    const actions = new StoreActions(this.#tree, 0, this.#quotas, () => {});
    const home = absolutePath('domid', domid);
    actions.write(home, String(domid));
    actions.setPermissions(parentOf(home), [{ domid, access: 'n' }]);
    actions.setPermissions(home, [{ domid, access: 'n' }]);
    this.#connected.add(domid);
    this.#fireSpecial('@introduceDomain');
    return this.#connect(domid);
  }

  /** A domain has ended: its home, watches and transactions go. */
  release(domid: number): void {
    this.#connected.delete(domid);
    for (const overlay of this.#transactions.get(domid) ?? []) this.#tree.open.delete(overlay);
    this.#transactions.delete(domid);
    for (const watch of this.#watches) if (watch.domid === domid) this.#watches.delete(watch);
    this.#act(0, (actions) => actions.remove(`/local/domain/${domid}`));
    this.#fireSpecial('@releaseDomain');
  }

  #fireSpecial(name: Special): void {
    for (const watch of this.#watches) if (watch.path === name && watch.domid === 0) this.#tell(watch, name);
  }

  /** Watches are told in their own time, and not any more once they have ended. */
  #tell(watch: Watch, path: string): void {
    const shown = path.startsWith(watch.prefix) ? path.slice(watch.prefix.length) : path;
    queueMicrotask(() => {
      if (this.#watches.has(watch)) watch.onChange(shown, watch.token);
    });
  }

  /** A domain learns only of nodes that it may read; of one that went, when it may read what was above. */
  #mayLearn(watch: Watch, path: string): boolean {
    for (let at = path; ; at = parentOf(at)) {
      const node = this.#tree.get(at);
      if (node !== undefined) return mayAccess(node.permissions, watch.domid, 'r');
    }
  }

  #fire(changes: readonly string[]): void {
    for (const path of changes) {
      for (const watch of this.#watches) {
        if (isWithin(path, watch.path) && this.#mayLearn(watch, path)) this.#tell(watch, path);
      }
    }
  }

  /** Does one operation on the tree itself. */
  #act<T>(domid: number, action: (actions: StoreActions) => T): T {
    const changes: string[] = [];
    const result = action(new StoreActions(this.#tree, domid, this.#quotas, (path) => changes.push(path)));
    this.#fire(changes);
    return result;
  }

  #operations(domid: number, act: <T>(action: (actions: StoreActions) => T) => T): StoreOperations {
    const at = (path: string): string => absolutePath(path, domid);
    const run = async <T>(action: (actions: StoreActions) => T): Promise<T> => {
      if (!this.#connected.has(domid)) throw new StoreError('EINVAL', `domain ${domid} has ended`);
      return act(action);
    };
    return {
      read: (path) => run((actions) => actions.read(at(path))),
      directory: (path) => run((actions) => [...actions.directory(at(path))]),
      write: (path, value) => run((actions) => actions.write(at(path), value)),
      mkdir: (path) => run((actions) => actions.mkdir(at(path))),
      remove: (path) => run((actions) => actions.remove(at(path))),
      permissions: (path) => run((actions) => actions.permissions(at(path))),
      setPermissions: (path, permissions: Permissions) =>
        run((actions) =>
          actions.setPermissions(
            at(path),
            permissions.map((entry) => ({ ...entry })),
          ),
        ),
    };
  }

  #begin(domid: number): StoreTransaction {
    const open = this.#transactions.get(domid) ?? new Set<Overlay>();
    if (domid !== 0 && open.size >= this.#quotas.transactions) {
      throw new StoreError('ENOSPC', `domain ${domid} has ${open.size} transactions`);
    }
    const overlay = new Overlay(this.#tree);
    this.#transactions.set(domid, open.add(overlay));
    const end = (): void => {
      if (!open.delete(overlay)) throw new StoreError('ENOENT', 'a transaction that has ended');
      this.#tree.open.delete(overlay);
    };
    const { changes } = overlay;
    const actions = new StoreActions(overlay, domid, this.#quotas, (path) => changes.push(path));
    return {
      ...this.#operations(domid, (action) => {
        if (!open.has(overlay)) throw new StoreError('ENOENT', 'a transaction that has ended');
        return action(actions);
      }),
      commit: async () => {
        end();
        if (!overlay.isCurrent) throw new StoreError('EAGAIN', 'a transaction');
        // Nodes that were made elsewhere meanwhile count, too, though nothing of theirs was touched.
        if (domid !== 0 && overlay.owned(domid) > this.#quotas.nodes) throw new StoreError('ENOSPC', 'a transaction');
        overlay.apply();
        this.#fire(changes);
      },
      abort: async () => end(),
    };
  }

  #watch(domid: number, path: string, token: string, onChange: Watch['onChange']): Unwatch {
    const isSpecial = SPECIAL.some((name) => name === path);
    const absolute = isSpecial ? path : absolutePath(path, domid);
    const own = [...this.#watches].filter((watch) => watch.domid === domid);
    if (own.some((watch) => watch.path === absolute && watch.token === token)) throw new StoreError('EEXIST', path);
    if (domid !== 0 && own.length >= this.#quotas.watches) throw new StoreError('E2BIG', path);
    const prefix = isSpecial || path.startsWith('/') ? '' : `/local/domain/${domid}/`;
    const watch: Watch = { domid, path: absolute, token, prefix, onChange };
    this.#watches.add(watch);
    this.#tell(watch, absolute);
    return async () => void this.#watches.delete(watch);
  }

  #connect(domid: number): XenStore {
    const check = (): void => {
      if (!this.#connected.has(domid)) throw new StoreError('EINVAL', `domain ${domid} has ended`);
    };
    return {
      domid,
      ...this.#operations(domid, (action) => this.#act(domid, action)),
      begin: async () => {
        check();
        return this.#begin(domid);
      },
      watch: async (path, token, onChange) => {
        check();
        return this.#watch(domid, path, token, onChange);
      },
    };
  }
}
