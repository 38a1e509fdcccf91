import type { MapDefinition, ProgramType } from '../program.ts';
import type { Btf } from './btf.ts';
import type { BtfExt } from './btf-ext.ts';
import type { Elf, Section } from './elf.ts';

/** A function of an object file. */
export interface ObjectFunction {
  readonly name: string;
  readonly section: Section;
  /** Number of its first instruction in the section, and of the one behind its last. */
  readonly start: number;
  readonly end: number;
  /** Other objects and `replace` may name it. */
  readonly global: boolean;
}

/** A program of an object file. */
export interface ObjectProgram {
  /** Of its function. */
  readonly name: string;
  readonly section: string;
  /** Undefined when programs of such a section are not supported: they are listed, and cannot be linked. */
  readonly type: ProgramType | undefined;
  /** It takes packets of several buffers. */
  readonly frags: boolean;
}

/** What linking needs of a file, beside what its user sees. */
export interface ObjectParts {
  readonly elf: Elf;
  readonly ext: BtfExt;
  /** By `section number:instruction`: what begins there. */
  readonly functionAt: ReadonlyMap<string, ObjectFunction>;
  /** By name; of functions with one name, the global one. */
  readonly functionNamed: ReadonlyMap<string, ObjectFunction>;
  /** The functions of `programs`, by number. */
  readonly entries: readonly ObjectFunction[];
  /** By `section number:offset`: the number of the map whose definition or first variable is there. */
  readonly mapAt: ReadonlyMap<string, number>;
  /** The map of a kernel's configuration, by number, and its variables. */
  readonly kconfig?: { readonly index: number; readonly offsets: ReadonlyMap<string, number> };
}

/** An object file of eBPF programs and maps, read and checked. `linkProgram` makes programs of it. */
export interface BpfObject {
  /** What messages call it. */
  readonly file: string;
  /** Section `license`; empty when there is none. */
  readonly license: string;
  /** All, used by a program or not. */
  readonly maps: readonly MapDefinition[];
  readonly programs: readonly ObjectProgram[];
  readonly btf?: Btf;
  /** Not for users of the object. */
  readonly parts: ObjectParts;
}
