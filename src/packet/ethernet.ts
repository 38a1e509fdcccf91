import { formatMac } from '../util/addresses.ts';
import { ETHERNET_BYTES, ETHERTYPE_QINQ, ETHERTYPE_VLAN, VLAN_BYTES } from './layout.ts';
import { HeaderView, holds } from './view.ts';

/** An Ethernet header in values. */
export interface EthernetRepr {
  /** `02:00:00:00:00:01` */
  readonly destination: string;
  readonly source: string;
  /** EtherType; by default that of the layer inside. */
  readonly type?: number;
}

/** Ethernet II: destination, source, EtherType (IEEE 802.3, 3.1.1). A type below 1536 is an 802.3 length. */
export class EthernetView extends HeaderView {
  /** The header at index `at`, in `length` bytes; undefined when they are fewer than 14. */
  static parse(bytes: Uint8Array, at = 0, length = bytes.length - at): EthernetView | undefined {
    return holds(bytes, at, length, ETHERNET_BYTES) ? new EthernetView(bytes, at, length) : undefined;
  }

  get headerLength(): number {
    return ETHERNET_BYTES;
  }

  /** A number below 2^48. */
  get destination(): number {
    return this.get48(0);
  }

  set destination(mac: number) {
    this.set48(0, mac);
  }

  get source(): number {
    return this.get48(6);
  }

  set source(mac: number) {
    this.set48(6, mac);
  }

  get type(): number {
    return this.get16(12);
  }

  set type(type: number) {
    this.set16(12, type);
  }

  repr(): Required<EthernetRepr> {
    return { destination: formatMac(this.destination), source: formatMac(this.source), type: this.type };
  }
}

/** A VLAN tag in values. */
export interface VlanRepr {
  /** 0 to 4095. */
  readonly id: number;
  /** 0 to 7; 0 by default. */
  readonly priority?: number;
  readonly dropEligible?: boolean;
}

/** True for the EtherTypes behind which a VLAN tag lies: 802.1Q's and 802.1ad's. */
export function isVlanType(type: number): boolean {
  return type === ETHERTYPE_VLAN || type === ETHERTYPE_QINQ;
}

/** What lies behind the EtherType of an 802.1Q or 802.1ad tag: 16 bits of TCI, and the next EtherType. */
export class VlanView extends HeaderView {
  /** The tag at index `at`, in `length` bytes; undefined when they are fewer than 4. */
  static parse(bytes: Uint8Array, at: number, length = bytes.length - at): VlanView | undefined {
    return holds(bytes, at, length, VLAN_BYTES) ? new VlanView(bytes, at, length) : undefined;
  }

  get headerLength(): number {
    return VLAN_BYTES;
  }

  get priority(): number {
    return this.get8(0) >>> 5;
  }

  set priority(priority: number) {
    this.set8(0, (priority << 5) | (this.get8(0) & 0x1f));
  }

  get dropEligible(): boolean {
    return (this.get8(0) & 0x10) !== 0;
  }

  set dropEligible(eligible: boolean) {
    this.set8(0, (this.get8(0) & 0xef) | (eligible ? 0x10 : 0));
  }

  /** 0 to 4095. */
  get id(): number {
    return this.get16(0) & 0xfff;
  }

  set id(id: number) {
    this.set16(0, (this.get16(0) & 0xf000) | (id & 0xfff));
  }

  /** EtherType of what follows. */
  get type(): number {
    return this.get16(2);
  }

  set type(type: number) {
    this.set16(2, type);
  }

  repr(): Required<VlanRepr> {
    return { id: this.id, priority: this.priority, dropEligible: this.dropEligible };
  }
}
