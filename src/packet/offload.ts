import {
  GSO_ECN,
  GSO_TCPV4,
  GSO_TCPV6,
  GSO_TUNNEL,
  GSO_TUNNEL_FIXED,
  GSO_UDP,
  GSO_UDP_L4,
  HDR_DATA_VALID,
  HDR_NEEDS_CSUM,
} from '../memory/layout.ts';

/** The words of struct virtio_net_hdr that go with a packet (virtio 1.1, 5.1.6). */
export interface OffloadRequest {
  readonly flags: number;
  readonly gsoType: number;
  readonly gsoSize: number;
  readonly checksumStart: number;
  readonly checksumOffset: number;
}

const GSO_NAMES: ReadonlyMap<number, string> = new Map([
  [GSO_TCPV4, 'tcpv4'],
  [GSO_UDP, 'udp fragments'],
  [GSO_TCPV6, 'tcpv6'],
  [GSO_UDP_L4, 'udp'],
]);

/** What a packet asks for, for people: `gso tcpv4 1448, csum 34+16`. Any words will do. */
export function describeOffload(request: OffloadRequest): string {
  const { flags, gsoType, gsoSize, checksumStart, checksumOffset } = request;
  const parts: string[] = [];
  if (gsoType !== 0) {
    const ecn = (gsoType & GSO_ECN) === 0 ? '' : ' ecn';
    const isTunnel = (gsoType & GSO_TUNNEL) !== 0;
    const type = gsoType & ~(GSO_ECN | (isTunnel ? GSO_TUNNEL_FIXED : 0));
    parts.push(`gso ${GSO_NAMES.get(type) ?? `type ${type}`}${isTunnel ? ' in a tunnel' : ''}${ecn} ${gsoSize}`);
  }
  if ((flags & HDR_NEEDS_CSUM) !== 0) parts.push(`csum ${checksumStart}+${checksumOffset}`);
  if ((flags & HDR_DATA_VALID) !== 0) parts.push('csum checked');
  return parts.length === 0 ? 'asks for nothing' : parts.join(', ');
}
