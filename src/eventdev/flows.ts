import type { Arena } from '../memory/arena.ts';
import {
  EVDEV_HASH_BITS,
  EVDEV_PORTS,
  EVDEV_QUEUE_ENTRIES,
  EVDEV_QUEUES,
  EVDEV_TABLES,
  EVQUEUE_SCHEDULE,
  EVQUEUE_SHIFT,
  SCHEDULE_ATOMIC,
  SCHEDULE_PARALLEL,
} from './layout.ts';

/** A flow hash of a queue that got another owner. */
export interface FlowMove {
  /** When it was seen: milliseconds since 1970, as the caller gave them. */
  readonly atMs: number;
  readonly queue: number;
  readonly hash: number;
  /** Numbers of ports. */
  readonly from: number;
  readonly to: number;
}

const isShared = (schedule: number): boolean => schedule === SCHEDULE_ATOMIC || schedule === SCHEDULE_PARALLEL;

/** Moves that are remembered. */
const MOVES_MAX = 64;

/**
 * Who owns the flows of a device, and which of them move: compares its tables with what they were at the last look. A flow
 * that moves twice between two looks shows as one move, one that comes back as none.
 */
export class FlowWatch {
  readonly #tables: Uint8Array;
  readonly #before: Uint8Array;
  readonly #bits: number;
  /** A table has lanes: with several priorities, each level has as many as there are ports. */
  readonly #ports: number;
  /** By queue, whether its flows have owners that change: not those of single-link and ordered queues. */
  readonly #isShared: boolean[];
  /** By queue and port. */
  readonly #owned: number[][];
  #moves: FlowMove[] = [];

  /** @param device address of a device's words. It is started. */
  constructor(arena: Arena, device: number) {
    const word = (offset: number): number => arena.u32[(device + offset) >>> 2] ?? 0;
    const queues = word(EVDEV_QUEUES);
    const tables = word(EVDEV_TABLES);
    this.#bits = word(EVDEV_HASH_BITS);
    this.#tables = arena.u8.subarray(tables, tables + (queues << this.#bits));
    this.#before = this.#tables.slice();
    this.#isShared = Array.from({ length: queues }, (_, queue) =>
      isShared(word(EVDEV_QUEUE_ENTRIES + (queue << EVQUEUE_SHIFT) + EVQUEUE_SCHEDULE)),
    );
    this.#ports = word(EVDEV_PORTS);
    this.#owned = this.#isShared.map(() => new Array<number>(this.#ports).fill(0));
    for (const [at, lane] of this.#before.entries()) {
      const queue = at >>> this.#bits;
      if (this.#isShared[queue] === true) this.#count(queue, lane % this.#ports, 1);
    }
  }

  #count(queue: number, port: number, by: number): void {
    const owned = this.#owned[queue] as number[];
    owned[port] = (owned[port] ?? 0) + by;
  }

  /** Takes note of what has moved since the last look. */
  look(nowMs: number): void {
    for (const [queue, isShared] of this.#isShared.entries()) if (isShared) this.#lookAt(queue, nowMs);
  }

  #lookAt(queue: number, atMs: number): void {
    const start = queue << this.#bits;
    for (let at = start; at < start + (1 << this.#bits); at++) {
      const before = this.#before[at] as number;
      const lane = this.#tables[at] as number;
      if (before === lane) continue;
      this.#before[at] = lane;
      const from = before % this.#ports;
      const to = lane % this.#ports;
      this.#count(queue, from, -1);
      this.#count(queue, to, 1);
      this.#moves.push({ atMs, queue, hash: at - start, from, to });
    }
    this.#moves = this.#moves.slice(-MOVES_MAX);
  }

  /** How many flow hashes of `queue` port `port` owned at the last look; 0 of a single-link queue. */
  owned(queue: number, port: number): number {
    return this.#owned[queue]?.[port] ?? 0;
  }

  /** The last 64 moves, the newest last. */
  get moves(): readonly FlowMove[] {
    return this.#moves;
  }
}
