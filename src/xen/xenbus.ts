import { RingwayError } from '../util/errors.ts';
import { inTransaction, type StoreOperations, type Unwatch, type XenStore } from './store-client.ts';
import { StoreError } from './store-path.ts';

/** States of a device's end (io/xenbus.h). Unknown: its directory is gone, or holds no state. */
export const XenbusState = {
  unknown: 0,
  initialising: 1,
  initWait: 2,
  initialised: 3,
  connected: 4,
  closing: 5,
  closed: 6,
  reconfiguring: 7,
  reconfigured: 8,
} as const;

/** Directories of a network device's two ends. */
export function vifPaths(
  frontend: number,
  backend: number,
  index: number,
): { readonly front: string; readonly back: string } {
  return {
    front: `/local/domain/${frontend}/device/vif/${index}`,
    back: `/local/domain/${backend}/backend/vif/${frontend}/${index}`,
  };
}

/** A network device that is to be. */
export interface VifDevice {
  /** Domains of its ends. */
  readonly frontend: number;
  readonly backend: number;
  /** Its number among the frontend's, from 0. */
  readonly index: number;
  /** `00:16:3e:00:00:01` */
  readonly mac: string;
}

/**
 * Makes the directories of a network device's ends, as Xen's tools do: each end writes its own and reads the other.
 * @param store a privileged domain's.
 */
export async function addVif(store: XenStore, { frontend, backend, index, mac }: VifDevice): Promise<void> {
  const { front, back } = vifPaths(frontend, backend, index);
  await inTransaction(store, async (transaction) => {
    for (const [path, owner, reader] of [
      [front, frontend, backend],
      [back, backend, frontend],
    ] as const) {
      await transaction.remove(path).catch(() => {});
      await transaction.mkdir(path);
      await transaction.setPermissions(path, [
        { domid: owner, access: 'n' },
        { domid: reader, access: 'r' },
      ]);
    }
    const write = async (path: string, values: Readonly<Record<string, string | number>>): Promise<void> => {
      for (const [key, value] of Object.entries(values)) await transaction.write(`${path}/${key}`, String(value));
    };
    const both = { handle: index, mac, state: XenbusState.initialising };
    await write(front, { backend: back, 'backend-id': backend, ...both });
    await write(back, { frontend: front, 'frontend-id': frontend, online: 1, ...both });
  });
}

/** Removes both directories: the ends see that the other is gone. */
export async function removeVif(store: XenStore, { frontend, backend, index }: Omit<VifDevice, 'mac'>): Promise<void> {
  const { front, back } = vifPaths(frontend, backend, index);
  await inTransaction(store, async (transaction) => {
    await transaction.remove(front);
    await transaction.remove(back);
  });
}

/** The value of a node; undefined when it is not there. */
export async function readKey(store: StoreOperations, path: string): Promise<string | undefined> {
  try {
    return await store.read(path);
  } catch (error) {
    if (error instanceof StoreError && error.error === 'ENOENT') return undefined;
    throw error;
  }
}

/**
 * The number that the other end wrote; `otherwise` when it wrote none.
 * @throws RingwayError `BAD_REQUEST` when it is none from 0 to `most`, or is missing and there is no `otherwise`.
 */
export async function readNumber(
  store: StoreOperations,
  path: string,
  most: number,
  otherwise?: number,
): Promise<number> {
  const text = await readKey(store, path);
  if (text === undefined && otherwise !== undefined) return otherwise;
  const value = text !== undefined && /^\d{1,10}$/.test(text) ? Number(text) : Number.NaN;
  if (value <= most) return value;
  const shown = text === undefined ? 'is missing' : JSON.stringify(text.slice(0, 40));
  throw new RingwayError('BAD_REQUEST', `${path}: ${shown}, must be a whole number from 0 to ${most}`);
}

/** One end of a device on the xenbus: its state, and what the other end's state becomes. */
export class Xenbus {
  readonly store: XenStore;
  readonly path: string;
  readonly peerPath: string;
  readonly #onPeer: (state: number) => Promise<void>;
  readonly #onError: (error: unknown) => void;
  #work: Promise<void> = Promise.resolve();
  #unwatch: Unwatch | undefined;
  #state: number = XenbusState.unknown;
  #peer = -1;
  #willLook = false;
  #error: unknown;

  /**
   * @param onPeer is called with each state that the other end is seen in, one after the other.
   * @param onError with what it, or other work, throws.
   */
  constructor(
    store: XenStore,
    path: string,
    peerPath: string,
    onPeer: (state: number) => Promise<void>,
    onError: (error: unknown) => void = () => {},
  ) {
    this.store = store;
    this.path = path;
    this.peerPath = peerPath;
    this.#onPeer = onPeer;
    this.#onError = onError;
  }

  get state(): number {
    return this.#state;
  }

  /** What went wrong last, with the other end or on the way to it. */
  get error(): unknown {
    return this.#error;
  }

  /** Goes to a state, and writes it, unless the tools have removed the device: a directory of ours alone would stay for good. */
  async switchTo(state: number): Promise<void> {
    this.#state = state;
    await inTransaction(this.store, async (transaction) => {
      const path = `${this.path}/state`;
      if ((await readKey(transaction, path)) !== undefined) await transaction.write(path, String(state));
    });
  }

  /** Watches the other end, and looks at it: it may have been ready before this end was, and seen so. */
  async start(): Promise<void> {
    this.#peer = -1;
    if (this.#unwatch !== undefined) {
      await this.do(() => this.#look());
      return;
    }
    // However many changes are told while one is dealt with, the state is what it is then: one look is waiting at most.
    this.#unwatch = await this.store.watch(`${this.peerPath}/state`, this.path, () => {
      if (this.#willLook) return;
      this.#willLook = true;
      this.do(() => this.#look());
    });
  }

  async #look(): Promise<void> {
    this.#willLook = false;
    const state = await readNumber(this.store, `${this.peerPath}/state`, XenbusState.reconfigured, 0).catch(() => 0);
    if (state === this.#peer) return;
    this.#peer = state;
    await this.#onPeer(state);
  }

  /** Does `work` after what is under way. */
  do(work: () => Promise<void>): Promise<void> {
    this.#work = this.#work.then(work).catch((error: unknown) => {
      this.#error = error;
      this.#onError(error);
    });
    return this.#work;
  }

  /** Watches the other end no more. What is under way is over then. */
  async stop(): Promise<void> {
    await this.#unwatch?.();
    this.#unwatch = undefined;
    await this.#work;
  }
}
