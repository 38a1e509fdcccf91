import type { Arena } from '../memory/arena.ts';
import { RingwayError } from '../util/errors.ts';
import { capabilitiesOf, type DmaCapabilities } from './capabilities.ts';
import { type DmaEngine, type Engine, makeEngine } from './engines.ts';
import type { DmaKernels } from './kernels.ts';
import type { DmaModel } from './model.ts';
import { createVchan, type DmaStats, openVchan, shutVchan, Vchan, type VchanOptions } from './vchan.ts';

/**
 * Where a device is on its way: `createDmaDevice` → created → configure → configured → start → started → stop → stopped → close →
 * closed. `dead`: its engine ended by itself, or was terminated.
 */
export type DmaState = 'created' | 'configured' | 'starting' | 'started' | 'stopping' | 'stopped' | 'dead' | 'closed';

/** In which states what may be called. */
const ALLOWED = {
  configure: ['created', 'configured', 'stopped'],
  vchanSetup: ['configured'],
  start: ['configured', 'stopped'],
  stop: ['started', 'dead'],
  terminate: ['started'],
  abort: ['dead', 'stopped'],
  close: ['created', 'configured', 'stopped', 'dead'],
} as const satisfies Record<string, readonly DmaState[]>;

/** What a device is made of. */
export interface DmaDeviceOptions {
  /** Prefix of the names of its regions: 1 to 40 bytes. */
  readonly name: string;
  readonly engine: DmaEngine;
  /**
   * Called once when the engine ended by itself: the device is `dead`, and what is in flight waits for `abort`.
   * @param why `LCORE_DIED` of a thread, `CLOSED` of a model that vanished.
   */
  readonly onDead?: (why: RingwayError) => void;
}

/** How a device is configured. */
export interface DmaConfig {
  /** Channels, 1 to `capabilities.maxVchans`. */
  readonly vchans: number;
  /** Completions are not collected: `completed` and `completedStatus` are not called. False by default. */
  readonly silent?: boolean;
}

interface Channel {
  readonly region: string;
  readonly vchan: Vchan;
  readonly priority: number;
  /** What its statistics were when they were last reset. */
  base: DmaStats;
}

const NO_STATS: DmaStats = { submitted: 0, completed: 0, errors: 0 };
const DRAIN_MS = 1000;
/** An engine's thread that does not answer for so long is ended wherever it is. */
const GRACE_MS = 1000;

/** A DMA device: an engine, and channels to it. Made with `createDmaDevice`; only its thread configures it. */
export class DmaDevice {
  readonly name: string;
  readonly capabilities: DmaCapabilities;
  readonly #arena: Arena;
  readonly #engine: Engine;
  readonly #onDead: ((why: RingwayError) => void) | undefined;
  #state: DmaState = 'created';
  #silent = false;
  #channels: (Channel | undefined)[] = [];

  constructor(arena: Arena, { name, onDead }: DmaDeviceOptions, engine: Engine) {
    this.name = name;
    this.#arena = arena;
    this.#engine = engine;
    this.#onDead = onDead;
    this.capabilities = capabilitiesOf(name, engine.capabilities);
  }

  get state(): DmaState {
    return this.#state;
  }

  /**
   * Says how many channels there are to be, and forgets those that there were.
   * @throws RingwayError `BAD_ARGUMENT` when they are too many; as every method, `BUSY`, `CLOSED` or `BAD_ARGUMENT` in a
   *   state in which it is not allowed.
   */
  configure({ vchans, silent = false }: DmaConfig): void {
    this.#require('configure');
    const { maxVchans } = this.capabilities;
    if (!Number.isInteger(vchans) || vchans < 1 || vchans > maxVchans) {
      throw this.#refuse(`configure: vchans=${vchans}, must be from 1 to ${maxVchans}`);
    }
    this.#releaseChannels();
    this.#channels = new Array<Channel | undefined>(vchans).fill(undefined);
    this.#silent = silent;
    this.#state = 'configured';
  }

  /**
   * Makes channel `index`, anew when there is one.
   * @throws RingwayError `BAD_ARGUMENT` when there is to be no such channel, or an option is out of range; `ARENA_FULL`.
   */
  vchanSetup(index: number, { descriptors, priority = 0 }: VchanOptions): void {
    this.#require('vchanSetup');
    this.#checkIndex(index);
    const { minDescriptors, maxDescriptors, priorities } = this.capabilities;
    if (!Number.isInteger(priority) || priority < 0 || priority >= priorities) {
      throw this.#refuse(`vchanSetup(${index}): priority=${priority}, must be from 0 to ${priorities - 1}`);
    }
    this.#releaseChannel(index);
    const region = `${this.name} vchan ${index}`;
    const setup = {
      name: region,
      descriptors,
      priority,
      capabilities: this.capabilities,
      cpu: this.#engine.inline,
      silent: this.#silent,
    };
    const address = createVchan(this.#arena, setup, { min: minDescriptors, max: maxDescriptors });
    this.#channels[index] = { region, vchan: new Vchan(this.#arena, address), priority, base: NO_STATS };
  }

  /**
   * Starts the engine; operations may be enqueued when it resolves.
   * @throws RingwayError `BAD_ARGUMENT` when a channel is not set up; `UNSUPPORTED` when a processor is given and pinning is
   *   not available; what the engine's module threw.
   */
  async start(): Promise<void> {
    this.#require('start');
    const bare = this.#channels.indexOf(undefined);
    if (bare >= 0) throw this.#refuse(`start: channel ${bare} is not set up; call vchanSetup(${bare}, …)`);
    const before = this.#state;
    this.#state = 'starting';
    const lanes = this.#live()
      .map(({ vchan, priority }) => ({ address: vchan.address, priority }))
      .sort((a, b) => a.priority - b.priority);
    try {
      const bell = await this.#engine.start(lanes, (why) => this.#die(why));
      // It may have died right after it started, and whoever asked was told.
      if (this.state === 'dead') return;
      for (const { vchan } of this.#live()) openVchan(this.#arena, vchan.address, bell);
    } catch (error) {
      this.#state = before;
      throw error;
    }
    this.#state = 'started';
  }

  /**
   * Takes no more operations, waits until those in flight are completed, and ends the engine. Whoever uses the channels
   * has stopped submitting, and may go on collecting. Also of a device that is dead.
   * @param drainMs the longest to wait; a model is let run until nothing more happens.
   * @returns operations that were not completed until then: they are aborted.
   */
  async stop(drainMs = DRAIN_MS): Promise<number> {
    this.#require('stop');
    const wasDead = this.#state === 'dead';
    this.#state = 'stopping';
    this.#shut();
    if (!wasDead) await this.#engine.drain(() => this.inFlight() === 0, drainMs);
    await this.#engine.stop(GRACE_MS);
    this.#state = 'stopped';
    return this.abort();
  }

  /**
   * Ends the engine at once, in the middle of whatever it does: for one that hangs. The device is `dead`; `abort` then
   * completes what is in flight.
   */
  async terminate(): Promise<void> {
    this.#require('terminate');
    this.#state = 'stopping';
    this.#shut();
    await this.#engine.stop(0);
    this.#state = 'dead';
  }

  /**
   * Completes all operations in flight as ABORTED, in the place of an engine that works no more; so it is refused while
   * one might. Returns how many there were. Whoever submitted in the meantime calls for another.
   */
  abort(): number {
    this.#require('abort');
    const { dmaAbort } = this.#arena.kernels<DmaKernels>();
    return this.#live().reduce((sum, { vchan }) => sum + dmaAbort(vchan.address), 0);
  }

  /** Gives its regions back to the arena. Nobody may use its channels any more. */
  close(): void {
    this.#require('close');
    this.#releaseChannels();
    this.#engine.close();
    this.#state = 'closed';
  }

  /** Number of channels, as configured. */
  get vchans(): number {
    return this.#channels.length;
  }

  /** Channel `index`, for this thread. @throws RingwayError `BAD_ARGUMENT` when it is not set up. */
  vchan(index: number): Vchan {
    return this.#channel(index).vchan;
  }

  /** Address of channel `index`, for kernels and for `attachVchan`. @throws RingwayError as `vchan`. */
  vchanAddress(index: number): number {
    return this.#channel(index).vchan.address;
  }

  /** Operations that are submitted and not completed, in all channels; a moment old. */
  inFlight(): number {
    return this.#live().reduce((sum, { vchan }) => sum + vchan.inFlight(), 0);
  }

  /** What went through channel `index` since its statistics were reset. @throws RingwayError as `vchan`. */
  stats(index: number): DmaStats {
    const { vchan, base } = this.#channel(index);
    const now = vchan.stats();
    return {
      submitted: now.submitted - base.submitted,
      completed: now.completed - base.completed,
      errors: now.errors - base.errors,
    };
  }

  /** Lets the statistics of channel `index` begin at 0. @throws RingwayError as `vchan`. */
  resetStats(index: number): void {
    const channel = this.#channel(index);
    channel.base = channel.vchan.stats();
  }

  /** The engine in virtual time. @throws RingwayError `BAD_ARGUMENT` when the device has none, or is not started. */
  get model(): DmaModel {
    const { model } = this.#engine;
    if (model === undefined) throw this.#refuse('model: only of a device that is started with the engine "model"');
    return model;
  }

  #die(why: RingwayError): void {
    if (this.#state === 'stopping') return;
    this.#state = 'dead';
    this.#shut();
    this.#onDead?.(why);
  }

  #shut(): void {
    for (const { vchan } of this.#live()) shutVchan(this.#arena, vchan.address);
  }

  #live(): Channel[] {
    return this.#channels.filter((channel) => channel !== undefined);
  }

  #channel(index: number): Channel {
    const channel = this.#channels[index];
    if (channel !== undefined) return channel;
    this.#checkIndex(index);
    throw this.#refuse(`channel ${index} is not set up; call vchanSetup(${index}, …)`);
  }

  #checkIndex(index: number): void {
    if (Number.isInteger(index) && index >= 0 && index < this.vchans) return;
    throw this.#refuse(`no channel ${index}; ${this.vchans} are configured, from 0 on`);
  }

  #releaseChannel(index: number): void {
    const channel = this.#channels[index];
    if (channel !== undefined) this.#arena.release(channel.region);
    this.#channels[index] = undefined;
  }

  #releaseChannels(): void {
    for (const index of this.#channels.keys()) this.#releaseChannel(index);
  }

  #require(method: keyof typeof ALLOWED): void {
    const allowed: readonly DmaState[] = ALLOWED[method];
    if (allowed.includes(this.#state)) return;
    const code = this.#state === 'closed' ? 'CLOSED' : this.#state === 'created' ? 'BAD_ARGUMENT' : 'BUSY';
    throw new RingwayError(
      code,
      `${this.name}: ${method} is not allowed when ${this.#state}, only when ${allowed.join(' or ')}`,
    );
  }

  #refuse(what: string): RingwayError {
    return new RingwayError('BAD_ARGUMENT', `${this.name}: ${what}`);
  }
}

/**
 * Makes a DMA device, whose next step is `configure`.
 * @throws RingwayError `BAD_ARGUMENT` when a parameter of a model is out of range, or a module is no engine.
 */
export async function createDmaDevice(arena: Arena, options: DmaDeviceOptions): Promise<DmaDevice> {
  return new DmaDevice(arena, options, await makeEngine(arena, options.name, options.engine));
}
