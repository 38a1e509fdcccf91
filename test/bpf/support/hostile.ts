import { disassemble } from '#build/bpf/disassemble.js';
import type { Step } from '#build/bpf/interpreter.js';
import { FAULT_FUEL, FAULT_STACK } from '#build/bpf/layout.js';
import type { Program } from '#build/bpf/program.js';
import { compiledEngine, type Engine, faultText, interpreterEngine } from './differential.ts';
import { StackWatch } from './stack-watch.ts';
import { type RunOutput, World } from './world.ts';

/** What both may take: small, since a hostile program likes to use all of it. */
const FUEL = 2000;
const CPUS = 2;
/** A program that stops of itself this far below must not run out of fuel, by whatever measure. */
const FUEL_SURE = FUEL / 4;

/** The interpreter and the compiled code, both checked, each in a world of its own, which must come out the same. */
export class HostilePair {
  readonly #worlds: readonly [World, World];
  readonly #engines: readonly [Engine, Engine];
  /** How often a run ended with a fault of each kind; 0: with none. */
  readonly faults = new Map<number, number>();
  /** Instructions that the interpreter ran in all. */
  totalSteps = 0;
  /** Runs of which only that they leave other memory alone can be asked. */
  looseRuns = 0;
  readonly #watch: StackWatch;
  #steps = 0;

  /** @param second what is held against the interpreter; compiled code by default. */
  constructor(second: (world: World) => Engine = (world) => compiledEngine(world, { checked: true, fuel: FUEL })) {
    const [one, two] = [new World(CPUS), new World(CPUS)];
    this.#worlds = [one, two];
    this.#watch = new StackWatch(one);
    const onStep = (step: Step): void => {
      this.#steps += 1;
      this.#watch.note(step);
    };
    this.#engines = [interpreterEngine(one, { checked: true, fuel: FUEL, onStep }), second(two)];
  }

  /** Runs a program in both. Returns what differs, or what was written that no program may write. */
  run(program: Program, packet: Uint8Array): string | undefined {
    this.#steps = 0;
    this.#watch.begin();
    const [one, two] = this.#engines.map((engine) => engine.load(program).run(packet)) as [RunOutput, RunOutput];
    this.totalSteps += this.#steps;
    const [worldOne, worldTwo] = this.#worlds;
    this.faults.set(one.fault?.kind ?? 0, (this.faults.get(one.fault?.kind ?? 0) ?? 0) + 1);
    const found: string[] = [];
    if (worldOne.isDamaged()) found.push('the interpreter wrote between regions');
    if (worldTwo.isDamaged()) found.push('compiled code wrote between regions');
    const kinds = [one.fault?.kind, two.fault?.kind];
    if (this.#watch.isLoose) this.looseRuns += 1;
    else if (kinds.includes(FAULT_FUEL)) {
      if (one.fault?.kind !== FAULT_FUEL && this.#steps < FUEL_SURE) {
        found.push(`${this.#steps} steps, ${faultText(one)}; compiled ${faultText(two)}`);
      }
    } else if (kinds.includes(FAULT_STACK)) {
      // Compiled code looks at how deep a program goes before it begins, the interpreter when it is there.
      if (kinds[0] !== kinds[1]) found.push(`${faultText(one)}; compiled ${faultText(two)}`);
    } else {
      if (faultText(one) !== faultText(two)) found.push(`${faultText(one)}; compiled ${faultText(two)}`);
      if (one.r0 !== two.r0) found.push(`r0 ${one.r0}; compiled ${two.r0}`);
      const memory = worldOne.difference(worldTwo);
      if (memory !== undefined) found.push(`memory: ${memory}`);
    }
    if (found.length === 0) return undefined;
    return [...found, `packet ${Buffer.from(packet).toString('hex')}`, ...disassemble(program)].join('\n');
  }
}
