import { formatIpv6 } from '../util/addresses.ts';
import {
  EXTENSIONS_MAX,
  IPV6_BYTES,
  PROTOCOL_AUTHENTICATION,
  PROTOCOL_DESTINATION_OPTIONS,
  PROTOCOL_FRAGMENT,
  PROTOCOL_HIP,
  PROTOCOL_HOP_BY_HOP,
  PROTOCOL_MOBILITY,
  PROTOCOL_ROUTING,
  PROTOCOL_SHIM6,
} from './layout.ts';
import { HeaderView, holds } from './view.ts';

const VERSION = 6;
/** Headers whose second byte is their length in units of 8 bytes, without the first 8 (RFC 8200, 4). */
const EXTENSIONS: ReadonlySet<number> = new Set([
  PROTOCOL_HOP_BY_HOP,
  PROTOCOL_ROUTING,
  PROTOCOL_DESTINATION_OPTIONS,
  PROTOCOL_MOBILITY,
  PROTOCOL_HIP,
  PROTOCOL_SHIM6,
]);

/** An IPv6 header in values. Its length follows from the rest. */
export interface Ipv6Repr {
  readonly source: string;
  readonly destination: string;
  /** By default that of the layer inside. */
  readonly nextHeader?: number;
  /** 1 to 255; 64 by default. */
  readonly hopLimit?: number;
  /** 0 to 255; 0 by default. */
  readonly trafficClass?: number;
  /** 20 bits; 0 by default. */
  readonly flowLabel?: number;
}

/** Where the extension headers end. */
export interface UpperLayer {
  /** IP protocol of what follows, or of the extension header at which the walk had to end. */
  readonly protocol: number;
  /** Index of its first byte; undefined in a fragment, and when extension headers are cut or too many. */
  readonly at: number | undefined;
  readonly isFragment: boolean;
}

/** IPv6 (RFC 8200). */
export class Ipv6View extends HeaderView {
  /** The header at index `at`, in `length` bytes; undefined when it is not whole or not version 6. */
  static parse(bytes: Uint8Array, at: number, length = bytes.length - at): Ipv6View | undefined {
    if (!holds(bytes, at, length, IPV6_BYTES)) return undefined;
    const view = new Ipv6View(bytes, at, length);
    if (view.get8(0) >>> 4 !== VERSION) return undefined;
    return new Ipv6View(bytes, at, Math.min(length, IPV6_BYTES + view.declaredLength));
  }

  /** Writes version and length; `bytes` holds zeroes at `at`, and has room for header and payload. */
  static create(bytes: Uint8Array, at: number, payloadLength: number): Ipv6View {
    const view = new Ipv6View(bytes, at, IPV6_BYTES + payloadLength);
    view.set8(0, VERSION << 4);
    view.declaredLength = payloadLength;
    return view;
  }

  get headerLength(): number {
    return IPV6_BYTES;
  }

  get trafficClass(): number {
    return (this.get16(0) >>> 4) & 0xff;
  }

  set trafficClass(value: number) {
    this.set16(0, (this.get16(0) & 0xf00f) | ((value & 0xff) << 4));
  }

  get flowLabel(): number {
    return this.get32(0) & 0xfffff;
  }

  set flowLabel(label: number) {
    this.set8(1, (this.get8(1) & 0xf0) | ((label >>> 16) & 15));
    this.set16(2, label);
  }

  /** Bytes behind the header, as the sender says; extension headers included. */
  get declaredLength(): number {
    return this.get16(4);
  }

  set declaredLength(length: number) {
    this.set16(4, length);
  }

  /** True when the capture or the frame ends before the packet does. */
  get truncated(): boolean {
    return IPV6_BYTES + this.declaredLength > this.length;
  }

  get nextHeader(): number {
    return this.get8(6);
  }

  set nextHeader(protocol: number) {
    this.set8(6, protocol);
  }

  get hopLimit(): number {
    return this.get8(7);
  }

  set hopLimit(limit: number) {
    this.set8(7, limit);
  }

  /** 16 bytes of the frame, not copied: writing them changes the packet. */
  get source(): Uint8Array {
    return this.part(8, 16);
  }

  get destination(): Uint8Array {
    return this.part(24, 16);
  }

  /** Both addresses, as pseudo headers take them. */
  get addresses(): Uint8Array {
    return this.part(8, 32);
  }

  /** Walks the extension headers, EXTENSIONS_MAX of them at most, and never past the end of the packet. */
  upperLayer(): UpperLayer {
    let protocol = this.nextHeader;
    let offset = IPV6_BYTES;
    for (let i = 0; i <= EXTENSIONS_MAX; i++) {
      const fragment = protocol === PROTOCOL_FRAGMENT;
      const authentication = protocol === PROTOCOL_AUTHENTICATION;
      if (!fragment && !authentication && !EXTENSIONS.has(protocol)) {
        return { protocol, at: this.at + offset, isFragment: false };
      }
      if (offset + 8 > this.length) break;
      const units = this.get8(offset + 1);
      const next = this.get8(offset);
      // Offset or M flag (RFC 8200, 4.5); with neither it is a whole packet all the same (RFC 6946).
      if (fragment && (this.get16(offset + 2) & 0xfff9) !== 0)
        return { protocol: next, at: undefined, isFragment: true };
      // The Authentication Header counts in units of 4 bytes, without the first 8 (RFC 4302, 2.2).
      offset += fragment ? 8 : authentication ? (units + 2) * 4 : (units + 1) * 8;
      protocol = next;
      if (offset > this.length) break;
    }
    return { protocol, at: undefined, isFragment: false };
  }

  repr(): Required<Ipv6Repr> {
    return {
      source: formatIpv6(this.source),
      destination: formatIpv6(this.destination),
      nextHeader: this.nextHeader,
      hopLimit: this.hopLimit,
      trafficClass: this.trafficClass,
      flowLabel: this.flowLabel,
    };
  }
}
