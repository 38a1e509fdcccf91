import { formatIpv4, formatIpv6, formatMac } from '../util/addresses.ts';
import { ARP_REPLY, ARP_REQUEST, ArpView } from './arp.ts';
import { EthernetView, isVlanType, VlanView } from './ethernet.ts';
import {
  ICMP_ECHO_REPLY,
  ICMP_ECHO_REQUEST,
  ICMPV6_ECHO_REPLY,
  ICMPV6_ECHO_REQUEST,
  ICMPV6_NEIGHBOR_ADVERTISEMENT,
  ICMPV6_NEIGHBOR_SOLICITATION,
  IcmpView,
} from './icmp.ts';
import { Ipv4View } from './ipv4.ts';
import { Ipv6View } from './ipv6.ts';
import {
  ETHERTYPE_ARP,
  ETHERTYPE_IPV4,
  ETHERTYPE_IPV6,
  PROTOCOL_ICMP,
  PROTOCOL_ICMPV6,
  PROTOCOL_TCP,
  PROTOCOL_UDP,
} from './layout.ts';
import { TcpView, UdpView } from './transport.ts';
import { GENEVE_ETHERNET, GENEVE_PORT, GeneveView, VXLAN_PORT, VxlanView } from './tunnels.ts';

/** VLAN tags, and frames inside tunnels, that are shown at most: a frame of nothing else must not nest for ever. */
const DEPTH_MAX = 4;
/** In the order of the bits, lowest first, with tcpdump's letters. */
const TCP_FLAG_LETTERS = 'FSRP.UEW';

/** A stretch of the frame in which a layer lies. */
interface Span {
  readonly bytes: Uint8Array;
  readonly at: number;
  readonly length: number;
}

/** Addresses of a packet, as text: an IPv6 address that a port follows is put in brackets. */
interface Ends {
  readonly source: string;
  readonly destination: string;
}

/**
 * One line about a frame, for people: `10.0.0.1:1234 > 10.0.0.2:80 tcp S seq 7 ack 0 win 65535, 0 bytes`. Takes any
 * bytes and never throws; what is cut or malformed is said to be so.
 */
export function describe(frame: Uint8Array): string {
  return describeEthernet({ bytes: frame, at: 0, length: frame.length }, DEPTH_MAX);
}

function hex(value: number): string {
  return `0x${value.toString(16).padStart(4, '0')}`;
}

function describeEthernet({ bytes, at, length }: Span, depth: number): string {
  const ethernet = EthernetView.parse(bytes, at, length);
  if (ethernet === undefined) return `ethernet: cut, ${length} bytes`;
  const words: string[] = [];
  let layer: EthernetView | VlanView = ethernet;
  for (let tags = 0; isVlanType(layer.type) && tags < DEPTH_MAX; tags++) {
    const vlan = VlanView.parse(bytes, layer.payloadAt, layer.payloadLength);
    if (vlan === undefined) return [...words, 'vlan: cut'].join(' ');
    words.push(`vlan ${vlan.id}${vlan.priority === 0 ? '' : ` priority ${vlan.priority}`}`);
    layer = vlan;
  }
  const inner = { bytes, at: layer.payloadAt, length: layer.payloadLength };
  const known = describeInside(layer.type, inner, depth);
  const { source, destination } = ethernet;
  words.push(
    known ?? `${formatMac(source)} > ${formatMac(destination)} type ${hex(layer.type)}, ${inner.length} bytes`,
  );
  return words.join(' ');
}

/** The packet of an EtherType; undefined for those that we do not know. */
function describeInside(type: number, span: Span, depth: number): string | undefined {
  if (type === ETHERTYPE_ARP) return describeArp(span);
  if (type === ETHERTYPE_IPV4) return describeIpv4(span, depth);
  if (type === ETHERTYPE_IPV6) return describeIpv6(span, depth);
  return undefined;
}

function describeArp({ bytes, at, length }: Span): string {
  const arp = ArpView.parse(bytes, at, length);
  if (arp === undefined) return `arp: cut or not for IPv4, ${length} bytes`;
  const { operation, senderMac, senderIp, targetIp } = arp;
  if (operation === ARP_REQUEST) return `arp who-has ${formatIpv4(targetIp)} tell ${formatIpv4(senderIp)}`;
  if (operation === ARP_REPLY) return `arp ${formatIpv4(senderIp)} is-at ${formatMac(senderMac)}`;
  return `arp operation ${operation} from ${formatIpv4(senderIp)}`;
}

function describeIpv4({ bytes, at, length }: Span, depth: number): string {
  const ip = Ipv4View.parse(bytes, at, length);
  if (ip === undefined) return `ipv4: cut or malformed, ${length} bytes`;
  const ends = { source: formatIpv4(ip.source), destination: formatIpv4(ip.destination) };
  if (ip.isFragment) {
    const more = ip.moreFragments ? '+' : '';
    return `${ends.source} > ${ends.destination} protocol ${ip.protocol} fragment at ${ip.fragmentOffset}${more}, ${ip.payloadLength} bytes`;
  }
  const upper = { bytes, at: ip.payloadAt, length: ip.payloadLength };
  return describeUpper(ip.protocol, upper, ends, depth) + (ip.truncated ? ', cut' : '');
}

function describeIpv6({ bytes, at, length }: Span, depth: number): string {
  const ip = Ipv6View.parse(bytes, at, length);
  if (ip === undefined) return `ipv6: cut or malformed, ${length} bytes`;
  const ends = { source: formatIpv6(ip.source), destination: formatIpv6(ip.destination) };
  const { protocol, at: upperAt, isFragment } = ip.upperLayer();
  if (upperAt === undefined) {
    const why = isFragment ? 'fragment' : 'extension headers cut or too many';
    return `${ends.source} > ${ends.destination} protocol ${protocol} ${why}, ${ip.payloadLength} bytes`;
  }
  const upper = { bytes, at: upperAt, length: at + ip.length - upperAt };
  return describeUpper(protocol, upper, ends, depth) + (ip.truncated ? ', cut' : '');
}

function describeUpper(protocol: number, span: Span, ends: Ends, depth: number): string {
  const { source, destination } = ends;
  if (protocol === PROTOCOL_TCP) return describeTcp(span, ends);
  if (protocol === PROTOCOL_UDP) return describeUdp(span, ends, depth);
  const between = `${source} > ${destination}`;
  if (protocol === PROTOCOL_ICMP || protocol === PROTOCOL_ICMPV6) {
    return `${between} ${describeIcmp(span, protocol === PROTOCOL_ICMPV6)}`;
  }
  return `${between} protocol ${protocol}, ${span.length} bytes`;
}

/** `10.0.0.1:80 > [2001:db8::1]:80` */
function withPorts({ source, destination }: Ends, sourcePort: number, destinationPort: number): string {
  const place = (address: string, port: number): string =>
    address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
  return `${place(source, sourcePort)} > ${place(destination, destinationPort)}`;
}

function describeTcp({ bytes, at, length }: Span, ends: Ends): string {
  const tcp = TcpView.parse(bytes, at, length);
  if (tcp === undefined) return `${ends.source} > ${ends.destination} tcp: cut or malformed, ${length} bytes`;
  const { sourcePort, destinationPort, flags, sequence, acknowledgment, window, payloadLength } = tcp;
  const letters = [...TCP_FLAG_LETTERS].filter((_, bit) => flags & (1 << bit)).join('') || 'none';
  const numbers = `seq ${sequence} ack ${acknowledgment} win ${window}`;
  return `${withPorts(ends, sourcePort, destinationPort)} tcp ${letters} ${numbers}, ${payloadLength} bytes`;
}

function describeUdp({ bytes, at, length }: Span, ends: Ends, depth: number): string {
  const udp = UdpView.parse(bytes, at, length);
  if (udp === undefined) return `${ends.source} > ${ends.destination} udp: cut or malformed, ${length} bytes`;
  const { sourcePort, destinationPort, payloadAt, payloadLength } = udp;
  const line = `${withPorts(ends, sourcePort, destinationPort)} udp`;
  const inner =
    depth > 0 ? describeTunnel(destinationPort, { bytes, at: payloadAt, length: payloadLength }, depth) : undefined;
  return inner === undefined ? `${line}, ${payloadLength} bytes` : `${line} ${inner}`;
}

/** What a tunnel on `port` carries; undefined when there is none, or its header is not whole. */
function describeTunnel(port: number, { bytes, at, length }: Span, depth: number): string | undefined {
  const tunnel =
    port === VXLAN_PORT
      ? VxlanView.parse(bytes, at, length)
      : port === GENEVE_PORT
        ? GeneveView.parse(bytes, at, length)
        : undefined;
  if (tunnel === undefined) return undefined;
  const span = { bytes, at: tunnel.payloadAt, length: tunnel.payloadLength };
  if (tunnel instanceof VxlanView) return `vxlan ${tunnel.vni} { ${describeEthernet(span, depth - 1)} }`;
  const type = tunnel.protocol;
  const inner =
    type === GENEVE_ETHERNET
      ? describeEthernet(span, depth - 1)
      : (describeInside(type, span, depth - 1) ?? `type ${hex(type)}, ${span.length} bytes`);
  return `geneve ${tunnel.vni} { ${inner} }`;
}

function describeIcmp({ bytes, at, length }: Span, isV6: boolean): string {
  const name = isV6 ? 'icmpv6' : 'icmp';
  const icmp = IcmpView.parse(bytes, at, length);
  if (icmp === undefined) return `${name}: cut, ${length} bytes`;
  const { type, code, identifier, sequence, payloadLength } = icmp;
  const echo = `id ${identifier} seq ${sequence}, ${payloadLength} bytes`;
  if (type === (isV6 ? ICMPV6_ECHO_REQUEST : ICMP_ECHO_REQUEST)) return `${name} echo request ${echo}`;
  if (type === (isV6 ? ICMPV6_ECHO_REPLY : ICMP_ECHO_REPLY)) return `${name} echo reply ${echo}`;
  const about = (what: string): string =>
    payloadLength < 16 ? `${name} ${what}: cut` : `${name} ${what} ${formatIpv6(bytes.subarray(at + 8, at + 24))}`;
  if (isV6 && type === ICMPV6_NEIGHBOR_SOLICITATION) return about('who-has');
  if (isV6 && type === ICMPV6_NEIGHBOR_ADVERTISEMENT) return about('advertises');
  return `${name} type ${type} code ${code}, ${payloadLength} bytes`;
}
