import { HeaderView, holds } from './view.ts';

/** Bytes of the headers without options. */
export const TCP_BYTES = 20;
export const UDP_BYTES = 8;
export const ICMP_BYTES = 8;

// TCP flags (RFC 9293, 3.1).

/** The sender has nothing more to send. */
export const TCP_FIN = 0x01;
/** Opens a connection: the sequence number is its first. */
export const TCP_SYN = 0x02;
/** Breaks the connection off. */
export const TCP_RST = 0x04;
/** The receiver should hand on what it has. */
export const TCP_PSH = 0x08;
/** The acknowledgment number is valid. */
export const TCP_ACK = 0x10;
/** The urgent pointer is valid. */
export const TCP_URG = 0x20;
/** The other side's packets met congestion (RFC 3168, 6.1). */
export const TCP_ECE = 0x40;
/** The sender has lowered its congestion window for that (RFC 3168, 6.1). */
export const TCP_CWR = 0x80;

/** A TCP header in values. Fields that are left out are 0, but for the window: 65535. */
export interface TcpRepr {
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly sequence?: number;
  readonly acknowledgment?: number;
  /** TCP_SYN and the like, or-ed. */
  readonly flags?: number;
  readonly window?: number;
  readonly urgent?: number;
  /** A multiple of 4 bytes, at most 40. */
  readonly options?: Uint8Array;
}

/** TCP and UDP begin alike. */
abstract class PortedView extends HeaderView {
  get sourcePort(): number {
    return this.get16(0);
  }

  set sourcePort(port: number) {
    this.set16(0, port);
  }

  get destinationPort(): number {
    return this.get16(2);
  }

  set destinationPort(port: number) {
    this.set16(2, port);
  }
}

/** TCP (RFC 9293). */
export class TcpView extends PortedView {
  /** The header at index `at`, in `length` bytes; undefined when it is not whole. */
  static parse(bytes: Uint8Array, at: number, length = bytes.length - at): TcpView | undefined {
    if (!holds(bytes, at, length, TCP_BYTES)) return undefined;
    const view = new TcpView(bytes, at, length);
    return view.headerLength >= TCP_BYTES && view.headerLength <= length ? view : undefined;
  }

  /** Writes the header's length; `bytes` holds zeroes at `at`, and has room for header and payload. */
  static create(bytes: Uint8Array, at: number, headerLength: number, payloadLength: number): TcpView {
    const view = new TcpView(bytes, at, headerLength + payloadLength);
    view.set8(12, headerLength << 2);
    return view;
  }

  get headerLength(): number {
    return (this.get8(12) >>> 4) * 4;
  }

  get sequence(): number {
    return this.get32(4);
  }

  set sequence(sequence: number) {
    this.set32(4, sequence);
  }

  get acknowledgment(): number {
    return this.get32(8);
  }

  set acknowledgment(acknowledgment: number) {
    this.set32(8, acknowledgment);
  }

  /** TCP_SYN and the like, or-ed. */
  get flags(): number {
    return this.get8(13);
  }

  set flags(flags: number) {
    this.set8(13, flags);
  }

  get window(): number {
    return this.get16(14);
  }

  set window(window: number) {
    this.set16(14, window);
  }

  get checksum(): number {
    return this.get16(16);
  }

  set checksum(checksum: number) {
    this.set16(16, checksum);
  }

  get urgent(): number {
    return this.get16(18);
  }

  set urgent(urgent: number) {
    this.set16(18, urgent);
  }

  get options(): Uint8Array {
    return this.part(TCP_BYTES, this.headerLength - TCP_BYTES);
  }

  repr(): Required<TcpRepr> {
    const { sourcePort, destinationPort, sequence, acknowledgment, flags, window, urgent } = this;
    const options = this.options.slice();
    return { sourcePort, destinationPort, sequence, acknowledgment, flags, window, urgent, options };
  }
}

/** A UDP header in values. */
export interface UdpRepr {
  readonly sourcePort: number;
  readonly destinationPort: number;
}

/** UDP (RFC 768). */
export class UdpView extends PortedView {
  /** The header at index `at`, in `length` bytes; undefined when it is not whole or says that it is not. */
  static parse(bytes: Uint8Array, at: number, length = bytes.length - at): UdpView | undefined {
    if (!holds(bytes, at, length, UDP_BYTES)) return undefined;
    const view = new UdpView(bytes, at, length);
    if (view.declaredLength < UDP_BYTES) return undefined;
    return new UdpView(bytes, at, Math.min(length, view.declaredLength));
  }

  /** Writes the length; `bytes` holds zeroes at `at`, and has room for header and payload. */
  static create(bytes: Uint8Array, at: number, payloadLength: number): UdpView {
    const view = new UdpView(bytes, at, UDP_BYTES + payloadLength);
    view.declaredLength = UDP_BYTES + payloadLength;
    return view;
  }

  get headerLength(): number {
    return UDP_BYTES;
  }

  /** Bytes of header and data, as the sender says. */
  get declaredLength(): number {
    return this.get16(4);
  }

  set declaredLength(length: number) {
    this.set16(4, length);
  }

  /** 0 when the sender computed none (IPv4 only). */
  get checksum(): number {
    return this.get16(6);
  }

  set checksum(checksum: number) {
    this.set16(6, checksum);
  }

  repr(): UdpRepr {
    return { sourcePort: this.sourcePort, destinationPort: this.destinationPort };
  }
}
