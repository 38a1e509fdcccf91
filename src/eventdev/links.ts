import type { Arena } from '../memory/arena.ts';
import { RingwayError } from '../util/errors.ts';
import {
  BELL_PARKED,
  BELL_RUNG,
  EVDEV_BELLS,
  EVDEV_BLOCKS,
  EVDEV_QUEUE_ENTRIES,
  EVDEV_RUNNING,
  EVDEV_TABLES,
  EVPORT_EVACUATION,
  EVPORT_MOVING_COUNT,
  EVPORT_MOVING_FLOWS,
  EVPORT_MOVING_TARGETS,
  EVPORT_STATE,
  EVPORT_UNSERVED,
  EVQUEUE_LANE,
  EVQUEUE_LINKS,
  EVQUEUE_ONLY,
  EVQUEUE_SHIFT,
  FLOW_HASH_MASK,
  FLOW_QUEUE_SHIFT,
  MIGRATION_IDLE,
} from './layout.ts';
import type { CheckedOptions } from './options.ts';

/** A flow that some port moves at the moment. */
interface MovingFlow {
  readonly queue: number;
  readonly hash: number;
  readonly from: number;
  readonly to: number;
}

/**
 * Which ports serve which queues. Before the start that is a list; while the device runs it is words that ports read:
 *
 * - A port that is linked may become the owner of flows from then on.
 * - One that is unlinked moves the flows it owns to others, by the protocol by which all flows move.
 *
 * A queue with one port has a word of its own for it (EVQUEUE_ONLY), so that senders need no table. It is cleared before
 * a second port is linked: whoever moves a flow saw the link, and asks all senders, who then see the word cleared. It is
 * set again when all flows are at the port that is left, and no event of theirs is held back.
 */
export class EventLinks {
  readonly #arena: Arena;
  readonly #device: number;
  readonly #options: CheckedOptions;
  /** For each queue, the ports linked to it. */
  readonly #links: Set<number>[];

  constructor(arena: Arena, device: number, options: CheckedOptions) {
    this.#arena = arena;
    this.#device = device;
    this.#options = options;
    this.#links = options.queues.map(() => new Set());
  }

  /** The ports linked to `queue`, which there is, in ascending order. */
  of(queue: number): number[] {
    return [...(this.#links[queue] as Set<number>)].sort((a, b) => a - b);
  }

  /** As `EventDevice.link`, of a port and a queue that there are. */
  link(port: number, queue: number): void {
    const linked = this.#links[queue] as Set<number>;
    if (linked.has(port)) return;
    const [first] = linked;
    if (this.#options.queues[queue]?.schedule === 'single-link' && first !== undefined) {
      if (this.#running) throw this.#fixed(queue);
      throw this.#error('BAD_ARGUMENT', `queue ${queue} is single-link and linked to port ${first}; unlink that first`);
    }
    linked.add(port);
    if (!this.#running) return;
    if (this.#isOrdered(queue)) {
      Atomics.or(this.#arena.u32, this.#entry(queue, EVQUEUE_LINKS + (port >>> 5) * 4), 1 << (port & 31));
      this.#wake(port);
      return;
    }
    Atomics.store(this.#arena.u32, this.#entry(queue, EVQUEUE_ONLY), 0);
    Atomics.and(this.#arena.u32, this.#port(port, EVPORT_UNSERVED), ~(1 << queue));
    Atomics.or(this.#arena.u32, this.#entry(queue, EVQUEUE_LINKS + (port >>> 5) * 4), 1 << (port & 31));
  }

  /** As `EventDevice.unlink`, of a port and a queue that there are. */
  unlink(port: number, queue: number): boolean {
    const linked = this.#links[queue] as Set<number>;
    if (!linked.has(port)) return false;
    if (this.#running) {
      if (this.#options.queues[queue]?.schedule === 'single-link') throw this.#fixed(queue);
      if (linked.size === 1) {
        throw this.#error('BUSY', `port ${port} is the last one of queue ${queue}; link another first, or call stop()`);
      }
    }
    linked.delete(port);
    if (!this.#running) return true;
    const { u32 } = this.#arena;
    Atomics.and(u32, this.#entry(queue, EVQUEUE_LINKS + (port >>> 5) * 4), ~(1 << (port & 31)));
    // Events of ordered queues are taken by those who have time: there is nothing to move.
    if (this.#isOrdered(queue)) return true;
    Atomics.or(u32, this.#port(port, EVPORT_UNSERVED), 1 << queue);
    Atomics.store(u32, this.#port(port, EVPORT_EVACUATION), 1);
    this.#wake(port);
    return true;
  }

  #isOrdered(queue: number): boolean {
    return this.#options.queues[queue]?.schedule === 'ordered';
  }

  /** Wakes the thread that sleeps on `port`. */
  #wake(port: number): void {
    const { u32, i32 } = this.#arena;
    const bell = u32[(this.#device + EVDEV_BELLS + port * 4) >>> 2] ?? 0;
    if (Atomics.load(u32, (bell + BELL_PARKED) >>> 2) === 0) return;
    Atomics.store(u32, (bell + BELL_RUNG) >>> 2, 1);
    Atomics.notify(i32, (bell + BELL_RUNG) >>> 2);
  }

  /** Writes the words of `queue`, at the start. */
  write(queue: number): void {
    const linked = this.of(queue);
    const { u32 } = this.#arena;
    const hasOne = linked.length === 1 && !this.#isOrdered(queue);
    u32[this.#entry(queue, EVQUEUE_ONLY)] = hasOne ? this.#lane(queue, linked[0] as number) + 1 : 0;
    for (const half of [0, 1]) {
      const bits = linked.filter((port) => port >>> 5 === half).reduce((mask, port) => mask + 2 ** (port & 31), 0);
      u32[this.#entry(queue, EVQUEUE_LINKS + half * 4)] = bits;
    }
  }

  /** As `EventDevice.unsettledFlows`. */
  unsettled(): number {
    if (!this.#running) return 0;
    // The moves before the tables: what a move that is over by then did to them is seen.
    const moving = this.#moving();
    let all = 0;
    for (const queue of this.#links.keys()) {
      if (this.#isOrdered(queue)) continue;
      const its = moving.filter((flow) => flow.queue === queue);
      const flows = this.#strayFlows(queue, its);
      all += flows;
      const [only, ...others] = this.of(queue);
      // Nobody moves flows of it any more, since there is nowhere to move them to: senders may do without the table.
      if (flows > 0 || its.length > 0 || only === undefined || others.length > 0) continue;
      Atomics.store(this.#arena.u32, this.#entry(queue, EVQUEUE_ONLY), this.#lane(queue, only) + 1);
    }
    return all;
  }

  /** Flows of `queue` at ports that serve it no longer, on their way there, or on their way from there. */
  #strayFlows(queue: number, moving: readonly MovingFlow[]): number {
    const linked = this.#links[queue] as Set<number>;
    const stray = this.#options.ports.map((_, id) => !linked.has(id));
    if (this.#options.queues[queue]?.schedule === 'single-link' || !stray.includes(true)) return 0;
    const { u8, u32 } = this.#arena;
    const { flowHashBits } = this.#options;
    const table = (u32[(this.#device + EVDEV_TABLES) >>> 2] ?? 0) + (queue << flowHashBits);
    const isStray = (hash: number): boolean => stray[(u8[table + hash] ?? 0) - this.#lane(queue, 0)] === true;
    let flows = moving.filter(({ hash, from, to }) => !isStray(hash) && (stray[from] || stray[to])).length;
    for (let hash = 0; hash < 1 << flowHashBits; hash++) if (isStray(hash)) flows++;
    return flows;
  }

  /** The flows that ports move at the moment. */
  #moving(): MovingFlow[] {
    const { u32 } = this.#arena;
    return this.#options.ports.flatMap((_, from) => {
      if (Atomics.load(u32, this.#port(from, EVPORT_STATE)) === MIGRATION_IDLE) return [];
      const n = Atomics.load(u32, this.#port(from, EVPORT_MOVING_COUNT));
      return Array.from({ length: n }, (_, i) => {
        const flow = u32[this.#port(from, EVPORT_MOVING_FLOWS) + i] ?? 0;
        const to = u32[this.#port(from, EVPORT_MOVING_TARGETS) + i] ?? 0;
        return { queue: flow >>> FLOW_QUEUE_SHIFT, hash: flow & FLOW_HASH_MASK, from, to };
      });
    });
  }

  get #running(): boolean {
    return this.#arena.u32[(this.#device + EVDEV_RUNNING) >>> 2] === 1;
  }

  /** The lane of `port`, of the queue's level. */
  #lane(queue: number, port: number): number {
    return (this.#arena.u32[this.#entry(queue, EVQUEUE_LANE)] ?? 0) + port;
  }

  /** Index of a word of a queue's entry. */
  #entry(queue: number, offset: number): number {
    return (this.#device + EVDEV_QUEUE_ENTRIES + (queue << EVQUEUE_SHIFT) + offset) >>> 2;
  }

  /** Index of a word of a port. */
  #port(id: number, offset: number): number {
    return ((this.#arena.u32[(this.#device + EVDEV_BLOCKS + id * 4) >>> 2] ?? 0) + offset) >>> 2;
  }

  #fixed(queue: number): RingwayError {
    return this.#error(
      'BUSY',
      `queue ${queue} is single-link: its port is fixed while it is started; call stop() first`,
    );
  }

  #error(code: 'BAD_ARGUMENT' | 'BUSY', text: string): RingwayError {
    return new RingwayError(code, `event device ${this.#options.name}: ${text}`);
  }
}
