import type { Arena } from '../memory/arena.ts';
import {
  RSS_KEY,
  RSS_TABLE,
  RSS_TABLE_MASK,
  RSS_TYPES,
  RSS_UNCLASSIFIED_QUEUE,
  TOEPLITZ_KEY_BYTES,
} from '../packet/layout.ts';
import { hasFeature } from './features.ts';
import {
  NET_CONTROL_BYTES,
  NET_CONTROL_F_MULTICAST_OVERFLOW,
  NET_CONTROL_F_PROMISC,
  NET_CONTROL_F_RSS,
  NET_CONTROL_F_UNICAST_OVERFLOW,
  NET_CONTROL_F_VLAN,
  NET_CONTROL_FLAGS,
  NET_CONTROL_KEY_LENGTH,
  NET_CONTROL_LINK,
  NET_CONTROL_MAC,
  NET_CONTROL_MULTICAST,
  NET_CONTROL_MULTICAST_COUNT,
  NET_CONTROL_OFFLOADS,
  NET_CONTROL_PAIRS,
  NET_CONTROL_RSS,
  NET_CONTROL_UNICAST,
  NET_CONTROL_UNICAST_COUNT,
  NET_CONTROL_VLANS,
  NET_MACS_MAX,
} from './layout.ts';
import { MAC_BYTES } from './net-config.ts';
import { VIRTIO_NET_F } from './net-features.ts';

/** Offloads of the driver that the control queue switches (virtio 1.1, 5.1.6.5.6.1; USO virtio 1.3). */
const GUEST_OFFLOADS: readonly number[] = [
  VIRTIO_NET_F.GUEST_CSUM,
  VIRTIO_NET_F.GUEST_TSO4,
  VIRTIO_NET_F.GUEST_TSO6,
  VIRTIO_NET_F.GUEST_ECN,
  VIRTIO_NET_F.GUEST_UFO,
  VIRTIO_NET_F.GUEST_USO4,
  VIRTIO_NET_F.GUEST_USO6,
];

/** The offloads among `features`. */
export function guestOffloads(features: bigint): bigint {
  return GUEST_OFFLOADS.reduce((mask, bit) => mask | (features & (1n << BigInt(bit))), 0n);
}

/** How the receive queue of a packet is found, once the driver asked for it (virtio 1.2, 5.1.6.5.7). */
export interface RssSettings {
  readonly hashTypes: number;
  /** Receive queues by hash: a power of two of them, up to 128. */
  readonly table: readonly number[];
  /** The receive queue of packets without a hash. */
  readonly unclassified: number;
  /** Transmit queues in use. */
  readonly pairs: number;
  readonly key: Uint8Array;
}

/** What the driver of a network device set, in words of the arena that kernels read. */
export class NetControlState {
  /** Address in the arena, for kernels. */
  readonly address: number;
  readonly #arena: Arena;
  readonly #filter: (state: number, slots: number, n: number) => number;

  constructor(arena: Arena, name: string) {
    this.#arena = arena;
    this.#filter = arena.kernels<{
      virtioNetFilter(state: number, slots: number, n: number): number;
    }>().virtioNetFilter;
    this.address = arena.allocate(name, NET_CONTROL_BYTES);
  }

  /**
   * As after a reset: everything is received and one pair is used (virtio 1.1, 5.1.6.5.2.1 and 5.1.6.5.5.2), with all
   * offloads that were negotiated (5.1.6.5.6.1). No VLAN is received once a driver can say which (5.1.6.5.3).
   */
  reset(mac: Uint8Array, features: bigint): void {
    const { link } = this;
    this.#arena.u8.fill(0, this.address, this.address + NET_CONTROL_BYTES);
    this.link = link;
    const vlan = hasFeature(features, VIRTIO_NET_F.CTRL_VLAN) ? NET_CONTROL_F_VLAN : 0;
    this.#set(NET_CONTROL_FLAGS, NET_CONTROL_F_PROMISC | vlan);
    this.pairs = 1;
    this.offloads = guestOffloads(features);
    this.setMac(mac);
  }

  /**
   * Sorts the `n` packet slots at `slots` by whether the driver wants them: those first, in their order. Returns how many
   * they are; the others are for the caller to free and count.
   */
  filter(slots: number, n: number): number {
    return this.#filter(this.address, slots, n);
  }

  /** Address of what `rssHash` is to do (`packet/layout.ts`, RSS_…). */
  get rssAddress(): number {
    return this.address + NET_CONTROL_RSS;
  }

  /** Whether frames can pass. */
  get link(): boolean {
    return this.#get(NET_CONTROL_LINK) === 1;
  }

  set link(up: boolean) {
    this.#set(NET_CONTROL_LINK, up ? 1 : 0);
  }

  /** NET_CONTROL_F_…. */
  get flags(): number {
    return this.#get(NET_CONTROL_FLAGS);
  }

  setFlag(flag: number, on: boolean): void {
    this.#set(NET_CONTROL_FLAGS, on ? this.flags | flag : this.flags & ~flag);
  }

  get pairs(): number {
    return this.#get(NET_CONTROL_PAIRS);
  }

  set pairs(pairs: number) {
    this.#set(NET_CONTROL_PAIRS, pairs);
  }

  get offloads(): bigint {
    return BigInt(this.#get(NET_CONTROL_OFFLOADS)) | (BigInt(this.#get(NET_CONTROL_OFFLOADS + 4)) << 32n);
  }

  set offloads(mask: bigint) {
    this.#set(NET_CONTROL_OFFLOADS, Number(mask & 0xffff_ffffn));
    this.#set(NET_CONTROL_OFFLOADS + 4, Number(mask >> 32n));
  }

  setMac(mac: Uint8Array): void {
    this.#arena.u8.set(mac, this.address + NET_CONTROL_MAC);
  }

  /** Replaces the filter table: six bytes an address. Of a kind that does not fit, all are received (5.1.6.5.2). */
  setMacs(unicast: Uint8Array, multicast: Uint8Array): void {
    const put = (macs: Uint8Array, table: number, count: number, overflow: number): void => {
      const given = macs.length / MAC_BYTES;
      const fits = given <= NET_MACS_MAX;
      // While the table is rewritten, a burst receives too much rather than too little.
      this.setFlag(overflow, true);
      for (let i = 0; fits && i < given; i++) {
        this.#arena.u8.set(macs.subarray(i * MAC_BYTES, (i + 1) * MAC_BYTES), this.address + table + i * 8);
      }
      this.#set(count, fits ? given : 0);
      this.setFlag(overflow, !fits);
    };
    put(unicast, NET_CONTROL_UNICAST, NET_CONTROL_UNICAST_COUNT, NET_CONTROL_F_UNICAST_OVERFLOW);
    put(multicast, NET_CONTROL_MULTICAST, NET_CONTROL_MULTICAST_COUNT, NET_CONTROL_F_MULTICAST_OVERFLOW);
  }

  /** Addresses of the filter table. */
  get macCounts(): { readonly unicast: number; readonly multicast: number } {
    return { unicast: this.#get(NET_CONTROL_UNICAST_COUNT), multicast: this.#get(NET_CONTROL_MULTICAST_COUNT) };
  }

  /** `vlan`: 0 to 4095. */
  setVlan(vlan: number, on: boolean): void {
    const at = this.address + NET_CONTROL_VLANS + (vlan >>> 3);
    const bits = this.#arena.u8[at] ?? 0;
    this.#arena.u8[at] = on ? bits | (1 << (vlan & 7)) : bits & ~(1 << (vlan & 7));
  }

  hasVlan(vlan: number): boolean {
    return (((this.#arena.u8[this.address + NET_CONTROL_VLANS + (vlan >>> 3)] ?? 0) >>> (vlan & 7)) & 1) === 1;
  }

  /** Hashes to compute, and the key; the device chooses receive queues. */
  setHash(hashTypes: number, key: Uint8Array): void {
    this.setFlag(NET_CONTROL_F_RSS, false);
    this.#setKey(hashTypes, key);
  }

  /** The last command decides how queues are chosen (virtio 1.2, 5.1.6.5.5). */
  setRss({ hashTypes, table, unclassified, pairs, key }: RssSettings): void {
    const { u16 } = this.#arena;
    this.setFlag(NET_CONTROL_F_RSS, false);
    u16[(this.rssAddress + RSS_TABLE_MASK) >>> 1] = table.length - 1;
    u16[(this.rssAddress + RSS_UNCLASSIFIED_QUEUE) >>> 1] = unclassified;
    u16.set(table, (this.rssAddress + RSS_TABLE) >>> 1);
    this.#setKey(hashTypes, key);
    this.pairs = pairs;
    this.setFlag(NET_CONTROL_F_RSS, true);
  }

  /** What `setRss` set; undefined when the device chooses receive queues. */
  get rss(): RssSettings | undefined {
    if (!(this.flags & NET_CONTROL_F_RSS)) return undefined;
    const { u16 } = this.#arena;
    const table = (this.rssAddress + RSS_TABLE) >>> 1;
    return {
      hashTypes: this.hashTypes,
      table: [...u16.subarray(table, table + (u16[(this.rssAddress + RSS_TABLE_MASK) >>> 1] ?? 0) + 1)],
      unclassified: u16[(this.rssAddress + RSS_UNCLASSIFIED_QUEUE) >>> 1] ?? 0,
      pairs: this.pairs,
      key: this.key,
    };
  }

  get hashTypes(): number {
    return this.#get(NET_CONTROL_RSS + RSS_TYPES);
  }

  get key(): Uint8Array {
    const at = this.rssAddress + RSS_KEY;
    return this.#arena.u8.slice(at, at + this.#get(NET_CONTROL_KEY_LENGTH));
  }

  #setKey(hashTypes: number, key: Uint8Array): void {
    const at = this.rssAddress + RSS_KEY;
    this.#set(NET_CONTROL_RSS + RSS_TYPES, 0);
    this.#arena.u8.fill(0, at, at + TOEPLITZ_KEY_BYTES).set(key, at);
    this.#set(NET_CONTROL_KEY_LENGTH, key.length);
    this.#set(NET_CONTROL_RSS + RSS_TYPES, hashTypes);
  }

  #get(offset: number): number {
    return this.#arena.u32[(this.address + offset) >>> 2] ?? 0;
  }

  #set(offset: number, value: number): void {
    this.#arena.u32[(this.address + offset) >>> 2] = value;
  }
}
