import { RingwayError } from '../util/errors.ts';
import { HashSettings } from './hash.ts';
import { SRING_ORDER_MAX, XDP_HEADROOM_MAX } from './layout.ts';
import { type BackConnection, connectBackQueue, connectControl } from './netback-queue.ts';
import { MCAST_BYTES, VIFQ_HEADROOM } from './queue-layout.ts';
import { parseRate, setRate, type VifRate } from './rate.ts';
import { inTransaction, type Unwatch } from './store-client.ts';
import {
  allFeatures,
  featureKeys,
  HEADROOM_KEYS,
  MULTICAST_KEYS,
  PATH_KEYS,
  queuePath,
  RATE_KEY,
  RING_ORDER_KEY,
  readFeatures,
  type VifOptions,
  type VifPath,
} from './vif-device.ts';
import type { VifQueueShare } from './vif-queue.ts';
import { readKey, readNumber, vifPaths, Xenbus, XenbusState } from './xenbus.ts';

const ALL_PATHS = Object.keys(PATH_KEYS) as VifPath[];

/** What a backend is made with. */
export interface NetbackOptions extends VifOptions {
  /** What it can beside copies by grant: all by default. */
  readonly paths?: readonly VifPath[];
  /**
   * Address of VIFHASH_BYTES of `layout.ts`, for the frontend to say how packets are spread over its queues: whoever sends looks there,
   * and has `vifSteer` leave hashes in their slots. Without it nobody is asked to.
   */
  readonly hash?: number;
  /** Pages of a ring that it takes, as a power of two: 0 to 4, the default. */
  readonly maxRingOrder?: number;
}

/** The backend of one network device: the frontend's packets are received, and packets are sent to it. */
export class Netback {
  readonly #options: NetbackOptions;
  readonly #bus: Xenbus;
  #connections: readonly BackConnection[] = [];
  #control: Awaited<ReturnType<typeof connectControl>> | undefined;
  #unwatchRate: Unwatch | undefined;
  #forget = (): void => {};

  constructor(options: NetbackOptions) {
    const { frontend, backend, index, hypervisor } = options;
    const { front, back } = vifPaths(frontend, backend, index);
    this.#options = options;
    this.#bus = new Xenbus(hypervisor.store, back, front, (state) => this.#onFrontend(state), options.onError);
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
  get queues(): readonly VifQueueShare[] {
    return this.#connections.map(({ queue }) => queue);
  }

  /** The rule of its control ring that the frontend broke: it is not answered any more. */
  get controlFault(): string | undefined {
    return this.#control?.server.fault();
  }

  /** Says what it can do, and waits for the frontend. */
  async start(): Promise<void> {
    await this.#offer();
    await this.#bus.start();
  }

  /** Lets the frontend go whatever it does, and waits for no other. */
  async destroy(): Promise<void> {
    await this.#giveUp();
    await this.#bus.switchTo(XenbusState.closed);
  }

  /**
   * Gives up what it has of the frontend's, and leaves the device as it is, for the next backend: its rings go on where they are. A
   * frontend such as Linux's comes back from no other state, once it was closed. A device that the tools take away (`online`) is closed.
   */
  async leave(): Promise<void> {
    await this.#giveUp();
    const { store, path } = this.#bus;
    if ((await readKey(store, `${path}/online`)) !== '1') await this.#bus.switchTo(XenbusState.closed);
  }

  async #giveUp(): Promise<void> {
    try {
      await this.#bus.stop();
    } finally {
      await this.#disconnect();
    }
  }

  async #offer(): Promise<void> {
    const {
      queues,
      features,
      splitEventChannels = true,
      paths = ALL_PATHS,
      maxRingOrder = SRING_ORDER_MAX,
      hash,
    } = this.#options;
    const { path, store } = this.#bus;
    await inTransaction(store, async (transaction) => {
      const keys: Record<string, number> = {
        'feature-rx-copy': 1,
        ...featureKeys(allFeatures(features)),
        'feature-split-event-channels': splitEventChannels ? 1 : 0,
        'multi-queue-max-queues': queues,
        [RING_ORDER_KEY]: maxRingOrder,
        [HEADROOM_KEYS.back]: 1,
        [MULTICAST_KEYS.back]: 1,
      };
      for (const path of ALL_PATHS) keys[PATH_KEYS[path]] = paths.includes(path) ? 1 : 0;
      if (hash !== undefined) keys[PATH_KEYS.control] = 1;
      for (const [key, value] of Object.entries(keys)) await transaction.write(`${path}/${key}`, String(value));
    });
    await this.#bus.switchTo(XenbusState.initWait);
  }

  async #onFrontend(state: number): Promise<void> {
    const own = this.#bus.state;
    if (state === XenbusState.initialising) {
      // It comes back, and may have been closed unseen.
      if (own === XenbusState.initWait) return;
      await this.#disconnect();
      await this.#offer();
    } else if (state === XenbusState.initialised || state === XenbusState.connected) {
      if (own === XenbusState.initWait) await this.#connect();
      else if (own === XenbusState.reconfigured) await this.#bus.switchTo(XenbusState.connected);
    } else if (state === XenbusState.reconfiguring) {
      if (own !== XenbusState.connected) return;
      await this.#readHeadroom();
      await this.#bus.switchTo(XenbusState.reconfigured);
    } else if (state === XenbusState.closing) {
      await this.#disconnect();
      await this.#bus.switchTo(XenbusState.closing);
    } else if (state === XenbusState.closed || state === XenbusState.unknown) {
      await this.#disconnect();
      if (own !== XenbusState.closed) await this.#bus.switchTo(XenbusState.closed);
    }
  }

  async #connect(): Promise<void> {
    const { arena, hypervisor, frontend, name, paths = ALL_PATHS, hash, onConnect } = this.#options;
    const { store, peerPath } = this.#bus;
    const made: BackConnection[] = [];
    const region = `${name} multicast`;
    const multicast = arena.allocate(region, MCAST_BYTES);
    this.#forget = () => arena.release(region);
    try {
      const queues = await readNumber(store, `${peerPath}/multi-queue-num-queues`, this.#options.queues, 1);
      if (queues === 0) throw new RingwayError('BAD_REQUEST', `${peerPath}: 0 queues`);
      if ((await readNumber(store, `${peerPath}/request-rx-copy`, 1, 0)) === 0) {
        throw new RingwayError('BAD_REQUEST', `${peerPath}: a frontend without request-rx-copy is not served`);
      }
      const features = await readFeatures(store, peerPath);
      const says = (await readNumber(store, `${peerPath}/${PATH_KEYS.persistent}`, 1, 0)) === 1;
      const keeps = says && paths.includes('persistent');
      const filters = (await readNumber(store, `${peerPath}/${MULTICAST_KEYS.front}`, 1, 0)) === 1;
      const controls = paths.includes('control');
      const hasControl = (await readKey(store, `${peerPath}/ctrl-ring-ref`)) !== undefined;
      for (let i = 0; i < queues; i++) {
        const path = queuePath(peerPath, i, queues);
        const of = {
          arena,
          hypervisor,
          frontend,
          name: `${name} queue ${i}`,
          path,
          features,
          paths,
          keeps,
          controls: controls && hasControl,
          multicast,
          filters,
          hash: hash ?? 0,
        };
        made.push(await connectBackQueue(of));
      }
      const grants = made.map((queue) => queue.grants);
      if (hasControl && (controls || hash !== undefined)) {
        const place = { arena, hypervisor, frontend, name: `${name} control`, path: peerPath };
        const settings = hash === undefined ? undefined : new HashSettings(arena, hash, queues);
        this.#control = await connectControl(place, { hash: settings, grants });
      }
      this.#connections = made;
      await this.#readHeadroom();
    } catch (error) {
      this.#connections = [];
      this.#release(made);
      await this.#bus.switchTo(XenbusState.closing);
      throw error;
    }
    await onConnect?.(this.queues);
    await this.#bus.switchTo(XenbusState.connected);
    // Last, so that what is wrong with it is the news that stays.
    const path = `${this.#bus.path}/${RATE_KEY}`;
    this.#unwatchRate = await store.watch(path, path, () => void this.#bus.do(() => this.#readRate(path)));
  }

  /** Has the queues take as much as the tools allow; all, when what they wrote is no rate. */
  async #readRate(path: string): Promise<void> {
    const text = await readKey(this.#bus.store, path);
    let rate: VifRate = { bytes: 0, usec: 0 };
    try {
      rate = parseRate(path, text);
    } finally {
      for (const { txQueue } of this.queues) setRate(this.#options.arena, txQueue, rate);
    }
  }

  /** Leaves so many bytes before each packet as the frontend says, for its programs. */
  async #readHeadroom(): Promise<void> {
    const { store, peerPath } = this.#bus;
    const bytes = await readNumber(store, `${peerPath}/${HEADROOM_KEYS.front}`, XDP_HEADROOM_MAX, 0);
    for (const { rxQueue } of this.queues)
      Atomics.store(this.#options.arena.u32, (rxQueue + VIFQ_HEADROOM) >>> 2, bytes);
  }

  async #disconnect(): Promise<void> {
    const old = this.#connections;
    if (old.length === 0) return;
    this.#connections = [];
    await this.#unwatchRate?.();
    this.#unwatchRate = undefined;
    await this.#options.onDisconnect?.();
    this.#release(old);
  }

  #release(queues: readonly BackConnection[]): void {
    this.#control?.undo();
    this.#control = undefined;
    for (const { undo } of queues) undo();
    this.#forget();
  }
}
