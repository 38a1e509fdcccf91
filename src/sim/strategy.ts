import type { Random } from '../util/random.ts';

/** Decides who runs next. One object serves many schedules. */
export interface Strategy {
  readonly name: string;
  /** A schedule begins, with `actors` actors and about `steps` steps. */
  start(random: Random, actors: number, steps: number): void;
  /** One of the first `count` actors in `ready` (1 or more). Steps are counted from 0. */
  pick(ready: readonly number[], count: number, step: number): number;
  /** `actor` found nothing to do: others should come first. */
  idle(actor: number): void;
}

/** Every ready actor is as likely as any other. Finds what needs many switches. */
export function uniformStrategy(): Strategy {
  let random: Random;
  return {
    name: 'uniform',
    start(source) {
      random = source;
    },
    pick: (ready, count) => ready[random.below(count)] as number,
    idle() {},
  };
}

/** Change points of a schedule at most: bugs that need more than four orderings are left to the uniform strategy. */
const DEPTH_MAX = 4;

/**
 * Probabilistic concurrency testing (Burckhardt, Kothari, Musuvathi and Nagarakatte, "A randomized scheduler with
 * probabilistic guarantees of finding bugs", ASPLOS 2010, section 3): actors have random priorities, the highest that
 * is ready runs, and at d - 1 random steps the one running drops below all others. A bug that d orderings bring about
 * is found with a probability of at least 1 / (n * k^(d-1)) a schedule, for n actors and k steps. Finds what needs an
 * actor to be away for long.
 */
export function pctStrategy(): Strategy {
  let priorities: number[] = [];
  let points: number[] = [];
  let floor = 0;

  const highest = (ready: readonly number[], count: number): number => {
    let best = ready[0] as number;
    for (let i = 1; i < count; i++) {
      const actor = ready[i] as number;
      if ((priorities[actor] as number) > (priorities[best] as number)) best = actor;
    }
    return best;
  };

  return {
    name: 'pct',
    start(random, actors, steps) {
      const depth = 1 + random.below(DEPTH_MAX);
      // Above the values 1 to depth - 1 that change points hand out.
      priorities = Array.from({ length: actors }, (_, actor) => depth + actor);
      for (let i = actors - 1; i > 0; i--) {
        const j = random.below(i + 1);
        const other = priorities[j] as number;
        priorities[j] = priorities[i] as number;
        priorities[i] = other;
      }
      points = Array.from({ length: depth - 1 }, () => random.below(steps));
      floor = 0;
    },
    pick(ready, count, step) {
      const change = points.indexOf(step);
      if (change >= 0) priorities[highest(ready, count)] = change + 1;
      return highest(ready, count);
    },
    idle(actor) {
      floor--;
      priorities[actor] = floor;
    },
  };
}
