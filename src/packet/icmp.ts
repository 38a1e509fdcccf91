import { ICMP_BYTES } from './transport.ts';
import { HeaderView, holds } from './view.ts';

// Types that a dataplane answers or sends (IANA, "ICMP Type Numbers").

/** The answer to an echo request (RFC 792). */
export const ICMP_ECHO_REPLY = 0;
/** No way to the destination; the code says why (RFC 792). */
export const ICMP_UNREACHABLE = 3;
/** Asks for an echo (RFC 792). */
export const ICMP_ECHO_REQUEST = 8;
/** The TTL, or the time to put fragments together, ran out (RFC 792). */
export const ICMP_TIME_EXCEEDED = 11;

// The same for ICMPv6 (IANA, "ICMPv6 type Numbers").

/** No way to the destination (RFC 4443, 3.1). */
export const ICMPV6_UNREACHABLE = 1;
/** The packet does not fit the next link (RFC 4443, 3.2). */
export const ICMPV6_PACKET_TOO_BIG = 2;
/** The hop limit, or the time to put fragments together, ran out (RFC 4443, 3.3). */
export const ICMPV6_TIME_EXCEEDED = 3;
/** Asks for an echo (RFC 4443, 4.1). */
export const ICMPV6_ECHO_REQUEST = 128;
/** The answer to an echo request (RFC 4443, 4.2). */
export const ICMPV6_ECHO_REPLY = 129;
/** Asks for the link-layer address of a neighbour (RFC 4861, 4.3). */
export const ICMPV6_NEIGHBOR_SOLICITATION = 135;
/** Says the link-layer address of the sender (RFC 4861, 4.4). */
export const ICMPV6_NEIGHBOR_ADVERTISEMENT = 136;

/** An ICMP or ICMPv6 header in values. */
export interface IcmpRepr {
  readonly type: number;
  readonly code?: number;
  /** The u16 at offset 4 and 6: of an echo, its identifier and its number. 0 by default. */
  readonly identifier?: number;
  readonly sequence?: number;
}

/** The header that ICMP (RFC 792) and ICMPv6 (RFC 4443, 2.1) have in common. */
export class IcmpView extends HeaderView {
  /** The header at index `at`, in `length` bytes; undefined when they are fewer than 8. */
  static parse(bytes: Uint8Array, at: number, length = bytes.length - at): IcmpView | undefined {
    return holds(bytes, at, length, ICMP_BYTES) ? new IcmpView(bytes, at, length) : undefined;
  }

  get headerLength(): number {
    return ICMP_BYTES;
  }

  get type(): number {
    return this.get8(0);
  }

  set type(type: number) {
    this.set8(0, type);
  }

  get code(): number {
    return this.get8(1);
  }

  set code(code: number) {
    this.set8(1, code);
  }

  /** ICMPv6's takes in a pseudo header. */
  get checksum(): number {
    return this.get16(2);
  }

  set checksum(checksum: number) {
    this.set16(2, checksum);
  }

  get identifier(): number {
    return this.get16(4);
  }

  set identifier(identifier: number) {
    this.set16(4, identifier);
  }

  get sequence(): number {
    return this.get16(6);
  }

  set sequence(sequence: number) {
    this.set16(6, sequence);
  }

  repr(): Required<IcmpRepr> {
    return { type: this.type, code: this.code, identifier: this.identifier, sequence: this.sequence };
  }
}

/** An ICMPv6 header; only the meaning of its numbers differs. */
export { IcmpView as Icmpv6View };
