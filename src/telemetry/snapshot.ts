import type { PoolAudit, PoolStats } from '../memory/pool.ts';

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
  /** What ports that were deleted had counted, in sum; missing when there is nothing. */
  readonly deleted?: DeletedPorts;
  readonly lcores: readonly LcoreSnapshot[];
  readonly rings: readonly RingSnapshot[];
  /**
   * Packets dropped in all, by reason; those of ports included, and of deleted ones. At the end, packets received +
   * the ports' `copies` are packets sent + dropped.
   */
  readonly drops: Readonly<Record<string, number>>;
  readonly pool: PoolStats & PoolAudit;
  readonly switch: SwitchSnapshot;
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
  /** Packets that came to be by flooding, mirroring or injected duplication of what entered here. */
  readonly copies: number;
  /** Packets dropped at this port, by reason. */
  readonly drops: Readonly<Record<string, number>>;
  /** How much of a finite input was read, 0 to 1; missing when it has no end. */
  readonly progress?: number;
  /** A finite input that was read to its end; false for others. */
  readonly done: boolean;
  /** Why the port was latched off. */
  readonly fault?: string;
}

/** Counters of deleted ports, without their drops. */
export interface DeletedPorts {
  readonly rxPackets: number;
  readonly rxBytes: number;
  readonly txPackets: number;
  readonly txBytes: number;
  readonly copies: number;
}

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

export interface RingSnapshot {
  readonly name: string;
  /** Slots that hold something now. */
  readonly fill: number;
  readonly slots: number;
}

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
