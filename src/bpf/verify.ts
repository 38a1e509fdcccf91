import { RingwayError } from '../util/errors.ts';
import { helperName } from './helper-names.ts';
import { HELPER_NEXT, HELPERS } from './helpers.ts';
import {
  ALU,
  ATOMIC,
  accessMode,
  CALL_HELPER,
  CALL_KFUNC,
  CALL_LOCAL,
  CLASS,
  type Instruction,
  isConditional,
  JMP,
  jumpTarget,
  LDDW,
  MODE,
  OP_CALL,
  OP_CALLX,
  OP_EXIT,
  OP_JA,
  OP_JA32,
  OP_LDDW,
  opcodeClass,
  operation,
  SIZE,
  SOURCE_REGISTER,
} from './instruction.ts';
import { FRAMES_MAX } from './layout.ts';
import { LOOPS } from './loops.ts';
import { type FunctionInfo, type Program, placeOf } from './program.ts';

/** The frame pointer: programs may read it only. */
const FRAME_POINTER = 10;
const REGISTER_MAX = 10;

/**
 * Numbers of helpers that stand for what a program needs and nobody has: a type or field of a kernel (libbpf's number for
 * it), and a function declared `__weak`. Linking removes such calls where a check leads past them; `Program.missing` names
 * what the others are about.
 */
export const MISSING_TYPE = 195_896_080;
export const MISSING_FUNCTION = 2_002_000_000;

const ATOMICS: readonly number[] = [
  ...[ATOMIC.ADD, ATOMIC.OR, ATOMIC.AND, ATOMIC.XOR].flatMap((what) => [what, what | ATOMIC.FETCH]),
  ATOMIC.XCHG,
  ATOMIC.CMPXCHG,
];

/** What programs may call. */
const CALLABLE = [...HELPERS.keys(), ...LOOPS.keys()].filter((id) => id !== HELPER_NEXT);

/** `1-3, 5-8`: numbers in messages. */
function ranges(numbers: Iterable<number>): string {
  const sorted = [...numbers].sort((a, b) => a - b);
  const found: [number, number][] = [];
  for (const number of sorted) {
    const last = found.at(-1);
    if (last !== undefined && last[1] === number - 1) last[1] = number;
    else found.push([number, number]);
  }
  return found.map(([from, to]) => (from === to ? `${from}` : `${from}-${to}`)).join(', ');
}

class StructureVerifier {
  readonly #program: Program;
  readonly #code: readonly Instruction[];
  /** 1 where the second half of an LDDW is. */
  readonly #isSecondHalf: Uint8Array;
  readonly #functionAt = new Map<number, number>();
  /** By number of a function: those that it calls, and from where. */
  readonly #calls: { readonly pc: number; readonly target: number }[][] = [];

  constructor(program: Program) {
    this.#program = program;
    this.#code = program.code;
    this.#isSecondHalf = new Uint8Array(program.code.length);
  }

  #fail(pc: number, problem: string): RingwayError {
    const { name } = this.#program;
    return new RingwayError('BAD_PROGRAM', `program ${name}: ${problem} At ${placeOf(this.#program, pc)}`);
  }

  verify(): void {
    this.#checkFunctions();
    const { functions } = this.#program;
    for (const each of functions) this.#markPairs(each);
    for (const [index, each] of functions.entries()) {
      this.#calls.push([]);
      for (let pc = each.start; pc < each.end; pc++) {
        if (this.#isSecondHalf[pc] === 0) this.#checkInstruction(this.#code[pc] as Instruction, pc, index);
      }
      this.#checkEnd(each);
    }
    this.#checkDepth();
  }

  #checkFunctions(): void {
    const { name, functions } = this.#program;
    let next = 0;
    for (const [index, { name: called, start, end }] of functions.entries()) {
      if (start !== next || end <= start || end > this.#code.length) {
        const rule = `It must begin at ${next} and have some, within ${this.#code.length}.`;
        throw new RingwayError(
          'BAD_PROGRAM',
          `program ${name}: ${called} has instructions ${start} to ${end}. ${rule}`,
        );
      }
      this.#functionAt.set(start, index);
      next = end;
    }
    if (functions.length === 0 || next !== this.#code.length) {
      const rule = `Together they must have all ${this.#code.length}, and there must be one.`;
      throw new RingwayError('BAD_PROGRAM', `program ${name}: its functions have ${next} instructions. ${rule}`);
    }
  }

  #markPairs({ start, end }: FunctionInfo): void {
    for (let pc = start; pc < end; pc++) {
      if (this.#code[pc]?.opcode !== OP_LDDW) continue;
      const high = pc + 1 < end ? this.#code[pc + 1] : undefined;
      if (high === undefined) throw this.#fail(pc, 'an LDDW takes two instructions, and the function ends in between.');
      if (high.opcode !== 0 || high.dst !== 0 || high.src !== 0 || high.offset !== 0) {
        throw this.#fail(pc, 'the second half of this LDDW has more than a constant. Its other fields must be 0.');
      }
      this.#isSecondHalf[++pc] = 1;
    }
  }

  /** The last instruction leads away, so that the next function is entered by calls only. */
  #checkEnd({ name, end }: FunctionInfo): void {
    const opcode = this.#isSecondHalf[end - 1] === 1 ? OP_LDDW : this.#code[end - 1]?.opcode;
    if (opcode === OP_EXIT || opcode === OP_JA || opcode === OP_JA32) return;
    throw this.#fail(end - 1, `${name} goes on behind its last instruction. It must be exit or an unconditional jump.`);
  }

  #checkInstruction(instruction: Instruction, pc: number, index: number): void {
    const { opcode, dst, src } = instruction;
    if (dst > REGISTER_MAX || src > REGISTER_MAX) {
      throw this.#fail(pc, `register r${Math.max(dst, src)} is named. There are r0 to r${REGISTER_MAX}.`);
    }
    switch (opcodeClass(opcode)) {
      case CLASS.ALU:
      case CLASS.ALU64:
        this.#checkAlu(instruction, pc);
        return;
      case CLASS.JMP:
      case CLASS.JMP32:
        this.#checkJump(instruction, pc, index);
        return;
      case CLASS.LD:
        this.#checkLddw(instruction, pc);
        return;
      default:
        this.#checkAccess(instruction, pc);
    }
  }

  #unknown({ opcode }: Instruction, pc: number): RingwayError {
    const text = `0x${opcode.toString(16).padStart(2, '0')}`;
    return this.#fail(pc, `opcode ${text} is unknown. Opcodes are those of RFC 9669, without the packet group.`);
  }

  /** Fields that an instruction does not use must be 0, so that later versions can give them a meaning. */
  #checkZero(instruction: Instruction, pc: number, ...fields: ('dst' | 'src' | 'offset' | 'imm')[]): void {
    for (const field of fields) {
      if (instruction[field] === 0) continue;
      const text = `0x${instruction.opcode.toString(16).padStart(2, '0')}`;
      throw this.#fail(pc, `an instruction of opcode ${text} has ${field} ${instruction[field]}. It must be 0.`);
    }
  }

  #checkWritten(register: number, pc: number): void {
    if (register !== FRAME_POINTER) return;
    throw this.#fail(pc, 'r10 is written. It is the frame pointer, and can only be read.');
  }

  #checkAlu(instruction: Instruction, pc: number): void {
    const { opcode, dst, offset, imm } = instruction;
    const isWide = opcodeClass(opcode) === CLASS.ALU64;
    const isRegister = (opcode & SOURCE_REGISTER) !== 0;
    const what = operation(opcode);
    this.#checkWritten(dst, pc);
    if (what === ALU.END) {
      if (isWide && isRegister) throw this.#unknown(instruction, pc);
      this.#checkZero(instruction, pc, 'src', 'offset');
      if (imm === 16 || imm === 32 || imm === 64) return;
      throw this.#fail(pc, `the bytes of ${imm} bits are swapped. It must be 16, 32 or 64.`);
    }
    if (what > ALU.END || (what === ALU.NEG && isRegister)) throw this.#unknown(instruction, pc);
    if (what === ALU.NEG) this.#checkZero(instruction, pc, 'src', 'imm');
    else this.#checkZero(instruction, pc, isRegister ? 'imm' : 'src');
    if (what === ALU.DIV || what === ALU.MOD) {
      if (offset === 0 || offset === 1) return;
      throw this.#fail(pc, `a division has offset ${offset}. It must be 0 (unsigned) or 1 (signed).`);
    }
    if (what === ALU.MOV && isRegister) {
      if (offset === 0 || offset === 8 || offset === 16 || (offset === 32 && isWide)) return;
      const allowed = isWide ? '8, 16 or 32' : '8 or 16';
      throw this.#fail(pc, `a move extends the sign of ${offset} bits. It must be ${allowed}, or 0 for a plain move.`);
    }
    this.#checkZero(instruction, pc, 'offset');
  }

  #checkAccess(instruction: Instruction, pc: number): void {
    const { opcode, dst, src, imm } = instruction;
    const [kind, mode, size] = [opcodeClass(opcode), accessMode(opcode), opcode & SIZE.DW];
    if (kind === CLASS.LDX) {
      if (mode !== MODE.MEM && (mode !== MODE.MEMSX || size === SIZE.DW)) throw this.#unknown(instruction, pc);
      this.#checkZero(instruction, pc, 'imm');
      this.#checkWritten(dst, pc);
    } else if (mode === MODE.MEM) this.#checkZero(instruction, pc, kind === CLASS.ST ? 'src' : 'imm');
    else if (kind === CLASS.STX && mode === MODE.ATOMIC && (size === SIZE.W || size === SIZE.DW)) {
      if (!ATOMICS.includes(imm)) {
        const known = ATOMICS.map((each) => `0x${each.toString(16)}`).join(', ');
        throw this.#fail(pc, `an atomic operation 0x${(imm >>> 0).toString(16)} is unknown. There are ${known}.`);
      }
      // CMPXCHG gives the old value in r0, the others in their source.
      if ((imm & ATOMIC.FETCH) !== 0 && imm !== ATOMIC.CMPXCHG) this.#checkWritten(src, pc);
    } else throw this.#unknown(instruction, pc);
  }

  #checkLddw(instruction: Instruction, pc: number): void {
    const { opcode, dst, src, imm } = instruction;
    if (opcode !== OP_LDDW) {
      const mode = accessMode(opcode);
      if (mode !== MODE.ABS && mode !== MODE.IND) throw this.#unknown(instruction, pc);
      throw this.#fail(pc, 'the packet is loaded from by ABS or IND. XDP programs read it through the context.');
    }
    this.#checkZero(instruction, pc, 'offset');
    this.#checkWritten(dst, pc);
    if (src === LDDW.CONSTANT) return;
    if (src === LDDW.FUNCTION) {
      this.#functionFrom(pc, imm);
      return;
    }
    const { maps } = this.#program;
    if (src !== LDDW.MAP_INDEX && src !== LDDW.MAP_INDEX_VALUE) {
      throw this.#fail(pc, `an LDDW has src ${src}. It must be 0 (a constant), 4 (a function), 5 or 6 (a map).`);
    }
    const map = maps[imm];
    const offset = this.#code[pc + 1]?.imm ?? 0;
    if (map === undefined) throw this.#fail(pc, `map number ${imm} is used. The program has ${maps.length}, from 0.`);
    const limit = src === LDDW.MAP_INDEX ? 1 : map.valueBytes;
    if (offset >= 0 && offset < limit) return;
    throw this.#fail(pc, `offset ${offset} of map ${map.name} is used. It must be 0 to ${limit - 1}.`);
  }

  /** Number of the function at a distance from the instruction behind `pc`. */
  #functionFrom(pc: number, distance: number): number {
    const found = this.#functionAt.get(pc + 1 + distance);
    if (found !== undefined) return found;
    throw this.#fail(pc, `instruction ${pc + 1 + distance} is called. No function begins there.`);
  }

  #checkJump(instruction: Instruction, pc: number, index: number): void {
    const { opcode, src, imm } = instruction;
    if (opcode === OP_EXIT) this.#checkZero(instruction, pc, 'dst', 'src', 'offset', 'imm');
    else if (opcode === OP_CALLX) {
      this.#checkZero(instruction, pc, 'src', 'offset', 'imm');
      if (instruction.dst === FRAME_POINTER) throw this.#fail(pc, 'r10 is called. It is the frame pointer.');
    } else if (opcode === OP_CALL) {
      this.#checkZero(instruction, pc, 'dst', 'offset');
      if (src === CALL_LOCAL) this.#calls[index]?.push({ pc, target: this.#functionFrom(pc, imm) });
      else if (src === CALL_HELPER) this.#checkHelper(imm, pc);
      else this.#refuseCall(src, imm, pc);
    } else if (opcode === OP_JA || opcode === OP_JA32) {
      this.#checkZero(instruction, pc, 'dst', 'src', opcode === OP_JA ? 'imm' : 'offset');
      this.#checkTarget(instruction, pc, index);
    } else if (isConditional(opcode) && operation(opcode) <= JMP.JSLE) {
      this.#checkZero(instruction, pc, (opcode & SOURCE_REGISTER) === 0 ? 'src' : 'imm');
      this.#checkTarget(instruction, pc, index);
    } else throw this.#unknown(instruction, pc);
  }

  #checkTarget(instruction: Instruction, pc: number, index: number): void {
    const { name, start, end } = this.#program.functions[index] as FunctionInfo;
    const target = jumpTarget(instruction, pc);
    if (target < start || target >= end) {
      throw this.#fail(pc, `a jump leads to instruction ${target}. ${name} has ${start} to ${end - 1}.`);
    }
    if (this.#isSecondHalf[target] === 0) return;
    throw this.#fail(pc, `a jump leads to instruction ${target}, which is the second half of an LDDW.`);
  }

  #checkHelper(id: number, pc: number): void {
    const isOwn = this.#program.loops !== undefined && pc >= this.#program.loops.start;
    if (HELPERS.has(id) && (id !== HELPER_NEXT || isOwn)) return;
    const missing = this.#program.missing?.get(pc);
    if (missing !== undefined) {
      const advice =
        'Ask whether it exists first (bpf_core_field_exists, bpf_core_type_exists, or a weak function itself).';
      throw this.#fail(pc, `${missing} is used, which exists only in a kernel. ${advice}`);
    }
    const name = helperName(id);
    const what = name === undefined ? `${id} is called, which no kernel has` : `bpf_${name} (${id}) is called`;
    throw this.#fail(pc, `helper ${what}. There are helpers ${ranges(CALLABLE)}.`);
  }

  #refuseCall(src: number, imm: number, pc: number): never {
    if (src === CALL_KFUNC) throw this.#fail(pc, `kernel function ${imm} is called. There are helpers only.`);
    throw this.#fail(pc, `a call has src ${src}. It must be 0 (a helper) or 1 (a function of the program).`);
  }

  /** No function calls itself, and at most FRAMES_MAX are within each other. */
  #checkDepth(): void {
    const { functions } = this.#program;
    const heights = new Uint8Array(functions.length);
    const path: number[] = [];
    const visit = (index: number, pc: number): number => {
      if (path.includes(index))
        throw this.#fail(pc, `${functions[index]?.name} calls itself. Recursion is not allowed.`);
      const height = heights[index] ?? 0;
      if (path.length + Math.max(1, height) > FRAMES_MAX) {
        throw this.#fail(pc, `calls lie more than ${FRAMES_MAX} deep in each other, the program itself included.`);
      }
      if (height > 0) return height;
      path.push(index);
      const below = (this.#calls[index] ?? []).reduce((most, call) => Math.max(most, visit(call.target, call.pc)), 0);
      path.pop();
      heights[index] = below + 1;
      return below + 1;
    };
    for (const [index, { start }] of functions.entries()) visit(index, start);
  }
}

/**
 * Checks what does not depend on how a program runs: that its instructions are those of RFC 9669 (without loads by ABS
 * and IND) with nothing in the fields that they do not use; that r10 is only read; that jumps stay in their function and
 * calls reach the start of one, at most FRAMES_MAX deep and never recursively; that helpers are known, maps there.
 *
 * Division by a constant 0 and shifts by more bits than there are, which Linux refuses, have a meaning in RFC 9669 and
 * are taken. Errors: BAD_PROGRAM, with the source line.
 */
export function verifyStructure(program: Program): void {
  new StructureVerifier(program).verify();
}
