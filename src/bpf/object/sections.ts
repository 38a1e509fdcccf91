import type { ProgramType } from '../program.ts';
import type { VariablePlaces } from './btf.ts';
import { type Elf, STT_SECTION } from './elf.ts';

/** What the name of a section says of the programs in it. */
export interface SectionKind {
  readonly type: ProgramType;
  readonly frags: boolean;
}

/** The names that programs may have their section by, for messages. */
export const PROGRAM_SECTIONS = 'xdp, xdp.frags, xdp/devmap, xdp/cpumap (both also xdp.frags/…), freplace/NAME';

/** Undefined when programs of such a section are of a type that is not supported. */
export function kindOfSection(name: string): SectionKind | undefined {
  const match = /^xdp(\.frags)?(?:\/(devmap|cpumap))?$/.exec(name);
  if (match !== null) {
    const target = match[2] as 'devmap' | 'cpumap' | undefined;
    return { type: target === undefined ? 'xdp' : `xdp/${target}`, frags: match[1] !== undefined };
  }
  if (name === 'freplace' || name.startsWith('freplace/')) return { type: 'freplace', frags: false };
  // Sections of old programs were called as their author liked: xdp_pass, xdp_prog1, xdp/syncookie.
  return name.startsWith('xdp') ? { type: 'xdp', frags: false } : undefined;
}

/** Whether a section has variables of the program: `.data`, `.rodata`, `.bss`, and those with a suffix. */
export const isDataSection = (name: string): boolean => /^\.(data|rodata|bss)(\.|$)/.test(name);

/** Where a file has its sections and global variables: compilers leave their places in BTF to the linker. */
export function placesOf(elf: Elf): VariablePlaces {
  const places = new Map<string, number>();
  for (const { name, type, section, value } of elf.symbols) {
    if (type !== STT_SECTION && name !== '') places.set(`${section}:${name}`, value);
  }
  return {
    bytesOf: (name) => elf.section(name)?.size,
    offsetOf: (name, variable) => places.get(`${elf.section(name)?.index}:${variable}`),
  };
}
