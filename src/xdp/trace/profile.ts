import { OP_EXIT } from '../../bpf/instruction.ts';
import type { Step } from '../../bpf/interpreter.ts';
import { functionOf, lineOf, type Program } from '../../bpf/program.ts';
import type { XdpProgram } from '../run.ts';
import { sourcePath } from './source.ts';

/** What an instruction, line or function took. */
export interface Cost {
  /** Instructions that ran. */
  instructions: number;
  /** Time in the interpreter, with that of the helpers that were called. */
  ns: number;
}

/** A line of the source, with what its instructions took. */
export interface LineCost extends Cost {
  /** `file:line`; the function's name where the object has no lines. */
  readonly place: string;
  readonly text: string;
}

/** A function as it was called, with those that it called in turn. */
export interface CallNode {
  readonly name: string;
  readonly children: ReadonlyMap<string, CallNode>;
  /** By `file:line`: what the function itself took there. */
  readonly lines: ReadonlyMap<string, LineCost>;
}

interface OpenNode extends CallNode {
  readonly program: Program;
  readonly start: number;
  readonly end: number;
  readonly children: Map<string, OpenNode>;
  readonly lines: Map<string, LineCost>;
}

/** Where an instruction is from. */
interface Place {
  readonly place: string;
  readonly text: string;
}

/** Says what programs take, by line and by call: hand `onStep` to `loadXdp`, with the interpreter as engine. */
export class Profiler {
  readonly #objects = new Map<Program, { readonly object: string; readonly places: Place[] }>();
  readonly #roots = new Map<string, OpenNode>();
  /** The functions that run now, the outermost first. */
  readonly #path: OpenNode[] = [];
  readonly #now: () => number;
  /** What the last instruction took is not known before the next one begins. */
  #last: LineCost | undefined;
  #lastAt = 0;

  /** @param now milliseconds. */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** Makes the programs of an object known. */
  add(loaded: XdpProgram, object: string): void {
    for (const program of loaded.programs) this.#objects.set(program, { object, places: [] });
  }

  readonly onStep = (step: Step): void => {
    const now = this.#now();
    const { program, pc, depth } = step;
    const isStart = pc === 0 && depth === 0;
    // Between two runs there is the time of whoever runs them.
    if (this.#last !== undefined && !isStart) this.#last.ns += (now - this.#lastAt) * 1e6;
    const { place, text } = this.#placeOf(program, pc);
    const { lines } = this.#enter(step);
    const line = lines.get(place) ?? { place, text, instructions: 0, ns: 0 };
    lines.set(place, line);
    line.instructions++;
    this.#last = depth === 0 && program.code[pc]?.opcode === OP_EXIT ? undefined : line;
    this.#lastAt = this.#now();
  };

  /** The function that runs at this depth; after a tail call it is another one. */
  #enter({ program, pc, depth }: Step): OpenNode {
    this.#path.length = Math.min(this.#path.length, depth + 1);
    const there = this.#path[depth];
    if (there !== undefined && there.program === program && pc >= there.start && pc < there.end) return there;
    const { name = program.name, start = 0, end = program.code.length } = functionOf(program, pc) ?? {};
    const siblings = depth === 0 ? this.#roots : (this.#path[depth - 1]?.children ?? this.#roots);
    const node = siblings.get(name) ?? { name, program, start, end, children: new Map(), lines: new Map() };
    siblings.set(name, node);
    this.#path[depth] = node;
    return node;
  }

  #placeOf(program: Program, pc: number): Place {
    const known = this.#objects.get(program);
    const there = known?.places[pc];
    if (there !== undefined) return there;
    const source = lineOf(program, pc);
    const place =
      source === undefined || source.line === 0
        ? { place: functionOf(program, pc)?.name ?? program.name, text: '' }
        : { place: `${sourcePath(source.file, known?.object ?? '')}:${source.line}`, text: source.text.trim() };
    if (known !== undefined) known.places[pc] = place;
    return place;
  }

  /** The outermost functions: programs, and those that they went on in. */
  get roots(): readonly CallNode[] {
    return [...this.#roots.values()];
  }

  /** What each line took in all, the most instructions first. */
  lines(): LineCost[] {
    const all = new Map<string, LineCost>();
    const visit = (node: CallNode): void => {
      for (const [place, { text, instructions, ns }] of node.lines) {
        const sum = all.get(place) ?? { place, text, instructions: 0, ns: 0 };
        all.set(place, sum);
        sum.instructions += instructions;
        sum.ns += ns;
      }
      for (const child of node.children.values()) visit(child);
    };
    for (const root of this.#roots.values()) visit(root);
    return [...all.values()].sort((a, b) => b.instructions - a.instructions || (a.place < b.place ? -1 : 1));
  }
}

/** Stacks as flame graph tools read them (Gregg's stackcollapse): `program;function;file:line instructions`. */
export function foldedStacks(roots: readonly CallNode[]): string[] {
  const fold = (node: CallNode, above: string): string[] => {
    const stack = above === '' ? node.name : `${above};${node.name}`;
    const own = [...node.lines.values()].map(({ place, instructions }) => `${stack};${place} ${instructions}`);
    return [...own, ...[...node.children.values()].flatMap((child) => fold(child, stack))];
  };
  return roots.flatMap((root) => fold(root, '')).sort();
}
