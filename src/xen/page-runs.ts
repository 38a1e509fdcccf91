import { RingwayError } from '../util/errors.ts';
import { XEN_PAGE_BYTES } from './layout.ts';

/** Hands out runs of pages of an area, lowest first. On the control thread. */
export class PageRuns {
  readonly #name: string;
  readonly #start: number;
  readonly #pages: number;
  /** By first page: how many. Sorted. */
  #runs: { readonly first: number; readonly pages: number }[] = [];

  constructor(name: string, start: number, pages: number) {
    this.#name = name;
    this.#start = start;
    this.#pages = pages;
  }

  /** @throws RingwayError `ARENA_FULL` when no `pages` pages follow each other, `BAD_ARGUMENT` for less than one. */
  take(pages: number): number {
    if (!Number.isInteger(pages) || pages < 1) {
      throw new RingwayError('BAD_ARGUMENT', `${this.#name}: ${pages} pages, must be a whole number from 1`);
    }
    let first = 0;
    for (const run of this.#runs) {
      if (first + pages <= run.first) break;
      first = run.first + run.pages;
    }
    if (first + pages > this.#pages) {
      throw new RingwayError(
        'ARENA_FULL',
        `${this.#name}: no ${pages} pages in a row are left of ${this.#pages} in its map area; make it larger`,
      );
    }
    this.#runs = [...this.#runs, { first, pages }].sort((a, b) => a.first - b.first);
    return this.#start + first * XEN_PAGE_BYTES;
  }

  /** @throws RingwayError `BAD_ARGUMENT` when no run begins at `address`. */
  free(address: number): void {
    const first = (address - this.#start) / XEN_PAGE_BYTES;
    const rest = this.#runs.filter((run) => run.first !== first);
    if (rest.length === this.#runs.length) {
      throw new RingwayError('BAD_ARGUMENT', `${this.#name}: no run of pages begins at ${address}`);
    }
    this.#runs = rest;
  }
}
