import { INSTRUCTION_BYTES } from '../instruction.ts';
import type { Btf } from './btf.ts';
import { badObject, hex, Reader } from './reader.ts';

/*
 * Section .BTF.ext: tables about instructions. Each table has the size of its records, then for each section of code its
 * name (an offset in the strings of .BTF), the number of records, and the records, which begin with an instruction's
 * byte offset in that section.
 */

const MAGIC = 0xeb9f;
/** Fewest bytes of a record: what is read of it. Newer compilers may append more. */
const FUNC_BYTES = 8;
const LINE_BYTES = 16;
const CORE_BYTES = 16;

/** A record of line_info: an instruction of a section, and where it comes from. */
export interface LineRecord {
  /** Instruction's number in its section. */
  readonly pc: number;
  /** Offsets in the strings of .BTF. */
  readonly file: number;
  readonly text: number;
  readonly line: number;
  readonly column: number;
}

/** A record of core_relo: an instruction that depends on where a field of a type lies (Linux struct bpf_core_relo). */
export interface CoreRecord {
  readonly pc: number;
  readonly type: number;
  /** Offset of `0:1:2` in the strings of .BTF. */
  readonly access: number;
  /** BPF_CORE_…. */
  readonly kind: number;
}

/** A record of func_info: the FUNC type of the function that begins at an instruction. */
export interface FuncRecord {
  readonly pc: number;
  readonly type: number;
}

/** Records by the name of the section that they are about. */
export type Table<T> = ReadonlyMap<string, T[]>;

/** The tables of an object. */
export interface BtfExt {
  readonly functions: Table<FuncRecord>;
  /** Ascending by `pc`, as `core` is. */
  readonly lines: Table<LineRecord>;
  readonly core: Table<CoreRecord>;
}

/** Of a file without the section. */
export const NO_EXT: BtfExt = { functions: new Map(), lines: new Map(), core: new Map() };

class Tables {
  readonly #reader: Reader;
  readonly #btf: Btf;
  readonly #file: string;

  constructor(reader: Reader, btf: Btf, file: string) {
    this.#reader = reader;
    this.#btf = btf;
    this.#file = file;
  }

  #fail(what: string, problem: string): Error {
    return badObject(this.#file, `section .BTF.ext, ${what}: ${problem}`);
  }

  /** The table of `length` bytes at `start`. */
  read<T>(what: string, start: number, length: number, bytesMin: number, decode: (at: number) => T): Table<T> {
    const table = new Map<string, T[]>();
    if (length === 0) return table;
    const end = start + length;
    const recordBytes = length >= 4 && end <= this.#reader.bytes.length ? this.#reader.u32(start) : 0;
    if (recordBytes < bytesMin || recordBytes % 4 !== 0) {
      throw this.#fail(
        what,
        `${length} bytes at ${hex(start)}, with records of ${recordBytes}. It must end within ` +
          `${this.#reader.bytes.length} bytes, and records have ${bytesMin} or more, a multiple of 4.`,
      );
    }
    for (let at = start + 4; at < end; ) {
      const count = at + 8 <= end ? this.#reader.u32(at + 4) : 0;
      const next = at + 8 + count * recordBytes;
      if (count === 0 || next > end) {
        throw this.#fail(what, `${count} records at ${hex(at)}. There must be some, and they must end by ${hex(end)}.`);
      }
      const name = this.#btf.text(this.#reader.u32(at));
      const records = table.get(name) ?? [];
      for (let record = at + 8; record < next; record += recordBytes) records.push(decode(record));
      table.set(name, records);
      at = next;
    }
    return table;
  }
}

/** Errors: BAD_OBJECT. */
export function readBtfExt(bytes: Uint8Array, btf: Btf, file: string): BtfExt {
  const reader = new Reader(bytes);
  const header = bytes.length >= 24 ? reader.u32(4) : 0;
  if (header < 24 || reader.u16(0) !== MAGIC || reader.u8(2) !== 1) {
    const rule = `It must begin with ${hex(MAGIC)}, version 1, and a header of 24 bytes or more.`;
    throw badObject(file, `section .BTF.ext (${bytes.length} bytes) has no header of BTF. ${rule}`);
  }
  const tables = new Tables(reader, btf, file);
  const pc = (at: number): number => {
    const offset = reader.u32(at);
    if (offset % INSTRUCTION_BYTES === 0) return offset / INSTRUCTION_BYTES;
    const rule = `Offsets of instructions are multiples of ${INSTRUCTION_BYTES}.`;
    throw badObject(file, `section .BTF.ext has a record at ${hex(at)} for offset ${offset} of a section. ${rule}`);
  };
  const functions = tables.read('func_info', header + reader.u32(8), reader.u32(12), FUNC_BYTES, (at) => ({
    pc: pc(at),
    type: reader.u32(at + 4),
  }));
  const lines = tables.read('line_info', header + reader.u32(16), reader.u32(20), LINE_BYTES, (at) => {
    const place = reader.u32(at + 12);
    return { pc: pc(at), file: reader.u32(at + 4), text: reader.u32(at + 8), line: place >>> 10, column: place & 1023 };
  });
  const hasCore = header >= 32 && bytes.length >= 32;
  const core = !hasCore
    ? NO_EXT.core
    : tables.read('core_relo', header + reader.u32(24), reader.u32(28), CORE_BYTES, (at) => ({
        pc: pc(at),
        type: reader.u32(at + 4),
        access: reader.u32(at + 8),
        kind: reader.u32(at + 12),
      }));
  for (const records of [...lines.values(), ...core.values()]) records.sort((a, b) => a.pc - b.pc);
  return { functions, lines, core };
}
