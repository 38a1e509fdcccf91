import { createEventDevice, EVENT_OP, type EventDevice, type EventKernels, writeEvent } from 'ringway/eventdev';
import type { Arena } from 'ringway/memory';
import * as layout from '#build/eventdev/layout.js';
import { MPSC_HEAD, MPSC_TAIL } from '#build/ring/layout.js';
import { type Actor, IDLE, type Scenario, Simulation, type World } from '#build/sim/index.js';
import { testArena } from './arena.ts';
import { readTestEvent, releasedPlaces, type TestEvent } from './event-bench.ts';

// Events go through a parallel, an ordered, an atomic and a single-link queue. They enter the ordered one in some order,
// and the atomic one sees each flow in that order, as does the last.

const PARALLEL = 0;
const ORDERED = 1;
const ATOMIC = 2;
const LAST = 3;
const BURST = 4;
/** Virtual time runs faster for the ports than for the scheduler, so that their periods end within a schedule. */
const TIME_FACTOR = 2000;

interface PipelineKernels extends EventKernels {
  eventdevBeginMigration(port: number): void;
  eventdevFlowHash(flow: number, bits: number): number;
}

/** Calls a kernel of one port's thread by name; a generator, for kernels that stop in the middle. */
export type CallKernel = (name: string, ...args: readonly number[]) => Generator<string, number, void>;

export interface PipelineOptions {
  readonly ports: number;
  readonly events: number;
  readonly flows: number;
  readonly arena?: Arena;
  /** How port `id` calls its kernels; at once by default. */
  readonly caller?: (arena: Arena, id: number) => CallKernel;
}

interface Ledger {
  sent: number;
  /** Numbers of the events of each flow that are to come out of the ordered queue, in the order in which they entered. */
  entered: number[][];
  /** Events of each flow that the atomic, and the last queue have handed out. */
  seen: { atomic: number[]; last: number[] };
  /** Events whose application released them in the ordered stage. */
  released: Set<number>;
  /** The port whose application holds an event of the flow in the atomic stage; -1 when none does. */
  holder: number[];
  ended: number;
  migrations: number;
}

class PipelineActor {
  readonly #bench: EventPipeline;
  readonly #world: World;
  readonly #ledger: Ledger;
  readonly #id: number;
  readonly #port: number;
  readonly #slots: number;
  readonly #kernel: CallKernel;
  #held: Required<TestEvent>[] = [];

  constructor(bench: EventPipeline, world: World, ledger: Ledger, id: number) {
    this.#bench = bench;
    this.#world = world;
    this.#ledger = ledger;
    this.#id = id;
    this.#port = bench.device.portAddress(id);
    this.#slots = bench.slots + id * 64 * 16;
    this.#kernel = bench.callers[id] as CallKernel;
  }

  /** One kernel call; the time is told when it asks. */
  *#call(name: string, ...args: readonly number[]): Generator<string, number, void> {
    const { u32 } = this.#bench.arena;
    for (;;) {
      const n = yield* this.#kernel(name, this.#port, ...args);
      if (n !== layout.NEEDS_TIME) return n;
      u32[(this.#port + layout.EVPORT_NOW) >>> 2] = this.#world.now * TIME_FACTOR;
      u32[(this.#port + layout.EVPORT_TIMED) >>> 2] = 1;
    }
  }

  *#enqueue(events: readonly TestEvent[]): Generator<string, number, void> {
    const { arena } = this.#bench;
    for (const [i, event] of events.entries()) {
      arena.u32[(this.#slots + i * 16) >>> 2] = event.id ?? 0;
      writeEvent(arena, this.#slots + i * 16, event);
    }
    return yield* this.#call('eventdevEnqueueOrdered', this.#slots, events.length);
  }

  /** An event of the atomic stage, or of the last: the next one of its flow that entered the ordered queue. */
  #expect(stage: 'atomic' | 'last', { flow, id }: Required<TestEvent>): void {
    const seen = this.#ledger.seen[stage];
    const entered = this.#ledger.entered[flow] as number[];
    const at = seen[flow] as number;
    const expected = entered.filter((number) => !this.#ledger.released.has(number))[at];
    if (id !== expected) throw new Error(`${stage}: event ${id} of flow ${flow} came instead of ${expected}`);
    seen[flow] = at + 1;
  }

  *#dequeue(): Generator<string, number, void> {
    const n = yield* this.#call('eventdevDequeueOrdered', this.#slots, 1 + this.#world.random.below(BURST));
    for (let i = 0; i < n; i++) {
      const event = readTestEvent(this.#bench.arena, this.#slots + i * 16);
      const { queue, flow } = event;
      if (queue === ATOMIC) {
        const its = this.#ledger.holder[flow] as number;
        if (its >= 0 && its !== this.#id) throw new Error(`flow ${flow} is at ports ${its} and ${this.#id}`);
        this.#ledger.holder[flow] = this.#id;
        this.#expect('atomic', event);
      }
      if (queue === LAST) this.#expect('last', event);
      this.#held.push(event);
    }
    return n;
  }

  /** What becomes of a held event. */
  #next(event: Required<TestEvent>): Required<TestEvent> {
    const { random } = this.#world;
    if (event.queue === LAST) return { ...event, op: EVENT_OP.RELEASE };
    if (event.queue === ORDERED && random.below(8) === 0) {
      this.#ledger.released.add(event.id);
      return { ...event, op: EVENT_OP.RELEASE };
    }
    return { ...event, queue: event.queue + 1, op: EVENT_OP.FORWARD };
  }

  /** Finishes the first events it holds. */
  *#pass(): Generator<string, void, void> {
    const n = 1 + this.#world.random.below(this.#held.length);
    const passed = this.#held.splice(0, n);
    for (const { queue, flow } of passed) {
      const others = this.#held.some((event) => event.queue === ATOMIC && event.flow === flow);
      if (queue === ATOMIC && !others) this.#ledger.holder[flow] = -1;
    }
    const events = passed.map((event) => this.#next(event));
    this.#ledger.ended += events.filter(({ op }) => op === EVENT_OP.RELEASE).length;
    if ((yield* this.#enqueue(events)) !== n) throw new Error('forwards were refused');
  }

  *#produce(): Generator<string, number, void> {
    const { options } = this.#bench;
    const { random } = this.#world;
    const count = Math.min(1 + random.below(BURST), options.events - this.#ledger.sent);
    const events = Array.from({ length: count }, (_, i) => ({
      queue: PARALLEL,
      flow: random.below(options.flows),
      op: EVENT_OP.NEW,
      id: this.#ledger.sent + i,
    }));
    this.#ledger.sent += count;
    // There are credits for all events.
    if (count > 0 && (yield* this.#enqueue(events)) !== count) throw new Error('new events were refused');
    return count;
  }

  /** Begins to move some flows of the atomic queue that the port owns, to anywhere. */
  #migrate(): boolean {
    const { arena, options, device, kernels } = this.#bench;
    const { u32 } = arena;
    const word = (offset: number): number => (this.#port + offset) >>> 2;
    if (u32[word(layout.EVPORT_STATE)] !== layout.MIGRATION_IDLE) return false;
    if (u32[word(layout.EVPORT_PAUSED_EVENTS)] !== 0) return false;
    const tables = u32[(device.address + layout.EVDEV_TABLES) >>> 2] as number;
    let n = 0;
    for (let flow = 0; flow < options.flows; flow++) {
      const hash = kernels.eventdevFlowHash(flow, 13);
      if (arena.u8[tables + (ATOMIC << 13) + hash] !== this.#id || this.#world.random.below(2) === 0) continue;
      u32[word(layout.EVPORT_MOVING_FLOWS) + n] = (ATOMIC << layout.FLOW_QUEUE_SHIFT) | hash;
      u32[word(layout.EVPORT_MOVING_TARGETS) + n] =
        (this.#id + 1 + this.#world.random.below(options.ports - 1)) % options.ports;
      n++;
    }
    if (n === 0) return false;
    u32[word(layout.EVPORT_MOVING_COUNT)] = n;
    kernels.eventdevBeginMigration(this.#port);
    this.#ledger.migrations++;
    return true;
  }

  *run(): Actor {
    const { random } = this.#world;
    while (!this.#bench.over(this.#ledger) || this.#held.length > 0) {
      const choice = random.below(10);
      if (this.#held.length > 0 && choice < 5) {
        yield* this.#pass();
        yield 'passes on';
      } else if (this.#held.length === 0 && choice < 6) {
        yield (yield* this.#dequeue()) > 0 ? 'dequeues' : IDLE;
      } else if (choice === 6) {
        yield (yield* this.#produce()) > 0 ? 'produces' : IDLE;
      } else if (choice === 7 && this.#ledger.ended < this.#bench.options.events) {
        yield this.#migrate() ? 'begins to move flows' : IDLE;
      } else if (choice === 8) {
        yield* this.#call('eventdevEnqueueOrdered', this.#slots, 0);
        yield 'flushes';
      } else if (random.below(8) === 0) {
        yield 10 * (1 + random.below(200));
      } else {
        yield* this.#call('eventdevMaintain');
        yield 'maintains';
      }
    }
  }
}

/** The pipeline over some ports: all but the last queue are served by all of them. */
export class EventPipeline {
  readonly arena: Arena;
  readonly device: EventDevice;
  readonly kernels: PipelineKernels;
  readonly slots: number;
  readonly options: PipelineOptions;
  readonly callers: readonly CallKernel[];
  readonly simulation: Simulation;
  /** Migrations begun in all schedules. */
  migrations = 0;
  /** Places of the ordered ring whose events were noted. */
  #noted = 0;

  constructor(options: PipelineOptions) {
    const { ports, events, arena = testArena() } = options;
    this.options = options;
    this.arena = arena;
    this.kernels = arena.kernels<PipelineKernels>();
    this.device = createEventDevice(arena, {
      name: 'pipeline',
      ports: new Array(ports).fill({ implicitRelease: false }),
      queues: [{ schedule: 'parallel' }, { schedule: 'ordered' }, { schedule: 'atomic' }, { schedule: 'single-link' }],
      newEventsLimit: 2048,
    });
    for (let port = 0; port < ports; port++) for (const queue of [0, 1, 2]) this.device.link(port, queue);
    this.device.link(0, LAST);
    this.slots = arena.allocate('slots', ports * 64 * 16);
    this.callers = Array.from({ length: ports }, (_, id) => options.caller?.(arena, id) ?? this.#atOnce());
    this.simulation = new Simulation({
      name: `a pipeline over ${ports} ports`,
      steps: events * (options.caller === undefined ? 24 : 200),
      setup: (world) => this.#setup(world),
    });
  }

  #atOnce(): CallKernel {
    const kernels = this.kernels as unknown as Record<string, (...args: readonly number[]) => number>;
    // biome-ignore lint/correctness/useYield: it never stops in the middle
    return function* (name, ...args) {
      return (kernels[name] as (...args: readonly number[]) => number)(...args);
    };
  }

  /** All events are through, and no port waits for another. */
  over({ ended }: Ledger): boolean {
    if (ended < this.options.events || this.device.orderedQueues()[0]?.events !== 0) return false;
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

  #setup(world: World): Scenario {
    const { ports, flows } = this.options;
    if (this.device.running) this.device.stop();
    this.device.start();
    const ledger: Ledger = {
      sent: 0,
      entered: Array.from({ length: flows }, () => []),
      seen: { atomic: new Array(flows).fill(0), last: new Array(flows).fill(0) },
      released: new Set(),
      holder: new Array(flows).fill(-1),
      ended: 0,
      migrations: 0,
    };
    this.#noted = 0;
    const actors: Record<string, Actor> = {};
    for (let id = 0; id < ports; id++) actors[`port ${id}`] = new PipelineActor(this, world, ledger, id).run();
    return { actors, invariant: () => this.#invariant(ledger), finish: () => this.#finish(ledger) };
  }

  /** Notes what entered the ordered queue since the last step, in the order of its places; and what a release has left there. */
  #invariant(ledger: Ledger): void {
    const ring = this.#word(this.device.address + layout.EVDEV_ORDERED_RINGS + ORDERED * 4);
    const mask = this.#word(ring + layout.ORDERED_MASK);
    const place = (index: number): number => ring + layout.ORDERED_PLACES + ((index & mask) << layout.PLACE_SHIFT);
    const head = this.#word(ring + layout.ORDERED_HEAD);
    for (; this.#noted < head; this.#noted++) {
      const at = place(this.#noted);
      if (this.#word(at + layout.PLACE_STATE) === layout.PLACE_FREE) break;
      const { flow, id } = readTestEvent(this.arena, at + layout.PLACE_EVENT);
      (ledger.entered[flow] as number[]).push(id);
    }
    if (this.options.caller !== undefined) return;
    let stock = 0;
    for (let id = 0; id < this.options.ports; id++) {
      stock += this.#word(this.device.portAddress(id) + layout.EVPORT_CREDITS);
    }
    const live = ledger.sent - ledger.ended + releasedPlaces(this);
    const loan = this.#word(this.device.address + layout.EVDEV_ON_LOAN);
    if (loan !== stock + live) throw new Error(`${loan} credits on loan, ${stock} in stock and ${live} in events`);
  }

  #finish({ entered, seen, released, sent, migrations }: Ledger): void {
    this.migrations += migrations;
    const passed = entered.flat().filter((id) => !released.has(id)).length;
    if (sent !== this.options.events || entered.flat().length !== sent) throw new Error(`${sent} events entered`);
    for (const stage of [seen.atomic, seen.last]) {
      const count = stage.reduce((sum, n) => sum + n, 0);
      if (count !== passed) throw new Error(`${count} of ${passed} events came through`);
    }
    for (let id = 0; id < this.options.ports; id++) {
      const block = this.device.portAddress(id);
      for (const offset of [layout.EVPORT_PAUSED_EVENTS, layout.EVPORT_STASHED, layout.EVPORT_PENDING]) {
        if (this.#word(block + offset) !== 0) throw new Error(`port ${id} holds something back`);
      }
    }
    if (this.arena.damaged().length > 0) throw new Error('guard words were overwritten');
  }
}
