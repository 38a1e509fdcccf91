/**
 * A configuration after parsing: defaults filled in, units converted, paths absolute, references checked.
 *
 * MAC addresses are `aa:bb:cc:dd:ee:ff` in lower case, prefixes `10.0.0.0/8` or `2001:db8::/32` with a length and no
 * bits behind it: `util/addresses.ts` turns both into bytes. Times are seconds, rates packets per second, sizes bytes.
 */
export interface Config {
  readonly version: 1;
  /** Name of the dataplane: its control socket, its metrics. The file's base name unless given. */
  readonly name: string;
  /** The worker threads, 1 to 64. */
  readonly lcores: readonly LcoreConfig[];
  /** Most bytes of the arena: 16 MiB to 4 GiB. */
  readonly memory: number;
  /** Packet buffers to have besides those that the rings need, 0 to 1,048,576. */
  readonly buffers?: number;
  /** Seed of everything random, a u32. */
  readonly seed: number;
  /** 1 to 255 ports in the order of the file. */
  readonly ports: readonly PortConfig[];
  readonly switch: SwitchConfig;
  /** Rules in order: the first that matches decides. */
  readonly steering: readonly SteeringRule[];
  readonly metrics?: MetricsConfig;
}

/** A worker thread. */
export interface LcoreConfig {
  /** The processor to stay on; any when missing. */
  readonly cpu?: number;
  /** What to do when there is nothing to do. */
  readonly idle?: IdleStrategy;
}

/** `spin`: keep polling. `yield`: let others run between polls. `park`: sleep until somebody wakes the lcore. */
export type IdleStrategy = 'spin' | 'yield' | 'park';

/** What every port has. */
export interface PortCommon {
  /** A letter, then up to 31 letters, digits, `_` or `-`. */
  readonly name: string;
  /** Index in `Config.lcores` of the lcore that serves the port; round robin when missing. */
  readonly lcore?: number;
  /** 1 to 16; more than 1 only for generators. */
  readonly queues: number;
  /** Learn the source addresses of frames that enter here. */
  readonly learn: boolean;
  readonly vlan: VlanConfig;
  /** Most flooded frames per second that enter here; no limit when missing. */
  readonly storm?: number;
  /** Faults to inject into what enters here. */
  readonly fault?: FaultConfig;
  /** Absolute path of a capture that records everything that passes the port, both ways. */
  readonly tap?: string;
}

/** `access`: untagged frames belong to this VLAN. `trunk`: tagged frames of these VLANs; `native` is the untagged one. */
export type VlanConfig =
  | { readonly access: number }
  | { readonly trunk: 'all' | readonly number[]; readonly native?: number };

/** Probabilities from 0 to 1, per packet. */
export interface FaultConfig {
  readonly loss: number;
  readonly duplicate: number;
  readonly reorder: number;
  readonly corrupt: number;
  /** Seconds that each packet is held, 0 to 60. */
  readonly delay: number;
  /** A u32; derived from `Config.seed` when missing. */
  readonly seed?: number;
}

/** Replays a capture file, records to one, or both. */
export interface CapturePortConfig extends PortCommon {
  readonly type: 'capture';
  /** Absolute path of the file to replay. */
  readonly path?: string;
  /** Absolute path of the file to record to. The port makes missing parent directories. */
  readonly write?: string;
  /** `full`: as fast as packets are taken. `recorded`: as the timestamps say. A number: that many times as fast. */
  readonly speed: 'full' | 'recorded' | number;
  /** Times to replay the file; 0 is forever. */
  readonly loop: number;
  /** Packets to replay at most. */
  readonly limit?: number;
  /** Format of `write`. */
  readonly format: 'pcap' | 'pcapng';
}

/** Makes packets of UDP or TCP flows. */
export interface GeneratorPortConfig extends PortCommon {
  readonly type: 'generator';
  /** Different flows, 1 to 65536. */
  readonly flows: number;
  /** Exponent of the Zipf distribution of packets over flows, 0 (uniform) to 4. */
  readonly zipf: number;
  /** Frame bytes without FCS, 60 to 9000: all the same, the IMIX 7×60 : 4×590 : 1×1514, or a weighted mix. */
  readonly size: number | 'imix' | readonly WeightedSize[];
  /** Packets per second in all; as many as are taken when missing. */
  readonly rate?: number;
  /** Packets in all; forever when missing. */
  readonly limit?: number;
  /** A u32; derived from `Config.seed` when missing. */
  readonly seed?: number;
  /** The first source MAC; `srcMacs` of them follow one another. Chosen by the port when missing. */
  readonly srcMac?: string;
  readonly dstMac?: string;
  /** Different source MACs, 1 to 65536. */
  readonly srcMacs: number;
  readonly dstMacs: number;
  /** Prefix that source addresses are taken from. */
  readonly src: string;
  /** Of the same family as `src`. */
  readonly dst: string;
  readonly protocol: 'udp' | 'tcp';
}

/** A frame size and how often it comes, relative to the others. */
export interface WeightedSize {
  readonly size: number;
  readonly weight: number;
}

/** Takes everything, gives nothing. */
export interface NullPortConfig extends PortCommon {
  readonly type: 'null';
}

/** A port that an ES module makes. */
export interface ModulePortConfig extends PortCommon {
  readonly type: 'module';
  /** URL of the module; a path has become a `file:` URL. */
  readonly module: string;
  /** Handed to the module as it stands in the file. */
  readonly options: Readonly<Record<string, unknown>>;
}

/** Any port; `type` tells which. */
export type PortConfig = CapturePortConfig | GeneratorPortConfig | NullPortConfig | ModulePortConfig;

/** What the switch between the ports does. */
export interface SwitchConfig {
  /** Seconds after which a MAC address that was not seen is forgotten: 1 to 1,000,000 (IEEE 802.1Q-2018, table 8-6). */
  readonly ageing: number;
  /** Entries of the MAC table, 64 to 1,048,576. */
  readonly macs: number;
  /** What becomes of frames to 01:80:c2:00:00:00 … 0f (IEEE 802.1Q-2018, table 8-1). */
  readonly reserved: 'drop' | 'forward';
  readonly static: readonly StaticMac[];
  readonly routes: readonly RouteConfig[];
  /** The MAC that the router answers to; present when there are routes. */
  readonly routerMac?: string;
  readonly mirrors: readonly MirrorConfig[];
}

/** A MAC address that is never aged and never moves. */
export interface StaticMac {
  readonly mac: string;
  /** 0 to 4094; 0 is untagged traffic of no VLAN. */
  readonly vlan: number;
  readonly port: string;
}

/** Packets to the router with a destination in `prefix` leave through `port`. */
export interface RouteConfig {
  readonly prefix: string;
  readonly port: string;
  /** The next hop's MAC. */
  readonly mac?: string;
  /** A note for people, such as the next hop's name. */
  readonly via?: string;
}

/** Copies what passes `from` to `to`. */
export interface MirrorConfig {
  readonly from: string;
  readonly to: string;
  readonly direction: 'rx' | 'tx' | 'both';
}

/** Where the metrics are served over HTTP. */
export interface MetricsConfig {
  /** 127.0.0.1 unless the file names another. */
  readonly host: string;
  readonly port: number;
}

/** Flow types with ethtool's names (`ethtool -N`). */
export type FlowType = 'ether' | 'ip4' | 'ip6' | 'tcp4' | 'udp4' | 'tcp6' | 'udp6' | 'sctp4';

/** One word of a packet, as tc-u32's `match u32 VALUE MASK at OFFSET`. */
export interface U32Match {
  /** A u32 in network order; no bits outside `mask`. */
  readonly value: number;
  readonly mask: number;
  /** Bytes from the network header: 0 to 252, a multiple of 4. */
  readonly at: number;
}

/** What a packet must be; all that is given must hold, and at least one is. */
export interface SteeringMatch {
  readonly inPort?: string;
  readonly flowType?: FlowType;
  readonly srcMac?: string;
  readonly dstMac?: string;
  /** 0 to 65535. */
  readonly etherType?: number;
  /** 0 to 4094. */
  readonly vlan?: number;
  readonly srcIp?: string;
  readonly dstIp?: string;
  /** IP protocol, 0 to 255. */
  readonly protocol?: number;
  /** Ports, 0 to 65535. */
  readonly srcPort?: number;
  readonly dstPort?: number;
  /** Up to 8. */
  readonly u32?: readonly U32Match[];
}

/** Drop, send to a port past the MAC table, or let this lcore (index) or this queue of the port (0 to 15) do it. */
export type SteeringAction =
  | { readonly drop: true }
  | { readonly port: string }
  | { readonly lcore: number }
  | { readonly queue: number };

/** What happens to packets that match. */
export interface SteeringRule {
  readonly match: SteeringMatch;
  readonly action: SteeringAction;
}
