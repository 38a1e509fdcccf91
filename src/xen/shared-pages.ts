import type { GrantTable } from './hypervisor.ts';
import { XEN_PAGE_BYTES } from './layout.ts';

/** What a frontend needs of its own domain. */
export interface FrontendMemory {
  readonly grants: GrantTable;
  /** Zeroed pages that follow each other. */
  allocPages(pages: number): number;
  freePages(address: number): void;
}

interface Run {
  readonly address: number;
  readonly pages: number;
  refs: number[];
}

/** Pages of a frontend's domain that a backend is granted, and the grants. */
export class SharedPages {
  readonly #memory: FrontendMemory;
  readonly #backend: number;
  #runs: Run[] = [];

  constructor(memory: FrontendMemory, backend: number) {
    this.#memory = memory;
    this.#backend = backend;
  }

  /** Pages that follow each other, zeroed: whoever is granted one sees all of it. @throws RingwayError `ARENA_FULL` */
  alloc(pages: number): number {
    const address = this.#memory.allocPages(pages);
    this.#runs.push({ address, pages, refs: [] });
    return address;
  }

  /** Lets the backend use the page at `page`, which `alloc` gave. @throws RingwayError `BUSY` */
  grant(page: number, readonly: boolean): number {
    const run = this.#runs.find(({ address, pages }) => page >= address && page < address + pages * XEN_PAGE_BYTES);
    const ref = this.#memory.grants.grant(this.#backend, page, { readonly });
    run?.refs.push(ref);
    return ref;
  }

  /**
   * Ends grants, and gives pages back whose grants have all ended: those that the backend still uses stay as they are, for the next
   * call. Returns how many grants are left.
   */
  release(): number {
    this.#runs = this.#runs.filter((run) => {
      run.refs = run.refs.filter((ref) => !this.#memory.grants.end(ref));
      if (run.refs.length === 0) this.#memory.freePages(run.address);
      return run.refs.length > 0;
    });
    return this.#runs.reduce((sum, { refs }) => sum + refs.length, 0);
  }
}
