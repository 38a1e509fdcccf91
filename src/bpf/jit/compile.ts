import type { Arena } from '../../memory/arena.ts';
import { RingwayError } from '../../util/errors.ts';
import { HELPER_SPIN_LOCK, HELPER_TAIL_CALL, HELPERS, type Helper } from '../helpers.ts';
import { CALL_HELPER, CALL_LOCAL, OP_CALL, OP_CALLX } from '../instruction.ts';
import {
  CTX_FUEL,
  CTX_STACK,
  CTX_TAIL_CALLS,
  FRAME_BYTES,
  KIND_HASH,
  KIND_LRU_HASH,
  KIND_LRU_PERCPU_HASH,
  KIND_PERCPU_HASH,
  MAP_CPU_SPAN,
  MAP_MAX_ENTRIES,
  MAP_STRIDE,
  MAP_VALUES,
} from '../layout.ts';
import { HASH_BUCKETS, HASH_ELEMENT_SIZE, HASH_ELEMENTS, HASH_SEED, HASH_SHIFT, HASH_USED } from '../maps/layout.ts';
import type { BpfMap } from '../maps/map.ts';
import { lineOf, type Program, placeOf } from '../program.ts';
import type { Proof } from '../verifier/proof.ts';
import { MISSING_FUNCTION, MISSING_TYPE } from '../verify.ts';
import { analyse } from './analyse.ts';
import { compileBurst } from './burst.ts';
import { Code, moduleBytes, nameBytes, OP, section, unsigned, VALUE, vector } from './encoder.ts';
import { compileFunction } from './function.ts';
import { type HashConstants, type MapConstants, type ModuleContext, RELEASE_LOCK } from './writer.ts';

/** How a program is compiled. */
export interface CompileOptions {
  /** The program's maps in the arena, by number. */
  readonly maps: readonly BpfMap[];
  /** Check every access and count loops and calls, for programs that nobody has proven safe. */
  readonly checked: boolean;
  /** What was proven of this very program, and need not be checked. */
  readonly proof?: Proof;
  /** Whether r1 is the context, as in XDP programs (the default), or whatever `run` is given. */
  readonly hasContext?: boolean;
  /** What a checked run may take: about one for an instruction of a loop. */
  readonly fuel?: number;
}

/** As many as the kernel's verifier goes through (Linux BPF_COMPLEXITY_LIMIT_INSNS). */
const FUEL = 1_000_000;
/** Kinds whose look-ups are compiled in place. */
const HASHES: readonly number[] = [KIND_HASH, KIND_PERCPU_HASH, KIND_LRU_HASH, KIND_LRU_PERCPU_HASH];

/** What compiled code knows of a map. */
function constantsOf(arena: Arena, map: BpfMap): MapConstants {
  const word = (offset: number): number => arena.u32[(map.address + offset) >>> 2] ?? 0;
  const [range] = map.ranges();
  const hash: HashConstants = {
    buckets: word(HASH_BUCKETS),
    shift: word(HASH_SHIFT),
    elements: word(HASH_ELEMENTS),
    elementSize: word(HASH_ELEMENT_SIZE),
    seed: BigInt(word(HASH_SEED)) | (BigInt(word(HASH_SEED + 4)) << 32n),
    used: word(HASH_USED),
  };
  return {
    address: map.address,
    kind: map.kind,
    keyBytes: map.definition.keyBytes,
    valueBytes: map.definition.valueBytes,
    maxEntries: word(MAP_MAX_ENTRIES),
    values: word(MAP_VALUES),
    stride: word(MAP_STRIDE),
    cpuSpan: word(MAP_CPU_SPAN),
    reachableBytes: range?.bytes ?? 0,
    isWritable: range?.writable ?? false,
    ...(HASHES.includes(map.kind) ? { hash } : {}),
  };
}

type Signature = readonly [params: readonly number[], results: readonly number[]];

const { I32, I64 } = VALUE;
const FUNCTION: Signature = [[I32, I32, I64, I64, I64, I64, I64], [I64]];
const BURST: Signature = [[I32, I32, I32, I32], []];
const RUN: Signature = [[I32, I64, I64], [I64]];
const REACH: Signature = [[I32, I64, I64, I32], [I32]];
const REACH_MAP: Signature = [[I32, I64], [I32]];
const RELEASE: Signature = [[I32], []];

function signatureOf({ args, returns }: Helper): Signature {
  return [[I32, ...args.map((argument) => (argument === 'u64' ? I64 : I32))], [returns === 'i64' ? I64 : I32]];
}

/** The kernels that a program calls, each with its signature. */
function kernelsOf(program: Program, checked: boolean): Map<string, Signature> {
  const kernels = new Map<string, Signature>();
  if (checked) kernels.set('bpfReach', REACH).set('bpfReachMap', REACH_MAP);
  const add = (helper: Helper): void => {
    if (helper.kernel !== undefined) kernels.set(helper.kernel, signatureOf(helper));
    if (helper.id === HELPER_SPIN_LOCK && checked) kernels.set(RELEASE_LOCK, RELEASE);
  };
  for (const [pc, { opcode, src, imm }] of program.code.entries()) {
    if (opcode === OP_CALLX) for (const helper of HELPERS.values()) add(helper);
    if (opcode !== OP_CALL || src !== CALL_HELPER || imm === MISSING_TYPE || imm === MISSING_FUNCTION) continue;
    const helper = HELPERS.get(imm);
    if (helper === undefined) {
      throw new RingwayError(
        'BAD_PROGRAM',
        `${program.name}: no helper ${imm} here, called at ${placeOf(program, pc)}`,
      );
    }
    add(helper);
  }
  return kernels;
}

/** Frames that each function and all that it calls need. The call graph is a tree of at most FRAMES_MAX levels. */
function framesOf({ code, functions }: Program): number[] {
  const frames: number[] = functions.map(() => 0);
  const measure = (index: number): number => {
    if (frames[index] !== 0) return frames[index] ?? 0;
    const { start = 0, end = 0 } = functions[index] ?? {};
    let below = 0;
    for (let pc = start; pc < end; pc++) {
      const { opcode, src, imm } = code[pc] ?? { opcode: 0, src: 0, imm: 0 };
      if (opcode !== OP_CALL || src !== CALL_LOCAL) continue;
      below = Math.max(below, measure(functions.findIndex((callee) => callee.start === pc + 1 + imm)));
    }
    frames[index] = below + 1;
    return below + 1;
  };
  for (const index of functions.keys()) measure(index);
  return frames;
}

/** Runs the program once, with r1 and r2 as given: for tests, and for packets that are in no slot. */
function compileRun({ firstFunction, usesFuel, fuel }: ModuleContext): number[] {
  const code = new Code(3);
  code.get(0).i32(0).access(OP.I32_STORE, CTX_TAIL_CALLS);
  if (usesFuel) code.get(0).i32(fuel).access(OP.I32_STORE, CTX_FUEL);
  code
    .get(0)
    .get(0)
    .i32(CTX_STACK + FRAME_BYTES)
    .op(OP.I32_ADD)
    .get(1)
    .get(2)
    .i64(0n)
    .i64(0n)
    .i64(0n);
  code.call(firstFunction);
  return code.finish();
}

/** The name section: each function's own name, with the place in the source that it comes from. */
function nameSection(program: Program, imports: readonly string[]): number[] {
  const names = [
    ...imports,
    ...program.functions.map(({ name, start }) => {
      const line = lineOf(program, start);
      return line === undefined ? name : `${name} ${line.file}:${line.line}`;
    }),
    `${program.name}.burst`,
    `${program.name}.run`,
  ];
  const functions = vector(names.map((name, index) => [...unsigned(index), ...nameBytes(name)]));
  return section(0, [...nameBytes('name'), ...section(0, nameBytes(program.name)), ...section(1, functions)]);
}

const MEMORY_PAGES_MAX = 65536;

/**
 * Compiles a program that was verified structurally to WebAssembly over the memory of `arena`, with the addresses of its
 * maps as constants. The module can be posted to other threads; `instantiateProgram` makes it run there.
 * @throws RingwayError `BAD_PROGRAM` when it calls a helper that there is not, with the line.
 */
export function compileProgram(arena: Arena, program: Program, options: CompileOptions): WebAssembly.Module {
  return new WebAssembly.Module(programBytes(arena, program, options) as Uint8Array<ArrayBuffer>);
}

/** The WebAssembly of `compileProgram`, as bytes. */
export function programBytes(arena: Arena, program: Program, options: CompileOptions): Uint8Array {
  const { checked, proof, hasContext = true, fuel = FUEL } = options;
  const kernels = kernelsOf(program, checked);
  const calls = program.code.filter(({ opcode, src }) => opcode === OP_CALL && src === CALL_LOCAL);
  const hasTailCalls = program.code.some(
    ({ opcode, src, imm }) => opcode === OP_CALL && src === CALL_HELPER && imm === HELPER_TAIL_CALL,
  );
  const analyses = analyse(program, hasContext);
  const hasLoops = analyses.some(({ graph }) => graph.isLoop.includes(true) || !graph.isReducible);
  const isBounded = proof?.stepsMax !== undefined && proof.stepsMax <= fuel;
  const module: ModuleContext = {
    program,
    maps: options.maps.map((map) => constantsOf(arena, map)),
    checked,
    proven: proof?.safe,
    isBounded,
    kernels: new Map([...kernels.keys()].map((name, index) => [name, index])),
    firstFunction: kernels.size,
    functionType: 0,
    usesFuel: checked && (hasTailCalls || (!isBounded && (hasLoops || calls.length > 0))),
    fuel,
  };
  const frames = framesOf(program);
  const bodies = program.functions.map((_, index) =>
    compileFunction(module, analyses[index] as (typeof analyses)[number], index, frames[index] ?? 1),
  );
  bodies.push(compileBurst(module, analyses[0] as (typeof analyses)[number], hasTailCalls), compileRun(module));
  const fixed: Signature[] = [FUNCTION, BURST, RUN];
  const types = [...fixed, ...kernels.values()].map(([params, results]) => [
    0x60,
    ...vector(params.map((type) => [type])),
    ...vector(results.map((type) => [type])),
  ]);
  const imports = [
    // A shared memory of any size.
    [...nameBytes('env'), ...nameBytes('memory'), 2, 3, ...unsigned(1), ...unsigned(MEMORY_PAGES_MAX)],
    ...[...kernels.keys()].map((name, index) => [
      ...nameBytes('kernel'),
      ...nameBytes(name),
      0,
      ...unsigned(fixed.length + index),
    ]),
    ...(hasTailCalls ? [[...nameBytes('env'), ...nameBytes('programs'), 1, 0x70, 0, 1]] : []),
  ];
  const burst = module.firstFunction + program.functions.length;
  const exports = (
    [
      ['main', module.firstFunction],
      ['burst', burst],
      ['run', burst + 1],
    ] as const
  ).map(([name, index]) => [...nameBytes(name), 0, ...unsigned(index)]);
  return moduleBytes([
    section(1, vector(types)),
    section(2, vector(imports)),
    section(3, vector([...program.functions.map(() => [0]), [1], [2]])),
    section(7, vector(exports)),
    section(10, vector(bodies)),
    nameSection(program, [...kernels.keys()]),
  ]);
}

/** A compiled program over an arena, in one thread. */
export interface ProgramInstance {
  /**
   * Runs it on `count` packets at `slots`; writes what it says of each, VERDICT_… (`layout.ts`), to `verdicts`. All of the
   * context but the packet's words is set before.
   */
  burst(context: number, slots: number, count: number, verdicts: number): void;
  /** Runs it once, as the context's words say, with r1 and r2 as given. Returns r0. */
  run(context: number, r1: bigint, r2: bigint): bigint;
  /** What a table of programs holds. */
  readonly main: CallableFunction;
}

/** A thread's programs by number: what tail calls reach. Number 0 is none. */
export function createProgramTable(size: number): WebAssembly.Table {
  return new WebAssembly.Table({ initial: size, element: 'anyfunc' });
}

/**
 * Makes a compiled program run in this thread.
 * @param programs the thread's table, for a program with tail calls.
 */
export function instantiateProgram(
  arena: Arena,
  module: WebAssembly.Module,
  programs: WebAssembly.Table = createProgramTable(1),
): ProgramInstance {
  const imports = {
    env: { memory: arena.handle.memory, programs },
    kernel: arena.kernels<WebAssembly.ModuleImports>(),
  };
  return new WebAssembly.Instance(module, imports).exports as unknown as ProgramInstance;
}
