import { KIND_ARRAY, KIND_ARRAY_OF_MAPS, KIND_HASH_OF_MAPS, KIND_PROG_ARRAY, MAP_FLAG_RDONLY_PROG } from '../layout.ts';
import type { MapDefinition } from '../program.ts';
import type { Btf, BtfMember, BtfTypeOf } from './btf.ts';
import { type Elf, type Relocation, type Section, STT_FUNC, STT_SECTION } from './elf.ts';
import { badObject, Reader } from './reader.ts';
import { isDataSection } from './sections.ts';

/** The fields of a legacy definition, struct bpf_map_def: type, key_size, value_size, max_entries, map_flags. */
const LEGACY_BYTES = 20;
/** A map of maps within a map of maps is refused by Linux. */
const INNER_DEPTH_MAX = 1;
const POINTER_BYTES = 8;
const NUMBERS = ['type', 'key_size', 'value_size', 'max_entries', 'map_flags', 'pinning', 'numa_node', 'map_extra'];

/** A map, and the bytes of the file that stand for it. */
export interface PlacedMap {
  readonly definition: MapDefinition;
  readonly section: number;
  readonly start: number;
  readonly end: number;
}

/** Reads the maps of one file. */
class MapReader {
  readonly #elf: Elf;
  readonly #btf: Btf | undefined;

  constructor(elf: Elf, btf: Btf | undefined) {
    this.#elf = elf;
    this.#btf = btf;
  }

  #fail(problem: string): Error {
    return badObject(this.#elf.file, problem);
  }

  /** Definitions in section `.maps`, which are types; the bytes there are only pointers to what they hold at the start. */
  fromBtf(section: Section): PlacedMap[] {
    const btf = this.#btf;
    const types = btf?.find(section.name, 'datasec');
    if (btf === undefined || types === undefined) {
      throw this.#fail(`section ${section.name} has maps, but their types are missing. Compile with -g.`);
    }
    const found: PlacedMap[] = [];
    for (const variable of types.variables) {
      const type = btf.type(variable.type);
      const struct = type.kind === 'var' ? btf.resolve(type.type) : undefined;
      if (type.kind !== 'var' || struct?.kind !== 'struct') {
        throw this.#fail(
          `section ${section.name}: ${type.name || `type ${type.id}`} is not a variable of struct type.`,
        );
      }
      const start = variable.offset;
      const end = start + variable.bytes;
      if (end > section.size) {
        const limit = `The section has ${section.size} bytes.`;
        throw this.#fail(
          `map ${type.name} has ${variable.bytes} bytes at ${start} of section ${section.name}. ${limit}`,
        );
      }
      found.push({ definition: this.#define(type.name, struct, btf, 0), section: section.index, start, end });
    }
    return this.#withInitialValues(
      section,
      found,
      btf,
      types.variables.map(({ type }) => type),
    );
  }

  #define(name: string, struct: BtfTypeOf<'struct' | 'union'>, btf: Btf, depth: number): MapDefinition {
    const numbers = new Map<string, number>();
    let key: number | undefined;
    let value: number | undefined;
    let inner: MapDefinition | undefined;
    const seen = new Set<string>();
    for (const member of struct.members) {
      if (seen.has(member.name)) throw this.#fail(`map ${name} has two fields ${member.name || '(unnamed)'}.`);
      seen.add(member.name);
      if (NUMBERS.includes(member.name)) numbers.set(member.name, this.#number(name, member, btf));
      else if (member.name === 'key') key = this.#pointee(name, member, btf);
      else if (member.name === 'value') value = this.#pointee(name, member, btf);
      else if (member.name === 'values') inner = this.#inner(name, member, btf, depth);
      else {
        const known = [...NUMBERS, 'key', 'value', 'values'].join(', ');
        throw this.#fail(`map ${name} has a field ${member.name || '(unnamed)'}. Fields of a map are ${known}.`);
      }
    }
    const kind = numbers.get('type') ?? 0;
    if (kind === 0) throw this.#fail(`map ${name} has no type. Write __uint(type, BPF_MAP_TYPE_…).`);
    const bytes = (what: 'key' | 'value', type: number | undefined): number => {
      const given = numbers.get(`${what}_size`);
      const own = type === undefined ? undefined : btf.size(type);
      if (given !== undefined && own !== undefined && given !== own) {
        throw this.#fail(
          `map ${name} has ${what}_size ${given}, but its type of ${what} has ${own} bytes. Leave one out.`,
        );
      }
      return own ?? given ?? 0;
    };
    const holds = kind === KIND_PROG_ARRAY || kind === KIND_ARRAY_OF_MAPS || kind === KIND_HASH_OF_MAPS;
    return {
      name,
      kind,
      keyBytes: bytes('key', key),
      valueBytes: bytes('value', value) || (holds ? 4 : 0),
      maxEntries: numbers.get('max_entries') ?? 0,
      flags: numbers.get('map_flags') ?? 0,
      pinned: (numbers.get('pinning') ?? 0) !== 0,
      ...(inner === undefined ? {} : { inner }),
      ...(key === undefined && value === undefined ? {} : { types: { btf, key: key ?? 0, value: value ?? 0 } }),
    };
  }

  /** `__uint(name, 5)` is `int (*name)[5]`; `__ulong(name, 5)` an enum of that one value. */
  #number(map: string, member: BtfMember, btf: Btf): number {
    const type = btf.resolve(member.type);
    if (type.kind === 'enum' || type.kind === 'enum64') {
      const [only] = type.values;
      if (only !== undefined) return Number(only.value);
    }
    const array = type.kind === 'ptr' ? btf.resolve(type.type) : type;
    if (array.kind !== 'array') {
      throw this.#fail(
        `map ${map}: field ${member.name} is ${btf.describe(member.type)}. Write __uint(${member.name}, …).`,
      );
    }
    return array.count;
  }

  /** `__type(name, T)` is `T *name`. */
  #pointee(map: string, member: BtfMember, btf: Btf): number {
    const type = btf.resolve(member.type);
    if (type.kind !== 'ptr') {
      throw this.#fail(
        `map ${map}: field ${member.name} is ${btf.describe(member.type)}. Write __type(${member.name}, …).`,
      );
    }
    return type.type;
  }

  /** `__array(values, T)` is `T *values[]`: T is the definition of a map, or a function's type in a PROG_ARRAY. */
  #inner(map: string, member: BtfMember, btf: Btf, depth: number): MapDefinition | undefined {
    const array = btf.resolve(member.type);
    const pointer = array.kind === 'array' ? btf.resolve(array.type) : array;
    const target = pointer.kind === 'ptr' ? btf.resolve(pointer.type) : pointer;
    if (pointer.kind === 'ptr' && target.kind === 'func_proto') return undefined;
    if (pointer.kind !== 'ptr' || target.kind !== 'struct' || depth === INNER_DEPTH_MAX) {
      throw this.#fail(
        `map ${map}: field values is ${btf.describe(member.type)}. Write __array(values, struct inner) or, in a ` +
          'PROG_ARRAY, __array(values, int (void *)); a map of maps has no maps of maps.',
      );
    }
    return this.#define(`${map}.inner`, target, btf, depth + 1);
  }

  /** Adds what relocations of the section put into the maps. `types`: the VARs of `maps`. */
  #withInitialValues(section: Section, maps: PlacedMap[], btf: Btf, types: number[]): PlacedMap[] {
    const relocations = this.#elf.relocationsOf(section.index);
    if (relocations.size === 0) return maps;
    const order = [...maps.keys()].sort((a, b) => (maps[a] as PlacedMap).start - (maps[b] as PlacedMap).start);
    const sorted = [...relocations.values()].sort((a, b) => a.offset - b.offset);
    const names = new Set(maps.map(({ definition }) => definition.name));
    const found = [...maps];
    let next = 0;
    for (const index of order) {
      const map = maps[index] as PlacedMap;
      const initialValues: { key: number; name: string }[] = [];
      for (; next < sorted.length && (sorted[next] as Relocation).offset < map.end; next++) {
        const relocation = sorted[next] as Relocation;
        const { offset } = relocation;
        const first = map.start + valuesOffset(btf, types[index] as number);
        const key = (offset - first) / POINTER_BYTES;
        if (offset < map.start || !(key >= 0) || !Number.isInteger(key)) {
          throw this.#fail(`section ${section.name} has a pointer at ${offset}, which is in no \`values\` of a map.`);
        }
        initialValues.push({ key, name: this.#held(map, relocation, names) });
      }
      if (initialValues.length > 0) found[index] = { ...map, definition: { ...map.definition, initialValues } };
    }
    if (next < sorted.length) {
      throw this.#fail(`section ${section.name} has a pointer at ${sorted[next]?.offset}, which is in no map.`);
    }
    return found;
  }

  /** The name of the map or program that a relocation puts into `map`. */
  #held(map: PlacedMap, { symbol }: Relocation, names: ReadonlySet<string>): string {
    const { definition } = map;
    const isProgram = symbol.type === STT_FUNC;
    const isMap = symbol.section === map.section && names.has(symbol.name);
    if (definition.kind === KIND_PROG_ARRAY ? isProgram : definition.inner !== undefined && isMap) return symbol.name;
    const what = definition.kind === KIND_PROG_ARRAY ? 'a program' : 'a map';
    throw this.#fail(
      `map ${definition.name} holds ${symbol.name || 'something unnamed'}, which is not ${what} of the file.`,
    );
  }

  /** Definitions in section `maps`: struct bpf_map_def, by the symbols that name them. */
  legacy(section: Section): PlacedMap[] {
    const reader = new Reader(section.bytes);
    const found = new Map<number, PlacedMap>();
    for (const symbol of this.#elf.symbols) {
      const { name, type, value: start, size } = symbol;
      if (symbol.section !== section.index || type === STT_SECTION || type === STT_FUNC || found.has(start)) continue;
      const end = start + size;
      const isSane = size >= LEGACY_BYTES && end <= section.bytes.length;
      if (!isSane || section.bytes.subarray(start + LEGACY_BYTES, end).some((byte) => byte !== 0)) {
        throw this.#fail(
          `map ${name} of section ${section.name} has ${size} bytes at ${start}. A struct bpf_map_def has ` +
            `${LEGACY_BYTES} (type, key_size, value_size, max_entries, map_flags), what follows must be 0, and the ` +
            `section has ${section.size} bytes. Maps with more than that are declared in section .maps.`,
        );
      }
      const [kind, keyBytes, valueBytes, maxEntries, flags] = [0, 4, 8, 12, 16].map((at) => reader.u32(start + at)) as [
        number,
        number,
        number,
        number,
        number,
      ];
      if (kind === 0) throw this.#fail(`map ${name} of section ${section.name} has type 0, BPF_MAP_TYPE_UNSPEC.`);
      const definition = { name, kind, keyBytes, valueBytes, maxEntries, flags, pinned: false };
      found.set(start, { definition, section: section.index, start, end });
    }
    return [...found.values()];
  }

  /** The variables of a section: an array of one value, that of them all. */
  data(section: Section): PlacedMap {
    const type = this.#btf?.find(section.name, 'datasec');
    const definition: MapDefinition = {
      name: section.name,
      kind: KIND_ARRAY,
      keyBytes: 4,
      valueBytes: section.size,
      maxEntries: 1,
      flags: section.name.startsWith('.rodata') ? MAP_FLAG_RDONLY_PROG : 0,
      pinned: false,
      initial: section.bytes.length === section.size ? section.bytes.slice() : new Uint8Array(section.size),
      ...(type === undefined || this.#btf === undefined ? {} : { types: { btf: this.#btf, key: 0, value: type.id } }),
    };
    return { definition, section: section.index, start: 0, end: section.size };
  }
}

/** Bytes from the start of a map's definition to its `values`; NaN when it has none. `variable`: id of its VAR. */
function valuesOffset(btf: Btf, variable: number): number {
  const type = btf.type(variable);
  const struct = type.kind === 'var' ? btf.resolve(type.type) : type;
  const member = struct.kind === 'struct' ? struct.members.find(({ name }) => name === 'values') : undefined;
  return member === undefined ? Number.NaN : member.bitOffset / 8;
}

/** All maps of a file, in the order of its sections. Errors: BAD_OBJECT. */
export function readMaps(elf: Elf, btf: Btf | undefined): PlacedMap[] {
  const reader = new MapReader(elf, btf);
  for (const wanted of ['.maps', 'maps']) {
    const { length } = elf.sections.filter(({ name }) => name === wanted);
    if (length > 1) throw badObject(elf.file, `it has ${length} sections ${wanted}. One is allowed.`);
  }
  return elf.sections.flatMap((section) => {
    if (section.size === 0) return [];
    if (section.name === '.maps') return reader.fromBtf(section);
    if (section.name === 'maps') return reader.legacy(section);
    return isDataSection(section.name) ? [reader.data(section)] : [];
  });
}
