import type { Arena } from '../memory/arena.ts';
import { SLOT_SHIFT } from '../memory/layout.ts';
import { MPSC_HEAD, MPSC_READABLE, MPSC_RUNS, MPSC_SIZE, MPSC_TAIL } from '../ring/layout.ts';
import { attachMpscRing } from '../ring/ring.ts';
import { RingwayError } from '../util/errors.ts';
import { Random } from '../util/random.ts';
import { capabilitiesOf, type EventCapabilities } from './capabilities.ts';
import {
  EVDEV_ALL_DIRECT,
  EVDEV_BELLS,
  EVDEV_BLOCKS,
  EVDEV_BYTES,
  EVDEV_CONTROLS,
  EVDEV_CREDITS,
  EVDEV_DIRECT,
  EVDEV_EPOCH,
  EVDEV_HASH_BITS,
  EVDEV_LANES,
  EVDEV_LEVELS,
  EVDEV_ON_LOAN,
  EVDEV_ONES,
  EVDEV_ORDERED,
  EVDEV_ORDERED_RINGS,
  EVDEV_PORTS,
  EVDEV_QUEUE_ENTRIES,
  EVDEV_QUEUES,
  EVDEV_RINGS,
  EVDEV_RUNNING,
  EVDEV_STRATEGY,
  EVDEV_TABLES,
  EVENT_OP_SHIFT,
  EVOUTPUT_SHIFT,
  EVPORT_BELL,
  EVPORT_CLOCK_EVERY,
  EVPORT_CONTROL,
  EVPORT_CREDITS,
  EVPORT_DEQUEUE_DEPTH,
  EVPORT_DEVICE,
  EVPORT_ENQUEUE_DEPTH,
  EVPORT_HELD,
  EVPORT_HELD_MASK,
  EVPORT_ID,
  EVPORT_IMPLICIT_RELEASE,
  EVPORT_LAST_BACKGROUND,
  EVPORT_LOAD,
  EVPORT_LOCAL_LANE,
  EVPORT_LOCAL_LIMIT,
  EVPORT_LOCAL_START,
  EVPORT_LOCAL_TAIL,
  EVPORT_MOVING_FLOWS,
  EVPORT_NEW_ENQUEUED,
  EVPORT_OUTPUT_ENDS,
  EVPORT_OUTPUTS,
  EVPORT_PAUSED,
  EVPORT_PAUSED_EVENTS,
  EVPORT_RANDOM,
  EVPORT_RING,
  EVPORT_ROUND_LOCAL,
  EVPORT_STASH,
  EVPORT_STASHED,
  EVPORT_TAIL,
  EVPORT_THRESHOLD,
  EVQUEUE_LANE,
  EVQUEUE_SCHEDULE,
  EVQUEUE_SHIFT,
  LANES_MAX,
  OP_FORWARD,
  OP_NEW,
  QUEUES_MAX,
  SCHEDULE_ATOMIC,
  SCHEDULE_ORDERED,
  SCHEDULE_PARALLEL,
  SCHEDULE_SINGLE_LINK,
  STRATEGY_FLOW_GROUP,
  STRATEGY_SINGLE_FLOW,
} from './layout.ts';
import { EventLinks } from './links.ts';
import {
  type CheckedOptions,
  checkOptions,
  type EventDeviceOptions,
  type EventPortOptions,
  type EventQueueOptions,
  type Migration,
  PRIORITY_DEFAULT,
  type Schedule,
} from './options.ts';
import { type OrderedStatus, orderedEvents, orderedStatus, resetOrdered } from './ordered.ts';
import { type Sizes, sizesOf } from './sizes.ts';
import { type MigrationStatus, migrationsOf, type UnattendedPort, unattendedPorts } from './status.ts';
import { EventXstats } from './xstats.ts';

const SCHEDULE_WORDS = {
  atomic: SCHEDULE_ATOMIC,
  parallel: SCHEDULE_PARALLEL,
  'single-link': SCHEDULE_SINGLE_LINK,
  ordered: SCHEDULE_ORDERED,
} as const;
const STRATEGY_WORDS = { 'flow-group': STRATEGY_FLOW_GROUP, 'single-flow': STRATEGY_SINGLE_FLOW } as const;
/** True when an event's place follows from its flow. */
const isDirect = (schedule: Schedule): boolean => SCHEDULE_WORDS[schedule] < SCHEDULE_PARALLEL;

/** An event device: queues, and ports that serve them. Made with `createEventDevice`; only its thread configures it. */
export class EventDevice {
  readonly #arena: Arena;
  readonly #options: CheckedOptions;
  readonly #sizes: Sizes;
  readonly #links: EventLinks;
  /** Address of the device's words. */
  readonly address: number;
  /** Statistics by name. */
  readonly xstats: EventXstats;

  constructor(arena: Arena, options: CheckedOptions) {
    const { name, ports } = options;
    this.#arena = arena;
    this.#options = options;
    this.#sizes = sizesOf(options);
    this.address = arena.allocate(name, EVDEV_BYTES);
    try {
      this.#write(EVDEV_TABLES, arena.allocate(`${name} tables`, this.#sizes.tableBytes));
      this.#write(
        EVDEV_BLOCKS,
        arena.allocate(`${name} ports`, this.#sizes.portBytes * ports.length, 1 << EVOUTPUT_SHIFT),
      );
      if (this.#sizes.orderedBytes > 0) this.#writeOrdered(arena.allocate(`${name} ordered`, this.#sizes.orderedBytes));
    } catch (error) {
      this.#releaseRegions();
      throw error;
    }
    this.#writeDevice();
    for (const [id, port] of ports.entries()) this.#writePort(id, port);
    this.#links = new EventLinks(arena, this.address, options);
    this.xstats = new EventXstats(arena, this.address);
  }

  /** Number of ports. */
  get ports(): number {
    return this.#options.ports.length;
  }

  /** Number of queues. */
  get queues(): number {
    return this.#options.queues.length;
  }

  /** Credits in all: events that may be in the device at once. */
  get credits(): number {
    return this.#sizes.credits;
  }

  /** Credits on loan above which a port refuses new events, unless its own threshold is lower. */
  get newEventsLimit(): number {
    return this.#options.newEventsLimit;
  }

  /** How busy ports choose what to move. */
  get migration(): Migration {
    return this.#options.migration;
  }

  /** Bits that flow ids are folded to. */
  get flowHashBits(): 13 | 15 {
    return this.#options.flowHashBits;
  }

  /** What this device can do. */
  get capabilities(): EventCapabilities {
    return capabilitiesOf(this.#arena, this.#options);
  }

  /** True between `start` and `stop`. */
  get running(): boolean {
    return this.#read(EVDEV_RUNNING) === 1;
  }

  /** What port `id` is made of, defaults filled in. @throws RingwayError `BAD_ARGUMENT` when there is no such port. */
  portOptions(id: number): Required<EventPortOptions> {
    this.#checkIndex('port', id, this.ports);
    return this.#options.ports[id] as Required<EventPortOptions>;
  }

  /** What queue `id` is made of, defaults filled in. @throws RingwayError `BAD_ARGUMENT` when there is no such queue. */
  queueOptions(id: number): Required<EventQueueOptions> {
    this.#checkIndex('queue', id, this.queues);
    return this.#options.queues[id] as Required<EventQueueOptions>;
  }

  /** The queues that `port` is linked to, in ascending order. */
  queuesOf(port: number): number[] {
    this.#checkIndex('port', port, this.ports);
    return this.#options.queues.flatMap((_, queue) => (this.#links.of(queue).includes(port) ? [queue] : []));
  }

  /** The ports linked to `queue`, in ascending order. */
  links(queue: number): number[] {
    this.#checkIndex('queue', queue, this.queues);
    return this.#links.of(queue);
  }

  /**
   * Lets `port` serve `queue`; once is enough. While the device runs, flows may move to it from then on.
   * @throws RingwayError `BAD_ARGUMENT` when there is no such port or queue, or a single-link queue has its port already;
   *   `BUSY` for a single-link queue after `start`.
   */
  link(port: number, queue: number): void {
    this.#checkIndex('port', port, this.ports);
    this.#checkIndex('queue', queue, this.queues);
    this.#links.link(port, queue);
  }

  /**
   * Undoes `link`, at once, and returns false when `port` was not linked to `queue`. While the device runs, the port then
   * moves the flows of the queue that it owns to the others: `unsettledFlows` says how many are left. Events of a parallel
   * queue that are on their way to it by then are still its own.
   * @throws RingwayError as `link`; `BUSY` for the last port of a queue after `start`.
   */
  unlink(port: number, queue: number): boolean {
    this.#checkIndex('port', port, this.ports);
    this.#checkIndex('queue', queue, this.queues);
    return this.#links.unlink(port, queue);
  }

  /**
   * Flows that ports still own, or are moving, of queues that were taken from them while the device runs. With 0 all
   * changes of links are done: events of atomic queues come to linked ports alone. A queue of which one port is left gets
   * its fast path back by this call.
   */
  unsettledFlows(): number {
    return this.#links.unsettled();
  }

  /**
   * Gives each flow an owner, and lets ports be attached.
   * @throws RingwayError `BUSY` when it is started, `BAD_ARGUMENT` when a queue has no port.
   */
  start(): void {
    if (this.running) throw this.#error('BUSY', 'it is started already');
    const bare = this.#options.queues.findIndex((_, queue) => this.#links.of(queue).length === 0);
    if (bare >= 0) throw this.#error('BAD_ARGUMENT', `queue ${bare} has no port; link one to it`);
    const random = new Random(this.#options.seed);
    for (let queue = 0; queue < this.queues; queue++) this.#writeQueue(queue, random);
    this.#writeDirect();
    for (let id = 0; id < this.ports; id++) this.#resetPort(id, random);
    for (const ring of this.#orderedRings()) resetOrdered(this.#arena, ring, this.#sizes.places);
    Atomics.store(this.#arena.u32, (this.address + EVDEV_ON_LOAN) >>> 2, 0);
    Atomics.store(this.#arena.u32, (this.address + EVDEV_RUNNING) >>> 2, 1);
  }

  /**
   * Stops the device: nobody may use its ports any more. Hands out every event that is in it, wherever it waits.
   * @param flush is called with the address of each event's slot, which is valid until it returns.
   * @throws RingwayError `BUSY` when it is not started.
   */
  stop(flush?: (slot: number) => void): void {
    if (!this.running) throw this.#error('BUSY', 'it is not started');
    Atomics.store(this.#arena.u32, (this.address + EVDEV_RUNNING) >>> 2, 0);
    for (let id = 0; id < this.ports; id++) {
      for (const slot of this.#waiting(id)) flush?.(slot);
    }
    for (const ring of this.#orderedRings()) for (const slot of orderedEvents(this.#arena, ring)) flush?.(slot);
  }

  /** Gives its regions back to the arena. @throws RingwayError `BUSY` when it is started. */
  close(): void {
    if (this.running) throw this.#error('BUSY', 'it is started; call stop() first');
    this.#releaseRegions();
  }

  /**
   * Ports that some thread attached to and that have not run their background for `overMs` ms (1,000 by default), the
   * longest first. They hold back events, and whatever moves flows waits for them. Not those whose thread sleeps on the
   * port: it wakes when it is wanted. None when the device is not started.
   */
  unattended(overMs = 1000): UnattendedPort[] {
    return this.running ? unattendedPorts(this.#arena, this.address, overMs) : [];
  }

  /** Ports that are moving flows at the moment, and who each waits for. None when the device is not started. */
  migrations(): MigrationStatus[] {
    return this.running ? migrationsOf(this.#arena, this.address) : [];
  }

  /** How each ordered queue stands, and which port it waits for. None when the device is not started. */
  orderedQueues(): OrderedStatus[] {
    return this.running ? orderedStatus(this.#arena, this.address) : [];
  }

  /** Address of port `id`, for `attachEventPort`. @throws RingwayError `BAD_ARGUMENT` when there is no such port. */
  portAddress(id: number): number {
    this.#checkIndex('port', id, this.ports);
    return this.#read(EVDEV_BLOCKS + id * 4);
  }

  /** Slots of every event that waits in port `id`: stashed, in its FIFO, in its ring, paused, in its output buffers; each place in order. */
  *#waiting(id: number): Generator<number> {
    const { u32 } = this.#arena;
    const block = this.portAddress(id);
    const word = (offset: number): number => u32[(block + offset) >>> 2] ?? 0;
    const run = function* (first: number, count: number): Generator<number> {
      for (let i = 0; i < count; i++) yield first + (i << SLOT_SHIFT);
    };
    yield* run(word(EVPORT_STASH), word(EVPORT_STASHED));
    const own = word(EVPORT_LOCAL_LANE);
    if (own < this.#sizes.lanes) {
      const limit = word(EVPORT_LOCAL_LIMIT);
      const end = word(EVPORT_OUTPUT_ENDS + own * 4);
      for (let slot = word(EVPORT_LOCAL_TAIL); slot !== end; ) {
        yield slot;
        slot += 1 << SLOT_SHIFT;
        if (slot === limit) slot = word(EVPORT_LOCAL_START);
      }
    }
    for (const level of this.#options.levels.keys()) {
      const address = word(EVPORT_RING + level * 4);
      Atomics.store(u32, (address + MPSC_TAIL) >>> 2, word(EVPORT_TAIL + level * 4));
      const ring = attachMpscRing(this.#arena, address);
      // The end of the stash is free when nothing is stashed: takes one event at a time.
      while (ring.pop(word(EVPORT_STASH), 1) === 1) yield word(EVPORT_STASH);
    }
    yield* run(word(EVPORT_PAUSED), word(EVPORT_PAUSED_EVENTS));
    for (let to = 0; to < this.#sizes.lanes; to++) {
      if (to === own) continue;
      const output = block + EVPORT_OUTPUTS + (to << EVOUTPUT_SHIFT);
      yield* run(output, (word(EVPORT_OUTPUT_ENDS + to * 4) - output) >>> SLOT_SHIFT);
    }
  }

  /** Where the rings of ordered queues lie from `region` on, and behind them those of what ports hold. */
  #writeOrdered(region: number): void {
    const { orderedRingBytes, heldBytes } = this.#sizes;
    let at = region;
    for (const [queue, { schedule }] of this.#options.queues.entries()) {
      if (schedule !== 'ordered') continue;
      this.#write(EVDEV_ORDERED_RINGS + queue * 4, at);
      this.#write(EVDEV_ORDERED, this.#read(EVDEV_ORDERED) + 1);
      at += orderedRingBytes;
    }
    for (let id = 0; id < this.ports; id++) {
      const block = this.#read(EVDEV_BLOCKS) + id * this.#sizes.portBytes;
      this.#arena.u32[(block + EVPORT_HELD) >>> 2] = at + id * heldBytes;
    }
  }

  #orderedRings(): number[] {
    return this.#options.queues
      .map((_, queue) => this.#read(EVDEV_ORDERED_RINGS + queue * 4))
      .filter((ring) => ring > 0);
  }

  #writeDevice(): void {
    const { ports, queues, flowHashBits, migration } = this.#options;
    this.#write(EVDEV_STRATEGY, STRATEGY_WORDS[migration]);
    this.#write(EVDEV_PORTS, ports.length);
    this.#write(EVDEV_LEVELS, this.#options.levels.length);
    this.#write(EVDEV_LANES, this.#sizes.lanes);
    this.#write(EVDEV_QUEUES, queues.length);
    this.#write(EVDEV_HASH_BITS, flowHashBits);
    this.#write(EVDEV_CREDITS, this.#sizes.credits);
    for (let queue = 0; queue < QUEUES_MAX; queue++) {
      this.#arena.u8[this.address + EVDEV_ONES + queue * 16 + queue] = 1;
    }
    this.#write(EVDEV_EPOCH, Math.floor((performance.timeOrigin + performance.now()) / 1000));
  }

  #writePort(id: number, options: Required<EventPortOptions>): void {
    const { paused, stash, rings, control, ringSlots, controlSlots, portBytes } = this.#sizes;
    const block = this.#read(EVDEV_BLOCKS) + id * portBytes;
    const { u32 } = this.#arena;
    const write = (offset: number, value: number): void => {
      u32[(block + offset) >>> 2] = value;
    };
    write(EVPORT_DEVICE, this.address);
    write(EVPORT_ID, id);
    write(EVPORT_CONTROL, block + control);
    write(EVPORT_PAUSED, block + paused);
    write(EVPORT_STASH, block + stash);
    write(EVPORT_IMPLICIT_RELEASE, options.implicitRelease ? 1 : 0);
    write(EVPORT_THRESHOLD, options.newEventThreshold);
    write(EVPORT_ENQUEUE_DEPTH, options.enqueueDepth);
    write(EVPORT_DEQUEUE_DEPTH, options.dequeueDepth);
    for (const [level, ring] of rings.entries()) {
      write(EVPORT_RING + level * 4, block + ring);
      write(ring + MPSC_SIZE, ringSlots);
      const lane = (level * this.ports + id) * 4;
      this.#write(EVDEV_RINGS + lane, block + ring);
      this.#write(EVDEV_BELLS + lane, block + EVPORT_BELL);
    }
    write(control + MPSC_SIZE, controlSlots);
    this.#write(EVDEV_BLOCKS + id * 4, block);
    this.#write(EVDEV_CONTROLS + id * 4, block + control);
  }

  /** Random owners among the ports that serve the queue. */
  #writeQueue(queue: number, random: Random): void {
    const { queues, flowHashBits } = this.#options;
    const linked = this.links(queue);
    const entry = EVDEV_QUEUE_ENTRIES + (queue << EVQUEUE_SHIFT);
    this.#write(entry + EVQUEUE_SCHEDULE, SCHEDULE_WORDS[queues[queue]?.schedule ?? 'atomic']);
    // An ordered queue has no level, and no use for one.
    const level = Math.max(0, this.#options.levels.indexOf(queues[queue]?.priority ?? PRIORITY_DEFAULT));
    this.#write(entry + EVQUEUE_LANE, level * this.ports);
    this.#links.write(queue);
    const table = this.#read(EVDEV_TABLES) + (queue << flowHashBits);
    for (let flow = 0; flow < 1 << flowHashBits; flow++) {
      this.#arena.u8[table + flow] = level * this.ports + (linked[random.below(linked.length)] as number);
    }
  }

  /** New and forwarded events of queues that keep a flow together need nothing but the table. */
  #writeDirect(): void {
    const words = [0, 0];
    for (const [queue, { schedule }] of this.#options.queues.entries()) {
      for (const op of isDirect(schedule) ? [OP_NEW, OP_FORWARD] : []) {
        const bit = queue | (op << EVENT_OP_SHIFT);
        words[bit >>> 5] = ((words[bit >>> 5] ?? 0) | (1 << (bit & 31))) >>> 0;
      }
    }
    this.#arena.u32.set(words, (this.address + EVDEV_DIRECT) >>> 2);
    this.#write(EVDEV_ALL_DIRECT, this.#options.queues.every(({ schedule }) => isDirect(schedule)) ? 1 : 0);
  }

  /** What a run of the device leaves in a port's words: everything but the statistics. */
  #resetPort(id: number, random: Random): void {
    const { u32 } = this.#arena;
    const block = this.portAddress(id);
    const { rings, control, ringSlots, controlSlots, lanes } = this.#sizes;
    const clear = (from: number, to: number): void => {
      u32.fill(0, (block + from) >>> 2, (block + to) >>> 2);
    };
    const kept = [EVPORT_IMPLICIT_RELEASE, EVPORT_THRESHOLD, EVPORT_ENQUEUE_DEPTH, EVPORT_DEQUEUE_DEPTH, EVPORT_HELD];
    const values = [...kept, EVPORT_PAUSED, EVPORT_STASH, ...rings.map((_, level) => EVPORT_RING + level * 4)].map(
      (offset) => [offset, u32[(block + offset) >>> 2] ?? 0],
    );
    clear(EVPORT_CREDITS, EVPORT_LOAD);
    values.push([EVPORT_HELD_MASK, this.#sizes.places - 1]);
    for (const [offset = 0, value = 0] of values) u32[(block + offset) >>> 2] = value;
    clear(EVPORT_LOAD, EVPORT_NEW_ENQUEUED);
    clear(EVPORT_LAST_BACKGROUND, EVPORT_MOVING_FLOWS);
    for (let to = 0; to < lanes; to++) {
      u32[(block + EVPORT_OUTPUT_ENDS + to * 4) >>> 2] = block + EVPORT_OUTPUTS + (to << EVOUTPUT_SHIFT);
    }
    this.#resetLocal(id, block);
    for (const at of [...rings, control]) {
      const slots = at === control ? controlSlots : ringSlots;
      clear(at + MPSC_HEAD, at + MPSC_SIZE);
      clear(at + MPSC_TAIL, at + MPSC_READABLE + 4);
      clear(at + MPSC_RUNS, at + MPSC_RUNS + slots * 4);
    }
    u32[(block + EVPORT_RANDOM) >>> 2] = random.next() | 1;
    u32[(block + EVPORT_CLOCK_EVERY) >>> 2] = 1;
  }

  /** Empties a port's FIFO of what it sends to itself, if the device has them. */
  #resetLocal(id: number, block: number): void {
    const { u32 } = this.#arena;
    const { local, localBytes } = this.#sizes;
    u32[(block + EVPORT_LOCAL_LANE) >>> 2] = localBytes > 0 ? id : LANES_MAX;
    if (localBytes === 0) return;
    const start = block + local;
    for (const offset of [EVPORT_LOCAL_START, EVPORT_LOCAL_TAIL, EVPORT_ROUND_LOCAL, EVPORT_OUTPUT_ENDS + id * 4]) {
      u32[(block + offset) >>> 2] = start;
    }
    u32[(block + EVPORT_LOCAL_LIMIT) >>> 2] = start + localBytes;
  }

  #checkIndex(what: string, index: number, count: number): void {
    if (Number.isInteger(index) && index >= 0 && index < count) return;
    throw this.#error('BAD_ARGUMENT', `${what} ${index}, must be a whole number from 0 to ${count - 1}`);
  }

  #error(code: 'BAD_ARGUMENT' | 'BUSY', text: string): RingwayError {
    return new RingwayError(code, `event device ${this.#options.name}: ${text}`);
  }

  #releaseRegions(): void {
    const names = new Set(this.#arena.regions().map((region) => region.name));
    for (const suffix of ['', ' tables', ' ports', ' ordered']) {
      const name = this.#options.name + suffix;
      if (names.has(name)) this.#arena.release(name);
    }
  }

  #read(offset: number): number {
    return this.#arena.u32[(this.address + offset) >>> 2] ?? 0;
  }

  #write(offset: number, value: number): void {
    this.#arena.u32[(this.address + offset) >>> 2] = value;
  }
}

/**
 * Makes an event device. Link ports to its queues, start it, and attach to its ports from the threads that use them.
 * @throws RingwayError `BAD_ARGUMENT` naming the field, `ARENA_FULL` when it does not fit.
 */
export function createEventDevice(arena: Arena, options: EventDeviceOptions): EventDevice {
  return new EventDevice(arena, checkOptions(options));
}
