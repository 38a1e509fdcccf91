import { RingwayError } from '../util/errors.ts';
import type { GrantTable } from './hypervisor.ts';
import { XEN_PAGE_BYTES } from './layout.ts';
import { createNetRing, initSharedRing, type NetRing } from './ring.ts';
import { inTransaction } from './store-client.ts';
import { allFeatures, FEATURE_KEYS, queuePath, readFeatures, type VifOptions, withEvents } from './vif-device.ts';
import { createFrontQueue, type FrontPages, type VifFeatures, type VifQueue } from './vif-queue.ts';
import { readNumber, vifPaths, Xenbus, XenbusState } from './xenbus.ts';

/** What a frontend needs of its own domain. */
export interface FrontendMemory {
  readonly grants: GrantTable;
  /** Zeroed pages that follow each other. */
  allocPages(pages: number): number;
  freePages(address: number): void;
}

/** A queue, and what the other end is told of it. */
interface Made {
  readonly queue: VifQueue;
  readonly keys: Readonly<Record<string, number>>;
  readonly ports: readonly number[];
  readonly refs: readonly number[];
  readonly pages: readonly number[];
  readonly regions: readonly string[];
}

/** The frontend of one network device. */
export class Netfront {
  readonly #options: VifOptions & { readonly memory: FrontendMemory };
  readonly #bus: Xenbus;
  #made: readonly Made[] = [];
  /** References that the backend did not give back when it was told to: their pages are lost to this domain. */
  #lost = 0;
  #closing = false;

  constructor(options: VifOptions & { readonly memory: FrontendMemory }) {
    const { frontend, backend, index, hypervisor } = options;
    const { front, back } = vifPaths(frontend, backend, index);
    this.#options = options;
    this.#bus = new Xenbus(hypervisor.store, front, back, (state) => this.#onBackend(state));
  }

  /** XenbusState of this end. */
  get state(): number {
    return this.#bus.state;
  }

  /** Why it is not connected. */
  get error(): unknown {
    return this.#bus.error;
  }

  /** The queues, once it has offered them. */
  get queues(): readonly VifQueue[] {
    return this.#made.map(({ queue }) => queue);
  }

  /** Grants that a backend kept in use beyond the end: a page of them is never used again. */
  get lost(): number {
    return this.#lost;
  }

  /** Begins: connects as soon as the backend is ready. After `close`, begins again. */
  async start(): Promise<void> {
    this.#closing = false;
    await this.#bus.switchTo(XenbusState.initialising);
    await this.#bus.start();
  }

  /** Ends the connection. The backend gives everything back first, when it is there and does as it should. */
  async close(): Promise<void> {
    this.#closing = true;
    await this.#bus.do(() => this.#bus.switchTo(XenbusState.closing));
  }

  /** Ends it whatever the backend does. */
  async destroy(): Promise<void> {
    await this.#bus.stop();
    await this.#disconnect();
    await this.#bus.switchTo(XenbusState.closed);
  }

  async #onBackend(state: number): Promise<void> {
    const own = this.#bus.state;
    if (state === XenbusState.initWait) {
      if (own === XenbusState.initialising && !this.#closing) await this.#connect();
    } else if (state === XenbusState.connected) {
      await this.#options.onConnect?.(this.queues);
    } else if (state === XenbusState.closing || state === XenbusState.closed || state === XenbusState.unknown) {
      if (own === XenbusState.closed || own === XenbusState.initialising) return;
      await this.#disconnect();
      await this.#bus.switchTo(XenbusState.closed);
    }
  }

  async #connect(): Promise<void> {
    const { caches, features, splitEventChannels = true, backend } = this.#options;
    const { store, path, peerPath } = this.#bus;
    const has = async (key: string): Promise<boolean> => (await readNumber(store, `${peerPath}/${key}`, 1, 0)) === 1;
    try {
      if (!(await has('feature-rx-copy'))) throw new RingwayError('BAD_REQUEST', `${peerPath}: no feature-rx-copy`);
      const offered = await readNumber(store, `${peerPath}/multi-queue-max-queues`, 2 ** 32 - 1, 1);
      const queues = Math.max(1, Math.min(caches.length, offered));
      const split = splitEventChannels && (await has('feature-split-event-channels'));
      const peer = await readFeatures(store, peerPath);
      const made: Made[] = [];
      this.#made = made;
      for (let i = 0; i < queues; i++) made.push(this.#makeQueue(i, split, peer, backend));
      const own = allFeatures(features);
      await inTransaction(store, async (transaction) => {
        const write = (key: string, value: number): Promise<void> => transaction.write(key, String(value));
        if (queues > 1) await write(`${path}/multi-queue-num-queues`, queues);
        for (const [i, { keys }] of made.entries()) {
          for (const [key, value] of Object.entries(keys)) await write(`${queuePath(path, i, queues)}/${key}`, value);
        }
        await write(`${path}/request-rx-copy`, 1);
        await write(`${path}/feature-rx-notify`, 1);
        for (const [name, key] of Object.entries(FEATURE_KEYS)) {
          await write(`${path}/${key}`, own[name as keyof VifFeatures] ? 1 : 0);
        }
      });
      await this.#bus.switchTo(XenbusState.connected);
    } catch (error) {
      await this.#disconnect();
      await this.#bus.switchTo(XenbusState.closed);
      throw error;
    }
  }

  #makeQueue(i: number, split: boolean, features: VifFeatures, backend: number): Made {
    const { arena, hypervisor, memory, caches, name } = this.#options;
    const { events } = hypervisor;
    const [ports, refs, pages, regions]: [number[], number[], number[], string[]] = [[], [], [], []];
    const alloc = (count: number): number => {
      const address = memory.allocPages(count);
      pages.push(address);
      return address;
    };
    const grant = (page: number, readonly: boolean): number => {
      const ref = memory.grants.grant(backend, page, { readonly });
      refs.push(ref);
      return ref;
    };
    try {
      const makeRing = (kind: 'tx' | 'rx'): { ring: NetRing; ref: number } => {
        const sring = alloc(1);
        initSharedRing(arena, sring);
        const ring = createNetRing(arena, { name: `${name} ${kind} ring ${i}`, kind, side: 'front', sring });
        regions.push(`${name} ${kind} ring ${i}`);
        return { ring, ref: grant(sring, false) };
      };
      const tx = makeRing('tx');
      const rx = makeRing('rx');
      const makePages = (slots: number, readonly: boolean): FrontPages => {
        const address = alloc(slots);
        return {
          address,
          refs: Array.from({ length: slots }, (_, slot) => grant(address + slot * XEN_PAGE_BYTES, readonly)),
        };
      };
      const open = (): number => {
        const port = events.allocUnbound(backend);
        ports.push(port);
        return port;
      };
      const txPort = open();
      const rxPort = split ? open() : txPort;
      const queue = createFrontQueue(arena, {
        name: `${name} queue ${i}`,
        tx: tx.ring,
        rx: rx.ring,
        cache: caches[i] ?? 0,
        features,
        txPages: makePages(tx.ring.slots, true),
        rxPages: makePages(rx.ring.slots, false),
      });
      const channels = split ? { 'event-channel-tx': txPort, 'event-channel-rx': rxPort } : { 'event-channel': txPort };
      return {
        queue: withEvents(queue, events, txPort, rxPort),
        keys: { 'tx-ring-ref': tx.ref, 'rx-ring-ref': rx.ref, ...channels },
        ports,
        refs,
        pages,
        regions,
      };
    } catch (error) {
      this.#giveBack({ ports, refs, pages, regions });
      throw error;
    }
  }

  /** Ends grants and gives pages back, but for those that the backend keeps. */
  #giveBack({ ports, refs, pages, regions }: Omit<Made, 'queue' | 'keys'>): void {
    const { arena, hypervisor, memory } = this.#options;
    for (const port of ports) hypervisor.events.close(port);
    const kept = refs.filter((ref) => !memory.grants.end(ref)).length;
    this.#lost += kept;
    for (const region of regions) arena.release(region);
    // Which run a kept page is of is not looked up: a backend that keeps one is rare, and the pages are its domain's alone.
    if (kept === 0) for (const page of pages) memory.freePages(page);
  }

  async #disconnect(): Promise<void> {
    const old = this.#made;
    if (old.length === 0) return;
    this.#made = [];
    await this.#options.onDisconnect?.();
    for (const made of old) {
      made.queue.release();
      this.#giveBack(made);
    }
  }
}
