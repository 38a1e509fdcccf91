import { TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN, type TcpView } from '../packet/transport.ts';
import { Random } from '../util/random.ts';

/** Bytes of a header with nothing but a maximum segment size. */
const HEADER_BYTES = 20;
const MSS_BYTES = 4;
/** RFC 9293, 3.7.1: what Ethernet's 1,500 bytes leave. */
const MSS = { 4: 1460, 6: 1440 } as const;
const WINDOW = 65535;
/** Connections at most; the oldest gives way. */
const CONNECTIONS_MAX = 4096;

interface Connection {
  /** Next sequence number that we send, and that we expect. */
  sendNext: number;
  receiveNext: number;
  /** We have sent our FIN too. */
  closing: boolean;
}

/** How far `sequence` is ahead of `base`, modulo 2^32: -2^31 to 2^31 - 1 (RFC 9293, 3.4). */
const ahead = (sequence: number, base: number): number => (sequence - base) | 0;

/**
 * Takes whatever connections bring, at any port, and throws it away: enough of TCP (RFC 9293) for a sender to be content.
 * What comes out of order is not kept: the acknowledgment makes the sender send it again.
 */
export class TcpSink {
  /** Payload bytes taken, in order and once. */
  received = 0;
  /** Connections that were opened. */
  opened = 0;
  readonly #connections = new Map<string, Connection>();
  readonly #random: Random;

  constructor(seed: number) {
    this.#random = new Random(seed);
  }

  /** Connections that are open now. */
  get open(): number {
    return this.#connections.size;
  }

  /**
   * Answers a segment between `addresses` (8 or 32 bytes, as in the IP header), in its place. Returns the reply's bytes,
   * whose checksum is the caller's to set; -1 when there is none.
   */
  handle(tcp: TcpView, addresses: Uint8Array): number {
    const key = `${addresses} ${tcp.sourcePort} ${tcp.destinationPort}`;
    const { flags } = tcp;
    if (flags & TCP_RST) {
      this.#connections.delete(key);
      return -1;
    }
    if ((flags & (TCP_SYN | TCP_ACK)) === TCP_SYN) return this.#accept(key, tcp, addresses);
    const connection = this.#connections.get(key);
    return connection === undefined ? this.#refuse(tcp) : this.#take(key, connection, tcp);
  }

  #accept(key: string, tcp: TcpView, addresses: Uint8Array): number {
    const first = this.#random.next();
    const connection = { sendNext: (first + 1) >>> 0, receiveNext: (tcp.sequence + 1) >>> 0, closing: false };
    this.#connections.delete(key);
    if (this.#connections.size >= CONNECTIONS_MAX) {
      for (const oldest of this.#connections.keys()) {
        this.#connections.delete(oldest);
        break;
      }
    }
    this.#connections.set(key, connection);
    this.opened++;
    const mss = addresses.length === 8 ? MSS[4] : MSS[6];
    tcp.bytes.set([2, MSS_BYTES, mss >>> 8, mss & 255], tcp.at + HEADER_BYTES);
    return this.#reply(tcp, first, connection.receiveNext, TCP_SYN | TCP_ACK, HEADER_BYTES + MSS_BYTES);
  }

  /** 3.10.7.1: a segment of no connection is answered with a reset that the sender accepts. */
  #refuse(tcp: TcpView): number {
    const { sequence, acknowledgment, flags, payloadLength } = tcp;
    if (flags & TCP_ACK) return this.#reply(tcp, acknowledgment, 0, TCP_RST, HEADER_BYTES);
    const used = payloadLength + (flags & TCP_FIN ? 1 : 0);
    return this.#reply(tcp, 0, (sequence + used) >>> 0, TCP_RST | TCP_ACK, HEADER_BYTES);
  }

  #take(key: string, connection: Connection, tcp: TcpView): number {
    const { flags, payloadLength, sequence } = tcp;
    if (connection.closing && flags & TCP_ACK && tcp.acknowledgment === connection.sendNext) {
      this.#connections.delete(key);
      return -1;
    }
    const used = payloadLength + (flags & TCP_FIN ? 1 : 0);
    if (used === 0) return -1;
    // Part of it may have come before.
    const fresh = used + ahead(sequence, connection.receiveNext);
    const isNext = ahead(sequence, connection.receiveNext) <= 0 && fresh > 0;
    if (!isNext) return this.#reply(tcp, connection.sendNext, connection.receiveNext, TCP_ACK, HEADER_BYTES);
    this.received += fresh - (flags & TCP_FIN ? 1 : 0);
    connection.receiveNext = (sequence + used) >>> 0;
    if (!(flags & TCP_FIN)) {
      return this.#reply(tcp, connection.sendNext, connection.receiveNext, TCP_ACK, HEADER_BYTES);
    }
    // Nothing of ours is left to send, so we close at once.
    const reply = this.#reply(tcp, connection.sendNext, connection.receiveNext, TCP_FIN | TCP_ACK, HEADER_BYTES);
    if (!connection.closing) connection.sendNext = (connection.sendNext + 1) >>> 0;
    connection.closing = true;
    return reply;
  }

  #reply(tcp: TcpView, sequence: number, acknowledgment: number, flags: number, length: number): number {
    const { sourcePort, destinationPort } = tcp;
    tcp.sourcePort = destinationPort;
    tcp.destinationPort = sourcePort;
    tcp.sequence = sequence;
    tcp.acknowledgment = acknowledgment;
    tcp.flags = flags;
    tcp.window = WINDOW;
    tcp.urgent = 0;
    tcp.bytes[tcp.at + 12] = length << 2;
    return length;
  }
}
