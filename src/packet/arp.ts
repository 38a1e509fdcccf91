import { formatIpv4, formatMac } from '../util/addresses.ts';
import { ETHERTYPE_IPV4 } from './layout.ts';
import { HeaderView, holds } from './view.ts';

/** Bytes of an ARP packet for Ethernet and IPv4. */
export const ARP_BYTES = 28;
/** Hardware type, protocol type and the two address lengths of such a packet (RFC 826). */
const HARDWARE_ETHERNET = 1;
const MAC_BYTES = 6;
const IPV4_ADDRESS_BYTES = 4;

/** Operation of a question: who has `targetIp`? (RFC 826; IANA, "ARP Parameters".) */
export const ARP_REQUEST = 1;
/** Operation of the answer: `senderIp` is at `senderMac`. */
export const ARP_REPLY = 2;

/** An ARP packet in values. */
export interface ArpRepr {
  /** ARP_REQUEST, ARP_REPLY, or another of IANA's. */
  readonly operation: number;
  readonly senderMac: string;
  readonly senderIp: string;
  readonly targetMac: string;
  readonly targetIp: string;
}

/** ARP for Ethernet and IPv4 (RFC 826). */
export class ArpView extends HeaderView {
  /** The packet at index `at`, in `length` bytes; undefined when they are fewer than 28, or for other addresses. */
  static parse(bytes: Uint8Array, at: number, length = bytes.length - at): ArpView | undefined {
    if (!holds(bytes, at, length, ARP_BYTES)) return undefined;
    const view = new ArpView(bytes, at, length);
    const known =
      view.get16(0) === HARDWARE_ETHERNET &&
      view.get16(2) === ETHERTYPE_IPV4 &&
      view.get8(4) === MAC_BYTES &&
      view.get8(5) === IPV4_ADDRESS_BYTES;
    return known ? view : undefined;
  }

  /** Writes the fields that `parse` demands. `bytes` has room for 28 bytes at `at`. */
  static create(bytes: Uint8Array, at: number): ArpView {
    const view = new ArpView(bytes, at, ARP_BYTES);
    view.set16(0, HARDWARE_ETHERNET);
    view.set16(2, ETHERTYPE_IPV4);
    view.set8(4, MAC_BYTES);
    view.set8(5, IPV4_ADDRESS_BYTES);
    return view;
  }

  get headerLength(): number {
    return ARP_BYTES;
  }

  get operation(): number {
    return this.get16(6);
  }

  set operation(operation: number) {
    this.set16(6, operation);
  }

  get senderMac(): number {
    return this.get48(8);
  }

  set senderMac(mac: number) {
    this.set48(8, mac);
  }

  get senderIp(): number {
    return this.get32(14);
  }

  set senderIp(address: number) {
    this.set32(14, address);
  }

  get targetMac(): number {
    return this.get48(18);
  }

  set targetMac(mac: number) {
    this.set48(18, mac);
  }

  get targetIp(): number {
    return this.get32(24);
  }

  set targetIp(address: number) {
    this.set32(24, address);
  }

  repr(): ArpRepr {
    return {
      operation: this.operation,
      senderMac: formatMac(this.senderMac),
      senderIp: formatIpv4(this.senderIp),
      targetMac: formatMac(this.targetMac),
      targetIp: formatIpv4(this.targetIp),
    };
  }
}
