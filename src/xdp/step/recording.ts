import type { Step } from '../../bpf/interpreter.ts';
import { lineOf, type Program, type SourceLine } from '../../bpf/program.ts';
import type { RunContext, RunResult, XdpProgram } from '../run.ts';

/** An instruction that was about to run. */
export interface Moment {
  readonly program: Program;
  readonly pc: number;
  /** 0 in the program itself, 1 in a function that it calls. */
  readonly depth: number;
  /** Undefined where the object has no lines. */
  readonly line: SourceLine | undefined;
}

/** What ends a run that is only to be followed up to a moment. */
class Reached extends Error {}

/** Hands the steps of a program to whoever listens: make it first, then the program with its `onStep`. */
export class StepTap {
  listener: ((step: Step) => void) | undefined;

  readonly onStep = (step: Step): void => this.listener?.(step);
}

/**
 * A run on one packet that one can go back and forth in. What is kept is the list of its instructions, and a copy of the memory
 * before; registers and memory at a moment are found by running again up to there, which gives the same every time.
 */
export class Recording {
  readonly moments: readonly Moment[];
  /** What came of the packet in the end. */
  readonly result: RunResult;
  readonly program: XdpProgram;
  readonly #tap: StepTap;
  readonly #restore: () => void;
  readonly #run: () => RunResult;

  /** Runs `packet`, whose time and maps are the program's as they are. */
  constructor(program: XdpProgram, tap: StepTap, packet: Uint8Array, context: RunContext = {}) {
    this.program = program;
    this.#tap = tap;
    this.#restore = program.save();
    this.#run = () => program.run(packet, context);
    const moments: Moment[] = [];
    tap.listener = ({ program: code, pc, depth }) => {
      const found = lineOf(code, pc);
      moments.push({ program: code, pc, depth, line: found?.line === 0 ? undefined : found });
    };
    this.result = this.#run();
    tap.listener = undefined;
    this.moments = moments;
  }

  /**
   * Makes the program's memory what it was at a moment; behind the last one, what it is in the end. Returns the registers;
   * undefined in the end.
   */
  goTo(moment: number): BigUint64Array | undefined {
    let registers: BigUint64Array | undefined;
    let next = 0;
    this.#restore();
    this.#tap.listener = (step) => {
      if (next++ < moment) return;
      registers = step.registers.slice();
      throw new Reached();
    };
    try {
      this.#run();
    } catch (error) {
      if (!(error instanceof Reached)) throw error;
    } finally {
      this.#tap.listener = undefined;
    }
    return registers;
  }
}
