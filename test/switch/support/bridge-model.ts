import type { PortVlans, SwitchPort } from '#build/switch/switch.js';

/** What becomes of one frame: copies by port, or the reason of its drop. */
export interface Verdict {
  readonly sent: readonly { readonly to: number; readonly bytes: Uint8Array }[];
  readonly dropped?: string;
}

interface Entry {
  readonly port: number;
  readonly seen: number;
}

const TAG_TYPES = [0x8100, 0x88a8];

function u16(bytes: Uint8Array, at: number): number {
  return (bytes[at] ?? 0) * 256 + (bytes[at + 1] ?? 0);
}

/** The VLAN of untagged frames; 0 when they are in none. */
function untaggedVlan(vlans: PortVlans): number {
  return 'access' in vlans ? vlans.access : (vlans.native ?? 0);
}

function carries(vlans: PortVlans, vlan: number): boolean {
  if (vlan === 4095) return false;
  if (vlan === untaggedVlan(vlans)) return vlan !== 0 || ('trunk' in vlans && vlans.trunk === 'all');
  if ('access' in vlans || vlan === 0) return false;
  return vlans.trunk === 'all' || vlans.trunk.includes(vlan);
}

/** A learning bridge with VLANs and mirrors, as simple as it can be. */
export class BridgeModel {
  now = 0;
  readonly #ports: readonly SwitchPort[];
  readonly #ageing: number;
  readonly #table = new Map<string, Entry>();
  readonly #mirrors: { from: number; to: number; direction: 'rx' | 'tx' }[] = [];

  constructor(ports: readonly SwitchPort[], ageing: number) {
    this.#ports = ports;
    this.#ageing = ageing;
  }

  addMirror(from: number, to: number, direction: 'rx' | 'tx'): void {
    this.#mirrors.push({ from, to, direction });
  }

  #vlansOf(port: number): PortVlans {
    return this.#ports[port]?.vlan ?? { access: 1 };
  }

  #mirrorsOf(port: number, direction: 'rx' | 'tx'): number[] {
    return this.#mirrors.filter((mirror) => mirror.from === port && mirror.direction === direction).map(({ to }) => to);
  }

  forward(from: number, frame: Uint8Array): Verdict {
    const copies = this.#mirrorsOf(from, 'rx').map((to) => ({ to, bytes: frame }));
    const { targets, bytes, dropped } = this.#decide(from, frame);
    const sent = targets.flatMap((to) => {
      const out = bytes(to);
      return [to, ...this.#mirrorsOf(to, 'tx')].map((port) => ({ to: port, bytes: out }));
    });
    return { sent: [...copies, ...sent], ...(dropped === undefined ? {} : { dropped }) };
  }

  #decide(from: number, frame: Uint8Array): { targets: number[]; bytes: (to: number) => Uint8Array; dropped?: string } {
    const drop = (dropped: string) => ({ targets: [], bytes: () => frame, dropped });
    if (frame.length < 14) return drop('runt');
    const tagged = frame.length >= 18 && TAG_TYPES.includes(u16(frame, 12));
    const id = tagged ? u16(frame, 14) & 0xfff : 0;
    const vlan = id === 0 ? untaggedVlan(this.#vlansOf(from)) : id;
    if (!carries(this.#vlansOf(from), vlan)) return drop('vlan');

    const source = frame.subarray(6, 12);
    if (this.#ports[from]?.learn && ((source[0] ?? 0) & 1) === 0) {
      this.#table.set(`${vlan} ${source}`, { port: from, seen: this.now });
    }
    const bytes = (to: number): Uint8Array => this.#shape(frame, tagged, vlan, this.#vlansOf(to));
    const destination = frame.subarray(0, 6);
    if (/^1,128,194,0,0,([0-9]|1[0-5])$/.test(destination.join())) return drop('reserved');
    const known = this.#table.get(`${vlan} ${destination}`);
    if (known !== undefined && this.now - known.seen <= this.#ageing && carries(this.#vlansOf(known.port), vlan)) {
      return known.port === from ? drop('same-port') : { targets: [known.port], bytes };
    }
    const targets = [...this.#ports.keys()].filter((port) => port !== from && carries(this.#vlansOf(port), vlan));
    return targets.length === 0 ? drop('no-port') : { targets, bytes };
  }

  /** The frame as a port with `vlans` sends it: tagged unless its VLAN is the port's untagged one. */
  #shape(frame: Uint8Array, tagged: boolean, vlan: number, vlans: PortVlans): Uint8Array {
    // Frames in no VLAN pass as they are, with a tag that only has a priority too.
    if (vlan === 0) return frame;
    if (vlan === untaggedVlan(vlans)) {
      return tagged ? Uint8Array.from([...frame.subarray(0, 12), ...frame.subarray(16)]) : frame;
    }
    if (!tagged) {
      return Uint8Array.from([...frame.subarray(0, 12), 0x81, 0, vlan >>> 8, vlan & 255, ...frame.subarray(12)]);
    }
    const out = frame.slice();
    out[14] = ((frame[14] ?? 0) & 0xf0) | (vlan >>> 8);
    out[15] = vlan & 255;
    return out;
  }
}
