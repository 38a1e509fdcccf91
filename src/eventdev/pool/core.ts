import type { Arena } from '../../memory/arena.ts';
import { Histogram } from '../../telemetry/histogram.ts';
import { RingwayError } from '../../util/errors.ts';
import { EVENT_OP_SHIFT, IN_FLIGHT_MAX, OP_NEW } from '../layout.ts';
import { attachEventPort, type EventPort } from '../port.ts';
import { Bell, ringBell } from './bell.ts';
import { clock } from './clock.ts';
import { type Codec, createCodec } from './codec.ts';
import { abandonedError, type Failure, type MessageError, type MessagePlace, messageError } from './errors.ts';
import { hashKey, type Key } from './key.ts';
import {
  BURST,
  ERROR_BYTES,
  ERROR_LENGTH,
  ERROR_TEXT,
  QUEUE_WORK,
  RECORD_ATTEMPT,
  RECORD_BEGUN,
  RECORD_DONE,
  RECORD_ENDED,
  RECORD_KEY,
  RECORD_LENGTH,
  RECORD_QUEUED,
  RECORD_RESULT_LENGTH,
  RECORD_SEQUENCE,
  RECORD_STATE,
  RECORD_STATE_MASK,
  RECORD_TAKEN,
} from './layout.ts';
import type { CheckedPoolOptions } from './options.ts';
import type { Places } from './records.ts';
import { NOBODY, type Sink } from './sinks.ts';
import { TextReader } from './text.ts';

/** New events go to the device in bursts of so many: what one of its output buffers holds. */
const OUT_BURST = 32;
/** The last word of a slot: queue and operation in its upper half. */
const NEW_WORK = ((OP_NEW << EVENT_OP_SHIFT) | QUEUE_WORK) << 16;
/** Bursts that are settled at once: all there can be. */
const BURSTS_MAX = IN_FLIGHT_MAX / BURST;
/** Turns of the event loop without a result before the thread sleeps: to be woken takes as long as some 20 turns. */
const TURNS_QUIET = 20;

/** The main thread's end: writes messages into records, sends them, and tells sinks what became of them. */
export class PoolCore {
  readonly #arena: Arena;
  readonly #options: CheckedPoolOptions;
  readonly #places: Places;
  readonly #port: EventPort;
  readonly #bell: Bell;
  readonly #messages: Codec;
  readonly #results: Codec;
  readonly #text: TextReader;
  readonly #f64: Float64Array;
  /** Indexes of free records, the one freed last on top. */
  readonly #free: Uint16Array;
  #freeCount: number;
  readonly #sinks: Sink[];
  /** The burst that is being gathered, and where results are dequeued to. */
  readonly #out: number;
  readonly #in: number;
  #outCount = 0;
  #flushSoon = false;
  #settling = false;
  #stopped = false;
  #busy = false;
  #sequence = 0;
  /** The bell rings, and otherwise every turn looks; turns in which nothing was found. */
  #listening = false;
  #quiet = 0;
  #closed: RingwayError | undefined;
  /** After each turn in which messages ended, or when none will any more. */
  onSettled: () => void = () => {};
  /** When the first message is on its way, and when the last has ended. */
  onBusy: (busy: boolean) => void = () => {};
  readonly queueing = new Histogram();
  readonly handling = new Histogram();
  finished = 0;
  failed = 0;

  constructor(arena: Arena, port: number, places: Places, options: CheckedPoolOptions) {
    const { inFlight, message, result, messageBytes } = options;
    this.#arena = arena;
    this.#options = options;
    this.#places = places;
    this.#port = attachEventPort(arena, port);
    this.#bell = new Bell(arena, port, () => this.#wake());
    this.#messages = createCodec(arena, places.records, message, messageBytes, 'keyed pool: message');
    this.#results = createCodec(arena, places.records, result, messageBytes, 'keyed pool: result');
    this.#text = new TextReader(arena);
    this.#f64 = new Float64Array(arena.handle.memory.buffer);
    this.#free = Uint16Array.from({ length: inFlight }, (_, i) => inFlight - 1 - i);
    this.#freeCount = inFlight;
    this.#sinks = new Array<Sink>(inFlight).fill(NOBODY);
    this.#out = places.main;
    this.#in = places.main + BURST * 16;
    this.#turn();
  }

  /** Messages that can be taken in. */
  get room(): number {
    return this.#outCount === BURST ? 0 : this.#freeCount;
  }

  /** Messages taken in and not finished. */
  get outstanding(): number {
    return this.#options.inFlight - this.#freeCount;
  }

  /** Messages taken in so far. */
  get taken(): number {
    return this.#sequence;
  }

  /** Why no messages are taken in any more. */
  get closed(): RingwayError | undefined {
    return this.#closed;
  }

  /**
   * Takes a message in; there is room. It is on its way when a burst is full, and when the thread's current work is over.
   * @throws RingwayError `BAD_ARGUMENT` for a bad message or key; whatever the key's function throws.
   */
  takeIn(message: unknown, sink: Sink): void {
    if (this.#closed !== undefined) throw this.#closed;
    const { records, stride, messageAt } = this.#places;
    // First the record: what a message runs when it is looked at and written may push messages too.
    const index = this.#free[--this.#freeCount] as number;
    const record = records + index * stride;
    let key: number;
    let length: number;
    try {
      key = this.#flowOf(message);
      length = this.#messages.encode(message, record + messageAt);
    } catch (error) {
      this.#free[this.#freeCount++] = index;
      throw error;
    }
    this.#sinks[index] = sink;
    this.#writeRecord(record, key, length);
    this.#send(record, index, key);
  }

  /** Sends the burst that was gathered. */
  flush(): void {
    if (this.#outCount > 0) this.#enqueue();
    this.#port.enqueue(this.#out, 0);
  }

  /** Tells sinks of messages that have ended: of `bursts` bursts at most. Returns how many. */
  settle(bursts: number): number {
    if (this.#settling || this.#stopped) return 0;
    this.#settling = true;
    let total = 0;
    // A sink may close the pool by force.
    for (let burst = 0; burst < bursts && !this.#stopped; burst++) {
      const n = this.#port.dequeue(this.#in, BURST);
      if (n === 0) break;
      const end = this.#in + n * 16;
      for (let slot = this.#in; slot < end && !this.#stopped; slot += 16) this.#settleOne(slot);
      total += n;
    }
    this.#settling = false;
    if (total === 0 || this.#stopped) return 0;
    this.#wake();
    this.finished += total;
    // With as many messages as there are credits, some may have found none.
    if (this.#outCount > 0) this.flush();
    if (this.outstanding === 0) this.#setBusy(false);
    return total;
  }

  /** What is known of the message in the record at address `record`. */
  messageAt(record: number): MessagePlace {
    const { u32 } = this.#arena;
    const word = (offset: number): number => u32[(record + offset) >>> 2] as number;
    return {
      key: this.#keyOf(record),
      sequence: word(RECORD_SEQUENCE) + word(RECORD_SEQUENCE + 4) * 2 ** 32,
      attempt: word(RECORD_ATTEMPT),
    };
  }

  /** Takes in no more, and fails what is outstanding, for `reason`. Its port is not used again. */
  abandon(reason: RingwayError): void {
    this.refuse(reason);
    this.stop();
    const { records, stride } = this.#places;
    const free = new Set(this.#free.subarray(0, this.#freeCount));
    const sinks = this.#sinks.slice();
    this.#sinks.fill(NOBODY);
    this.#freeCount = this.#options.inFlight;
    for (const [index, sink] of sinks.entries()) {
      if (free.has(index)) continue;
      this.failed++;
      sink.failed(abandonedError(reason, this.messageAt(records + index * stride)));
    }
    this.#setBusy(false);
    this.onSettled();
  }

  /** Takes in no more. */
  refuse(reason: RingwayError): void {
    this.#closed ??= reason;
  }

  /** Uses its port no more, and waits for no ring. */
  stop(): void {
    this.#stopped = true;
    ringBell(this.#arena, this.#port.address);
  }

  #flowOf(message: unknown): number {
    const { key } = this.#options;
    if (key === undefined) return 0;
    const value = key(message);
    const flow = hashKey(value);
    if (flow !== undefined) return flow;
    throw new RingwayError(
      'BAD_ARGUMENT',
      `keyed pool: key(message) returned ${String(value)} (${typeof value}), must be a string, a number or a bigint`,
    );
  }

  #setBusy(busy: boolean): void {
    this.#busy = busy;
    this.onBusy(busy);
  }

  #writeRecord(record: number, key: number, length: number): void {
    const { u32 } = this.#arena;
    const sequence = ++this.#sequence;
    u32[(record + RECORD_STATE) >>> 2] = RECORD_QUEUED;
    u32[(record + RECORD_ATTEMPT) >>> 2] = 0;
    u32[(record + RECORD_KEY) >>> 2] = key;
    u32[(record + RECORD_SEQUENCE) >>> 2] = sequence;
    u32[(record + RECORD_SEQUENCE + 4) >>> 2] = sequence / 2 ** 32;
    u32[(record + RECORD_LENGTH) >>> 2] = length;
    // One in a burst is sampled: a clock costs more than the rest of this.
    this.#f64[(record + RECORD_TAKEN) >>> 3] = this.#outCount === 0 ? clock() : 0;
    if (!this.#busy) this.#setBusy(true);
  }

  /** Adds an event to the burst that is gathered. */
  #send(record: number, index: number, key: number): void {
    const { u32 } = this.#arena;
    const slot = (this.#out + (this.#outCount << 4)) >>> 2;
    u32[slot] = record;
    u32[slot + 1] = index;
    u32[slot + 2] = key;
    u32[slot + 3] = NEW_WORK;
    this.#outCount++;
    if (this.#listening) this.#wake();
    if (this.#outCount >= OUT_BURST) this.#enqueue();
    if (this.#flushSoon) return;
    this.#flushSoon = true;
    process.nextTick(this.#flushNow);
  }

  readonly #flushNow = (): void => {
    this.#flushSoon = false;
    if (!this.#stopped) this.flush();
  };

  #enqueue(): void {
    if (this.#port.enqueue(this.#out, this.#outCount) > 0) this.#outCount = 0;
  }

  #settleOne(slot: number): void {
    const { u32 } = this.#arena;
    const record = u32[slot >>> 2] as number;
    const index = u32[(slot >>> 2) + 1] as number;
    const sink = this.#sinks[index] as Sink;
    this.#sinks[index] = NOBODY;
    if ((this.#f64[(record + RECORD_TAKEN) >>> 3] as number) > 0) this.#sample(record);
    if (((u32[(record + RECORD_STATE) >>> 2] as number) & RECORD_STATE_MASK) === RECORD_DONE) {
      const bytes = u32[(record + RECORD_RESULT_LENGTH) >>> 2] as number;
      const result = sink.wanted ? this.#results.decode(record + this.#places.resultAt, bytes) : undefined;
      this.#free[this.#freeCount++] = index;
      sink.ended(result);
      return;
    }
    const error = this.#failureOf(record, index);
    this.#free[this.#freeCount++] = index;
    this.failed++;
    sink.failed(error);
  }

  #sample(record: number): void {
    const time = (offset: number): number => this.#f64[(record + offset) >>> 3] as number;
    this.queueing.record(time(RECORD_BEGUN) - time(RECORD_TAKEN));
    this.handling.record(time(RECORD_ENDED) - time(RECORD_BEGUN));
  }

  #failureOf(record: number, index: number): MessageError {
    const at = this.#places.errors + index * ERROR_BYTES;
    const bytes = this.#arena.u32[(at + ERROR_LENGTH) >>> 2] as number;
    return messageError(JSON.parse(this.#text.read(at + ERROR_TEXT, bytes)) as Failure, this.messageAt(record));
  }

  /** The key of a message that is still in its record. */
  #keyOf(record: number): Key | undefined {
    const { key } = this.#options;
    if (key === undefined) return undefined;
    const bytes = this.#arena.u32[(record + RECORD_LENGTH) >>> 2] as number;
    try {
      return key(this.#messages.decode(record + this.#places.messageAt, bytes));
    } catch {
      // A key made of what JSON does not carry: a method, say.
      return undefined;
    }
  }

  /** There is, or will be, something to settle: looks for it once in every turn of the event loop, for some turns. */
  #wake(): void {
    this.#quiet = 0;
    if (!this.#listening) return;
    this.#listening = false;
    this.#bell.ignore();
    setImmediate(this.#turn);
  }

  /** A turn of the event loop. */
  readonly #turn = (): void => {
    if (this.#stopped) return;
    if (this.settle(BURSTS_MAX) > 0) this.onSettled();
    else this.#quiet++;
    const over = this.#quiet > TURNS_QUIET || this.outstanding === 0;
    if (over && !this.#stopped && this.#bell.listen()) this.#listening = true;
    else setImmediate(this.#turn);
  };
}
