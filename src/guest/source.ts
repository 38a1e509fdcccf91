import type { Arena } from '../memory/arena.ts';
import { BURST_MAX } from '../memory/layout.ts';
import type { PoolKernels } from '../memory/pool.ts';
import { ARP_REPLY, ARP_REQUEST, ArpView } from '../packet/arp.ts';
import { buildFrame, type FrameRepr } from '../packet/builder.ts';
import { EthernetView } from '../packet/ethernet.ts';
import { ICMPV6_NEIGHBOR_ADVERTISEMENT, ICMPV6_NEIGHBOR_SOLICITATION, IcmpView } from '../packet/icmp.ts';
import { Ipv6View } from '../packet/ipv6.ts';
import {
  ETHERNET_BYTES,
  ETHERTYPE_ARP,
  ETHERTYPE_IPV6,
  IPV4_BYTES,
  IPV6_BYTES,
  PROTOCOL_ICMPV6,
} from '../packet/layout.ts';
import { UDP_BYTES } from '../packet/transport.ts';
import { formatIpv4, formatIpv6, formatMac, parseIpv4, parseIpv6 } from '../util/addresses.ts';
import type { StackAddresses } from './stack.ts';
import { type GuestSource, SOURCE_PORT } from './wire.ts';

/** What makes the frames of a source. */
export interface SourceKernels {
  guestFillUdp(
    slots: number,
    n: number,
    template: number,
    bytes: number,
    length: number,
    udpAt: number,
    first: number,
    flows: number,
  ): void;
}

/** The discard service (RFC 863): a stack answers that nobody listens, a sink does not mind. */
const DISCARD_PORT = 9;
/** Between two questions for the receiver's MAC, in seconds. */
const ASK_AGAIN = 1;
/** What a late source catches up with at most, in seconds of its rate. */
const CATCH_UP = 0.01;

/** What a source's frames are made from: the question for the MAC, and a template once it is known. */
export class Source {
  /** Packets made so far. */
  sent = 0;
  readonly #arena: Arena;
  readonly #kernels: SourceKernels & PoolKernels;
  readonly #settings: GuestSource;
  readonly #addresses: StackAddresses;
  /** Address of the template, or of a question, in the arena. */
  readonly #template: number;
  #length = 0;
  #peer: number | undefined;
  #flow = 0;
  #askedAt = -Infinity;
  #startedAt = 0;

  /** @param template address of 2 KiB in the arena. */
  constructor(arena: Arena, addresses: StackAddresses, settings: GuestSource, template: number) {
    this.#arena = arena;
    this.#kernels = arena.kernels<SourceKernels & PoolKernels>();
    this.#addresses = addresses;
    this.#settings = settings;
    this.#template = template;
  }

  get #isV6(): boolean {
    return this.#settings.to.includes(':');
  }

  /**
   * Fills up to 32 slots with what is to be sent at `now` (seconds): packets, or the question where to. Returns how many.
   */
  make(slots: number, cache: number, now: number): number {
    if (this.#peer === undefined) {
      if (now < this.#askedAt + ASK_AGAIN) return 0;
      this.#askedAt = now;
      this.#write(this.#question());
      if (this.#alloc(slots, cache, 1) === 0) return 0;
      return this.#kernels.memoryFill(cache, slots, this.#template, this.#length);
    }
    const n = this.#alloc(slots, cache, this.#due(now));
    if (n === 0) return 0;
    const udpAt = ETHERNET_BYTES + (this.#isV6 ? IPV6_BYTES : IPV4_BYTES);
    const { flows } = this.#settings;
    const length = this.#length;
    this.#kernels.guestFillUdp(slots, n, this.#template, length, length, udpAt, this.#flow, flows);
    this.#flow = (this.#flow + n) % flows;
    this.sent += n;
    return n;
  }

  #alloc(slots: number, cache: number, n: number): number {
    return n === 0 ? 0 : this.#kernels.poolAlloc(cache, slots, n);
  }

  #due(now: number): number {
    const { rate, limit = Number.POSITIVE_INFINITY } = this.#settings;
    const left = Math.min(BURST_MAX, limit - this.sent);
    if (rate === undefined) return left;
    // What could not be sent in time is not made up for later, but for a moment's worth.
    this.#startedAt = Math.max(this.#startedAt, now - CATCH_UP - this.sent / rate);
    return Math.max(0, Math.min(left, Math.floor((now - this.#startedAt) * rate) - this.sent));
  }

  /** Looks whether the frame says the receiver's MAC. */
  look(bytes: Uint8Array, at: number, length: number, now: number): void {
    if (this.#peer !== undefined) return;
    const ethernet = EthernetView.parse(bytes, at, length);
    const peer = ethernet === undefined ? undefined : this.#answer(ethernet);
    if (peer === undefined) return;
    this.#peer = peer;
    this.#startedAt = now;
    this.#write(this.#packet(peer));
  }

  #answer({ bytes, type, payloadAt, payloadLength, source }: EthernetView): number | undefined {
    const { to } = this.#settings;
    if (type === ETHERTYPE_ARP) {
      const arp = ArpView.parse(bytes, payloadAt, payloadLength);
      return arp?.operation === ARP_REPLY && arp.senderIp === parseIpv4(to) ? arp.senderMac : undefined;
    }
    if (type !== ETHERTYPE_IPV6) return undefined;
    const ip = Ipv6View.parse(bytes, payloadAt, payloadLength);
    if (ip === undefined || ip.nextHeader !== PROTOCOL_ICMPV6) return undefined;
    const icmp = IcmpView.parse(bytes, ip.payloadAt, ip.payloadLength);
    if (icmp?.type !== ICMPV6_NEIGHBOR_ADVERTISEMENT || icmp.length < 24) return undefined;
    const wanted = parseIpv6(to) as Uint8Array;
    return wanted.every((byte, i) => bytes[icmp.at + 8 + i] === byte) ? source : undefined;
  }

  #write(repr: FrameRepr): void {
    const frame = buildFrame(repr);
    this.#arena.u8.set(frame, this.#template);
    this.#length = frame.length;
  }

  /** The address that we send from: of IPv6 the last, which is the global one when there is one. */
  #ownV6(): string {
    return formatIpv6(this.#addresses.ipv6.at(-1) ?? new Uint8Array(16));
  }

  #question(): FrameRepr {
    const { to } = this.#settings;
    const source = formatMac(this.#addresses.mac);
    if (!this.#isV6) {
      return {
        ethernet: { destination: 'ff:ff:ff:ff:ff:ff', source },
        arp: {
          operation: ARP_REQUEST,
          senderMac: source,
          senderIp: formatIpv4(this.#addresses.ipv4 ?? 0),
          targetMac: '00:00:00:00:00:00',
          targetIp: to,
        },
      };
    }
    const target = parseIpv6(to) as Uint8Array;
    const mac = [...Array(6).keys()].map((i) => Math.floor(this.#addresses.mac / 2 ** (40 - 8 * i)) % 256);
    // RFC 4291, 2.7.1: the solicited-node address; RFC 2464, 7: its MAC. RFC 4861, 4.3: our own MAC is option 1.
    const low = [...target.subarray(13)];
    return {
      ethernet: { destination: formatMac(low.reduce((sum, byte) => sum * 256 + byte, 0x3333ff)), source },
      ipv6: {
        source: this.#ownV6(),
        destination: formatIpv6(Uint8Array.of(0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, ...low)),
        hopLimit: 255,
      },
      icmpv6: { type: ICMPV6_NEIGHBOR_SOLICITATION },
      payload: Uint8Array.of(...target, 1, 1, ...mac),
    };
  }

  #packet(peer: number): FrameRepr {
    const { to, size } = this.#settings;
    const headers = ETHERNET_BYTES + UDP_BYTES + (this.#isV6 ? IPV6_BYTES : IPV4_BYTES);
    return {
      ethernet: { destination: formatMac(peer), source: formatMac(this.#addresses.mac) },
      ...(this.#isV6
        ? { ipv6: { source: this.#ownV6(), destination: to } }
        : { ipv4: { source: formatIpv4(this.#addresses.ipv4 ?? 0), destination: to } }),
      udp: { sourcePort: SOURCE_PORT, destinationPort: DISCARD_PORT },
      payload: new Uint8Array(Math.max(0, size - headers)),
    };
  }
}
