import { ALU, CLASS, type Instruction, opcodeClass, operation } from '../instruction.ts';
import { scalarArithmetic } from './arithmetic.ts';
import { registerText } from './describe.ts';
import { type Operand, Refusal } from './refusal.ts';
import { Extent, type Register, scalarRegister } from './register.ts';
import { isConstant, S64_MIN, type Scalar, UNKNOWN, unknownOf } from './scalar.ts';

/** As far as an address may be moved (Linux BPF_MAX_VAR_OFF). */
const OFFSET_MAX = 1 << 29;

const SIGNS: Readonly<Record<number, string>> = {
  [ALU.MUL]: '*',
  [ALU.DIV]: '/',
  [ALU.OR]: '|',
  [ALU.AND]: '&',
  [ALU.LSH]: '<<',
  [ALU.RSH]: '>>',
  [ALU.MOD]: '%',
  [ALU.XOR]: '^',
  [ALU.ARSH]: '>>',
};

function refuse({ number, register }: Operand, why: string, missing: string): never {
  throw new Refusal('pointer-arithmetic', `r${number} is ${registerText(register, 0)}. ${why}`, missing, number);
}

function demandMovable(pointer: Operand, amount: Scalar): void {
  const { register, number } = pointer;
  if (register.mayBeNull) {
    const why = `something is added to r${number}, which may be null: it is ${registerText(register, 0)}.`;
    throw new Refusal(
      'null-pointer',
      why,
      'Look first, on the pointer as the call gave it: `if (!value) return XDP_ABORTED;`.',
      number,
    );
  }
  const isNothing = isConstant(amount) && amount.umin === 0n;
  const isFixed = register.type === 'packet_end' || register.type === 'socket' || register.type === 'function';
  if (isFixed || (register.type === 'map' && !isNothing)) {
    refuse(pointer, 'Nothing may be added to it.', 'Add to data instead, or subtract: `data_end - data` is a length.');
  }
}

/** Says no to an amount that takes a pointer too far for anything to be said of it. */
function demandNear(pointer: Operand, amount: Scalar): void {
  const isFar = isConstant(amount) && (amount.smin >= BigInt(OFFSET_MAX) || amount.smin <= -BigInt(OFFSET_MAX));
  if (isFar) refuse(pointer, `${amount.smin} is added to it.`, 'Stay within what it points to.');
  if (amount.smin !== S64_MIN) return;
  const why = 'What is added has no bounds.';
  const missing = 'Bound it first: `if (length > 1500) return XDP_DROP;`, with an unsigned length.';
  throw new Refusal(
    'unbounded-offset',
    `r${pointer.number} is ${registerText(pointer.register, 0)}. ${why}`,
    missing,
    pointer.number,
  );
}

/** Adds a number to a pointer, or takes it away. `newId` gives the identity of a packet pointer that is another one now. */
function move(pointer: Operand, amount: Register, isSubtraction: boolean, newId: () => number): Register {
  const { register } = pointer;
  const { scalar } = amount;
  demandMovable(pointer, scalar);
  demandNear(pointer, scalar);
  amount.origin.mark();
  if (isConstant(scalar)) {
    const offset = register.offset + (isSubtraction ? -1 : 1) * Number(scalar.smin);
    if (Math.abs(offset) >= OFFSET_MAX)
      refuse(pointer, `Its offset becomes ${offset}.`, 'Stay within what it points to.');
    return register.with({ offset });
  }
  const moved = scalarArithmetic(isSubtraction ? ALU.SUB : ALU.ADD, 64, register.scalar, scalar);
  if (moved.smin === S64_MIN) demandNear(pointer, moved);
  if (!register.isPacket) return register.with({ scalar: moved });
  // What is known to be there stays known only for a pointer that was moved towards the packet's start.
  const range = isSubtraction && scalar.smin >= 0n ? register.knownRange : 0;
  return register.with({ scalar: moved, id: newId(), range, extent: new Extent(register.extent) });
}

/**
 * Arithmetic with a pointer in one operand or both, all but MOV.
 * @throws Refusal when the result would be neither a pointer nor a number that anybody wants.
 */
export function pointerArithmetic(
  instruction: Instruction,
  target: Operand,
  source: Operand,
  newId: () => number,
): Register {
  const { opcode } = instruction;
  const what = operation(opcode);
  const a = target.register;
  const b = source.register;
  const pointer = a.isPointer ? target : source;
  if (what === ALU.NEG || what === ALU.END) return scalarRegister(UNKNOWN);
  if (a.isPointer && b.isPointer) {
    if (what === ALU.SUB) return scalarRegister(opcodeClass(opcode) === CLASS.ALU64 ? UNKNOWN : unknownOf(4));
    return refuse(pointer, `r${source.number} is a pointer too.`, 'Of two pointers there is a difference only.');
  }
  if (opcodeClass(opcode) !== CLASS.ALU64) {
    if (what === ALU.SUB && a.isPointer) return scalarRegister(unknownOf(4));
    return refuse(
      pointer,
      'It is taken as a number of 32 bits.',
      'Use types of 64 bits for addresses: `void *` or `unsigned long`.',
    );
  }
  if (what === ALU.ADD) return move(pointer, pointer === target ? b : a, false, newId);
  if (what !== ALU.SUB) {
    return refuse(
      pointer,
      `It is taken as a number (${SIGNS[what] ?? 'arithmetic'}).`,
      'To a pointer, numbers are added or subtracted only.',
    );
  }
  if (pointer === source)
    return refuse(pointer, 'It is subtracted from a number.', 'Subtract the number from the pointer.');
  if (a.type === 'stack') return refuse(pointer, 'Something is subtracted from it.', 'Add a negative number instead.');
  return move(pointer, b, true, newId);
}
