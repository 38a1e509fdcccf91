import { createEventDevice, EVENT_OP, type EventDevice, type EventKernels, writeEvent } from 'ringway/eventdev';
import type { Arena } from 'ringway/memory';
import * as layout from '#build/eventdev/layout.js';
import { MPSC_HEAD, MPSC_SIZE, MPSC_TAIL } from '#build/ring/layout.js';
import { type Actor, IDLE, type Scenario, Simulation, type World } from '#build/sim/index.js';
import { testArena } from './arena.ts';
import { readTestEvent, type TestEvent } from './event-bench.ts';

/** The two stages that every event passes. */
const STAGES = 2;
/** A queue behind these, for events that are there to stand in the way. */
const OBSTACLES = STAGES;
const FLOWS = 6;
const BURST = 4;
/** Events that an application holds when it dequeues no more. */
const HOLDS_MAX = 12;
/** Virtual time runs faster for the ports than for the scheduler, so that their periods end within a schedule. */
const TIME_FACTOR = 2000;

interface SimKernels extends EventKernels {
  eventdevBeginMigration(port: number): void;
  eventdevFlowHash(flow: number, bits: number): number;
  eventdevHeld(port: number, slots: number, n: number): number;
  ringMpscPushTake(ring: number, head: number, n: number): number;
  ringMpscPushWrite(ring: number, size: number, index: number, source: number, n: number): void;
  ringMpscPushPublish(ring: number, size: number, index: number, n: number): void;
}

/** What the events of one schedule went through. */
interface Ledger {
  /** Next number of each flow, at its source and at each stage. */
  sent: number[];
  next: number[][];
  /** The port whose application holds an event of the flow, by stage; -1 when none does. */
  holder: number[][];
  /** Events in the device or held: each has a credit. */
  live: number;
  finished: number;
  migrations: number;
  /** Ports of each stage that were unlinked and have settled: no event of it may come to them. */
  closed: Set<number>[];
}

/** Faults of the order in which links change that a scenario may have. */
export type LinkFault = 'fast path stays' | 'fast path too early';

export interface EventScenarioOptions {
  readonly ports: number;
  /** Events of each flow. */
  readonly events: number;
  readonly arena?: Arena;
  /** Links of all ports but the first come and go. */
  readonly links?: boolean;
  readonly fault?: LinkFault;
  /** Each stage has another priority. */
  readonly priorities?: boolean;
  /** Ports move flows of their own accord; true by default. */
  readonly moves?: boolean;
  /** Applications dequeue more while they hold events, finish flows in any order, and say what they hold. */
  readonly holds?: boolean;
  /** A sender stands still now and then, with a place in a ring that it has claimed and not written. */
  readonly stalls?: boolean;
}

/** One port's application, and the thread it runs in. */
class PortActor {
  readonly #bench: EventSimulation;
  readonly #world: World;
  readonly #ledger: Ledger;
  readonly #id: number;
  readonly #port: number;
  readonly #slots: number;
  #held: TestEvent[] = [];

  constructor(bench: EventSimulation, world: World, ledger: Ledger, id: number) {
    this.#bench = bench;
    this.#world = world;
    this.#ledger = ledger;
    this.#id = id;
    this.#port = bench.device.portAddress(id);
    this.#slots = bench.slots + id * 64 * 16;
  }

  /** One kernel call; the time is told when it asks. */
  #call(kernel: () => number): number {
    const { u32 } = this.#bench.arena;
    for (let n = kernel(); ; n = kernel()) {
      if (n !== layout.NEEDS_TIME) return n;
      u32[(this.#port + layout.EVPORT_NOW) >>> 2] = this.#world.now * TIME_FACTOR;
      u32[(this.#port + layout.EVPORT_TIMED) >>> 2] = 1;
    }
  }

  #write(events: readonly TestEvent[]): void {
    const { arena } = this.#bench;
    for (const [i, event] of events.entries()) {
      arena.u32[(this.#slots + i * 16) >>> 2] = event.id ?? 0;
      writeEvent(arena, this.#slots + i * 16, event);
    }
  }

  #enqueue(events: readonly TestEvent[]): number {
    const { kernels } = this.#bench;
    this.#write(events);
    return this.#call(() =>
      events.length === 1
        ? kernels.eventdevEnqueueOne(this.#port, this.#slots)
        : kernels.eventdevEnqueue(this.#port, this.#slots, events.length),
    );
  }

  /** The application is done with some events it holds. */
  #finish(done: readonly TestEvent[]): void {
    this.#held = this.#held.filter((event) => !done.includes(event));
    for (const { queue, flow } of done) {
      const [stage = []] = [this.#ledger.holder[queue]];
      if (!this.#held.some((event) => event.queue === queue && event.flow === flow)) stage[flow] = -1;
    }
  }

  #dequeue(): number {
    const { arena, kernels } = this.#bench;
    const { holder, next } = this.#ledger;
    const max = 1 + this.#world.random.below(BURST);
    const n = this.#call(() => {
      if (this.#bench.options.priorities) return kernels.eventdevDequeueLevels(this.#port, this.#slots, max);
      return max === 1
        ? kernels.eventdevDequeueOne(this.#port, this.#slots)
        : kernels.eventdevDequeue(this.#port, this.#slots, max);
    });
    for (let i = 0; i < n; i++) {
      const event = readTestEvent(arena, this.#slots + i * 16);
      const { queue, flow, id } = event;
      this.#held.push(event);
      if (queue === OBSTACLES) continue;
      if (this.#ledger.closed[queue]?.has(this.#id))
        throw new Error(`queue ${queue} came to port ${this.#id}, unlinked`);
      const its = holder[queue]?.[flow] ?? -1;
      if (its >= 0 && its !== this.#id)
        throw new Error(`flow ${flow} of queue ${queue} is at ports ${its} and ${this.#id}`);
      const expected = next[queue]?.[flow];
      if (id !== expected) throw new Error(`event ${id} of flow ${flow}, queue ${queue}, came instead of ${expected}`);
      (holder[queue] as number[])[flow] = this.#id;
      (next[queue] as number[])[flow] = id + 1;
    }
    return n;
  }

  /** What the application finishes next: the first events it holds, or the first of any flow. */
  #done(): TestEvent[] {
    const n = this.#world.random.below(this.#held.length);
    if (this.#bench.options.holds !== true) return this.#held.slice(0, 1 + n);
    const { queue, flow } = this.#held[n] as TestEvent;
    return this.#held.filter((event) => event.queue === queue && event.flow === flow).slice(0, 1);
  }

  /** Says what the application holds, when the port waits for that. */
  #say(): boolean {
    const { kernels } = this.#bench;
    this.#write(this.#held);
    if (kernels.eventdevHeld(this.#port, this.#slots, this.#held.length) === 0) return false;
    this.#bench.said++;
    return true;
  }

  /** Sends the events it has finished to the next stage, or ends them. */
  #pass(): void {
    const done = this.#done();
    const n = done.length;
    const events = done.map((event) => ({
      ...event,
      queue: Math.min(event.queue + 1, STAGES - 1),
      op: event.queue >= STAGES - 1 ? EVENT_OP.RELEASE : EVENT_OP.FORWARD,
    }));
    this.#finish(done);
    if (this.#enqueue(events) !== n) throw new Error(`forwards were refused`);
    const released = events.filter(({ op }) => op === EVENT_OP.RELEASE).length;
    this.#ledger.live -= released;
    this.#ledger.finished += done.filter(({ queue }) => queue === STAGES - 1).length;
  }

  /** New events of the flows whose source this port is. Returns how many. */
  #produce(): number {
    const { options } = this.#bench;
    const { sent } = this.#ledger;
    const events: TestEvent[] = [];
    for (let flow = this.#id; flow < FLOWS; flow += options.ports) {
      for (let k = this.#world.random.below(3); k > 0 && (sent[flow] ?? 0) < options.events; k--) {
        events.push({ queue: 0, flow, op: EVENT_OP.NEW, id: sent[flow] as number });
        sent[flow] = (sent[flow] as number) + 1;
      }
    }
    if (events.length === 0) return 0;
    const n = this.#enqueue(events);
    if (n === 0) for (const { flow } of events) sent[flow] = (sent[flow] as number) - 1;
    this.#ledger.live += n;
    return n;
  }

  /** Begins to move some flows that the port owns, to anywhere. */
  #migrate(): boolean {
    const { arena, kernels, options } = this.#bench;
    const { u32 } = arena;
    const word = (offset: number): number => (this.#port + offset) >>> 2;
    if (u32[word(layout.EVPORT_STATE)] !== layout.MIGRATION_IDLE || u32[word(layout.EVPORT_PAUSED_EVENTS)] !== 0)
      return false;
    let n = 0;
    for (let queue = 0; queue < STAGES; queue++) {
      for (let flow = 0; flow < FLOWS; flow++) {
        if (this.#bench.owner(queue, flow) !== this.#id || this.#world.random.below(2) === 0 || n === 8) continue;
        const to = (this.#id + 1 + this.#world.random.below(options.ports - 1)) % options.ports;
        u32[word(layout.EVPORT_MOVING_FLOWS) + n] =
          (queue << layout.FLOW_QUEUE_SHIFT) | (this.#bench.hashes[flow] as number);
        u32[word(layout.EVPORT_MOVING_TARGETS) + n] = to;
        n++;
      }
    }
    if (n === 0) return false;
    u32[word(layout.EVPORT_MOVING_COUNT)] = n;
    kernels.eventdevBeginMigration(this.#port);
    this.#ledger.migrations++;
    return true;
  }

  *run(): Actor {
    const { random } = this.#world;
    const { kernels } = this.#bench;
    while (!this.#bench.over(this.#ledger)) {
      const choice = random.below(10);
      if (this.#bench.options.holds === true && random.below(2) === 0) {
        if (random.below(4) === 0 && this.#say()) yield 'says what it holds';
        else if (this.#held.length < HOLDS_MAX) yield this.#dequeue() > 0 ? 'dequeues' : IDLE;
        else yield IDLE;
      } else if (this.#held.length > 0 && choice < 5) {
        this.#pass();
        yield 'passes on';
      } else if (this.#held.length === 0 && choice < 6) {
        yield this.#dequeue() > 0 ? 'dequeues' : IDLE;
      } else if (choice === 6) {
        yield this.#produce() > 0 ? 'produces' : IDLE;
      } else if (choice === 7 && this.#bench.options.moves !== false && this.#ledger.finished < this.#bench.total) {
        yield this.#migrate() ? 'begins to move flows' : IDLE;
      } else if (choice === 8) {
        this.#call(() => kernels.eventdevEnqueue(this.#port, this.#slots, 0));
        yield 'flushes';
      } else if (random.below(8) === 0) {
        yield 10 * (1 + random.below(200));
      } else {
        this.#call(() => kernels.eventdevMaintain(this.#port));
        yield 'maintains';
      }
    }
  }
}

/** Links and unlinks ports while events pass, and waits for flows to settle now and then. */
class LinkActor {
  readonly #bench: EventSimulation;
  readonly #world: World;
  readonly #ledger: Ledger;

  constructor(bench: EventSimulation, world: World, ledger: Ledger) {
    this.#bench = bench;
    this.#world = world;
    this.#ledger = ledger;
  }

  #change(): void {
    this.#bench.changes++;
    const { random } = this.#world;
    const { device, options } = this.#bench;
    const queue = random.below(STAGES);
    const port = 1 + random.below(options.ports - 1);
    const only = this.#bench.only(queue);
    if (device.unlink(port, queue)) {
      if (options.fault === 'fast path too early' && device.links(queue).length === 1) this.#bench.setOnly(queue, 1);
    } else {
      this.#ledger.closed[queue]?.delete(port);
      device.link(port, queue);
      if (options.fault === 'fast path stays') this.#bench.setOnly(queue, only);
    }
  }

  *run(): Actor {
    const { random } = this.#world;
    const { device, options } = this.#bench;
    while (this.#ledger.finished < this.#bench.total) {
      if (random.below(3) === 0) {
        this.#change();
        yield 'changes a link';
      } else if (device.unsettledFlows() === 0) {
        for (const [queue, closed] of this.#ledger.closed.entries()) {
          const linked = device.links(queue);
          for (let port = 0; port < options.ports; port++) if (!linked.includes(port)) closed.add(port);
        }
        yield 'sees all settled';
      }
      yield 10 * (1 + random.below(100));
    }
  }
}

/** A sender that loses its CPU between claiming a place in a port's ring and writing it. */
class StallActor {
  readonly #bench: EventSimulation;
  readonly #world: World;
  readonly #ledger: Ledger;

  constructor(bench: EventSimulation, world: World, ledger: Ledger) {
    this.#bench = bench;
    this.#world = world;
    this.#ledger = ledger;
  }

  *run(): Actor {
    const { arena, device, kernels, options, obstacle } = this.#bench;
    const { u32 } = arena;
    const loan = (device.address + layout.EVDEV_ON_LOAN) >>> 2;
    for (;;) {
      yield 10 * (1 + this.#world.random.below(100));
      if (this.#ledger.finished === this.#bench.total) return;
      if ((u32[loan] as number) >= device.credits) continue;
      u32[loan] = (u32[loan] as number) + 1;
      this.#ledger.live++;
      const port = device.portAddress(this.#world.random.below(options.ports));
      const ring = u32[(port + layout.EVPORT_RING) >>> 2] as number;
      const head = u32[(ring + MPSC_HEAD) >>> 2] as number;
      const size = u32[(ring + MPSC_SIZE) >>> 2] as number;
      kernels.ringMpscPushTake(ring, head, 1);
      yield 10 * (1 + this.#world.random.below(200));
      writeEvent(arena, obstacle, { queue: OBSTACLES, flow: 0, op: EVENT_OP.FORWARD });
      kernels.ringMpscPushWrite(ring, size, head, obstacle, 1);
      kernels.ringMpscPushPublish(ring, size, head, 1);
    }
  }
}

/** Two atomic stages over some ports, their flows moved all the time. */
export class EventSimulation {
  readonly arena: Arena;
  readonly device: EventDevice;
  readonly kernels: SimKernels;
  readonly slots: number;
  /** Slot of the event that a stalled sender sends. */
  readonly obstacle: number;
  readonly hashes: readonly number[];
  readonly options: EventScenarioOptions;
  readonly total: number;
  readonly simulation: Simulation;
  /** Migrations begun, and links changed, in all schedules. */
  migrations = 0;
  changes = 0;
  /** Times that applications said what they hold and a port waited for that. */
  said = 0;

  constructor(options: EventScenarioOptions) {
    const { ports, events, arena = testArena(), priorities = false, stalls = false } = options;
    this.options = options;
    this.arena = arena;
    this.total = FLOWS * events;
    this.kernels = arena.kernels<SimKernels>();
    this.device = createEventDevice(arena, {
      name: 'events',
      ports: new Array(ports).fill({ implicitRelease: false }),
      queues: Array.from({ length: stalls ? OBSTACLES + 1 : STAGES }, (_, stage) => ({
        schedule: 'atomic',
        priority: priorities ? stage : 0,
      })),
      newEventsLimit: 200,
    });
    this.slots = arena.allocate('slots', ports * 64 * 16);
    this.obstacle = arena.allocate('obstacle', 16);
    this.hashes = Array.from({ length: FLOWS }, (_, flow) => this.kernels.eventdevFlowHash(flow, 13));
    this.simulation = new Simulation({
      name: `events over ${ports} ports`,
      steps: this.total * 12,
      setup: (world) => this.#setup(world),
    });
  }

  owner(queue: number, flow: number): number {
    const tables = this.arena.u32[(this.device.address + layout.EVDEV_TABLES) >>> 2] as number;
    const lane = this.arena.u8[tables + (queue << 13) + (this.hashes[flow] as number)] as number;
    return lane - this.#lane(queue);
  }

  /** All events are through, and no port waits for another. */
  over({ finished, live }: Ledger): boolean {
    if (finished < this.total || live > 0) return false;
    for (let id = 0; id < this.options.ports; id++) {
      const block = this.device.portAddress(id);
      const control = this.#word(block + layout.EVPORT_CONTROL);
      if (this.#word(block + layout.EVPORT_STATE) !== layout.MIGRATION_IDLE) return false;
      if (this.#word(control + MPSC_HEAD) !== this.#word(control + MPSC_TAIL)) return false;
    }
    return true;
  }

  #word(address: number): number {
    return this.arena.u32[address >>> 2] as number;
  }

  /** The only port that senders take a queue to have, plus 1; 0 for none. */
  only(queue: number): number {
    return this.#word(this.#entry(queue) + layout.EVQUEUE_ONLY);
  }

  setOnly(queue: number, value: number): void {
    this.arena.u32[(this.#entry(queue) + layout.EVQUEUE_ONLY) >>> 2] = value;
  }

  /** The lane of port 0. */
  #lane(queue: number): number {
    return this.#word(this.#entry(queue) + layout.EVQUEUE_LANE);
  }

  #entry(queue: number): number {
    return this.device.address + layout.EVDEV_QUEUE_ENTRIES + (queue << layout.EVQUEUE_SHIFT);
  }

  /** Every port serves every stage; with changing links, the first one owns all flows that no event has. */
  #start(): void {
    const { ports, links = false } = this.options;
    if (this.device.running) this.device.stop();
    for (let queue = 0; queue < this.device.queues; queue++) {
      for (let port = 0; port < ports; port++) this.device.link(port, queue);
    }
    this.device.start();
    if (!links) return;
    const tables = this.#word(this.device.address + layout.EVDEV_TABLES);
    for (let queue = 0; queue < STAGES; queue++) {
      const owners = this.hashes.map((_, flow) => this.owner(queue, flow));
      this.arena.u8.fill(this.#lane(queue), tables + (queue << 13), tables + ((queue + 1) << 13));
      for (const [flow, hash] of this.hashes.entries()) {
        this.arena.u8[tables + (queue << 13) + hash] = this.#lane(queue) + (owners[flow] as number);
      }
    }
  }

  #setup(world: World): Scenario {
    const { ports, links = false, stalls = false } = this.options;
    this.#start();
    const per = <T>(make: () => T): T[] => Array.from({ length: FLOWS }, make);
    const ledger: Ledger = {
      sent: per(() => 0),
      next: Array.from({ length: STAGES }, () => per(() => 0)),
      holder: Array.from({ length: STAGES }, () => per(() => -1)),
      live: 0,
      finished: 0,
      migrations: 0,
      closed: Array.from({ length: STAGES }, () => new Set<number>()),
    };
    const actors: Record<string, Actor> = {};
    for (let id = 0; id < ports; id++) actors[`port ${id}`] = new PortActor(this, world, ledger, id).run();
    if (links) actors.links = new LinkActor(this, world, ledger).run();
    if (stalls) actors.sender = new StallActor(this, world, ledger).run();
    return { actors, invariant: () => this.#invariant(ledger), finish: () => this.#finish(ledger) };
  }

  #invariant({ live }: Ledger): void {
    let stock = 0;
    for (let id = 0; id < this.options.ports; id++)
      stock += this.#word(this.device.portAddress(id) + layout.EVPORT_CREDITS);
    const loan = this.#word(this.device.address + layout.EVDEV_ON_LOAN);
    if (loan !== stock + live) throw new Error(`${loan} credits on loan, ${stock} in stock and ${live} in events`);
  }

  #finish({ next, live, migrations }: Ledger): void {
    this.migrations += migrations;
    for (const stage of next) {
      for (const count of stage) if (count !== this.options.events) throw new Error(`${count} events came through`);
    }
    if (live !== 0) throw new Error(`${live} events are left`);
    for (let id = 0; id < this.options.ports; id++) {
      const block = this.device.portAddress(id);
      const left = [
        layout.EVPORT_PAUSED_COUNT,
        layout.EVPORT_PAUSED_EVENTS,
        layout.EVPORT_STASHED,
        layout.EVPORT_PENDING,
      ];
      if (left.some((offset) => this.#word(block + offset) !== 0)) throw new Error(`port ${id} holds something back`);
    }
    if (this.arena.damaged().length > 0) throw new Error('guard words were overwritten');
  }
}
