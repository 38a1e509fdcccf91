import { parseIpv4, parseIpv6, parseMac } from '../util/addresses.ts';
import { RingwayError } from '../util/errors.ts';
import { ARP_BYTES, type ArpRepr, ArpView } from './arp.ts';
import { internetChecksum, pseudoHeaderSum } from './checksum.ts';
import { type EthernetRepr, EthernetView, type VlanRepr, VlanView } from './ethernet.ts';
import { type IcmpRepr, IcmpView } from './icmp.ts';
import { type Ipv4Repr, Ipv4View } from './ipv4.ts';
import { type Ipv6Repr, Ipv6View } from './ipv6.ts';
import {
  ETHERNET_BYTES,
  ETHERTYPE_ARP,
  ETHERTYPE_IPV4,
  ETHERTYPE_IPV6,
  ETHERTYPE_QINQ,
  ETHERTYPE_VLAN,
  IPV4_BYTES,
  IPV6_BYTES,
  PROTOCOL_ICMP,
  PROTOCOL_ICMPV6,
  PROTOCOL_TCP,
  PROTOCOL_UDP,
  VLAN_BYTES,
} from './layout.ts';
import { ICMP_BYTES, TCP_BYTES, type TcpRepr, TcpView, UDP_BYTES, type UdpRepr, UdpView } from './transport.ts';
import {
  GENEVE_BYTES,
  GENEVE_ETHERNET,
  type GeneveRepr,
  GeneveView,
  VXLAN_BYTES,
  type VxlanRepr,
  VxlanView,
} from './tunnels.ts';

/**
 * A frame in values, from the outside in: what `buildFrame` makes bytes of. At most one layer of each level is given;
 * lengths, checksums and the types that say what follows are filled in.
 */
export interface FrameRepr {
  readonly ethernet: EthernetRepr;
  /** The outer one first: of two, it is the 802.1ad tag. */
  readonly vlans?: readonly VlanRepr[];
  readonly arp?: ArpRepr;
  readonly ipv4?: Ipv4Repr;
  readonly ipv6?: Ipv6Repr;
  readonly tcp?: TcpRepr;
  readonly udp?: UdpRepr;
  readonly icmp?: IcmpRepr;
  readonly icmpv6?: IcmpRepr;
  /** Inside `udp`. */
  readonly vxlan?: VxlanRepr;
  readonly geneve?: GeneveRepr;
  /** What the innermost layer carries: bytes, or the frame inside a tunnel. */
  readonly payload?: Uint8Array | FrameRepr;
}

/** Bytes of a layer with all that it carries, and the type by which the layer around it names it. */
interface Layer {
  readonly bytes: Uint8Array;
  readonly type: number | undefined;
}

const U16_MAX = 0xffff;

function refuse(what: string): never {
  throw new RingwayError('BAD_ARGUMENT', `frame: ${what}`);
}

function need<T>(value: T | undefined, what: string): T {
  return value ?? refuse(what);
}

/** `value` when it is a whole number from 0 to `max`. */
function field(name: string, value: number, max: number): number {
  if (!Number.isInteger(value) || value < 0 || value > max) refuse(`${name} ${value} must be from 0 to ${max}`);
  return value;
}

function mac(name: string, text: string): number {
  return need(parseMac(text), `${name} ${JSON.stringify(text)} is no MAC address`);
}

function ipv4(name: string, text: string): number {
  return need(parseIpv4(text), `${name} ${JSON.stringify(text)} is no IPv4 address`);
}

function ipv6(name: string, text: string): Uint8Array {
  return need(parseIpv6(text), `${name} ${JSON.stringify(text)} is no IPv6 address`);
}

/** `options` when they fill whole words, `max` bytes at most. */
function words(name: string, options: Uint8Array, max: number): Uint8Array {
  if (options.length % 4 !== 0 || options.length > max) {
    refuse(`${name} of ${options.length} bytes, must be a multiple of 4 up to ${max}`);
  }
  return options;
}

/** Zeroes for a header, and the payload behind them. */
function room(headerBytes: number, payload: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(headerBytes + payload.length);
  bytes.set(payload, headerBytes);
  return bytes;
}

function buildVxlan(repr: VxlanRepr, payload: Uint8Array): Uint8Array {
  const bytes = room(VXLAN_BYTES, payload);
  VxlanView.create(bytes, 0).vni = field('vxlan.vni', repr.vni, 0xffffff);
  return bytes;
}

function buildGeneve(repr: GeneveRepr, payload: Uint8Array): Uint8Array {
  const { vni, protocol = GENEVE_ETHERNET, oam = false, critical = false, options = new Uint8Array(0) } = repr;
  const header = GENEVE_BYTES + words('geneve.options', options, 252).length;
  const bytes = room(header, payload);
  const view = GeneveView.create(bytes, 0, header);
  view.setFlags(oam, critical);
  view.protocol = field('geneve.protocol', protocol, U16_MAX);
  view.vni = field('geneve.vni', vni, 0xffffff);
  bytes.set(options, GENEVE_BYTES);
  return bytes;
}

function buildUdp(repr: UdpRepr, payload: Uint8Array): Layer {
  const bytes = room(UDP_BYTES, payload);
  field('udp length', bytes.length, U16_MAX);
  const view = UdpView.create(bytes, 0, payload.length);
  view.sourcePort = field('udp.sourcePort', repr.sourcePort, U16_MAX);
  view.destinationPort = field('udp.destinationPort', repr.destinationPort, U16_MAX);
  return { bytes, type: PROTOCOL_UDP };
}

function buildTcp(repr: TcpRepr, payload: Uint8Array): Layer {
  const { sequence = 0, acknowledgment = 0, flags = 0, window = U16_MAX, urgent = 0 } = repr;
  const options = words('tcp.options', repr.options ?? new Uint8Array(0), 40);
  const header = TCP_BYTES + options.length;
  const bytes = room(header, payload);
  const view = TcpView.create(bytes, 0, header, payload.length);
  view.sourcePort = field('tcp.sourcePort', repr.sourcePort, U16_MAX);
  view.destinationPort = field('tcp.destinationPort', repr.destinationPort, U16_MAX);
  view.sequence = field('tcp.sequence', sequence, 0xffffffff);
  view.acknowledgment = field('tcp.acknowledgment', acknowledgment, 0xffffffff);
  view.flags = field('tcp.flags', flags, 0xff);
  view.window = field('tcp.window', window, U16_MAX);
  view.urgent = field('tcp.urgent', urgent, U16_MAX);
  bytes.set(options, TCP_BYTES);
  return { bytes, type: PROTOCOL_TCP };
}

function buildIcmp(name: string, protocol: number, repr: IcmpRepr, payload: Uint8Array): Layer {
  const { type, code = 0, identifier = 0, sequence = 0 } = repr;
  const bytes = room(ICMP_BYTES, payload);
  const view = need(IcmpView.parse(bytes, 0), name);
  view.type = field(`${name}.type`, type, 0xff);
  view.code = field(`${name}.code`, code, 0xff);
  view.identifier = field(`${name}.identifier`, identifier, U16_MAX);
  view.sequence = field(`${name}.sequence`, sequence, U16_MAX);
  if (protocol === PROTOCOL_ICMP) view.checksum = internetChecksum(bytes, 0, bytes.length);
  return { bytes, type: protocol };
}

/** Fills in the checksums that take in the addresses around them. */
function finishUpper({ bytes, type }: Layer, addresses: Uint8Array): void {
  const sum = (): number =>
    internetChecksum(bytes, 0, bytes.length, pseudoHeaderSum(addresses, type ?? 0, bytes.length));
  if (type === PROTOCOL_TCP) need(TcpView.parse(bytes, 0), 'tcp').checksum = sum();
  // A sum of 0 is sent as its other form, since 0 means that there is none (RFC 768).
  else if (type === PROTOCOL_UDP) need(UdpView.parse(bytes, 0), 'udp').checksum = sum() || U16_MAX;
  else if (type === PROTOCOL_ICMPV6) need(IcmpView.parse(bytes, 0), 'icmpv6').checksum = sum();
}

function buildIpv4(repr: Ipv4Repr, upper: Layer): Layer {
  const { ttl = 64, dscp = 0, ecn = 0, identification = 0, fragmentOffset = 0 } = repr;
  const options = words('ipv4.options', repr.options ?? new Uint8Array(0), 40);
  const header = IPV4_BYTES + options.length;
  const bytes = room(header, upper.bytes);
  field('ipv4 length', bytes.length, U16_MAX);
  const view = Ipv4View.create(bytes, 0, header, upper.bytes.length);
  view.dscp = field('ipv4.dscp', dscp, 63);
  view.ecn = field('ipv4.ecn', ecn, 3);
  view.identification = field('ipv4.identification', identification, U16_MAX);
  if (field('ipv4.fragmentOffset', fragmentOffset, 0xfff8) % 8 !== 0) {
    refuse(`ipv4.fragmentOffset ${fragmentOffset} must be a multiple of 8`);
  }
  view.setFragment(repr.dontFragment ?? false, repr.moreFragments ?? false, fragmentOffset);
  view.ttl = field('ipv4.ttl', ttl, 0xff);
  const protocol = need(repr.protocol ?? upper.type, 'ipv4.protocol is needed when no layer above is given');
  view.protocol = field('ipv4.protocol', protocol, 0xff);
  view.source = ipv4('ipv4.source', repr.source);
  view.destination = ipv4('ipv4.destination', repr.destination);
  bytes.set(options, IPV4_BYTES);
  view.fillChecksum();
  finishUpper({ bytes: bytes.subarray(header), type: upper.type }, view.addresses);
  return { bytes, type: ETHERTYPE_IPV4 };
}

function buildIpv6(repr: Ipv6Repr, upper: Layer): Layer {
  const { hopLimit = 64, trafficClass = 0, flowLabel = 0 } = repr;
  const bytes = room(IPV6_BYTES, upper.bytes);
  const view = Ipv6View.create(bytes, 0, field('ipv6 length', upper.bytes.length, U16_MAX));
  view.trafficClass = field('ipv6.trafficClass', trafficClass, 0xff);
  view.flowLabel = field('ipv6.flowLabel', flowLabel, 0xfffff);
  const next = need(repr.nextHeader ?? upper.type, 'ipv6.nextHeader is needed when no layer above is given');
  view.nextHeader = field('ipv6.nextHeader', next, 0xff);
  view.hopLimit = field('ipv6.hopLimit', hopLimit, 0xff);
  view.source.set(ipv6('ipv6.source', repr.source));
  view.destination.set(ipv6('ipv6.destination', repr.destination));
  finishUpper({ bytes: bytes.subarray(IPV6_BYTES), type: upper.type }, view.addresses);
  return { bytes, type: ETHERTYPE_IPV6 };
}

function buildArp(repr: ArpRepr): Layer {
  const bytes = new Uint8Array(ARP_BYTES);
  const view = ArpView.create(bytes, 0);
  view.operation = field('arp.operation', repr.operation, U16_MAX);
  view.senderMac = mac('arp.senderMac', repr.senderMac);
  view.senderIp = ipv4('arp.senderIp', repr.senderIp);
  view.targetMac = mac('arp.targetMac', repr.targetMac);
  view.targetIp = ipv4('arp.targetIp', repr.targetIp);
  return { bytes, type: ETHERTYPE_ARP };
}

function buildVlans(vlans: readonly VlanRepr[], inner: Layer): Layer {
  if (vlans.length > 2) refuse(`${vlans.length} VLAN tags, 2 at most`);
  let layer = inner;
  for (const [depth, vlan] of [...vlans.entries()].reverse()) {
    const bytes = room(VLAN_BYTES, layer.bytes);
    const view = need(VlanView.parse(bytes, 0), 'vlan');
    view.id = field('vlan.id', vlan.id, 4095);
    view.priority = field('vlan.priority', vlan.priority ?? 0, 7);
    view.dropEligible = vlan.dropEligible ?? false;
    view.type = need(layer.type, 'ethernet.type is needed when no layer inside is given');
    layer = { bytes, type: depth === 0 && vlans.length === 2 ? ETHERTYPE_QINQ : ETHERTYPE_VLAN };
  }
  return layer;
}

/** The layers from the payload up to UDP, TCP or ICMP. */
function buildUpper(repr: FrameRepr, payload: Uint8Array): Layer {
  const { tcp, udp, icmp, icmpv6, vxlan, geneve } = repr;
  if ([tcp, udp, icmp, icmpv6].filter((layer) => layer !== undefined).length > 1) {
    refuse('only one of tcp, udp, icmp and icmpv6 can be given');
  }
  if ((vxlan !== undefined && geneve !== undefined) || ((vxlan ?? geneve) !== undefined && udp === undefined)) {
    refuse('one of vxlan and geneve can be given, inside udp');
  }
  if (tcp !== undefined) return buildTcp(tcp, payload);
  if (icmp !== undefined) return buildIcmp('icmp', PROTOCOL_ICMP, icmp, payload);
  if (icmpv6 !== undefined) return buildIcmp('icmpv6', PROTOCOL_ICMPV6, icmpv6, payload);
  let carried = payload;
  if (vxlan !== undefined) carried = buildVxlan(vxlan, payload);
  if (geneve !== undefined) carried = buildGeneve(geneve, payload);
  return udp === undefined ? { bytes: payload, type: undefined } : buildUdp(udp, carried);
}

/**
 * The bytes of a frame, with its lengths and checksums, without padding and check sequence.
 * @throws RingwayError `BAD_ARGUMENT` on a value out of range, an address that is none, or layers that do not fit
 *   together; the message names the field.
 */
export function buildFrame(repr: FrameRepr): Uint8Array {
  const { ethernet, vlans = [], arp, payload = new Uint8Array(0) } = repr;
  const upper = buildUpper(repr, payload instanceof Uint8Array ? payload : buildFrame(payload));
  if ([arp, repr.ipv4, repr.ipv6].filter((layer) => layer !== undefined).length > 1) {
    refuse('only one of arp, ipv4 and ipv6 can be given');
  }
  let layer = upper;
  if (arp !== undefined) layer = buildArp(arp);
  else if (repr.ipv4 !== undefined) layer = buildIpv4(repr.ipv4, upper);
  else if (repr.ipv6 !== undefined) layer = buildIpv6(repr.ipv6, upper);
  else if (upper.type !== undefined) refuse('tcp, udp, icmp and icmpv6 need ipv4 or ipv6');
  const inner = { bytes: layer.bytes, type: ethernet.type ?? layer.type };
  const { bytes: carried, type } = buildVlans(vlans, inner);
  const bytes = room(ETHERNET_BYTES, carried);
  const view = need(EthernetView.parse(bytes), 'ethernet');
  view.destination = mac('ethernet.destination', ethernet.destination);
  view.source = mac('ethernet.source', ethernet.source);
  view.type = field('ethernet.type', need(type, 'ethernet.type is needed when no layer inside is given'), U16_MAX);
  return bytes;
}
