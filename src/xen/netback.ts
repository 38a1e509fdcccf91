import { RingwayError } from '../util/errors.ts';
import type { Hypervisor } from './hypervisor.ts';
import { createNetRing, type NetRing } from './ring.ts';
import { inTransaction } from './store-client.ts';
import { allFeatures, FEATURE_KEYS, queuePath, readFeatures, type VifOptions, withEvents } from './vif-device.ts';
import { createBackQueue, type VifFeatures, type VifQueue } from './vif-queue.ts';
import { readNumber, vifPaths, Xenbus, XenbusState } from './xenbus.ts';

const U32_MAX = 2 ** 32 - 1;

/** What a connected queue holds. */
interface Connection {
  readonly queue: VifQueue;
  /** Undoes it, last step first. */
  readonly undo: readonly (() => void)[];
}

function unwind(undo: readonly (() => void)[]): void {
  for (const step of [...undo].reverse()) step();
}

/** Maps one page of the frontend. @throws RingwayError `BAD_REQUEST` with the status when Xen refuses */
function mapRing(hypervisor: Hypervisor, domid: number, ref: number, undo: (() => void)[]): number {
  const page = hypervisor.takePages(1);
  undo.push(() => hypervisor.freePages(page));
  const [mapped] = hypervisor.map([{ domid, ref }], page);
  // A map that failed is never taken for one: its address would be a page of our own.
  if (mapped === undefined || mapped.status !== 0) {
    throw new RingwayError('BAD_REQUEST', `grant ${ref} of domain ${domid} cannot be mapped: ${mapped?.status}`);
  }
  undo.push(() => void hypervisor.unmap([mapped.handle]));
  return mapped.address;
}

/** The backend of one network device: the frontend's packets are received, and packets are sent to it, by grant copy. */
export class Netback {
  readonly #options: VifOptions;
  readonly #bus: Xenbus;
  #connections: readonly Connection[] = [];

  constructor(options: VifOptions) {
    const { frontend, backend, index, hypervisor } = options;
    const { front, back } = vifPaths(frontend, backend, index);
    this.#options = options;
    this.#bus = new Xenbus(hypervisor.store, back, front, (state) => this.#onFrontend(state));
  }

  /** XenbusState of this end. */
  get state(): number {
    return this.#bus.state;
  }

  /** Why the frontend was not connected, or was let go. */
  get error(): unknown {
    return this.#bus.error;
  }

  /** The queues, while it is connected. */
  get queues(): readonly VifQueue[] {
    return this.#connections.map(({ queue }) => queue);
  }

  /** Says what it can do, and waits for the frontend. */
  async start(): Promise<void> {
    await this.#offer();
    await this.#bus.start();
  }

  /** Lets the frontend go, and waits for no other. */
  async close(): Promise<void> {
    await this.#bus.stop();
    await this.#disconnect();
    await this.#bus.switchTo(XenbusState.closed);
  }

  async #offer(): Promise<void> {
    const { caches, features, splitEventChannels = true } = this.#options;
    const { path, store } = this.#bus;
    const own = allFeatures(features);
    await inTransaction(store, async (transaction) => {
      const keys: Record<string, number> = {
        'feature-rx-copy': 1,
        'feature-ipv6-csum-offload': 1,
        'feature-split-event-channels': splitEventChannels ? 1 : 0,
        'multi-queue-max-queues': caches.length,
      };
      for (const [name, key] of Object.entries(FEATURE_KEYS)) keys[key] = own[name as keyof VifFeatures] ? 1 : 0;
      for (const [key, value] of Object.entries(keys)) await transaction.write(`${path}/${key}`, String(value));
    });
    await this.#bus.switchTo(XenbusState.initWait);
  }

  async #onFrontend(state: number): Promise<void> {
    const own = this.#bus.state;
    if (state === XenbusState.initialising) {
      // It comes back after it was closed.
      if (own === XenbusState.closed || own === XenbusState.closing) await this.#offer();
    } else if (state === XenbusState.initialised || state === XenbusState.connected) {
      if (own === XenbusState.initWait) await this.#connect();
    } else if (state === XenbusState.closing) {
      await this.#disconnect();
      await this.#bus.switchTo(XenbusState.closing);
    } else if (state === XenbusState.closed || state === XenbusState.unknown) {
      await this.#disconnect();
      if (own !== XenbusState.closed) await this.#bus.switchTo(XenbusState.closed);
    }
  }

  async #connect(): Promise<void> {
    const { caches, onConnect } = this.#options;
    const { store, peerPath } = this.#bus;
    const made: Connection[] = [];
    try {
      const queues = await readNumber(store, `${peerPath}/multi-queue-num-queues`, caches.length, 1);
      if (queues === 0) throw new RingwayError('BAD_REQUEST', `${peerPath}: 0 queues`);
      if ((await readNumber(store, `${peerPath}/request-rx-copy`, 1, 0)) === 0) {
        throw new RingwayError('BAD_REQUEST', `${peerPath}: a frontend without request-rx-copy is not served`);
      }
      const features = await readFeatures(store, peerPath);
      for (let i = 0; i < queues; i++) made.push(await this.#connectQueue(i, queues, features));
    } catch (error) {
      for (const { undo } of made.reverse()) unwind(undo);
      await this.#bus.switchTo(XenbusState.closing);
      throw error;
    }
    this.#connections = made;
    await onConnect?.(this.queues);
    await this.#bus.switchTo(XenbusState.connected);
  }

  async #connectQueue(i: number, queues: number, features: VifFeatures): Promise<Connection> {
    const { arena, hypervisor, frontend, caches, name } = this.#options;
    const { store, peerPath } = this.#bus;
    const path = queuePath(peerPath, i, queues);
    const undo: (() => void)[] = [];
    try {
      const rings: NetRing[] = [];
      for (const kind of ['tx', 'rx'] as const) {
        const ref = await readNumber(store, `${path}/${kind}-ring-ref`, U32_MAX);
        const sring = mapRing(hypervisor, frontend, ref, undo);
        rings.push(createNetRing(arena, { name: `${name} ${kind} ring ${i}`, kind, side: 'back', sring }));
        undo.push(() => arena.release(`${name} ${kind} ring ${i}`));
      }
      const bind = async (key: string, otherwise?: number): Promise<number> => {
        const port = await readNumber(store, `${path}/${key}`, U32_MAX, otherwise);
        if (port === otherwise) return port;
        const own = hypervisor.events.bindInterdomain(frontend, port);
        undo.push(() => hypervisor.events.close(own));
        return own;
      };
      const split = await bind('event-channel-tx', 0);
      const txPort = split === 0 ? await bind('event-channel') : split;
      const rxPort = split === 0 ? txPort : await bind('event-channel-rx');
      const [tx, rx] = rings as [NetRing, NetRing];
      const base = { name: `${name} queue ${i}`, tx, rx, cache: caches[i] ?? 0, features, frontend };
      const queue = createBackQueue(arena, hypervisor, base);
      undo.push(() => queue.release());
      return { queue: withEvents(queue, hypervisor.events, txPort, rxPort), undo };
    } catch (error) {
      unwind(undo);
      throw error;
    }
  }

  async #disconnect(): Promise<void> {
    const old = this.#connections;
    if (old.length === 0) return;
    this.#connections = [];
    await this.#options.onDisconnect?.();
    for (const { undo } of old) unwind(undo);
  }
}
