import { OFFLOAD_CSUM, OFFLOAD_ECN, OFFLOAD_TSO4, OFFLOAD_TSO6, OFFLOAD_USO } from '../packet/layout.ts';
import { type FeatureNames, type FeatureRule, featureMask, hasFeature, VIRTIO_F } from './features.ts';

/**
 * Feature bits of the network device, by the name behind `VIRTIO_NET_F_` (virtio 1.1, 5.1.3; 53 to 60 virtio 1.2 and 1.3,
 * 64 and above virtio 1.4).
 */
export const VIRTIO_NET_F = {
  CSUM: 0,
  GUEST_CSUM: 1,
  CTRL_GUEST_OFFLOADS: 2,
  MTU: 3,
  MAC: 5,
  GSO: 6,
  GUEST_TSO4: 7,
  GUEST_TSO6: 8,
  GUEST_ECN: 9,
  GUEST_UFO: 10,
  HOST_TSO4: 11,
  HOST_TSO6: 12,
  HOST_ECN: 13,
  HOST_UFO: 14,
  MRG_RXBUF: 15,
  STATUS: 16,
  CTRL_VQ: 17,
  CTRL_RX: 18,
  CTRL_VLAN: 19,
  CTRL_RX_EXTRA: 20,
  GUEST_ANNOUNCE: 21,
  MQ: 22,
  CTRL_MAC_ADDR: 23,
  NOTF_COAL: 53,
  GUEST_USO4: 54,
  GUEST_USO6: 55,
  HOST_USO: 56,
  HASH_REPORT: 57,
  GUEST_HDRLEN: 59,
  RSS: 60,
  RSC_EXT: 61,
  STANDBY: 62,
  SPEED_DUPLEX: 63,
  RSS_CONTEXT: 64,
  GUEST_UDP_TUNNEL_GSO: 65,
  GUEST_UDP_TUNNEL_GSO_CSUM: 66,
  HOST_UDP_TUNNEL_GSO: 67,
  HOST_UDP_TUNNEL_GSO_CSUM: 68,
  OUT_NET_HEADER: 69,
} as const;

/** Their names, for messages. */
export const NET_FEATURE_NAMES: FeatureNames = { prefix: 'VIRTIO_NET_F_', bits: VIRTIO_NET_F };

const F = VIRTIO_NET_F;
const rule = (bit: number, ...needs: number[]): FeatureRule => ({ bit, needs });

/**
 * Virtio 1.1, 5.1.3.1, with the bits that later versions add there. The commands of HASH_REPORT pass the control queue
 * too (virtio 1.2, 5.1.6.5.6.4).
 */
export const NET_RULES: readonly FeatureRule[] = [
  rule(F.GUEST_TSO4, F.GUEST_CSUM),
  rule(F.GUEST_TSO6, F.GUEST_CSUM),
  rule(F.GUEST_ECN, F.GUEST_TSO4, F.GUEST_TSO6),
  rule(F.GUEST_UFO, F.GUEST_CSUM),
  rule(F.GUEST_USO4, F.GUEST_CSUM),
  rule(F.GUEST_USO6, F.GUEST_CSUM),
  rule(F.HOST_TSO4, F.CSUM),
  rule(F.HOST_TSO6, F.CSUM),
  rule(F.HOST_ECN, F.HOST_TSO4, F.HOST_TSO6),
  rule(F.HOST_UFO, F.CSUM),
  rule(F.HOST_USO, F.CSUM),
  rule(F.RSC_EXT, F.HOST_TSO4, F.HOST_TSO6),
  rule(F.GUEST_UDP_TUNNEL_GSO, F.GUEST_TSO4),
  rule(F.GUEST_UDP_TUNNEL_GSO, F.GUEST_TSO6),
  rule(F.GUEST_UDP_TUNNEL_GSO, F.GUEST_USO4),
  rule(F.GUEST_UDP_TUNNEL_GSO, F.GUEST_USO6),
  rule(F.GUEST_UDP_TUNNEL_GSO_CSUM, F.GUEST_UDP_TUNNEL_GSO),
  rule(F.HOST_UDP_TUNNEL_GSO, F.HOST_TSO4),
  rule(F.HOST_UDP_TUNNEL_GSO, F.HOST_TSO6),
  rule(F.HOST_UDP_TUNNEL_GSO, F.HOST_USO),
  rule(F.HOST_UDP_TUNNEL_GSO_CSUM, F.HOST_UDP_TUNNEL_GSO),
  ...[F.CTRL_RX, F.CTRL_VLAN, F.GUEST_ANNOUNCE, F.MQ, F.CTRL_MAC_ADDR, F.NOTF_COAL, F.RSS, F.HASH_REPORT].map((bit) =>
    rule(bit, F.CTRL_VQ),
  ),
  rule(F.RSS_CONTEXT, F.RSS),
];

/**
 * Bytes of the header before each packet with these features: 20 with HASH_REPORT (virtio 1.2, 5.1.6), else 12; 10 for a
 * legacy driver without MRG_RXBUF, whose header has no num_buffers (virtio 1.1, 5.1.6.1).
 */
export function netHeaderBytes(features: bigint): 10 | 12 | 20 {
  if (hasFeature(features, F.HASH_REPORT)) return 20;
  return hasFeature(features, VIRTIO_F.VERSION_1) || hasFeature(features, F.MRG_RXBUF) ? 12 : 10;
}

/** What each feature lets the sender leave to do: OFFLOAD_…, which are the bits of gso_type (5.1.6). */
const TO_DEVICE: readonly (readonly [feature: number, offload: number])[] = [
  [F.CSUM, OFFLOAD_CSUM],
  [F.HOST_TSO4, OFFLOAD_TSO4],
  [F.HOST_TSO6, OFFLOAD_TSO6],
  [F.HOST_USO, OFFLOAD_USO],
  [F.HOST_ECN, OFFLOAD_ECN],
];
const TO_DRIVER: readonly (readonly [feature: number, offload: number])[] = [
  [F.GUEST_CSUM, OFFLOAD_CSUM],
  [F.GUEST_TSO4, OFFLOAD_TSO4],
  [F.GUEST_TSO6, OFFLOAD_TSO6],
  [F.GUEST_USO4, OFFLOAD_USO],
  [F.GUEST_ECN, OFFLOAD_ECN],
];

/** What a driver may leave to do in what it transmits, or a device in what the driver receives: OFFLOAD_…. */
export function netOffloads(features: bigint, direction: 'transmit' | 'receive'): number {
  const table = direction === 'transmit' ? TO_DEVICE : TO_DRIVER;
  const mask = table.reduce((sum, [feature, offload]) => sum | (hasFeature(features, feature) ? offload : 0), 0);
  // Its two versions are one to us.
  const isWhole = direction === 'transmit' || hasFeature(features, F.GUEST_USO6);
  return isWhole ? mask : mask & ~OFFLOAD_USO;
}

/** The offloads that our net queues and what is around them can do, on either side. */
export const NET_OFFLOAD_FEATURES: bigint = featureMask(
  ...TO_DEVICE.map(([feature]) => feature),
  ...TO_DRIVER.map(([feature]) => feature),
  F.GUEST_USO6,
);

/**
 * Our driver gives the device buffers of 2 KiB, so that what is still to be segmented fits only when a frame may take
 * several.
 */
const NEEDS_MERGING = featureMask(F.GUEST_TSO4, F.GUEST_TSO6, F.GUEST_ECN, F.GUEST_USO4, F.GUEST_USO6);

/** What our driver can do of `features`. */
export function netDriverFeatures(features: bigint): bigint {
  return hasFeature(features, F.MRG_RXBUF) ? features : features & ~NEEDS_MERGING;
}
