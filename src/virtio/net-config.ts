import { RingwayError } from '../util/errors.ts';
import type { ConfigSpace } from './config-space.ts';
import { hasFeature } from './features.ts';
import { NET_RSS_KEY_MAX, NET_RSS_TABLE_MAX } from './layout.ts';
import { readConfig } from './negotiate.ts';
import { VIRTIO_NET_F } from './net-features.ts';
import type { ConfigTransport } from './transport.ts';

/** struct virtio_net_config (virtio 1.2, 5.1.4): where its fields are. */
const MAC = 0;
const STATUS = 6;
const MAX_PAIRS = 8;
const MTU = 10;
const SPEED = 12;
const DUPLEX = 16;
const RSS_MAX_KEY_SIZE = 17;
const RSS_MAX_TABLE = 18;
const HASH_TYPES = 20;
/** Bytes of the structure. */
export const NET_CONFIG_BYTES = 24;

/** Bytes of a MAC address. */
export const MAC_BYTES = 6;
const LINK_UP = 1;
const ANNOUNCE = 2;
/** Virtio 1.1, 5.1.4.1. */
const MTU_MIN = 68;
const MTU_MAX = 65535;
const PAIRS_MAX = 0x8000;
const SPEED_MAX = 0x7fff_ffff;
const UNKNOWN_SPEED = 0xffff_ffff;
const UNKNOWN_DUPLEX = 0xff;
/** VIRTIO_NET_HASH_TYPE_IPv4 to _UDP_EX (virtio 1.2, 5.1.6.4.2.1). */
const HASH_TYPES_MAX = 0x1ff;

/** What a network device says of itself. */
export interface NetSettings {
  /** Its address: six bytes, not a group's. */
  readonly mac: Uint8Array;
  /** Receive and transmit queues at most: 1 (when not given) to 32,768. */
  readonly maxPairs?: number;
  /** Largest packet without Ethernet header, 68 to 65,535; not said when not given. */
  readonly mtu?: number;
  /** In Mbit/s, up to 2^31 - 1; unknown when not given. */
  readonly speed?: number;
  readonly duplex?: 'half' | 'full';
  /** Hashes that its data path can compute: VIRTIO_NET_HASH_TYPE_…; none when not given. */
  readonly hashTypes?: number;
}

function inRange(name: string, field: string, value: number, from: number, to: number): void {
  if (!Number.isInteger(value) || value < from || value > to) {
    throw new RingwayError('BAD_ARGUMENT', `${name}: ${field}=${value}, must be a whole number from ${from} to ${to}`);
  }
}

/**
 * Writes what does not change of a device's configuration; the link is down.
 * @throws RingwayError `BAD_ARGUMENT` for a value that the specification does not allow.
 */
export function writeNetConfig(config: ConfigSpace, name: string, settings: NetSettings): void {
  const { mac, maxPairs = 1, mtu, speed, duplex, hashTypes = 0 } = settings;
  if (!isStationMac(mac)) {
    throw new RingwayError('BAD_ARGUMENT', `${name}: mac=${[...mac].join('.')}, must be six bytes of a single station`);
  }
  inRange(name, 'maxPairs', maxPairs, 1, PAIRS_MAX);
  if (mtu !== undefined) inRange(name, 'mtu', mtu, MTU_MIN, MTU_MAX);
  if (speed !== undefined) inRange(name, 'speed', speed, 0, SPEED_MAX);
  inRange(name, 'hashTypes', hashTypes, 0, HASH_TYPES_MAX);
  config.update((fields) => {
    for (const [i, byte] of mac.entries()) fields.setUint8(MAC + i, byte);
    fields.setUint16(MAX_PAIRS, maxPairs, true);
    fields.setUint16(MTU, mtu ?? 0, true);
    fields.setUint32(SPEED, speed ?? UNKNOWN_SPEED, true);
    fields.setUint8(DUPLEX, duplex === undefined ? UNKNOWN_DUPLEX : Number(duplex === 'full'));
    fields.setUint8(RSS_MAX_KEY_SIZE, NET_RSS_KEY_MAX);
    fields.setUint16(RSS_MAX_TABLE, NET_RSS_TABLE_MAX, true);
    fields.setUint32(HASH_TYPES, hashTypes, true);
  });
}

/** True for six bytes that are the address of one station: not zero, not a group's. */
export function isStationMac(mac: Uint8Array): boolean {
  return mac.length === MAC_BYTES && ((mac[0] ?? 1) & 1) === 0 && mac.some((byte) => byte !== 0);
}

/** Writes the address, telling the driver when it did not ask for that itself. */
export function writeConfigMac(config: ConfigSpace, mac: Uint8Array, tell: boolean): void {
  config.update((fields) => {
    for (const [i, byte] of mac.entries()) fields.setUint8(MAC + i, byte);
  }, tell);
}

/** Sets or clears bits of the status field. */
export function writeConfigStatus(
  config: ConfigSpace,
  bits: { link?: boolean; announce?: boolean },
  tell: boolean,
): void {
  config.update((fields) => {
    let status = fields.getUint16(STATUS, true);
    const put = (bit: number, on: boolean | undefined): void => {
      if (on !== undefined) status = on ? status | bit : status & ~bit;
    };
    put(LINK_UP, bits.link);
    put(ANNOUNCE, bits.announce);
    fields.setUint16(STATUS, status, true);
  }, tell);
}

/** What a driver reads of a network device; undefined for fields whose feature is not there. */
export interface NetInfo {
  readonly mac: Uint8Array | undefined;
  /** True too when the device does not say (virtio 1.1, 5.1.4.2). */
  readonly linkUp: boolean;
  /** The device asks for gratuitous packets and an acknowledgement (5.1.6.5.4). */
  readonly announce: boolean;
  readonly maxPairs: number;
  readonly mtu: number | undefined;
  /** In Mbit/s. */
  readonly speed: number | undefined;
  readonly duplex: 'half' | 'full' | undefined;
  readonly rssKeyMax: number | undefined;
  readonly rssTableMax: number | undefined;
  readonly hashTypes: number | undefined;
}

/**
 * Reads a network device's configuration as a driver with `features` may.
 * @throws RingwayError `UNSUPPORTED` when the device says what is not allowed: an MTU below 68 or no queues.
 */
export function readNetInfo(transport: ConfigTransport, name: string, features: bigint): NetInfo {
  const has = (bit: number): boolean => hasFeature(features, bit);
  const hashing = has(VIRTIO_NET_F.RSS) || has(VIRTIO_NET_F.HASH_REPORT);
  const multiqueue = has(VIRTIO_NET_F.MQ) || has(VIRTIO_NET_F.RSS);
  // 2.4.1: a device's space need not hold fields of features that it does not have.
  const fields: readonly [boolean, number][] = [
    [hashing, NET_CONFIG_BYTES],
    [has(VIRTIO_NET_F.SPEED_DUPLEX), RSS_MAX_KEY_SIZE],
    [has(VIRTIO_NET_F.MTU), SPEED],
    [multiqueue, MTU],
    [has(VIRTIO_NET_F.STATUS), MAX_PAIRS],
  ];
  const config = readConfig(transport, name, 0, fields.find(([there]) => there)?.[1] ?? STATUS);
  const status = has(VIRTIO_NET_F.STATUS) ? config.getUint16(STATUS, true) : LINK_UP;
  const mtu = has(VIRTIO_NET_F.MTU) ? config.getUint16(MTU, true) : undefined;
  const maxPairs = multiqueue ? config.getUint16(MAX_PAIRS, true) : 1;
  if (mtu !== undefined && mtu < MTU_MIN) {
    throw new RingwayError('UNSUPPORTED', `${name}: the device says mtu=${mtu}, must be at least ${MTU_MIN}`);
  }
  if (maxPairs < 1 || maxPairs > PAIRS_MAX) {
    throw new RingwayError(
      'UNSUPPORTED',
      `${name}: the device says max_virtqueue_pairs=${maxPairs}, must be 1 to 32768`,
    );
  }
  const speed = has(VIRTIO_NET_F.SPEED_DUPLEX) ? config.getUint32(SPEED, true) : UNKNOWN_SPEED;
  const duplex = has(VIRTIO_NET_F.SPEED_DUPLEX) ? config.getUint8(DUPLEX) : UNKNOWN_DUPLEX;
  return {
    mac: has(VIRTIO_NET_F.MAC)
      ? new Uint8Array(config.buffer.slice(config.byteOffset, config.byteOffset + MAC_BYTES))
      : undefined,
    linkUp: (status & LINK_UP) !== 0,
    announce: (status & ANNOUNCE) !== 0,
    maxPairs,
    mtu,
    speed: speed <= SPEED_MAX ? speed : undefined,
    duplex: ([undefined, 'half', 'full'] as const)[duplex + 1] ?? undefined,
    rssKeyMax: hashing ? config.getUint8(RSS_MAX_KEY_SIZE) : undefined,
    rssTableMax: hashing ? config.getUint16(RSS_MAX_TABLE, true) : undefined,
    hashTypes: hashing ? config.getUint32(HASH_TYPES, true) : undefined,
  };
}
