import {
  LCORE_BUSY_NS,
  LCORE_EMPTY_POLLS,
  LCORE_PACKETS,
  LCORE_POLLS,
  LCORE_RUNNING,
  LCORE_STATE,
} from '../lcore/layout.ts';
import type { Lcore } from '../lcore/lcore.ts';
import { countersSince, type PortCounters, readCounter, readPortCounters } from '../telemetry/counters.ts';
import type { DeletedPorts, LcoreSnapshot, PortSnapshot, RingSnapshot, Snapshot } from '../telemetry/snapshot.ts';
import type { Machine } from './machine.ts';
import type { PortEntry, PortTable } from './port-table.ts';
import type { QueueInfo } from './wire.ts';

/** What the control thread last heard of its lcores. */
export interface Observed {
  readonly name: string;
  readonly state: Snapshot['state'];
  /** Milliseconds since 1970 at the start. */
  readonly startedAtMs: number;
  readonly queues: readonly QueueInfo[];
  /** Per lcore, part of the recent time that was busy, 0 to 1. */
  readonly loads: readonly number[];
}

function portSnapshot(entry: PortEntry, counted: PortCounters, queues: readonly QueueInfo[]): PortSnapshot {
  const { wire, share } = entry;
  const { flooded: _, ...counters } = countersSince(counted, entry.before);
  const mine = queues.filter(({ index }) => index === wire.index);
  const progress = mine.map((queue) => queue.progress).filter((value) => value !== undefined);
  const fault = mine.find((queue) => queue.fault !== undefined)?.fault;
  return {
    name: wire.name,
    type: wire.type,
    index: wire.index,
    ...counters,
    done: share.finite && mine.length > 0 && mine.every(({ done }) => done),
    ...(progress.length === 0 ? {} : { progress: progress.reduce((sum, value) => sum + value, 0) / progress.length }),
    ...(fault === undefined ? {} : { fault }),
  };
}

function lcoreSnapshot(machine: Machine, lcore: Lcore, load: number): LcoreSnapshot {
  const { arena } = machine;
  const counter = (offset: number): number => readCounter(arena, lcore.address + offset);
  return {
    index: lcore.index,
    ...(lcore.cpu === undefined ? {} : { cpu: lcore.cpu }),
    idle: lcore.idle,
    polls: counter(LCORE_POLLS),
    emptyPolls: counter(LCORE_EMPTY_POLLS),
    packets: counter(LCORE_PACKETS),
    load,
    alive: arena.u32[(lcore.address + LCORE_STATE) >>> 2] === LCORE_RUNNING,
  };
}

/** Nanoseconds that an lcore has been busy since it started. */
export function busyNs(machine: Machine, lcore: Lcore): number {
  return readCounter(machine.arena, lcore.address + LCORE_BUSY_NS);
}

function totalsOf({ rxPackets, rxBytes, txPackets, txBytes, copies }: PortCounters): DeletedPorts {
  return { rxPackets, rxBytes, txPackets, txBytes, copies };
}

function sumCounters(list: readonly PortCounters[]): PortCounters {
  const sum: PortCounters = { rxPackets: 0, rxBytes: 0, txPackets: 0, txBytes: 0, copies: 0, flooded: 0, drops: {} };
  for (const { drops, ...counts } of list) {
    for (const [key, count] of Object.entries(counts)) sum[key as keyof typeof counts] += count;
    for (const [reason, count] of Object.entries(drops)) sum.drops[reason] = (sum.drops[reason] ?? 0) + count;
  }
  return sum;
}

/** Reads all counters. Those of running lcores are a moment apart from each other. */
export function takeSnapshot(
  machine: Machine,
  ports: PortTable,
  lcores: readonly Lcore[],
  observed: Observed,
): Snapshot {
  const entries = ports.all();
  const { ports: places } = machine.switch.options;
  const counted = Array.from({ length: places }, (_, index) =>
    readPortCounters(machine.arena, machine.counters, index),
  );
  const { drops, flooded } = sumCounters(counted);
  // What places counted before their port was made, or after it went.
  const deleted = sumCounters(counted.map((counters, index) => ports.byIndex(index)?.before ?? counters));
  const rings: RingSnapshot[] = [
    ...entries.map(({ wire, txRing }) => ({ name: `${wire.name} tx`, fill: txRing.fill(), slots: txRing.slots })),
    ...machine.inputs.map((ring, index) => ({ name: `lcore ${index} input`, fill: ring.fill(), slots: ring.slots })),
  ];
  const atMs = Date.now();
  return {
    version: 1,
    name: observed.name,
    pid: process.pid,
    uptimeSeconds: (atMs - observed.startedAtMs) / 1000,
    atMs,
    state: observed.state,
    ports: entries.map((entry) => portSnapshot(entry, counted[entry.wire.index] ?? deleted, observed.queues)),
    ...(deleted.rxPackets + deleted.txPackets + deleted.copies === 0 ? {} : { deleted: totalsOf(deleted) }),
    lcores: lcores.map((lcore, index) => lcoreSnapshot(machine, lcore, observed.loads[index] ?? 0)),
    rings,
    drops,
    pool: { ...machine.pool.stats(), ...machine.pool.audit() },
    switch: { ...machine.switch.stats(), flooded },
  };
}

/** Packets received, or copied, and neither sent nor dropped yet. 0 once everything is through. */
export function inFlight({ ports, deleted, drops }: Snapshot): number {
  const all = deleted === undefined ? ports : [...ports, deleted];
  const dropped = Object.values(drops).reduce((total, count) => total + count, 0);
  return all.reduce((sum, port) => sum + port.rxPackets + port.copies - port.txPackets, -dropped);
}
