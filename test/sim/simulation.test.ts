import { expect, test } from 'vitest';
import { type Actor, IDLE, Simulation, SimulationFailure } from '#build/sim/index.js';
import { Random } from '#build/util/random.js';

test('the generator follows from its seed, spreads evenly, and near seeds differ', () => {
  const draw = (seed: number): number[] => {
    const random = new Random(seed);
    return Array.from({ length: 8 }, () => random.next());
  };
  expect(draw(7)).toEqual(draw(7));
  expect(new Set([...draw(0), ...draw(1), ...draw(2)]).size).toBe(24);
  const random = new Random(42);
  const counts = Array.from({ length: 10 }, () => 0);
  for (let i = 0; i < 100_000; i++) {
    const drawn = random.below(10);
    counts[drawn] = (counts[drawn] ?? 0) + 1;
  }
  for (const count of counts) expect(count).toBeGreaterThan(9_000);
});

/** Two actors add to a word by a load and a store: the lost update that any tester must find. */
function counter(atomic: boolean): Simulation {
  return new Simulation({
    name: 'counter',
    steps: 12,
    setup() {
      let word = 0;
      function* add(): Actor {
        for (let i = 0; i < 3; i++) {
          if (atomic) word++;
          else {
            const seen = word;
            yield 'load';
            word = seen + 1;
          }
          yield 'store';
        }
      }
      return {
        actors: { one: add(), two: add() },
        finish() {
          if (word !== 6) throw new Error(`${word} instead of 6`);
        },
      };
    },
  });
}

function failureOf(run: () => unknown): SimulationFailure {
  try {
    run();
  } catch (error) {
    if (error instanceof SimulationFailure) return error;
    throw error;
  }
  throw new Error('no failure');
}

test('a lost update is found, and its seed shows the same schedule again', () => {
  const failure = failureOf(() => counter(false).explore(100));
  expect(failure.message).toMatch(
    /^counter: seed \d+ \((uniform|pct)\), step \d+: \d instead of 6\n {5}0 {2}(one|two) {2}load/,
  );
  const again = failureOf(() => counter(false).replay(failure.seed));
  expect(again.message).toBe(failure.message);
  expect(again.trace.length).toBe(failure.step);
});

test('what is right passes, and a replay lists every step', () => {
  expect(counter(true).explore(1000)).toBe(8 * 1000);
  expect(counter(true).replay(3)).toHaveLength(8);
  expect(counter(true).replay(3)).toEqual(counter(true).replay(3));
});

test('an error inside an actor, and a schedule that never ends, are failures', () => {
  const run = (actor: () => Actor): SimulationFailure =>
    failureOf(() => new Simulation({ name: 'x', steps: 5, setup: () => ({ actors: { only: actor() } }) }).explore(1));
  expect(
    run(function* () {
      yield 'step';
      throw new Error('broken');
    }).message,
  ).toMatch(/step 1: broken\n {5}0 {2}only {2}step\n {5}1 {2}only {2}fails$/);
  const endless = run(function* () {
    for (;;) yield 'turn';
  });
  expect(endless.message).toMatch(/step 500: no end after 500 steps/);
  expect(endless.trace).toHaveLength(40);
});

test('sleepers wake in the order of virtual time, which jumps when all sleep', () => {
  const woken: [string, number][] = [];
  const simulation = new Simulation({
    name: 'sleep',
    steps: 10,
    setup(world) {
      woken.length = 0;
      function* sleeper(name: string, ns: number): Actor {
        yield ns;
        woken.push([name, world.now]);
      }
      return { actors: { late: sleeper('late', 5_000_000), soon: sleeper('soon', 1000) } };
    },
  });
  for (let seed = 0; seed < 20; seed++) {
    simulation.explore(1, seed);
    expect(woken.map(([name]) => name)).toEqual(['soon', 'late']);
    expect(woken[1]?.[1]).toBeGreaterThanOrEqual(5_000_000);
    expect(woken[1]?.[1]).toBeLessThan(5_000_100);
  }
});

test('an idle poller does not keep others from running under priorities', () => {
  const simulation = new Simulation({
    name: 'poll',
    steps: 20,
    setup() {
      let ready = false;
      function* poll(): Actor {
        while (!ready) yield IDLE;
      }
      function* set(): Actor {
        for (let i = 0; i < 10; i++) yield 'work';
        ready = true;
      }
      return { actors: { poll: poll(), set: set() } };
    },
  });
  expect(simulation.explore(1000)).toBeLessThan(60_000);
});

/** Fails only when `slow` is away between two steps while `fast` makes ten: hopeless for uniform picks of three. */
test('priorities find what needs an actor to be away for long', () => {
  const simulation = new Simulation({
    name: 'away',
    steps: 45,
    setup() {
      let inside = false;
      let turns = 0;
      function* slow(): Actor {
        for (let i = 0; i < 10; i++) yield 'work';
        inside = true;
        turns = 0;
        yield 'enter';
        inside = false;
        if (turns > 15) throw new Error('overtaken');
      }
      function* fast(): Actor {
        for (let i = 0; i < 20; i++) {
          if (inside) turns++;
          yield 'turn';
        }
      }
      return { actors: { slow: slow(), fast: fast() } };
    },
  });
  const failure = failureOf(() => simulation.explore(2000));
  expect(failure.seed & 1).toBe(1);
});
