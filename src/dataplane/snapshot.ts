import {
  LCORE_BUSY_NS,
  LCORE_EMPTY_POLLS,
  LCORE_PACKETS,
  LCORE_POLLS,
  LCORE_RUNNING,
  LCORE_STATE,
} from '../lcore/layout.ts';
import type { Lcore } from '../lcore/lcore.ts';
import { addUp, countersSince, readCounter, readPortCounters, type Totals } from '../telemetry/counters.ts';
import type { DiskSnapshot, LcoreSnapshot, PortSnapshot, RingSnapshot, Snapshot } from '../telemetry/snapshot.ts';
import type { EventsWatch } from './events-snapshot.ts';
import type { Machine } from './machine.ts';
import type { PortEntry, PortTable } from './port-table.ts';
import type { QueueInfo } from './wire.ts';
import type { XdpControl } from './xdp-control.ts';

/** What the control thread last heard of its lcores. */
export interface Observed {
  readonly name: string;
  readonly state: Snapshot['state'];
  /** Milliseconds since 1970 at the start. */
  readonly startedAtMs: number;
  readonly queues: readonly QueueInfo[];
  /** Per lcore, part of the recent time that was busy, 0 to 1. */
  readonly loads: readonly number[];
  readonly events?: EventsWatch;
  readonly xdp?: XdpControl;
  readonly disks: readonly DiskSnapshot[];
}

function portSnapshot(machine: Machine, entry: PortEntry, { queues, xdp: control }: Observed): PortSnapshot {
  const { wire, share } = entry;
  const xdp = control?.snapshotOf(wire.index);
  const now = readPortCounters(machine.arena, machine.counters, wire.index);
  const { flooded: _, ...counters } = countersSince(now, entry.before);
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
    ...(xdp === undefined ? {} : { xdp }),
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

/** Reads all counters. Those of running lcores are a moment apart from each other. */
export function takeSnapshot(
  machine: Machine,
  ports: PortTable,
  lcores: readonly Lcore[],
  observed: Observed,
): Snapshot {
  const entries = ports.all();
  const snapshots = entries.map((entry) => portSnapshot(machine, entry, observed));
  // By place, not by port: a place keeps counting for packets of a port that is gone.
  const places = Array.from({ length: machine.switch.options.ports }, (_, index) =>
    readPortCounters(machine.arena, machine.counters, index),
  );
  const drops: Record<string, number> = {};
  for (const place of places) {
    for (const [reason, count] of Object.entries(place.drops)) drops[reason] = (drops[reason] ?? 0) + count;
  }
  const rings: RingSnapshot[] = [
    ...entries.map(({ wire, txRing }) => ({ name: `${wire.name} tx`, fill: txRing.fill(), slots: txRing.slots })),
    ...machine.inputs.map((ring, index) => ({ name: `lcore ${index} input`, fill: ring.fill(), slots: ring.slots })),
  ];
  const flooded = places.reduce((sum, place) => sum + place.flooded, 0);
  const atMs = Date.now();
  return {
    version: 1,
    name: observed.name,
    pid: process.pid,
    uptimeSeconds: (atMs - observed.startedAtMs) / 1000,
    atMs,
    state: observed.state,
    ports: snapshots,
    lcores: lcores.map((lcore, index) => lcoreSnapshot(machine, lcore, observed.loads[index] ?? 0)),
    rings,
    drops,
    totals: addUp(places),
    pool: { ...machine.pool.stats(), ...machine.pool.audit() },
    switch: { ...machine.switch.stats(), flooded },
    ...(observed.disks.length === 0 ? {} : { disks: observed.disks }),
    ...(machine.async === undefined ? {} : { async: machine.async.state() }),
    ...(observed.events === undefined ? {} : { eventdev: observed.events.snapshot(atMs) }),
  };
}

/** Packets received, or copied, and neither sent, dropped nor merged yet. 0 once everything is through. */
export function inFlight({ received, copied, sent, dropped, merged = 0 }: Totals): number {
  return received + copied - sent - dropped - merged;
}
