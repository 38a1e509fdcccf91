import type { Arena } from '../memory/arena.ts';
import { type Pages, requirePages, sysAvailable } from '../sys/index.ts';
import { RingwayError } from '../util/errors.ts';
import { DomainAccess, type HypervisorCosts, readCosts } from './access.ts';
import { createDomainPlace, type DomainOptions, type DomainPlace, MAP_OPS_BYTES } from './domain.ts';
import { PortTable } from './events.ts';
import { attachGrantTable } from './grant-table.ts';
import type { GrantTable, Hypervisor } from './hypervisor.ts';
import {
  DOMAIN_ALIVE,
  DOMAIN_PINS,
  VECTOR_SHIFT,
  XEN_BASE,
  XEN_BYTES,
  XEN_DOMAINS,
  XEN_DOMAINS_MAX,
  XEN_PAGE_BYTES,
} from './layout.ts';
import { PageRuns } from './page-runs.ts';
import { Store } from './store.ts';
import type { StoreQuotas } from './store-view.ts';

/** How an in-process Xen works. */
export interface XenOptions {
  /** Names its regions in the arena. */
  readonly name: string;
  /**
   * `mapped`: domains' memory is files, maps are mmap calls, a batch of copies is a system call; Linux with koffi. `plain`: all is done
   * in the arena. By default mapped where it works.
   */
  readonly mode?: 'mapped' | 'plain';
  readonly quotas?: Partial<StoreQuotas>;
}

/** A domain of an in-process Xen. */
export interface Domain {
  readonly domid: number;
  /** What it asks of Xen. */
  readonly hypervisor: Hypervisor;
  /** Arena address of its first page. */
  readonly memory: number;
  readonly pages: number;
  /** What it grants to others. */
  readonly grants: GrantTable;
  /** Pages of its memory that follow each other, zeroed. @throws RingwayError `ARENA_FULL` when it has none left. */
  allocPages(pages: number): number;
  freePages(address: number): void;
  costs(): HypervisorCosts;
  /** Calls what listens to its events as they come, on this thread. Returns what ends that. */
  startEvents(): () => void;
}

interface Entry {
  readonly domain: Domain;
  readonly ports: PortTable;
  readonly place: DomainPlace;
  readonly regions: readonly string[];
}

/** Whether a call that copies through the kernel works: some sandboxes forbid it. */
function tryCopy(arena: Arena, pages: Pages, name: string): boolean {
  const scratch = arena.allocate(name, 64);
  const { u32 } = arena;
  for (const [i, place] of [scratch + 32, scratch + 48].entries()) {
    const vector = (scratch + (i << VECTOR_SHIFT)) >>> 2;
    const address = pages.base + place;
    u32.set([address % 2 ** 32, Math.floor(address / 2 ** 32), 4, 0], vector);
  }
  u32[(scratch + 48) >>> 2] = 1;
  try {
    return pages.copy(scratch, scratch + (1 << VECTOR_SHIFT), 1) === 4;
  } catch {
    return false;
  } finally {
    arena.release(name);
  }
}

/** A Xen in this process: domains with memory in one arena, grants, event channels and a xenstore between them. */
export class Xen {
  readonly mode: 'mapped' | 'plain';
  /** Its state in the arena. */
  readonly address: number;
  readonly #arena: Arena;
  readonly #name: string;
  readonly #pages: Pages | undefined;
  readonly #store: Store;
  readonly #domains = new Map<number, Entry>();
  /** Domains that have ended, whose pages others still use. */
  readonly #dying = new Map<number, Entry>();

  /** @throws RingwayError `UNSUPPORTED` when `mapped` is asked for and cannot be, `ARENA_FULL`. */
  constructor(arena: Arena, { name, mode, quotas = {} }: XenOptions) {
    this.#arena = arena;
    this.#name = name;
    this.#store = new Store(quotas);
    this.#pages = mode === 'plain' || (mode === undefined && !sysAvailable()) ? undefined : this.#requirePages(mode);
    this.mode = this.#pages === undefined ? 'plain' : 'mapped';
    this.address = arena.allocate(`${name} xen`, XEN_BYTES);
    const base = this.#pages?.base ?? 0;
    arena.u32.set([base % 2 ** 32, Math.floor(base / 2 ** 32)], (this.address + XEN_BASE) >>> 2);
  }

  #requirePages(mode: 'mapped' | undefined): Pages | undefined {
    const pages = requirePages(this.#arena.handle.memory, this.#name);
    if (tryCopy(this.#arena, pages, `${this.#name} try`)) return pages;
    if (mode === undefined) return undefined;
    throw new RingwayError('UNSUPPORTED', `${this.#name}: process_vm_readv is refused here; use mode plain`);
  }

  /** The domains that are there. */
  get domains(): readonly Domain[] {
    return [...this.#domains.values()].map(({ domain }) => domain);
  }

  #word(domid: number): number {
    return (this.address + XEN_DOMAINS + (domid << 2)) >>> 2;
  }

  /**
   * Makes a domain. Domain 0 is privileged in xenstore.
   * @throws RingwayError `BAD_ARGUMENT` for a number that is taken or an option out of range, `ARENA_FULL`.
   */
  createDomain(domid: number, options: DomainOptions): Domain {
    this.#reap();
    const name = `${this.#name} domain ${domid}`;
    if (!Number.isInteger(domid) || domid < 0 || domid >= XEN_DOMAINS_MAX) {
      throw new RingwayError('BAD_ARGUMENT', `${name}: must be a whole number from 0 to ${XEN_DOMAINS_MAX - 1}`);
    }
    if (this.#domains.has(domid) || this.#dying.has(domid)) {
      throw new RingwayError('BAD_ARGUMENT', `${name}: is there already, or its pages are still mapped`);
    }
    const arena = this.#arena;
    const place = createDomainPlace(arena, name, domid, options, this.#pages);
    const { record, memory, pages, area, areaPages } = place;
    let ops: number;
    try {
      ops = arena.allocate(`${name} operations`, MAP_OPS_BYTES);
    } catch (error) {
      place.release();
      throw error;
    }
    const ports = new PortTable(arena, this.address, record, name, (other) => this.#domains.get(other)?.ports);
    const where = { arena, xen: this.address, record, domid, name, area, areaPages, pages: this.#pages };
    const runs = new PageRuns(name, memory, pages);
    const domain: Domain = {
      domid,
      hypervisor: new DomainAccess(where, ops, ports, this.#store.introduce(domid)),
      memory,
      pages,
      grants: attachGrantTable(arena, record, name),
      allocPages(count) {
        const address = runs.take(count);
        arena.u8.fill(0, address, address + count * XEN_PAGE_BYTES);
        return address;
      },
      freePages: (address) => runs.free(address),
      costs: () => readCosts(arena, record),
      startEvents: () => ports.start(),
    };
    this.#domains.set(domid, { domain, ports, place, regions: [`${name} operations`] });
    Atomics.store(arena.u32, this.#word(domid), record);
    return domain;
  }

  /**
   * Ends a domain: its ports close, nothing of it can be mapped or copied any more, its xenstore home goes. Its memory stays until
   * nobody has it mapped. Its own threads use it no more.
   * @throws RingwayError `NOT_FOUND` when there is none.
   */
  destroyDomain(domid: number): void {
    const entry = this.#domains.get(domid);
    if (entry === undefined) throw new RingwayError('NOT_FOUND', `${this.#name}: no domain ${domid}`);
    Atomics.store(this.#arena.u32, (entry.place.record + DOMAIN_ALIVE) >>> 2, 0);
    entry.ports.closeAll();
    this.#domains.delete(domid);
    this.#dying.set(domid, entry);
    this.#store.release(domid);
    this.#reap();
  }

  /** Gives its state in the arena back: all domains have been destroyed, and nobody uses a page of theirs. */
  release(): void {
    this.#reap();
    this.#arena.release(`${this.#name} xen`);
  }

  /** Gives back the memory of domains that have ended and that nobody uses any more. */
  #reap(): void {
    for (const [domid, { place, regions }] of this.#dying) {
      if (Atomics.load(this.#arena.u32, (place.record + DOMAIN_PINS) >>> 2) !== 0) continue;
      Atomics.store(this.#arena.u32, this.#word(domid), 0);
      place.release();
      for (const region of regions) this.#arena.release(region);
      this.#dying.delete(domid);
    }
  }
}
