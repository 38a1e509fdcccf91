import { HeaderView, holds } from './view.ts';

/** UDP port on which VXLAN listens (RFC 7348, 8). */
export const VXLAN_PORT = 4789;
/** UDP port on which Geneve listens (RFC 8926, 3.3). */
export const GENEVE_PORT = 6081;
/** Bytes of the tunnels' headers, Geneve's without options. */
export const VXLAN_BYTES = 8;
export const GENEVE_BYTES = 8;
/** Protocol type of a Geneve packet that carries an Ethernet frame (RFC 8926, 3.4). */
export const GENEVE_ETHERNET = 0x6558;

/** The I flag: the VNI is valid (RFC 7348, 5). */
const VXLAN_VNI_VALID = 0x08;
const GENEVE_OAM = 0x80;
const GENEVE_CRITICAL = 0x40;

/** A VXLAN header in values. */
export interface VxlanRepr {
  /** 24 bits. */
  readonly vni: number;
}

/** VXLAN (RFC 7348, 5). An Ethernet frame follows. */
export class VxlanView extends HeaderView {
  /** The header at index `at`, in `length` bytes; undefined when they are fewer than 8, or the I flag is not set. */
  static parse(bytes: Uint8Array, at: number, length = bytes.length - at): VxlanView | undefined {
    if (!holds(bytes, at, length, VXLAN_BYTES)) return undefined;
    const view = new VxlanView(bytes, at, length);
    return (view.get8(0) & VXLAN_VNI_VALID) === 0 ? undefined : view;
  }

  /** Writes the flags; `bytes` holds zeroes at `at`, and has room for header and payload. */
  static create(bytes: Uint8Array, at: number): VxlanView {
    const view = new VxlanView(bytes, at, bytes.length - at);
    view.set8(0, VXLAN_VNI_VALID);
    return view;
  }

  get headerLength(): number {
    return VXLAN_BYTES;
  }

  /** 24 bits. */
  get vni(): number {
    return this.get32(4) >>> 8;
  }

  set vni(vni: number) {
    this.set32(4, vni << 8);
  }

  repr(): VxlanRepr {
    return { vni: this.vni };
  }
}

/** A Geneve header in values. */
export interface GeneveRepr {
  /** 24 bits. */
  readonly vni: number;
  /** EtherType of what follows; GENEVE_ETHERNET by default. */
  readonly protocol?: number;
  /** A control packet. */
  readonly oam?: boolean;
  /** Some option must be understood. */
  readonly critical?: boolean;
  /** A multiple of 4 bytes, at most 252. */
  readonly options?: Uint8Array;
}

/** Geneve, version 0 (RFC 8926, 3.4). */
export class GeneveView extends HeaderView {
  /** The header at index `at`, in `length` bytes; undefined when it is not whole or of another version. */
  static parse(bytes: Uint8Array, at: number, length = bytes.length - at): GeneveView | undefined {
    if (!holds(bytes, at, length, GENEVE_BYTES)) return undefined;
    const view = new GeneveView(bytes, at, length);
    return view.get8(0) >>> 6 === 0 && view.headerLength <= length ? view : undefined;
  }

  /** Writes the header's length; `bytes` holds zeroes at `at`, and has room for header and payload. */
  static create(bytes: Uint8Array, at: number, headerLength: number): GeneveView {
    const view = new GeneveView(bytes, at, bytes.length - at);
    view.set8(0, (headerLength - GENEVE_BYTES) >>> 2);
    return view;
  }

  get headerLength(): number {
    return GENEVE_BYTES + (this.get8(0) & 0x3f) * 4;
  }

  get oam(): boolean {
    return (this.get8(1) & GENEVE_OAM) !== 0;
  }

  get critical(): boolean {
    return (this.get8(1) & GENEVE_CRITICAL) !== 0;
  }

  setFlags(oam: boolean, critical: boolean): void {
    this.set8(1, (oam ? GENEVE_OAM : 0) | (critical ? GENEVE_CRITICAL : 0));
  }

  get protocol(): number {
    return this.get16(2);
  }

  set protocol(type: number) {
    this.set16(2, type);
  }

  /** 24 bits. */
  get vni(): number {
    return this.get32(4) >>> 8;
  }

  set vni(vni: number) {
    this.set32(4, vni << 8);
  }

  get options(): Uint8Array {
    return this.part(GENEVE_BYTES, this.headerLength - GENEVE_BYTES);
  }

  repr(): Required<GeneveRepr> {
    const { vni, protocol, oam, critical } = this;
    return { vni, protocol, oam, critical, options: this.options.slice() };
  }
}
