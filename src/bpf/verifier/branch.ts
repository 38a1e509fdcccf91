import { CLASS, type Instruction, JMP, opcodeClass, operation, SOURCE_REGISTER } from '../instruction.ts';
import { immediate } from './arithmetic.ts';
import { decide, INVERSE, MIRRORED, refine } from './compare.ts';
import { type Operand, Refusal } from './refusal.ts';
import { AT_END, BEYOND_END, constantRegister, Origin, type Register } from './register.ts';
import { isConstant, knownValue, type Scalar, ZERO } from './scalar.ts';
import { hasLock } from './spin-lock.ts';
import type { State } from './state.ts';

/** As far into a packet as is compared (Linux MAX_PACKET_OFF). */
const PACKET_OFFSET_MAX = 0xffff;

/** Conditions that hold of two numbers that are one. */
const HOLDS_OF_EQUALS: readonly number[] = [JMP.JEQ, JMP.JGE, JMP.JLE, JMP.JSGE, JMP.JSLE];

/** What a conditional jump compares. */
interface Comparison {
  readonly operation: number;
  readonly bits: 32 | 64;
  readonly a: Operand;
  /** A register, or none when it is a constant. */
  readonly b: Operand | undefined;
  readonly constant: Scalar;
}

/** The two ways on from a conditional jump; undefined for one that nothing takes. */
export interface Ways {
  readonly taken: State | undefined;
  readonly passed: State | undefined;
}

function comparisonOf(state: State, { opcode, dst, src, imm }: Instruction): Comparison {
  const bits = opcodeClass(opcode) === CLASS.JMP32 ? 32 : 64;
  const operandOf = (number: number): Operand => {
    const register = state.register(number);
    if (register.type !== 'uninitialised') return { number, register };
    const why = `r${number} is compared, and nothing was written to it on this path.`;
    throw new Refusal('uninitialised-register', why, `Give r${number} a value on every path that leads here.`, number);
  };
  const isRegister = (opcode & SOURCE_REGISTER) !== 0;
  return {
    operation: operation(opcode),
    bits,
    a: operandOf(dst),
    b: isRegister ? operandOf(src) : undefined,
    constant: isRegister ? ZERO : immediate(imm),
  };
}

/** Puts a scalar that is better known into all registers that are the same number. */
function narrow(state: State, { register, number }: Operand, scalar: Scalar, other: Operand | undefined): void {
  if (register.type !== 'scalar' || scalar === register.scalar) return;
  const sources = other === undefined ? [register.origin] : [register.origin, other.register.origin];
  const known = register.with({ scalar, origin: new Origin(sources) });
  if (register.id === 0) state.setRegister(number, known);
  else state.replace((each) => (each.id === register.id && each.type === 'scalar' ? known : each));
}

/** The state where the jump is taken, or not; undefined when that cannot be. `state` is changed. */
function scalarWay(
  state: State,
  { operation: what, bits, a, b, constant }: Comparison,
  taken: boolean,
): State | undefined {
  const second = b?.register.scalar ?? constant;
  const found = refine(what, bits, taken, a.register.scalar, second);
  if (found === undefined) return undefined;
  narrow(state, a, found[0], b);
  if (b !== undefined && b.number !== a.number) narrow(state, b, found[1], a);
  return state;
}

function scalarWays(state: State, comparison: Comparison): Ways {
  const { operation: what, bits, a, b, constant } = comparison;
  const isTaken = decide(what, bits, a.register.scalar, b?.register.scalar ?? constant);
  if (isTaken !== undefined) {
    // It goes this way because of what its operands are.
    a.register.origin.mark();
    b?.register.origin.mark();
    return isTaken ? { taken: state, passed: undefined } : { taken: undefined, passed: state };
  }
  const other = state.clone();
  const taken = scalarWay(other, comparison, true);
  const passed = scalarWay(state, comparison, false);
  if (taken === undefined || passed === undefined) {
    a.register.origin.mark();
    b?.register.origin.mark();
  }
  return { taken, passed };
}

/** Where a pointer is null, or is not: in all registers that are the same one. */
function settleNull(state: State, { id, reference }: Register, isNull: boolean): State {
  if (isNull && reference !== 0) state.references = state.references.filter((each) => each.id !== reference);
  state.replace((register) => {
    if (register.id !== id || !register.mayBeNull) return register;
    if (isNull) return constantRegister(0n);
    // Which value a spin lock is in is told by the id of the pointer.
    const keepsId = register.map !== undefined && register.type === 'map_value' && hasLock(register.map);
    return register.with({ mayBeNull: false, ...(keepsId ? {} : { id: 0 }) });
  });
  return state;
}

/** Pointers held against a constant: only of null is anything known. */
function nullWays(state: State, { operation: what, bits, a, constant }: Comparison): Ways {
  const { register } = a;
  const isZero = bits === 64 && knownValue(constant) === 0n;
  const isEquality = what === JMP.JEQ || what === JMP.JNE;
  if (!isZero || !isEquality) return { taken: state.clone(), passed: state };
  if (!register.mayBeNull)
    return what === JMP.JEQ ? { taken: undefined, passed: state } : { taken: state, passed: undefined };
  const whereNull = settleNull(state.clone(), register, true);
  const whereNot = settleNull(state, register, false);
  return what === JMP.JEQ ? { taken: whereNull, passed: whereNot } : { taken: whereNot, passed: whereNull };
}

/** A pointer that is compared with the end of what it points into, with the pointer first. */
interface EndComparison {
  readonly pointer: Register;
  readonly operation: number;
}

const isStart = (register: Register): boolean =>
  register.type === 'packet' && register.offset === 0 && register.id === 0 && isConstant(register.scalar);

function endComparison({ operation: what, bits, a, b }: Comparison): EndComparison | undefined {
  if (b === undefined || bits !== 64) return undefined;
  const one = a.register;
  const other = b.register;
  // Metadata end where the packet begins.
  const ends = (pointer: Register, end: Register): boolean =>
    (pointer.type === 'packet' && end.type === 'packet_end') || (pointer.type === 'packet_meta' && isStart(end));
  const isFirst = ends(one, other);
  if (!isFirst && !ends(other, one)) return undefined;
  markAbsolute(isFirst ? other : one);
  return isFirst ? { pointer: one, operation: what } : { pointer: other, operation: MIRRORED[what] ?? what };
}

/** Whether the end lies above a pointer, when an earlier comparison said so. */
function decideEnd({ pointer, operation: what }: EndComparison): boolean | undefined {
  if (pointer.range === BEYOND_END) {
    if (what === JMP.JGT || what === JMP.JGE) return true;
    if (what === JMP.JLT || what === JMP.JLE) return false;
  }
  if (pointer.range === AT_END) {
    if (what === JMP.JGE) return true;
    if (what === JMP.JLT) return false;
  }
  return undefined;
}

/** In all pointers that are as far into the packet at run time, notes what the comparison of one of them says. */
function settleEnd(state: State, { pointer, operation: what }: EndComparison): State {
  const isBelow = what === JMP.JLT || what === JMP.JLE;
  if (!isBelow) {
    const range = what === JMP.JGT ? BEYOND_END : AT_END;
    state.replace((register) =>
      isSame(register, pointer) && register.offset === pointer.offset && register.range <= 0
        ? register.with({ range })
        : register,
    );
    return state;
  }
  const most = pointer.scalar.umax + BigInt(pointer.offset);
  // At its very beginning nothing is there for certain, and of what lies before it nothing is said.
  const isPointless =
    pointer.offset < 0 || (pointer.offset === 0 && what === JMP.JLT) || most > BigInt(PACKET_OFFSET_MAX);
  if (isPointless) return state;
  const isOpen = what === JMP.JLT;
  pointer.extent?.note(isOpen ? pointer.offset - 1 : pointer.offset);
  const range = isOpen ? pointer.offset + 1 : pointer.offset;
  state.replace((register) => {
    if (!isSame(register, pointer) || register.range >= range) return register;
    // Two that were loaded from the context at different times: that both are its start was of use.
    if (register.extent !== pointer.extent) markAbsolute(register, pointer);
    return register.with({ range });
  });
  return state;
}

function markAbsolute(...registers: readonly Register[]): void {
  for (const { extent } of registers) if (extent !== undefined) extent.isAbsolute = true;
}

const isSame = (register: Register, pointer: Register): boolean =>
  register.type === pointer.type && register.id === pointer.id;

function endWays(state: State, comparison: EndComparison): Ways {
  const { operation: what, pointer } = comparison;
  const inverse = INVERSE[what] ?? what;
  const decided = decideEnd(comparison);
  if (decided !== undefined) return decided ? { taken: state, passed: undefined } : { taken: undefined, passed: state };
  const isOrder = what === JMP.JGT || what === JMP.JGE || what === JMP.JLT || what === JMP.JLE;
  const taken = state.clone();
  if (!isOrder) return { taken, passed: state };
  return {
    taken: settleEnd(taken, { pointer, operation: what }),
    passed: settleEnd(state, { pointer, operation: inverse }),
  };
}

/**
 * The states behind a conditional jump. `state` is one of them, changed.
 * @throws Refusal on a register that nothing was written to.
 */
export function branch(state: State, instruction: Instruction): Ways {
  const comparison = comparisonOf(state, instruction);
  const { a, b } = comparison;
  const end = endComparison(comparison);
  if (end !== undefined) return endWays(state, end);
  const isScalar = a.register.type === 'scalar';
  if (b !== undefined && b.number === a.number && isScalar && comparison.operation !== JMP.JSET) {
    // Whatever it is, it is equal to itself.
    const isTaken = HOLDS_OF_EQUALS.includes(comparison.operation);
    return isTaken ? { taken: state, passed: undefined } : { taken: undefined, passed: state };
  }
  if (b === undefined) return isScalar ? scalarWays(state, comparison) : nullWays(state, comparison);
  if (isScalar && b.register.type === 'scalar') return scalarWays(state, comparison);
  return { taken: state.clone(), passed: state };
}
