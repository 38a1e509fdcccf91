import { Random } from '#build/util/random.js';
import { MachineBench, type MachineBenchOptions, problemsAtEnd } from './machine-bench.ts';
import { type Places, randomPort, randomRule, randomTopology, spread } from './topology.ts';

/** One change to a running dataplane, of a kind that a seed picks. Refusals are as good as success. */
async function change(bench: MachineBench, random: Random, places: Places, serial: number): Promise<void> {
  const { names, config } = bench;
  const lcores = config.lcores.length;
  const edges = lcores - (config.eventdev?.workers.length ?? 0);
  const name = names[random.below(Math.max(1, names.length))] ?? '';
  switch (random.below(6)) {
    case 0:
      await bench.addPort(`n${serial}`, randomPort(random, places, `n${serial}`, edges, true));
      break;
    case 1:
      if (names.length > 1) await bench.deletePort(name);
      break;
    case 2:
      // A rule may name an lcore; with an event device it may not.
      if (bench.config.eventdev === undefined) bench.steer(randomRule(random, names, lcores));
      break;
    case 3: {
      const rules = bench.rules.list();
      if (rules.length > 0) bench.rules.delete(rules[random.below(rules.length)]?.id ?? 0);
      break;
    }
    case 4:
      await bench.set(`ports.${name}.fault.delay`, ['0s', '1ms', '3ms'][random.below(3)] ?? '0s');
      break;
    case 5:
      await bench.set(`ports.${name}.fault.loss`, '10%');
      break;
  }
}

/** What is wrong after a run, and what became of its packets. */
export interface Outcome {
  readonly problems: unknown[];
  readonly sent: number;
  readonly drops: Readonly<Record<string, number>>;
}

interface RunOptions extends MachineBenchOptions {
  /** With an event device. */
  readonly isSpread?: boolean;
}

/** Runs a random dataplane through random changes to a random end. */
export async function conservationRun(
  seed: number,
  places: Places,
  { isSpread = false, ...options }: RunOptions = {},
): Promise<Outcome> {
  const random = new Random(seed);
  const endless = random.below(2) === 0;
  // Sometimes long enough for rings to fill up behind a port that takes nothing.
  const pollsMax = random.below(4) === 0 ? 250 : 60;
  const plain = randomTopology(random, places, endless);
  const source = isSpread ? spread(random, plain) : plain;
  // Mostly enough buffers for little to be lost; sometimes so few that the pool runs dry.
  const bench = new MachineBench(source, random, { buffers: random.below(5) === 0 ? 300 : 3000, ...options });
  await bench.start();
  for (let phase = random.below(7); phase > 0; phase--) {
    bench.poll(random.below(pollsMax));
    if (random.below(3) !== 0) await change(bench, random, places, phase);
  }
  const last = await bench.stop(random.below(2) === 0 ? 0 : 2000);
  return {
    problems: problemsAtEnd(last, bench.machine),
    sent: last.totals.sent,
    drops: last.drops,
  };
}

/** Runs the seeds from `first` on. Throws at the first one after which something is wrong. Returns all that was dropped. */
export async function conserve(
  first: number,
  count: number,
  places: Places & { open(): string[] },
  options: RunOptions = {},
): Promise<Outcome> {
  let sent = 0;
  const drops: Record<string, number> = {};
  for (let seed = first; seed < first + count; seed++) {
    const outcome = await conservationRun(seed, places, options);
    const problems = [...outcome.problems, ...places.open()];
    if (problems.length > 0) throw new Error(`seed ${seed}: ${JSON.stringify(problems)}`);
    sent += outcome.sent;
    for (const [reason, n] of Object.entries(outcome.drops)) drops[reason] = (drops[reason] ?? 0) + n;
  }
  return { problems: [], sent, drops };
}
