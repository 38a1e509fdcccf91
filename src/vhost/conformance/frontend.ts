import { requireSockets } from '../../sys/sockets.ts';
import { RingwayError } from '../../util/errors.ts';
import { featureMask, hasFeature, VIRTIO_F } from '../../virtio/features.ts';
import { Channel, type Message } from '../channel.ts';
import {
  FLAG_NEED_REPLY,
  FLAG_REPLY,
  HEADER_BYTES,
  PROTOCOL_F,
  REQUEST,
  requestName,
  U64,
  VERSION,
  VHOST_USER_F_PROTOCOL_FEATURES,
} from '../protocol.ts';
import { CheckFailed, pause } from './check.ts';

const NOTHING: Uint8Array = new Uint8Array(0);
const WHAT = 'a conformance check';

/** What became of a request: answered with 0 or what it asks for, with a failure, by closing, or not at all. */
export type Outcome = 'accepted' | 'refused' | 'closed' | 'ignored' | 'silent';

/** A message as it stands on the wire, whatever its header says. */
export function wire(request: number, flags: number, size: number, payload: Uint8Array = NOTHING): Uint8Array {
  const bytes = new Uint8Array(HEADER_BYTES + payload.length);
  const view = new DataView(bytes.buffer);
  for (const [i, word] of [request, flags, size].entries()) view.setUint32(4 * i, word, true);
  bytes.set(payload, HEADER_BYTES);
  return bytes;
}

/** The frontend's side of one connection: sends anything, and says what came of it. */
export class Frontend {
  /** What the backend offers, and what was agreed on. */
  offered = 0n;
  offeredProtocol = 0n;
  features = 0n;
  protocol = 0n;
  readonly #channel: Channel;
  readonly #sockets = requireSockets(WHAT);
  readonly #answerMs: number;
  readonly #onFd: (fd: number) => void;

  /**
   * @param fd the connection; it is the frontend's from now on.
   * @param answerMs milliseconds within which a message is answered.
   * @param onFd is given each descriptor that comes with a reply, to be closed some time.
   */
  constructor(fd: number, answerMs: number, onFd: (fd: number) => void) {
    this.#channel = new Channel(fd, WHAT);
    this.#answerMs = answerMs;
    this.#onFd = onFd;
  }

  /** True when the protocol feature was negotiated. */
  has(bit: number): boolean {
    return hasFeature(this.protocol, bit);
  }

  /** Sends bytes as they are. False when the backend is gone, or does not read. */
  write(bytes: Uint8Array, fds: readonly number[] = []): boolean {
    return this.#sockets.send(this.#channel.fd, bytes, fds) === bytes.length;
  }

  /** Sends bytes as soon as the backend makes room for them. False when it is gone, or makes none. */
  async writeSlowly(bytes: Uint8Array): Promise<boolean> {
    for (const since = performance.now(); performance.now() - since < this.#answerMs; await pause(since)) {
      if (this.write(bytes)) return true;
      if (this.isClosed) return false;
    }
    return false;
  }

  /** The next message. Undefined when there is none in time. */
  async receive(limitMs = this.#answerMs): Promise<Message | 'closed' | undefined> {
    const since = performance.now();
    while (true) {
      const message = this.#read();
      if (message !== 'again') return message;
      if (performance.now() - since > limitMs) return undefined;
      await pause(since);
    }
  }

  #read(): Message | 'again' | 'closed' {
    try {
      const message = this.#channel.read();
      if (typeof message !== 'string') for (const fd of message.fds) this.#onFd(fd);
      return message;
    } catch (error) {
      if (error instanceof RingwayError) throw new CheckFailed('a message', error.message);
      throw error;
    }
  }

  /** Sends a request and returns its reply, of exactly `bytes` bytes when that is given. */
  async ask(
    request: number,
    payload = NOTHING,
    options: { fds?: readonly number[]; bytes?: number } = {},
  ): Promise<Message> {
    const { fds = [], bytes } = options;
    const name = requestName(request);
    if (!this.#channel.send(request, payload, { fds }))
      throw new CheckFailed(`${name} to be taken`, 'a closed connection');
    const reply = await this.receive();
    if (reply === undefined) throw new CheckFailed(`a reply to ${name}`, `nothing in ${this.#answerMs} ms`);
    if (reply === 'closed') throw new CheckFailed(`a reply to ${name}`, 'the connection was closed');
    this.#checkName(request, reply);
    // QEMU refuses all others.
    if (reply.flags !== (VERSION | FLAG_REPLY)) {
      throw new CheckFailed(`flags 0x5 in the reply to ${name}`, `0x${reply.flags.toString(16)}`);
    }
    if (bytes !== undefined && reply.payload.length !== bytes) {
      throw new CheckFailed(`a reply to ${name} of ${bytes} bytes`, `${reply.payload.length} bytes`);
    }
    return reply;
  }

  #checkName(request: number, reply: Message): void {
    if (reply.request === request) return;
    throw new CheckFailed(`a reply to ${requestName(request)}`, `a message ${requestName(reply.request)}`);
  }

  async askNumber(request: number): Promise<bigint> {
    return U64.read((await this.ask(request, NOTHING, { bytes: U64.bytes })).payload);
  }

  /** Sends a request that says something, and what came of it. */
  attempt(request: number, payload = NOTHING, fds: readonly number[] = []): Promise<Outcome> {
    const flags = VERSION | (this.has(PROTOCOL_F.REPLY_ACK) ? FLAG_NEED_REPLY : 0);
    return this.attemptRaw(wire(request, flags, payload.length, payload), fds);
  }

  /** As `attempt`, of bytes that may be no message. */
  async attemptRaw(bytes: Uint8Array, fds: readonly number[] = []): Promise<Outcome> {
    if (!this.write(bytes, fds)) return 'closed';
    const request = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
    if (this.has(PROTOCOL_F.REPLY_ACK)) {
      const reply = await this.receive();
      if (reply === 'closed') return 'closed';
      if (reply !== undefined) {
        this.#checkName(request, reply);
        return reply.payload.length === U64.bytes && U64.read(reply.payload) !== 0n ? 'refused' : 'accepted';
      }
    }
    // Nobody said anything: does it go on?
    if (!this.#channel.send(REQUEST.GET_FEATURES, NOTHING)) return 'closed';
    const reply = await this.receive();
    if (reply === 'closed') return 'closed';
    return reply === undefined ? 'silent' : this.has(PROTOCOL_F.REPLY_ACK) ? 'ignored' : 'accepted';
  }

  /** Sends a request that must succeed. */
  async tell(request: number, payload = NOTHING, fds: readonly number[] = []): Promise<void> {
    const outcome = await this.attempt(request, payload, fds);
    if (outcome !== 'accepted') throw new CheckFailed(`${requestName(request)} to succeed`, outcome);
  }

  /** Sends a request without waiting for anything. */
  send(request: number, payload = NOTHING): void {
    this.#channel.send(request, payload);
  }

  /** Asks what there is, and agrees on those of `protocol` that are offered; all of ours when it is left out. */
  async greet(protocol: readonly number[] = Object.values(PROTOCOL_F)): Promise<void> {
    this.offered = await this.askNumber(REQUEST.GET_FEATURES);
    if (hasFeature(this.offered, VHOST_USER_F_PROTOCOL_FEATURES)) {
      this.offeredProtocol = await this.askNumber(REQUEST.GET_PROTOCOL_FEATURES);
      this.#channel.send(
        REQUEST.SET_PROTOCOL_FEATURES,
        U64.write(this.offeredProtocol & featureMask(...protocol) & ~UNUSED),
      );
      this.protocol = this.offeredProtocol & featureMask(...protocol) & ~UNUSED;
    }
    await this.tell(REQUEST.SET_OWNER);
  }

  /** Agrees on those of `bits` that are offered, on VERSION_1 and PROTOCOL_FEATURES: some backends insist on it. */
  async accept(bits: readonly number[] = []): Promise<void> {
    this.features = this.offered & featureMask(VHOST_USER_F_PROTOCOL_FEATURES, VIRTIO_F.VERSION_1, ...bits);
    await this.tell(REQUEST.SET_FEATURES, U64.write(this.features));
  }

  get isClosed(): boolean {
    return this.#sockets.isClosed(this.#channel.fd);
  }

  close(): void {
    this.#channel.close();
  }
}

/** Protocol features that change how all else works: no check here speaks them. */
const UNUSED = featureMask(PROTOCOL_F.CROSS_ENDIAN, PROTOCOL_F.PAGEFAULT, PROTOCOL_F.INBAND_NOTIFICATIONS);
