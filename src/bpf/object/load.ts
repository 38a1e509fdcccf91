import { INSTRUCTION_BYTES } from '../instruction.ts';
import { Btf } from './btf.ts';
import { NO_EXT, readBtfExt } from './btf-ext.ts';
import { Elf, type ElfSymbol, type Section, SHF_EXECINSTR, SHT_PROGBITS, STB_LOCAL, STT_FUNC } from './elf.ts';
import { readKconfig } from './kconfig.ts';
import { readMaps } from './maps.ts';
import type { BpfObject, ObjectFunction, ObjectProgram } from './object.ts';
import { badObject, Reader } from './reader.ts';
import { kindOfSection, placesOf } from './sections.ts';

export { linkProgram } from './link.ts';

/** Functions of the other sections are programs; those of this one are only called. */
const TEXT = '.text';

/**
 * Reads an object file of eBPF programs, as compilers write it. `file` is what messages call it.
 *
 * Errors: BAD_OBJECT when it is no such file or something in it is out of bounds or contradicts itself.
 */
export function loadObject(bytes: Uint8Array, { file = 'object file' }: { file?: string } = {}): BpfObject {
  // A copy: what is checked here is what is linked later, whatever its owner does.
  const elf = new Elf(new Uint8Array(bytes), file);
  const types = elf.section('.BTF');
  const btf = types === undefined ? undefined : new Btf(types.bytes, file, placesOf(elf));
  const extension = elf.section('.BTF.ext');
  const ext = btf === undefined || extension === undefined ? NO_EXT : readBtfExt(extension.bytes, btf, file);
  const placed = readMaps(elf, btf);
  const kconfig = btf === undefined ? undefined : readKconfig(btf);
  const definitions = placed.map(({ definition }) => definition);
  const functions = readFunctions(elf);
  const entries = functions.filter(({ section, global }) => section.name !== TEXT && global);
  return {
    file,
    license: readLicense(elf),
    maps: kconfig === undefined ? definitions : [...definitions, kconfig.definition],
    programs: entries.map(programOf),
    ...(btf === undefined ? {} : { btf }),
    parts: {
      elf,
      ext,
      functionAt: new Map(functions.map((each) => [`${each.section.index}:${each.start}`, each])),
      functionNamed: byName(functions),
      entries,
      mapAt: new Map(placed.map(({ section, start }, index) => [`${section}:${start}`, index])),
      ...(kconfig === undefined ? {} : { kconfig: { index: definitions.length, offsets: kconfig.offsets } }),
    },
  };
}

function readLicense(elf: Elf): string {
  const section = elf.section('license');
  return section === undefined ? '' : (new Reader(section.bytes).text(0) ?? '');
}

function programOf({ name, section }: ObjectFunction): ObjectProgram {
  const kind = kindOfSection(section.name);
  return { name, section: section.name, type: kind?.type, frags: kind?.frags ?? false };
}

/** All functions, ascending by section and place. */
function readFunctions(elf: Elf): ObjectFunction[] {
  const functions: ObjectFunction[] = [];
  for (const symbol of elf.symbols) {
    if (symbol.type !== STT_FUNC) continue;
    const section = elf.sections[symbol.section];
    if (section?.type !== SHT_PROGBITS || (section.flags & SHF_EXECINSTR) === 0) continue;
    functions.push(functionOf(elf, symbol, section));
  }
  functions.sort((a, b) => a.section.index - b.section.index || a.start - b.start || a.end - b.end);
  for (const [index, { name, section, start, end }] of functions.entries()) {
    const before = functions[index - 1];
    if (before === undefined || before.section !== section || before.end <= start) continue;
    if (before.start === start && before.end === end) continue;
    throw badObject(
      elf.file,
      `functions ${before.name} (instructions ${before.start} to ${before.end}) and ${name} (${start} to ${end}) of ` +
        `section ${section.name} overlap. They must lie apart.`,
    );
  }
  return functions;
}

function functionOf(elf: Elf, { name, value, size, binding }: ElfSymbol, section: Section): ObjectFunction {
  const isWhole = value % INSTRUCTION_BYTES === 0 && size % INSTRUCTION_BYTES === 0;
  if (!isWhole || size === 0 || value + size > section.size) {
    throw badObject(
      elf.file,
      `function ${name} has ${size} bytes at ${value} of section ${section.name}. Both must be multiples of ` +
        `${INSTRUCTION_BYTES}, it must have an instruction, and it must end within the section's ${section.size} bytes.`,
    );
  }
  const start = value / INSTRUCTION_BYTES;
  return { name, section, start, end: start + size / INSTRUCTION_BYTES, global: binding !== STB_LOCAL };
}

function byName(functions: readonly ObjectFunction[]): Map<string, ObjectFunction> {
  const named = new Map<string, ObjectFunction>();
  for (const each of functions) {
    if (!named.has(each.name) || each.global) named.set(each.name, each);
  }
  return named;
}
