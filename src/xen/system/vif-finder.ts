import type { Unwatch, XenStore } from '../store-client.ts';
import { StoreError } from '../store-path.ts';
import { readKey } from '../xenbus.ts';

/** Where a domain's network backends are, below its home: by domain and number of the frontend. */
const BACKENDS = 'backend/vif';
const NUMBER = /^\d{1,5}$/;

/** A network device that the tools have made. */
export interface FoundVif {
  readonly frontend: number;
  readonly index: number;
}

/** Finds the network device of a name (`vifname` of its backend's directory), as the tools make and remove it. */
export class VifFinder {
  readonly #store: XenStore;
  readonly #vifname: string;
  readonly #onChange: (found: FoundVif | undefined) => Promise<void>;
  readonly #onError: (error: unknown) => void;
  #found: FoundVif | undefined;
  #unwatch: Unwatch | undefined;
  #work: Promise<void> = Promise.resolve();
  #willLook = false;
  #stopped = false;

  /**
   * @param onChange is called with the device when it comes, and with nothing when it has gone; never twice at a time.
   * @param onError with what it, or a look into the store, throws.
   */
  constructor(
    store: XenStore,
    vifname: string,
    onChange: (found: FoundVif | undefined) => Promise<void>,
    onError: (error: unknown) => void,
  ) {
    this.#store = store;
    this.#vifname = vifname;
    this.#onChange = onChange;
    this.#onError = onError;
  }

  async start(): Promise<void> {
    // All that happens to all devices is told, the keys of their ends included: one look is waiting at most.
    this.#unwatch = await this.#store.watch(BACKENDS, this.#vifname, () => {
      if (this.#willLook) return;
      this.#willLook = true;
      this.#work = this.#work.then(() => this.#look()).catch(this.#onError);
    });
  }

  async #look(): Promise<void> {
    this.#willLook = false;
    if (this.#stopped) return;
    const { frontend, index } = this.#found ?? {};
    if (frontend !== undefined && index !== undefined && (await this.#isOurs(frontend, index))) return;
    if (this.#found !== undefined) {
      this.#found = undefined;
      await this.#onChange(undefined);
    }
    const found = await this.#find();
    if (found === undefined) return;
    this.#found = found;
    await this.#onChange(found);
  }

  async #isOurs(frontend: number, index: number): Promise<boolean> {
    return (await readKey(this.#store, `${BACKENDS}/${frontend}/${index}/vifname`)) === this.#vifname;
  }

  /** Numbers below a directory, which may go at any time. */
  async #numbers(path: string): Promise<number[]> {
    try {
      return (await this.#store.directory(path)).filter((name) => NUMBER.test(name)).map(Number);
    } catch (error) {
      if (error instanceof StoreError && error.error === 'ENOENT') return [];
      throw error;
    }
  }

  async #find(): Promise<FoundVif | undefined> {
    for (const frontend of await this.#numbers(BACKENDS)) {
      for (const index of await this.#numbers(`${BACKENDS}/${frontend}`)) {
        if (await this.#isOurs(frontend, index)) return { frontend, index };
      }
    }
    return undefined;
  }

  /** Looks no more. What `onChange` was called for is over then. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#unwatch?.();
    this.#unwatch = undefined;
    await this.#work;
  }
}
