import type { Arena } from '../memory/arena.ts';
import { RingwayError } from '../util/errors.ts';
import { HELPERS, type Helper, type HelperArgument } from './helpers.ts';
import { addressOf, Fault, type ProgramMemory } from './interpret-memory.ts';
import { FAULT_HELPER, FAULT_MAP, FAULT_MEMORY, MAP_KEY_BYTES, MAP_VALUE_BYTES } from './layout.ts';
import { type Program, placeOf } from './program.ts';
import { MISSING_FUNCTION, MISSING_TYPE } from './verify.ts';

/** A program, and the addresses of its maps by their number in `program.maps`. */
export interface LoadedProgram {
  readonly program: Program;
  readonly maps: readonly number[];
}

/**
 * The helper of that number.
 * @throws Fault when it stands for something that is missing; RingwayError `BAD_PROGRAM` when there is none.
 */
export function helperOf(id: number, program: Program, pc: number): Helper {
  const helper = HELPERS.get(id);
  if (helper !== undefined) return helper;
  if (id === MISSING_TYPE || id === MISSING_FUNCTION) throw new Fault(FAULT_HELPER, BigInt(id));
  throw new RingwayError(
    'BAD_PROGRAM',
    `${placeOf(program, pc)}: helper ${id} is not one that ringway has; it has ${[...HELPERS.keys()].join(', ')}`,
  );
}

/**
 * Checks the arguments of a call in the order of their registers, as checked mode does before each call.
 * @throws Fault on the first that is not what the helper takes.
 */
export function checkArguments(
  args: readonly HelperArgument[],
  registers: BigUint64Array,
  loaded: LoadedProgram,
  memory: ProgramMemory,
  context: number,
): void {
  let map = 0;
  for (const [index, kind] of args.entries()) {
    const value = registers[index + 1] ?? 0n;
    const size = addressOf(registers[index + 2] ?? 0n);
    const demand = (bytes: number, write: boolean): void => {
      if (!memory.reaches(value, bytes, write)) throw new Fault(FAULT_MEMORY, value);
    };
    if (kind === 'context') {
      if (value !== BigInt(context)) throw new Fault(FAULT_MEMORY, value);
    } else if (kind === 'map') {
      // What a map of maps gave is none of the program's own, and has its values in the ranges.
      const isOwn = loaded.maps.some((address) => BigInt(address) === value);
      if (!isOwn && !memory.hasRangeOf(value)) throw new Fault(FAULT_MAP, value);
      map = addressOf(value);
    } else if (kind === 'map key') demand(memory.word(map + MAP_KEY_BYTES), false);
    else if (kind === 'map value') demand(memory.word(map + MAP_VALUE_BYTES), false);
    // Of no bytes at all it does not matter where they are: only then may it be null.
    else if (kind === 'readable' || kind === 'readable or null') {
      if (size !== 0) demand(size, false);
    } else if (kind === 'writable' && size !== 0) demand(size, true);
    // The kernel of a helper that takes a record finds the ring that it is in.
  }
}

/**
 * Calls a helper's kernel with the registers from r1 on. Returns what r0 becomes.
 * @throws RingwayError `BAD_PROGRAM` when the arena's build has no such kernel.
 */
export function callHelper(
  helper: Helper,
  registers: BigUint64Array,
  arena: Arena,
  context: number,
  program: Program,
  pc: number,
): bigint {
  type Kernel = (...values: (number | bigint)[]) => number | bigint;
  const kernel = arena.kernels<Readonly<Record<string, Kernel | undefined>>>()[helper.kernel ?? ''];
  if (kernel === undefined) {
    throw new RingwayError(
      'BAD_PROGRAM',
      `${placeOf(program, pc)}: helper ${helper.id}, ${helper.name}, has no kernel ${helper.kernel} in this build`,
    );
  }
  const values = helper.args.map((kind, index) => {
    const value = registers[index + 1] ?? 0n;
    return kind === 'u64' ? BigInt.asIntN(64, value) : addressOf(value);
  });
  const result = kernel(context, ...values);
  return helper.returns === 'i64' ? BigInt.asUintN(64, BigInt(result)) : BigInt(Number(result) >>> 0);
}
