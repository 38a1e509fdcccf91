import type { Arena } from '../memory/arena.ts';
import { RingwayError } from '../util/errors.ts';
import { nearest } from '../util/nearest.ts';
import {
  EVDEV_BLOCKS,
  EVDEV_ON_LOAN,
  EVDEV_ORDERED,
  EVDEV_PORTS,
  EVDEV_QUEUES,
  EVPORT_COUNTERS_END,
  EVPORT_CREDITS,
  EVPORT_DEQUEUED,
  EVPORT_DRAINED,
  EVPORT_DROPPED,
  EVPORT_EMIGRATION_NS,
  EVPORT_EMIGRATIONS,
  EVPORT_FORWARD_ENQUEUED,
  EVPORT_IMMIGRATIONS,
  EVPORT_LAST_BACKGROUND,
  EVPORT_LOAD,
  EVPORT_NEW_ENQUEUED,
  EVPORT_PENDING,
  EVPORT_QUEUE_DEQUEUED,
  EVPORT_QUEUE_ENQUEUED,
  EVPORT_RELEASE_ENQUEUED,
  EVPORT_TOTAL_BUSY_NS,
  LOAD_MAX,
} from './layout.ts';

type Read = () => number;

/** The statistics of a device by name: those of DPDK's drivers/event/dsw/dsw_xstats.c, and what was dropped, and drained from ordered queues. */
export class EventXstats {
  readonly #arena: Arena;
  readonly #device: number;
  readonly #reads = new Map<string, Read>();

  constructor(arena: Arena, device: number) {
    this.#arena = arena;
    this.#device = device;
    this.#reads.set('dev_credits_on_loan', () => Atomics.load(arena.u32, (device + EVDEV_ON_LOAN) >>> 2));
    for (const [id, block] of this.#blocks().entries()) this.#addPort(`port_${id}`, block);
  }

  #blocks(): number[] {
    const { u32 } = this.#arena;
    const first = (this.#device + EVDEV_BLOCKS) >>> 2;
    return Array.from({ length: u32[(this.#device + EVDEV_PORTS) >>> 2] ?? 0 }, (_, id) => u32[first + id] ?? 0);
  }

  #addPort(name: string, block: number): void {
    const { u32 } = this.#arena;
    const queues = u32[(this.#device + EVDEV_QUEUES) >>> 2] ?? 0;
    const word = (offset: number): number => u32[(block + offset) >>> 2] ?? 0;
    const long = (offset: number): number => word(offset) + word(offset + 4) * 2 ** 32;
    const mean = (sum: number, n: number): number => (n === 0 ? 0 : Math.floor(long(sum) / n));
    const add = (statistic: string, read: Read): void => {
      this.#reads.set(`${name}_${statistic}`, read);
    };
    add('new_enqueued', () => long(EVPORT_NEW_ENQUEUED));
    add('forward_enqueued', () => long(EVPORT_FORWARD_ENQUEUED));
    add('release_enqueued', () => long(EVPORT_RELEASE_ENQUEUED));
    for (let q = 0; q < queues; q++) add(`queue_${q}_enqueued`, () => long(EVPORT_QUEUE_ENQUEUED + q * 8));
    add('dequeued', () => long(EVPORT_DEQUEUED));
    for (let q = 0; q < queues; q++) add(`queue_${q}_dequeued`, () => long(EVPORT_QUEUE_DEQUEUED + q * 8));
    add('emigrations', () => long(EVPORT_EMIGRATIONS));
    add('migration_latency', () => mean(EVPORT_EMIGRATION_NS, long(EVPORT_EMIGRATIONS)));
    add('immigrations', () => long(EVPORT_IMMIGRATIONS));
    add('event_proc_latency', () => mean(EVPORT_TOTAL_BUSY_NS, long(EVPORT_DEQUEUED)));
    add('busy_cycles', () => long(EVPORT_TOTAL_BUSY_NS));
    add('inflight_credits', () => word(EVPORT_CREDITS));
    add('pending_releases', () => word(EVPORT_PENDING));
    add('load', () => Math.floor((word(EVPORT_LOAD) * 100) / LOAD_MAX));
    add('last_bg', () => long(EVPORT_LAST_BACKGROUND));
    add('dropped', () => long(EVPORT_DROPPED));
    if ((u32[(this.#device + EVDEV_ORDERED) >>> 2] ?? 0) > 0) add('drained', () => long(EVPORT_DRAINED));
  }

  /** All names, in an order that stays. */
  names(): string[] {
    return [...this.#reads.keys()];
  }

  /**
   * One value: a count, credits, a load in percent, or nanoseconds (latencies, `busy_cycles`, and `last_bg` since the
   * device's epoch).
   * @throws RingwayError `NOT_FOUND` when there is no such name.
   */
  get(name: string): number {
    const read = this.#reads.get(name);
    if (read !== undefined) return read();
    const like = nearest(name, this.names());
    const hint = like === undefined ? '' : `; did you mean ${like}?`;
    throw new RingwayError('NOT_FOUND', `event device: no statistic ${JSON.stringify(name)}${hint}`);
  }

  /** All values by name. */
  all(): Record<string, number> {
    return Object.fromEntries([...this.#reads].map(([name, read]) => [name, read()]));
  }

  /** Sets all counters to 0; credits, pending releases and loads stay. While ports run, what they count meanwhile may stay too. */
  reset(): void {
    for (const block of this.#blocks()) {
      this.#arena.u32.fill(0, (block + EVPORT_NEW_ENQUEUED) >>> 2, (block + EVPORT_COUNTERS_END) >>> 2);
    }
  }
}
