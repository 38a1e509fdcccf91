import { instructionText } from '../disassemble.ts';
import { OP_LDDW } from '../instruction.ts';
import type { Program } from '../program.ts';
import { verifyStructure } from '../verify.ts';
import { registersOf } from './describe.ts';
import { Exploration, type Failure, INSTRUCTIONS_MAX } from './explore.ts';
import { Flow } from './flow.ts';
import { Refusal, type RejectionReason } from './refusal.ts';
import { type Rejection, rejectionOf } from './rejection.ts';
import { findDeepStack } from './stack-depth.ts';
import type { State } from './state.ts';

/** What verifying a program took. */
export interface VerifierStatistics {
  /** Instructions that were visited, each as often as it was: 1,000,000 at most. */
  readonly instructions: number;
  /** States that were kept to compare others with. */
  readonly states: number;
  /** Most states that there were at once. */
  readonly peakStates: number;
  /** Ways that were not followed to their end, since the same was known already. */
  readonly pruned: number;
  /** Instructions that no path reaches, though a jump leads there. */
  readonly dead: readonly number[];
  /** Bytes of stack that each function takes, in the order of the program's functions. */
  readonly stackBytes: readonly number[];
}

/** What the verifier says of a program. */
export type Verdict =
  | { readonly accepted: true; readonly statistics: VerifierStatistics }
  | { readonly accepted: false; readonly statistics: VerifierStatistics; readonly rejection: Rejection };

/** How a program is verified. */
export interface VerifyOptions {
  /** Gets a line for each instruction that is visited: what it is, and what is known of the registers before it. */
  readonly log?: (line: string) => void;
}

/** What looking for the shortest way to a failure may take, in instructions. */
const SEARCH_MAX = 100_000;
/** Failures of all of a program, not of one way through it. */
const WHOLE: readonly RejectionReason[] = ['infinite-loop', 'budget'];

/** The failure with the fewest branches before it, when that is found in time. */
function shortest(program: Program, flow: Flow, first: Failure): Failure {
  if (WHOLE.includes(first.refusal.reason)) return first;
  const found = new Exploration(program, flow, { order: 'search', limit: SEARCH_MAX }).run();
  return found === undefined || WHOLE.includes(found.refusal.reason) ? first : found;
}

function logLine(program: Program, state: State): string {
  const registers = Object.entries(registersOf(state)).map(([name, text]) => `${name} = ${text}`);
  return `${String(state.pc).padStart(6)}: ${instructionText(program, state.pc)}    ; ${registers.join('; ')}`;
}

function statisticsOf({ code, loops }: Program, exploration: Exploration): VerifierStatistics {
  const { visited, counts, stackBytes } = exploration;
  const own = [...code.keys()].slice(0, loops?.start);
  const dead = own.filter((pc) => visited[pc] === 0 && code[pc - 1]?.opcode !== OP_LDDW);
  return { ...counts, dead, stackBytes };
}

/**
 * Says whether a program is safe on every packet, by following all ways through it as the kernel's verifier does: that each
 * access lies in what it points to, helpers get what they take, nothing that was taken is kept, and it ends.
 *
 * A program that is accepted never faults in checked mode, but for tail calls that lead too deep, and for a spin lock that
 * another program keeps.
 * @throws RingwayError `BAD_PROGRAM` on what `verifyStructure` refuses.
 */
export function verifyProgram(program: Program, { log }: VerifyOptions = {}): Verdict {
  verifyStructure(program);
  const flow = new Flow(program);
  const onStep = log === undefined ? {} : { onStep: (state: State) => log(logLine(program, state)) };
  const exploration = new Exploration(program, flow, { order: 'prove', limit: INSTRUCTIONS_MAX, ...onStep });
  const [unreachable] = flow.unreachable;
  if (unreachable !== undefined) {
    const refusal = new Refusal('unreachable', 'nothing leads to this instruction.', 'Leave it out.');
    const rejection = rejectionOf(program, refusal, undefined, unreachable);
    return { accepted: false, statistics: statisticsOf(program, exploration), rejection };
  }
  const failure = exploration.run();
  const statistics = statisticsOf(program, exploration);
  if (failure !== undefined) {
    const { refusal, state } = shortest(program, flow, failure);
    return { accepted: false, statistics, rejection: rejectionOf(program, refusal, state, state.pc) };
  }
  const deep = findDeepStack(program, statistics.stackBytes);
  if (deep === undefined) return { accepted: true, statistics };
  return { accepted: false, statistics, rejection: rejectionOf(program, deep.refusal, undefined, deep.pc) };
}
