import { availableParallelism } from 'node:os';
import type { Arena } from '../../memory/arena.ts';
import { RingwayError } from '../../util/errors.ts';
import type { EventDevice } from '../device.ts';
import { Attendance } from './attendance.ts';
import { ringBell } from './bell.ts';
import type { PoolCore } from './core.ts';
import { RECORD_RUNNING, RECORD_STATE, RECORD_WORKER_SHIFT, WORKER_FINISHED, WORKER_HELD } from './layout.ts';
import { Member } from './member.ts';
import type { CheckedPoolOptions, Unattended } from './options.ts';
import type { Places } from './records.ts';
import type { WorkerSetup } from './setup.ts';
import { durations, type PoolStats, portStats, type WorkerStats } from './stats.ts';

/** How often workers are looked after, in milliseconds. */
const LOOK_MS = 200;
/** Deaths of a worker in a row, with no message finished and none at its handler, after which it is not replaced. */
const FRUITLESS_MAX = 3;

/** The workers of a pool: starts them, replaces those that die, and sees who does not come back. */
export class Team {
  readonly #arena: Arena;
  readonly #f64: Float64Array;
  readonly #device: EventDevice;
  readonly #places: Places;
  readonly #options: CheckedPoolOptions;
  readonly #core: PoolCore;
  readonly #members: readonly Member[];
  readonly #attendance: Attendance;
  readonly #timer: NodeJS.Timeout;
  #ending = false;
  /** Is told when a worker cannot be replaced. */
  onBroken: (reason: RingwayError) => void = () => {};

  constructor(arena: Arena, device: EventDevice, places: Places, options: CheckedPoolOptions, core: PoolCore) {
    this.#arena = arena;
    this.#f64 = new Float64Array(arena.handle.memory.buffer);
    this.#device = device;
    this.#places = places;
    this.#options = options;
    this.#core = core;
    this.#members = places.workers.map((_, id) => new Member(id));
    this.#attendance = new Attendance(arena, places);
    this.#timer = setInterval(() => this.#look(), LOOK_MS).unref();
  }

  /** Starts all workers. @throws RingwayError `WORKER_DIED` when one cannot start. */
  async start(): Promise<void> {
    await Promise.all(
      this.#members.map((member) =>
        this.#start(member, undefined).catch((cause) => {
          throw this.#cannotStart(member, cause);
        }),
      ),
    );
  }

  /** Keeps the process alive while messages are outstanding, and lets it end otherwise. */
  keepAlive(busy: boolean): void {
    if (busy) this.#timer.ref();
    else this.#timer.unref();
  }

  /** Ends all workers. */
  async end(force: boolean): Promise<void> {
    this.#ending = true;
    await Promise.all(this.#members.map((member) => member.end(force)));
    clearInterval(this.#timer);
  }

  stats(): PoolStats {
    const { taken, finished, failed, outstanding, room, queueing, handling } = this.#core;
    return {
      taken,
      finished,
      failed,
      outstanding,
      room,
      workers: this.#members.map((member) => this.#workerStats(member)),
      queueingMicroseconds: durations(queueing),
      handlingMicroseconds: durations(handling),
    };
  }

  #workerStats(member: Member): WorkerStats {
    const { id, deaths } = member;
    return {
      worker: id,
      finished: this.#finished(id),
      held: this.#word(id, WORKER_HELD),
      ...portStats(this.#device.xstats, id),
      deaths,
      unattended: this.#attendance.awayMs(id) > 0 ? this.#unattended(id) : undefined,
    };
  }

  #unattended(id: number): Unattended {
    const record = this.#attendance.recordAt(id);
    return {
      worker: id,
      forMs: Math.round(this.#attendance.awayMs(id)),
      message: record === undefined ? undefined : this.#core.messageAt(record),
    };
  }

  #word(id: number, offset: number): number {
    return Atomics.load(this.#arena.u32, ((this.#places.workers[id] as number) + offset) >>> 2);
  }

  #finished(id: number): number {
    return this.#f64[((this.#places.workers[id] as number) + WORKER_FINISHED) >>> 3] as number;
  }

  #start(member: Member, died: string | undefined): Promise<void> {
    const { id } = member;
    const { worker, ordered, message, result, messageBytes, attempts } = this.#options;
    const setup: WorkerSetup = {
      arena: this.#arena.handle,
      id,
      port: this.#device.portAddress(id),
      places: this.#places,
      module: worker,
      ordered,
      message,
      result,
      messageBytes,
      attempts,
      crowded: this.#members.length >= availableParallelism(),
      died,
    };
    const before = this.#finished(id);
    return member.start(setup, (cause) => this.#died(member, cause, before));
  }

  /** A worker died: another takes its port over, unless that leads to nothing. */
  #died(member: Member, cause: Error, finishedBefore: number): void {
    if (this.#ending) return;
    member.deaths++;
    const fruitful = this.#finished(member.id) !== finishedBefore || this.#isRunning(member.id);
    member.fruitless = fruitful ? 0 : member.fruitless + 1;
    if (member.fruitless === FRUITLESS_MAX) {
      this.onBroken(this.#cannotStart(member, cause));
      return;
    }
    this.#start(member, cause.message).catch((reason) => {
      if (!this.#ending) this.onBroken(this.#cannotStart(member, reason));
    });
  }

  /** True when worker `id` has a record whose handler has not finished. */
  #isRunning(id: number): boolean {
    const { records, stride, count } = this.#places;
    const running = RECORD_RUNNING | (id << RECORD_WORKER_SHIFT);
    for (let i = 0; i < count; i++) {
      if (this.#arena.u32[(records + i * stride + RECORD_STATE) >>> 2] === running) return true;
    }
    return false;
  }

  #cannotStart({ id }: Member, cause: unknown): RingwayError {
    if (cause instanceof RingwayError && cause.code === 'CLOSED') return cause;
    const why = cause instanceof Error ? cause.message : String(cause);
    return new RingwayError('WORKER_DIED', `keyed pool: worker ${id} with ${this.#options.worker} cannot run: ${why}`, {
      cause,
    });
  }

  #look(): void {
    const idle = this.#core.outstanding === 0;
    for (const { id, serves } of this.#members) {
      if (idle || !serves) {
        this.#attendance.excuse(id);
        continue;
      }
      if (this.#attendance.look(id)) this.#options.onUnattended?.(this.#unattended(id));
      // One that sleeps shows by this that it can come back.
      ringBell(this.#arena, this.#device.portAddress(id));
    }
  }
}
