import { assert } from '../util/assert.ts';
import { Random } from '../util/random.ts';
import { pctStrategy, type Strategy, uniformStrategy } from './strategy.ts';

/** What an actor yields when it found nothing to do: those who have something come first. */
export const IDLE = 'idle';

/**
 * An actor: each `yield` is a point at which others may run. It yields a word for what it just did, `IDLE`, or a
 * number of virtual nanoseconds to sleep.
 */
export type Actor = Generator<string | number, void, void>;

/** What a scenario may ask of the schedule it is in. */
export interface World {
  /** Seeded from the schedule's seed, and the scheduler draws from it too. */
  readonly random: Random;
  /** Virtual nanoseconds since the schedule began. */
  readonly now: number;
}

/** A scenario at its start: what one schedule runs. */
export interface Scenario {
  readonly actors: Readonly<Record<string, Actor>>;
  /** Called after every step; throws when something that must always hold does not. */
  invariant?(): void;
  /** Called when every actor has returned; throws when something is missing. */
  finish?(): void;
}

export interface SimulationOptions {
  readonly name: string;
  /** Steps that a schedule takes, roughly; a schedule of a hundred times as many fails as one that does not end. */
  readonly steps: number;
  /** Puts everything back to the start and makes new actors. Called for each schedule, so it should be cheap. */
  setup(world: World): Scenario;
}

/** Virtual nanoseconds that a step takes: about what a kernel call with a few slots costs. */
const STEP_NS = 10;
/** Steps that a failure shows. */
const TRACE_STEPS = 40;
const ENDLESS = 100;

/** A schedule that broke an invariant. `Simulation.replay(seed)` shows it again, from its first step. */
export class SimulationFailure extends Error {
  override readonly name = 'SimulationFailure';
  readonly seed: number;
  /** The step after which it was noticed, from 0. */
  readonly step: number;
  /** The last steps, one line each. */
  readonly trace: readonly string[];

  constructor(place: string, seed: number, step: number, trace: readonly string[], cause: unknown) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    super(`${place}: ${reason}\n${trace.join('\n')}`, { cause });
    this.seed = seed;
    this.step = step;
    this.trace = trace;
  }
}

/**
 * Runs a scenario's actors interleaved, in one thread and in virtual time, in an order that follows from a seed alone:
 * even seeds pick uniformly, odd ones with priorities (`strategy.ts`).
 */
export class Simulation {
  readonly #options: SimulationOptions;
  readonly #strategies: readonly [Strategy, Strategy] = [uniformStrategy(), pctStrategy()];
  readonly #world = { random: new Random(0), now: 0 };
  // Parts of the running schedule, by actor, and its steps so far. Kept between schedules, for their storage.
  readonly #ready: number[] = [];
  readonly #wakeAt: number[] = [];
  readonly #stepActors: number[] = [];
  readonly #stepWords: (string | number)[] = [];

  constructor(options: SimulationOptions) {
    this.#options = options;
  }

  /**
   * Runs `schedules` schedules, with the seeds from `firstSeed` on. Returns the steps they took in all.
   * @throws SimulationFailure for the first one that breaks an invariant.
   */
  explore(schedules: number, firstSeed = 0): number {
    let steps = 0;
    for (let seed = firstSeed; seed < firstSeed + schedules; seed++) steps += this.#run(seed, TRACE_STEPS);
    return steps;
  }

  /**
   * Runs the schedule of `seed` again. Returns all its steps, one line each.
   * @throws SimulationFailure with all its steps when it breaks an invariant.
   */
  replay(seed: number): string[] {
    const names = Object.keys(this.#options.setup(this.#world).actors);
    const steps = this.#run(seed, Number.POSITIVE_INFINITY);
    return this.#describe(names, steps, steps);
  }

  #run(seed: number, shown: number): number {
    const { setup, steps: length, name } = this.#options;
    const strategy = this.#strategies[(seed & 1) as 0 | 1];
    const world = this.#world;
    world.random.seed(seed);
    world.now = 0;
    const scenario = setup(world);
    const names = Object.keys(scenario.actors);
    const actors = Object.values(scenario.actors);
    assert(actors.length > 0, `${name}: a scenario has at least one actor`);
    strategy.start(world.random, actors.length, length);
    this.#wakeAt.length = 0;
    for (let i = 0; i < actors.length; i++) this.#wakeAt.push(0);
    let step = 0;
    try {
      for (; ; step++) {
        const count = this.#awake();
        if (count === 0) break;
        if (step >= length * ENDLESS) throw new Error(`no end after ${step} steps`);
        const index = strategy.pick(this.#ready, count, step);
        this.#stepActors[step] = index;
        this.#stepWords[step] = 'fails';
        const { done, value } = (actors[index] as Actor).next();
        this.#stepWords[step] = done ? 'ends' : value;
        if (done) this.#wakeAt[index] = Number.POSITIVE_INFINITY;
        else if (typeof value === 'number') this.#wakeAt[index] = world.now + value;
        else if (value === IDLE) strategy.idle(index);
        world.now += STEP_NS;
        scenario.invariant?.();
      }
      scenario.finish?.();
    } catch (cause) {
      const trace = this.#describe(names, Math.min(step + 1, this.#stepActors.length), shown);
      throw new SimulationFailure(`${name}: seed ${seed} (${strategy.name}), step ${step}`, seed, step, trace, cause);
    }
    return step;
  }

  /** Lists the actors that may run, moving time to the next that wakes when all sleep. Returns how many. */
  #awake(): number {
    const wakeAt = this.#wakeAt;
    let count = 0;
    let earliest = Number.POSITIVE_INFINITY;
    for (let i = 0; i < wakeAt.length; i++) {
      const at = wakeAt[i] as number;
      if (at <= this.#world.now) this.#ready[count++] = i;
      else if (at < earliest) earliest = at;
    }
    if (count > 0 || earliest === Number.POSITIVE_INFINITY) return count;
    this.#world.now = earliest;
    return this.#awake();
  }

  /** The last `shown` of `steps` steps. */
  #describe(names: readonly string[], steps: number, shown: number): string[] {
    const width = Math.max(...names.map((name) => name.length));
    const lines: string[] = [];
    for (let step = Math.max(0, steps - shown); step < steps; step++) {
      const word = this.#stepWords[step];
      const actor = names[this.#stepActors[step] as number] ?? '';
      lines.push(
        `${String(step).padStart(6)}  ${actor.padEnd(width)}  ${typeof word === 'number' ? `sleeps ${word}` : word}`,
      );
    }
    return lines;
  }
}
