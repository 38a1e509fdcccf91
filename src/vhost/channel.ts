import { requireSys } from '../sys/index.ts';
import { requireSockets, type UnixSockets } from '../sys/sockets.ts';
import { RingwayError } from '../util/errors.ts';
import {
  FLAG_NEED_REPLY,
  FLAG_REPLY,
  HEADER_BYTES,
  PAYLOAD_MAX,
  requestName,
  VERSION,
  VERSION_MASK,
} from './protocol.ts';

/** A message as it came. Whoever takes it closes the descriptors. */
export interface Message {
  readonly request: number;
  readonly flags: number;
  readonly payload: Uint8Array;
  readonly fds: readonly number[];
}

/** A vhost-user connection: whole messages in and out of a stream. Nothing waits. */
export class Channel {
  readonly fd: number;
  readonly #name: string;
  readonly #sockets: UnixSockets;
  readonly #closeFd: (fd: number) => void;
  #header: Uint8Array = new Uint8Array(0);
  #payload: Uint8Array = new Uint8Array(0);
  #fds: number[] = [];
  #closed = false;

  /** @param name of its port, for messages. */
  constructor(fd: number, name: string) {
    this.fd = fd;
    this.#name = name;
    this.#sockets = requireSockets(name);
    this.#closeFd = requireSys(name).closeFd;
  }

  /**
   * The next message, when all of it is there. The other side may send it in pieces.
   * @throws RingwayError `BAD_ARGUMENT` for a header that no message has.
   */
  read(): Message | 'again' | 'closed' {
    const header = this.#fill(this.#header, HEADER_BYTES);
    if (typeof header === 'string') return header;
    this.#header = header;
    if (header.length < HEADER_BYTES) return 'again';
    const view = new DataView(header.buffer, header.byteOffset);
    const [request, flags, bytes] = [view.getUint32(0, true), view.getUint32(4, true), view.getUint32(8, true)];
    if ((flags & VERSION_MASK) !== VERSION) {
      throw this.#bad(request, `flags=0x${flags.toString(16)}, version ${flags & VERSION_MASK}, must be ${VERSION}`);
    }
    if (bytes > PAYLOAD_MAX) throw this.#bad(request, `size=${bytes}, at most ${PAYLOAD_MAX}`);
    const payload = this.#fill(this.#payload, bytes);
    if (typeof payload === 'string') return payload;
    this.#payload = payload;
    if (payload.length < bytes) return 'again';
    const fds = this.#fds;
    this.#header = new Uint8Array(0);
    this.#payload = new Uint8Array(0);
    this.#fds = [];
    return { request, flags, payload, fds };
  }

  #bad(request: number, why: string): RingwayError {
    return new RingwayError('BAD_ARGUMENT', `${this.#name}: ${requestName(request)}: ${why}`);
  }

  /** What there is of `bytes` bytes, of which `have` came before. */
  #fill(have: Uint8Array, bytes: number): Uint8Array | 'again' | 'closed' {
    if (have.length >= bytes) return have;
    const received = this.#sockets.receive(this.fd, bytes - have.length);
    if (typeof received === 'string') return received;
    this.#fds.push(...received.fds);
    const all = new Uint8Array(have.length + received.data.length);
    all.set(have);
    all.set(received.data, have.length);
    return all;
  }

  /**
   * Sends a message. False when the other side is gone, or does not read: so small a message always fits what a socket
   * holds for a peer that does.
   */
  send(
    request: number,
    payload: Uint8Array,
    options: { fds?: readonly number[]; reply?: boolean; need?: boolean } = {},
  ): boolean {
    const { fds = [], reply = false, need = false } = options;
    const message = new Uint8Array(HEADER_BYTES + payload.length);
    const view = new DataView(message.buffer);
    view.setUint32(0, request, true);
    view.setUint32(4, VERSION | (reply ? FLAG_REPLY : 0) | (need ? FLAG_NEED_REPLY : 0), true);
    view.setUint32(8, payload.length, true);
    message.set(payload, HEADER_BYTES);
    return this.#sockets.send(this.fd, message, fds) === message.length;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const fd of this.#fds.splice(0)) this.#closeFd(fd);
    this.#closeFd(this.fd);
  }
}
