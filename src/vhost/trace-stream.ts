import type { UnixSockets } from '../sys/sockets.ts';
import type { DescribedMessage } from './describe.ts';
import { HEADER_BYTES, PAYLOAD_MAX } from './protocol.ts';

/** Bytes that one call on a socket moves at most. */
const PIECE_BYTES = 8192;

/** Bytes to be passed on, with the descriptors that came with the first of them. */
export interface Piece {
  readonly bytes: Uint8Array;
  readonly fds: readonly number[];
  /** The request of the message that it is part of; undefined when its header is not all there. */
  readonly request: number | undefined;
  /** The message that ends with it. */
  readonly whole?: DescribedMessage;
}

/**
 * One direction of a connection, cut into messages. A message that is there comes in one piece, as it was sent: some
 * backends want it so. Of one that is not, what there is comes, so that nobody waits for the rest, as soon as its header
 * is known. Anything at all passes: what is no message is cut where its header says.
 */
export class TraceStream {
  readonly #sockets: UnixSockets;
  readonly #fd: number;
  #header: Uint8Array = new Uint8Array(0);
  /** Descriptors that came with a header that is not all there. */
  #heldFds: readonly number[] = [];
  #payload: Uint8Array = new Uint8Array(0);
  /** Bytes of the payload that came, and that there are; what is behind PAYLOAD_MAX is not kept. */
  #seen = 0;

  constructor(sockets: UnixSockets, fd: number) {
    this.#sockets = sockets;
    this.#fd = fd;
  }

  /** What is to be passed on now. */
  next(): Piece | 'again' | 'closed' {
    let bytes: Uint8Array = new Uint8Array(0);
    let fds: readonly number[] = [];
    if (this.#header.length < HEADER_BYTES) {
      const got = this.#sockets.receive(this.#fd, HEADER_BYTES - this.#header.length);
      if (got === 'again') return got;
      if (got === 'closed') return this.#rest();
      this.#header = Buffer.concat([this.#header, got.data]);
      this.#heldFds = [...this.#heldFds, ...got.fds];
      if (this.#header.length < HEADER_BYTES) return 'again';
      [bytes, fds] = [this.#header, this.#heldFds];
      this.#heldFds = [];
    }
    const view = new DataView(this.#header.buffer, this.#header.byteOffset);
    const [request, flags, size] = [view.getUint32(0, true), view.getUint32(4, true), view.getUint32(8, true)];
    if (this.#seen < size) {
      const got = this.#sockets.receive(this.#fd, Math.min(size - this.#seen, PIECE_BYTES - HEADER_BYTES));
      if (got === 'again' && bytes.length === 0) return got;
      if (got === 'closed' && bytes.length === 0) return this.#cutShort({ request, flags, size });
      if (typeof got !== 'string') {
        this.#seen += got.data.length;
        const kept = got.data.subarray(0, PAYLOAD_MAX - this.#payload.length);
        this.#payload = Buffer.concat([this.#payload, kept]);
        bytes = Buffer.concat([bytes, got.data]);
        fds = [...fds, ...got.fds];
      }
    }
    if (this.#seen < size) return { bytes, fds, request };
    return { bytes, fds, request, whole: this.#take({ request, flags, size }) };
  }

  #take(header: Omit<DescribedMessage, 'payload'>): DescribedMessage {
    const whole = { ...header, payload: this.#payload };
    this.#header = new Uint8Array(0);
    this.#payload = new Uint8Array(0);
    this.#seen = 0;
    return whole;
  }

  /** The message that will not end: all of it was passed on. */
  #cutShort(header: Omit<DescribedMessage, 'payload'>): Piece {
    return { bytes: new Uint8Array(0), fds: [], request: header.request, whole: this.#take(header) };
  }

  /** What was held back of a header, once nothing will follow. */
  #rest(): Piece | 'closed' {
    if (this.#header.length === 0 && this.#heldFds.length === 0) return 'closed';
    const rest = { bytes: this.#header, fds: this.#heldFds, request: undefined };
    this.#header = new Uint8Array(0);
    this.#heldFds = [];
    return rest;
  }
}
