import { possibleCpus } from '#build/bpf/linux/map.js';
import { verifyStructure } from '#build/bpf/verify.js';
import { bpfUnavailable } from '#build/sys/index.js';
import { Random } from '#build/util/random.js';
import { compareEngines, compiledEngine, type Engine, interpreterEngine, KernelEngine } from './differential.ts';
import { generateHostile } from './generate-hostile.ts';
import { generatePacket, generateValid } from './generate-valid.ts';
import type { HostilePair } from './hostile.ts';
import { World } from './world.ts';

/** Seed of the first program of a sweep; the next ones follow. `RINGWAY_SEED=7` runs others. */
export const FIRST_SEED = Number(process.env.RINGWAY_SEED ?? 1);

/** What went wrong, with the seed that it goes wrong with. No more than this many, since each is long. */
const FAILURES_MAX = 3;

/** Runs `one` with `count` seeds from `first` on. Returns what it said. */
function sweep(first: number, count: number, one: (random: Random) => string | undefined): string[] {
  const failures: string[] = [];
  for (let seed = first; seed < first + count && failures.length < FAILURES_MAX; seed++) {
    let said: string | undefined;
    try {
      said = one(new Random(seed));
    } catch (error) {
      said = (error as Error).stack;
    }
    if (said !== undefined) failures.push(`RINGWAY_SEED=${seed}: ${said}`);
  }
  return failures;
}

/** Holds engines against each other over random programs that the kernel takes, two packets each. */
export function sweepValid(engines: readonly Engine[], first: number, count: number): string[] {
  return sweep(first, count, (random) => {
    const program = generateValid(random);
    return compareEngines(engines, program, [generatePacket(random), generatePacket(random)]);
  });
}

/** Holds checked compiled code against the checked interpreter over hostile programs. */
export function sweepHostile(pair: HostilePair, first: number, count: number): string[] {
  return sweep(first, count, (random) => {
    const program = generateHostile(random);
    verifyStructure(program);
    return pair.run(program, generatePacket(random));
  });
}

/** The engines that there are here, the interpreter first, each in a world of its own. */
export interface Engines {
  readonly interpreter: Engine;
  readonly compiled: readonly Engine[];
  /** Empty without root. */
  readonly kernel: readonly Engine[];
}

/** Makes them. */
export function makeEngines(): Engines {
  const reason = bpfUnavailable();
  if (reason !== undefined) console.warn(`programs do not run in the kernel: ${reason}`);
  // As many as the kernel has values for, where that can be known, so that entries are the same.
  const cpus = reason === undefined ? possibleCpus() : 2;
  return {
    interpreter: interpreterEngine(new World(cpus)),
    compiled: [false, true].map((checked) => compiledEngine(new World(cpus), { checked })),
    kernel: reason === undefined ? [new KernelEngine()] : [],
  };
}
