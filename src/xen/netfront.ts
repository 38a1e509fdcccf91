import { TOEPLITZ_KEY_BYTES } from '../packet/layout.ts';
import { RingwayError } from '../util/errors.ts';
import type { ControlClient, VifHash } from './control-client.ts';
import { VIFHASH_SIZE_MAX } from './control-layout.ts';
import { DATARING_ORDER_MAX, DATARING_ORDER_MIN } from './data-ring-layout.ts';
import { SRING_ORDER_MAX, STAGING_LENGTH_MAX, XDP_HEADROOM_MAX } from './layout.ts';
import { type FrontControl, makeFrontControl } from './netfront-control.ts';
import { type FrontPath, FrontQueue } from './netfront-queue.ts';
import { type FrontendMemory, SharedPages } from './shared-pages.ts';
import { inTransaction } from './store-client.ts';
import {
  allFeatures,
  featureKeys,
  HEADROOM_KEYS,
  PATH_KEYS,
  queuePath,
  RING_ORDER_KEY,
  readFeatures,
  type VifOptions,
} from './vif-device.ts';
import type { VifQueueShare } from './vif-queue.ts';
import { readNumber, vifPaths, Xenbus, XenbusState } from './xenbus.ts';

/** What a frontend is made with. */
export interface NetfrontOptions extends VifOptions {
  readonly memory: FrontendMemory;
  /** How packets get across, where the backend can: by grant copy by default, and wherever it cannot. */
  readonly path?: FrontPath;
  /** Pages of each ring, as a power of two: 0 (the default) to 4. One page where the backend takes no more. */
  readonly ringOrder?: number;
  /** Has the backend spread packets over queues so, where it can. */
  readonly hash?: VifHash;
}

function checkWhole(name: string, what: string, value: number, least: number, most: number): void {
  if (Number.isInteger(value) && value >= least && value <= most) return;
  throw new RingwayError('BAD_ARGUMENT', `${name}: ${what} ${value}, must be a whole number from ${least} to ${most}`);
}

function check({ name, queues, path, ringOrder = 0, hash }: NetfrontOptions): void {
  const whole = (what: string, value: number, least: number, most: number): void =>
    checkWhole(name, what, value, least, most);
  whole('queues', queues, 1, 16);
  whole('ring order', ringOrder, 0, SRING_ORDER_MAX);
  if (hash !== undefined) whole('bytes of the key of its hash,', hash.key.length, 0, TOEPLITZ_KEY_BYTES);
  if (hash !== undefined) whole('entries of the mapping of its hash,', hash.mapping.length, 0, VIFHASH_SIZE_MAX);
  if (path?.kind === 'data-ring') whole('order of its data ring,', path.order, DATARING_ORDER_MIN, DATARING_ORDER_MAX);
  if (path?.kind !== 'staging') return;
  for (const kind of ['tx', 'rx'] as const) whole(`bytes to stage (${kind})`, path[kind], 0, STAGING_LENGTH_MAX);
}

/** The frontend of one network device. */
export class Netfront {
  readonly #options: NetfrontOptions;
  readonly #bus: Xenbus;
  #made: readonly FrontQueue[] = [];
  #control: FrontControl | undefined;
  /** Pages of the connection, and of earlier ones, which the backend did not give back when it was told to. */
  #shared: SharedPages | undefined;
  #left: readonly SharedPages[] = [];
  #lost = 0;
  #closing = false;
  /** The backend has connected, and who serves the queues knows. */
  #isServed = false;
  /** Bytes before a packet that are wanted, and that the backend was told of; undefined while it offers none. */
  #headroom = 0;
  #told: number | undefined;

  /** @throws RingwayError `BAD_ARGUMENT` when an option is out of its range. */
  constructor(options: NetfrontOptions) {
    check(options);
    const { frontend, backend, index, hypervisor } = options;
    const { front, back } = vifPaths(frontend, backend, index);
    this.#options = options;
    this.#bus = new Xenbus(hypervisor.store, front, back, (state) => this.#onBackend(state), options.onError);
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
  get queues(): readonly VifQueueShare[] {
    return this.#made.map(({ share }) => share);
  }

  /** Its control ring, where the backend has one and it was made for something. */
  get control(): ControlClient | undefined {
    return this.#control?.client;
  }

  /** Grants that the backend keeps in use beyond the end: their pages are used again when it has let go, and not before. */
  get lost(): number {
    return this.#lost;
  }

  /**
   * Has the backend leave so many bytes before each packet in its first page, where it can (`feature-xdp-headroom`), from the next connection on
   * or, while it is connected, by Reconfiguring: each packet says whether it has them. Linux's frontend asks for 256 for an XDP program.
   * @param bytes 0 (at first) to 2,048.
   * @throws RingwayError `BAD_ARGUMENT` when it is out of that range.
   */
  async setHeadroom(bytes: number): Promise<void> {
    checkWhole(this.#options.name, 'bytes before a packet', bytes, 0, XDP_HEADROOM_MAX);
    this.#headroom = bytes;
    await this.#bus.do(() => this.#tellHeadroom());
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
      // Another backend in the place of one that was to read the headroom: it reads it anyway.
      if (own === XenbusState.reconfiguring) await this.#bus.switchTo(XenbusState.connected);
      this.#isServed = false;
    } else if (state === XenbusState.reconfigured) {
      if (own === XenbusState.reconfiguring) await this.#bus.switchTo(XenbusState.connected);
    } else if (state === XenbusState.connected) {
      if (!this.#isServed) await this.#serve();
      await this.#tellHeadroom();
    } else if (state === XenbusState.closing || state === XenbusState.closed || state === XenbusState.unknown) {
      if (own === XenbusState.closed || own === XenbusState.initialising) return;
      await this.#disconnect();
      await this.#bus.switchTo(XenbusState.closed);
    }
  }

  async #serve(): Promise<void> {
    await this.#options.onConnect?.(this.queues);
    this.#isServed = true;
    // Packets pass meanwhile, by copies and flow by flow.
    if (this.#control !== undefined) void this.#ask(this.#control.client).catch(this.#options.onError ?? (() => {}));
  }

  /** Says how many bytes are wanted before a packet, unless the backend knows, or is just reading what it was told before. */
  async #tellHeadroom(): Promise<void> {
    if (!this.#isServed || this.#told === undefined || this.#told === this.#headroom) return;
    if (this.#bus.state !== XenbusState.connected) return;
    this.#told = this.#headroom;
    await this.#bus.store.write(`${this.#bus.path}/${HEADROOM_KEYS.front}`, String(this.#told));
    await this.#bus.switchTo(XenbusState.reconfiguring);
  }

  async #connect(): Promise<void> {
    const { arena, hypervisor, memory, backend, name, features, splitEventChannels = true, hash } = this.#options;
    const { store, path, peerPath } = this.#bus;
    const read = (key: string, most = 1, otherwise = 0): Promise<number> =>
      readNumber(store, `${peerPath}/${key}`, most, otherwise);
    try {
      if ((await read('feature-rx-copy')) === 0) {
        throw new RingwayError('BAD_REQUEST', `${peerPath}: no feature-rx-copy`);
      }
      const offered = await read('multi-queue-max-queues', 2 ** 32 - 1, 1);
      const queues = Math.max(1, Math.min(this.#options.queues, offered));
      const split = splitEventChannels && (await read('feature-split-event-channels')) === 1;
      const order = Math.min(this.#options.ringOrder ?? 0, await read(RING_ORDER_KEY, 2 ** 32 - 1));
      const wanted = this.#options.path ?? { kind: 'copy' };
      const isPossible = wanted.kind === 'copy' || (await read(PATH_KEYS[wanted.kind])) === 1;
      const peer = await readFeatures(store, peerPath);
      this.#reclaim();
      const shared = new SharedPages(memory, backend);
      this.#shared = shared;
      const made: FrontQueue[] = [];
      this.#made = made;
      for (let i = 0; i < queues; i++) {
        made.push(
          new FrontQueue({
            arena,
            hypervisor,
            shared,
            backend,
            name: `${name} queue ${i}`,
            features: peer,
            split,
            ringOrder: order,
            path: isPossible ? wanted : { kind: 'copy' },
          }),
        );
      }
      if ((wanted.kind === 'control' || hash !== undefined) && (await read(PATH_KEYS.control)) === 1) {
        this.#control = makeFrontControl(arena, hypervisor, { name, backend, shared });
      }
      this.#told = (await read(HEADROOM_KEYS.back)) === 1 ? this.#headroom : undefined;
      const own = featureKeys(allFeatures(features));
      await inTransaction(store, async (transaction) => {
        const write = (key: string, value: number): Promise<void> => transaction.write(key, String(value));
        if (queues > 1) await write(`${path}/multi-queue-num-queues`, queues);
        for (const [i, { keys }] of made.entries()) {
          for (const [key, value] of Object.entries(keys)) await write(`${queuePath(path, i, queues)}/${key}`, value);
        }
        for (const [key, value] of Object.entries(this.#control?.keys ?? {})) await write(`${path}/${key}`, value);
        await write(`${path}/request-rx-copy`, 1);
        if (isPossible && wanted.kind === 'persistent') await write(`${path}/${PATH_KEYS.persistent}`, 1);
        await write(`${path}/feature-rx-notify`, 1);
        if (this.#told !== undefined) await write(`${path}/${HEADROOM_KEYS.front}`, this.#told);
        for (const [key, value] of Object.entries(own)) await write(`${path}/${key}`, value);
      });
      await this.#bus.switchTo(XenbusState.connected);
    } catch (error) {
      await this.#disconnect();
      await this.#bus.switchTo(XenbusState.closed);
      throw error;
    }
  }

  /** Tells the backend what only a connected one may be told. One that refuses is left alone. */
  async #ask(client: ControlClient): Promise<void> {
    const { path, hash } = this.#options;
    if (hash !== undefined) await client.setHash(hash);
    if (path?.kind !== 'control') return;
    for (const [i, { grants }] of this.#made.entries()) await client.keep(i, grants);
  }

  async #disconnect(): Promise<void> {
    const shared = this.#shared;
    if (shared === undefined) {
      this.#reclaim();
      return;
    }
    this.#shared = undefined;
    this.#isServed = false;
    const old = this.#made;
    this.#made = [];
    if (old.length > 0) await this.#options.onDisconnect?.();
    this.#control?.release();
    this.#control = undefined;
    for (const queue of old) queue.release();
    this.#left = [...this.#left, shared];
    this.#reclaim();
  }

  /** Takes back what the backend has let go by now. */
  #reclaim(): void {
    const left = this.#left.map((shared) => ({ shared, grants: shared.release() })).filter(({ grants }) => grants > 0);
    this.#left = left.map(({ shared }) => shared);
    this.#lost = left.reduce((sum, { grants }) => sum + grants, 0);
  }
}
