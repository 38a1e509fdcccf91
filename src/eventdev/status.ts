import type { Arena } from '../memory/arena.ts';
import {
  BELL_PARKED,
  EVDEV_BELLS,
  EVDEV_BLOCKS,
  EVDEV_EPOCH,
  EVDEV_PORTS,
  EVPORT_ATTACHED,
  EVPORT_BELL,
  EVPORT_LAST_BACKGROUND,
  EVPORT_MIGRATION_START,
  EVPORT_MOVING_COUNT,
  EVPORT_STATE,
  EVPORT_WAITS,
  MIGRATION_IDLE,
} from './layout.ts';

/** A port that its thread has left alone. */
export interface UnattendedPort {
  readonly port: number;
  /** Ms since it last did its background work, or since it was attached when it never did. */
  readonly sinceMs: number;
}

/** By MIGRATION_…. */
const STATES = ['idle', 'finishing', 'pausing', 'draining', 'unpausing'] as const;

/** A port that is moving flows away. */
export interface MigrationStatus {
  readonly port: number;
  /**
   * What it waits for: `finishing`, its own application to finish the events it holds; `pausing`, the other ports to hold
   * the flows back; `draining`, a sender that claimed a place in its ring to write it, or its own application to dequeue
   * what came with flows that moved here; `unpausing`, the other ports to send to the new owners.
   */
  readonly state: Exclude<(typeof STATES)[number], 'idle'>;
  /** Flows that move: 1 to 8. */
  readonly flows: number;
  /** Ms since it began. */
  readonly forMs: number;
  /** Ports that it waits for, in ascending order. Of `draining`, none: a claimed place does not say whose it is. */
  readonly waitsFor: number[];
}

/** Ns since the device's epoch, as its ports count them. */
export function deviceNow(arena: Arena, device: number): number {
  const epoch = arena.u32[(device + EVDEV_EPOCH) >>> 2] ?? 0;
  return Math.floor((performance.timeOrigin - epoch * 1000 + performance.now()) * 1e6);
}

/** Reads the words of a device's ports, which their threads write. */
function reader(arena: Arena, device: number) {
  const { u32 } = arena;
  const longs = new BigUint64Array(arena.handle.memory.buffer);
  const block = (id: number): number => u32[(device + EVDEV_BLOCKS + id * 4) >>> 2] ?? 0;
  return {
    ids: Array.from({ length: u32[(device + EVDEV_PORTS) >>> 2] ?? 0 }, (_, id) => id),
    word: (id: number, offset: number): number => Atomics.load(u32, (block(id) + offset) >>> 2),
    /** True when its thread sleeps until somebody rings. With other processes, ports sleep for a ms only, or died asleep. */
    parked: (id: number): boolean => {
      const bell = u32[(device + EVDEV_BELLS + id * 4) >>> 2] ?? 0;
      if (arena.handle.path !== undefined && bell === block(id) + EVPORT_BELL) return false;
      return Atomics.load(u32, (bell + BELL_PARKED) >>> 2) === 1;
    },
    /** In one access: of two halves, one could be new and the other old. */
    long: (id: number, offset: number): number => Number(Atomics.load(longs, (block(id) + offset) / 8)),
  };
}

/** As `EventDevice.unattended`, of a device that is started. */
export function unattendedPorts(arena: Arena, device: number, overMs: number): UnattendedPort[] {
  const { ids, long, parked } = reader(arena, device);
  const now = deviceNow(arena, device);
  return ids
    .map((port) => ({ port, seen: Math.max(long(port, EVPORT_LAST_BACKGROUND), long(port, EVPORT_ATTACHED)) }))
    .filter(({ port, seen }) => seen > 0 && !parked(port))
    .map(({ port, seen }) => ({ port, sinceMs: Math.floor((now - seen) / 1e6) }))
    .filter(({ sinceMs }) => sinceMs >= overMs)
    .sort((a, b) => b.sinceMs - a.sinceMs);
}

/** As `EventDevice.migrations`, of a device that is started. */
export function migrationsOf(arena: Arena, device: number): MigrationStatus[] {
  const { ids, word, long } = reader(arena, device);
  const now = deviceNow(arena, device);
  return ids.flatMap((port) => {
    const state = word(port, EVPORT_STATE);
    const name = STATES[state];
    if (state === MIGRATION_IDLE || name === undefined || name === 'idle') return [];
    const missing = ids.filter((id) => ((word(port, EVPORT_WAITS + (id >>> 5) * 4) >>> (id & 31)) & 1) !== 0);
    return {
      port,
      state: name,
      flows: word(port, EVPORT_MOVING_COUNT),
      forMs: Math.max(0, Math.floor((now - long(port, EVPORT_MIGRATION_START)) / 1e6)),
      waitsFor: name === 'finishing' ? [port] : missing,
    };
  });
}
