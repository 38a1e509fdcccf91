import type { Arena } from '../memory/arena.ts';
import { ROUTE_NODES_BYTES } from '../packet/prefix.ts';
import { readCounter } from '../telemetry/counters.ts';
import { PORT_NONE } from '../telemetry/layout.ts';
import type { SwitchSnapshot } from '../telemetry/snapshot.ts';
import { nextPowerOfTwo } from '../util/bits.ts';
import { RingwayError } from '../util/errors.ts';
import {
  MAC_BUCKET_ENTRIES,
  MAC_BUCKET_SHIFT,
  MIRRORS_MAX,
  OUTPUT_BYTES,
  PATH_BYTES,
  PATH_EVICTED,
  PATH_LCORE,
  PATH_LEARNED,
  PATH_MOVED,
  PATH_OUTPUTS,
  PATH_RULE_HITS,
  PATH_STORMS,
  PATH_SWITCH,
  PORT_ABSENT,
  PORT_ENTRY_SHIFT,
  PORT_LEARN,
  PORT_MIRROR_RX,
  PORT_MIRROR_TX,
  PORT_PVID,
  PORT_STATE,
  PORT_STORM,
  PORT_UP,
  PORT_VLANS,
  RULES_MAX,
  STORM_SHIFT,
  STORM_WINDOW_SHIFT,
  SWITCH_AGEING,
  SWITCH_BYTES,
  SWITCH_FORWARD_RESERVED,
  SWITCH_MAC_MASK,
  SWITCH_MAC_TABLE,
  SWITCH_PORT_TABLE,
  SWITCH_PORTS,
  SWITCH_ROUTES,
} from './layout.ts';
import { STEERING_BYTES } from './steering.ts';

interface SwitchKernels {
  switchAge(sw: number, seconds: number, port: number): number;
  switchCountMacs(sw: number): number;
  switchSetStatic(sw: number, macAt: number, vlan: number, port: number): number;
}

/** `access`: untagged frames belong to this VLAN. `trunk`: tagged frames of these VLANs; `native` is the untagged one. */
export type PortVlans =
  | { readonly access: number }
  | { readonly trunk: 'all' | readonly number[]; readonly native?: number };

/** How the switch treats a port. */
export interface SwitchPort {
  readonly learn: boolean;
  readonly vlan: PortVlans;
  /** Flooded frames a second let in from here; no limit when missing. */
  readonly storm?: number;
}

/** How large a switch is, and what it does with addresses. */
export interface SwitchOptions {
  /** Places for ports, 1 to 255. */
  readonly ports: number;
  readonly lcores: number;
  /** Addresses that the MAC table must hold: 64 to 1,048,576. */
  readonly macs: number;
  /** Seconds after which an address that was not seen is forgotten. */
  readonly ageing: number;
  /** Forward frames to 802.1D reserved addresses, which bridges drop. */
  readonly forwardReserved: boolean;
}

/** What the switch itself counts; the packets that it flooded are counted by port. */
export type SwitchStats = Omit<SwitchSnapshot, 'flooded'>;

/**
 * Half full at most: of the addresses that fill it so far, one in 3,000 finds both its buckets full, and one in 60,000
 * of those that fill three eighths (by simulation of where `mac.kernel.ts` places them).
 */
function macBuckets(macs: number): number {
  return nextPowerOfTwo((macs * 2) / MAC_BUCKET_ENTRIES);
}

function pathBytes(ports: number, lcores: number): number {
  // Words, a storm window a port, hits a rule, outputs to ports and lcores.
  return PATH_BYTES + (ports << STORM_SHIFT) + RULES_MAX * 8 + (ports + lcores) * OUTPUT_BYTES + 128;
}

function sharedBytes({ ports, macs }: SwitchOptions): number {
  // Words, ports, MAC table.
  return SWITCH_BYTES + (ports << PORT_ENTRY_SHIFT) + (macBuckets(macs) << MAC_BUCKET_SHIFT);
}

/** Bytes that a switch takes, the paths of its lcores included. */
export function switchBytes(options: SwitchOptions): number {
  return (
    sharedBytes(options) +
    options.lcores * (pathBytes(options.ports, options.lcores) + 256) +
    STEERING_BYTES +
    ROUTE_NODES_BYTES
  );
}

/** The switch as the control thread sees it: its tables, and a path for each lcore. */
export class Switch {
  readonly address: number;
  /** Address of each lcore's path: its first argument to `switchForward`. */
  readonly paths: readonly number[];
  readonly options: SwitchOptions;
  readonly #arena: Arena;
  readonly #kernels: SwitchKernels;
  readonly #scratch: number;
  #aged = 0;

  /** @param lcoreWords address of the words of each lcore (`lcore/layout.ts`). */
  constructor(arena: Arena, options: SwitchOptions, lcoreWords: readonly number[]) {
    this.options = options;
    this.#arena = arena;
    this.#kernels = arena.kernels<SwitchKernels>();
    const { ports, macs } = options;
    const table = arena.allocate('switch', sharedBytes(options), 128);
    const portTable = table + SWITCH_BYTES;
    this.address = table;
    this.#scratch = arena.allocate('switch.scratch', 64);
    this.#set(SWITCH_PORTS, ports);
    this.#set(SWITCH_PORT_TABLE, portTable);
    this.#set(SWITCH_MAC_TABLE, portTable + (ports << PORT_ENTRY_SHIFT));
    this.#set(SWITCH_MAC_MASK, macBuckets(macs) - 1);
    this.setForwardReserved(options.forwardReserved);
    this.setAgeing(options.ageing);
    this.paths = lcoreWords.map((lcore, index) => this.#createPath(lcore, index));
  }

  /** Address of the route table (`packet/prefix.ts`). */
  get routes(): number {
    return this.address + SWITCH_ROUTES;
  }

  #set(offset: number, value: number): void {
    Atomics.store(this.#arena.u32, (this.address + offset) >>> 2, value);
  }

  #createPath(lcore: number, index: number): number {
    const { ports, lcores } = this.options;
    const path = this.#arena.allocate(`switch.path ${index}`, pathBytes(ports, lcores));
    const storms = path + PATH_BYTES;
    const hits = storms + (ports << STORM_SHIFT);
    const outputs = Math.ceil((hits + RULES_MAX * 8) / 128) * 128;
    const words: [number, number][] = [
      [PATH_SWITCH, this.address],
      [PATH_LCORE, lcore],
      [PATH_STORMS, storms],
      [PATH_RULE_HITS, hits],
      [PATH_OUTPUTS, outputs],
    ];
    for (const [offset, value] of words) this.#arena.u32[(path + offset) >>> 2] = value;
    return path;
  }

  /** Sets how long an unseen address is kept, in seconds. */
  setAgeing(seconds: number): void {
    this.#set(SWITCH_AGEING, seconds);
  }

  /** Forwards frames to 802.1D reserved addresses, or drops them as bridges do. */
  setForwardReserved(forward: boolean): void {
    this.#set(SWITCH_FORWARD_RESERVED, forward ? 1 : 0);
  }

  #checkPort(port: number): void {
    const { ports } = this.options;
    if (port < 0 || port >= ports) {
      throw new RingwayError('BAD_ARGUMENT', `switch: port ${port}, must be from 0 to ${ports - 1}`);
    }
  }

  #portWord(port: number, offset: number): number {
    this.#checkPort(port);
    const table = this.#arena.u32[(this.address + SWITCH_PORT_TABLE) >>> 2] ?? 0;
    return (table + (port << PORT_ENTRY_SHIFT) + offset) >>> 2;
  }

  /** Takes a port into the switch: from now on packets are sent there. */
  addPort(port: number, settings: SwitchPort): void {
    this.preparePort(port, settings);
    this.openPort(port);
  }

  /** Says how packets from a port are to be treated, before the first comes. Nothing is sent there yet. */
  preparePort(port: number, settings: SwitchPort): void {
    const { u32, u8 } = this.#arena;
    u32.fill(0, this.#portWord(port, 0), this.#portWord(port, 1 << PORT_ENTRY_SHIFT));
    const noMirrors = PORT_NONE * 0x01010101;
    u32[this.#portWord(port, PORT_MIRROR_RX)] = noMirrors;
    u32[this.#portWord(port, PORT_MIRROR_TX)] = noMirrors;
    const members = this.#portWord(port, PORT_VLANS) * 4;
    const { vlan } = settings;
    const pvid = 'access' in vlan ? vlan.access : (vlan.native ?? 0);
    u32[this.#portWord(port, PORT_PVID)] = pvid;
    if ('access' in vlan) {
      setBit(u8, members, vlan.access);
    } else {
      // Trunks without a native VLAN that carry everything carry untagged frames too, in no VLAN. 4095 is reserved.
      const all = vlan.trunk === 'all';
      for (let id = all && pvid === 0 ? 0 : 1; all && id < 4095; id++) setBit(u8, members, id);
      if (vlan.trunk !== 'all') for (const id of vlan.trunk) setBit(u8, members, id);
      if (pvid !== 0) setBit(u8, members, pvid);
    }
    this.setLearn(port, settings.learn);
    this.setStorm(port, settings.storm);
  }

  /** Has the switch send to a port that was prepared. */
  openPort(port: number): void {
    Atomics.store(this.#arena.u32, this.#portWord(port, PORT_STATE), PORT_UP);
  }

  /** Takes a port out of the switch, forgets its addresses and its mirrors. */
  removePort(port: number): void {
    Atomics.store(this.#arena.u32, this.#portWord(port, PORT_STATE), PORT_ABSENT);
    // Packets from there may still be on their way: what they taught would outlive the port.
    this.setLearn(port, false);
    this.#kernels.switchAge(this.address, 0, port);
    for (let other = 0; other < this.options.ports; other++) {
      for (const offset of [PORT_MIRROR_RX, PORT_MIRROR_TX]) {
        const list = this.#portWord(other, offset) * 4;
        for (let i = 0; i < MIRRORS_MAX; i++)
          if (this.#arena.u8[list + i] === port) this.#arena.u8[list + i] = PORT_NONE;
      }
    }
  }

  /** Learns, or does not learn any more, the source addresses of frames that enter port `port`. */
  setLearn(port: number, learn: boolean): void {
    Atomics.store(this.#arena.u32, this.#portWord(port, PORT_LEARN), learn ? 1 : 0);
  }

  /** Lets at most `perSecond` flooded frames in from `port`; any number when undefined. */
  setStorm(port: number, perSecond: number | undefined): void {
    // At least one a window, or a low limit would let nothing through.
    const perWindow =
      perSecond === undefined ? 0 : Math.max(1, Math.round((perSecond * 2 ** STORM_WINDOW_SHIFT) / 1e9));
    Atomics.store(this.#arena.u32, this.#portWord(port, PORT_STORM), perWindow);
  }

  /**
   * Copies what enters (`rx`) or leaves (`tx`) port `from` to port `to`.
   * @throws RingwayError `BAD_ARGUMENT` when there is no place for such a port, or the port has four mirrors in that
   *   direction already.
   */
  addMirror(from: number, to: number, direction: 'rx' | 'tx'): void {
    this.#checkPort(to);
    const list = this.#portWord(from, direction === 'rx' ? PORT_MIRROR_RX : PORT_MIRROR_TX) * 4;
    for (let i = 0; i < MIRRORS_MAX; i++) {
      if (this.#arena.u8[list + i] === PORT_NONE) {
        this.#arena.u8[list + i] = to;
        return;
      }
    }
    throw new RingwayError(
      'BAD_ARGUMENT',
      `switch: port ${from} has ${MIRRORS_MAX} ${direction} mirrors already, no more fit`,
    );
  }

  /**
   * Says for good where an address is.
   * @param mac six bytes. @param vlan 0 to 4094.
   * @throws RingwayError `BAD_ARGUMENT` when there is no place for such a port, or its places in the table are all
   *   taken by static entries.
   */
  addStatic(mac: Uint8Array, vlan: number, port: number): void {
    this.#checkPort(port);
    this.#arena.u8.set(mac, this.#scratch);
    if (this.#kernels.switchSetStatic(this.address, this.#scratch, vlan, port) === 0) {
      throw new RingwayError(
        'BAD_ARGUMENT',
        'switch: too many static addresses fall together in the MAC table; raise `macs`',
      );
    }
  }

  /** Forgets addresses that were not seen for the ageing time. @param seconds the time of day. */
  age(seconds: number): void {
    this.#aged += this.#kernels.switchAge(this.address, seconds, PORT_NONE);
  }

  /** Counts the table and reads the counters of all lcores. */
  stats(): SwitchStats {
    const sum = (offset: number): number =>
      this.paths.reduce((total, path) => total + readCounter(this.#arena, path + offset), 0);
    return {
      macs: this.#kernels.switchCountMacs(this.address),
      macsMax: macBuckets(this.options.macs) * MAC_BUCKET_ENTRIES,
      learned: sum(PATH_LEARNED),
      moved: sum(PATH_MOVED),
      aged: this.#aged,
      evicted: sum(PATH_EVICTED),
    };
  }
}

function setBit(u8: Uint8Array, at: number, bit: number): void {
  const byte = at + (bit >>> 3);
  u8[byte] = (u8[byte] ?? 0) | (1 << (bit & 7));
}
