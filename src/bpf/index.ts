/**
 * eBPF programs, as libraries: read from object files, linked, verified structurally, as text and back, compiled to
 * WebAssembly or interpreted an instruction at a time, with the kernel's kinds of maps. `ringway/xdp` runs them on packets.
 *
 * @example
 * import {
 *   assemble,
 *   compileProgram,
 *   createContext,
 *   disassemble,
 *   instantiateProgram,
 *   interpret,
 *   programOf,
 *   verifyStructure,
 * } from 'ringway/bpf';
 * import { createArena } from 'ringway/memory';
 *
 * const program = programOf(assemble('mov %r0, %r1\nmul %r0, %r2\nexit'));
 * verifyStructure(program);
 * console.log(disassemble(program).join('\n'));
 *
 * const arena = createArena({ bytes: 1 << 20 });
 * const context = createContext(arena);
 * const module = compileProgram(arena, program, { maps: [], checked: true, hasContext: false });
 * console.log(instantiateProgram(arena, module).run(context, 6n, 7n));
 * console.log(interpret({ arena, context, program, maps: [], registers: { r1: 6n, r2: 7n } }).r0);
 *
 * @module
 */
export { type ErrorCode, RingwayError } from '../util/errors.ts';
export { assemble, programOf } from './assemble.ts';
export { type AloneOptions, createContext } from './context.ts';
export { disassemble } from './disassemble.ts';
export { decodeInstructions, encodeInstructions, type Instruction } from './instruction.ts';
export { type Execution, interpret, type Outcome, type Step } from './interpreter.ts';
export {
  type CompileOptions,
  compileProgram,
  createProgramTable,
  instantiateProgram,
  type ProgramInstance,
} from './jit/compile.ts';
export type { MapCodec } from './maps/codec.ts';
export { createMap, type MapOptions } from './maps/create.ts';
export { BpfMap } from './maps/map.ts';
export { withVariables } from './object/data.ts';
export { type LinkOptions, linkProgram, type Replacement } from './object/link.ts';
export { loadObject } from './object/load.ts';
export type { BpfObject, ObjectProgram } from './object/object.ts';
export type { BtfValue } from './object/values.ts';
export {
  type FunctionInfo,
  type MapDefinition,
  type Program,
  type ProgramType,
  placeOf,
  type SourceLine,
} from './program.ts';
export type { RejectionReason } from './verifier/refusal.ts';
export type { Branch, Rejection } from './verifier/rejection.ts';
export { type Verdict, type VerifierStatistics, type VerifyOptions, verifyProgram } from './verifier/verify-program.ts';
export { verifyStructure } from './verify.ts';
