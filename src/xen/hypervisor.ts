import type { XenStore } from './store-client.ts';

/** Results of a grant operation by the numbers of Xen's grant_table.h. */
export const GNTST = {
  okay: 0,
  generalError: -1,
  badDomain: -2,
  badGntref: -3,
  badHandle: -4,
  badVirtAddr: -5,
  badPage: -9,
  badCopyArg: -10,
  noSpace: -13,
} as const;

/** A batch of grant copies in the arena, filled by kernels (COPY_…) or with `set`. One thread at a time uses it. */
export interface CopyBatch {
  /** Arena address of the first operation. */
  readonly address: number;
  /** Operations that it holds. */
  readonly size: number;
  /** Arena address of its iovecs. */
  readonly vectors: number;
  /** Writes operation `i`. */
  set(i: number, copy: GrantCopy): void;
  /** GNTST of operation `i` after the copy. */
  status(i: number): number;
}

/** One side of a copy: a place in a granted page, or an arena address. */
export type CopySide =
  | { readonly domid: number; readonly ref: number; readonly offset: number }
  | { readonly address: number };

/** A copy of up to 4,096 bytes. */
export interface GrantCopy {
  readonly source: CopySide;
  readonly target: CopySide;
  /** Bytes. On the side of a reference they may not leave its page. */
  readonly length: number;
}

/** A grant that is to be mapped. */
export interface GrantMap {
  readonly domid: number;
  readonly ref: number;
  /** Maps it for reading alone. */
  readonly readonly?: boolean;
}

/** What became of one grant that was to be mapped. */
export interface Mapped {
  /** A GNTST; the rest counts only when it is `okay`. */
  readonly status: number;
  readonly handle: number;
  /** Arena address of the page. */
  readonly address: number;
}

/** Event channels, as a domain uses its own ports. Port numbers from a peer are checked here. */
export interface EventChannels {
  /** A new port that `remote` may bind. @throws RingwayError `BUSY` when all ports are in use (ENOSPC), `NOT_FOUND` */
  allocUnbound(remote: number): number;
  /**
   * Binds a new port to `port` of `remote`, which offered it to this domain. It is pending at once, since an event may have been
   * lost before.
   * @throws RingwayError `BUSY` when all ports are in use (ENOSPC), `NOT_FOUND` when there is no such domain (ESRCH),
   *   `BAD_ARGUMENT` when the port is not offered to this domain (EINVAL).
   */
  bindInterdomain(remote: number, port: number): number;
  /** Sends an event to the other end. @throws RingwayError `BAD_ARGUMENT` when there is no such port (EINVAL) */
  send(port: number): void;
  mask(port: number): void;
  unmask(port: number): void;
  /** Takes a port's pending bit, unless it is masked: true when it was set. */
  takePending(port: number): boolean;
  /**
   * Has `handler` called when `port` is pending, by `dispatch` or, once `start` was called, on its own. Undefined ends that.
   */
  listen(port: number, handler: (() => void) | undefined): void;
  /** Calls the handlers of all ports that are pending and not masked. Returns how many. */
  dispatch(): number;
  /** Closes a port; the other end is unbound then. @throws RingwayError `BAD_ARGUMENT` when there is no such port (EINVAL) */
  close(port: number): void;
}

/** What the thread that serves a queue asks of Xen. */
export interface DataAccess {
  /** Does the first `n` copies of a batch, each with a status of its own: one hypercall. */
  copy(batch: Pick<CopyBatch, 'address' | 'vectors' | 'size'>, n: number): void;
  /** Maps grants at the pages from `target` on: one hypercall. */
  map(grants: readonly GrantMap[], target: number): Mapped[];
  /** Takes mappings away; afterwards nobody reaches those pages. Returns a GNTST for each: one hypercall. */
  unmap(handles: readonly number[]): number[];
  /** Sends an event to the other end of a port of the domain's own; one that is not bound takes it and does nothing. */
  send(port: number): void;
}

/** What another thread is told, so that it can ask for itself (`attachData`): anything that can be posted. */
export type DataShare = DomainShare | DeviceShare;

/** For a domain of the in-process Xen. */
export interface DomainShare {
  /** The region that it works with. */
  readonly name: string;
  readonly xen: number;
  readonly record: number;
  readonly ops: number;
  readonly mapped: boolean;
}

/** For this process's domain under a real Xen. */
export interface DeviceShare {
  /** The region that it works with. */
  readonly name: string;
  /** Descriptors. */
  readonly gntdev: number;
  readonly evtchn: number;
  /** Addresses: of what is kept (DEVICES_…), of the map area and of what is mapped there, of the thread's calls (DEVICECALL_…). */
  readonly devices: number;
  readonly area: number;
  readonly areaPages: number;
  readonly mapped: number;
  readonly calls: number;
}

/**
 * What a domain asks of Xen: implemented by the in-process Xen, and by whatever reaches a real one through its device files. Memory
 * is the arena throughout.
 */
export interface Hypervisor extends DataAccess {
  readonly domid: number;
  /** A batch of `size` (1 to 1,024) copies. @throws RingwayError `BAD_ARGUMENT`, `ARENA_FULL` */
  createBatch(name: string, size: number): CopyBatch;
  /** What one other thread needs; `name` is its region in the arena, which whoever asked releases. @throws RingwayError `ARENA_FULL` */
  shareData(name: string): DataShare;
  /**
   * Takes `pages` pages of the map area that follow each other, for `map`. Returns the address of the first.
   * @throws RingwayError `ARENA_FULL` when there are none.
   */
  takePages(pages: number): number;
  /** Gives them back, with nothing mapped there. */
  freePages(address: number): void;
  readonly events: EventChannels;
  readonly store: XenStore;
}

/** The grants that a domain gives of its own memory. */
export interface GrantTable {
  /** Arena address of its entries. */
  readonly address: number;
  /** References, the reserved ones included. */
  readonly count: number;
  /**
   * Lets `domid` use the page at arena address `page`.
   * @throws RingwayError `BUSY` when all references are in use, `BAD_ARGUMENT` when it is no page of the domain's.
   */
  grant(domid: number, page: number, options?: { readonly readonly?: boolean }): number;
  /** Ends a grant. False while it is in use: then it stays, and its page belongs to the peer. */
  end(ref: number): boolean;
  /** Grants that were given and not ended. */
  readonly inUse: number;
}
