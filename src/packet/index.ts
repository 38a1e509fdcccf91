/**
 * Packets: views of headers, frames from plain objects, checksums, addresses as text, captures in and out.
 *
 * @example
 * import { buildFrame, CaptureWriter, describe, readCapture } from 'ringway/packet';
 *
 * const frame = buildFrame({
 *   ethernet: { destination: '02:00:00:00:00:02', source: '02:00:00:00:00:01' },
 *   ipv4: { source: '10.0.0.1', destination: '10.0.0.2' },
 *   udp: { sourcePort: 1234, destinationPort: 53 },
 *   payload: new Uint8Array(18),
 * });
 * const writer = new CaptureWriter('one.pcap');
 * writer.write(frame, { seconds: 1_700_000_000, nanoseconds: 0 });
 * writer.close();
 * for (const captured of readCapture('one.pcap')) console.log(describe(captured.frame));
 *
 * @module
 */

export {
  formatIpv4,
  formatIpv6,
  formatMac,
  formatPrefix,
  type Prefix,
  parseIpv4,
  parseIpv6,
  parseMac,
  parsePrefix,
} from '../util/addresses.ts';
export { ARP_REPLY, ARP_REQUEST, type ArpRepr, ArpView } from './arp.ts';
export { buildFrame, type FrameRepr } from './builder.ts';
export { type CapturedFrame, readCapture } from './capture-reader.ts';
export { CaptureWriter, type CaptureWriterOptions, type FrameTime } from './capture-writer.ts';
export { internetChecksum, internetSum, pseudoHeaderSum, updateChecksum, updateChecksum32 } from './checksum.ts';
export { describe } from './describe.ts';
export { type EthernetRepr, EthernetView, isVlanType, type VlanRepr, VlanView } from './ethernet.ts';
export * from './icmp.ts';
export { type Ipv4Repr, Ipv4View } from './ipv4.ts';
export { type Ipv6Repr, Ipv6View, type UpperLayer } from './ipv6.ts';
export type { PacketKernels } from './kernels.ts';
export { LINK_TYPE_ETHERNET, linkTypeName } from './link-types.ts';
export {
  TCP_ACK,
  TCP_CWR,
  TCP_ECE,
  TCP_FIN,
  TCP_PSH,
  TCP_RST,
  TCP_SYN,
  TCP_URG,
  type TcpRepr,
  TcpView,
  type UdpRepr,
  UdpView,
} from './transport.ts';
export { GENEVE_PORT, type GeneveRepr, GeneveView, VXLAN_PORT, type VxlanRepr, VxlanView } from './tunnels.ts';
export type { HeaderView } from './view.ts';
