/** What a domain may do to a node: nothing, read, write, both (io/xs_wire.h and the xenstore protocol's letters). */
export type Access = 'n' | 'r' | 'w' | 'b';

/**
 * Who may do what to a node. The first entry is its owner, who may do everything, and what domains that are not listed may do;
 * the others name domains.
 */
export type Permissions = readonly { readonly domid: number; readonly access: Access }[];

/** The operations on nodes, alike in a transaction and without. Paths that do not begin with a slash are below the domain's home. */
export interface StoreOperations {
  /** @throws StoreError `ENOENT`, `EACCES` */
  read(path: string): Promise<string>;
  /** Names of the nodes below, sorted. @throws StoreError `ENOENT`, `EACCES` */
  directory(path: string): Promise<string[]>;
  /** Makes what is missing on the way, with the permissions of what is above. @throws StoreError `EACCES`, `ENOSPC`, `E2BIG` */
  write(path: string, value: string): Promise<void>;
  /** As `write` of nothing, and leaves one that is there as it is. */
  mkdir(path: string): Promise<void>;
  /** Removes a node and all below it. One that is not there is no error, when its directory is. @throws StoreError `ENOENT`, `EACCES`, `EINVAL` */
  remove(path: string): Promise<void>;
  /** @throws StoreError `ENOENT`, `EACCES` */
  permissions(path: string): Promise<Permissions>;
  /** Only the owner and privileged domains may. @throws StoreError `ENOENT`, `EACCES`, `EINVAL` */
  setPermissions(path: string, permissions: Permissions): Promise<void>;
}

/** A transaction: nobody sees what it does before it is committed. */
export interface StoreTransaction extends StoreOperations {
  /** @throws StoreError `EAGAIN` when others changed what it read or wrote: nothing was done; begin again. */
  commit(): Promise<void>;
  abort(): Promise<void>;
}

/** Ends a watch. */
export type Unwatch = () => Promise<void>;

/** A domain's connection to xenstore. */
export interface XenStore extends StoreOperations {
  readonly domid: number;
  /** @throws StoreError `ENOSPC` when the domain has too many. */
  begin(): Promise<StoreTransaction>;
  /**
   * Calls `onChange` once at first, and then for each change of a node at `path` or below, with the path that changed, in the form
   * that `path` has, and the token. `@introduceDomain` and `@releaseDomain` stand for domains that come and go.
   * @throws StoreError `EEXIST` when it is watched with that token already, `ENOSPC`, `EINVAL`.
   */
  watch(path: string, token: string, onChange: (path: string, token: string) => void): Promise<Unwatch>;
}

/** Does `work` in a transaction, again from the start as long as others come between (`tries` times at most). */
export async function inTransaction<T>(
  store: XenStore,
  work: (transaction: StoreTransaction) => Promise<T>,
  tries = 64,
): Promise<T> {
  for (let i = 1; ; i++) {
    const transaction = await store.begin();
    let result: T;
    try {
      result = await work(transaction);
    } catch (error) {
      await transaction.abort();
      throw error;
    }
    try {
      await transaction.commit();
      return result;
    } catch (error) {
      if (i === tries || !isAgain(error)) throw error;
    }
  }
}

function isAgain(error: unknown): boolean {
  return error instanceof Error && 'error' in error && error.error === 'EAGAIN';
}
