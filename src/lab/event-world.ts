import { createEventDevice, type EventDevice } from '../eventdev/device.ts';
import { EVENT_OP, writeEvent } from '../eventdev/event.ts';
import {
  EVDEV_TABLES,
  EVPORT_EMIGRATIONS,
  EVPORT_LOAD,
  EVPORT_NOW,
  EVPORT_TIMED,
  LOAD_MAX,
  NEEDS_TIME,
} from '../eventdev/layout.ts';
import type { Migration } from '../eventdev/options.ts';
import type { EventKernels } from '../eventdev/port.ts';
import { type Arena, createArena } from '../memory/arena.ts';
import { SLOT_SHIFT } from '../memory/layout.ts';
import { Random } from '../util/random.ts';

/** What a worker spends besides its work, in virtual ns: a call that finds nothing, one that does, and each event. */
const POLL_NS = 50;
const CALL_NS = 30;
const EVENT_NS = 6;
/** Between two looks of the source at what has arrived. */
const SOURCE_NS = 2000;
const BURST = 32;
const ARENA_BYTES = 16 << 20;
/** Flow ids are below this, so that each is its own hash. */
const FLOWS_MAX = 1 << 13;

/**
 * Events of one flow after another: how often each comes, in events a virtual second, at time `ns`. `homeOf` says which
 * worker owned a flow at the start.
 */
export type Rates = (ns: number, homeOf: (flow: number) => number) => readonly number[];

export interface WorldOptions {
  readonly workers: number;
  readonly strategy: Migration;
  /** Virtual ns that an event takes its worker. */
  readonly workNs: number;
  readonly rates: Rates;
  /** Virtual ns between two times at which the rates are asked for. */
  readonly ratesEveryNs: number;
  readonly seed: number;
  /** The workers that serve the queue at the start; the others are linked when the events begin. All by default. */
  readonly first?: readonly number[];
}

/** What was seen at one moment. */
export interface Sample {
  readonly ns: number;
  /** Load of each worker, as it estimates it: 0 to 1. */
  readonly loads: readonly number[];
  /** Flows that have moved so far. */
  readonly moved: number;
  /** Events that waited in the workers' rings. */
  readonly waiting: number;
}

/**
 * Workers and a source at the ports of an event device, in one thread and in virtual time: each port has a clock, and the
 * one that is behind all others does its next call. The kernels are those that threads run, so what they decide is too.
 */
export class EventWorld {
  readonly device: EventDevice;
  readonly #options: WorldOptions;
  readonly #arena: Arena;
  readonly #kernels: EventKernels;
  readonly #slots: number;
  readonly #addresses: readonly number[];
  /** By port, the source's last. */
  readonly #clocks: Float64Array;
  readonly #random: Random;
  readonly #homeOf: (flow: number) => number;
  /** Rates summed up, so that a number below their sum finds its flow. */
  #sums = new Float64Array(0);
  #ratesUntil = 0;
  /** Arrivals that are due, in events. */
  #due = 0;
  #inside = 0;
  /** Events that found no credit, and all that came. */
  refused = 0;
  arrived = 0;
  finished = 0;
  readonly samples: Sample[] = [];

  constructor(options: WorldOptions) {
    const { workers, strategy, seed, first } = options;
    this.#options = options;
    this.#arena = createArena({ bytes: ARENA_BYTES });
    this.#kernels = this.#arena.kernels<EventKernels>();
    this.device = createEventDevice(this.#arena, {
      name: 'world',
      ports: workers + 1,
      queues: [{ schedule: 'atomic' }],
      migration: strategy,
      newEventsLimit: 8192,
      seed,
    });
    const all = Array.from({ length: workers }, (_, id) => id);
    for (const id of first ?? all) this.device.link(id, 0);
    this.device.start();
    for (const id of all) this.device.link(id, 0);
    this.#slots = this.#arena.allocate('slots', BURST << SLOT_SHIFT);
    this.#addresses = [...all, workers].map((id) => this.device.portAddress(id));
    this.#clocks = new Float64Array(workers + 1);
    this.#random = new Random(seed);
    const table = this.#arena.u32[(this.device.address + EVDEV_TABLES) >>> 2] as number;
    const homes = this.#arena.u8.slice(table, table + FLOWS_MAX);
    this.#homeOf = (flow) => homes[flow] as number;
  }

  /** Goes on until `ns`, taking a sample every `everyNs`. */
  run(ns: number, everyNs: number): void {
    const source = this.#options.workers;
    let next = (Math.floor(this.now / everyNs) + 1) * everyNs;
    for (;;) {
      const port = this.#earliest();
      const now = this.#clocks[port] as number;
      while (now >= next) {
        this.#sample(next);
        next += everyNs;
      }
      if (now >= ns) return;
      if (port === source) this.#produce(now);
      else this.#work(port, now);
    }
  }

  /** The clock that is behind all others. */
  get now(): number {
    return this.#clocks[this.#earliest()] as number;
  }

  #earliest(): number {
    let port = 0;
    for (let i = 1; i < this.#clocks.length; i++) {
      if ((this.#clocks[i] as number) < (this.#clocks[port] as number)) port = i;
    }
    return port;
  }

  #word(port: number, offset: number): number {
    return ((this.#addresses[port] as number) + offset) >>> 2;
  }

  /** A kernel call of a port; the time is told when it asks. */
  #call(port: number, now: number, kernel: (address: number) => number): number {
    const { u32 } = this.#arena;
    const address = this.#addresses[port] as number;
    for (let n = kernel(address); ; n = kernel(address)) {
      if (n !== NEEDS_TIME) return n;
      u32[this.#word(port, EVPORT_NOW)] = now;
      u32[this.#word(port, EVPORT_NOW) + 1] = now / 2 ** 32;
      u32[this.#word(port, EVPORT_TIMED)] = 1;
    }
  }

  #work(port: number, now: number): void {
    const n = this.#call(port, now, (address) => this.#kernels.eventdevDequeue(address, this.#slots, BURST));
    this.#inside -= n;
    this.finished += n;
    this.#clocks[port] = now + (n === 0 ? POLL_NS : CALL_NS + n * (EVENT_NS + this.#options.workNs));
  }

  #updateRates(now: number): void {
    const { rates, ratesEveryNs } = this.#options;
    this.#ratesUntil = now + ratesEveryNs;
    let sum = 0;
    this.#sums = Float64Array.from(rates(now, this.#homeOf), (rate) => {
      sum += rate;
      return sum;
    });
  }

  /** A flow, as often as its rate says. */
  #flow(): number {
    const sums = this.#sums;
    const at = (this.#random.next() / 2 ** 32) * (sums[sums.length - 1] as number);
    let low = 0;
    for (let high = sums.length - 1; low < high; ) {
      const middle = (low + high) >>> 1;
      if ((sums[middle] as number) > at) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  #produce(now: number): void {
    const source = this.#options.workers;
    if (now >= this.#ratesUntil) this.#updateRates(now);
    this.#due += ((this.#sums[this.#sums.length - 1] as number) * SOURCE_NS) / 1e9;
    while (this.#due >= 1) {
      const n = Math.min(BURST, Math.floor(this.#due));
      this.#due -= n;
      this.arrived += n;
      for (let i = 0; i < n; i++) {
        writeEvent(this.#arena, this.#slots + (i << SLOT_SHIFT), { queue: 0, flow: this.#flow(), op: EVENT_OP.NEW });
      }
      const taken = this.#call(source, now, (address) => this.#kernels.eventdevEnqueue(address, this.#slots, n));
      this.#inside += taken;
      this.refused += n - taken;
    }
    this.#call(source, now, (address) => this.#kernels.eventdevEnqueue(address, this.#slots, 0));
    this.#clocks[source] = now + SOURCE_NS;
  }

  #sample(ns: number): void {
    const { u32 } = this.#arena;
    const workers = Array.from({ length: this.#options.workers }, (_, port) => port);
    this.samples.push({
      ns,
      loads: workers.map((port) => (u32[this.#word(port, EVPORT_LOAD)] as number) / LOAD_MAX),
      moved: workers.reduce((sum, port) => sum + (u32[this.#word(port, EVPORT_EMIGRATIONS)] as number), 0),
      waiting: this.#inside,
    });
  }

  /** How many events a second of each flow, of `flows`, when they are `total` and flow n has a share of 1 / (n + 1)^`skew`. */
  static zipf(flows: number, total: number, skew: number): number[] {
    const weights = Array.from({ length: flows }, (_, n) => 1 / (n + 1) ** skew);
    const sum = weights.reduce((all, weight) => all + weight, 0);
    return weights.map((weight) => (total * weight) / sum);
  }
}
