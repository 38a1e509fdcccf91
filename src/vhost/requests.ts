import { requireSys } from '../sys/index.ts';
import { RingwayError } from '../util/errors.ts';
import { Channel, type Message } from './channel.ts';
import { FLAG_REPLY, requestName, U64, VERSION } from './protocol.ts';

/** How long the other side may take for a reply. */
const REPLY_MS = 5000;
/** Messages that one turn takes. */
const MESSAGES_PER_TURN = 64;

interface Waiting {
  readonly request: number;
  readonly sinceMs: number;
  resolve(payload: Uint8Array): void;
  reject(error: RingwayError): void;
}

/** What a request says. */
export interface RequestOptions {
  readonly payload?: Uint8Array;
  /** Sent along; they stay the caller's. */
  readonly fds?: readonly number[];
}

/** The requests of a frontend, and their replies, which come in the order of the requests. */
export class Requests {
  /** REPLY_ACK was negotiated: what is set is acknowledged. */
  acknowledged = false;
  readonly #channel: Channel;
  readonly #name: string;
  readonly #closeFd: (fd: number) => void;
  #waiting: Waiting[] = [];
  #open = true;

  /** @param fd the connection, which is this one's to close. */
  constructor(fd: number, name: string) {
    this.#name = name;
    this.#closeFd = requireSys(name).closeFd;
    this.#channel = new Channel(fd, name);
  }

  get fd(): number {
    return this.#channel.fd;
  }

  refuse(what: string): RingwayError {
    return new RingwayError('BAD_ARGUMENT', `${this.#name}: the backend ${what}`);
  }

  /** @throws RingwayError once it is closed: a reply that came before may still have somebody go on. */
  checkOpen(): void {
    if (!this.#open) throw this.refuse('is gone');
  }

  #send(request: number, { payload = new Uint8Array(0), fds = [] }: RequestOptions, need: boolean): void {
    if (this.#open && this.#channel.send(request, payload, { fds, need })) return;
    throw this.refuse(`is gone, or does not read: ${requestName(request)} cannot be sent`);
  }

  /**
   * Sends a request that is answered. Returns the reply's payload.
   * @throws RingwayError when there is none, because the connection ended.
   */
  ask(request: number, options: RequestOptions = {}): Promise<Uint8Array> {
    return this.#ask(request, options, false);
  }

  async #ask(request: number, options: RequestOptions, need: boolean): Promise<Uint8Array> {
    this.#send(request, options, need);
    return new Promise((resolve, reject) => {
      this.#waiting.push({ request, sinceMs: performance.now(), resolve, reject });
    });
  }

  /** As `ask`, for one number. */
  async askNumber(request: number): Promise<bigint> {
    const payload = await this.ask(request);
    if (payload.length === U64.bytes) return U64.read(payload);
    throw this.refuse(`answers ${requestName(request)} with ${payload.length} bytes, must be ${U64.bytes}`);
  }

  /**
   * Sends a request that sets something, and waits for the acknowledgement, if any is given.
   * @throws RingwayError when the backend refuses it, or the connection ended.
   */
  async set(request: number, options: RequestOptions = {}): Promise<void> {
    if (!this.acknowledged) return this.#send(request, options, false);
    const payload = await this.#ask(request, options, true);
    if (payload.length === U64.bytes && U64.read(payload) === 0n) return;
    throw this.refuse(`refuses ${requestName(request)}`);
  }

  /**
   * Takes the replies that are there. False when the other side has closed the connection.
   * @throws RingwayError for what is no reply to what was asked.
   */
  serve(): boolean {
    for (let i = 0; i < MESSAGES_PER_TURN; i++) {
      const message = this.#channel.read();
      if (message === 'again') break;
      if (message !== 'closed') {
        this.#take(message);
        continue;
      }
      const [first] = this.#waiting;
      if (first === undefined) return false;
      throw this.refuse(`closed the connection before it answered ${requestName(first.request)}`);
    }
    return true;
  }

  #take({ request, flags, payload, fds }: Message): void {
    for (const fd of fds) this.#closeFd(fd);
    const first = this.#waiting.shift();
    const name = requestName(request);
    const wrong = ((): string | undefined => {
      if (first === undefined) return `sends ${name}, which nobody asked for`;
      if (request !== first.request) return `answers ${requestName(first.request)} with ${name}`;
      if (flags !== (VERSION | FLAG_REPLY)) return `answers ${name} with flags=0x${flags.toString(16)}, must be 0x5`;
      return fds.length === 0 ? undefined : `answers ${name} with ${fds.length} descriptors, must be none`;
    })();
    if (wrong === undefined) {
      first?.resolve(payload);
      return;
    }
    const error = this.refuse(wrong);
    first?.reject(error);
    throw error;
  }

  /** @throws RingwayError when a reply takes too long. */
  check(): void {
    const [first] = this.#waiting;
    if (first === undefined || performance.now() - first.sinceMs < REPLY_MS) return;
    throw this.refuse(`has not answered ${requestName(first.request)} for ${REPLY_MS / 1000} s`);
  }

  /** Ends the connection. Whoever waits for a reply learns that there is none. */
  close(): void {
    this.#open = false;
    for (const { request, reject } of this.#waiting.splice(0)) {
      reject(this.refuse(`has not answered ${requestName(request)}`));
    }
    this.#channel.close();
  }
}
