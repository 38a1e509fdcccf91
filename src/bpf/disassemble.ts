import { helperName } from './helper-names.ts';
import {
  ALU,
  ATOMIC,
  accessBytes,
  accessMode,
  CALL_HELPER,
  CALL_LOCAL,
  CLASS,
  type Instruction,
  isConditional,
  JMP,
  LDDW,
  lddwConstant,
  MODE,
  OP_CALL,
  OP_CALLX,
  OP_EXIT,
  OP_JA,
  OP_JA32,
  OP_LDDW,
  opcodeClass,
  operation,
  SOURCE_REGISTER,
} from './instruction.ts';
import type { FunctionInfo, Program } from './program.ts';

/** What of a program its text needs. */
type Disassembled = Pick<Program, 'code'> & Partial<Pick<Program, 'functions' | 'maps' | 'lines' | 'missing'>>;

const ALU_SIGNS: Readonly<Record<number, string>> = {
  [ALU.ADD]: '+=',
  [ALU.SUB]: '-=',
  [ALU.MUL]: '*=',
  [ALU.DIV]: '/=',
  [ALU.OR]: '|=',
  [ALU.AND]: '&=',
  [ALU.LSH]: '<<=',
  [ALU.RSH]: '>>=',
  [ALU.MOD]: '%=',
  [ALU.XOR]: '^=',
  [ALU.MOV]: '=',
  [ALU.ARSH]: 's>>=',
};
const JMP_SIGNS: Readonly<Record<number, string>> = {
  [JMP.JEQ]: '==',
  [JMP.JGT]: '>',
  [JMP.JGE]: '>=',
  [JMP.JSET]: '&',
  [JMP.JNE]: '!=',
  [JMP.JSGT]: 's>',
  [JMP.JSGE]: 's>=',
  [JMP.JLT]: '<',
  [JMP.JLE]: '<=',
  [JMP.JSLT]: 's<',
  [JMP.JSLE]: 's<=',
};
const ATOMIC_NAMES: Readonly<Record<number, readonly [name: string, sign: string]>> = {
  [ATOMIC.ADD]: ['add', '+='],
  [ATOMIC.OR]: ['or', '|='],
  [ATOMIC.AND]: ['and', '&='],
  [ATOMIC.XOR]: ['xor', '^='],
};
const UNKNOWN = '<unknown>';

/** `+ 4`, `- 4`. */
const distance = (offset: number): string => (offset < 0 ? `- ${-offset}` : `+ ${offset}`);
/** `+4`, `-4`. */
const signed = (offset: number): string => (offset < 0 ? `${offset}` : `+${offset}`);

function aluText({ opcode, dst, src, offset, imm }: Instruction): string {
  const letter = opcodeClass(opcode) === CLASS.ALU ? 'w' : 'r';
  const isRegister = (opcode & SOURCE_REGISTER) !== 0;
  const what = operation(opcode);
  const target = `${letter}${dst}`;
  if (what === ALU.NEG) return isRegister ? UNKNOWN : `${target} = -${target}`;
  if (what === ALU.END) {
    const order = letter === 'r' ? 'bswap' : isRegister ? 'be' : 'le';
    return letter === 'r' && isRegister ? UNKNOWN : `r${dst} = ${order}${imm} r${dst}`;
  }
  const sign = ALU_SIGNS[what];
  if (sign === undefined) return UNKNOWN;
  const operand = isRegister ? `${letter}${src}` : `${imm}`;
  if (what === ALU.MOV && offset !== 0) {
    // A 64-bit move that extends a sign is of a 32-bit register only in the number of its bits.
    return isRegister ? `${target} = (s${offset})${operand}` : UNKNOWN;
  }
  const isSigned = offset === 1 && (what === ALU.DIV || what === ALU.MOD);
  return `${target} ${isSigned ? 's' : ''}${sign} ${operand}`;
}

function atomicText({ opcode, dst, src, offset, imm }: Instruction): string {
  const bits = accessBytes(opcode) * 8;
  if (bits < 32) return UNKNOWN;
  const letter = bits === 32 ? 'w' : 'r';
  const [place, value] = [`r${dst} ${distance(offset)}`, `${letter}${src}`];
  const suffix = bits === 32 ? '32_32' : '_64';
  if (imm === ATOMIC.XCHG) return `${value} = xchg${suffix}(${place}, ${value})`;
  if (imm === ATOMIC.CMPXCHG) return `${letter}0 = cmpxchg${suffix}(${place}, ${letter}0, ${value})`;
  const [name, sign] = ATOMIC_NAMES[imm & ~ATOMIC.FETCH] ?? [];
  if (name === undefined) return UNKNOWN;
  if ((imm & ATOMIC.FETCH) === 0) return `lock *(u${bits} *)(${place}) ${sign} ${value}`;
  return `${value} = atomic_fetch_${name}((u${bits} *)(${place}), ${value})`;
}

function accessText(instruction: Instruction): string {
  const { opcode, dst, src, offset, imm } = instruction;
  const [kind, mode, bits] = [opcodeClass(opcode), accessMode(opcode), accessBytes(opcode) * 8];
  if (kind === CLASS.LDX) {
    if (mode !== MODE.MEM && (mode !== MODE.MEMSX || bits === 64)) return UNKNOWN;
    return `r${dst} = *(${mode === MODE.MEM ? 'u' : 's'}${bits} *)(r${src} ${distance(offset)})`;
  }
  if (mode === MODE.ATOMIC && kind === CLASS.STX) return atomicText(instruction);
  if (mode !== MODE.MEM) return UNKNOWN;
  return `*(u${bits} *)(r${dst} ${distance(offset)}) = ${kind === CLASS.STX ? `r${src}` : imm}`;
}

function lddwText(program: Disassembled, { dst, src, imm }: Instruction, pc: number): string {
  const { code, maps, functions } = program;
  const high = code[pc + 1]?.imm ?? 0;
  if (src === LDDW.MAP_INDEX || src === LDDW.MAP_INDEX_VALUE) {
    const name = maps?.[imm]?.name ?? `number ${imm}`;
    return `r${dst} = 0 ll # map ${name}${src === LDDW.MAP_INDEX ? '' : `, value ${distance(high)}`}`;
  }
  if (src === LDDW.FUNCTION) {
    const target = pc + 1 + imm;
    return `r${dst} = 0 ll # function ${functionAt(functions, target)?.name ?? `at ${target}`}`;
  }
  return `r${dst} = ${BigInt.asIntN(64, lddwConstant(code, pc))} ll`;
}

/** The function that begins at `target`, or has it. Calls are many: the list is in order, and need not be walked. */
function functionAt(functions: readonly FunctionInfo[] = [], target: number): FunctionInfo | undefined {
  let [low, high] = [0, functions.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((functions[middle]?.end ?? 0) <= target) low = middle + 1;
    else high = middle;
  }
  const found = functions[low];
  return found !== undefined && found.start <= target ? found : undefined;
}

function callText(program: Disassembled, { src, imm }: Instruction, pc: number): string {
  const missing = program.missing?.get(pc);
  if (missing !== undefined) return `call ${imm} # missing: ${missing}`;
  if (src === CALL_HELPER) {
    const name = helperName(imm);
    return name === undefined ? `call ${imm}` : `call ${name}#${imm}`;
  }
  if (src !== CALL_LOCAL) return `call kernel-function#${imm}`;
  const target = functionAt(program.functions, pc + 1 + imm);
  return `call pc${signed(imm)}${target === undefined ? '' : ` # ${target.name}`}`;
}

function jumpText(program: Disassembled, instruction: Instruction, pc: number): string {
  const { opcode, dst, src, offset, imm } = instruction;
  if (opcode === OP_EXIT) return 'exit';
  if (opcode === OP_CALL) return callText(program, instruction, pc);
  if (opcode === OP_CALLX) return `callx r${dst}`;
  if (opcode === OP_JA) return `goto ${signed(offset)}`;
  if (opcode === OP_JA32) return `gotol ${signed(imm)}`;
  const sign = JMP_SIGNS[operation(opcode)];
  if (!isConditional(opcode) || sign === undefined) return UNKNOWN;
  const letter = opcodeClass(opcode) === CLASS.JMP32 ? 'w' : 'r';
  const operand = (opcode & SOURCE_REGISTER) === 0 ? `${imm}` : `${letter}${src}`;
  return `if ${letter}${dst} ${sign} ${operand} goto ${signed(offset)}`;
}

/**
 * Instruction `pc` as llvm-objdump writes it: `r2 = *(u32 *)(r1 + 4)`, `if r8 > r1 goto +270`, `r4 = 1 ll`. Helpers have
 * their name, and what follows ` # ` names maps and functions. `<unknown>` for what is no instruction.
 */
export function instructionText(program: Disassembled, pc: number): string {
  const instruction = program.code[pc];
  if (instruction === undefined) return UNKNOWN;
  const { opcode, src, imm } = instruction;
  switch (opcodeClass(opcode)) {
    case CLASS.ALU:
    case CLASS.ALU64:
      return aluText(instruction);
    case CLASS.JMP:
    case CLASS.JMP32:
      return jumpText(program, instruction, pc);
    case CLASS.LD: {
      if (opcode === OP_LDDW) return lddwText(program, instruction, pc);
      const bits = accessBytes(opcode) * 8;
      if (bits === 64) return UNKNOWN;
      if (accessMode(opcode) === MODE.ABS) return `r0 = *(u${bits} *)skb[${imm}]`;
      return accessMode(opcode) === MODE.IND ? `r0 = *(u${bits} *)skb[r${src}]` : UNKNOWN;
    }
    default:
      return accessText(instruction);
  }
}

/**
 * A program as text: a line `name:` before each function, then a line for each instruction, with its number. With
 * `source`, a line `; file.c:12: text` wherever another source line begins.
 */
export function disassemble(program: Disassembled, { source = false }: { source?: boolean } = {}): string[] {
  const { code, functions = [], lines = [] } = program;
  const names = new Map(functions.map(({ start, name }) => [start, name]));
  const places = new Map(lines.map((line) => [line.pc, line]));
  const found: string[] = [];
  for (let pc = 0; pc < code.length; pc++) {
    const name = names.get(pc);
    if (name !== undefined) found.push(`${name}:`);
    const line = source ? places.get(pc) : undefined;
    if (line !== undefined) found.push(`; ${line.file}:${line.line}: ${line.text.trim()}`.trimEnd());
    found.push(`${String(pc).padStart(8)}: ${instructionText(program, pc)}`);
    if (code[pc]?.opcode === OP_LDDW) pc++;
  }
  return found;
}
