import { formatIpv4 } from '../util/addresses.ts';
import { internetChecksum } from './checksum.ts';
import { IPV4_BYTES } from './layout.ts';
import { HeaderView, holds } from './view.ts';

const VERSION = 4;
/** Bits of the u16 that holds flags and fragment offset (RFC 791, 3.1). */
const DONT_FRAGMENT = 0x4000;
const MORE_FRAGMENTS = 0x2000;
const OFFSET_MASK = 0x1fff;

/** An IPv4 header in values. Lengths and the checksum follow from the rest. */
export interface Ipv4Repr {
  readonly source: string;
  readonly destination: string;
  /** By default that of the layer inside. */
  readonly protocol?: number;
  /** 1 to 255; 64 by default. */
  readonly ttl?: number;
  /** 0 to 63, 0 to 3; 0 by default. */
  readonly dscp?: number;
  readonly ecn?: number;
  readonly identification?: number;
  readonly dontFragment?: boolean;
  readonly moreFragments?: boolean;
  /** In bytes, a multiple of 8. */
  readonly fragmentOffset?: number;
  /** A multiple of 4 bytes, at most 40. */
  readonly options?: Uint8Array;
}

/** IPv4 (RFC 791). */
export class Ipv4View extends HeaderView {
  /**
   * The header at index `at`, in `length` bytes; undefined when it is not whole, not version 4, or its two lengths
   * contradict each other. The packet itself may be cut: `payloadLength` counts what is there, and `truncated` tells.
   */
  static parse(bytes: Uint8Array, at: number, length = bytes.length - at): Ipv4View | undefined {
    if (!holds(bytes, at, length, IPV4_BYTES)) return undefined;
    const view = new Ipv4View(bytes, at, length);
    const { headerLength } = view;
    const valid =
      view.get8(0) >>> 4 === VERSION &&
      headerLength >= IPV4_BYTES &&
      headerLength <= length &&
      headerLength <= view.totalLength;
    // Bytes behind the packet are padding of the frame.
    return valid ? new Ipv4View(bytes, at, Math.min(length, view.totalLength)) : undefined;
  }

  /** Writes version and header length; `bytes` holds zeroes at `at`, and has room for header and payload. */
  static create(bytes: Uint8Array, at: number, headerLength: number, payloadLength: number): Ipv4View {
    const view = new Ipv4View(bytes, at, headerLength + payloadLength);
    view.set8(0, (VERSION << 4) | (headerLength >>> 2));
    view.totalLength = headerLength + payloadLength;
    return view;
  }

  get headerLength(): number {
    return (this.get8(0) & 15) * 4;
  }

  get dscp(): number {
    return this.get8(1) >>> 2;
  }

  set dscp(dscp: number) {
    this.set8(1, (dscp << 2) | this.ecn);
  }

  get ecn(): number {
    return this.get8(1) & 3;
  }

  set ecn(ecn: number) {
    this.set8(1, (this.get8(1) & 0xfc) | (ecn & 3));
  }

  /** Bytes of the packet, as its sender says. */
  get totalLength(): number {
    return this.get16(2);
  }

  set totalLength(length: number) {
    this.set16(2, length);
  }

  /** True when the capture or the frame ends before the packet does. */
  get truncated(): boolean {
    return this.totalLength > this.length;
  }

  get identification(): number {
    return this.get16(4);
  }

  set identification(identification: number) {
    this.set16(4, identification);
  }

  get dontFragment(): boolean {
    return (this.get16(6) & DONT_FRAGMENT) !== 0;
  }

  get moreFragments(): boolean {
    return (this.get16(6) & MORE_FRAGMENTS) !== 0;
  }

  /** In bytes. */
  get fragmentOffset(): number {
    return (this.get16(6) & OFFSET_MASK) * 8;
  }

  /** True for each piece of a packet, the first one included. */
  get isFragment(): boolean {
    return (this.get16(6) & (MORE_FRAGMENTS | OFFSET_MASK)) !== 0;
  }

  /** Sets both flags and the offset in bytes, a multiple of 8. */
  setFragment(dontFragment: boolean, moreFragments: boolean, offset: number): void {
    this.set16(6, (dontFragment ? DONT_FRAGMENT : 0) | (moreFragments ? MORE_FRAGMENTS : 0) | (offset >>> 3));
  }

  get ttl(): number {
    return this.get8(8);
  }

  set ttl(ttl: number) {
    this.set8(8, ttl);
  }

  get protocol(): number {
    return this.get8(9);
  }

  set protocol(protocol: number) {
    this.set8(9, protocol);
  }

  get checksum(): number {
    return this.get16(10);
  }

  set checksum(checksum: number) {
    this.set16(10, checksum);
  }

  /** A number below 2^32. */
  get source(): number {
    return this.get32(12);
  }

  set source(address: number) {
    this.set32(12, address);
  }

  get destination(): number {
    return this.get32(16);
  }

  set destination(address: number) {
    this.set32(16, address);
  }

  /** Both addresses, as pseudo headers take them. */
  get addresses(): Uint8Array {
    return this.part(12, 8);
  }

  get options(): Uint8Array {
    return this.part(IPV4_BYTES, this.headerLength - IPV4_BYTES);
  }

  /** Computes the header's checksum anew and stores it. */
  fillChecksum(): void {
    this.checksum = 0;
    this.checksum = internetChecksum(this.bytes, this.at, this.headerLength);
  }

  repr(): Required<Ipv4Repr> {
    return {
      source: formatIpv4(this.source),
      destination: formatIpv4(this.destination),
      protocol: this.protocol,
      ttl: this.ttl,
      dscp: this.dscp,
      ecn: this.ecn,
      identification: this.identification,
      dontFragment: this.dontFragment,
      moreFragments: this.moreFragments,
      fragmentOffset: this.fragmentOffset,
      options: this.options.slice(),
    };
  }
}
