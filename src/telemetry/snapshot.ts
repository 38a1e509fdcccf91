import type { PoolAudit, PoolStats } from '../memory/pool.ts';
import type { Totals } from './counters.ts';

/** Everything that is counted in a dataplane, at one moment: what `stats`, the live table and the metrics show. */
export interface Snapshot {
  readonly version: 1;
  /** Name of the dataplane. */
  readonly name: string;
  readonly pid: number;
  readonly uptimeSeconds: number;
  /** When it was taken: milliseconds since 1970-01-01 UTC. */
  readonly atMs: number;
  readonly state: 'running' | 'stopping' | 'stopped';
  readonly ports: readonly PortSnapshot[];
  readonly lcores: readonly LcoreSnapshot[];
  readonly rings: readonly RingSnapshot[];
  /** Packets dropped in all, by reason; those of ports that were deleted since included. */
  readonly drops: Readonly<Record<string, number>>;
  /** All packets since the start; those of ports that were deleted since included. */
  readonly totals: Totals;
  readonly pool: PoolStats & PoolAudit;
  readonly switch: SwitchSnapshot;
  /** When an event device spreads the packets over lcores. */
  readonly eventdev?: EventdevSnapshot;
  /** When engines copy for guests. */
  readonly async?: AsyncSnapshot;
  /** Disks of virtual machines, when there are some. */
  readonly disks?: readonly DiskSnapshot[];
}

/** How engines copy into and out of the memory of guests. All counts are since the start. */
export interface AsyncSnapshot {
  readonly integration: string;
  readonly assignment: string;
  /** Copies of fewer bytes are the CPU's. */
  readonly threshold: number;
  readonly engines: readonly EngineSnapshot[];
  /** Work that `defer` left, by lcore. */
  readonly lcores: readonly WorkSnapshot[];
  readonly rings: readonly AsyncRingSnapshot[];
}

/** An engine that copies. */
export interface EngineSnapshot {
  /** Copies that it was given, those that it was done with, failed ones included, and those that failed. */
  readonly submitted: number;
  readonly completed: number;
  readonly errors: number;
  /** Copies that it has now. */
  readonly inFlight: number;
  /** Failed copies that the CPU did. */
  readonly failed: number;
  /** Several lcores use it; times that one had to wait for another, and how often it looked meanwhile. */
  readonly isShared: boolean;
  readonly contended: number;
  readonly spins: number;
  /** Why it works no more: the CPU copies in its place. */
  readonly fault?: string;
}

/** Deferred work of an lcore. */
export interface WorkSnapshot {
  /** Sends that left work. */
  readonly deferred: number;
  /** Items that were dealt with: nothing of their queue was in flight any more. */
  readonly done: number;
  /** Looks at an item whose copies were not done. */
  readonly inProgress: number;
  /** Sends whose work found no room after all items were looked at; the queue's next send leaves it. */
  readonly full: number;
}

/** One queue of a guest, for which engines copy. */
export interface AsyncRingSnapshot {
  readonly port: string;
  /** Its queue pair, and whether packets are sent to the guest or received from it. */
  readonly pair: number;
  readonly sends: boolean;
  readonly lcore: number;
  /** Index of its engine; -1: the CPU copies. */
  readonly engine: number;
  /** Copies that an engine was given, and those that the CPU did. */
  readonly offloaded: number;
  readonly copied: number;
  /** Times that a packet had to wait, since the engine's channel was full. */
  readonly full: number;
  /** Of the ring of `v4`: sends that found it full, and packets that were dropped for that. */
  readonly ringFull: number;
  readonly dropped: number;
  /** Packets that are being copied. */
  readonly inFlight: number;
}

/** A disk of a virtual machine. */
export interface DiskSnapshot {
  readonly name: string;
  /** A virtual machine uses it. */
  readonly connected: boolean;
  /** Why the last one was sent away. */
  readonly fault?: string;
}

/** Counters of a port since the start. Rings of the port are named `NAME.…`, such as `in.rx`. */
export interface PortSnapshot {
  readonly name: string;
  /** As in the configuration: `capture`, `generator`, `null`, `module`. */
  readonly type: string;
  readonly index: number;
  /** All that entered, or that a generator made, dropped ones included. */
  readonly rxPackets: number;
  readonly rxBytes: number;
  /** What left for good. */
  readonly txPackets: number;
  readonly txBytes: number;
  /**
   * Packets that came to be: by flooding, mirroring or injected duplication of what entered here, and by cutting what
   * left here into segments.
   */
  readonly copies: number;
  /** Packets that were received and became part of others (`gro`). Missing when there are none. */
  readonly merged?: number;
  /** Packets dropped at this port, by reason. */
  readonly drops: Readonly<Record<string, number>>;
  /** How much of a finite input was read, 0 to 1; missing when it has no end. */
  readonly progress?: number;
  /** A finite input that was read to its end; false for others. */
  readonly done: boolean;
  /** When it runs an XDP program. */
  readonly xdp?: XdpSnapshot;
  /** Why the port was latched off. */
  readonly fault?: string;
}

/** What the XDP programs of a port have said of packets so far; the program is the one that runs now. */
export interface XdpSnapshot {
  /** Name of its object file, without folders and ending, and of its function. */
  readonly object: string;
  readonly program: string;
  readonly pass: number;
  readonly drop: number;
  readonly tx: number;
  readonly redirect: number;
  readonly aborted: number;
}

/** What one lcore has done since the start. */
export interface LcoreSnapshot {
  readonly index: number;
  readonly cpu?: number;
  readonly idle: string;
  readonly polls: number;
  /** Polls that found nothing. */
  readonly emptyPolls: number;
  readonly packets: number;
  /** Part of the recent time that was spent on packets, 0 to 1. */
  readonly load: number;
  readonly alive: boolean;
}

/** How full one ring is. */
export interface RingSnapshot {
  readonly name: string;
  /** Slots that hold something now. */
  readonly fill: number;
  readonly slots: number;
}

/** What the switch knows, and what it has done since the start. */
export interface SwitchSnapshot {
  /** Entries of the MAC table in use. */
  readonly macs: number;
  readonly macsMax: number;
  readonly learned: number;
  /** Addresses that came up at another port. */
  readonly moved: number;
  readonly aged: number;
  /** Entries that gave way to newer ones because their bucket was full. */
  readonly evicted: number;
  /** Packets that went to all ports of their VLAN. */
  readonly flooded: number;
}

/** How the event device spreads packets over lcores. */
export interface EventdevSnapshot {
  readonly queues: readonly EventQueueSnapshot[];
  readonly ports: readonly EventPortSnapshot[];
  /** Events that may be in it at once, and what of that is lent to ports. */
  readonly credits: number;
  readonly creditsOnLoan: number;
  /** The last moves of flows, the newest last: 64 at most. Seen every 50 ms. */
  readonly moves: readonly FlowMoveSnapshot[];
}

/** A queue of the event device: a stage, or what leaves through the ports of one lcore. */
export interface EventQueueSnapshot {
  readonly index: number;
  /** `switch`, the module of a stage without its folder, or `tx LCORE`. */
  readonly name: string;
  readonly schedule: string;
}

/** What the event port of one lcore has done since the start. */
export interface EventPortSnapshot {
  /** The port's number, and its lcore's. */
  readonly index: number;
  /** `stages`: a worker; `ports`: it serves ports. */
  readonly role: 'stages' | 'ports';
  /** Indexes of the queues that it serves. */
  readonly serves: readonly number[];
  /** Part of the recent time in which it had events, 0 to 1. */
  readonly load: number;
  readonly newEnqueued: number;
  readonly forwardEnqueued: number;
  readonly releaseEnqueued: number;
  readonly dequeued: number;
  /** By queue. */
  readonly queueEnqueued: readonly number[];
  readonly queueDequeued: readonly number[];
  /** Flows that moved away and here, and the mean time that the former took, in nanoseconds. */
  readonly emigrations: number;
  readonly immigrations: number;
  readonly migrationLatencyNs: number;
  /** Mean busy time for an event, in nanoseconds. */
  readonly eventLatencyNs: number;
  /** By queue, flow hashes that it owns; 0 for queues that one port serves. */
  readonly flows: readonly number[];
  /** Credits in its stock, and events that its lcore holds. */
  readonly credits: number;
  readonly pending: number;
  /** Its lcore left it alone for so many milliseconds, more than 1,000: flows cannot move meanwhile. */
  readonly unattendedMs?: number;
  /** What it is moving away at the moment. */
  readonly migration?: MigrationSnapshot;
}

/** A migration that is under way. */
export interface MigrationSnapshot {
  readonly flows: number;
  /** The step it is at: `finishing`, `pausing`, `draining` or `unpausing`. */
  readonly state: string;
  readonly forMs: number;
  /** Ports that it waits for. */
  readonly waitsFor: readonly number[];
}

/** A flow that moved from one event port to another. */
export interface FlowMoveSnapshot {
  /** Milliseconds since 1970. */
  readonly atMs: number;
  readonly queue: number;
  /** The flow's hash, folded to the device's bits. */
  readonly hash: number;
  readonly from: number;
  readonly to: number;
}
