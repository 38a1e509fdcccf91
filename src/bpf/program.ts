import type { Instruction } from './instruction.ts';
import type { Btf } from './object/btf.ts';

/** A map as an object file declares it. */
export interface MapDefinition {
  readonly name: string;
  /** BPF_MAP_TYPE_… (`layout.ts`, KIND_…). */
  readonly kind: number;
  readonly keyBytes: number;
  readonly valueBytes: number;
  readonly maxEntries: number;
  /** BPF_F_…. */
  readonly flags: number;
  /** LIBBPF_PIN_BY_NAME: shared by name with other objects. */
  readonly pinned: boolean;
  /** What the map's values are, in a map of maps. */
  readonly inner?: MapDefinition;
  /** Names of the maps (or programs, in a PROG_ARRAY) that it holds at the start, by key. */
  readonly initialValues?: readonly { readonly key: number; readonly name: string }[];
  /** The one value of a data section (`.data`, `.rodata`, `.bss` …) at the start. */
  readonly initial?: Uint8Array;
  /** Ids of the types of key and value in `btf`, when they are known. */
  readonly types?: { readonly btf: Btf; readonly key: number; readonly value: number };
}

/** A function of a program: instructions `start` to `end` - 1. */
export interface FunctionInfo {
  readonly name: string;
  readonly start: number;
  readonly end: number;
}

/** A call of bpf_loop, or of bpf_for_each_map_elem. */
export interface LoopCall {
  /** BPF_FUNC_…. */
  readonly helper: number;
  /** The first instruction of the function that each round calls. */
  readonly callback: number;
}

/** Such calls, in the place of which are calls of functions that `withLoops` added (`loops.ts`). */
export interface LoopCalls {
  /** By instruction that calls. */
  readonly calls: ReadonlyMap<number, LoopCall>;
  /** The first instruction of what was added: it is behind all others. */
  readonly start: number;
}

/** Where an instruction comes from, for it and those behind it up to the next one's. */
export interface SourceLine {
  readonly pc: number;
  readonly file: string;
  /** From 1. */
  readonly line: number;
  readonly column: number;
  /** The line itself, when the object has it; else empty. */
  readonly text: string;
}

/** What a program is attached to. */
export type ProgramType = 'xdp' | 'xdp/devmap' | 'xdp/cpumap' | 'freplace';

/** A linked program: all of its code, the maps by number. */
export interface Program {
  /** The name of its function. */
  readonly name: string;
  readonly section: string;
  readonly type: ProgramType;
  /** It takes packets of several buffers: its section says `xdp.frags`. */
  readonly frags: boolean;
  /** The program, then the functions that it calls. It begins at instruction 0. */
  readonly code: readonly Instruction[];
  /** `functions[0]` is the program itself; together they cover `code`, in order. */
  readonly functions: readonly FunctionInfo[];
  /** LDDW with src 5 or 6 counts in these. */
  readonly maps: readonly MapDefinition[];
  /** Ascending by `pc`; empty when the object has no `.BTF.ext`. */
  readonly lines: readonly SourceLine[];
  /** By instruction: what a call of a helper MISSING_… (`verify.ts`) stands for. */
  readonly missing?: ReadonlyMap<number, string>;
  readonly loops?: LoopCalls;
}

/** The source line of instruction `pc`. */
export function lineOf({ lines }: Pick<Program, 'lines'>, pc: number): SourceLine | undefined {
  return lines.findLast((line) => line.pc <= pc);
}

/** The function that instruction `pc` is in. */
export function functionOf({ functions }: Pick<Program, 'functions'>, pc: number): FunctionInfo | undefined {
  return functions.find(({ start, end }) => pc >= start && pc < end);
}

/** `file.c:12:5 in function, instruction 34: the line`: where an error is. */
export function placeOf(program: Pick<Program, 'lines' | 'functions'>, pc: number): string {
  const line = lineOf(program, pc);
  const where = `${functionOf(program, pc)?.name ?? 'program'}, instruction ${pc}`;
  if (line === undefined) return where;
  const text = line.text.trim();
  return `${line.file}:${line.line}:${line.column} (${where})${text === '' ? '' : `: ${text}`}`;
}
