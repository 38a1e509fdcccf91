import type { ProgramType } from '../program.ts';
import type { BtfVariable } from './btf.ts';
import { type Elf, type Section, STT_SECTION } from './elf.ts';

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

/** Where global variables are, by `section number:name`: the compiler leaves their offsets in BTF to the linker. */
export type VariablePlaces = ReadonlyMap<string, number>;

export function placesOfVariables({ symbols }: Elf): VariablePlaces {
  const places = new Map<string, number>();
  for (const { name, type, section, value } of symbols) {
    if (type !== STT_SECTION && name !== '') places.set(`${section}:${name}`, value);
  }
  return places;
}

/** Offset of a variable of `section`. `linkage`: BTF_VAR_…; a static one has its offset in BTF. */
export function placeOfVariable(
  places: VariablePlaces,
  { index }: Section,
  variable: BtfVariable,
  { name, linkage }: { readonly name: string; readonly linkage: number },
): number {
  return linkage === 0 ? variable.offset : (places.get(`${index}:${name}`) ?? variable.offset);
}
