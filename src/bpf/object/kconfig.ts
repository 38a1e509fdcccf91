import { KIND_ARRAY, MAP_FLAG_RDONLY_PROG } from '../layout.ts';
import type { MapDefinition } from '../program.ts';
import type { Btf } from './btf.ts';
import { badObject } from './reader.ts';

/** Section of BTF for variables that ask for a kernel's configuration: `extern int CONFIG_HZ __kconfig`. */
const SECTION = '.kconfig';
/** The version that programs are told when they ask: the first kernel that has all helpers there are, 6.1.0. */
const KERNEL_VERSION = (6 << 16) | (1 << 8);
const VERSION_VARIABLE = 'LINUX_KERNEL_VERSION';
/** All variables together; a kernel has some ten thousand options. */
const BYTES_MAX = 1 << 20;
const ALIGNMENT = 8;

/** The variables of a file that ask for configuration. There is none here, so all but the version are 0. */
export interface Kconfig {
  readonly definition: MapDefinition;
  /** By name: offset in the map's one value. */
  readonly offsets: ReadonlyMap<string, number>;
}

/** True for a variable that has a value although the file does not declare it weak. */
export const hasValue = (name: string): boolean => name === VERSION_VARIABLE;

/** Undefined when the file asks for none. Errors: BAD_OBJECT. */
export function readKconfig(btf: Btf): Kconfig | undefined {
  const section = btf.find(SECTION, 'datasec');
  if (section === undefined) return undefined;
  const offsets = new Map<string, number>();
  let bytes = 0;
  for (const { type } of section.variables) {
    const variable = btf.type(type);
    if (variable.kind !== 'var')
      throw badObject(btf.file, `section ${SECTION} of .BTF has a type ${type} of no variable.`);
    offsets.set(variable.name, bytes);
    bytes += Math.ceil(btf.size(variable.type) / ALIGNMENT) * ALIGNMENT;
    if (bytes > BYTES_MAX) throw badObject(btf.file, `section ${SECTION} of .BTF has more than ${BYTES_MAX} bytes.`);
  }
  if (bytes === 0) return undefined;
  const initial = new Uint8Array(bytes);
  const version = offsets.get(VERSION_VARIABLE);
  if (version !== undefined) new DataView(initial.buffer).setUint32(version, KERNEL_VERSION, true);
  const definition: MapDefinition = {
    name: SECTION,
    kind: KIND_ARRAY,
    keyBytes: 4,
    valueBytes: bytes,
    maxEntries: 1,
    flags: MAP_FLAG_RDONLY_PROG,
    pinned: false,
    initial,
  };
  return { definition, offsets };
}
