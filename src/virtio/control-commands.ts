import { guestOffloads, type NetControlState } from './control-state.ts';
import { hasFeature } from './features.ts';
import {
  NET_CONTROL_F_ALLMULTI,
  NET_CONTROL_F_ALLUNI,
  NET_CONTROL_F_NOBCAST,
  NET_CONTROL_F_NOMULTI,
  NET_CONTROL_F_NOUNI,
  NET_CONTROL_F_PROMISC,
  NET_RSS_KEY_MAX,
  NET_RSS_TABLE_MAX,
} from './layout.ts';
import { isStationMac, MAC_BYTES } from './net-config.ts';
import { VIRTIO_NET_F } from './net-features.ts';

/** Commands of the network device's control queue as class * 256 + command (virtio 1.1, 5.1.6.5; MQ 1 and 2 virtio 1.2). */
export const NET_COMMAND = {
  RX_PROMISC: 0x000,
  RX_ALLMULTI: 0x001,
  RX_ALLUNI: 0x002,
  RX_NOMULTI: 0x003,
  RX_NOUNI: 0x004,
  RX_NOBCAST: 0x005,
  MAC_TABLE_SET: 0x100,
  MAC_ADDR_SET: 0x101,
  VLAN_ADD: 0x200,
  VLAN_DEL: 0x201,
  ANNOUNCE_ACK: 0x300,
  MQ_VQ_PAIRS_SET: 0x400,
  MQ_RSS_CONFIG: 0x401,
  MQ_HASH_CONFIG: 0x402,
  GUEST_OFFLOADS_SET: 0x500,
} as const;

/** VLAN ids are 12 bits (IEEE 802.1Q). */
const VLANS = 4096;

/** What commands act on. */
export interface ControlTarget {
  readonly state: NetControlState;
  /** What was negotiated. */
  readonly features: bigint;
  readonly maxPairs: number;
  /** Hashes that the device can compute. */
  readonly hashTypes: number;
  /** MAC_ADDR_SET. */
  setMac(mac: Uint8Array): void;
  /** ANNOUNCE_ACK. */
  acknowledgeAnnounce(): void;
}

/** Carries out a command whose data is `data`, a copy of ours. False when it holds what is not allowed. */
type Run = (target: ControlTarget, data: Uint8Array) => boolean;

const view = (data: Uint8Array): DataView => new DataView(data.buffer, data.byteOffset, data.length);

/** 5.1.6.5.1.1: one byte, 0 or 1. */
function rxMode(flag: number): Run {
  return ({ state }, data) => {
    const [on = 2] = data;
    if (data.length !== 1 || on > 1) return false;
    state.setFlag(flag, on === 1);
    return true;
  };
}

/** The addresses that follow a count at `at`; undefined when there are fewer. */
function macList(data: Uint8Array, at: number): Uint8Array | undefined {
  if (at + 4 > data.length) return undefined;
  const bytes = view(data).getUint32(at, true) * MAC_BYTES;
  return bytes <= data.length - at - 4 ? data.subarray(at + 4, at + 4 + bytes) : undefined;
}

/** 5.1.6.5.2.2: a list of station addresses, then one of group addresses. */
function setMacTable({ state }: ControlTarget, data: Uint8Array): boolean {
  const unicast = macList(data, 0);
  if (unicast === undefined) return false;
  const multicast = macList(data, 4 + unicast.length);
  if (multicast === undefined || data.length !== 8 + unicast.length + multicast.length) return false;
  const isGroup = (_: number, at: number, macs: Uint8Array): boolean => ((macs[at - (at % MAC_BYTES)] ?? 0) & 1) === 1;
  if (unicast.some(isGroup) || !multicast.every(isGroup)) return false;
  state.setMacs(unicast, multicast);
  return true;
}

function setMacAddress(target: ControlTarget, data: Uint8Array): boolean {
  if (!isStationMac(data)) return false;
  target.setMac(data);
  return true;
}

/** 5.1.6.5.3: the id, le16. */
function setVlan(on: boolean): Run {
  return ({ state }, data) => {
    if (data.length !== 2) return false;
    const vlan = view(data).getUint16(0, true);
    if (vlan >= VLANS) return false;
    state.setVlan(vlan, on);
    return true;
  };
}

/** 5.1.6.5.5: le16, from 1 to what the configuration says. */
function setPairs({ state, maxPairs }: ControlTarget, data: Uint8Array): boolean {
  if (data.length !== 2) return false;
  const pairs = view(data).getUint16(0, true);
  if (pairs < 1 || pairs > maxPairs) return false;
  const { hashTypes, key } = state;
  state.setHash(hashTypes, key);
  state.pairs = pairs;
  return true;
}

/** The key behind its length at `at`, which ends the data; undefined when that is not so, or no key for some hashes. */
function keyAt(data: Uint8Array, at: number, hashTypes: number): Uint8Array | undefined {
  const length = data[at] ?? data.length;
  if (length > NET_RSS_KEY_MAX || data.length !== at + 1 + length) return undefined;
  return length === 0 && hashTypes !== 0 ? undefined : data.subarray(at + 1);
}

/** Virtio 1.2, 5.1.6.5.6.4: hash types le32, four reserved le16 of 0, key length u8, key. */
function setHash({ state, hashTypes: supported }: ControlTarget, data: Uint8Array): boolean {
  const KEY = 12;
  if (data.length <= KEY) return false;
  const hashTypes = view(data).getUint32(0, true);
  const key = keyAt(data, KEY, hashTypes);
  if (key === undefined || hashTypes & ~supported || data.subarray(4, KEY).some((byte) => byte !== 0)) return false;
  state.setHash(hashTypes, key);
  return true;
}

/** Virtio 1.2, 5.1.6.5.7.1: hash types le32, mask le16, unclassified le16, table le16 each, max_tx_vq le16, key as above. */
function setRss({ state, hashTypes: supported, maxPairs }: ControlTarget, data: Uint8Array): boolean {
  const TABLE = 8;
  if (data.length < TABLE) return false;
  const fields = view(data);
  const entries = fields.getUint16(4, true) + 1;
  const pairsAt = TABLE + entries * 2;
  // 5.1.6.5.7.2: a power of two, and no more than the configuration says.
  if (entries > NET_RSS_TABLE_MAX || entries & (entries - 1) || data.length <= pairsAt + 2) return false;
  const hashTypes = fields.getUint32(0, true);
  const unclassified = fields.getUint16(6, true);
  const table = Array.from({ length: entries }, (_, i) => fields.getUint16(TABLE + i * 2, true));
  const pairs = fields.getUint16(pairsAt, true);
  const key = keyAt(data, pairsAt + 2, hashTypes);
  if (key === undefined || hashTypes & ~supported || pairs < 1 || pairs > maxPairs) return false;
  // 5.1.6.5.7.2: queues that there are.
  if (unclassified >= maxPairs || table.some((queue) => queue >= maxPairs)) return false;
  state.setRss({ hashTypes, table, unclassified, pairs, key });
  return true;
}

/** 5.1.6.5.6.1: le64, of offloads that were negotiated (5.1.6.5.6.2). */
function setOffloads({ state, features }: ControlTarget, data: Uint8Array): boolean {
  if (data.length !== 8) return false;
  const mask = view(data).getBigUint64(0, true);
  if ((mask & ~guestOffloads(features)) !== 0n) return false;
  state.offloads = mask;
  return true;
}

function acknowledgeAnnounce(target: ControlTarget, data: Uint8Array): boolean {
  if (data.length !== 0) return false;
  target.acknowledgeAnnounce();
  return true;
}

const F = VIRTIO_NET_F;
/** Each command with the feature that it needs. */
const COMMANDS: ReadonlyMap<number, readonly [number, Run]> = new Map<number, readonly [number, Run]>([
  [NET_COMMAND.RX_PROMISC, [F.CTRL_RX, rxMode(NET_CONTROL_F_PROMISC)]],
  [NET_COMMAND.RX_ALLMULTI, [F.CTRL_RX, rxMode(NET_CONTROL_F_ALLMULTI)]],
  [NET_COMMAND.RX_ALLUNI, [F.CTRL_RX_EXTRA, rxMode(NET_CONTROL_F_ALLUNI)]],
  [NET_COMMAND.RX_NOMULTI, [F.CTRL_RX_EXTRA, rxMode(NET_CONTROL_F_NOMULTI)]],
  [NET_COMMAND.RX_NOUNI, [F.CTRL_RX_EXTRA, rxMode(NET_CONTROL_F_NOUNI)]],
  [NET_COMMAND.RX_NOBCAST, [F.CTRL_RX_EXTRA, rxMode(NET_CONTROL_F_NOBCAST)]],
  [NET_COMMAND.MAC_TABLE_SET, [F.CTRL_RX, setMacTable]],
  [NET_COMMAND.MAC_ADDR_SET, [F.CTRL_MAC_ADDR, setMacAddress]],
  [NET_COMMAND.VLAN_ADD, [F.CTRL_VLAN, setVlan(true)]],
  [NET_COMMAND.VLAN_DEL, [F.CTRL_VLAN, setVlan(false)]],
  [NET_COMMAND.ANNOUNCE_ACK, [F.GUEST_ANNOUNCE, acknowledgeAnnounce]],
  [NET_COMMAND.MQ_VQ_PAIRS_SET, [F.MQ, setPairs]],
  [NET_COMMAND.MQ_RSS_CONFIG, [F.RSS, setRss]],
  [NET_COMMAND.MQ_HASH_CONFIG, [F.HASH_REPORT, setHash]],
  [NET_COMMAND.GUEST_OFFLOADS_SET, [F.CTRL_GUEST_OFFLOADS, setOffloads]],
]);

/**
 * Carries out the command in `bytes`: class, command, data. False when there is no such command, when its feature was not
 * negotiated, or when the data is not what it takes; nothing is changed then.
 */
export function runControlCommand(target: ControlTarget, bytes: Uint8Array): boolean {
  const [group, command] = bytes;
  if (group === undefined || command === undefined) return false;
  const entry = COMMANDS.get(group * 256 + command);
  if (entry === undefined || !hasFeature(target.features, entry[0])) return false;
  return entry[1](target, bytes.subarray(2));
}
