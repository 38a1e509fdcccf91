import { RingwayError } from '../../util/errors.ts';
import {
  ALU,
  CALL_HELPER,
  CALL_LOCAL,
  CLASS,
  decodeInstructions,
  INSTRUCTION_BYTES,
  type Instruction,
  LDDW,
  OP_CALL,
  OP_LDDW,
} from '../instruction.ts';
import { withLoops } from '../loops.ts';
import type { FunctionInfo, MapDefinition, Program, SourceLine } from '../program.ts';
import { MISSING_FUNCTION } from '../verify.ts';
import type { CoreRecord, LineRecord } from './btf-ext.ts';
import { patchCore, removeCore, resolveCore } from './core-relocations.ts';
import {
  type ElfSymbol,
  R_BPF_64_32,
  R_BPF_64_64,
  type Relocation,
  type Section,
  SHF_EXECINSTR,
  SHN_UNDEF,
  STB_WEAK,
} from './elf.ts';
import { findProgram } from './find-program.ts';
import { hasValue } from './kconfig.ts';
import type { BpfObject, ObjectFunction } from './object.ts';
import { reachable } from './reach.ts';
import { badObject, hex, listNames } from './reader.ts';
import { isDataSection, kindOfSection } from './sections.ts';

/** Another object's program, in the place of a function. */
export interface Replacement {
  readonly object: BpfObject;
  /** As `linkProgram` takes it. */
  readonly program?: string;
}

/** What linking may put in the place of what the object has. */
export interface LinkOptions {
  /** By the name of a global function of the program's object: what is called instead. */
  readonly replace?: Readonly<Record<string, Replacement>>;
}

/** A function that the linked program has, and where. */
interface Unit {
  readonly object: BpfObject;
  readonly source: ObjectFunction;
  start: number;
}

/** An instruction of the file, by its number in its section. */
interface Place {
  readonly unit: Unit;
  readonly pc: number;
}

/**
 * Makes one program of a function of the object and all that it calls, in the order in which they are first called. Maps
 * are numbered in the order of their first use; maps that these hold from the start follow. Without a name it is the only
 * program of a supported type.
 *
 * Errors: NOT_FOUND when there is no such program, UNSUPPORTED when it is of a type that there is not, BAD_OBJECT when
 * the file asks for something that it does not have.
 */
export function linkProgram(object: BpfObject, name?: string, options: LinkOptions = {}): Program {
  const entry = findProgram(object, name);
  return new Linker(options.replace ?? {}, object).link(entry);
}

/** `r0 = 0`, in the place of an instruction that cannot run. */
const NOTHING: Instruction = { opcode: CLASS.ALU64 | ALU.MOV, dst: 0, src: 0, offset: 0, imm: 0 };

class Linker {
  readonly #replace: Readonly<Record<string, Replacement>>;
  readonly #object: BpfObject;
  readonly #units: Unit[] = [];
  readonly #unitOf = new Map<BpfObject, Map<ObjectFunction, Unit>>();
  readonly #code: Instruction[] = [];
  readonly #lines: SourceLine[] = [];
  readonly #maps: { readonly definition: MapDefinition; readonly object: BpfObject }[] = [];
  readonly #mapNumbers = new Map<MapDefinition, number>();
  /** Instructions that name a function by its distance, and the function. */
  readonly #fixups: { readonly pc: number; readonly unit: Unit }[] = [];
  readonly #missing = new Map<number, string>();
  readonly #relocations = new Map<Section, ReadonlyMap<number, Relocation>>();

  constructor(replace: Readonly<Record<string, Replacement>>, object: BpfObject) {
    this.#replace = replace;
    this.#object = object;
    for (const name of Object.keys(replace)) {
      if (object.parts.functionNamed.get(name)?.global === true) continue;
      const known = [...object.parts.functionNamed.values()].filter(({ global }) => global).map((each) => each.name);
      throw new RingwayError(
        'NOT_FOUND',
        `${object.file}: it has no function ${name} to be replaced. Its global functions: ${listNames(known)}.`,
      );
    }
  }

  link(entry: ObjectFunction): Program {
    this.#unit(this.#object, entry);
    // Both lists grow while they are walked: functions by what they call, maps by what they hold.
    for (const unit of this.#units) this.#append(unit);
    for (const { pc, unit } of this.#fixups) {
      this.#code[pc] = { ...(this.#code[pc] as Instruction), imm: unit.start - pc - 1 };
    }
    this.#removeUnreachable();
    for (const { definition, object } of this.#maps) {
      if (definition.initialValues !== undefined) this.#addHeld(object, definition.initialValues);
    }
    const kind = kindOfSection(entry.section.name);
    return withLoops({
      name: entry.name,
      section: entry.section.name,
      type: kind?.type ?? 'xdp',
      frags: kind?.frags ?? false,
      code: this.#code,
      functions: this.#units.map(({ source: { name, start: first, end }, start }): FunctionInfo => {
        return { name, start, end: start + end - first };
      }),
      maps: this.#maps.map(({ definition }) => definition),
      lines: this.#lines,
      ...(this.#missing.size === 0 ? {} : { missing: this.#missing }),
    });
  }

  #unit(object: BpfObject, source: ObjectFunction): Unit {
    const units = this.#unitOf.get(object) ?? new Map<ObjectFunction, Unit>();
    this.#unitOf.set(object, units);
    const known = units.get(source);
    if (known !== undefined) return known;
    const unit = { object, source, start: 0 };
    units.set(source, unit);
    this.#units.push(unit);
    return unit;
  }

  #mapNumber(object: BpfObject, definition: MapDefinition): number {
    const known = this.#mapNumbers.get(definition);
    if (known !== undefined) return known;
    this.#mapNumbers.set(definition, this.#maps.length);
    this.#maps.push({ definition, object });
    return this.#maps.length - 1;
  }

  #addHeld(object: BpfObject, held: readonly { readonly name: string }[]): void {
    const maps = new Map(object.maps.map((map) => [map.name, map]));
    for (const { name } of held) {
      const map = maps.get(name);
      if (map !== undefined) this.#mapNumber(object, map);
    }
  }

  #relocationsOf(object: BpfObject, section: Section): ReadonlyMap<number, Relocation> {
    const known = this.#relocations.get(section);
    if (known !== undefined) return known;
    const relocations = object.parts.elf.relocationsOf(section.index);
    this.#relocations.set(section, relocations);
    return relocations;
  }

  #append(unit: Unit): void {
    const { section, start, end } = unit.source;
    unit.start = this.#code.length;
    const code = decodeInstructions(section.bytes.subarray(start * INSTRUCTION_BYTES, end * INSTRUCTION_BYTES));
    const relocations = this.#relocationsOf(unit.object, section);
    for (let index = 0; index < code.length; index++) {
      const instruction = code[index] as Instruction;
      const place: Place = { unit, pc: start + index };
      const relocation = relocations.get(place.pc * INSTRUCTION_BYTES);
      if (instruction.opcode === OP_LDDW) {
        this.#addLddw(place, instruction, code[index + 1], relocation);
        index++;
      } else if (instruction.opcode === OP_CALL) this.#addCall(place, instruction, relocation);
      else if (relocation === undefined) this.#code.push(instruction);
      else
        throw this.#fail(
          place,
          `opcode ${hex(instruction.opcode)} has a relocation. Only LDDW and calls may have one.`,
        );
    }
    this.#relocateCore(unit);
    this.#addLines(unit);
  }

  #relocateCore(unit: Unit): void {
    const { object, source, start } = unit;
    const records = object.parts.ext.core.get(source.section.name);
    if (object.btf === undefined || records === undefined) return;
    for (let index = firstFrom(records, source.start); index < records.length; index++) {
      const record = records[index] as CoreRecord;
      if (record.pc >= source.end) break;
      const pc = start + record.pc - source.start;
      const fail = (problem: string): Error => this.#fail({ unit, pc: record.pc }, `a CO-RE relocation: ${problem}`);
      const result = resolveCore(object.btf, record, fail);
      if ('value' in result) patchCore(this.#code, pc, result.value, fail);
      else for (const changed of removeCore(this.#code, pc)) this.#missing.set(changed, result.missing);
    }
  }

  /** What is missing does not matter where a check of its existence has become a constant that leads past it. */
  #removeUnreachable(): void {
    const pcs = [...this.#missing.keys()].sort((a, b) => a - b);
    let next = 0;
    for (const { source, start } of this.#units) {
      const end = start + source.end - source.start;
      if ((pcs[next] ?? end) >= end) continue;
      const reached = reachable(this.#code, start, end);
      for (let pc = pcs[next]; pc !== undefined && pc < end; pc = pcs[++next]) {
        if (reached[pc - start] === 1) continue;
        this.#missing.delete(pc);
        this.#code[pc] = NOTHING;
      }
    }
  }

  #fail({ unit, pc }: Place, problem: string): Error {
    const { object, source } = unit;
    const line = object.parts.ext.lines.get(source.section.name)?.findLast((record) => record.pc <= pc);
    const from =
      line === undefined || object.btf === undefined ? '' : `${object.btf.excerpt(line.file)}:${line.line}, `;
    return badObject(object.file, `${from}function ${source.name}, instruction ${pc - source.start}: ${problem}`);
  }

  /** The function of the place's object that begins at an instruction of a section, or what replaces it. */
  #target(place: Place, section: number, pc: number): Unit {
    const { object } = place.unit;
    const found = object.parts.functionAt.get(`${section}:${pc}`);
    if (found === undefined) {
      const name = object.parts.elf.sections[section]?.name ?? `section ${section}`;
      throw this.#fail(place, `it calls instruction ${pc} of ${name}. No function begins there.`);
    }
    const replacement =
      object === this.#object && Object.hasOwn(this.#replace, found.name) && this.#replace[found.name];
    if (!replacement || !found.global) return this.#unit(object, found);
    return this.#unit(replacement.object, findProgram(replacement.object, replacement.program));
  }

  #addCall(place: Place, call: Instruction, relocation: Relocation | undefined): void {
    if (relocation === undefined) {
      if (call.src === CALL_LOCAL) {
        const unit = this.#target(place, place.unit.source.section.index, place.pc + 1 + call.imm);
        this.#fixups.push({ pc: this.#code.length, unit });
      }
      this.#code.push(call);
      return;
    }
    const { type, symbol } = relocation;
    if (type !== R_BPF_64_32) {
      throw this.#fail(place, `a call has a relocation of type ${type}. It must be ${R_BPF_64_32} (R_BPF_64_32).`);
    }
    if (symbol.section === SHN_UNDEF) {
      this.#checkWeak(place, symbol);
      this.#missing.set(this.#code.length, symbol.name);
      this.#code.push({ ...call, src: CALL_HELPER, imm: MISSING_FUNCTION });
      return;
    }
    const unit = this.#target(place, symbol.section, symbol.value / INSTRUCTION_BYTES + call.imm + 1);
    this.#fixups.push({ pc: this.#code.length, unit });
    this.#code.push({ ...call, src: CALL_LOCAL });
  }

  #checkWeak(place: Place, { name, binding }: ElfSymbol): void {
    if (binding === STB_WEAK) return;
    throw this.#fail(
      place,
      `it needs ${name}, which the file only declares (extern). There are no functions, variables and configuration of a ` +
        'kernel here. Define it, or declare it __weak and check for 0.',
    );
  }

  #addLddw(place: Place, low: Instruction, high: Instruction | undefined, relocation: Relocation | undefined): void {
    if (high === undefined)
      throw this.#fail(place, 'it is the first half of an LDDW, and the function ends behind it.');
    if (relocation === undefined) {
      if (low.src === LDDW.FUNCTION) {
        const unit = this.#target(place, place.unit.source.section.index, place.pc + 1 + low.imm);
        this.#fixups.push({ pc: this.#code.length, unit });
      } else if (low.src !== LDDW.CONSTANT) {
        throw this.#fail(
          place,
          `an LDDW has src ${low.src} and no relocation. Files refer to maps by relocations only.`,
        );
      }
      this.#code.push(low, high);
      return;
    }
    const { type, symbol } = relocation;
    if (type !== R_BPF_64_64) {
      throw this.#fail(place, `an LDDW has a relocation of type ${type}. It must be ${R_BPF_64_64} (R_BPF_64_64).`);
    }
    if (symbol.section === SHN_UNDEF) {
      this.#addExtern(place, symbol, low, high);
      return;
    }
    const { parts } = place.unit.object;
    const section = parts.elf.sections[symbol.section];
    const offset = symbol.value + low.imm;
    if (section !== undefined && (section.flags & SHF_EXECINSTR) !== 0) {
      const unit = this.#target(place, section.index, offset / INSTRUCTION_BYTES);
      this.#fixups.push({ pc: this.#code.length, unit });
      this.#code.push({ ...low, src: LDDW.FUNCTION }, high);
      return;
    }
    const isData = section !== undefined && isDataSection(section.name);
    const map = this.#mapAt(place, symbol, offset, isData);
    this.#code.push(
      { ...low, src: isData ? LDDW.MAP_INDEX_VALUE : LDDW.MAP_INDEX, imm: map },
      { ...high, imm: isData ? offset : 0 },
    );
  }

  #addExtern(place: Place, symbol: ElfSymbol, low: Instruction, high: Instruction): void {
    const { object } = place.unit;
    const { kconfig } = object.parts;
    const offset = kconfig?.offsets.get(symbol.name);
    if (offset === undefined || !hasValue(symbol.name)) this.#checkWeak(place, symbol);
    const map = offset === undefined || kconfig === undefined ? undefined : object.maps[kconfig.index];
    if (map === undefined || offset === undefined) {
      this.#code.push({ ...low, src: LDDW.CONSTANT, imm: 0 }, { ...high, imm: 0 });
      return;
    }
    const imm = this.#mapNumber(object, map);
    this.#code.push({ ...low, src: LDDW.MAP_INDEX_VALUE, imm }, { ...high, imm: offset });
  }

  /** Number of the map that begins at an offset of the symbol's section, or has it among its variables. */
  #mapAt(place: Place, { name, section: index }: ElfSymbol, offset: number, isData: boolean): number {
    const { object } = place.unit;
    const { elf, mapAt } = object.parts;
    const section = elf.sections[index] as Section;
    const found = object.maps[mapAt.get(`${index}:${isData ? 0 : offset}`) ?? -1];
    const definition = isData && (offset < 0 || offset >= section.size) ? undefined : found;
    if (definition === undefined) {
      throw this.#fail(
        place,
        `it refers to ${name || 'something'} at ${offset} of section ${section?.name ?? index}. It may refer to maps ` +
          '(.maps, maps), to variables in .data, .rodata, .bss, and to functions.',
      );
    }
    if (isData && this.#relocationsOf(object, section).size > 0) {
      throw this.#fail(
        place,
        `it refers to ${name || 'a variable'} in section ${section?.name}, which has pointers to other variables or functions. ` +
          'Variables may not be initialised with addresses.',
      );
    }
    return this.#mapNumber(object, definition);
  }

  #addLines({ object, source, start }: Unit): void {
    const { btf, parts } = object;
    const records = parts.ext.lines.get(source.section.name);
    if (btf === undefined || records === undefined) return;
    for (let index = firstFrom(records, source.start); index < records.length; index++) {
      const { pc, file, text, line, column } = records[index] as LineRecord;
      if (pc >= source.end) break;
      // Line 0 is code that compilers made of no line: it goes with what is before it.
      if (line === 0) continue;
      this.#lines.push({
        pc: start + pc - source.start,
        file: btf.excerpt(file),
        line,
        column,
        text: btf.excerpt(text),
      });
    }
  }
}

/** Number of the first record of instruction `pc` or behind. */
function firstFrom(records: readonly { readonly pc: number }[], pc: number): number {
  let [low, high] = [0, records.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((records[middle]?.pc ?? 0) < pc) low = middle + 1;
    else high = middle;
  }
  return low;
}
