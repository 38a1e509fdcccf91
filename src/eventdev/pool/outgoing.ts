import type { Arena } from '../../memory/arena.ts';
import { EVENT_OP_SHIFT, OP_FORWARD } from '../layout.ts';
import type { EventPort } from '../port.ts';
import { clock } from './clock.ts';
import { type Codec, createCodec } from './codec.ts';
import { type Failure, failureText } from './errors.ts';
import {
  ERROR_BYTES,
  ERROR_LENGTH,
  ERROR_TEXT,
  QUEUE_DONE,
  RECORD_DONE,
  RECORD_ENDED,
  RECORD_FAILED,
  RECORD_RESULT_LENGTH,
  RECORD_STATE,
  RECORD_TAKEN,
  RECORD_WORKER_SHIFT,
  WORKER_FINISHED,
  WORKER_HELD,
  WORKER_OUT,
  WORKER_OUTGOING,
} from './layout.ts';
import type { WorkerSetup } from './setup.ts';
import { TextWriter } from './text.ts';

/** The last word of a slot: queue and operation in its upper half. */
const FORWARD_DONE = ((OP_FORWARD << EVENT_OP_SHIFT) | QUEUE_DONE) << 16;
/** Events that are sent at once: what one of a port's output buffers holds. */
const OUT_BURST = 32;

/** A worker's way back: writes results and errors into records, and sends these to the main thread in bursts. */
export class Outgoing {
  readonly #u32: Uint32Array;
  readonly #u8: Uint8Array;
  readonly #f64: Float64Array;
  readonly #setup: WorkerSetup;
  readonly #port: EventPort;
  readonly #results: Codec;
  readonly #errors: TextWriter;
  readonly #words: number;

  constructor(arena: Arena, setup: WorkerSetup, port: EventPort) {
    const { result, messageBytes, places, id } = setup;
    this.#u32 = arena.u32;
    this.#u8 = arena.u8;
    this.#f64 = new Float64Array(arena.handle.memory.buffer);
    this.#setup = setup;
    this.#port = port;
    this.#results = createCodec(arena, places.records, result, messageBytes, 'keyed pool: result');
    this.#errors = new TextWriter(arena, places.errors, ERROR_BYTES - ERROR_TEXT);
    this.#words = places.workers[id] as number;
  }

  /** Messages that have ended and are not sent. */
  get count(): number {
    return this.#u32[(this.#words + WORKER_OUTGOING) >>> 2] as number;
  }

  /** Sends the slots that the worker before this one had ready. */
  takeOver(slots: readonly number[]): void {
    const burst = this.#words + WORKER_OUT;
    for (const [i, slot] of slots.entries()) this.#u8.copyWithin(burst + i * 16, slot, slot + 16);
    this.#u32[(this.#words + WORKER_OUTGOING) >>> 2] = slots.length;
    this.flush();
  }

  /** The handler of a record's message has returned `result`. */
  complete(record: number, result: unknown): void {
    let bytes: number;
    try {
      bytes = this.#results.encode(result, record + this.#setup.places.resultAt);
    } catch (error) {
      this.fail(record, 'HANDLER_FAILED', error);
      return;
    }
    this.#u32[(record + RECORD_RESULT_LENGTH) >>> 2] = bytes;
    this.#finish(record, RECORD_DONE);
  }

  /** It has thrown `error`, or killed its last worker. */
  fail(record: number, code: Failure['code'], error: unknown): void {
    const { records, stride, errors } = this.#setup.places;
    const at = errors + ((record - records) / stride) * ERROR_BYTES;
    const text = failureText(code, error, ERROR_BYTES - ERROR_TEXT);
    this.#u32[(at + ERROR_LENGTH) >>> 2] = this.#errors.write(text, at + ERROR_TEXT);
    this.#finish(record, RECORD_FAILED);
  }

  /** Sends all that has ended. */
  flush(): void {
    this.#enqueue();
    this.#port.enqueue(this.#words + WORKER_OUT, 0);
  }

  /** Puts the record's event into the burst. */
  #finish(record: number, state: number): void {
    const { id, places } = this.#setup;
    if ((this.#f64[(record + RECORD_TAKEN) >>> 3] as number) > 0) this.#f64[(record + RECORD_ENDED) >>> 3] = clock();
    const n = this.count;
    const slot = (this.#words + WORKER_OUT + (n << 4)) >>> 2;
    this.#u32[slot] = record;
    this.#u32[slot + 1] = (record - places.records) / places.stride;
    this.#u32[slot + 2] = 0;
    this.#u32[slot + 3] = FORWARD_DONE;
    // In this order: who comes after a death sends what is in the burst and has ended, and runs the rest again.
    this.#u32[(this.#words + WORKER_OUTGOING) >>> 2] = n + 1;
    this.#u32[(record + RECORD_STATE) >>> 2] = state | (id << RECORD_WORKER_SHIFT);
    const finished = (this.#words + WORKER_FINISHED) >>> 3;
    this.#f64[finished] = (this.#f64[finished] as number) + 1;
    const held = (this.#words + WORKER_HELD) >>> 2;
    this.#u32[held] = (this.#u32[held] as number) - 1;
    if (n + 1 === OUT_BURST) this.#enqueue();
  }

  #enqueue(): void {
    const { count } = this;
    if (count === 0) return;
    this.#port.enqueue(this.#words + WORKER_OUT, count);
    this.#u32[(this.#words + WORKER_OUTGOING) >>> 2] = 0;
  }
}
