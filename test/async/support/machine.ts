import type { Arena } from 'ringway/memory';
import { TRACK_LOCK, TRACK_SHARED, WORK_BYTES } from '#build/async/layout.js';
import type { QueueCopies } from '#build/async/queue.js';
import { createTrack, shareTrack } from '#build/async/track.js';
import type { Integration, Transmit } from '#build/async/transmit.js';
import { WorkRing } from '#build/async/work-ring.js';
import type { DmaKernels } from '#build/dma/kernels.js';
import { VCHAN_COMPLETED } from '#build/dma/layout.js';
import { createVchan, openVchan, shutVchan } from '#build/dma/vchan.js';
import { type Actor, IDLE } from '#build/sim/index.js';
import type { Random } from '#build/util/random.js';
import { setPositions } from '../../dma/support/channel.ts';

const INTEGRATIONS: readonly Integration[] = ['defer', 'v3', 'v4', 'vq'];

/** Any of them. */
export function someIntegration(random: Random): Integration {
  return INTEGRATIONS[random.below(4)] as Integration;
}

/** A queue that an lcore serves, and how far its frames have come. */
export interface Lane {
  readonly lcore: number;
  readonly queue: QueueCopies;
  /** Of a queue that sends. */
  readonly transmit: Transmit | undefined;
  sent: number;
  got: number;
  /** Its lcore serves it no more. */
  ended: boolean;
}

export interface MachineOptions<L extends Lane> {
  readonly lanes: readonly L[];
  /** Frames of each lane. */
  readonly total: number;
  /** Sends or receives some of a lane's frames. Returns how many. */
  send(lane: L, index: number, random: Random): number;
  receive(lane: L, index: number): number;
}

/** An engine's channel, whether it goes on, and the lcores that use it. */
interface Engine {
  readonly vchan: number;
  readonly track: number;
  works: boolean;
  readonly users: Set<number>;
}

/** Two engines that work, fail, hang and end. */
export function makeEngines(arena: Arena): readonly Engine[] {
  return [0, 1].map((index) => {
    const capabilities = { sg: false, fill: false };
    const setup = { name: `channel ${index}`, descriptors: 32, priority: 0, capabilities, cpu: false, silent: false };
    const vchan = createVchan(arena, setup, { min: 32, max: 32 });
    const track = createTrack(arena, `channel ${index}`, vchan).address;
    return { vchan, track, works: true, users: new Set<number>() };
  });
}

/** The deferred work of two lcores. */
export function makeWorks(arena: Arena): readonly WorkRing[] {
  return [0, 1].map((lcore) => new WorkRing(arena, arena.allocate(`work ${lcore}`, WORK_BYTES)));
}

/**
 * Two lcores that serve lanes, over two engines; and a control thread that changes integrations and channels, and ends engines. Each
 * call is a step.
 */
export class Machine<L extends Lane> {
  readonly #arena: Arena;
  readonly #engines: readonly Engine[];
  readonly #works: readonly WorkRing[];
  readonly #options: MachineOptions<L>;
  readonly #kernels: DmaKernels;
  /** What the control thread asks an lcore between two of its steps. */
  readonly #asks: { readonly lcore: number; readonly run: () => void }[] = [];

  constructor(arena: Arena, engines: readonly Engine[], works: readonly WorkRing[], options: MachineOptions<L>) {
    this.#arena = arena;
    this.#engines = engines;
    this.#works = works;
    this.#options = options;
    this.#kernels = arena.kernels<DmaKernels>();
  }

  /** A schedule begins. */
  reset(random: Random): void {
    const { u32 } = this.#arena;
    this.#asks.length = 0;
    for (const each of this.#engines) {
      each.works = true;
      each.users.clear();
      setPositions(this.#arena, each.vchan, 0);
      openVchan(this.#arena, each.vchan, 0);
      u32[(each.track + TRACK_SHARED) >>> 2] = 0;
      u32[(each.track + TRACK_LOCK) >>> 2] = 0;
    }
    for (const lane of this.#options.lanes) {
      Object.assign(lane, { sent: 0, got: 0, ended: false });
      if (lane.transmit !== undefined) lane.transmit.integration = someIntegration(random);
    }
  }

  actors(random: Random): Record<string, Actor> {
    return {
      'lcore 0': this.#lcore(0, random),
      'lcore 1': this.#lcore(1, random),
      'engine 0': this.#engine(0, random),
      'engine 1': this.#engine(1, random),
      control: this.#control(random),
    };
  }

  isOver(): boolean {
    return this.#options.lanes.every(({ ended }) => ended);
  }

  /** Throws unless all frames have arrived, and nobody has a channel. */
  finish(): void {
    const { lanes, total } = this.#options;
    const got = lanes.map((lane) => lane.got);
    if (got.some((n) => n !== total)) throw new Error(`${got.join(', ')} of ${total} frames arrived`);
    for (const { track } of this.#engines) {
      if (this.#arena.u32[(track + TRACK_LOCK) >>> 2] !== 0) throw new Error('a lock is held');
    }
  }

  /** An lcore: sends, receives, looks after its work; does what it is asked in between. Ends when all it had is through. */
  *#lcore(number: number, random: Random): Actor {
    const { lanes, total, send, receive } = this.#options;
    const own = lanes.flatMap((lane, index) => (lane.lcore === number ? [{ lane, index }] : []));
    while (own.some(({ lane }) => !lane.ended)) {
      const ask = this.#asks.findIndex((each) => each.lcore === number);
      if (ask >= 0) this.#asks.splice(ask, 1)[0]?.run();
      let moved = 0;
      for (const { lane, index } of own) {
        if (lane.transmit === undefined) moved += receive(lane, index);
        else if (lane.sent < total) moved += send(lane, index, random);
        yield 'queue';
      }
      // As ports do: what was sent is looked after when the port is received from.
      for (const { lane } of own) lane.transmit?.poll();
      this.#works[number]?.run();
      for (const { lane } of own) {
        const waiting = (lane.transmit ?? lane.queue).inFlight();
        lane.ended = waiting === 0 && (lane.transmit === undefined ? lane.got : lane.sent) === total;
      }
      yield moved > 0 ? 'work' : IDLE;
    }
  }

  *#engine(index: number, random: Random): Actor {
    const own = this.#engines[index] as Engine;
    const kernels = this.#kernels;
    const hangs = random.below(4) === 0;
    let left = random.below(20);
    while (!this.isOver()) {
      const { vchan } = own;
      if (!own.works) return;
      const running = kernels.dmaRunning(vchan);
      if (running === 0 || (hangs && left === 0)) {
        yield IDLE;
        continue;
      }
      left = Math.max(0, left - 1);
      if (random.below(6) === 0) {
        kernels.dmaFail(vchan, this.#arena.u32[(vchan + VCHAN_COMPLETED) >>> 2] as number, 10);
        kernels.dmaFinish(vchan, 1);
      } else {
        kernels.dmaRunEngine(vchan, 1 + random.below(running));
      }
      yield 'copy';
    }
  }

  /** Asks an lcore, and waits until it has done it, or has ended. */
  *#ask(lcore: number, run: () => void): Actor {
    let done = false;
    this.#asks.push({
      lcore,
      run() {
        run();
        done = true;
      },
    });
    while (!done && this.#options.lanes.some((lane) => lane.lcore === lcore && !lane.ended)) yield IDLE;
  }

  /** Gives a queue another channel, or none. */
  *#use(lane: Lane, index: number): Actor {
    const next = this.#engines[index];
    if (next !== undefined && !next.users.has(lane.lcore)) {
      const [only] = next.users;
      next.users.add(lane.lcore);
      if (only !== undefined) yield* this.#ask(only, () => shareTrack(this.#arena, next.track));
    }
    yield* this.#ask(lane.lcore, () => lane.queue.use(next?.track ?? 0));
  }

  *#control(random: Random): Actor {
    const { lanes } = this.#options;
    let changes = random.below(6);
    let idle = 0;
    for (const lane of lanes) yield* this.#use(lane, random.below(2));
    while (!this.isOver()) {
      idle++;
      for (const { works, vchan } of this.#engines) if (!works) this.#kernels.dmaAbort(vchan);
      if (changes > 0 && random.below(4) === 0) {
        changes--;
        const lane = lanes[random.below(lanes.length)] as L;
        const integration = someIntegration(random);
        const { lcore, transmit } = lane;
        if (random.below(2) === 0) {
          yield* this.#use(lane, random.below(3));
        } else if (transmit !== undefined) {
          yield* this.#ask(lcore, () => {
            transmit.integration = integration;
          });
        }
      } else if (random.below(idle < 40 ? 60 : 4) === 0) {
        // One that hangs, or is taken for one that does.
        const ended = this.#engines[random.below(2)] as Engine;
        shutVchan(this.#arena, ended.vchan);
        yield 'shut';
        ended.works = false;
      }
      yield IDLE;
    }
  }
}
