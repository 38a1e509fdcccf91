import { HELPERS } from '#build/bpf/helpers.js';
import {
  ALU,
  accessMode,
  CALL_HELPER,
  CLASS,
  type Instruction,
  MODE,
  OP_CALL,
  OP_LDDW,
  opcodeClass,
  operation,
} from '#build/bpf/instruction.js';
import type { Step } from '#build/bpf/interpreter.js';

/** What an instruction is, so far as engines treat it on its own: the opcode, and what fields of it select. */
export function formOf({ opcode, src, offset, imm }: Instruction): string {
  const name = `0x${opcode.toString(16).padStart(2, '0')}`;
  if (opcode === OP_CALL) return src === CALL_HELPER ? `helper ${imm}` : 'call local';
  if (opcode === OP_LDDW) return `${name} src ${src}`;
  const kind = opcodeClass(opcode);
  if (kind === CLASS.ALU || kind === CLASS.ALU64) {
    const what = operation(opcode);
    if (what === ALU.END) return `${name} imm ${imm}`;
    return what === ALU.DIV || what === ALU.MOD || what === ALU.MOV ? `${name} offset ${offset}` : name;
  }
  return kind === CLASS.STX && accessMode(opcode) === MODE.ATOMIC ? `${name} imm 0x${imm.toString(16)}` : name;
}

/** How often instructions of each form ran. */
export class Coverage {
  readonly counts = new Map<string, number>();

  /** For `onStep` of the interpreter. */
  readonly note = ({ program, pc }: Pick<Step, 'program' | 'pc'>): void => {
    const form = formOf(program.code[pc] as Instruction);
    this.counts.set(form, (this.counts.get(form) ?? 0) + 1);
  };

  /** Of `forms`, those that never ran. */
  missing(forms: readonly string[]): string[] {
    return forms.filter((form) => !this.counts.has(form));
  }
}

const range = (from: number, to: number, step: number): number[] =>
  Array.from({ length: Math.floor((to - from) / step) + 1 }, (_, index) => from + index * step);
const hex = (opcode: number): string => `0x${opcode.toString(16).padStart(2, '0')}`;

/** The forms of all instructions that programs may have and the kernel takes: RFC 9669 without CALLX, and the helpers. */
export function allForms(): string[] {
  const forms: string[] = [];
  for (const kind of [CLASS.ALU, CLASS.ALU64]) {
    for (const what of range(ALU.ADD, ALU.ARSH, 0x10)) {
      for (const bit of what === ALU.NEG ? [0] : [0, 8]) {
        const name = hex(what | kind | bit);
        if (what === ALU.DIV || what === ALU.MOD) forms.push(`${name} offset 0`, `${name} offset 1`);
        else if (what === ALU.MOV) {
          const signs = bit === 0 ? [0] : kind === CLASS.ALU ? [0, 8, 16] : [0, 8, 16, 32];
          forms.push(...signs.map((offset) => `${name} offset ${offset}`));
        } else forms.push(name);
      }
    }
  }
  for (const opcode of [0xd4, 0xdc, 0xd7]) forms.push(...[16, 32, 64].map((bits) => `${hex(opcode)} imm ${bits}`));
  for (const what of [...range(0x10, 0x70, 0x10), ...range(0xa0, 0xd0, 0x10)]) {
    forms.push(...[0x05, 0x0d, 0x06, 0x0e].map((low) => hex(what | low)));
  }
  forms.push(hex(0x05), hex(0x06), hex(0x95), 'call local');
  forms.push(...[0x61, 0x69, 0x71, 0x79, 0x81, 0x89, 0x91].map(hex));
  forms.push(...[0x62, 0x6a, 0x72, 0x7a, 0x63, 0x6b, 0x73, 0x7b].map(hex));
  for (const size of [0xc3, 0xdb]) {
    const atomics = [0x00, 0x40, 0x50, 0xa0].flatMap((what) => [what, what | 1]);
    forms.push(...[...atomics, 0xe1, 0xf1].map((imm) => `${hex(size)} imm ${hex(imm).replace('0x0', '0x')}`));
  }
  forms.push(...[0, 4, 5, 6].map((src) => `${hex(OP_LDDW)} src ${src}`));
  // Spin locks need maps of which a kernel knows the BTF: test/bpf/locks.test.ts has them.
  const helpers = [...HELPERS.values()].filter(({ args }) => !args.includes('lock'));
  forms.push(...helpers.map(({ id }) => `helper ${id}`));
  return forms;
}
