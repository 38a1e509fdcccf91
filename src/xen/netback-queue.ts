import type { Arena } from '../memory/arena.ts';
import { createBackQueue } from './back-queue.ts';
import { ControlServer, type ControlServerOptions } from './control-server.ts';
import { type DataRing, mapDataRing } from './data-ring.ts';
import type { Hypervisor } from './hypervisor.ts';
import { keepGrants } from './kept-grants.ts';
import { SRING_ORDER_MAX, STAGING_LENGTH_MAX, STAGING_PAGE_ENTRIES } from './layout.ts';
import { MappedGrants } from './mapped-grants.ts';
import { createNetRing, type NetRing } from './ring.ts';
import { mapGrants, mapRun, mapStaging, type StagingBuffers, unwind } from './staging.ts';
import type { XenStore } from './store-client.ts';
import { DATA_RING_KEY, type VifPath } from './vif-device.ts';
import type { VifFeatures, VifQueueShare } from './vif-queue.ts';
import { readKey, readNumber } from './xenbus.ts';

const U32_MAX = 2 ** 32 - 1;

/** Bytes of the arena that the state of a queue takes. */
export const BACK_QUEUE_BYTES = 400 << 10;
/** And that of the control ring. */
export const BACK_CONTROL_BYTES = 48 << 10;

/** Pages of others that a queue maps at most, with rings of up to `order`: rings; staging buffers and a page that lists them, or a data ring. */
export function backQueuePages(order: number): number {
  return 2 * 2 ** order * (1 + STAGING_PAGE_ENTRIES) + 2 ** order;
}

/** A queue that is connected. */
export interface BackConnection {
  readonly queue: VifQueueShare;
  /** Grants that messages keep mapped, when the queue has them. */
  readonly grants: MappedGrants | undefined;
  /** Gives all of it back: nobody serves the queue any more. */
  undo(): void;
}

/** Where something is connected. */
interface ConnectPlace {
  readonly arena: Arena;
  readonly hypervisor: Hypervisor;
  readonly frontend: number;
  /** Names its regions in the arena. */
  readonly name: string;
  /** The frontend's directory of it. */
  readonly path: string;
}

/** What a backend connects a queue with. */
export interface BackConnectOptions extends ConnectPlace {
  readonly features: VifFeatures;
  readonly paths: readonly VifPath[];
  /** The frontend keeps its grants, and says so. */
  readonly keeps: boolean;
  /** It may say by messages which grants are to be kept mapped. */
  readonly controls: boolean;
  /** What all queues of the device have: see `BackQueueOptions`. */
  readonly multicast: number;
  readonly filters: boolean;
  readonly hash: number;
}

/** Rings, channels and buffers of one queue, step by step as its keys name them. Each step can be undone. */
class Connecting {
  readonly #options: ConnectPlace;
  readonly #store: XenStore;
  readonly undo: (() => void)[] = [];

  constructor(options: ConnectPlace) {
    this.#options = options;
    this.#store = options.hypervisor.store;
  }

  #number(key: string, otherwise?: number, most = U32_MAX): Promise<number> {
    return readNumber(this.#store, `${this.#options.path}/${key}`, most, otherwise);
  }

  async ring(kind: 'tx' | 'rx'): Promise<{ readonly ring: NetRing; readonly order: number }> {
    const { arena, hypervisor, frontend, name, path } = this.#options;
    const order = await this.#number(`${kind}-ring-page-order`, 0, SRING_ORDER_MAX);
    const refs: number[] = [];
    if (order === 0) refs.push(await this.#number(`${kind}-ring-ref`));
    else for (let i = 0; i < 2 ** order; i++) refs.push(await this.#number(`${kind}-ring-ref${i}`));
    const sring = mapRun(
      hypervisor,
      refs.map((ref) => ({ domid: frontend, ref })),
      this.undo,
      `${path}: the pages of its ${kind} ring`,
    );
    const ring = createNetRing(arena, { name: `${name} ${kind} ring`, kind, side: 'back', sring, order });
    this.undo.push(() => arena.release(`${name} ${kind} ring`));
    return { ring, order };
  }

  /** The control ring of the device, and its event channel. */
  async control(): Promise<{ readonly ring: NetRing; readonly port: number }> {
    const { arena, hypervisor, frontend, name } = this.#options;
    const ref = await this.#number('ctrl-ring-ref');
    const [sring = 0] = mapGrants(hypervisor, [{ domid: frontend, ref }], this.undo);
    const ring = createNetRing(arena, { name: `${name} ring`, kind: 'ctrl', side: 'back', sring });
    this.undo.push(() => arena.release(`${name} ring`));
    const port = hypervisor.events.bindInterdomain(frontend, await this.#number('event-channel-ctrl'));
    this.undo.push(() => hypervisor.events.close(port));
    return { ring, port };
  }

  async channels(): Promise<{ readonly txPort: number; readonly rxPort: number }> {
    const { hypervisor, frontend } = this.#options;
    const bind = async (key: string, otherwise?: number): Promise<number> => {
      const port = await this.#number(key, otherwise);
      if (port === otherwise) return port;
      const own = hypervisor.events.bindInterdomain(frontend, port);
      this.undo.push(() => hypervisor.events.close(own));
      return own;
    };
    const split = await bind('event-channel-tx', 0);
    const txPort = split === 0 ? await bind('event-channel') : split;
    return { txPort, rxPort: split === 0 ? txPort : await bind('event-channel-rx') };
  }

  /** Staging buffers of a direction, when the frontend lists some. */
  async staging(kind: 'tx' | 'rx', order: number, firstId: number): Promise<StagingBuffers | undefined> {
    const { arena, hypervisor, frontend, path } = this.#options;
    const listRefs: number[] = [];
    for (let i = 0; i < 2 ** order; i++) {
      const key = `${kind}-data-ref${i}`;
      if ((await readKey(this.#store, `${path}/${key}`)) === undefined) break;
      listRefs.push(await this.#number(key));
    }
    if (listRefs.length === 0) return undefined;
    return mapStaging(
      arena,
      hypervisor,
      {
        path: `${path}/${kind}-data-len`,
        domid: frontend,
        listRefs,
        length: await this.#number(`${kind}-data-len`, undefined, STAGING_LENGTH_MAX),
        readonly: kind === 'tx',
        firstId,
        most: STAGING_PAGE_ENTRIES * 2 ** order,
      },
      this.undo,
    );
  }

  /** The data ring, when the frontend has one. */
  async dataRing(): Promise<DataRing | undefined> {
    const { arena, hypervisor, frontend, path } = this.#options;
    const key = `${path}/${DATA_RING_KEY}`;
    if ((await readKey(this.#store, key)) === undefined) return undefined;
    return mapDataRing(
      arena,
      hypervisor,
      { path: key, domid: frontend, ref: await this.#number(DATA_RING_KEY) },
      this.undo,
    );
  }
}

/** Connects the backend to a queue that the frontend offers. @throws RingwayError `BAD_REQUEST` when what it offers cannot be */
export async function connectBackQueue(options: BackConnectOptions): Promise<BackConnection> {
  const { arena, hypervisor, frontend, name, features, paths, keeps, controls, multicast, filters, hash } = options;
  const steps = new Connecting(options);
  const { undo } = steps;
  try {
    const tx = await steps.ring('tx');
    const rx = await steps.ring('rx');
    const { txPort, rxPort } = await steps.channels();
    const stages = paths.includes('staging');
    const txStaging = stages ? await steps.staging('tx', tx.order, 0) : undefined;
    const rxStaging = stages ? await steps.staging('rx', rx.order, txStaging?.addresses.length ?? 0) : undefined;
    const dataRing = paths.includes('data-ring') ? await steps.dataRing() : undefined;
    const queue = createBackQueue(arena, hypervisor, {
      name,
      tx: tx.ring,
      rx: rx.ring,
      features,
      frontend,
      multicast,
      filters,
      hash,
      ...(txStaging === undefined ? {} : { txStaging }),
      ...(rxStaging === undefined ? {} : { rxStaging }),
      ...(dataRing === undefined ? {} : { dataRing }),
    });
    undo.push(() => queue.release());
    if (dataRing !== undefined) {
      const { xenReturnFrames } = arena.kernels<{ xenReturnFrames(queue: number): void }>();
      // Who comes next goes on behind what was answered.
      undo.push(() => xenReturnFrames(queue.txQueue));
    }
    if (keeps) {
      for (const [address, kind, ring] of [
        [queue.txQueue, 'tx', tx.ring],
        [queue.rxQueue, 'rx', rx.ring],
      ] as const) {
        undo.push(keepGrants(arena, hypervisor, { queue: address, name: `${name} ${kind}`, slots: ring.slots }));
      }
    }
    let grants: MappedGrants | undefined;
    if (controls && !keeps) {
      const queues = [queue.txQueue, queue.rxQueue];
      const kept = new MappedGrants(arena, hypervisor, { name, domid: frontend, queues });
      undo.push(() => kept.release());
      grants = kept;
    }
    const data = hypervisor.shareData(`${name} data`);
    undo.push(() => arena.release(data.name));
    const { release: _, ...made } = queue;
    return { queue: { side: 'back', ...made, txPort, rxPort, data }, grants, undo: () => unwind(undo) };
  } catch (error) {
    unwind(undo);
    throw error;
  }
}

/** Serves the control ring that a frontend offers in its directory. @throws RingwayError `BAD_REQUEST` when it cannot be */
export async function connectControl(
  place: ConnectPlace,
  { hash, grants }: Pick<ControlServerOptions, 'hash' | 'grants'>,
): Promise<{ readonly server: ControlServer; undo(): void }> {
  const steps = new Connecting(place);
  const { undo } = steps;
  try {
    const server = new ControlServer({ ...place, ...(await steps.control()), hash, grants });
    undo.push(() => server.close());
    return { server, undo: () => unwind(undo) };
  } catch (error) {
    unwind(undo);
    throw error;
  }
}
