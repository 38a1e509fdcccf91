import { type Arena, createArena } from '../../memory/arena.ts';
import { RingwayError } from '../../util/errors.ts';
import { createEventDevice, type EventDevice } from '../device.ts';
import type { Shape, Shaped } from './codec.ts';
import { PoolCore } from './core.ts';
import { PoolIntake } from './intake.ts';
import { QUEUE_DONE, QUEUE_WORK } from './layout.ts';
import { ManyRun, type ResultBursts } from './many.ts';
import { type CheckedPoolOptions, checkPoolOptions, type KeyedPoolOptions } from './options.ts';
import { allocatePlaces, deviceOptions, type Places, poolArenaBytes } from './records.ts';
import { PushSink, RunSink } from './sinks.ts';
import type { PoolStats } from './stats.ts';
import { Team } from './team.ts';

/** What calls that wait can be told. */
export interface CallOptions {
  /** Ends the wait: the call rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

/** How a pool is closed. */
export interface CloseOptions extends CallOptions {
  /** Do not wait for messages that are not finished: they fail with `CLOSED`, and workers are ended where they are. */
  readonly force?: boolean;
}

const ARENA_SPARE = 65536;

/**
 * Worker threads that handle messages in parallel, those with equal keys one at a time and in order. Made with
 * `KeyedPool.start`; used by the thread that made it.
 */
export class KeyedPool<M = unknown, R = unknown> {
  readonly #core: PoolCore;
  readonly #intake: PoolIntake;
  readonly #device: EventDevice;
  readonly #team: Team;
  readonly #pushes: PushSink;
  readonly #idle = new Set<() => void>();
  #closing: Promise<void> | undefined;
  #abandoned = false;

  private constructor(arena: Arena, device: EventDevice, places: Places, options: CheckedPoolOptions) {
    this.#device = device;
    this.#pushes = new PushSink(options.onError);
    this.#core = new PoolCore(arena, device.portAddress(options.workers), places, options);
    this.#intake = new PoolIntake(this.#core);
    this.#intake.watch(() => this.#tellIdle());
    this.#team = new Team(arena, device, places, options, this.#core);
    this.#core.onBusy = (busy) => this.#team.keepAlive(busy);
    this.#team.onBroken = (reason) => {
      this.#break(reason);
      void this.#team.end(true);
    };
  }

  /**
   * Starts a pool. Resolves when all its workers have imported their module.
   * @throws RingwayError `BAD_ARGUMENT` naming the option, `ARENA_FULL` when the system has too little memory,
   *   `WORKER_DIED` when a worker cannot start.
   */
  static async start<const S extends Shape = 'json', const T extends Shape = 'json', M = Shaped<S>, R = Shaped<T>>(
    options: KeyedPoolOptions<S, T, M>,
  ): Promise<KeyedPool<M, R>> {
    const checked = checkPoolOptions(options);
    const arena = createArena({ bytes: poolArenaBytes(checked) + ARENA_SPARE });
    const device = createEventDevice(arena, deviceOptions(checked));
    for (let worker = 0; worker < checked.workers; worker++) device.link(worker, QUEUE_WORK);
    device.link(checked.workers, QUEUE_DONE);
    const places = allocatePlaces(arena, checked);
    device.start();
    const pool = new KeyedPool<M, R>(arena, device, places, checked);
    try {
      await pool.#team.start();
    } catch (error) {
      await pool.#end(true);
      throw error;
    }
    return pool;
  }

  /**
   * Takes `message` in: resolves when there was room for it, not when it is handled. Rejects with the signal's reason
   * when that comes first, and then the message is not taken in.
   * @throws RingwayError `BAD_ARGUMENT` for a bad message or key, `CLOSED` after `close`, `WORKER_DIED` when workers
   *   cannot be started any more.
   */
  push(message: M, options?: CallOptions): Promise<void> {
    return this.#intake.push(message, this.#pushes, options?.signal);
  }

  /**
   * Takes `message` in, and resolves to its handler's result. When the signal comes after it was taken in, the call
   * rejects with the signal's reason and the message is handled all the same.
   * @throws MessageError `HANDLER_FAILED` when the handler threw, `WORKER_DIED` when workers died of it.
   * @throws RingwayError as `push`.
   */
  run(message: M, options?: CallOptions): Promise<R> {
    return new Promise((resolve, reject) => {
      const signal = options?.signal;
      if (signal?.aborted) {
        reject(signal.reason);
        return;
      }
      const sink = new RunSink(resolve as (result: unknown) => void, reject, signal);
      this.#intake.push(message, sink, signal).catch((reason) => sink.failed(reason));
    });
  }

  /**
   * Takes in all of `messages`, as there is room, and hands out results in bursts, in the order in which they come. It
   * reads on only while bursts are asked for. When the iteration is left early, or the signal comes, no more messages
   * are taken in, and the results of those that were are lost.
   *
   * A message that fails does not end it: it goes on, and throws the first failure after the last result. A message that
   * cannot be taken in, or a source that throws, ends it likewise once all before it are finished.
   */
  pushMany(messages: Iterable<M> | AsyncIterable<M>, options?: CallOptions): ResultBursts<R> {
    return new ManyRun(this.#intake, messages, options?.signal) as unknown as ResultBursts<R>;
  }

  /**
   * Resolves when no message is left, neither in workers nor waiting for room. Rejects with the first message of `push`
   * that failed since the last call, when the pool has no `onError`.
   */
  async drain(): Promise<void> {
    if (!this.#intake.isIdle) {
      await new Promise<void>((resolve) => {
        this.#idle.add(resolve);
      });
    }
    const failed = this.#pushes.take();
    if (failed !== undefined) throw failed;
  }

  /** What the pool has done, and what its workers are at. */
  stats(): PoolStats {
    return this.#team.stats();
  }

  /**
   * Takes in no more, waits as `drain` does unless it is forced, and ends the workers. With a signal it is forced when
   * that comes. Nothing of the pool is left then. Calling it again changes a close that waits into a forced one, or
   * waits for the same.
   * @throws MessageError as `drain`.
   */
  close(options: CloseOptions = {}): Promise<void> {
    const { force = false, signal } = options;
    const abandon = (): void => this.#abandon();
    if (force || signal?.aborted) abandon();
    else signal?.addEventListener('abort', abandon, { once: true });
    this.#closing ??= this.#close();
    return this.#closing.finally(() => signal?.removeEventListener('abort', abandon));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    const closed = new RingwayError('CLOSED', 'keyed pool: it is closed');
    this.#core.refuse(closed);
    this.#intake.refuseWaiting(closed);
    let failure: unknown;
    try {
      await this.drain();
    } catch (error) {
      failure = error;
    }
    await this.#end(this.#abandoned);
    if (failure !== undefined && !this.#abandoned) throw failure;
  }

  /** Gives up what is outstanding, and ends workers where they are. */
  #abandon(): void {
    if (this.#abandoned) return;
    this.#abandoned = true;
    this.#break(new RingwayError('CLOSED', 'keyed pool: it was closed by force'));
    // Those that were asked to end and do not.
    void this.#team.end(true);
  }

  /** Fails everything that is outstanding. */
  #break(reason: RingwayError): void {
    this.#core.abandon(reason);
    this.#intake.refuseWaiting(reason);
  }

  /** Ends the workers, and gives up the device. */
  async #end(force: boolean): Promise<void> {
    this.#core.stop();
    await this.#team.end(force);
    this.#device.stop();
  }

  #tellIdle(): void {
    if (!this.#intake.isIdle) return;
    for (const resolve of this.#idle) resolve();
    this.#idle.clear();
  }
}
