import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Arena, createArena } from '../memory/arena.ts';
import { RingwayError } from '../util/errors.ts';
import { programOf } from './assemble.ts';
import { type ConformanceTest, parseConformance } from './conformance-file.ts';
import {
  ALU,
  accessBytes,
  accessMode,
  CLASS,
  type Instruction,
  isConditional,
  MODE,
  OP_CALLX,
  OP_JA32,
  OP_LDDW,
  opcodeClass,
  operation,
} from './instruction.ts';
import { interpret } from './interpreter.ts';
import { compileProgram, instantiateProgram } from './jit/compile.ts';
import {
  CTX_BYTES,
  CTX_CLOCK,
  CTX_FAULT,
  CTX_FAULT_PC,
  CTX_RANDOM,
  CTX_RANGE_COUNT,
  CTX_RANGES,
  RANGE_BYTES,
  RANGE_WRITABLE,
} from './layout.ts';
import type { Program } from './program.ts';

/** What runs the tests: `run` gives r0, with the address of a copy of `memory` in r1 and its length in r2. */
export interface ConformanceEngine {
  readonly name: string;
  run(program: Program, memory: Uint8Array): bigint;
}

/** Groups of instructions (RFC 9669, section 2.4), and `v4`, what clang emits from -mcpu=v4 on. A test is in the last that it needs. */
export const CONFORMANCE_GROUPS = [
  'base32',
  'base64',
  'divmul32',
  'divmul64',
  'atomic32',
  'atomic64',
  'v4',
  'callx',
] as const;
export type ConformanceGroup = (typeof CONFORMANCE_GROUPS)[number];

/** What became of a test. */
export interface ConformanceResult {
  readonly test: string;
  readonly group: ConformanceGroup;
  readonly passed: boolean;
  /** What came out instead; empty when it passed. */
  readonly why: string;
}

function arithmeticGroup({ opcode, offset, imm }: Instruction): ConformanceGroup {
  const is64 = opcodeClass(opcode) === CLASS.ALU64;
  const what = operation(opcode);
  if (what === ALU.MOV) return offset !== 0 ? 'v4' : is64 ? 'base64' : 'base32';
  if (what === ALU.END) return is64 ? 'v4' : imm === 64 ? 'base64' : 'base32';
  if (what !== ALU.MUL && what !== ALU.DIV && what !== ALU.MOD) return is64 ? 'base64' : 'base32';
  return offset !== 0 ? 'v4' : is64 ? 'divmul64' : 'divmul32';
}

/** The group that an instruction is in. */
export function groupOf(instruction: Instruction): ConformanceGroup {
  const { opcode } = instruction;
  if (opcode === OP_CALLX) return 'callx';
  if (opcode === OP_JA32) return 'v4';
  if (opcode === OP_LDDW) return 'base64';
  switch (opcodeClass(opcode)) {
    case CLASS.ALU:
    case CLASS.ALU64:
      return arithmeticGroup(instruction);
    case CLASS.JMP:
      return isConditional(opcode) ? 'base64' : 'base32';
    case CLASS.JMP32:
      return 'base32';
    default:
      if (accessMode(opcode) === MODE.ATOMIC) return accessBytes(opcode) === 8 ? 'atomic64' : 'atomic32';
      if (accessMode(opcode) === MODE.MEMSX) return 'v4';
      return accessBytes(opcode) === 8 ? 'base64' : 'base32';
  }
}

/** The group of a test: the last of CONFORMANCE_GROUPS that one of its instructions is in. */
export function testGroup(code: readonly Instruction[]): ConformanceGroup {
  const rank = code.reduce((most, one) => Math.max(most, CONFORMANCE_GROUPS.indexOf(groupOf(one))), 0);
  return CONFORMANCE_GROUPS[rank] as ConformanceGroup;
}

function runTest(test: ConformanceTest, engine: ConformanceEngine): string {
  let r0: bigint;
  try {
    r0 = engine.run(programOf(test.code, test.name), test.memory);
  } catch (error) {
    if (!(error instanceof RingwayError)) throw error;
    return test.result === undefined ? '' : error.message;
  }
  if (test.result === undefined) return `it ran, and must be refused; r0 is 0x${r0.toString(16)}`;
  return r0 === test.result ? '' : `r0 is 0x${r0.toString(16)}, must be 0x${test.result.toString(16)}`;
}

/**
 * The tests in the files `*.data` of a directory, by name.
 * @throws RingwayError `NOT_FOUND` when there are none, `BAD_PROGRAM` when one cannot be read.
 */
export function readConformance(directory: string): ConformanceTest[] {
  let names: string[];
  try {
    names = readdirSync(directory).filter((name) => name.endsWith('.data'));
  } catch (cause) {
    throw new RingwayError('NOT_FOUND', `conformance: ${directory} cannot be read: ${cause}`, { cause });
  }
  if (names.length === 0) throw new RingwayError('NOT_FOUND', `conformance: no file *.data in ${directory}`);
  return names.sort().map((name) => parseConformance(name.slice(0, -5), readFileSync(join(directory, name), 'utf8')));
}

/**
 * Runs the tests of a directory in one engine.
 * @throws RingwayError as `readConformance`; what an engine refuses is a test that failed.
 */
export function runConformance(directory: string, engine: ConformanceEngine): ConformanceResult[] {
  return readConformance(directory).map((test) => {
    const why = runTest(test, engine);
    return { test: test.name, group: testGroup(test.code), passed: why === '', why };
  });
}

/** Where engines run the tests: a context, and behind it memory that a program may write. */
export interface ConformanceGround {
  readonly arena: Arena;
  readonly context: number;
  /** Address of the test's memory. */
  readonly memory: number;
}

/** Bytes that the memory of a test may take. */
const MEMORY_BYTES = 4096;

/** A context with a clock, a random state and one range, which is the test's memory. */
export function conformanceGround(arena: Arena = createArena({ bytes: 64 << 10 })): ConformanceGround {
  const context = arena.allocate('context', CTX_BYTES);
  const memory = arena.allocate('memory', MEMORY_BYTES);
  const ranges = arena.allocate('ranges', 16);
  const put = (address: number, value: number): void => {
    arena.u32[address >>> 2] = value;
  };
  put(context + CTX_CLOCK, arena.allocate('clock', 8));
  put(context + CTX_RANDOM, 1);
  put(context + CTX_RANGES, ranges);
  put(context + CTX_RANGE_COUNT, 1);
  put(ranges, memory);
  put(ranges + RANGE_BYTES, MEMORY_BYTES);
  put(ranges + RANGE_WRITABLE, 1);
  return { arena, context, memory };
}

/** Puts a test's memory in its place. Returns what r1 and r2 are. */
export function placeMemory(ground: ConformanceGround, memory: Uint8Array): { r1: bigint; r2: bigint } {
  if (memory.length > MEMORY_BYTES) {
    throw new RingwayError(
      'BAD_PROGRAM',
      `conformance: a test's memory has ${memory.length} bytes, at most ${MEMORY_BYTES}`,
    );
  }
  ground.arena.u8.set(memory, ground.memory);
  return { r1: BigInt(ground.memory), r2: BigInt(memory.length) };
}

/** The interpreter as an engine, in checked mode: a program that runs wild fails its test and nothing else. */
export function interpreterEngine(ground: ConformanceGround = conformanceGround()): ConformanceEngine {
  const { arena, context } = ground;
  return {
    name: 'interpreter',
    run(program, memory) {
      const registers = placeMemory(ground, memory);
      const { r0, fault } = interpret({ program, maps: [], arena, context, registers, checked: true });
      if (fault === undefined) return r0;
      const { kind, pc, address } = fault;
      throw new RingwayError('BAD_PROGRAM', `fault ${kind} at instruction ${pc}, address 0x${address.toString(16)}`);
    },
  };
}

/** Compiled code as an engine, checked or not. */
export function compilerEngine(checked: boolean, ground: ConformanceGround = conformanceGround()): ConformanceEngine {
  const { arena, context } = ground;
  return {
    name: checked ? 'checked' : 'jit',
    run(program, memory) {
      const { r1, r2 } = placeMemory(ground, memory);
      const module = compileProgram(arena, program, { maps: [], checked, hasContext: false });
      const r0 = BigInt.asUintN(64, instantiateProgram(arena, module).run(context, r1, r2));
      const fault = arena.u32[(context + CTX_FAULT) >>> 2] ?? 0;
      if (fault === 0) return r0;
      arena.u32[(context + CTX_FAULT) >>> 2] = 0;
      const pc = arena.u32[(context + CTX_FAULT_PC) >>> 2];
      throw new RingwayError('BAD_PROGRAM', `fault ${fault} at instruction ${pc}`);
    },
  };
}

/** The engines by name; each makes its own ground. */
export const conformanceEngines: Readonly<Record<string, () => ConformanceEngine>> = {
  interpreter: () => interpreterEngine(),
  jit: () => compilerEngine(false),
  checked: () => compilerEngine(true),
};

/** A line for each group: how many of its tests passed, in each engine. */
export function formatConformance(results: Readonly<Record<string, readonly ConformanceResult[]>>): string {
  const engines = Object.keys(results);
  const cell = (engine: string, group: ConformanceGroup | undefined): string => {
    const those = (results[engine] ?? []).filter((result) => group === undefined || result.group === group);
    return those.length === 0 ? '-' : `${those.filter(({ passed }) => passed).length} of ${those.length}`;
  };
  const rows = [
    ['group', ...engines],
    ...CONFORMANCE_GROUPS.map((group) => [group, ...engines.map((engine) => cell(engine, group))]),
    ['all', ...engines.map((engine) => cell(engine, undefined))],
  ];
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? [];
  const table = rows.map((row) =>
    row
      .map((text, column) => text.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
  const failures = engines.flatMap((engine) =>
    (results[engine] ?? []).filter(({ passed }) => !passed).map(({ test, why }) => `${engine}: ${test}: ${why}`),
  );
  return [...failures, ...table].join('\n');
}
