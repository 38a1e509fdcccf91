import type { AsyncOptions } from '../async/control.ts';
import type { PacketOptions } from '../netif/packet-socket.ts';
import type { XskOptions } from '../netif/xsk.ts';
import type { CaptureConfig } from '../ports/capture.ts';
import type { GeneratorConfig } from '../ports/generator.ts';
import type { GuestConfig } from '../ports/guest.ts';
import type { TapConfig } from '../ports/tap-device.ts';
import type { VhostUserConfig } from '../ports/vhost-user.ts';
import type { VirtioUserConfig } from '../ports/virtio-user.ts';
import type { XenNetbackConfig } from '../ports/xen-netback.ts';
import type { XenNetfrontConfig } from '../ports/xen-netfront.ts';
import type { Match } from '../switch/steering.ts';
import type { PortVlans } from '../switch/switch.ts';

export type { CaptureConfig } from '../ports/capture.ts';
export type { GeneratorConfig, WeightedSize } from '../ports/generator.ts';
export type { GuestConfig } from '../ports/guest.ts';
export type { VhostUserConfig } from '../ports/vhost-user.ts';
export type { VirtioUserConfig } from '../ports/virtio-user.ts';
export type { XenNetbackConfig } from '../ports/xen-netback.ts';
export type { XenNetfrontConfig } from '../ports/xen-netfront.ts';
export type { FlowType, Match, U32Match } from '../switch/steering.ts';
export type { PortVlans } from '../switch/switch.ts';

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
  /** Spreads packets over lcores; without it the lcore that serves a port does all. */
  readonly eventdev?: EventdevConfig;
  /** Engines copy into and out of the memory of guests; without it lcores do. */
  readonly async?: AsyncConfig;
  readonly disks: readonly DiskConfig[];
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
  readonly vlan: PortVlans;
  /** Most flooded frames per second that enter here; no limit when missing. */
  readonly storm?: number;
  /** Faults to inject into what passes, both ways. */
  readonly fault?: FaultConfig;
  /** Absolute path of a capture that records everything that passes the port, both ways. */
  readonly tap?: string;
  /** The XDP program that sees each packet first. */
  readonly xdp?: XdpConfig;
  /** Merge consecutive TCP segments that arrive here into packets that ask for segmentation; false when missing. */
  readonly gro?: boolean;
}

/** An XDP program of a port. */
export interface XdpConfig {
  /** Absolute path of its object file. */
  readonly object: string;
  /** Name of its function; the object's only program when missing. */
  readonly program?: string;
  /** What is put into its maps before it runs: values by key, by the maps' names. */
  readonly maps: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  /** `kernel`: it is loaded into the kernel, before packets come to an af-xdp port. `ringway`: it runs on each burst. */
  readonly attach: 'kernel' | 'ringway';
  /** Run it without checks. */
  readonly trusted: boolean;
}

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
export interface CapturePortConfig extends PortCommon, CaptureConfig {
  readonly type: 'capture';
}

/** Makes packets of UDP or TCP flows. */
export interface GeneratorPortConfig extends PortCommon, GeneratorConfig {
  readonly type: 'generator';
}

/** A guest in this process, with a thread and a stack of its own. */
export interface GuestPortConfig extends PortCommon, GuestConfig {
  readonly type: 'guest';
  readonly queues: number;
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

/** The network device of a virtual machine. */
export interface VhostUserPortConfig extends PortCommon, VhostUserConfig {
  readonly type: 'vhost-user';
  readonly queues: number;
}

/** The driver of a network device in another process. */
export interface VirtioUserPortConfig extends PortCommon, VirtioUserConfig {
  readonly type: 'virtio-user';
  readonly queues: number;
}

/** A tap of the system. */
export interface TapPortConfig extends PortCommon, TapConfig {
  readonly type: 'tap';
  readonly queues: number;
}

/** A network interface of the system, by packet sockets. */
export interface AfPacketPortConfig extends PortCommon, PacketOptions {
  readonly type: 'af-packet';
  readonly queues: number;
}

/** A network interface of the system, by XDP sockets. */
export interface AfXdpPortConfig extends PortCommon, XskOptions {
  readonly type: 'af-xdp';
  readonly queues: number;
}

/** The backend of a Xen network device. */
export interface XenNetbackPortConfig extends PortCommon, XenNetbackConfig {
  readonly type: 'xen-netback';
  readonly name: string;
  readonly queues: number;
}

/** The frontend of a Xen network device in this process. */
export interface XenNetfrontPortConfig extends PortCommon, XenNetfrontConfig {
  readonly type: 'xen-netfront';
  readonly name: string;
  readonly queues: number;
}

/** Any port; `type` tells which. */
export type PortConfig =
  | CapturePortConfig
  | GeneratorPortConfig
  | GuestPortConfig
  | NullPortConfig
  | ModulePortConfig
  | VhostUserPortConfig
  | VirtioUserPortConfig
  | TapPortConfig
  | AfPacketPortConfig
  | AfXdpPortConfig
  | XenNetbackPortConfig
  | XenNetfrontPortConfig;

/** A disk of a virtual machine: a file over a vhost-user socket. */
export interface DiskConfig {
  /** As a port's; also what the driver is told when it asks who the disk is, its first 20 characters. */
  readonly name: string;
  /** Absolute path of the socket. */
  readonly socket: string;
  /** Listen there; else connect to who listens. */
  readonly server: boolean;
  /** Absolute path of the file whose bytes are its sectors. */
  readonly file: string;
  readonly readOnly: boolean;
  /** 1 to 8. */
  readonly queues: number;
  /** Descriptors of a queue at most: a power of two. */
  readonly queueSize: number;
  /** Offer packed rings beside split ones. */
  readonly packed: boolean;
}

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

/** How an event device spreads packets over lcores. */
export interface EventdevConfig {
  /** Indexes in `Config.lcores` of those that serve the stages, ascending; the others serve the ports. */
  readonly workers: readonly number[];
  /** The stages that each packet passes in turn, before the switch. */
  readonly stages: readonly ModuleStage[];
  /** Of all stages: a flow is at one worker at a time and in order, or anywhere. */
  readonly schedule: 'atomic' | 'parallel';
  /** Packets that may be on their way through the stages: 256 for each lcore at least, 16,384 at most. */
  readonly newEventsLimit: number;
  /** What a worker with too much to do moves: up to 8 flows at once, or one. */
  readonly migration: 'flow-group' | 'single-flow';
  readonly flowHashBits: 13 | 15;
}

/** A stage that an ES module makes. */
export interface ModuleStage {
  /** URL of the module; a path has become a `file:` URL. */
  readonly module: string;
  /** Handed to the module as it stands in the file. */
  readonly options: Readonly<Record<string, unknown>>;
  /** Bytes of the arena that the stage has on all workers together, zeroed at the start. */
  readonly memory: number;
}

/** How engines copy for guests. A module's path has become a `file:` URL. */
export type AsyncConfig = AsyncOptions;

/** Where the metrics are served over HTTP. */
export interface MetricsConfig {
  /** 127.0.0.1 unless the file names another. */
  readonly host: string;
  readonly port: number;
}

/** What a packet must be; all that is given must hold, and at least one is. */
export interface SteeringMatch extends Match {
  /** Name of the port that the packet entered. */
  readonly inPort?: string;
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
