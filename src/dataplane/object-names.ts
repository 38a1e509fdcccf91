import { basename } from 'node:path';

/** Names by which maps of object files are found: of a file without folders and ending, with a number when there is another. */
export class ObjectNames {
  readonly #taken = new Set<string>();

  take(path: string): string {
    const base = basename(path).replace(/\.[^.]*$/, '');
    for (let number = 1; ; number++) {
      const name = number === 1 ? base : `${base}-${number}`;
      if (this.#taken.has(name)) continue;
      this.#taken.add(name);
      return name;
    }
  }

  give(name: string): void {
    this.#taken.delete(name);
  }
}
