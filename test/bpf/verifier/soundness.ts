import { disassemble } from '#build/bpf/disassemble.js';
import { interpret } from '#build/bpf/interpreter.js';
import { FAULT_STACK } from '#build/bpf/layout.js';
import { withLoops, withoutLoops } from '#build/bpf/loops.js';
import type { Program } from '#build/bpf/program.js';
import { Exploration } from '#build/bpf/verifier/explore.js';
import { Flow } from '#build/bpf/verifier/flow.js';
import { prove } from '#build/bpf/verifier/proof.js';
import { verifyStructure } from '#build/bpf/verify.js';
import { RingwayError } from '#build/util/errors.js';
import { Random } from '#build/util/random.js';
import { compiledEngine, type Engine, faultText, type Loaded } from '../support/differential.ts';
import { generatePacket, generateValid } from '../support/generate-valid.ts';
import { World } from '../support/world.ts';
import { damaged } from './damage.ts';

/** What is enough for nearly all that is accepted: of what is damaged, loops without an end take all there is. */
const VISITED_MAX = 20_000;
/** More than any program takes that was verified, with those that it calls at its tail. */
const FUEL = 5_000_000;
const PACKETS = 3;
/** Compiling takes longer than all else: of so many, one is. */
const COMPILED_EVERY = 4;
const FAILURES_MAX = 3;

/** A program that may be wrong: half of them have something left out or changed. */
export function generateDoubtful(random: Random): Program | undefined {
  const whole = withoutLoops(generateValid(random));
  try {
    const program = withLoops(damaged(random, whole, random.below(2) * (1 + random.below(3))));
    verifyStructure(program);
    return program;
  } catch (error) {
    if (error instanceof RingwayError) return undefined;
    throw error;
  }
}

/** What came of a sweep. */
export interface SweepResult {
  readonly accepted: number;
  readonly rejected: number;
  /** Accepted ones that were compiled, too, with checks and without. */
  readonly proven: number;
  readonly failures: readonly string[];
}

function isAccepted(program: Program): boolean {
  const flow = new Flow(program);
  if (flow.unreachable.length > 0) return false;
  return new Exploration(program, flow, { order: 'prove', limit: VISITED_MAX }).run() === undefined;
}

/** Code with checks and code without those that the verifier has proven to be idle, each in a world of its own. */
class CompiledPair {
  readonly #worlds = [new World(2), new World(2)] as const;
  readonly #engines: readonly Engine[] = this.#worlds.map((world, index) =>
    compiledEngine(world, { checked: true, isProven: index === 1, fuel: FUEL }),
  );

  /** How what a program does on its packets differs: verdict, fault, packet, or any byte that is not its stack. */
  difference(program: Program, packets: readonly Uint8Array[]): string | undefined {
    const [one, two] = this.#engines.map((engine) => engine.load(program)) as [Loaded, Loaded];
    for (const packet of packets) {
      const [a, b] = [one.run(packet), two.run(packet)];
      const place = `packet ${Buffer.from(packet).toString('hex')}`;
      if (a.r0 !== b.r0) return `r0 ${a.r0}, and ${b.r0} without checks, ${place}`;
      if (faultText(a) !== faultText(b)) return `${faultText(a)}, and ${faultText(b)} without checks, ${place}`;
      const memory = this.#worlds[0].difference(this.#worlds[1]);
      if (memory !== undefined) return `memory: ${memory} without checks, ${place}`;
    }
    return undefined;
  }
}

/** Runs what the verifier accepts in checked mode: nothing of it may fault, and without the checks it must do the same. */
export function sweepSoundness(first: number, count: number): SweepResult {
  const world = new World(2);
  const execution = world.execution();
  const pair = new CompiledPair();
  const failures: string[] = [];
  let [accepted, rejected, proven] = [0, 0, 0];
  for (let seed = first; seed < first + count && failures.length < FAILURES_MAX; seed++) {
    const random = new Random(seed);
    const program = generateDoubtful(random);
    if (program === undefined) continue;
    if (!isAccepted(program)) {
      rejected++;
      continue;
    }
    accepted++;
    const packets = Array.from({ length: PACKETS }, (_, index) =>
      index === 0 ? generatePacket(random).subarray(0, 14) : generatePacket(random),
    );
    for (const packet of packets) {
      world.reset(packet);
      const { fault } = interpret({ program, ...execution, checked: true, fuel: FUEL });
      // How deep programs lie that others call at their tail is known to none of them.
      if (fault === undefined || fault.kind === FAULT_STACK) continue;
      const what = `fault ${fault.kind} at ${fault.pc}, address 0x${fault.address.toString(16)}`;
      const text = disassemble(program).join('\n');
      failures.push(`RINGWAY_SEED=${seed}: ${what}, packet ${Buffer.from(packet).toString('hex')}\n${text}`);
      break;
    }
    if (seed % COMPILED_EVERY !== 0 || prove(program) === undefined) continue;
    proven++;
    const found = pair.difference(program, packets);
    if (found !== undefined) failures.push(`RINGWAY_SEED=${seed}: ${found}\n${disassemble(program).join('\n')}`);
  }
  return { accepted, rejected, proven, failures };
}
