import { badObject, hex, Reader } from './reader.ts';

/*
 * ELF64, little endian, of the machine BPF, before it is linked: what clang, gcc and `bpftool gen object` write. Names of
 * numbers are those of elf.h.
 *
 *     ┌────────┬──────────────────────────────┬─────────────────┐
 *     │ header │ bytes of the sections        │ section headers │
 *     └────────┴──────────────────────────────┴─────────────────┘
 */

export const SHT_PROGBITS = 1;
const SHT_SYMTAB = 2;
const SHT_STRTAB = 3;
export const SHT_NOBITS = 8;
const SHT_REL = 9;
const SHT_RELA = 4;
/** Section flag: it holds instructions. */
export const SHF_EXECINSTR = 4;

export const STT_FUNC = 2;
export const STT_SECTION = 3;
export const STB_LOCAL = 0;
export const STB_WEAK = 2;
/** Section of a symbol that another object defines. */
export const SHN_UNDEF = 0;

/** R_BPF_64_64 is in two halves of an LDDW, R_BPF_64_32 in a call; the others are in data. */
export const R_BPF_64_64 = 1;
export const R_BPF_64_32 = 10;

const HEADER_BYTES = 64;
const SECTION_HEADER_BYTES = 64;
const SYMBOL_BYTES = 24;
const RELOCATION_BYTES = 16;
const EM_BPF = 247;
const ET_REL = 1;
/** Most bytes of all sections together that have none in the file (`.bss`): a limit of this reader's. */
const NOBITS_BYTES_MAX = 1 << 26;

export interface Section {
  readonly index: number;
  readonly name: string;
  /** SHT_…. */
  readonly type: number;
  /** SHF_…; the low 32 bits. */
  readonly flags: number;
  /** Bytes that it has in memory: those of `bytes`, except when it is SHT_NOBITS. */
  readonly size: number;
  readonly link: number;
  readonly info: number;
  /** A view of the file; empty for SHT_NOBITS. */
  readonly bytes: Uint8Array;
}

export interface ElfSymbol {
  readonly name: string;
  /** STT_…. */
  readonly type: number;
  /** STB_…. */
  readonly binding: number;
  /** Number of its section, SHN_UNDEF, or a reserved number above all sections'. */
  readonly section: number;
  /** Offset in its section. */
  readonly value: number;
  readonly size: number;
}

export interface Relocation {
  /** Offset in the section that is changed. */
  readonly offset: number;
  /** R_BPF_…. */
  readonly type: number;
  readonly symbol: ElfSymbol;
}

/** A parsed file. Everything in it has been checked against the file's bounds. */
export class Elf {
  readonly file: string;
  readonly sections: readonly Section[];
  readonly symbols: readonly ElfSymbol[];
  /** By the number of the section that they change: the sections that hold them. */
  readonly #relocations: ReadonlyMap<number, Section>;
  readonly #named = new Map<string, Section>();

  /** Errors: BAD_OBJECT. */
  constructor(bytes: Uint8Array, file: string) {
    this.file = file;
    const reader = new Reader(bytes);
    this.sections = readSections(reader, file);
    this.symbols = readSymbols(this.sections, file);
    const relocations = new Map<number, Section>();
    for (const section of this.sections) {
      if (!this.#named.has(section.name)) this.#named.set(section.name, section);
      if (section.type === SHT_RELA) {
        throw badObject(file, `section ${section.name} has relocations with addends (SHT_RELA). BPF has SHT_REL only.`);
      }
      if (section.type === SHT_REL) relocations.set(section.info, section);
    }
    this.#relocations = relocations;
  }

  /** The first section of this name. */
  section(name: string): Section | undefined {
    return this.#named.get(name);
  }

  /** What is to be changed in section `index`, by offset. Each call reads it again. Errors: BAD_OBJECT. */
  relocationsOf(index: number): Map<number, Relocation> {
    const section = this.#relocations.get(index);
    const found = new Map<number, Relocation>();
    if (section === undefined) return found;
    const reader = new Reader(section.bytes);
    if (section.size % RELOCATION_BYTES !== 0) {
      const rule = `Each relocation has ${RELOCATION_BYTES}.`;
      throw badObject(this.file, `section ${section.name} has ${section.size} bytes of relocations. ${rule}`);
    }
    for (let at = 0; at < section.size; at += RELOCATION_BYTES) {
      const [offset, type, number] = [reader.u64(at), reader.u32(at + 8), reader.u32(at + 12)];
      const symbol = this.symbols[number];
      const size = this.sections[index]?.size ?? 0;
      if (symbol === undefined || offset >= size) {
        throw badObject(
          this.file,
          `relocation ${at / RELOCATION_BYTES} of section ${section.name} changes offset ${hex(offset)} by symbol ${number}. ` +
            `Offsets are below ${hex(size)} there, and symbols below ${this.symbols.length}.`,
        );
      }
      found.set(offset, { offset, type, symbol });
    }
    return found;
  }
}

function checkHeader(reader: Reader, file: string): void {
  const { length } = reader.bytes;
  if (length < HEADER_BYTES || reader.u32(0) !== 0x464c457f) {
    throw badObject(
      file,
      `the file (${length} bytes) is no ELF file. Compile the program with \`clang -O2 -g -target bpf -c\`.`,
    );
  }
  const [width, order, type, machine] = [reader.u8(4), reader.u8(5), reader.u16(16), reader.u16(18)];
  if (width !== 2 || order !== 1 || type !== ET_REL || machine !== EM_BPF) {
    throw badObject(
      file,
      `the ELF header says class ${width}, byte order ${order}, type ${type}, machine ${machine}. It must say class 2 ` +
        `(64 bits), byte order 1 (little endian), type ${ET_REL} (relocatable), machine ${EM_BPF} (BPF): compile the ` +
        'program with `clang -O2 -g -target bpf -c`.',
    );
  }
}

function readSections(reader: Reader, file: string): Section[] {
  checkHeader(reader, file);
  const { length } = reader.bytes;
  const [start, entryBytes, count, namesIndex] = [reader.u64(40), reader.u16(58), reader.u16(60), reader.u16(62)];
  if (entryBytes !== SECTION_HEADER_BYTES || count === 0 || start + count * SECTION_HEADER_BYTES > length) {
    throw badObject(
      file,
      `the ELF header says ${count} section headers of ${entryBytes} bytes at ${hex(start)}. There must be some, of ` +
        `${SECTION_HEADER_BYTES} bytes, and they must end within the file's ${length} bytes.`,
    );
  }
  const nameOffsets: number[] = [];
  const sections: (Omit<Section, 'name'> & { name: string })[] = [];
  let [sum, empty] = [0, 0];
  for (let index = 0; index < count; index++) {
    const at = start + index * SECTION_HEADER_BYTES;
    const [type, offset, size] = [reader.u32(at + 4), reader.u64(at + 24), reader.u64(at + 32)];
    const isEmpty = type === 0 || type === SHT_NOBITS;
    if (type === SHT_NOBITS) empty += size;
    if (isEmpty ? empty > NOBITS_BYTES_MAX : offset + size > length) {
      throw badObject(
        file,
        `section ${index} has ${size} bytes at ${hex(offset)}. ` +
          (isEmpty ? `All without contents may have ${NOBITS_BYTES_MAX} together.` : `The file has ${length} bytes.`),
      );
    }
    nameOffsets.push(reader.u32(at));
    const bytes = isEmpty ? new Uint8Array(0) : reader.bytes.subarray(offset, offset + size);
    sum += bytes.length;
    const [flags, link, info] = [reader.u32(at + 8), reader.u32(at + 40), reader.u32(at + 44)];
    sections.push({ index, name: '', type, flags, size: type === 0 ? 0 : size, link, info, bytes });
  }
  // Else a small file of sections that lie on each other would be read many times over.
  if (sum > length) {
    throw badObject(
      file,
      `its sections have ${sum} bytes together, the file has ${length}. Sections must not overlap.`,
    );
  }
  const names = sections[namesIndex];
  if (names === undefined || names.type !== SHT_STRTAB) {
    throw badObject(
      file,
      `the ELF header says section ${namesIndex} has the sections' names. It must be a string table (type ${SHT_STRTAB}).`,
    );
  }
  const nameReader = new Reader(names.bytes);
  for (const section of sections) {
    const offset = nameOffsets[section.index] as number;
    const name = nameReader.text(offset);
    if (name === undefined) {
      throw badObject(
        file,
        `section ${section.index} has its name at ${hex(offset)} of the string table. It must end with a 0 within its ` +
          `${names.size} bytes.`,
      );
    }
    section.name = name;
  }
  return sections;
}

function readSymbols(sections: readonly Section[], file: string): ElfSymbol[] {
  const table = sections.find(({ type }) => type === SHT_SYMTAB);
  if (table === undefined) {
    throw badObject(file, `it has no symbol table, so its programs cannot be found. Do not strip it of symbols.`);
  }
  const strings = sections[table.link];
  if (strings === undefined || strings.type !== SHT_STRTAB || table.size % SYMBOL_BYTES !== 0) {
    throw badObject(
      file,
      `section ${table.name} has ${table.size} bytes of symbols with names in section ${table.link}. Symbols have ` +
        `${SYMBOL_BYTES} bytes each, and their names are in a string table (type ${SHT_STRTAB}).`,
    );
  }
  const reader = new Reader(table.bytes);
  const names = new Reader(strings.bytes);
  const symbols: ElfSymbol[] = [];
  for (let at = 0; at < table.size; at += SYMBOL_BYTES) {
    const [nameOffset, info, section] = [reader.u32(at), reader.u8(at + 4), reader.u16(at + 6)];
    const name = (info & 15) === STT_SECTION ? sections[section]?.name : names.text(nameOffset);
    if (name === undefined) {
      throw badObject(
        file,
        `symbol ${at / SYMBOL_BYTES} has its name at ${hex(nameOffset)} of section ${strings.name}, and is in section ${section}. ` +
          `The name must end with a 0 within ${strings.size} bytes; there are ${sections.length} sections.`,
      );
    }
    const [value, size] = [reader.u64(at + 8), reader.u64(at + 16)];
    symbols.push({ name, type: info & 15, binding: info >> 4, section, value, size });
  }
  return symbols;
}
