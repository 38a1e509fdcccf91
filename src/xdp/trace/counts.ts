import { isConditional, jumpTarget } from '../../bpf/instruction.ts';
import type { Step } from '../../bpf/interpreter.ts';
import type { Program } from '../../bpf/program.ts';
import type { XdpProgram } from '../run.ts';

/** How often each instruction of a program ran, and which ways its jumps went. */
export interface ProgramCounts {
  readonly program: Program;
  /** Path of its object file. */
  readonly object: string;
  /** By instruction. */
  readonly runs: Float64Array;
  /** Of a conditional jump: times that it jumped. */
  readonly jumps: Float64Array;
}

/**
 * Counts what programs do, an instruction at a time: hand `onStep` to `loadXdp`, with the interpreter as engine. That is exact,
 * and needs no second kind of compiled code whose counters would have to be held against the interpreter anyway.
 */
export class ExecutionCounts {
  readonly #byName = new Map<string, ProgramCounts>();
  readonly #byProgram = new Map<Program, ProgramCounts>();
  /** The conditional jump that the last instruction was. */
  #jump: { readonly counts: ProgramCounts; readonly pc: number; readonly target: number } | undefined;

  /** Makes all programs of an object known, so that those that never run are seen to have not. */
  add(loaded: XdpProgram, object: string): void {
    for (const program of loaded.programs) {
      // An object may be loaded several times: its programs are the same, instruction by instruction.
      const key = `${object}\0${program.name}`;
      const bytes = program.code.length;
      const fresh = { program, object, runs: new Float64Array(bytes), jumps: new Float64Array(bytes) };
      const counts = this.#byName.get(key) ?? fresh;
      this.#byName.set(key, counts);
      this.#byProgram.set(program, counts);
    }
  }

  readonly onStep = ({ program, pc }: Step): void => {
    const counts = this.#byProgram.get(program);
    if (counts === undefined) return;
    const jump = this.#jump;
    this.#jump = undefined;
    // A run that had no fuel left ends behind a jump: what comes next is another run's.
    if (jump !== undefined && jump.counts === counts && pc === jump.target) add(counts.jumps, jump.pc);
    add(counts.runs, pc);
    const instruction = program.code[pc];
    if (instruction !== undefined && isConditional(instruction.opcode)) {
      this.#jump = { counts, pc, target: jumpTarget(instruction, pc) };
    }
  };

  /** Of each program that is known. */
  get programs(): readonly ProgramCounts[] {
    return [...this.#byName.values()];
  }
}

function add(counts: Float64Array, pc: number): void {
  counts[pc] = (counts[pc] ?? 0) + 1;
}
