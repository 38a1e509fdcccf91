import type { Arena } from '../../memory/arena.ts';
import { EVPORT_STATE, MIGRATION_FINISHING } from '../layout.ts';
import { attachEventPort, type EventKernels, type EventPort } from '../port.ts';
import { Bell } from './bell.ts';
import { clock } from './clock.ts';
import { type Codec, createCodec } from './codec.ts';
import {
  QUEUE_WORK,
  RECORD_ATTEMPT,
  RECORD_BEGUN,
  RECORD_HELD,
  RECORD_KEY,
  RECORD_LENGTH,
  RECORD_RUNNING,
  RECORD_SEQUENCE,
  RECORD_STATE,
  RECORD_TAKEN,
  RECORD_WORKER_SHIFT,
  WORKER_AT,
  WORKER_BEATS,
  WORKER_DEQUEUED,
  WORKER_FLOWS,
  WORKER_HELD,
} from './layout.ts';
import { leftBehind } from './left-behind.ts';
import { Outgoing } from './outgoing.ts';
import type { WorkerSetup } from './setup.ts';

/** What a handler is told beside the message. */
export interface HandlerContext {
  /** The number of the message, from 1, in the order in which the pool took messages in. */
  readonly sequence: number;
  /** 1; more when workers died while they handled it. */
  readonly attempt: number;
  /** The number of this worker, from 0. */
  readonly worker: number;
}

/** What a worker's module exports as default. What it returns, or resolves to, is the result. */
export type Handler<M = unknown, R = unknown> = (message: M, context: HandlerContext) => R | Promise<R>;

/** Messages of a flow whose handler has not finished one before them. */
interface Line {
  readonly records: number[];
  next: number;
}

/** Events of a burst; fewer when handlers are slow. */
const BURST_MAX = 32;
/** A burst of handlers that takes longer keeps messages from other workers for nothing; microseconds. */
const BURST_LONG = 500;
/** Messages that have left a line when their places are given up. */
const LINE_MAX = 256;
/** How long the event loop waits for its turn at most, in microseconds. */
const TURN_AFTER = 5000;
/** Looks for new events before the thread sleeps, some 40 µs: waking it takes 25, and 3 of its waker's time. */
const LOOKS = 1000;
/** The same when others want the processor, or the event loop. */
const LOOKS_SHORT = 20;

const pause = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** A worker's end: runs handlers for the events of its port. */
export class PoolServer {
  readonly #arena: Arena;
  readonly #setup: WorkerSetup;
  readonly #handler: Handler;
  readonly #port: EventPort;
  readonly #bell: Bell;
  readonly #messages: Codec;
  readonly #outgoing: Outgoing;
  readonly #f64: Float64Array;
  readonly #words: number;
  /** Flows whose handler has not finished, and what waits for that. */
  readonly #busy = new Map<number, Line>();
  /** Handlers that have not finished. */
  #unfinished = 0;
  #flushSoon = false;
  #wakeUp: (() => void) | undefined;
  #burst = BURST_MAX;

  constructor(arena: Arena, setup: WorkerSetup, handler: Handler) {
    const { message, messageBytes, places, id } = setup;
    this.#arena = arena;
    this.#setup = setup;
    this.#handler = handler;
    this.#port = attachEventPort(arena, setup.port);
    this.#bell = new Bell(arena, setup.port, () => this.#wake());
    this.#messages = createCodec(arena, places.records, message, messageBytes, 'keyed pool: message');
    this.#f64 = new Float64Array(arena.handle.memory.buffer);
    this.#words = places.workers[id] as number;
    this.#outgoing = new Outgoing(arena, setup, this.#port);
  }

  /** Serves the port, for ever. */
  async serve(): Promise<never> {
    // The one before it may have died asleep.
    this.#bell.ignore();
    if (this.#setup.died !== undefined) await this.#takeOver(this.#setup.died);
    let turn = clock();
    for (;;) {
      this.#add(WORKER_BEATS, 1);
      const n = this.#look();
      if (n === 0) {
        await this.#sleep();
        turn = clock();
        continue;
      }
      this.#handleBurst(n);
      if (this.#unfinished > 0) await undefined;
      const now = clock();
      if (this.#unfinished === 0 && now - turn < TURN_AFTER) continue;
      this.#outgoing.flush();
      await pause();
      turn = clock();
    }
  }

  /** Brings to an end what the worker before it at this port was at when it died. */
  async #takeOver(died: string): Promise<void> {
    const { outgoing, held } = leftBehind(this.#arena, this.#setup);
    this.#set(WORKER_HELD, held.length);
    this.#outgoing.takeOver(outgoing);
    const { attempts } = this.#setup;
    // Decided before the first ends: the main thread may use its record again.
    const left = held.map((record) => attempts - (this.#arena.u32[(record + RECORD_ATTEMPT) >>> 2] as number));
    const where = (isRight: (left: number) => boolean): number[] => held.filter((_, i) => isRight(left[i] as number));
    const isLast = (n: number): boolean => n === 1 && attempts > 1;
    const [spent, last, others] = [where((n) => n === 0), where(isLast), where((n) => n > 0 && !isLast(n))];
    for (const record of spent) this.#outgoing.fail(record, 'WORKER_DIED', died);
    // At its last attempt a message is alone, so that no other dies of it.
    for (const record of last) {
      this.#begin(record);
      await this.#allFinished();
    }
    for (const record of others) this.#handle(record);
    this.#set(WORKER_AT, 0);
  }

  /** Waits until all handlers have finished; others are not kept waiting for the port meanwhile. */
  async #allFinished(): Promise<void> {
    while (this.#unfinished > 0) {
      this.#add(WORKER_BEATS, 1);
      this.#port.maintain();
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    this.#outgoing.flush();
  }

  #word(offset: number): number {
    return this.#arena.u32[(this.#words + offset) >>> 2] as number;
  }

  #set(offset: number, value: number): void {
    this.#arena.u32[(this.#words + offset) >>> 2] = value;
  }

  #add(offset: number, value: number): void {
    this.#set(offset, this.#word(offset) + value);
  }

  /** Dequeues, for a moment. */
  #look(): number {
    const slots = this.#words + WORKER_DEQUEUED;
    const looks = this.#unfinished > 0 || this.#setup.crowded ? LOOKS_SHORT : LOOKS;
    for (let i = 0; i < looks; i++) {
      const n = this.#port.dequeue(slots, this.#burst);
      if (n > 0) return n;
      if (this.#outgoing.count > 0) this.#outgoing.flush();
      if (this.#isMigrating() && this.#unfinished > 0) this.#letFlowsMove();
    }
    return 0;
  }

  #isMigrating(): boolean {
    return this.#arena.u32[(this.#setup.port + EVPORT_STATE) >>> 2] === MIGRATION_FINISHING;
  }

  /** Says which flows handlers have not finished, so that others can move. */
  #letFlowsMove(): void {
    const { u32 } = this.#arena;
    const slots = this.#words + WORKER_FLOWS;
    let slot = slots >>> 2;
    for (const flow of this.#busy.keys()) {
      u32[slot + 2] = flow;
      u32[slot + 3] = QUEUE_WORK << 16;
      slot += 4;
    }
    this.#arena.kernels<EventKernels>().eventdevHeld(this.#setup.port, slots, this.#busy.size);
  }

  async #sleep(): Promise<void> {
    this.#outgoing.flush();
    if (!this.#bell.listen()) return pause();
    await new Promise<void>((resolve) => {
      this.#wakeUp = resolve;
    });
    this.#bell.ignore();
  }

  #wake(): void {
    const wakeUp = this.#wakeUp;
    this.#wakeUp = undefined;
    wakeUp?.();
  }

  #handleBurst(n: number): void {
    const { u32 } = this.#arena;
    const slots = (this.#words + WORKER_DEQUEUED) >>> 2;
    const held = RECORD_HELD | (this.#setup.id << RECORD_WORKER_SHIFT);
    for (let i = 0; i < n; i++) u32[((u32[slots + i * 4] as number) + RECORD_STATE) >>> 2] = held;
    this.#add(WORKER_HELD, n);
    const start = clock();
    for (let i = 0; i < n; i++) this.#handle(u32[slots + i * 4] as number);
    this.#set(WORKER_AT, 0);
    const took = clock() - start;
    if (took > BURST_LONG) this.#burst = Math.max(1, this.#burst >>> 1);
    else if (took < BURST_LONG / 4) this.#burst = Math.min(BURST_MAX, this.#burst << 1);
  }

  /** Runs the handler, when none runs for the record's flow. */
  #handle(record: number): void {
    if (this.#busy.size > 0) {
      const line = this.#busy.get(this.#flowOf(record));
      if (line !== undefined) {
        line.records.push(record);
        return;
      }
    }
    this.#begin(record);
  }

  #flowOf(record: number): number {
    return this.#arena.u32[(record + RECORD_KEY) >>> 2] as number;
  }

  /** Runs the handler. Returns true when it has not finished: what of its flow comes meanwhile waits. */
  #begin(record: number): boolean {
    const { u32 } = this.#arena;
    const { id, places } = this.#setup;
    const attempt = (u32[(record + RECORD_ATTEMPT) >>> 2] as number) + 1;
    u32[(record + RECORD_ATTEMPT) >>> 2] = attempt;
    u32[(record + RECORD_STATE) >>> 2] = RECORD_RUNNING | (id << RECORD_WORKER_SHIFT);
    this.#set(WORKER_AT, record);
    const low = u32[(record + RECORD_SEQUENCE) >>> 2] as number;
    const sequence = low + (u32[(record + RECORD_SEQUENCE + 4) >>> 2] as number) * 2 ** 32;
    if (this.#isSampled(record)) this.#f64[(record + RECORD_BEGUN) >>> 3] = clock();
    let result: unknown;
    try {
      const bytes = u32[(record + RECORD_LENGTH) >>> 2] as number;
      const message = this.#messages.decode(record + places.messageAt, bytes);
      result = this.#handler(message, { sequence, attempt, worker: id });
    } catch (error) {
      this.#outgoing.fail(record, 'HANDLER_FAILED', error);
      return false;
    }
    if (isThenable(result)) {
      this.#await(record, result);
      return true;
    }
    this.#outgoing.complete(record, result);
    return false;
  }

  #isSampled(record: number): boolean {
    return (this.#f64[(record + RECORD_TAKEN) >>> 3] as number) > 0;
  }

  #await(record: number, result: PromiseLike<unknown>): void {
    const flow = this.#flowOf(record);
    this.#unfinished++;
    if (this.#setup.ordered) this.#busy.set(flow, this.#busy.get(flow) ?? { records: [], next: 0 });
    const advance = (): void => {
      this.#unfinished--;
      if (this.#setup.ordered) this.#advance(flow);
      this.#set(WORKER_AT, 0);
      this.#flushLater();
    };
    Promise.resolve(result).then(
      (value) => {
        this.#outgoing.complete(record, value);
        advance();
      },
      (error) => {
        this.#outgoing.fail(record, 'HANDLER_FAILED', error);
        advance();
      },
    );
  }

  /** Runs handlers for what waits in a flow's line, until one does not finish at once. */
  #advance(flow: number): void {
    const line = this.#busy.get(flow) as Line;
    while (line.next < line.records.length) {
      const record = line.records[line.next++] as number;
      // The line of a key that is never idle would grow for ever.
      if (line.next === LINE_MAX) line.records.splice(0, LINE_MAX);
      line.next %= LINE_MAX;
      if (this.#begin(record)) return;
    }
    this.#busy.delete(flow);
  }

  /** Sends what has ended, when the thread's current work is over. */
  #flushLater(): void {
    if (this.#flushSoon) return;
    this.#flushSoon = true;
    process.nextTick(() => {
      this.#flushSoon = false;
      this.#outgoing.flush();
    });
  }
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && typeof (value as PromiseLike<unknown>).then === 'function';
}
