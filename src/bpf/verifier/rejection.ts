import { instructionText } from '../disassemble.ts';
import { functionOf, lineOf, type Program, type SourceLine } from '../program.ts';
import { registersOf } from './describe.ts';
import type { Refusal, RejectionReason } from './refusal.ts';
import type { PathStep, State } from './state.ts';

/** A conditional jump on the way to a rejection. */
export interface Branch {
  readonly pc: number;
  /** As `disassemble` writes it. */
  readonly instruction: string;
  readonly taken: boolean;
  /** How often it went this way in a row: more than once in loops. */
  readonly times: number;
  readonly line?: SourceLine;
}

/** Why a program is rejected, in parts and as text. */
export interface Rejection {
  readonly reason: RejectionReason;
  /** Name of the program. */
  readonly program: string;
  /** Name of the function that the instruction is in. */
  readonly function: string;
  readonly pc: number;
  /** As `disassemble` writes it. */
  readonly instruction: string;
  /** Where the source has it, when the object says so. */
  readonly line?: SourceLine;
  /** What is wrong. */
  readonly why: string;
  /** What is missing, and how to write it. */
  readonly missing: string;
  /** What is known of each register there, by name. */
  readonly registers: Readonly<Record<string, string>>;
  /** The jumps on the way there at which there were two ways. */
  readonly path: readonly Branch[];
  /** All of that as people read it. */
  readonly text: string;
}

/** Jumps that are shown: the last ones say most. */
const PATH_SHOWN = 16;

function pathOf(program: Program, last: PathStep | undefined): Branch[] {
  const found: Branch[] = [];
  for (let step = last; step !== undefined; step = step.before) {
    if (!step.isOpen) continue;
    const { pc, taken } = step;
    const next = found.at(-1);
    if (next?.pc === pc && next.taken === taken) {
      found[found.length - 1] = { ...next, times: next.times + 1 };
      continue;
    }
    const line = lineOf(program, pc);
    const instruction = instructionText(program, pc);
    found.push({ pc, instruction, taken, times: 1, ...(line === undefined ? {} : { line }) });
  }
  return found.reverse();
}

const placeText = (line: SourceLine): string => `${line.file}:${line.line}:${line.column}`;

function branchText({ pc, instruction, taken, times, line }: Branch): string {
  const source = line === undefined ? '' : `    ${line.file}:${line.line}: ${line.text.trim()}`.trimEnd();
  const often = times === 1 ? '' : `, ${times} times`;
  return `${String(pc).padStart(6)}: ${instruction} ${taken ? 'is taken' : 'is not taken'}${often}${source}`;
}

function textOf(rejection: Omit<Rejection, 'text'>, culprit: number | undefined): string {
  const { program, function: name, pc, instruction, line, why, missing, registers, path } = rejection;
  const where = line === undefined ? `in ${name}` : `at ${placeText(line)}, in ${name}`;
  const lines = [`program ${program} is rejected ${where}, instruction ${pc}`, ''];
  if (line !== undefined && line.text.trim() !== '')
    lines.push(`${String(line.line).padStart(6)} | ${line.text.trim()}`);
  lines.push(`${String(pc).padStart(6)}: ${instruction}`, '', `why:     ${why}`, `missing: ${missing}`);
  const known = Object.entries(registers);
  if (known.length > 0) lines.push('', 'known there:');
  for (const [register, text] of known) lines.push(`  ${register === `r${culprit}` ? '▶' : ' '} ${register}  ${text}`);
  if (path.length === 0) lines.push('', 'path: straight to there');
  else {
    const shown = path.slice(-PATH_SHOWN);
    const rest = path.length - shown.length;
    lines.push('', 'path:', ...(rest === 0 ? [] : [`        ${rest} earlier jumps`]), ...shown.map(branchText));
  }
  return lines.join('\n');
}

/** What a refusal says to whoever wrote the program. `pc`: where it is, when that is not the state's place. */
export function rejectionOf(
  program: Program,
  { reason, why, missing, culprit }: Refusal,
  state: State | undefined,
  pc: number,
): Rejection {
  const line = lineOf(program, pc);
  const parts = {
    reason,
    program: program.name,
    function: functionOf(program, pc)?.name ?? program.name,
    pc,
    instruction: instructionText(program, pc),
    ...(line === undefined ? {} : { line }),
    why,
    missing,
    registers: state === undefined ? {} : registersOf(state),
    path: pathOf(program, state?.path),
  };
  return { ...parts, text: textOf(parts, culprit) };
}
