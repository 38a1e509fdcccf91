import type { DmaEngine } from '../dma/engines.ts';
import type { Arena } from '../memory/arena.ts';
import type { AsyncSnapshot, EngineSnapshot } from '../telemetry/snapshot.ts';
import { type Assignment, assign } from './assign.ts';
import { AsyncEngine } from './engine.ts';
import { WORK_BYTES } from './layout.ts';
import type { AsyncMessage, AsyncWire } from './lcore.ts';
import { createAsyncQueue, readAsyncCounters, readInFlight } from './queue.ts';
import type { Integration, RingFull } from './transmit.ts';
import { createAsyncVif } from './vif.ts';
import { readWorkCounters } from './work-ring.ts';

/** How a dataplane has its copies done. */
export interface AsyncOptions {
  readonly integration: Integration;
  readonly assignment: Assignment;
  readonly engine: DmaEngine;
  /** Engines, 1 to 64; each is a thread, unless it is `cpu`. */
  readonly engines: number;
  /** Copies of fewer bytes are the CPU's: 0 to 65,535. */
  readonly threshold: number;
  /** Of `defer`: looks at work in one run (1 to 1024), and loops that are passed over between two runs (0 to 1024). */
  readonly attempts: number;
  readonly delay: number;
  /** Of `v4`. */
  readonly ringFull: RingFull;
}

/** A queue that is to have its copies done by engines. */
export interface AsyncRing {
  /** Address of its net queue, a device's; of a Xen device, of the direction. */
  readonly netq: number;
  readonly kind: 'virtio' | 'vif';
  /** The port that it is of, and which of that port's queue pairs it belongs to. */
  readonly port: string;
  readonly pair: number;
  /** Packets are sent to the driver, rather than received from it. */
  readonly sends: boolean;
  /** The lcore that serves it; not asked before it is announced to that. */
  readonly lcore: () => number;
}

interface Entry extends AsyncRing {
  readonly serial: number;
  readonly address: number;
  readonly regions: readonly string[];
  engine: number;
  isGone: boolean;
}

/** How often engines are looked at, ms. */
const WATCH_MS = 20;

/** Bytes that the engines and lcores take, beside the queues. */
export function asyncBytes({ engines }: AsyncOptions, lcores: number): number {
  // A channel of 1,024 descriptors and its track; guards.
  return engines * (1024 * (32 + 256 + 4) + 4096) + lcores * (WORK_BYTES + 64);
}

/** Sends a message to an lcore; resolves with its answer. */
export type TellLcore = (lcore: number, message: AsyncMessage) => Promise<unknown>;

/** The control thread's side of asynchronous copies: engines, queues, and which copies for which. */
export class AsyncControl {
  readonly #arena: Arena;
  readonly #options: AsyncOptions;
  /** Addresses of the lcores' counters. */
  readonly #works: readonly number[];
  readonly #entries = new Map<number, Entry>();
  readonly #engines: AsyncEngine[] = [];
  #integration: Integration;
  #tell: TellLcore = () => Promise.resolve(true);
  #serial = 0;
  /** Assignments are made one after the other. */
  #assigning: Promise<void> = Promise.resolve();
  /** A queue could not be moved yet. */
  #isOwed = false;
  #timer: NodeJS.Timeout | undefined;
  #looking: Promise<void> = Promise.resolve();
  /** What engines had done when they were ended. */
  #ended: readonly EngineSnapshot[] | undefined;

  /** @throws RingwayError `ARENA_FULL`. */
  constructor(arena: Arena, options: AsyncOptions, lcores: number) {
    this.#arena = arena;
    this.#options = options;
    this.#integration = options.integration;
    this.#works = Array.from({ length: lcores }, (_, lcore) =>
      arena.allocate(`lcore ${lcore} deferred work`, WORK_BYTES),
    );
  }

  /** What lcore `lcore` is started with. */
  wire(lcore: number): AsyncWire {
    const { ringFull, attempts, delay } = this.#options;
    return { integration: this.#integration, ringFull, attempts, delay, work: this.#works[lcore] ?? 0 };
  }

  /**
   * Starts the engines, and begins to watch them.
   * @throws RingwayError as `AsyncEngine.start`.
   */
  async start(tell: TellLcore): Promise<void> {
    this.#tell = tell;
    const { engine, engines } = this.#options;
    for (let index = 0; index < engines; index++) {
      const onDead = (): void => void this.assign();
      this.#engines.push(await AsyncEngine.start(this.#arena, `async engine ${index}`, engine, onDead));
    }
    this.#timer = setInterval(() => {
      this.#looking = this.#looking.then(() => this.#look());
    }, WATCH_MS);
  }

  async #look(): Promise<void> {
    const ended = await Promise.all(this.#engines.map((engine) => engine.look(performance.now())));
    if (this.#isOwed || ended.includes(true)) void this.assign();
  }

  /**
   * Makes what queues need, before their lcores are told of them. Their copies are the CPU's until `assign` is called.
   * @throws RingwayError `ARENA_FULL`; nothing is made then.
   */
  add(rings: readonly AsyncRing[]): void {
    try {
      for (const ring of rings) this.#add(ring);
    } catch (error) {
      this.remove(rings);
      throw error;
    }
  }

  #add(ring: AsyncRing): void {
    const { netq, kind, port, sends } = ring;
    const { threshold } = this.#options;
    const serial = this.#serial++;
    const before = new Set(this.#arena.regions().map(({ name }) => name));
    const added = (): string[] => this.#arena.regions().flatMap(({ name }) => (before.has(name) ? [] : [name]));
    try {
      const create = kind === 'vif' ? createAsyncVif : createAsyncQueue;
      const address = create(this.#arena, { name: `port ${port} ${serial}`, netq, sends, threshold });
      this.#entries.set(netq, { ...ring, serial, address, regions: added(), engine: -1, isGone: false });
    } catch (error) {
      for (const region of added()) this.#arena.release(region);
      throw error;
    }
  }

  /** Gives back what queues needed; their lcores serve them no more. Those that were not added are passed over. */
  remove(rings: readonly Pick<AsyncRing, 'netq'>[]): void {
    for (const { netq } of rings) {
      const entry = this.#entries.get(netq);
      if (entry === undefined) continue;
      entry.isGone = true;
      this.#entries.delete(netq);
      for (const region of entry.regions) this.#arena.release(region);
    }
  }

  /** As `remove`, for all queues of a port. */
  removeAll(port: string): void {
    this.remove([...this.#entries.values()].filter((entry) => entry.port === port));
  }

  /** Gives queues the engines that they are to have now. Lcores know all queues. */
  assign(): Promise<void> {
    this.#assigning = this.#assigning
      .then(() => this.#assign())
      .catch(() => {
        // An lcore that died is found out elsewhere.
      });
    return this.#assigning;
  }

  async #assign(): Promise<void> {
    this.#isOwed = false;
    const entries = [...this.#entries.values()];
    const queues = entries.map(({ serial, engine, lcore }) => ({ serial, engine, lcore: lcore() }));
    const engines = assign(
      this.#options.assignment,
      queues,
      this.#engines.map(({ works }) => works),
    );
    for (const [i, entry] of entries.entries()) {
      const [engine = -1, lcore = 0] = [engines[i], queues[i]?.lcore];
      if (engine === entry.engine) continue;
      await this.#admit(engine, lcore);
      if (entry.isGone) continue;
      // An lcore handles messages in order: it serves the queue, or did.
      const track = this.#engines[engine]?.track.address ?? 0;
      const isUsed = await this.#tell(lcore, { kind: 'use', queue: entry.address, track });
      if (isUsed === true) entry.engine = engine;
      if (isUsed === false) this.#isOwed = true;
    }
  }

  /** An lcore is about to use an engine: whoever does so already learns that it is not alone any more. */
  async #admit(index: number, lcore: number): Promise<void> {
    const engine = this.#engines[index];
    if (engine === undefined || engine.users.has(lcore)) return;
    const [only] = engine.users;
    engine.users.add(lcore);
    if (only === undefined || engine.track.isShared()) return;
    await this.#tell(only, { kind: 'share', track: engine.track.address });
  }

  /** Has all lcores go on by another integration. */
  async integrate(integration: Integration): Promise<void> {
    this.#integration = integration;
    await Promise.all(this.#works.map((_, lcore) => this.#tell(lcore, { kind: 'integrate', integration })));
  }

  state(): AsyncSnapshot {
    const { assignment, threshold } = this.#options;
    return {
      integration: this.#integration,
      assignment,
      threshold,
      engines: this.#ended ?? this.#engines.map((engine) => engine.state()),
      lcores: this.#works.map((address) => readWorkCounters(this.#arena, address)),
      rings: [...this.#entries.values()].map(({ address, port, pair, sends, lcore, engine }) => ({
        ...readAsyncCounters(this.#arena, address),
        port,
        pair,
        sends,
        lcore: lcore(),
        engine,
        inFlight: readInFlight(this.#arena, address),
      })),
    };
  }

  /** Ends the engines; no lcore uses them any more. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#looking;
    await this.#assigning;
    this.#ended ??= this.#engines.map((engine) => engine.state());
    for (const engine of this.#engines.splice(0)) await engine.close();
  }
}
