import { disassemble } from '#build/bpf/disassemble.js';
import { interpret } from '#build/bpf/interpreter.js';
import { FAULT_STACK } from '#build/bpf/layout.js';
import { withLoops, withoutLoops } from '#build/bpf/loops.js';
import type { Program } from '#build/bpf/program.js';
import { Exploration } from '#build/bpf/verifier/explore.js';
import { Flow } from '#build/bpf/verifier/flow.js';
import { verifyStructure } from '#build/bpf/verify.js';
import { RingwayError } from '#build/util/errors.js';
import { Random } from '#build/util/random.js';
import { generatePacket, generateValid } from '../support/generate-valid.ts';
import { World } from '../support/world.ts';
import { damaged } from './damage.ts';

/** What is enough for nearly all that is accepted: of what is damaged, loops without an end take all there is. */
const VISITED_MAX = 20_000;
/** More than any program takes that was verified, with those that it calls at its tail. */
const FUEL = 5_000_000;
const PACKETS = 3;
const FAILURES_MAX = 3;

/** A program that may be wrong: half of them have something left out or changed. */
export function generateDoubtful(random: Random, { loops = true } = {}): Program | undefined {
  const whole = withoutLoops(generateValid(random, { loops }));
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
  readonly failures: readonly string[];
}

function isAccepted(program: Program): boolean {
  const flow = new Flow(program);
  if (flow.unreachable.length > 0) return false;
  return new Exploration(program, flow, { order: 'prove', limit: VISITED_MAX }).run() === undefined;
}

/** Runs what the verifier accepts in checked mode: nothing of it may fault. */
export function sweepSoundness(first: number, count: number): SweepResult {
  const world = new World(2);
  const execution = world.execution();
  const failures: string[] = [];
  let [accepted, rejected] = [0, 0];
  for (let seed = first; seed < first + count && failures.length < FAILURES_MAX; seed++) {
    const random = new Random(seed);
    const program = generateDoubtful(random);
    if (program === undefined) continue;
    if (!isAccepted(program)) {
      rejected++;
      continue;
    }
    accepted++;
    for (let left = PACKETS; left > 0; left--) {
      const packet = left === PACKETS ? generatePacket(random).subarray(0, 14) : generatePacket(random);
      world.reset(packet);
      const { fault } = interpret({ program, ...execution, checked: true, fuel: FUEL });
      // How deep programs lie that others call at their tail is known to none of them.
      if (fault === undefined || fault.kind === FAULT_STACK) continue;
      const what = `fault ${fault.kind} at ${fault.pc}, address 0x${fault.address.toString(16)}`;
      const text = disassemble(program).join('\n');
      failures.push(`RINGWAY_SEED=${seed}: ${what}, packet ${Buffer.from(packet).toString('hex')}\n${text}`);
      break;
    }
  }
  return { accepted, rejected, failures };
}
