/**
 * The control protocol: lines of JSON over a Unix socket.
 *
 *     server  {"ringway":1,"name":"edge","pid":4711}            once, when a client connects
 *     client  {"id":1,"method":"stats","params":{}}
 *     server  {"id":1,"result":{…}}                             or {"id":1,"error":{"code":"…","message":"…"}}
 *     server  {"id":2,"event":{…}}                              any number, before the result of a stream
 */

/** Version of the protocol: the number in the greeting. */
export const PROTOCOL_VERSION = 1;
/** Bytes of a request, its line feed not counted. */
export const REQUEST_BYTES_MAX = 65536;
/** Bytes of an answer: a snapshot of 255 ports has some hundred thousand. */
export const ANSWER_BYTES_MAX = 16 << 20;

/** What the server says first. */
export interface Greeting {
  readonly ringway: number;
  readonly name: string;
  readonly pid: number;
}

export interface Request {
  /** Chosen by the client: 0 to 2^53 - 1. */
  readonly id: number;
  readonly method: string;
  readonly params: Readonly<Record<string, unknown>>;
}

/** What the server says about a request. */
export interface Answer {
  /** Null when the request was so broken that it has none. */
  readonly id: number | null;
  readonly result?: unknown;
  readonly event?: unknown;
  readonly error?: { readonly code: string; readonly message: string };
}

/** Cuts a stream of bytes into lines of at most `max` bytes. */
export class LineReader {
  readonly #max: number;
  #chunks: Buffer[] = [];
  /** Bytes in `#chunks`, none of which is a line feed. */
  #length = 0;
  #lines: string[] = [];
  #tooLong = false;

  constructor(max: number) {
    this.#max = max;
  }

  /** True once a line had more than `max` bytes. Nothing behind it is read. */
  get isTooLong(): boolean {
    return this.#tooLong && this.#lines.length === 0;
  }

  /** Takes the next bytes of the stream. */
  push(chunk: Buffer): void {
    let rest = chunk;
    while (!this.#tooLong) {
      const end = rest.indexOf(10);
      const part = end < 0 ? rest : rest.subarray(0, end);
      this.#chunks.push(part);
      this.#length += part.length;
      if (this.#length > this.#max) {
        this.#tooLong = true;
        this.#chunks = [];
      }
      if (end < 0 || this.#tooLong) return;
      this.#lines.push(Buffer.concat(this.#chunks).toString('utf8'));
      this.#chunks = [];
      this.#length = 0;
      rest = rest.subarray(end + 1);
    }
  }

  /** The next whole line; undefined when there is none yet. */
  next(): string | undefined {
    return this.#lines.shift();
  }

  /** True when `next` has something. */
  get hasLine(): boolean {
    return this.#lines.length > 0;
  }
}
