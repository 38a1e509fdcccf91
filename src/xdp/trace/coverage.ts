import { isConditional } from '../../bpf/instruction.ts';
import { lineOf } from '../../bpf/program.ts';
import type { ExecutionCounts, ProgramCounts } from './counts.ts';
import { sourcePath } from './source.ts';

/** A conditional jump: times that it jumped, and that it did not. */
export interface BranchCoverage {
  readonly jumped: number;
  readonly passed: number;
}

/** A line of a source file that there is code for. */
export interface LineCoverage {
  /** From 1. */
  readonly line: number;
  /** As the object has it; empty when it has not. */
  readonly text: string;
  /** Times that it ran. */
  readonly runs: number;
  readonly branches: readonly BranchCoverage[];
}

/** A function, in each program that has it. */
export interface FunctionCoverage {
  readonly name: string;
  readonly line: number;
  readonly runs: number;
}

/** A source file. */
export interface FileCoverage {
  readonly path: string;
  /** Ascending. */
  readonly lines: readonly LineCoverage[];
  readonly functions: readonly FunctionCoverage[];
}

/** How many there are, and how many of them ran: of a branch each of both ways counts. */
export interface CoverageTotal {
  readonly lines: readonly [covered: number, all: number];
  readonly branches: readonly [covered: number, all: number];
  readonly functions: readonly [covered: number, all: number];
}

interface OpenLine {
  readonly text: string;
  runs: number;
  branches: BranchCoverage[];
}

interface OpenFile {
  readonly lines: Map<number, OpenLine>;
  readonly functions: Map<string, FunctionCoverage>;
}

class Collector {
  readonly #files = new Map<string, OpenFile>();

  #file(path: string): OpenFile {
    const file = this.#files.get(path) ?? { lines: new Map(), functions: new Map() };
    this.#files.set(path, file);
    return file;
  }

  add({ program, object, runs, jumps }: ProgramCounts): void {
    const paths = new Map<string, string>();
    const pathOf = (written: string): string => {
      const path = paths.get(written) ?? sourcePath(written, object);
      paths.set(written, path);
      return path;
    };
    // A line ran as often as the one of its instructions that ran most often: the others are parts of it.
    const most = new Map<OpenLine, number>();
    // What linking added is in no file.
    const end = program.loops?.start ?? program.code.length;
    for (let pc = 0; pc < end; pc++) {
      const source = lineOf(program, pc);
      // Line 0 is what the compiler made up.
      if (source === undefined || source.line === 0) continue;
      const { lines } = this.#file(pathOf(source.file));
      const line = lines.get(source.line) ?? { text: source.text, runs: 0, branches: [] };
      lines.set(source.line, line);
      const count = runs[pc] ?? 0;
      most.set(line, Math.max(most.get(line) ?? 0, count));
      const { opcode = 0, offset = 0 } = program.code[pc] ?? {};
      if (!isConditional(opcode) || offset === 0) continue;
      const jumped = jumps[pc] ?? 0;
      line.branches.push({ jumped, passed: count - jumped });
    }
    for (const [line, count] of most) line.runs += count;
    for (const { name, start } of program.functions) {
      if (start >= end) continue;
      const source = lineOf(program, start);
      if (source === undefined || source.line === 0) continue;
      const { functions } = this.#file(pathOf(source.file));
      const before = functions.get(name)?.runs ?? 0;
      functions.set(name, { name, line: source.line, runs: before + (runs[start] ?? 0) });
    }
  }

  files(): FileCoverage[] {
    return [...this.#files]
      .map(([path, { lines, functions }]) => ({
        path,
        lines: [...lines].map(([line, open]) => ({ line, ...open })).sort((a, b) => a.line - b.line),
        functions: [...functions.values()].sort((a, b) => a.line - b.line),
      }))
      .sort((a, b) => (a.path < b.path ? -1 : 1));
  }
}

/** What ran of each source file, by the line information of the objects: what was inlined counts where it is written. */
export function coverageOf(counts: ExecutionCounts): FileCoverage[] {
  const collector = new Collector();
  for (const program of counts.programs) collector.add(program);
  return collector.files();
}

/** The sums over files. */
export function totalOf(files: readonly FileCoverage[]): CoverageTotal {
  const count = (runs: readonly number[]): [number, number] => [runs.filter((each) => each > 0).length, runs.length];
  const lines = files.flatMap((file) => file.lines);
  const ways = lines.flatMap(({ branches }) => branches.flatMap(({ jumped, passed }) => [jumped, passed]));
  return {
    lines: count(lines.map(({ runs }) => runs)),
    branches: count(ways),
    functions: count(files.flatMap((file) => file.functions.map(({ runs }) => runs))),
  };
}
