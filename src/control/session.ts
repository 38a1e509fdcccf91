import type { Socket } from 'node:net';
import { RingwayError } from '../util/errors.ts';
import { callMethod, readRequest } from './methods.ts';
import { type Answer, type Greeting, LineReader, PROTOCOL_VERSION, REQUEST_BYTES_MAX } from './protocol.ts';
import type { ControlTarget } from './target.ts';

/** Requests of one client that are worked on at once; the next are read when one is done. */
const IN_FLIGHT_MAX = 16;
/** Bytes that wait for one client to read them; beyond, events are dropped and no more requests are read. */
const QUEUE_BYTES_MAX = 1 << 20;
/** A client that reads nothing for so long while its queue is full is closed. */
const STALLED_MS_MAX = 10_000;
/** A client that neither says nor gets anything for so long is closed, so that it cannot hold its place for ever. */
const IDLE_MS_MAX = 120_000;

/** One client of the control socket. */
export class Session {
  readonly #socket: Socket;
  readonly #target: ControlTarget;
  readonly #reader = new LineReader(REQUEST_BYTES_MAX);
  readonly #abort = new AbortController();
  #inFlight = 0;
  #pumping = false;
  /** The client has said its last. */
  #ended = false;
  /** Nothing more is read. */
  #closing = false;
  #stalled: NodeJS.Timeout | undefined;

  constructor(socket: Socket, target: ControlTarget) {
    this.#socket = socket;
    this.#target = target;
    socket.on('data', (chunk) => {
      this.#reader.push(chunk);
      this.#pump();
    });
    socket.on('end', () => {
      this.#ended = true;
      this.#pump();
    });
    socket.on('drain', () => {
      clearTimeout(this.#stalled);
      this.#stalled = undefined;
      this.#pump();
    });
    socket.on('close', () => {
      clearTimeout(this.#stalled);
      this.#abort.abort();
    });
    // A client that goes away is no fault of ours; `close` follows.
    socket.on('error', () => {});
    socket.setTimeout(IDLE_MS_MAX, () => {
      if (this.#inFlight === 0) socket.destroy();
    });
    this.#write({ ringway: PROTOCOL_VERSION, name: target.name, pid: process.pid });
  }

  /** Ends streams, and the connection once what waits in it was read, or after a second. */
  close(): void {
    this.#closing = true;
    this.#abort.abort();
    setImmediate(() => this.#socket.end());
    setTimeout(() => this.#socket.destroy(), 1000).unref();
  }

  #write(message: Answer | Greeting): void {
    if (!this.#socket.writable) return;
    this.#socket.write(`${JSON.stringify(message)}\n`);
    if (!this.#isFull || this.#stalled !== undefined) return;
    this.#stalled = setTimeout(() => this.#socket.destroy(), STALLED_MS_MAX).unref();
  }

  get #isFull(): boolean {
    return this.#socket.writableLength > QUEUE_BYTES_MAX;
  }

  /** Starts waiting requests, a few at a time, so that a flood of them leaves time for everybody else. */
  #pump(): void {
    if (this.#pumping || this.#closing || this.#socket.destroyed) return;
    while (this.#inFlight < IN_FLIGHT_MAX && !this.#isFull) {
      const line = this.#reader.next();
      if (line === undefined) break;
      if (line.trim() !== '') this.#start(line);
    }
    if (this.#reader.isTooLong) {
      const message = `a request has more than ${REQUEST_BYTES_MAX} bytes`;
      this.#write({ id: null, error: { code: 'BAD_REQUEST', message } });
      this.close();
      return;
    }
    if (this.#ended && !this.#reader.hasLine) {
      this.#finish();
    }
    if (this.#reader.hasLine || this.#isFull) this.#socket.pause();
    else this.#socket.resume();
  }

  /** The client has said all. What it asked for is still answered, but a stream would never end. */
  #finish(): void {
    this.#abort.abort();
    if (this.#inFlight === 0) this.#socket.end();
  }

  #start(line: string): void {
    this.#inFlight++;
    void this.#serve(line).finally(() => {
      this.#inFlight--;
      if (this.#pumping) return;
      this.#pumping = true;
      setImmediate(() => {
        this.#pumping = false;
        this.#pump();
      });
    });
  }

  async #serve(line: string): Promise<void> {
    let id: number | null = null;
    try {
      const request = readRequest(line);
      id = request.id;
      const send = (event: unknown): boolean => this.#sendEvent(request.id, event);
      const result = await callMethod(this.#target, request, { send, signal: this.#abort.signal });
      this.#write({ id, result });
    } catch (error) {
      const code = error instanceof RingwayError ? error.code : 'SYSTEM';
      this.#write({ id, error: { code, message: error instanceof Error ? error.message : String(error) } });
    }
  }

  #sendEvent(id: number, event: unknown): boolean {
    if (this.#isFull || !this.#socket.writable) return false;
    this.#write({ id, event });
    return true;
  }
}
