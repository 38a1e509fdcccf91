import { ARP_REPLY, ARP_REQUEST, ArpView } from '../packet/arp.ts';
import { internetChecksum, internetSum, pseudoHeaderSum } from '../packet/checksum.ts';
import { EthernetView } from '../packet/ethernet.ts';
import {
  ICMP_ECHO_REPLY,
  ICMP_ECHO_REQUEST,
  ICMPV6_ECHO_REPLY,
  ICMPV6_ECHO_REQUEST,
  ICMPV6_NEIGHBOR_ADVERTISEMENT,
  ICMPV6_NEIGHBOR_SOLICITATION,
  IcmpView,
} from '../packet/icmp.ts';
import { Ipv4View } from '../packet/ipv4.ts';
import { Ipv6View } from '../packet/ipv6.ts';
import {
  ETHERTYPE_ARP,
  ETHERTYPE_IPV4,
  ETHERTYPE_IPV6,
  PROTOCOL_ICMP,
  PROTOCOL_ICMPV6,
  PROTOCOL_TCP,
  PROTOCOL_UDP,
} from '../packet/layout.ts';
import { TcpView, UdpView } from '../packet/transport.ts';
import { advertise, isSolicited } from './ndp.ts';
import { TcpSink } from './tcp-sink.ts';
import { unreachableV4, unreachableV6 } from './unreachable.ts';

/** Who a stack is. */
export interface StackAddresses {
  /** 48 bits. */
  readonly mac: number;
  readonly ipv4?: number;
  /** 16 bytes each, the link-local one first. */
  readonly ipv6: readonly Uint8Array[];
}

/** The echo service (RFC 862). */
const ECHO_PORT = 7;
/** TTL and hop limit of what we send: what Linux sends with. */
const TTL = 64;
const BROADCAST = 0xffff_ffff_ffff;
/** The first bit of a MAC's first byte: a group. */
const GROUP = 2 ** 40;
/** ff02::1, all nodes of the link (RFC 4291, 2.7.1). */
const ALL_NODES = Uint8Array.of(0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1);

const equal = (a: Uint8Array, b: Uint8Array): boolean => a.every((byte, i) => byte === b[i]);

/** Frames that a stack received, by what became of them. */
export interface StackCounters {
  arp: number;
  neighbor: number;
  echo: number;
  udp: number;
  tcp: number;
  /** Not for us, not understood, or with a wrong checksum. */
  ignored: number;
}

/**
 * The least of a network stack that makes a guest worth talking to: ARP, neighbor discovery, ping, UDP echo, TCP that
 * takes what it is sent. A reply is written over the frame that asked for it.
 */
export class Stack {
  readonly counters: StackCounters = { arp: 0, neighbor: 0, echo: 0, udp: 0, tcp: 0, ignored: 0 };
  readonly tcp: TcpSink;
  /** The last reply has the transport checksum of what it answers: one that is still to be made is so in the reply too. */
  keptChecksum = false;
  readonly #addresses: StackAddresses;

  /** @param seed of the sequence numbers with which connections start. */
  constructor(addresses: StackAddresses, seed = 1) {
    this.#addresses = addresses;
    this.tcp = new TcpSink(seed);
  }

  /**
   * Answers the frame of `length` bytes from index `at` of `bytes`. Returns the bytes of the reply, which stands in its
   * place (up to 62 bytes longer than the frame, so leave room); 0 when there is none.
   * @param checked the transport checksum need not be looked at: it is still to be made, or was found to be right.
   */
  handle(bytes: Uint8Array, at: number, length: number, checked = false): number {
    this.keptChecksum = false;
    const ethernet = EthernetView.parse(bytes, at, length);
    const reply = ethernet === undefined ? 0 : this.#dispatch(ethernet, checked);
    if (reply < 0) {
      this.counters.ignored++;
      return 0;
    }
    return reply;
  }

  /** Bytes of the reply, 0 for none, -1 when the frame meant nothing to us. */
  #dispatch(ethernet: EthernetView, checked: boolean): number {
    const { mac } = this.#addresses;
    const { destination } = ethernet;
    const isGroup = Math.floor(destination / GROUP) % 2 === 1;
    if (destination !== mac && destination !== BROADCAST && !isGroup) return -1;
    const { bytes, payloadAt, payloadLength } = ethernet;
    const inner = this.#payload(ethernet, bytes, payloadAt, payloadLength, checked);
    if (inner <= 0) return inner;
    ethernet.destination = ethernet.source;
    ethernet.source = mac;
    return ethernet.headerLength + inner;
  }

  #payload(ethernet: EthernetView, bytes: Uint8Array, at: number, length: number, checked: boolean): number {
    switch (ethernet.type) {
      case ETHERTYPE_ARP:
        return this.#arp(ArpView.parse(bytes, at, length));
      case ETHERTYPE_IPV4:
        return this.#ipv4(Ipv4View.parse(bytes, at, length), checked);
      case ETHERTYPE_IPV6:
        return this.#ipv6(Ipv6View.parse(bytes, at, length), checked);
      default:
        return -1;
    }
  }

  /** RFC 826: whoever asks for our address learns our MAC. */
  #arp(arp: ArpView | undefined): number {
    const { mac, ipv4 } = this.#addresses;
    if (arp === undefined || arp.operation !== ARP_REQUEST || arp.targetIp !== ipv4) return -1;
    this.counters.arp++;
    arp.operation = ARP_REPLY;
    arp.targetMac = arp.senderMac;
    arp.targetIp = arp.senderIp;
    arp.senderMac = mac;
    arp.senderIp = ipv4;
    return arp.headerLength;
  }

  #ipv4(ip: Ipv4View | undefined, checked: boolean): number {
    const { ipv4 } = this.#addresses;
    if (ip === undefined || ip.destination !== ipv4 || ip.isFragment || ip.truncated) return -1;
    if (internetSum(ip.bytes, ip.at, ip.headerLength) !== 0xffff) return -1;
    const { bytes, payloadAt: at, payloadLength: length, source } = ip;
    let reply = -1;
    if (ip.protocol === PROTOCOL_ICMP) reply = this.#icmp(bytes, at, length);
    else if (!checked && !this.#isRight(bytes, ip.addresses, ip.protocol, at, length)) return -1;
    else if (ip.protocol === PROTOCOL_UDP) reply = this.#udp(bytes, at, length);
    else if (ip.protocol === PROTOCOL_TCP) reply = this.#tcp(bytes, at, length, ip.addresses);
    if (reply === 0 && ip.protocol === PROTOCOL_UDP) return unreachableV4(ip);
    if (reply <= 0) return reply;
    ip.destination = source;
    ip.source = ipv4;
    ip.ttl = TTL;
    ip.totalLength = ip.headerLength + reply;
    ip.checksum = 0;
    ip.checksum = internetChecksum(bytes, ip.at, ip.headerLength);
    if (ip.protocol === PROTOCOL_TCP) this.#sumTcp(bytes, at, reply, ip.addresses);
    return ip.headerLength + reply;
  }

  #ipv6(ip: Ipv6View | undefined, checked: boolean): number {
    if (ip === undefined || ip.truncated) return -1;
    const { bytes, nextHeader } = ip;
    const { payloadAt: at, payloadLength: length } = ip;
    const own = this.#addresses.ipv6.find((address) => equal(ip.destination, address));
    if (nextHeader === PROTOCOL_ICMPV6) {
      if (!this.#isRight(bytes, ip.addresses, nextHeader, at, length)) return -1;
      return this.#icmpv6(ip, at, length, own);
    }
    if (own === undefined) return -1;
    if (!checked && !this.#isRight(bytes, ip.addresses, nextHeader, at, length)) return -1;
    let reply = -1;
    if (nextHeader === PROTOCOL_UDP) reply = this.#udp(bytes, at, length);
    else if (nextHeader === PROTOCOL_TCP) reply = this.#tcp(bytes, at, length, ip.addresses);
    if (reply === 0 && nextHeader === PROTOCOL_UDP) return unreachableV6(ip);
    if (reply <= 0) return reply;
    this.#returnV6(ip, own, reply, TTL);
    if (nextHeader === PROTOCOL_TCP) this.#sumTcp(bytes, at, reply, ip.addresses);
    return ip.headerLength + reply;
  }

  #returnV6(ip: Ipv6View, from: Uint8Array, length: number, hopLimit: number): void {
    ip.destination.set(ip.source.slice());
    ip.source.set(from);
    ip.hopLimit = hopLimit;
    ip.declaredLength = length;
  }

  /** True when the checksum of a TCP, UDP or ICMPv6 packet is right, or there is none: 0 in UDP over IPv4 (RFC 768). */
  #isRight(bytes: Uint8Array, addresses: Uint8Array, protocol: number, at: number, length: number): boolean {
    const udp = protocol === PROTOCOL_UDP ? UdpView.parse(bytes, at, length) : undefined;
    if (udp !== undefined && udp.checksum === 0 && addresses.length === 8) return true;
    return internetSum(bytes, at, length, pseudoHeaderSum(addresses, protocol, length)) === 0xffff;
  }

  #icmp(bytes: Uint8Array, at: number, length: number): number {
    const icmp = IcmpView.parse(bytes, at, length);
    if (icmp === undefined || icmp.type !== ICMP_ECHO_REQUEST || internetSum(bytes, at, length) !== 0xffff) return -1;
    this.counters.echo++;
    icmp.type = ICMP_ECHO_REPLY;
    icmp.checksum = 0;
    icmp.checksum = internetChecksum(bytes, at, length);
    return length;
  }

  #icmpv6(ip: Ipv6View, at: number, length: number, own: Uint8Array | undefined): number {
    const { bytes } = ip;
    const icmp = IcmpView.parse(bytes, at, length);
    if (icmp?.type === ICMPV6_NEIGHBOR_SOLICITATION) {
      const asked = this.#addresses.ipv6.find((address) => isSolicited(ip, icmp, address));
      if (asked === undefined) return -1;
      this.counters.neighbor++;
      return this.#finishV6(ip, advertise(ip, icmp, asked, this.#addresses.mac), ICMPV6_NEIGHBOR_ADVERTISEMENT);
    }
    const from = own ?? (equal(ip.destination, ALL_NODES) ? this.#addresses.ipv6[0] : undefined);
    if (icmp?.type !== ICMPV6_ECHO_REQUEST || from === undefined) return -1;
    this.counters.echo++;
    this.#returnV6(ip, from, length, TTL);
    return this.#finishV6(ip, length, ICMPV6_ECHO_REPLY);
  }

  /** Sets the type and the checksum of an ICMPv6 message whose addresses are those of the reply. */
  #finishV6(ip: Ipv6View, length: number, type: number): number {
    const { bytes, payloadAt: at } = ip;
    bytes[at] = type;
    bytes.fill(0, at + 2, at + 4);
    const sum = internetChecksum(bytes, at, length, pseudoHeaderSum(ip.addresses, PROTOCOL_ICMPV6, length));
    bytes[at + 2] = sum >>> 8;
    bytes[at + 3] = sum;
    return ip.headerLength + length;
  }

  /** Bytes of the reply; 0 when nobody listens at the port. The checksum stays right: only its parts change places. */
  #udp(bytes: Uint8Array, at: number, length: number): number {
    const udp = UdpView.parse(bytes, at, length);
    if (udp === undefined) return -1;
    if (udp.destinationPort !== ECHO_PORT) return 0;
    this.counters.udp++;
    this.keptChecksum = true;
    udp.destinationPort = udp.sourcePort;
    udp.sourcePort = ECHO_PORT;
    return length;
  }

  #tcp(bytes: Uint8Array, at: number, length: number, addresses: Uint8Array): number {
    const tcp = TcpView.parse(bytes, at, length);
    if (tcp === undefined) return -1;
    this.counters.tcp++;
    return this.tcp.handle(tcp, addresses);
  }

  #sumTcp(bytes: Uint8Array, at: number, length: number, addresses: Uint8Array): void {
    bytes.fill(0, at + 16, at + 18);
    const sum = internetChecksum(bytes, at, length, pseudoHeaderSum(addresses, PROTOCOL_TCP, length));
    bytes[at + 16] = sum >>> 8;
    bytes[at + 17] = sum;
  }
}
