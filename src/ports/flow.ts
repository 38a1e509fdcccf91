import { FLOW_IP_SUM, FLOW_L4_OFFSET, FLOW_L4_SUM, FLOW_PROTOCOL, FLOW_SHIFT, FLOW_VERSION } from './layout.ts';

/** Addresses and ports of a generated flow. */
export interface FlowSpec {
  readonly srcMac: Uint8Array;
  readonly dstMac: Uint8Array;
  /** 4 or 16 bytes, both the same. */
  readonly src: Uint8Array;
  readonly dst: Uint8Array;
  readonly srcPort: number;
  readonly dstPort: number;
  readonly protocol: 'udp' | 'tcp';
}

const ETHERNET_BYTES = 14;
const HOP_LIMIT = 64;
const PROTOCOL = { udp: 17, tcp: 6 };
/** TCP: data offset 5 words, flags ACK and PSH (RFC 9293, 3.1). */
const TCP_OFFSET_FLAGS = 0x5018;

/** Sum of the 16-bit words of `bytes` from `from` to `to`. */
function sumWords(view: DataView, from: number, to: number): number {
  let sum = 0;
  for (let at = from; at < to; at += 2) sum += view.getUint16(at);
  return sum;
}

/**
 * A flow's entry (`layout.ts`, FLOW_…): the headers of its frames with lengths and checksums 0, and the sums from which
 * the kernel completes them for each frame length.
 */
export function buildFlow(spec: FlowSpec): Uint8Array {
  const entry = new Uint8Array(1 << FLOW_SHIFT);
  const view = new DataView(entry.buffer);
  const isV4 = spec.src.length === 4;
  const protocol = PROTOCOL[spec.protocol];
  const l4 = ETHERNET_BYTES + (isV4 ? 20 : 40);
  entry.set(spec.dstMac, 0);
  entry.set(spec.srcMac, 6);
  if (isV4) {
    view.setUint16(12, 0x0800);
    entry[14] = 0x45;
    // Don't fragment, so that the identification may stay 0 (RFC 6864).
    view.setUint16(20, 0x4000);
    entry[22] = HOP_LIMIT;
    entry[23] = protocol;
    entry.set(spec.src, 26);
    entry.set(spec.dst, 30);
  } else {
    view.setUint16(12, 0x86dd);
    entry[14] = 0x60;
    entry[20] = protocol;
    entry[21] = HOP_LIMIT;
    entry.set(spec.src, 22);
    entry.set(spec.dst, 38);
  }
  view.setUint16(l4, spec.srcPort);
  view.setUint16(l4 + 2, spec.dstPort);
  if (spec.protocol === 'tcp') view.setUint16(l4 + 12, TCP_OFFSET_FLAGS);

  const addresses = isV4 ? sumWords(view, 26, 34) : sumWords(view, 22, 54);
  const header = spec.protocol === 'tcp' ? 20 : 8;
  // A UDP or TCP checksum covers the addresses, the protocol and the length beside the header (RFC 768, RFC 9293).
  view.setUint32(FLOW_L4_SUM, addresses + protocol + sumWords(view, l4, l4 + header), true);
  view.setUint32(FLOW_IP_SUM, isV4 ? sumWords(view, ETHERNET_BYTES, l4) : 0, true);
  entry[FLOW_VERSION] = isV4 ? 4 : 6;
  entry[FLOW_PROTOCOL] = protocol;
  entry[FLOW_L4_OFFSET] = l4;
  return entry;
}
